//! A folder of backups.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::manifest::{self, Backup, FORMAT};
use crate::create_durable_dir;
use crate::durable::{sync_all, sync_dir};

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const PROGRAM: &str = "quoth-server backup folder";

/// Begins the names of objects that are being written.
pub(super) const NEW_PREFIX: &str = "new-";

/// Begins the names of objects that a check has put aside.
pub(super) const DAMAGED_PREFIX: &str = "damaged-";

/// A folder of backups that this process alone has.
#[derive(Debug)]
pub struct BackupFolder {
    pub(super) dir: PathBuf,
    /// `None` where nobody can write, and nobody does.
    _lock: Option<File>,
}

impl BackupFolder {
    /// Takes a folder of backups over; an empty or missing one becomes one, for its owner alone.
    ///
    /// # Errors
    /// When it holds something else, is of another version, or in use.
    pub fn take(dir: &Path) -> Result<Self, BackupError> {
        let is_ours = is_ours(dir)?;
        for dir in [dir.to_owned(), dir.join("objects"), dir.join("backups")] {
            create_durable_dir(&dir).map_err(BackupError::io("create", &dir))?;
        }
        if !is_ours {
            let text = format!("{PROGRAM}, format {FORMAT}\n");
            write_file(dir, FORMAT_FILE, text.as_bytes())?;
        }
        Ok(Self { dir: dir.to_owned(), _lock: Some(lock(dir)?) })
    }

