//! `quoth-server backup` and `quoth-server restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use quoth_store::backup::{Added, BackupError, BackupFolder, ExtraFile, Frozen, Pace};

use super::amount::{count, size};
use super::print;
use super::progress::Bar;
use super::verify::{verify_backups, what_it_has};
use crate::config::Config;
use crate::control::{self, Pinned};
use crate::data_folder::OUTBOX_FILE;
use crate::engine::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Folder of backups; made when it is missing
    #[arg(long, value_name = "BACKUP_DIR")]
    to: PathBuf,
    /// Keep so many backups, this one among them, and delete older ones. Default: keep all
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Back up the keys in the data folder, too: whoever has them can sign in as anybody in development mode,
    /// and reads what was recorded of connections that came back. Default: they are made anew, and
    /// development tokens are no longer good
    #[arg(long)]
    keys: bool,
    /// Copy as fast as the disk is, also beside a running server. Default: each thread that copies rests for
    /// a fifth of the time
    #[arg(long)]
    full_speed: bool,
    /// Check every file of every backup in the folder afterwards, as `verify --backups` does
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Folder of backups
    #[arg(long, value_name = "BACKUP_DIR")]
    from: PathBuf,
    /// Number of the backup. Default: the latest one
    #[arg(long, value_name = "NUMBER")]
    backup: Option<u64>,
    /// Say what would be restored, and whether it could be as far as that is seen without reading it; write
    /// nothing. `verify --backups` reads it
    #[arg(long)]
    dry_run: bool,
}

/// A store that stays as it is while it is read, wherever its server is.
pub(super) struct Source {
    pub(super) store: Frozen,
    /// The running server's.
    pub(super) pinned: Option<Pinned>,
}

impl Source {
    /// The store of a data folder: pinned by the server that runs on it, or locked so that none starts.
    pub(super) fn of(data_dir: &Path) -> Result<Self, String> {
        let store_dir = data_dir.join("store");
        if let Some(pinned) = control::pinned(data_dir)? {
            return Ok(Self { store: Frozen::of_pin(&pinned.dir, pinned.end), pinned: Some(pinned) });
        }
        let stopped = Frozen::of_stopped(&store_dir).map_err(|error| match error {
            BackupError::Store(quoth_store::OpenError::Locked { .. }) => {
                format!("{error} (a server that runs on it is starting or stopping, or is of another version: try again)")
            }
            error => error.to_string(),
        });
        Ok(Self { store: stopped?, pinned: None })
    }
}

pub(super) fn backup(config: &Config, args: &BackupArgs) -> Result<(), String> {
    let time_ms = SystemClock.unix_ms();
    let Source { store, pinned } = Source::of(&config.data_dir)?;
    let folder = BackupFolder::take(&args.to).map_err(|error| error.to_string())?;
    // A running server's cursor is of the moment of the pin: the live one goes on.
    let outbox = pinned.as_ref().map_or(config.data_dir.as_path(), |pinned| &pinned.dir).join(OUTBOX_FILE);
    let extra = extra_files(&config.data_dir, outbox, args.keys)?;
    let pace = if pinned.is_some() && !args.full_speed { Pace::Gentle } else { Pace::Full };
    let bar = Bar::new("backing up");
    let added = folder.add(&store, &extra, time_ms, pace, &mut |bytes| bar.show(bytes));
    bar.end();
    let Added { number, position, bytes, new_bytes } = added.map_err(|error| error.to_string())?;
    drop((store, pinned));
    let new = match new_bytes {
        _ if number == 1 => "all of it new".to_owned(),
        new_bytes => format!("{} of it new", size(new_bytes)),
    };
    print(&format!(
        "backup {number} in {}: {}, {new}, the log up to position {position}\n",
        args.to.display(),
        size(bytes)
    ))?;
    if let Some(kept_max) = args.keep {
        let deleted = folder
            .keep(usize::try_from(kept_max).unwrap_or(usize::MAX))
            .map_err(|error| error.to_string())?;
        if deleted > 0 {
            print(&format!("{} deleted\n", count(deleted as u64, "older backup")))?;
        }
    }
    // For whoever checks it.
    drop(folder);
    if args.verify { verify_backups(config, &args.to) } else { Ok(()) }
}

/// What is in a data folder besides the store.
fn extra_files(data_dir: &Path, outbox: PathBuf, with_keys: bool) -> Result<Vec<ExtraFile>, String> {
    let mut files = Vec::new();
    if outbox.exists() {
        files.push(ExtraFile { name: OUTBOX_FILE.to_owned(), path: outbox });
    }
    let keys = data_dir.join("keys");
    if with_keys && keys.exists() {
        let failed = |error| format!("{} cannot be listed: {error}", keys.display());
        for entry in std::fs::read_dir(&keys).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                let name = format!("keys/{}", path.file_name().unwrap_or_default().to_string_lossy());
                files.push(ExtraFile { name, path });
            }
        }
    }
    Ok(files)
}

pub(super) fn restore(config: &Config, args: &RestoreArgs) -> Result<(), String> {
    let folder = BackupFolder::take_existing(&args.from).map_err(|error| error.to_string())?;
    if args.dry_run {
        let restorable = folder.restorable(args.backup, &config.data_dir);
        let (number, backup) = restorable.map_err(|error| error.to_string())?;
        let (dir, what) = (config.data_dir.display(), what_it_has(&backup));
        return print(&format!("backup {number} would be restored in {dir}: {what}\n"));
    }
    let bar = Bar::new("restoring");
    let restored = folder.restore(args.backup, &config.data_dir, &mut |bytes| bar.show(bytes));
    bar.end();
    let (number, backup) = restored.map_err(|error| error.to_string())?;
    print(&format!(
        "backup {number} is in {}: {}\n\
         it knows nothing of what was done since: tokens that were revoked, users who were banned, blocked or erased, and\n\
         holds; do these again before clients come (docs/OPERATIONS.md, Backups)\n",
        config.data_dir.display(),
        what_it_has(&backup)
    ))
}
