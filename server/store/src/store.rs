//! A log and a view in one folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::applier::FLUSH_BYTES;
use crate::folder::{Folder, StoreId};
use crate::group;
use crate::log::hold::Hold;
use crate::log::memory::MemoryLog;
use crate::log::segment::{Found, SegmentLog};
use crate::log::{Log, LogError, Position};
use crate::pin::{self, Pinner};
use crate::reserve::Reserve;
use crate::view::fjall::FjallView;
use crate::view::memory::MemoryView;
use crate::view::{View, ViewError};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder. Created when it does not exist, for its owner alone.
    pub dir: PathBuf,
    /// Length of a log segment in bytes, at least [`SEGMENT_BYTES_MIN`](crate::SEGMENT_BYTES_MIN). Also the
    /// largest group, headers included. Takes effect with the next segment. Default 64 MiB.
    pub segment_bytes: u64,
    /// Cache of the view in bytes. Default 64 MiB.
    pub cache_bytes: u64,
    /// From where on the log is held for whoever follows it, as [`Log::hold`] does, before anything of it is
    /// freed. The hold is [`Store::hold`]. Default none.
    pub hold_from: Option<Position>,
    /// Bytes of the disk that are held back for what frees space when the disk is full ([`Reserve`]); 0:
    /// none, which is the default.
    pub reserve_bytes: u64,
}

impl Options {
    /// The defaults, for a folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (segment_bytes, cache_bytes) = (64 * 1024 * 1024, 64 * 1024 * 1024);
        Self { dir: dir.into(), segment_bytes, cache_bytes, hold_from: None, reserve_bytes: 0 }
    }
}

/// A log and the view that is built from it.
#[derive(Debug)]
pub struct Store {
    /// Orders and persists.
    pub log: Arc<dyn Log>,
    /// Which store it is.
    pub id: StoreId,
    /// What readers read. Up to date with the log when the store is opened; an [`Applier`](crate::Applier)
    /// keeps it so.
    pub view: Arc<dyn View>,
    /// What [`Options::hold_from`] asked for, for its holder to take.
    pub hold: Option<Hold>,
    /// Says whether the disk is so full that only what frees space is to be stored. Whoever writes to the log
    /// asks it.
    pub reserve: Arc<Reserve>,
    /// Makes copies of it for whoever reads all of it; `None` in memory.
    pub pinner: Option<Pinner>,
    /// `None` in memory.
    folder: Option<Folder>,
}

/// What a store that is open fails with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view.
    #[error("{error}{}", .0.advice(), error = .0)]
    View(#[from] ViewError),
    /// A thread that keeps the view panicked.
    #[error(
        "the view is no longer kept up to date, by a mistake in the program ({what}); restart the server and report it"
    )]
    Panic {
        /// What the panic said.
        what: String,
    },
}

/// Why a store does not open. Nothing that was stored is changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The folder holds something else.
    #[error("{} is no data folder of Quoth; name one, or a new or empty folder for a new server", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder that is to be a data folder already is none, or is not there.
    #[error("{}", not_there(dir, "data folder of Quoth", "the data folder of a server"))]
    NoDataFolder {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder was written by another version.
    #[error("{} has format {found}, this version reads format {expected}; run the version that wrote it", dir.display())]
    Format {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this version.
        expected: u32,
    },
    /// What tells the folder's format and which store it is was changed or cut short.
    #[error("{} is damaged; restore the folder from a backup", path.display())]
    FormatDamaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the folder.
    #[error("{} is in use by another process; stop that one or name another folder", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The log does not open.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view does not open.
    #[error("{error}{}", .0.advice(), error = .0)]
    View(#[from] ViewError),
    /// The log no longer has groups that the view needs.
    #[error(
        "the view in {} holds the groups up to {applied}, but the log starts at {first}: the groups between are lost. \
         Restore the folder from a backup",
        dir.display()
    )]
    LogTooShort {
        /// The data folder.
        dir: PathBuf,
        /// How far the view is.
        applied: Position,
        /// The first group of the log.
        first: Position,
    },
    /// There is no view, and the log does not reach back far enough to build one.
    #[error(
        "there is no view in {}, and the log starts at {first}: the groups before were only in the view, so that it \
         cannot be built anew. Restore the folder from a backup",
        dir.display()
    )]
    ViewMissing {
        /// The data folder.
        dir: PathBuf,
        /// The first group of the log.
        first: Position,
    },
    /// The view has groups that the log does not know of.
    #[error(
        "the view in {} holds the groups up to {applied}, but the log ends before {next}: the log or a part of it was \
         deleted. Restore the folder from a backup",
        dir.display()
    )]
    ViewAhead {
        /// The data folder.
        dir: PathBuf,
        /// How far the view is.
        applied: Position,
        /// The position that the log would give next.
        next: Position,
    },
}

/// What is wrong with a folder that must be there: it is none of what it is to be, or is not there at all. A new
/// one would be of no use.
pub(crate) fn not_there(dir: &Path, what: &str, meant: &str) -> String {
    let dir_shown = dir.display();
    match dir.exists() {
        true => format!("{dir_shown} is no {what}: name {meant}"),
        false => format!("{dir_shown} is not there: name {meant}"),
    }
}

