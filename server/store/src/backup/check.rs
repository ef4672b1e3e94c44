//! Whether backups are what was written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::copy::checksum;
use super::error::BackupError;
use super::folder::{BackupFolder, DAMAGED_PREFIX};
use super::manifest::{self, Backup};
use super::{Bytes, OnBytes};

/// What a check of a folder of backups has found.
#[derive(Debug)]
pub struct CheckedBackups {
    /// The backups that are whole.
    pub sound: Vec<(u64, Backup)>,
    /// The numbers of those that are not.
    pub damaged: Vec<u64>,
    /// All that is wrong.
    pub findings: Vec<BackupError>,
}

impl BackupFolder {
    /// Compares every file of every backup with its checksum, each once. What is damaged is put aside, under
    /// a name that begins with `damaged-`, where the folder can be written: so the next backup copies it
    /// anew, and does not take it for what is there already.
    ///
    /// # Errors
    /// When the folder cannot be read. Damage is no error but in the result.
    pub fn check(&self, progress: &mut OnBytes<'_>) -> Result<CheckedBackups, BackupError> {
        let mut checked = CheckedBackups { sound: Vec::new(), damaged: Vec::new(), findings: Vec::new() };
        let mut backups = Vec::new();
        for number in self.numbers()? {
            match manifest::read(&self.manifest(number)) {
                Ok(backup) => backups.push((number, backup)),
                Err(error) => {
                    checked.damaged.push(number);
                    checked.findings.push(error);
                }
            }
        }
        let files = backups.iter().flat_map(|(_, backup)| &backup.files);
        let objects: BTreeMap<_, _> = files.map(|file| (file.object(), file)).collect();
        let mut done = Bytes { done: 0, total: objects.values().map(|file| file.bytes).sum() };
        let mut is_damaged = BTreeMap::new();
        for (name, file) in &objects {
            let path = self.object(file);
            let is_sound = path.metadata().is_ok_and(|metadata| metadata.len() == file.bytes)
                && checksum(&path, progress, &mut done).is_ok_and(|checksum| file.is_checksum(checksum));
            if !is_sound {
                // It may be missing, or the folder may be another one's: it is told all the same.
                let _ = fs::rename(&path, path.with_file_name(format!("{DAMAGED_PREFIX}{name}")));
                checked.findings.push(BackupError::DamagedObject { path });
                is_damaged.insert(name.clone(), ());
            }
        }
        for (number, backup) in backups {
            if backup.files.iter().any(|file| is_damaged.contains_key(&file.object())) {
                checked.damaged.push(number);
            } else {
                checked.sound.push((number, backup));
            }
        }
        checked.damaged.sort_unstable();
        Ok(checked)
    }

    /// A backup, `None` for the latest one, as the store of a data folder, made of links, which goes when the
    /// folder is dropped: for [`verify`](crate::verify) and
    /// [`Frozen::of_stopped`](super::Frozen::of_stopped), which change nothing.
    ///
    /// # Errors
    /// When there is none, or the links cannot be made.
    pub fn linked(&self, number: Option<u64>) -> Result<(TempDir, PathBuf), BackupError> {
        let (number, backup) = self.backup(number)?;
        let temp_dir = std::env::temp_dir();
        let made = tempfile::Builder::new().prefix("quoth-backup-").tempdir_in(&temp_dir);
        let made = made.map_err(BackupError::io("create a folder in", &temp_dir))?;
        let damaged = || BackupError::DamagedManifest { path: self.manifest(number) };
        for name in &backup.folders {
            let dir = manifest::path_in(made.path(), name).ok_or_else(damaged)?;
            fs::create_dir_all(&dir).map_err(BackupError::io("create", &dir))?;
        }
        for file in &backup.files {
            let object = std::path::absolute(self.object(file));
            let object = object.map_err(BackupError::io("find", &self.dir))?;
            let link = file.path_in(made.path());
            let link = link.ok_or_else(damaged)?;
            if let Some(dir) = link.parent() {
                fs::create_dir_all(dir).map_err(BackupError::io("create", dir))?;
            }
            symlink(object, &link).map_err(BackupError::io("make a link to", &link))?;
        }
        let store = made.path().join("store");
        Ok((made, store))
    }
}
