//! The folder of a run: everything that a run writes besides its reports is in it, and it is gone when the
//! run has ended.
//!
//! A run that is killed cannot remove it; the next run in the same place does. It tells a dead run's folder
//! from a living one's by a lock, which the kernel takes away from a process that ends in whatever way.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use parking_lot::Mutex;
use tempfile::TempDir;

const PREFIX: &str = "quoth-bench-";

/// The file that is locked; only a folder that has it is taken for a run's.
const LOCK: &str = "run.lock";

/// What is in that file, for whoever wonders, and so that nobody else's folder is ever removed.
const MARK: &str = "quoth bench removes this folder when its run has ended\n";

/// Of this process.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A run's folder; removed when it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes one in a folder, and removes those of runs that have died there.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn create(within: &Path) -> anyhow::Result<Self> {
        let in_place = || format!("no folder can be made in {} (--dir)", within.display());
        sweep(within);
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(within).with_context(in_place)?;
        // It gets its name when it is locked, so that no other run finds it without an owner.
        let unnamed = made.path().join("new.lock");
        let mut lock = File::create(&unnamed)?;
        lock.write_all(MARK.as_bytes())?;
        lock.lock().with_context(in_place)?;
        std::fs::rename(unnamed, made.path().join(LOCK))?;
        // A process that ends at once looks for absolute paths.
        let path = std::path::absolute(made.keep())?;
        FOLDERS.lock().push(path.clone());
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder in it, which is removed when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder_for(&self, what: &str) -> std::io::Result<TempDir> {
        tempfile::Builder::new().prefix(&format!("{what}-")).tempdir_in(&self.path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        FOLDERS.lock().retain(|path| *path != self.path);
        // What is left is the next run's to remove.
        let _removed = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes all folders of this process, which is about to end without dropping anything. Whatever writes
/// there has ended.
pub(crate) fn remove_all() {
    for path in FOLDERS.lock().drain(..) {
        let _is_left_to_the_next_run = std::fs::remove_dir_all(path);
    }
}

/// Removes the folders of runs that have died. What cannot be read or removed is left.
fn sweep(within: &Path) {
    let Ok(entries) = std::fs::read_dir(within) else { return };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let lock = entry.path().join(LOCK);
        let is_a_runs = std::fs::read(&lock).is_ok_and(|text| text == MARK.as_bytes());
        let Some(lock) = is_a_runs.then(|| File::open(&lock).ok()).flatten() else { continue };
        match lock.try_lock() {
            Ok(()) => drop(std::fs::remove_dir_all(entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(within: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(within).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_dead_runs_folder_is_swept_and_no_other() {
        let place = TempDir::new().unwrap();
        let living = RunFolder::create(place.path()).unwrap();
        let dead = place.path().join("quoth-bench-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), MARK).unwrap();
        std::fs::write(dead.join("data"), "x").unwrap();
        // Somebody's own, that only has a name like it.
        std::fs::create_dir(place.path().join("quoth-bench-reports")).unwrap();
        std::fs::create_dir(place.path().join("quoth-bench-locks")).unwrap();
        std::fs::write(place.path().join("quoth-bench-locks").join(LOCK), "").unwrap();

        let another = RunFolder::create(place.path()).unwrap();
        let name = |folder: &RunFolder| folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = vec!["quoth-bench-locks".to_owned(), "quoth-bench-reports".to_owned()];
        expected.extend([name(&living), name(&another)]);
        expected.sort();
        assert_eq!(left(place.path()), expected);
        drop((living, another));
        assert_eq!(left(place.path()), ["quoth-bench-locks", "quoth-bench-reports"]);
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_told() {
        let error = RunFolder::create(Path::new("/no/such/folder")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/folder"), "{error:#}");
    }
}
