//! A data folder's store that nobody changes while it is read: that of a stopped server, a pin of a running
//! one, or a backup.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use crate::folder::{self, FORMAT_FILE, Folder, log_dir, view_dir};
use crate::group;
use crate::log::segment::{Extent, extents, walk_until};
use crate::log::{LogError, Position};
use crate::view::View as _;
use crate::view::fjall::{FilePlace as Place, FjallView, place};

/// Cache of the view while it is read.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// A store that nobody changes while it is read.
#[derive(Debug)]
pub struct Frozen {
    dir: PathBuf,
    end: Option<Position>,
    /// Of a stopped server: nobody starts it meanwhile.
    _folder: Option<Folder>,
}

/// A file besides the store that is to be in a backup.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Its path in the data folder, with slashes, as in `outbox.json`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A file that is to be in a backup.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its length in the backup.
    pub(super) bytes: u64,
    /// What is behind this many bytes reads as zeros.
    pub(super) end: u64,
    /// What it must be, if that is known.
    pub(super) checksum: Option<u128>,
}

/// What is to be in a backup.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<SourceFile>,
    /// Folders, which may be empty, under their names in a data folder.
    pub(super) folders: Vec<String>,
    /// The last group of the log.
    pub(super) last: Position,
    /// Which store it is.
    pub(super) store: String,
}

impl Frozen {
    /// The store of a stopped server, which cannot start until this is dropped. `dir` is the store's own
    /// folder.
    ///
    /// # Errors
    /// When it is none, of another version, or in use.
    pub fn of_stopped(dir: &Path) -> Result<Self, BackupError> {
        let folder = Folder::take_existing(dir)?;
        Ok(Self { dir: dir.to_owned(), end: None, _folder: Some(folder) })
    }

    /// A [`Pin`](crate::Pin) of another process, which has everything up to `end`.
    #[must_use]
    pub fn of_pin(dir: &Path, end: Position) -> Self {
        Self { dir: dir.to_owned(), end: Some(end), _folder: None }
    }

    /// All that it is made of.
    pub(super) fn list(&self) -> Result<Listing, BackupError> {
        let id = folder::id_of(&self.dir)?;
        let store = id.ok_or_else(|| crate::OpenError::Foreign { dir: self.dir.clone() })?.to_string();
        let mut listing = Listing { store, ..Listing::default() };
        listing.files.push(whole(self.dir.join(FORMAT_FILE), format!("store/{FORMAT_FILE}"), None)?);
        let segments;
        (segments, listing.last) = extents(&log_dir(&self.dir), self.end)?;
        for Extent { path, end, bytes } in segments {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("store/log/{name}");
            listing.files.push(SourceFile { name, path, bytes, end: end.unwrap_or(bytes), checksum: None });
        }
        let view_dir = view_dir(&self.dir);
        if let Some(view) = FjallView::list(&view_dir)? {
            if view.applied > listing.last {
                return Err(BackupError::ShortLog {
                    dir: self.dir.clone(),
                    applied: view.applied,
                    last: listing.last,
                });
            }
            listing.add_view(&view_dir, &view.tables)?;
        }
        Ok(listing)
    }

    /// Its view in a temporary copy, with everything that the log has.
    ///
    /// # Errors
    /// When the log or the view is damaged as a whole, or a copy cannot be made.
    pub fn view(&self) -> Result<FjallView, BackupError> {
        let view_dir = view_dir(&self.dir);
        let view = FjallView::open_copy(&view_dir, CACHE_BYTES)?;
        let view = view.map_or_else(|| FjallView::open_new_copy(&view_dir, CACHE_BYTES), Ok)?;
        walk_until(&log_dir(&self.dir), view.applied(), self.end, &mut |position, bytes| {
            let records = group::decode(bytes).map_err(|error| {
                LogError::Visit(format!("the group at position {position} does not decode: {error}"))
            })?;
            view.apply(position, &records).map_err(|error| LogError::Visit(error.to_string()))
        })?;
        Ok(view)
    }
}

/// A file that is copied as it is.
pub(super) fn whole(path: PathBuf, name: String, checksum: Option<u128>) -> Result<SourceFile, BackupError> {
    let bytes = path.metadata().map_err(BackupError::io("read the length of", &path))?.len();
    Ok(SourceFile { name, path, bytes, end: bytes, checksum })
}

impl Listing {
    /// Adds the folder of the view. Every table that is needed has to be met there.
    fn add_view(&mut self, dir: &Path, tables: &BTreeMap<Place, u128>) -> Result<(), BackupError> {
        self.add_view_dir(dir, "store/view", tables)?;
        if self.files.iter().filter(|file| file.checksum.is_some()).count() == tables.len() {
            Ok(())
        } else {
            Err(BackupError::DamagedSource { path: dir.to_owned() })
        }
    }

    /// Adds a folder of the view: of tables those that are needed, whose checksums are known, and of
    /// journals, which are not used, the names.
    fn add_view_dir(
        &mut self,
        dir: &Path,
        name: &str,
        tables: &BTreeMap<Place, u128>,
    ) -> Result<(), BackupError> {
        self.folders.push(name.to_owned());
        for entry in fs::read_dir(dir).map_err(BackupError::io("list", dir))? {
            let path = entry.map_err(BackupError::io("list", dir))?.path();
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{name}/{file_name}");
            if path.is_dir() {
                self.add_view_dir(&path, &name, tables)?;
            } else if dir.ends_with("tables") {
                // Others are left over.
                if let Some(checksum) = place(&path).and_then(|place| tables.get(&place)) {
                    self.files.push(whole(path, name, Some(*checksum))?);
                }
            } else if path.extension().is_some_and(|extension| extension == "jnl") {
                self.files.push(SourceFile { name, path, bytes: 0, end: 0, checksum: None });
            } else {
                self.files.push(whole(path, name, None)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::{BackupError, Listing};

    #[test]
    fn a_table_that_is_needed_and_not_met_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let tables = dir.path().join("keyspaces/1/tables");
        fs::create_dir_all(&tables).unwrap();
        fs::write(tables.join("7"), "a table").unwrap();
        fs::write(tables.join("8"), "one that is left over").unwrap();
        let needed = |table: &str| (("1".into(), table.into()), 0);
        let listed = |needed: &BTreeMap<_, _>| {
            let mut listing = Listing::default();
            listing.add_view(dir.path(), needed).map(|()| listing.files.len())
        };
        assert_eq!(listed(&BTreeMap::from([needed("7")])).unwrap(), 1);
        let error = listed(&BTreeMap::from([needed("7"), needed("9")])).unwrap_err();
        assert!(matches!(&error, BackupError::DamagedSource { path } if path == dir.path()), "{error}");
    }
}
