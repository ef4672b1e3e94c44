//! The view's files as they are at one moment, for whoever reads all of them while it goes on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use ::fjall::AbstractTree as _;

use super::engine::Engine;
use super::{ENGINE_DIR, FjallView, checkpoint, copy};
use crate::view::ViewError;

/// A table as a file.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The checksum of the whole file, as its manifest has it.
    pub(crate) checksum: u128,
}

impl Engine {
    /// All tables that hold rows.
    fn tables(&self) -> Vec<TableFile> {
        let versions = self.keyspaces().map(|keyspace| keyspace.tree.current_version());
        let tables = versions.iter().flat_map(|version| version.iter_tables());
        tables
            .map(|table| TableFile { path: table.path.to_path_buf(), checksum: table.checksum().into_u128() })
            .collect()
    }
}

impl FjallView {
    /// Puts the view as it was at its last flush into a folder that does not exist yet: tables as links, since they never
    /// change, and the rest as copies. Flushes and merges wait meanwhile, which is for a moment. Nothing is flushed for it.
    pub(crate) fn pin(&self, to: &Path) -> Result<(), ViewError> {
        let _nobody_flushes = self.checkpoint.lock();
        let _nobody_merges = self.engine.merging.lock();
        let tables: HashSet<_> = self.engine.tables().into_iter().filter_map(|table| place(&table.path)).collect();
        let engine_dir = to.join(ENGINE_DIR);
        fs::create_dir_all(&engine_dir).map_err(ViewError::io("create", &engine_dir))?;
        checkpoint::copy(&self.dir, to)?;
        copy::copy_dir(&self.dir.join(ENGINE_DIR), &engine_dir, &|table, link| {
            let is_needed = place(table).is_some_and(|place| tables.contains(&place));
            if is_needed { fs::hard_link(table, link) } else { Ok(()) }
        })
    }

    /// All tables that hold rows, of a view that nobody changes meanwhile. Of a copy these are the links.
    pub(crate) fn tables(&self) -> Vec<TableFile> {
        self.engine.tables()
    }
}

/// Which table of which tree it is, whatever the folder is called.
fn place(table: &Path) -> Option<PathBuf> {
    let tree = table.parent()?.parent()?;
    Some(PathBuf::from(tree.file_name()?).join(table.file_name()?))
}
