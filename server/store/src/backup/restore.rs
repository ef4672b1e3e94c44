//! A backup as a data folder again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::copy::copy;
use super::error::BackupError;
use super::folder::BackupFolder;
use super::manifest::{self, Backup, path_in};
use super::workers::each_file;
use super::{Bytes, OnBytes, Pace};
use crate::create_durable_dir;
use crate::durable::sync_dir;
use crate::folder;

/// Name in the new folder of what is not there as a whole yet. No server starts beside it.
pub const RESTORING: &str = "restoring";

/// What makes a folder a data folder comes last.
const STORE: &str = "store";

impl BackupFolder {
    /// What [`BackupFolder::restore`] would make a data folder of, as far as that is seen without reading it:
    /// the folder is new or empty, and all that the backup needs is there in its length. Changes nothing.
    ///
    /// # Errors
    /// As of [`BackupFolder::restore`].
    pub fn restorable(&self, number: Option<u64>, to: &Path) -> Result<(u64, Backup), BackupError> {
        let (number, backup) = self.backup(number)?;
        refuse_contents(to)?;
        for file in &backup.files {
            self.object_of(file)?;
        }
        Ok((number, backup))
    }

    /// Makes a data folder of a backup, `None` for the latest one, in a new or empty folder: of [another
    /// store](crate::StoreId). Every byte is checked. The folder is a data folder, on stable storage, when
    /// this returns, and until then no server takes it for one.
    ///
    /// # Errors
    /// When the folder is not empty, the backup is damaged, or something cannot be written.
    pub fn restore(
        &self,
        number: Option<u64>,
        to: &Path,
        progress: &mut OnBytes<'_>,
    ) -> Result<(u64, Backup), BackupError> {
        let (number, backup) = self.restorable(number, to)?;
        let restoring = to.join(RESTORING);
        create_durable_dir(&restoring).map_err(BackupError::io("create", &restoring))?;
        for name in &backup.folders {
            let dir = path_in(&restoring, name)
                .ok_or_else(|| BackupError::DamagedManifest { path: self.manifest(number) })?;
            create_durable_dir(&dir).map_err(BackupError::io("create", &dir))?;
        }
        let mut files = Vec::with_capacity(backup.files.len());
        for file in &backup.files {
            let path = file
                .path_in(&restoring)
                .ok_or_else(|| BackupError::DamagedManifest { path: self.manifest(number) })?;
            let dir = path.parent().unwrap_or(&restoring);
            create_durable_dir(dir).map_err(BackupError::io("create", dir))?;
            files.push((file, path));
        }
        let mut done = Bytes { done: 0, total: backup.lengths() };
        each_file(
            &restoring,
            &files,
            Pace::Full,
            &|_, (file, path), worker| {
                let object = self.object_of(file)?;
                let (copied, written) = copy(&object, path, (file.bytes, file.bytes), worker)?;
                if file.is_checksum(copied) {
                    Ok(written)
                } else {
                    Err(BackupError::DamagedObject { path: object })
                }
            },
            &mut |bytes| {
                done.done += bytes;
                progress(done);
            },
            &mut |_, written| written.sync().map_err(BackupError::io("sync", &written.path)),
        )?;
        // What comes behind the backup is numbered as what came before: whoever has seen that must know that
        // it is another store.
        folder::renew(&restoring.join(STORE))?;
        sync_all_dirs(&restoring)?;
        let mut names: Vec<PathBuf> = list(&restoring)?;
        names.sort_by_key(|path| path.ends_with(STORE));
        for path in names {
            let name = path.file_name().unwrap_or_default();
            // All else is durable before the store is.
            sync_dir(to).map_err(BackupError::io("sync", to))?;
            fs::rename(&path, to.join(name)).map_err(BackupError::io("rename", &path))?;
        }
        fs::remove_dir(&restoring).map_err(BackupError::io("delete", &restoring))?;
        sync_dir(to).map_err(BackupError::io("sync", to))?;
        Ok((number, backup))
    }

    /// Where the bytes of a file are, which has as many as it is to have.
    fn object_of(&self, file: &manifest::File) -> Result<PathBuf, BackupError> {
        let path = self.object(file);
        match path.metadata() {
            Ok(metadata) if metadata.len() == file.bytes => Ok(path),
            _ => Err(BackupError::DamagedObject { path }),
        }
    }
}

fn refuse_contents(dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        entries => {
            for entry in entries.map_err(BackupError::io("list", dir))? {
                let name = entry.map_err(BackupError::io("list", dir))?.file_name();
                if name == RESTORING {
                    return Err(BackupError::Interrupted { dir: dir.to_owned() });
                }
                if name != "lost+found" {
                    return Err(BackupError::NotEmpty { dir: dir.to_owned() });
                }
            }
            Ok(())
        }
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = fs::read_dir(dir).map_err(BackupError::io("list", dir))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(BackupError::io("list", dir))).collect()
}

/// Files were synced as they were written.
fn sync_all_dirs(dir: &Path) -> Result<(), BackupError> {
    for path in list(dir)? {
        if path.is_dir() {
            sync_all_dirs(&path)?;
        }
    }
    sync_dir(dir).map_err(BackupError::io("sync", dir))
}
