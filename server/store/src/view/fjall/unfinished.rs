//! Deletes what was begun and could not be finished.
//!
//! Tables of a flush or a merge that has failed fjall leaves to its next start. Where the disk has no room
//! they would take what is left of it, one more with each attempt. The file that was to replace another one
//! when the machine stopped it leaves for ever.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::fjall::{AbstractTree as _, Keyspace};
use parking_lot::Mutex;

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

/// Tables that attempts have left which have failed, where older versions may have some of them.
#[derive(Debug, Default)]
pub(super) struct LeftTables {
    paths: Mutex<Vec<PathBuf>>,
    /// How many pins have versions that they link the tables of, which may be in no history any more.
    linking: Arc<AtomicUsize>,
}

/// A pin links tables.
#[derive(Debug)]
pub(super) struct Linking(Arc<AtomicUsize>);

impl Drop for Linking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl LeftTables {
    /// For whoever is about to take versions. Nobody merges meanwhile.
    pub(super) fn linking(&self) -> Linking {
        self.linking.fetch_add(1, Ordering::SeqCst);
        Linking(Arc::clone(&self.linking))
    }
}

impl Engine {
    /// Deletes the tables that an attempt has left which has failed: those that are in no version. The caller
    /// merges nothing and flushes nothing meanwhile. Where an older version may have them too, which has to
    /// be a long attempt, they are left to [`Engine::delete_left`].
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
        let needed: HashSet<u64> = version.iter_tables().map(|table| table.id()).collect();
        let tables = keyspace.path().join("tables");
        for entry in fs::read_dir(&tables).map_err(ViewError::io("list", &tables))? {
            let path = entry.map_err(ViewError::io("list", &tables))?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if !number.is_some_and(|number: u64| number >= first_new && !needed.contains(&number)) {
                continue;
            }
            if version.id() > version_max {
                self.left_tables.paths.lock().push(path);
            } else {
                fs::remove_file(&path).map_err(ViewError::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Deletes what attempts have left of a tree, once nobody has an older version, with which its tables go.
    /// The caller merges nothing meanwhile.
    pub(super) fn delete_left(&self, keyspace: &Keyspace) -> Result<(), ViewError> {
        let tree = &keyspace.tree;
        let has_older = tree.get_version_history_lock().free_list_len() > 0;
        if has_older || self.left_tables.linking.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let mut paths = self.left_tables.paths.lock();
        for path in paths.extract_if(.., |path| path.starts_with(keyspace.path())) {
            match fs::remove_file(&path) {
                // One of an older version.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                deleted => deleted.map_err(ViewError::io("delete", &path))?,
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
        let (attempt, read) = (Attempt::beside_merges(keyspace), engine.snapshot());
        let left = keyspace.path().join("tables").join("1000000");
        std::fs::write(&left, "the beginning of a table").unwrap();
        let merge = || tree.major_compact(TABLE_BYTES, engine.unneeded()).unwrap();
        merge();
        // Whoever reads has it, or a pin.
        let version = tree.current_version();
        let needed: Vec<_> = version.iter_tables().map(|table| table.path.to_path_buf()).collect();
        let must_be_there = || assert!(needed.iter().all(|table| table.exists()));
        engine.delete_unfinished(keyspace, attempt).unwrap();
        assert!(!left.exists());
        must_be_there();
        merge();
        let ids = || tree.current_version().iter_tables().map(|table| table.id()).collect::<Vec<_>>();
        assert!(version.iter_tables().all(|table| !ids().contains(&table.id())), "it is an older one");
        std::fs::write(&left, "the beginning of a table").unwrap();
        engine.delete_unfinished(keyspace, attempt).unwrap();
        must_be_there();
        // Whoever reads has it, a pin that links its tables, and then nobody.
        let linking = engine.left_tables.linking();
        let delete_left = || {
            engine.free_versions(keyspace).unwrap();
            engine.delete_left(keyspace).unwrap();
            must_be_there();
            !left.exists()
        };
        assert!(!delete_left());
        drop(linking);
        assert!(!delete_left());
        drop(read);
        let linking = engine.left_tables.linking();
        assert!(engine.free_files().unwrap() && left.exists());
        drop((linking, version));
        assert!(engine.free_files().unwrap() && !left.exists());
    }
}
