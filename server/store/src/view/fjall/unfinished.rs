//! Deletes tables that a flush or a merge has begun and could not finish.
//!
//! fjall leaves them to its next start. Where the disk has no room they would take what is left of it, one more with each
//! attempt.

use std::collections::HashSet;
use std::fs;

use ::fjall::{AbstractTree as _, Keyspace};

use super::engine::Engine;
use crate::view::ViewError;

impl Engine {
    /// Deletes the tables of a tree that are in no version, from a number on; that is, those since the attempt that has
    /// failed, since numbers grow. The caller merges nothing and flushes nothing meanwhile.
    ///
    /// # Errors
    /// When the manifest on the disk is not the one in memory: then the disk alone knows what is needed, and only a start can
    /// say where the view goes on.
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