    /// Takes a folder over that must have backups already. It may be one that can only be read.
    ///
    /// # Errors
    /// As of [`BackupFolder::take`], and when it is no such folder.
    pub fn take_existing(dir: &Path) -> Result<Self, BackupError> {
        let none = || BackupError::NoBackups { dir: dir.to_owned() };
        match is_ours(dir) {
            Ok(true) => {}
            Ok(false) | Err(BackupError::Foreign { .. }) => return Err(none()),
            Err(error) => return Err(error),
        }
        let lock = match lock(dir) {
            Err(BackupError::Io { source, .. }) if is_read_only(&source) => lock_to_read(dir)?,
            lock => Some(lock?),
        };
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// The numbers of its backups, ascending.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn numbers(&self) -> Result<Vec<u64>, BackupError> {
        let dir = self.backups();
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&dir).map_err(BackupError::io("list", &dir))? {
            let name = entry.map_err(BackupError::io("list", &dir))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A backup; `None` for the latest one.
    ///
    /// # Errors
    /// When there is none, or its manifest is damaged.
    pub fn backup(&self, number: Option<u64>) -> Result<(u64, Backup), BackupError> {
        let numbers = self.numbers()?;
        let missing = || BackupError::Missing { dir: self.dir.clone(), number };
        let found = match number {
            Some(number) => numbers.contains(&number).then_some(number),
            None => numbers.last().copied(),
        };
        let found = found.ok_or_else(missing)?;
        Ok((found, manifest::read(&self.manifest(found))?))
    }

    /// Deletes all backups but the last ones, and what only those had. Gives how many were deleted. One whose
    /// manifest is damaged counts for none, and goes when so many others are behind it; until then its
    /// objects stay, of which nobody knows.
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn keep(&self, count: usize) -> Result<usize, BackupError> {
        let numbers = self.numbers()?;
        let is_sound = |number: &&u64| manifest::read(&self.manifest(**number)).is_ok();
        let first_kept = numbers.iter().rev().filter(is_sound).nth(count.max(1) - 1);
        let old: Vec<u64> = numbers.iter().copied().filter(|number| Some(number) < first_kept).collect();
        for number in &old {
            let path = self.manifest(*number);
            fs::remove_file(&path).map_err(BackupError::io("delete", &path))?;
        }
        // Before their objects go: a backup whose manifest is there is whole.
        let backups = self.backups();
        sync_dir(&backups).map_err(BackupError::io("sync", &backups))?;
        self.delete_unnamed()?;
        Ok(old.len())
    }

    /// Deletes the objects that no backup has: of older ones, and of those that were interrupted.
    pub(super) fn delete_unnamed(&self) -> Result<(), BackupError> {
        self.unnamed()?.map_or(Ok(()), |unnamed| self.delete_objects(|name| unnamed.contains(name)))
    }

    /// The objects that no backup has. `None` with a damaged manifest: then nobody knows which these are.
    pub(super) fn unnamed(&self) -> Result<Option<HashSet<String>>, BackupError> {
        let mut named = HashSet::new();
        for number in self.numbers()? {
            match manifest::read(&self.manifest(number)) {
                Ok(backup) => named.extend(backup.files.iter().map(manifest::File::object)),
                Err(BackupError::DamagedManifest { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(self.object_names()?.into_iter().filter(|name| !named.contains(name)).collect()))
    }

    pub(super) fn delete_unfinished(&self) -> Result<(), BackupError> {
        self.delete_objects(|name| name.starts_with(NEW_PREFIX))
    }

    fn delete_objects(&self, is_deleted: impl Fn(&str) -> bool) -> Result<(), BackupError> {
        for name in self.object_names()?.into_iter().filter(|name| is_deleted(name)) {
            let path = self.objects().join(name);
            fs::remove_file(&path).map_err(BackupError::io("delete", &path))?;
        }
        Ok(())
    }

    fn object_names(&self) -> Result<Vec<String>, BackupError> {
        let (dir, mut names) = (self.objects(), Vec::new());
        for entry in fs::read_dir(&dir).map_err(BackupError::io("list", &dir))? {
            names.extend(entry.map_err(BackupError::io("list", &dir))?.file_name().into_string());
        }
        Ok(names)
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    pub(super) fn backups(&self) -> PathBuf {
        self.dir.join("backups")
    }

    pub(super) fn object(&self, file: &manifest::File) -> PathBuf {
        self.objects().join(file.object())
    }

    pub(super) fn manifest(&self, number: u64) -> PathBuf {
        self.backups().join(file_name_of(number))
    }
}

pub(super) fn file_name_of(number: u64) -> String {
    format!("{number:06}.json")
}

/// Writes a file as a whole, durably.
pub(super) fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
    let (path, new_path) = (dir.join(name), dir.join(format!("{name}.new")));
    let mut file = File::create(&new_path).map_err(BackupError::io("create", &new_path))?;
    let written = file.write_all(bytes).and_then(|()| sync_all(&file, &new_path));
    if let Err(error) = written {
        let _ = fs::remove_file(&new_path);
        return Err(BackupError::io("write", &new_path)(error));
    }
    fs::rename(&new_path, &path).map_err(BackupError::io("rename", &new_path))?;
    sync_dir(dir).map_err(BackupError::io("sync", dir))
}

/// Whether it is a folder of backups of this format. `false` when it is empty or missing.
fn is_ours(dir: &Path) -> Result<bool, BackupError> {
    let path = dir.join(FORMAT_FILE);
    let foreign = || BackupError::Foreign { dir: dir.to_owned() };
    match fs::read_to_string(&path) {
        Ok(text) => {
            let format = text.trim().strip_prefix(PROGRAM).and_then(|rest| rest.strip_prefix(", format "));
            match format.and_then(|format| format.parse().ok()) {
                Some(FORMAT) => Ok(true),
                Some(found) => Err(BackupError::Format { dir: dir.to_owned(), found, expected: FORMAT }),
                None => Err(foreign()),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let entries = match fs::read_dir(dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                entries => entries.map_err(BackupError::io("list", dir))?,
            };
            for entry in entries {
                let name = entry.map_err(BackupError::io("list", dir))?.file_name();
                // A first backup that was interrupted leaves these, and a file system its own.
                let of_a_begin = ["objects", "backups", "format.new", LOCK_FILE, "lost+found"];
                if !name.to_str().is_some_and(|name| of_a_begin.contains(&name)) {
                    return Err(foreign());
                }
            }
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(foreign()),
        Err(error) => Err(BackupError::io("read", &path)(error)),
    }
}

/// Whether it is a folder that nobody, or not this user, can write.
fn is_read_only(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

/// Keeps those away who write, if there can be any: a lock that many may have, of a folder that can only be
/// read.
fn lock_to_read(dir: &Path) -> Result<Option<File>, BackupError> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(BackupError::io("open", &path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(BackupError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BackupError::io("lock", &path)(error)),
    }
}

fn lock(dir: &Path) -> Result<File, BackupError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(BackupError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(BackupError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{BackupError, BackupFolder, LOCK_FILE, lock, lock_to_read};

    #[test]
    fn who_only_reads_a_folder_shares_it_with_others_who_do_and_not_with_who_writes() {
        let dir = tempfile::tempdir().unwrap();
        let writes = BackupFolder::take(dir.path()).unwrap();
        assert!(matches!(lock_to_read(dir.path()), Err(BackupError::Locked { .. })));
        drop(writes);
        let reads = [lock_to_read(dir.path()).unwrap(), lock_to_read(dir.path()).unwrap()];
        assert!(reads.iter().all(Option::is_some));
        assert!(matches!(lock(dir.path()), Err(BackupError::Locked { .. })));
        drop(reads);
        std::fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
        assert!(lock_to_read(dir.path()).unwrap().is_none(), "where there is none none can be made");
    }
}
