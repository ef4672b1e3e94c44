//! `quoth-server backup` and `quoth-server restore`.

use std::path::{Component, Path, PathBuf};

use clap::Args;
use quoth_store::backup::{Added, BackupError, BackupFolder, ExtraFile, Frozen, Pace};

use super::amount::{count, size};
use super::progress::Bar;
use super::verify::{verify_backups, what_it_has};
use super::{Failure, print};
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
    /// Copy as fast as the disk is, also beside a running server. Default: less is on its way to the disk at
    /// once, so that messages wait less for it
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

pub(super) fn backup(config: &Config, args: &BackupArgs) -> Result<(), Failure> {
    let time_ms = SystemClock.unix_ms();
    // Before anything is pinned, locked or made.
    if lies_in(&config.data_dir, &args.to) {
        return Err(Failure::mistake(format!(
            "{} lies in the data folder {} itself, with which its backups would be lost: name a folder elsewhere with --to, best \
             on another disk",
            args.to.display(),
            config.data_dir.display()
        )));
    }
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
    if args.verify { Ok(verify_backups(config, &args.to)?) } else { Ok(()) }
}

/// Whether a folder, there or not, is the data folder or below it, or below the store, which a link may have put
/// elsewhere.
fn lies_in(data_dir: &Path, dir: &Path) -> bool {
    let Some(dir) = resolved(dir) else { return false };
    let ours = [data_dir.to_owned(), data_dir.join("store")];
    ours.iter().filter_map(|ours| ours.canonicalize().ok()).any(|ours| dir.starts_with(ours))
}

/// A path without links. What is not there yet has none, and will be below the nearest folder that is.
fn resolved(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let (below, mut resolved) = path.ancestors().find_map(|above| {
        let below = path.strip_prefix(above).ok()?;
        Some((below, above.canonicalize().ok()?))
    })?;
    let goes_up = below.components().any(|part| part == Component::ParentDir);
    for part in below.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    // It may have come to a link.
    if goes_up { self::resolved(&resolved) } else { Some(resolved) }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_in_the_data_folder_by_whatever_way_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for dir in ["data/keys", "disk/store", "data-2"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        for (target, link) in [("disk/store", "data/store"), ("data", "link"), ("data/keys", "inner")] {
            symlink(at(target), at(link)).unwrap();
        }
        for (to, expected) in [
            ("data", true),
            ("data/.", true),
            ("data/new", true),
            ("data/new/deeper", true),
            ("data-2/../data/new", true),
            ("data-3/../data/new", true),
            ("data-3/deeper/../../link/new", true),
            ("link", true),
            ("link/new", true),
            ("inner/new", true),
            ("disk/store/new", true),
            ("data-2", false),
            ("data-3", false),
            ("disk/new", false),
            ("data/../new", false),
        ] {
            for data in ["data", "link"] {
                assert_eq!(lies_in(&at(data), &at(to)), expected, "{to} in {data}");
            }
        }
        assert!(!lies_in(&at("none"), &at("none/new")), "that there is no such folder is told elsewhere");
    }
}
