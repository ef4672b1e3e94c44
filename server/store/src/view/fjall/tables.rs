//! Checks fjall's tables as files.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use ::fjall::AbstractTree as _;
use xxhash_rust::xxh3::Xxh3Default;

use super::FjallView;
use super::engine::Engine;
use crate::verify::{Finding, Progress};
use crate::view::ViewError;

const READ_BYTES: usize = 256 * 1024;

impl Engine {
    /// Compares each table with the checksum of the whole file that its manifest has, and gives those that
    /// are damaged. Rows say only that some table is.
    pub(super) fn damaged_tables(&self, progress: &mut dyn FnMut(Progress)) -> Vec<ViewError> {
        let versions: Vec<_> = self.keyspaces().map(|keyspace| keyspace.tree.current_version()).collect();
        let tables: Vec<_> = versions.iter().flat_map(|version| version.iter_tables()).collect();
        let mut damaged = Vec::new();
        for (done, table) in (1..).zip(&tables) {
            // A copy has links in place of tables.
            let path = fs::canonicalize(&*table.path).unwrap_or_else(|_| table.path.to_path_buf());
            match checksum(&path) {
                Ok(found) if found == table.checksum().into_u128() => {}
                Ok(_) => damaged.push(ViewError::DamagedTable { path }),
                Err(error) => damaged.push(ViewError::io("read", &path)(error)),
            }
            progress(Progress::Tables { done, tables: tables.len() });
        }
        damaged
    }
}

impl FjallView {
    /// The tables that are damaged.
    pub(crate) fn check_tables(&self, progress: &mut dyn FnMut(Progress)) -> Vec<Finding> {
        self.engine.damaged_tables(progress).into_iter().map(Finding::View).collect()
    }
}

fn checksum(path: &Path) -> std::io::Result<u128> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, Xxh3Default::new(), vec![0; READ_BYTES]);
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(hasher.digest128());
        }
        hasher.update(&bytes[..read]);
    }
}
