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

/// An attempt to write tables of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Tables from this number on are its own, or of others since it began.
    first_new: u64,
    /// With a later version, tables of others since may be in none any more, and those who have an older
    /// version need them.
    version_max: u64,
}

impl Attempt {
    /// One while nobody else merges tables of the tree. What is flushed meanwhile stays in its version.
    pub(super) fn alone(keyspace: &Keyspace) -> Self {
        Self { first_new: keyspace.tree.get_next_table_id(), version_max: u64::MAX }
    }

    /// One while nobody else flushes the tree. Of what others merge, the first merge makes tables, and only
    /// the next one may take them away.
    pub(super) fn beside_merges(keyspace: &Keyspace) -> Self {
        // Before the number: what somebody merges in between has a lower one.
        let version_max = keyspace.tree.current_version().id() + 1;
        Self { version_max, ..Self::alone(keyspace) }
    }
}

impl Engine {
    /// Deletes the tables that an attempt has left which has failed: those that are in no version. The caller
    /// merges nothing and flushes nothing meanwhile. Where an older version may have them too, which has to
    /// be a long attempt, they are left to the next start.
    ///
    /// # Errors
    /// When the manifest on the disk is not the one in memory: then the disk alone knows what is needed, and
    /// only a start can say where the view goes on.
    pub(super) fn delete_unfinished(&self, keyspace: &Keyspace, attempt: Attempt) -> Result<(), ViewError> {
        let Attempt { first_new, version_max } = attempt;
        let _nobody_flushes = keyspace.tree.get_flush_lock();
        let version = keyspace.tree.current_version();
        let current = keyspace.path().join("current");
        let named = fs::read(&current).map_err(ViewError::io("read", &current))?;
        if named.first_chunk().map(|number| u64::from_le_bytes(*number)) != Some(version.id()) {
            return Err(self.failed("go on with", format!("{} names another manifest", current.display())));
        }
        if version.id() > version_max {
            return Ok(());
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

#[cfg(test)]
mod tests {
    use ::fjall::AbstractTree as _;

    use super::Attempt;
    use crate::view::fjall::engine::{Batch, Engine, TABLE_BYTES};

    #[test]
    fn what_an_attempt_has_left_goes_and_what_an_older_version_needs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &dir.path().join("engine"), true, 1 << 20).unwrap();
        let (keyspace, tree) = (&engine.registers, &engine.registers.tree);
        let mut batch = Batch::default();
        batch.insert(keyspace, "key", "value");
        engine.write(batch);
        engine.flush(engine.cut(false)).unwrap();
        let attempt = Attempt::beside_merges(keyspace);
        let left = keyspace.path().join("tables").join("1000000");
        std::fs::write(&left, "the beginning of a table").unwrap();
        let merge = || tree.major_compact(TABLE_BYTES, engine.unneeded()).unwrap();
        merge();
        // Whoever reads has it, or a pin.
        let version = tree.current_version();
        let must_be_there = || version.iter_tables().for_each(|table| assert!(table.path.exists()));
        engine.delete_unfinished(keyspace, attempt).unwrap();
        assert!(!left.exists());
        must_be_there();
        merge();
        let ids = || tree.current_version().iter_tables().map(|table| table.id()).collect::<Vec<_>>();
        assert!(version.iter_tables().all(|table| !ids().contains(&table.id())), "it is an older one");
        engine.delete_unfinished(keyspace, attempt).unwrap();
        must_be_there();
    }
}