impl OpenError {
    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

impl Store {
    /// Opens or creates the store in a folder. The log's groups that the view does not hold are applied; a
    /// view that is missing is rebuilt while the log reaches back to the first group.
    ///
    /// # Errors
    /// When the folder is foreign, of another version or in use, or log or view are damaged or do not fit
    /// together.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { dir, segment_bytes, cache_bytes, hold_from, reserve_bytes } = options;
        let folder = Folder::take(&dir)?;
        pin::delete_left_over(&dir)?;
        let stored = FjallView::checkpoint(&folder.view())?;
        let checkpoint = stored.unwrap_or_default();
        let found = Found::look(&folder.log(), checkpoint).map_err(|error| match (error, stored) {
            (LogError::Gone { first, .. }, Some(applied)) => {
                OpenError::LogTooShort { dir: dir.clone(), applied, first }
            }
            (LogError::Gone { first, .. }, None) => OpenError::ViewMissing { dir: dir.clone(), first },
            (error, _) => error.into(),
        })?;
        if checkpoint >= found.next() {
            return Err(OpenError::ViewAhead { dir, applied: checkpoint, next: found.next() });
        }
        let reserve = Reserve::open(&dir, reserve_bytes)?;
        let (of_log, of_view) = (reserve.beside(&folder.log())?, reserve.beside(&folder.view())?);
        let view = FjallView::open_with(&folder.view(), cache_bytes, of_view)?.with_new_from(found.next());
        let log = SegmentLog::start(found, segment_bytes, of_log)?;
        let hold = hold_from.map(|from| log.hold(from));
        catch_up(&log, &view)?;
        // Behind what a start needs.
        reserve.settle()?;
        let (log, view) = (Arc::new(log), Arc::new(view));
        let pinner = Some(Pinner { dir, log: Arc::clone(&log), view: Arc::clone(&view) });
        Ok(Self { log, id: folder.id(), view, hold, reserve, pinner, folder: Some(folder) })
    }

    /// A store in memory.
    #[must_use]
    pub fn memory() -> Self {
        let (log, view) = (Arc::new(MemoryLog::new()), Arc::new(MemoryView::new()));
        let reserve = Reserve::none();
        Self { log, id: StoreId::MEMORY, view, hold: None, reserve, pinner: None, folder: None }
    }

    /// Flushes the view and closes the log. Stop the [`Applier`](crate::Applier) before. The folder is free
    /// for another process once the last clone of log and view is dropped as well.
    ///
    /// # Errors
    /// When either fails. What was acked is stored nevertheless.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { log, view, folder, hold: _, reserve, pinner, id: _ } = self;
        view.flush()?;
        log.close()?;
        reserve.close();
        // The folder is released last.
        drop((log, view, pinner));
        drop(folder);
        Ok(())
    }
}

/// Applies what the view does not hold yet. It is flushed, and the log behind it trimmed, as often as an
/// applier does this: else the log would grow as long as every run ends in a crash before its applier's first
/// flush.
fn catch_up(log: &SegmentLog, view: &FjallView) -> Result<(), OpenError> {
    let (from, end) = (view.applied().next(), log.next());
    if from == end {
        return Ok(());
    }
    tracing::info!(%from, groups = end.0 - from.0, "applying the log to the view");
    let started = Instant::now();
    let mut unflushed_bytes = 0;
    let mut apply = |position: Position, bytes: &[u8]| -> Result<(), OpenError> {
        let records = group::decode(bytes).map_err(|error| {
            LogError::Visit(format!("the group at position {position} does not decode: {error}"))
        })?;
        view.apply(position, &records)?;
        unflushed_bytes += bytes.len() as u64;
        if unflushed_bytes >= FLUSH_BYTES {
            log.trim(view.flush()?.next())?;
            unflushed_bytes = 0;
        }
        Ok(())
    };
    let mut failed = None;
    let read = log.read(from, &mut |position, bytes| {
        if (position.0 - from.0).is_multiple_of(100_000) && position > from {
            tracing::info!(%position, %end, "applying the log to the view");
        }
        apply(position, bytes).map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            LogError::Visit(text)
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    read?;
    tracing::info!(elapsed_ms = started.elapsed().as_millis(), "the view is up to date");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::{Options, Store};
    use crate::durable::syncs;

    #[test]
    fn the_names_of_all_folders_are_durable_once_the_store_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data/store");
        syncs::take();
        Store::open(Options::new(&data_dir)).unwrap().close().unwrap();
        let synced = syncs::take();
        // Of `data`; of `store`; of `log` and `view`; of the segment; of the checkpoint.
        let parents = [dir.path().to_owned(), dir.path().join("data"), data_dir.clone()];
        for folder in parents.iter().chain(&[data_dir.join("log"), data_dir.join("view")]) {
            assert!(synced.contains(folder), "{} is not synced", folder.display());
        }
    }

    #[test]
    fn log_and_view_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        // Made by somebody else, for everybody.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Store::open(Options::new(dir.path())).unwrap().close().unwrap();
        for name in ["log", "view"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }
}
