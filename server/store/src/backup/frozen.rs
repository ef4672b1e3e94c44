//! A data folder's store that nobody changes while it is read: that of a stopped server, a pin of a running one, or a backup.

use std::fs;
use std::path::{Path, PathBuf};

use quoth_protocol::ConversationName;

use super::error::BackupError;
use crate::folder::{FORMAT_FILE, Folder, log_dir, view_dir};
use crate::group;
use crate::log::segment::{Extent, extents, walk_until};
use crate::log::{LogError, Position};
use crate::view::View;
use crate::view::fjall::FjallView;

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

impl Frozen {
    /// The store of a stopped server, which cannot start until this is dropped. `dir` is the store's own folder.
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

    /// Its files, under their names in a data folder, and the last position.
    pub(super) fn files(&self) -> Result<(Vec<SourceFile>, Position), BackupError> {
        let mut files = vec![whole(self.dir.join(FORMAT_FILE), format!("store/{FORMAT_FILE}"), None)?];
        let (segments, last) = extents(&log_dir(&self.dir), self.end)?;
        for Extent { path, end, bytes } in segments {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("store/log/{name}");
            files.push(SourceFile { name, path, bytes, end: end.unwrap_or(bytes), checksum: None });
        }
        let view_dir = view_dir(&self.dir);
        if let Some(view) = FjallView::open_copy(&view_dir, CACHE_BYTES)? {
            let tables = view.tables();
            add_view(&view_dir, "store/view", &tables, &mut files)?;
        }
        Ok((files, last))
    }

    /// Reads every conversation from its first event on, with what its log has beyond its view; `wants` says which. `visit` gets
    /// the records in order, conversation after conversation, registers left out.
    ///
    /// # Errors
    /// When it is damaged, or the visitor fails.
    pub fn export<E: From<BackupError>>(
        &self,
        wants: &dyn Fn(&ConversationName) -> bool,
        visit: &mut dyn FnMut(&crate::Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let view = self.whole_view()?;
        for conversation in view.conversations().map_err(BackupError::from)? {
            if !wants(&conversation) {
                continue;
            }
            let mut cursor = view.bounds(&conversation).map_err(BackupError::from)?.floor.0.saturating_sub(1);
            loop {
                let limit = crate::PageLimit { records: 1_000, bytes: 4 * 1024 * 1024 };
                let after = view.after(&conversation, quoth_protocol::Seq(cursor), limit);
                let page = after.map_err(BackupError::from)?;
                let Some(last) = page.last() else { break };
                cursor = last.seq.0;
                page.iter().try_for_each(&mut *visit)?;
            }
        }
        Ok(())
    }

    /// Its view in a temporary copy, with everything that the log has.
    fn whole_view(&self) -> Result<FjallView, BackupError> {
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

/// Adds a folder of the view: of tables those that are needed, whose checksums are known, and of journals, which are not used,
/// the names.
fn add_view(
    dir: &Path,
    name: &str,
    tables: &[crate::view::fjall::TableFile],
    files: &mut Vec<SourceFile>,
) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(BackupError::io("list", dir))? {
        let path = entry.map_err(BackupError::io("list", dir))?.path();
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/{file_name}");
        if path.is_dir() {
            add_view(&path, &name, tables, files)?;
        } else if name.contains("/tables/") {
            // The view is open in a copy, where its tables are links that have other folders above them.
            let place = |path: &Path| -> Option<PathBuf> {
                let tree = path.parent()?.parent()?;
                Some(PathBuf::from(tree.file_name()?).join(path.file_name()?))
            };
            let held = tables.iter().find(|table| place(&table.path) == place(&path));
            if let Some(table) = held {
                files.push(whole(path, name, Some(table.checksum))?);
            }
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            files.push(SourceFile { name, path, bytes: 0, end: 0, checksum: None });
        } else {
            files.push(whole(path, name, None)?);
        }
    }
    Ok(())
}
