//! What brings files and the names of files to stable storage. All of the store's own syncs go through here.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, and those above it that are missing, for their owner alone (mode 0700). They and their
/// names are durable when this returns, also when an earlier call was interrupted. A folder that is there
/// keeps its mode.
///
/// # Errors
/// When the operating system refuses, or something else has the name.
pub fn create_durable_dir(dir: &Path) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    let mut missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    // The first one that is there may be what an interrupted call has made.
    if let Some(above) = dir.ancestors().nth(missing.len()).and_then(Path::parent) {
        match sync_dir(above) {
            // Where this user can read or write nothing, no call has made anything.
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {}
            synced => synced?,
        }
    }
    while let Some(made) = missing.pop() {
        match DirBuilder::new().mode(0o700).create(made) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        made.parent().map_or(Ok(()), sync_dir)?;
    }
    if dir.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    before_sync(dir)?;
    File::open(dir)?.sync_all()
}

/// Makes the bytes of a file durable, which has this name.
pub(crate) fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    before_sync(path)?;
    file.sync_data()
}

/// Makes the bytes of a new file and its length durable, which has this name.
pub(crate) fn sync_all(file: &File, path: &Path) -> io::Result<()> {
    before_sync(path)?;
    file.sync_all()
}

#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps, reason = "in tests it may fail")]
const fn before_sync(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use syncs::before_sync;

/// What this thread syncs, and which sync fails: neither can be had without cutting the power or breaking the
/// disk.
#[cfg(test)]
pub(crate) mod syncs {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::path::{Path, PathBuf};

    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
        static FAILS: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn before_sync(path: &Path) -> io::Result<()> {
        if FAILS.take() {
            return Err(io::Error::other("a fault that a test wants"));
        }
        assert!(path.exists(), "{} had another name before it was flushed", path.display());
        SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
        Ok(())
    }

    /// What was synced since the last call.
    pub(crate) fn take() -> Vec<PathBuf> {
        SYNCED.take()
    }

    /// Lets the next sync fail, as on a broken disk.
    pub(crate) fn fail_next() {
        FAILS.set(true);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{create_durable_dir, syncs};

    #[test]
    fn every_folder_with_a_new_entry_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().parent().unwrap();
        syncs::take();
        create_durable_dir(&dir.path().join("a/b/c")).unwrap();
        let made = [above.to_owned(), dir.path().to_owned(), dir.path().join("a"), dir.path().join("a/b")];
        assert_eq!(syncs::take(), made);
        // An earlier call may have been interrupted behind its last mkdir.
        create_durable_dir(&dir.path().join("a/b/c")).unwrap();
        assert_eq!(syncs::take(), [dir.path().join("a/b")]);
    }

    #[test]
    fn a_new_folder_is_its_owners_alone_and_an_old_one_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs::create_dir(dir.path().join("old")).unwrap();
        fs::set_permissions(dir.path().join("old"), fs::Permissions::from_mode(0o750)).unwrap();
        create_durable_dir(&dir.path().join("old/new")).unwrap();
        assert_eq!((mode("old"), mode("old/new")), (0o750, 0o700));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(create_durable_dir(&dir.path().join("file")).is_err());
        assert!(create_durable_dir(&dir.path().join("file/new")).is_err());
    }
}
