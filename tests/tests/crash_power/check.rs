//! What is to be left of what the process has done, wherever the power is cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::backup::{BackupFolder, Frozen, Pace};
use quoth_store::testing::{commit, notice};
use quoth_store::{Class, PageLimit, Position, Record, Store, verify};

use super::work::{
    Does, Told, drop_windows, erased_until, free_log, group, has, live_ms, open, rewrite, secrets_until,
    short_from,
};

/// So often is rewritten until nothing more is to be. Each time a window may be ended, and others may share
/// its tables.
const PASSES_MAX: u32 = 12;

/// Whether what a power cut has left opens, and has everything that was told. `thoroughly` walks through all
/// of it too, and goes on with what the power cut has interrupted until it is done.
pub(crate) fn check(dir: &Path, told: Told, thoroughly: bool) -> anyhow::Result<()> {
    // Damage may make the engine panic.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let store = dir.join("store");
        let last = has_all(&store, told, None)?;
        nothing_is_left_over(&store, false)?;
        if thoroughly {
            is_sound(&store)?;
            goes_on(&store, last)?;
            has_all(&store, told, Some(last))?;
            is_sound(&store)?;
        }
        if let Some(backup) = told.backup
            && (thoroughly || told.does != Does::Store)
        {
            has_backup(dir, backup, told, thoroughly)?;
        }
        // What is left of one that was interrupted counts for the next one.
        if told.does == Does::BackUp || (thoroughly && told.backup.is_some()) {
            backs_up(dir)
        } else {
            Ok(())
        }
    }));
    checked.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")))
}

/// Everything that was told is there, and nobody can read what is gone; gives the last group. `groups` is the
/// number of those of the process where others came behind them.
fn has_all(dir: &Path, told: Told, groups: Option<u64>) -> anyhow::Result<u64> {
    let store = open(dir)?;
    let last = store.log.next().0 - 1;
    ensure!(last >= told.stored, "{} was told, the log ends at {last}", told.stored);
    let applied = store.view.applied();
    ensure!(applied == Position(last), "the view is at {applied}, the log at {last}");
    let last = groups.unwrap_or(last);
    for (place, name) in [(0, "a"), (1, "b")] {
        must_be(name, &read(&store, name)?, &stored(place, 1, last, |_| true))?;
    }
    let floor = store.view.bounds(&ConversationName::new("short")?)?.floor;
    ensure!(floor <= short_from(last), "short begins at {floor}, at {last}");
    // What lies before may be gone one by one.
    let is_kept = |record: &Record| record.seq >= short_from(last);
    let (short, all) = (read(&store, "short")?, stored(3, 1, last, |_| true));
    ensure!(short.iter().all(|record| all.contains(record)), "short has events that were not stored");
    let short: Vec<_> = short.into_iter().filter(is_kept).collect();
    must_be("short", &short, &stored(3, 1, last, is_kept))?;
    let is_kept = |record: &Record| record.expires_ms == 0 || record.expires_ms > live_ms(last);
    let ever: Vec<_> = read(&store, "ever")?.into_iter().filter(is_kept).collect();
    must_be("ever", &ever, &stored(4, 1, last, is_kept))?;
    let erased = erased_until(last);
    must_be("told", &read(&store, "told")?, &stored(5, 1, last, |record| !erased.contains(&record.seq)))?;
    for (place, name) in [(0, "a"), (2, "c"), (5, "told")] {
        let mut expected = std::collections::BTreeMap::new();
        for register in (1..=last).flat_map(|position| group(position)[place].registers.clone()) {
            match register.value {
                Some(value) => expected.insert(register.key, value),
                None => expected.remove(&register.key),
            };
        }
        let registers = store.view.registers(&ConversationName::new(name)?, b"", None, usize::MAX)?;
        ensure!(registers.iter().cloned().eq(expected), "{name} has other registers than were set at {last}");
    }
    store.close()?;
    Ok(last)
}

fn read(store: &Store, name: &str) -> anyhow::Result<Vec<Record>> {
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    Ok(store.view.after(&ConversationName::new(name)?, Seq::ZERO, all)?.records)
}

/// What was stored of a conversation, as it is read.
fn stored(place: usize, first: u64, last: u64, is_kept: impl Fn(&Record) -> bool) -> Vec<Record> {
    let of_place = (first.max(1)..=last).map(|position| group(position)[place].clone());
    let as_read = |record: Record| Record {
        class: Class::default(),
        erases: Vec::new(),
        ends_window: false,
        registers: Vec::new(),
        ..record
    };
    of_place.filter(|record| is_kept(record)).map(as_read).collect()
}

