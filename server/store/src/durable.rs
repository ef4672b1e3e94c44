//! What brings files and the names of files to stable storage. All of the store's own syncs go through here.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, and those above it that are missing, for their owner alone (mode 0700). They and their names are
/// durable when this returns, also when an earlier call was interrupted. A folder that is there keeps its mode.
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
    record(dir);
    File::open(dir)?.sync_all()
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    record(path);
    file.sync_data()
}

#[cfg(not(test))]
const fn record(_path: &Path) {}

#[cfg(test)]
use recorder::record;

/// What this thread has synced: that a sync happens cannot be seen without cutting the power.
#[cfg(test)]
pub(crate) mod recorder {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    thread_local! {
        static SYNCED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn record(path: &Path) {
        SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    }

    /// What was synced since the last call.
    pub(crate) fn take() -> Vec<PathBuf> {
        SYNCED.take()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{create_durable_dir, recorder};

    #[test]
    fn every_folder_with_a_new_entry_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().parent().unwrap();
        recorder::take();
        create_durable_dir(&dir.path().join("a/b/c")).unwrap();
        let made = [above.to_owned(), dir.path().to_owned(), dir.path().join("a"), dir.path().join("a/b")];
        assert_eq!(recorder::take(), made);
        // An earlier call may have been interrupted behind its last mkdir.
        create_durable_dir(&dir.path().join("a/b/c")).unwrap();
        assert_eq!(recorder::take(), [dir.path().join("a/b")]);
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
