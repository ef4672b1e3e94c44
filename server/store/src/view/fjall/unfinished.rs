//! Deletes what was begun and could not be finished.
//!
//! Tables of a flush or a merge that has failed fjall leaves to its next start. Where the disk has no room
//! they would take what is left of it, one more with each attempt. The file that was to replace another one
//! when the machine stopped it leaves for ever.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ::fjall::{AbstractTree as _, Keyspace};

use super::engine::Engine;
use crate::view::ViewError;

/// Begins the names of files that are to replace others, in the folders of fjall's trees (lsm-tree 3.1.10,
/// `file.rs`, with the names of `tempfile`).
const TEMPORARY_PREFIX: &str = ".tmp";

/// Deletes what was to replace a file when the machine or the process stopped. Nobody has fjall's files open
/// meanwhile.
pub(super) fn delete_temporary(engine_dir: &Path) -> Result<(), ViewError> {
    let keyspaces = engine_dir.join("keyspaces");
    let trees = match fs::read_dir(&keyspaces) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        trees => trees.map_err(ViewError::io("list", &keyspaces))?,
    };
    for tree in trees {
        let tree = tree.map_err(ViewError::io("list", &keyspaces))?.path();
        if !tree.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&tree).map_err(ViewError::io("list", &tree))? {
            let entry = entry.map_err(ViewError::io("list", &tree))?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX)) {
                fs::remove_file(entry.path()).map_err(ViewError::io("delete", &entry.path()))?;
            }
        }
    }
    Ok(())
}

impl Engine {
    /// Deletes the tables of a tree that are in no version, from a number on; that is, those since the
    /// attempt that has failed, since numbers grow. The caller merges nothing and flushes nothing meanwhile.
    ///
    /// # Errors
    /// When the manifest on the disk is not the one in memory: then the disk alone knows what is needed, and
    /// only a start can say where the view goes on.
    pub(super) fn delete_unfinished(&self, keyspace: &Keyspace, first_new: u64) -> Result<(), ViewError> {
        let _nobody_flushes = keyspace.tree.get_flush_lock();
        let version = keyspace.tree.current_version();
        let current = keyspace.path().join("current");
        let named = fs::read(&current).map_err(ViewError::io("read", &current))?;
        if named.first_chunk().map(|number| u64::from_le_bytes(*number)) != Some(version.id()) {
            return Err(self.failed("go on with", format!("{} names another manifest", current.display())));
        }
        let needed: HashSet<u64> = version.iter_tables().map(|table| table.id()).collect();
        let tables = keyspace.path().join("tables");
        for entry in fs::read_dir(&tables).map_err(ViewError::io("list", &tables))? {
            let path = entry.map_err(ViewError::io("list", &tables))?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if number.is_some_and(|number: u64| number >= first_new && !needed.contains(&number)) {
                fs::remove_file(&path).map_err(ViewError::io("delete", &path))?;
            }
        }
        Ok(())
    }
}
