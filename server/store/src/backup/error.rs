//! Why a backup is not made, or not used.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::restore::RESTORING;
use crate::log::{LogError, Position};
use crate::room;
use crate::store::{OpenError, not_there};
use crate::view::ViewError;

/// Why a backup is not made, not used or not restored. What was there before is as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The data folder cannot be read.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Its log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its view cannot be read.
    #[error("{error}{}", .0.advice(), error = .0)]
    View(#[from] ViewError),
    /// The folder holds something else.
    #[error("{} is no folder of backups of Quoth; name one, or a new or empty folder for the first backup", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder that is to have backups is none of these, or is not there.
    #[error("{}", not_there(dir, "folder of backups of Quoth", "a folder that has backups"))]
    NoBackups {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder was written by another version.
    #[error("{} has backups of format {found}, this version reads format {expected}; run the version that wrote them", dir.display())]
    Format {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this version.
        expected: u32,
    },
    /// The folder has backups of another store.
    #[error(
        "{} has backups of another store, or of this one before it was restored from a backup; name a new or empty folder for this one's",
        dir.display()
    )]
    AnotherStore {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process has the folder.
    #[error("{} is in use by another backup; wait for its end or name another folder", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no backup, or none of this number.
    #[error("{} has no backup{}", dir.display(), number.map_or_else(String::new, |number| format!(" of number {number}")))]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The one that was asked for; `None` for the latest one.
        number: Option<u64>,
    },
    /// A manifest is not what was written.
    #[error("the backup's manifest {} is damaged: restore another one, which --backup names", path.display())]
    DamagedManifest {
        /// Its file.
        path: PathBuf,
    },
    /// A file of a backup is missing or not what was written.
    #[error("{} is damaged or missing: backups that need it cannot be restored whole, others can", path.display())]
    DamagedObject {
        /// Its file.
        path: PathBuf,
    },
    /// A file of the data folder is not what was written.
    #[error("{} is damaged, so it is not backed up over a good copy; `quoth-server verify` says what can be done", path.display())]
    DamagedSource {
        /// Its file.
        path: PathBuf,
    },
    /// The log ends before the view, so no server would start with both.
    #[error(
        "the log in {} ends with group {last}, but the view has the groups up to {applied}: a part of the log is missing, so it is not backed up",
        dir.display()
    )]
    ShortLog {
        /// The store's folder.
        dir: PathBuf,
        /// The last group that the view has.
        applied: Position,
        /// The last group of the log.
        last: Position,
    },
    /// A restore was interrupted in the folder.
    #[error(
        "a restore was interrupted in {}, and what it has left in {} is not whole: delete all that is in the folder, and run it again",
        dir.display(), RESTORING
    )]
    Interrupted {
        /// The folder.
        dir: PathBuf,
    },
    /// A backup is restored into a new folder only.
    #[error("{} is not empty; a backup is restored into a new or empty folder, and never over another one", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
}

impl BackupError {
    /// For `map_err`: what was tried with which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

fn advice(source: &io::Error) -> &'static str {
    if room::is_full(source) { "; free space and run it again: what was copied by now counts" } else { "" }
}
