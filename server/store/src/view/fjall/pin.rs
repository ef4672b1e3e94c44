//! The view's files as they are at one moment, for whoever reads all of them while it goes on.

use std::collections::HashSet;
use std::ffi::OsString;
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
        let versions: Vec<_> = self.keyspaces().map(|keyspace| keyspace.tree.current_version()).collect();
        let tables = versions.iter().flat_map(|version| version.iter_tables());
        tables
            .map(|table| TableFile { path: table.path.to_path_buf(), checksum: table.checksum().into_u128() })
            .collect()
    }
}

impl FjallView {
    /// Puts the view as it was at its last flush into a folder that does not exist yet: tables as links,
    /// since they never change, and the rest as copies. Flushes and merges wait meanwhile, which is for a
    /// moment. Nothing is flushed for it.
    pub(crate) fn pin(&self, to: &Path) -> Result<(), ViewError> {
        let _nobody_flushes = self.checkpoint.lock();
        let _nobody_merges = self.engine.merging.lock();
        let tables: HashSet<_> = self.engine.tables().iter().filter_map(TableFile::place).collect();
        let trees: HashSet<_> =
            self.engine.keyspaces().filter_map(|tree| Some(tree.path().file_name()?.to_owned())).collect();
        let engine_dir = to.join(ENGINE_DIR);
        fs::create_dir_all(&engine_dir).map_err(ViewError::io("create", &engine_dir))?;
        checkpoint::copy(&self.dir, to)?;
        copy::copy_dir(&self.dir.join(ENGINE_DIR), &engine_dir, &|table, link| {
            // fjall has a tree of its own, which does not change while the view is open.
            let is_needed =
                place(table).is_some_and(|place| !trees.contains(&place.0) || tables.contains(&place));
            if is_needed { fs::hard_link(table, link) } else { Ok(()) }
        })
    }

    /// All tables that hold rows, of a view that nobody changes meanwhile. Of a copy these are the links.
    pub(crate) fn tables(&self) -> Vec<TableFile> {
        self.engine.tables()
    }
}

impl TableFile {
    /// Which tree's table it is, and which of it, whatever the folder is called.
    pub(crate) fn place(&self) -> Option<Place> {
        place(&self.path)
    }
}

/// Names of a tree's folder and of a table in it.
pub(crate) type Place = (OsString, OsString);

/// Which table of which tree a file is.
pub(crate) fn place(table: &Path) -> Option<Place> {
    let tree = table.parent()?.parent()?;
    Some((tree.file_name()?.to_owned(), table.file_name()?.to_owned()))
}
