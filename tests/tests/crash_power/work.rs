//! What the process does whose disk is watched, and what is to be left of it.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::backup::{BackupFolder, Frozen, Pace};
use quoth_store::testing::{change, commit, notice, record, set};
use quoth_store::{Applier, ApplierOptions, Options, PageLimit, Position, Record, Store, verify};

/// Groups that are written. So many that segments roll and tables are merged.
const GROUPS: u64 = 260;

/// After these a backup is made.
const BACKUPS_AT: [u64; 2] = [90, 200];

/// Small, so that everything happens often.
const SEGMENT_BYTES: u64 = 8192;
const FLUSH_BYTES: u64 = 6_000;

fn open(dir: &Path) -> anyhow::Result<Store> {
    let options =
        Options { segment_bytes: SEGMENT_BYTES, cache_bytes: 1 << 20, ..Options::new(dir.join("store")) };
    Ok(Store::open(options)?)
}

fn group(position: u64) -> Vec<Record> {
    vec![
        change("a", position, [set(&format!("key {}", position % 7), &position.to_string())]),
        record("b", position, position),
        notice("c", [set("last", &position.to_string())]),
    ]
}

/// Stores groups and says of each that it is stored, and of each backup that it is made.
pub(crate) fn write(dir: &Path) -> anyhow::Result<()> {
    let store = open(dir)?;
    let options = ApplierOptions { flush_bytes: FLUSH_BYTES, ..ApplierOptions::default() };
    let on_failure = Box::new(|error| panic!("{error}"));
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    for position in 1..=GROUPS {
        let group = group(position);
        let stored = commit(&*store.log, &group)?;
        applier.submit(stored, group.into());
        writeln!(std::io::stdout(), "stored {position}")?;
        if BACKUPS_AT.contains(&position) {
            let pin = store.pinner.as_ref().context("a store on disk")?.pin(&[])?;
            let folder = BackupFolder::take(&dir.join("backup"))?;
            let frozen = Frozen::of_pin(pin.dir(), pin.end());
            let added = folder.add(&frozen, &[], position, Pace::Full, &mut |_| {})?;
            writeln!(std::io::stdout(), "backed up {} {position}", added.number)?;
        }
    }
    applier.stop();
    store.close()?;
    Ok(())
}

/// What the process has told by some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The last group that is stored.
    pub(crate) stored: u64,
    /// The last backup that is made, and the last group that was stored before.
    pub(crate) backup: Option<(u64, u64)>,
}

impl Told {
    pub(crate) fn hear(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(position) = line.strip_prefix("stored ") {
                self.stored = position.parse().expect("a position");
            } else if let Some((number, position)) =
                line.strip_prefix("backed up ").and_then(|rest| rest.split_once(' '))
            {
                self.backup =
                    Some((number.parse().expect("a number"), position.parse().expect("a position")));
            }
        }
    }
}

/// Whether what a power cut has left opens, and has everything that was told. `thoroughly` walks through all of it too.
pub(crate) fn check(dir: &Path, told: Told, thoroughly: bool) -> anyhow::Result<()> {
    // Damage may make the engine panic.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        has_all(dir, told.stored)?;
        if thoroughly {
            is_sound(dir)?;
        }
        match told.backup {
            Some(backup) => has_backup(dir, backup, thoroughly),
            None => Ok(()),
        }
    }));
    checked.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")))
}

fn has_all(dir: &Path, stored: u64) -> anyhow::Result<()> {
    let store = open(dir)?;
    let last = store.log.next().0 - 1;
    ensure!(last >= stored, "{stored} was told, the log ends at {last}");
    ensure!(
        store.view.applied() == Position(last),
        "the view is at {}, the log at {last}",
        store.view.applied()
    );
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    for (place, name) in [(0, "a"), (1, "b")] {
        let records = store.view.after(&ConversationName::new(name)?, Seq::ZERO, all)?;
        let expected =
            (1..=last).map(|position| Record { registers: Vec::new(), ..group(position)[place].clone() });
        ensure!(records.iter().cloned().eq(expected), "{name} has other events than were stored");
    }
    let register = store.view.register(&ConversationName::new("c")?, b"last")?;
    let expected = (last > 0).then(|| last.to_string());
    ensure!(register.as_deref() == expected.as_ref().map(String::as_bytes), "a register holds {register:?}");
    Ok(())
}

fn is_sound(dir: &Path) -> anyhow::Result<()> {
    let report = verify(&dir.join("store"), &mut |_| {})?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(())
}

fn has_backup(dir: &Path, (number, stored): (u64, u64), thoroughly: bool) -> anyhow::Result<()> {
    let folder = BackupFolder::take_existing(&dir.join("backup"))?;
    let (latest, backup) = folder.backup(None)?;
    ensure!(
        latest >= number && backup.position >= stored,
        "backup {number} of {stored} was told, there is {latest}"
    );
    let checked = folder.check(&mut |_| {})?;
    ensure!(checked.findings.is_empty(), "{:?}", checked.findings);
    if thoroughly {
        let restored = dir.join("restored");
        folder.restore(None, &restored, &mut |_| {})?;
        has_all(&restored, stored)?;
    }
    Ok(())
}