fn must_be(name: &str, found: &[Record], expected: &[Record]) -> anyhow::Result<()> {
    let differs = found.iter().zip(expected).find(|(a, b)| a != b).map(|(a, b)| (a.seq, b.seq));
    ensure!(
        found == expected,
        "{name} has other events than were stored: {} of {}, first {differs:?}",
        found.len(),
        expected.len()
    );
    Ok(())
}

fn is_sound(dir: &Path) -> anyhow::Result<()> {
    let report = verify(dir, &mut |_| {})?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(())
}

/// What was interrupted is taken up again, and ends; then nothing of what any group has erased is there.
fn goes_on(dir: &Path, last: u64) -> anyhow::Result<()> {
    let store = open(dir)?;
    let mut ends = vec![Class::default()];
    for pass in 1.. {
        ensure!(pass <= PASSES_MAX, "rewriting does not end: {:?}", store.view.erased());
        let records: Vec<_> =
            ends.iter().map(|class| Record { class: *class, ends_window: true, ..notice("c", []) }).collect();
        if !records.is_empty() {
            store.view.apply(commit(&*store.log, &records)?, &records)?;
        }
        drop_windows(&store, last)?;
        let rewritten = rewrite(&store, last, u64::MAX, u64::MAX)?;
        let is_done = rewritten.is_done && !rewritten.more && rewritten.held_up.is_empty();
        if is_done && store.view.erased().events == 0 {
            break;
        }
        ends = rewritten.held_up;
    }
    ensure!(rewrite(&store, last, u64::MAX, u64::MAX)?.moved_bytes == 0, "it is done");
    free_log(&store)?;
    store.close()?;
    ensure!(!has(dir, &secrets_until(last))?, "what was erased stays, whatever is rewritten");
    nothing_is_left_over(dir, true)
}

/// A store that was opened and closed has what it needs, and nothing that was being made when the power was
/// cut, but for a checkpoint, which the next flush makes again.
fn nothing_is_left_over(dir: &Path, is_flushed: bool) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    list(dir, &mut paths)?;
    for path in paths {
        let parts: Vec<_> = path.strip_prefix(dir)?.iter().map(|part| part.to_string_lossy()).collect();
        let is_number = |text: &str| text.parse::<u64>().is_ok();
        let is_known = match &parts.iter().map(|part| &**part).collect::<Vec<_>>()[..] {
            ["format" | "lock"] | ["view", "checkpoint"] => true,
            ["view", "checkpoint.new"] => !is_flushed,
            ["log", name] => name.strip_suffix(".log").is_some_and(is_number),
            ["view", "engine", "lock" | "version"] => true,
            ["view", "engine", name] => name.strip_suffix(".jnl").is_some_and(is_number),
            ["view", "engine", "keyspaces", tree, "current" | "manifest"] => is_number(tree),
            ["view", "engine", "keyspaces", tree, name] => {
                is_number(tree) && name.strip_prefix('v').is_some_and(is_number)
            }
            ["view", "engine", "keyspaces", tree, "tables", table] => is_number(tree) && is_number(table),
            _ => false,
        };
        ensure!(is_known, "{} is left over", path.display());
    }
    Ok(())
}

fn list(dir: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// The backups are whole; `thoroughly` restores the last one.
fn has_backup(dir: &Path, (number, stored): (u64, u64), told: Told, thoroughly: bool) -> anyhow::Result<()> {
    let folder = BackupFolder::take_existing(&dir.join("backup"))?;
    let (latest, backup) = folder.backup(None)?;
    ensure!(
        latest >= number && backup.position >= stored,
        "backup {number} of {stored} was told, there is {latest}"
    );
    are_whole(&folder)?;
    if thoroughly {
        let restored = dir.join("restored");
        folder.restore(None, &restored, &mut |_| {})?;
        has_all(&restored.join("store"), Told { stored, erased: 0, ..told }, None)?;
    }
    Ok(())
}

/// Another backup is made, whole, of what is there, and nothing is left of one that was interrupted.
fn backs_up(dir: &Path) -> anyhow::Result<()> {
    let store = open(&dir.join("store"))?;
    let pin = store.pinner.as_ref().context("a store on disk")?.pin(&[])?;
    let folder = BackupFolder::take(&dir.join("backup"))?;
    folder.add(&Frozen::of_pin(pin.dir(), pin.end()), &[], 0, Pace::Full, &mut |_| {})?;
    are_whole(&folder)?;
    let mut paths = Vec::new();
    list(&dir.join("backup"), &mut paths)?;
    let is_new = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("new-") || name.ends_with(".new")
    };
    let left_over = paths.iter().find(is_new);
    ensure!(left_over.is_none(), "{left_over:?} is left over");
    Ok(())
}

fn are_whole(folder: &BackupFolder) -> anyhow::Result<()> {
    let checked = folder.check(&mut |_| {})?;
    ensure!(checked.findings.is_empty(), "{:?}", checked.findings.first());
    Ok(())
}
