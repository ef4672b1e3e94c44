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

/// Who needs tables that are in no version of a tree's history.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// How many pins have versions of which they link the tables.
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

impl Links {
    /// For whoever is about to take versions. Nobody merges meanwhile.
    pub(super) fn linking(&self) -> Linking {
        self.linking.fetch_add(1, Ordering::SeqCst);
        Linking(Arc::clone(&self.linking))
    }
}

impl Engine {
    /// Deletes the tables that an attempt has left which has failed: those that are in no version. The caller
    /// merges nothing meanwhile. Where an older version may have them too, which has to be a long attempt,
    /// they are left to [`Engine::delete_left`].
    ///
    /// # Errors
    /// When the manifest on the disk is not the one in memory, or one of them cannot be deleted.
    pub(super) fn delete_unfinished(&self, keyspace: &Keyspace, attempt: Attempt) -> Result<(), ViewError> {
        let Attempt { first_new, version_max } = attempt;
        let _nobody_flushes = keyspace.tree.get_flush_lock();
        let left = self.tables_in_no_version(keyspace, first_new)?;
        if keyspace.tree.current_version().id() > version_max { Ok(()) } else { delete(left) }
    }

    /// Deletes all tables of a tree that its version does not have, whoever has left them and for whatever
    /// reason, unless somebody may have an older one; says whether none is left. The caller merges nothing of
    /// the tree meanwhile.
    ///
    /// # Errors
    /// As of [`Engine::delete_unfinished`].
    pub(super) fn delete_left(&self, keyspace: &Keyspace) -> Result<bool, ViewError> {
        let tree = &keyspace.tree;
        let _nobody_flushes = tree.get_flush_lock();
        let left = self.tables_in_no_version(keyspace, 0)?;
        let has_older = tree.get_version_history_lock().free_list_len() > 0;
        if !left.is_empty() && (has_older || self.links.linking.load(Ordering::SeqCst) > 0) {
            return Ok(false);
        }
        delete(left)?;
        Ok(true)
    }

    /// The tables of a tree from a number on that its version does not have. Nobody writes any meanwhile.
    ///
    /// # Errors
    /// When the manifest on the disk is not the one in memory: then the disk alone knows what is needed, and
    /// only a start can say where the view goes on.
    fn tables_in_no_version(&self, keyspace: &Keyspace, first: u64) -> Result<Vec<PathBuf>, ViewError> {
        let version = keyspace.tree.current_version();
        let current = keyspace.path().join("current");
        let named = fs::read(&current).map_err(ViewError::io("read", &current))?;
        if named.first_chunk().map(|number| u64::from_le_bytes(*number)) != Some(version.id()) {
            return Err(self.failed("go on with", format!("{} names another manifest", current.display())));
        }
        let needed: HashSet<u64> = version.iter_tables().map(|table| table.id()).collect();
        let tables = keyspace.path().join("tables");
        let mut found = Vec::new();
        for entry in fs::read_dir(&tables).map_err(ViewError::io("list", &tables))? {
            let path = entry.map_err(ViewError::io("list", &tables))?.path();
            let number: Option<u64> = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if number.is_some_and(|number| number >= first && !needed.contains(&number)) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// Deletes as many of these as it can. The error is the first one.
fn delete(tables: Vec<PathBuf>) -> Result<(), ViewError> {
    let mut deleted = Ok(());
    for path in tables {
        if let Err(error) = fs::remove_file(&path)
            // Whoever had an older version may have let it go since it was found.
            && error.kind() != ErrorKind::NotFound
            && deleted.is_ok()
        {
            deleted = Err(ViewError::io("delete", &path)(error));
        }
    }
    deleted
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use ::fjall::AbstractTree as _;

    use super::Attempt;
    use crate::view::fjall::engine::{Batch, Engine, TABLE_BYTES};

    const LEFT: [&str; 2] = ["1000000", "1000001"];

    /// Has tables of one flush after the other, each with the same key.
    fn engine(dir: &Path) -> Engine {
        let engine = Engine::open(dir, &dir.join("engine"), true, 1 << 20).unwrap();
        for value in ["value", "another value"] {
            let mut batch = Batch::default();
            batch.insert(&engine.registers, "key", value);
            engine.write(batch);
            engine.flush(engine.cut(false)).unwrap();
        }
        engine
    }

    /// The beginnings of tables.
    fn leave(engine: &Engine) -> Vec<PathBuf> {
        let tables = engine.registers.path().join("tables");
        let left: Vec<_> = LEFT.map(|name| tables.join(name)).into();
        left.iter().for_each(|path| std::fs::write(path, "the beginning of a table").unwrap());
        left
    }

    fn are_there(paths: &[PathBuf]) -> bool {
        let there = paths.iter().filter(|path| path.exists()).count();
        assert!([0, paths.len()].contains(&there), "{there} of {paths:?}");
        there > 0
    }

    #[test]
    fn what_an_attempt_has_left_goes_and_what_an_older_version_needs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let (keyspace, tree) = (&engine.registers, &engine.registers.tree);
        let (attempt, read) = (Attempt::beside_merges(keyspace), engine.snapshot());
        let left = leave(&engine);
        let merge = || tree.major_compact(TABLE_BYTES, engine.unneeded()).unwrap();
        merge();
        let tables = || -> Vec<PathBuf> {
            tree.current_version().iter_tables().map(|table| table.path.to_path_buf()).collect()
        };
        // Whoever reads has them, or a pin.
        let (version, needed) = (tree.current_version(), tables());
        engine.delete_unfinished(keyspace, attempt).unwrap();
        assert!(!are_there(&left) && are_there(&needed));
        merge();
        assert!(tables().iter().all(|table| !needed.contains(table)), "they are of an older version");
        leave(&engine);
        engine.delete_unfinished(keyspace, attempt).unwrap();
        assert!(are_there(&needed));
        // Whoever reads has them, a pin that links its tables, and then nobody.
        let delete_left = || {
            engine.free_versions(keyspace).unwrap();
            engine.delete_left(keyspace).unwrap()
        };
        let linking = engine.links.linking();
        assert!(!delete_left() && are_there(&left) && are_there(&needed));
        drop(linking);
        assert!(!delete_left() && are_there(&left) && are_there(&needed));
        drop(read);
        let linking = engine.links.linking();
        assert!(!engine.free_files().unwrap() && are_there(&left) && are_there(&needed));
        drop((linking, version));
        assert!(engine.free_files().unwrap() && !are_there(&left) && !are_there(&needed));
        assert!(are_there(&tables()));
    }

    /// Nobody tells that something is gone which half a table may have.
    #[test]
    fn what_is_left_is_not_told_to_be_gone() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let (keyspace, left) = (&engine.registers, leave(&engine));
        // What a flush has just made leaves a version before it.
        assert!(keyspace.tree.get_version_history_lock().free_list_len() > 0);
        assert!(!engine.delete_left(keyspace).unwrap() && are_there(&left));
        // One that cannot be deleted keeps none of the others, and is not forgotten.
        engine.wait_for_reads();
        engine.free_versions(keyspace).unwrap();
        for (stays, goes) in [(&left[0], &left[1]), (&left[1], &left[0])] {
            leave(&engine);
            std::fs::remove_file(stays).unwrap();
            std::fs::create_dir(stays).unwrap();
            engine.free_files().unwrap_err();
            assert!(stays.exists() && !goes.exists());
            engine.free_files().unwrap_err();
            std::fs::remove_dir(stays).unwrap();
        }
        // While all registers are merged nobody knows which of their tables are left.
        leave(&engine);
        let merging = engine.purging.try_merge().unwrap();
        assert!(!engine.free_files().unwrap() && are_there(&left));
        drop(merging);
        assert!(engine.free_files().unwrap() && !are_there(&left));
    }

    /// What a flush has registered on the disk and not in memory.
    #[test]
    fn what_the_manifest_on_the_disk_may_need_stays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let left = leave(&engine);
        let current = engine.registers.path().join("current");
        let (named, mut another) = (std::fs::read(&current).unwrap(), std::fs::read(&current).unwrap());
        another[0] += 1;
        std::fs::write(&current, another).unwrap();
        let error = engine.free_files().unwrap_err().to_string();
        assert!(error.contains("names another manifest") && are_there(&left), "{error}");
        std::fs::write(&current, named).unwrap();
        assert!(engine.free_files().unwrap() && !are_there(&left));
    }
}
