//! What the process does whose disk is watched.
//!
//! It stores groups, as the server does, and in between it drops windows, rewrites others, in part and as a
//! whole, erases what a user has said until none of it is on the disk, and makes backups. What is stored at a
//! position depends on the position alone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::backup::{BackupFolder, Frozen, Pace};
use quoth_store::testing::{change, commit, notice, record, removed, set, unpaced};
use quoth_store::{
    Applier, ApplierOptions, Class, Content, Extent, Keep, Marks, Options, Position, Record, Register,
    Rewrite, Rewritten, Store,
};

/// Groups that are written. So many that segments roll, tables are merged and windows go.
pub(crate) const GROUPS: u64 = 150;

/// Groups after which the open window of what is kept for ever ends.
const WINDOW_GROUPS: u64 = 16;

/// Groups that erase everything of one of the users.
const ERASING: [u64; 2] = [44, 87];

/// After these a backup is made.
const BACKUPS_AT: [u64; 2] = [60, 120];

/// Events of `short` that are kept.
const SHORT_KEPT: u64 = 24;

/// Events of `ever` that have a time to live and are kept.
const EVER_KEPT: u64 = 24;

/// Small, so that everything happens often.
const SEGMENT_BYTES: u64 = 8192;
const FLUSH_BYTES: u64 = 9_000;

/// What is stored: a conversation in which changes set registers; one of messages; one that has a register
/// alone; one that is kept for a minute, by number; one that is kept for ever, but for nine in ten messages,
/// which have times to live; and one whose users are erased.
pub(crate) const NAMES: [&str; 6] = ["a", "b", "c", "short", "ever", "told"];

/// All groups, the first one at position 1.
static ALL: LazyLock<Vec<Vec<Record>>> = LazyLock::new(|| {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let with_offset = |mut record: Record| {
        let end = ends.entry(record.conversation.to_string()).or_default();
        record.offset = *end;
        *end = if record.is_event() { record.end() } else { *end };
        record
    };
    (1..=GROUPS)
        .flat_map(group_of)
        .map(with_offset)
        .collect::<Vec<_>>()
        .chunks(NAMES.len())
        .map(<[_]>::to_vec)
        .collect()
});

fn group_of(position: u64) -> [Record; NAMES.len()] {
    let short = record("short", position, position);
    let ever = record("ever", position, position);
    let is_temporary = !position.is_multiple_of(10);
    [
        change("a", position, [set(&format!("key {}", position % 7), &position.to_string())]),
        record("b", position, position),
        notice("c", [set("last", &position.to_string())]),
        // An event is a second behind the one before, so a window of its class has eight.
        Record { time_ms: 1_000_000 + position * 1_000, class: Class::of_age_s(60), ..short },
        Record {
            expires_ms: if is_temporary { ever.time_ms + 1 } else { 0 },
            ends_window: position.is_multiple_of(WINDOW_GROUPS),
            ..ever
        },
        told(position),
    ]
}

/// What a user says, and of each message a register, until all of the user's is erased.
fn told(position: u64) -> Record {
    let event = record("told", position, position);
    if let Some(user) = ERASING.iter().position(|at| *at == position) {
        let erases: Vec<_> = erased_by(user).collect();
        let registers: Vec<_> = erases.iter().map(|seq| removed(&note_key(seq.0))).collect();
        return Record { erases, registers, ..change("told", position, []) };
    }
    let secret = secret(speaker(position));
    let registers: Vec<Register> =
        vec![set(&note_key(position), &format!("{secret} was said at {position}"))];
    Record { content: Content::Change(format!("{secret}: message {position}").into()), registers, ..event }
}

/// Who speaks. Behind its erasure a user says nothing more, and the last one is not erased.
fn speaker(position: u64) -> usize {
    match position {
        _ if position >= ERASING[1] => 2,
        _ if position >= ERASING[0] => 1,
        _ => usize::from(position.is_multiple_of(3)),
    }
}

fn note_key(seq: u64) -> String {
    format!("note {seq:03}")
}

/// The events that are gone with a user: those of all windows until then.
fn erased_by(user: usize) -> impl Iterator<Item = Seq> {
    let is_of_user = move |seq: &u64| speaker(*seq) == user && !ERASING.contains(seq);
    (1..ERASING[user]).filter(is_of_user).map(Seq)
}

/// What each text of a user begins with: it is nowhere else, and no part of it comes twice.
fn secret(user: usize) -> &'static str {
    ["zQ7)xK4&vJ9^wP2", "Yb5!gM8(hT3@nD6"].get(user).copied().unwrap_or("what is kept")
}

/// What no file may have when the groups up to this one have been erased.
pub(crate) fn secrets_until(position: u64) -> Vec<&'static [u8]> {
    let gone = (0..).zip(ERASING).filter(|(_, at)| *at <= position);
    gone.map(|(user, _)| secret(user).as_bytes()).collect()
}

/// What is stored at a position.
pub(crate) fn group(position: u64) -> &'static [Record] {
    &ALL[usize::try_from(position - 1).expect("a position")]
}

/// The events that are erased by the groups up to this one.
pub(crate) fn erased_until(position: u64) -> Vec<Seq> {
    (1..=position)
        .flat_map(|position| group(position).iter().flat_map(|record| record.erases.clone()))
        .collect()
}

pub(crate) fn open(dir: &Path) -> anyhow::Result<Store> {
    let options = Options { segment_bytes: SEGMENT_BYTES, cache_bytes: 1 << 20, ..Options::new(dir) };
    Ok(Store::open(options)?)
}

/// By when times to live are judged when the log ends there.
pub(crate) fn live_ms(last: u64) -> u64 {
    record("ever", (last + 1).saturating_sub(EVER_KEPT), 1).time_ms
}

/// The first event of `short` that is kept when the log ends there.
pub(crate) fn short_from(last: u64) -> Seq {
    Seq((last + 1).saturating_sub(SHORT_KEPT).max(1))
}

/// Drops the windows of which nothing is kept when the log ends there; says how many.
pub(crate) fn drop_windows(store: &Store, last: u64) -> anyhow::Result<u64> {
    let marks = |name: &ConversationName| {
        let seq = if name.as_str() == "short" { short_from(last) } else { Seq::ZERO };
        Ok(Marks { seq, ..Marks::default() })
    };
    Ok(store.view.reclaim(&mut { marks })?.windows)
}

/// Rewrites what is worth it, and what holds something erased, in so many steps at most.
pub(crate) fn rewrite(store: &Store, last: u64, erased_by_ms: u64, steps: u64) -> anyhow::Result<Rewritten> {
    let mut left = steps;
    let mut pace = |_| {
        left -= 1;
        left > 0
    };
    let mut rewrite =
        Rewrite { now_ms: live_ms(last), erased_by_ms, extent: Extent::Worthwhile, pace: &mut pace };
    let keep = Keep { live_ms: live_ms(last), ..Keep::default() };
    let rewritten = store.view.rewrite(&mut |_| Ok(keep), &mut rewrite)?;
    // What registers have held of what was erased goes behind it.
    store.view.purge(false, &unpaced())?;
    Ok(rewritten)
}

/// Frees the log of everything that the view has, as the server does for what is erased.
pub(crate) fn free_log(store: &Store) -> anyhow::Result<()> {
    store.log.end_segment()?;
    store.log.trim(store.view.flush()?.next())?;
    Ok(())
}

/// Says something that is true from now on, power or no power.
fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Does all of it, and says what is done.
pub(crate) fn write(dir: &Path) -> anyhow::Result<()> {
    let store_dir = dir.join("store");
    let store = open(&store_dir)?;
    let options = ApplierOptions { flush_bytes: FLUSH_BYTES, ..ApplierOptions::default() };
    let on_failure = Box::new(|error| panic!("{error}"));
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    let (mut erasing, mut dropped, mut rewritten) = (None, 0, 0);
    for position in 1..=GROUPS {
        let stored = commit(&*store.log, group(position))?;
        applier.submit(stored, group(position).into());
        say(&format!("stored {position}"))?;
        erasing = ERASING.contains(&position).then_some(position).or(erasing);
        let (applied, is_applied) = std::sync::mpsc::channel();
        applier.hurry().until(Position(position), Box::new(move || applied.send(()).expect("it waits")));
        is_applied.recv()?;
        say("begins")?;
        match position % WINDOW_GROUPS {
            5 => dropped += drop_windows(&store, position)?,
            // What is in the middle of it goes on at the next time.
            9 => rewritten += rewrite(&store, position, 0, 1)?.windows,
            13 => rewritten += rewrite(&store, position, 0, u64::MAX)?.windows,
            1 | 2 if let Some(at) = erasing => {
                let steps = if position.is_multiple_of(2) { u64::MAX } else { 2 };
                rewritten += rewrite(&store, position, u64::MAX, steps)?.windows;
                if store.view.erased().events == 0 {
                    free_log(&store)?;
                    gone(&store_dir, at)?;
                    say(&format!("erased {at}"))?;
                    erasing = None;
                }
            }
            _ => {}
        }
        if BACKUPS_AT.contains(&position) {
            say("backs up")?;
            let pin = store.pinner.as_ref().context("a store on disk")?.pin(&[])?;
            let folder = BackupFolder::take(&dir.join("backup"))?;
            let frozen = Frozen::of_pin(pin.dir(), pin.end());
            let added = folder.add(&frozen, &[], position, Pace::Full, &mut |_| {})?;
            say(&format!("backed up {} {position}", added.number))?;
        }
        say("ends")?;
    }
    ensure!(erasing.is_none(), "what group {erasing:?} erases is never gone: {:?}", store.view.erased());
    ensure!(dropped > 5 && rewritten > 5, "{dropped} windows were dropped, {rewritten} rewritten");
    applier.stop();
    store.close()?;
    Ok(())
}

/// Waits until what a group erases is in no file. The log deletes its segments on a thread of its own.
fn gone(dir: &Path, position: u64) -> anyhow::Result<()> {
    for _ in 0..2_000 {
        if !has(dir, &secrets_until(position))? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    anyhow::bail!("what group {position} erases is on the disk still")
}

/// Whether any file of a folder has one of these.
pub(crate) fn has(dir: &Path, texts: &[&[u8]]) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has(&path, texts)?
        } else {
            // One that goes meanwhile has nothing.
            let read = std::fs::read(&path).unwrap_or_default();
            texts.iter().any(|text| contains(&read, text))
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether bytes are among others.
pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == text[0]) {
        if rest[at..].starts_with(text) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// What the process has told by some moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// The last group that is stored.
    pub(crate) stored: u64,
    /// The last backup that is made, and the last group that was stored before.
    pub(crate) backup: Option<(u64, u64)>,
    /// The last group of which all that it erases is gone.
    pub(crate) erased: u64,
    pub(crate) does: Does,
}

/// What goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Does {
    /// Groups are stored.
    #[default]
    Store,
    /// A window is dropped or rewritten, or what was erased goes.
    Reclaim,
    /// A backup is made.
    BackUp,
}

impl Does {
    pub(crate) const COUNT: usize = 3;
}

impl Told {
    pub(crate) fn hear(&mut self, text: &str) {
        let number = |text: &str| text.parse().expect("a number");
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["stored", position] => self.stored = number(position),
                ["erased", position] => self.erased = number(position),
                ["backed", "up", backup, position] => self.backup = Some((number(backup), number(position))),
                ["begins"] => self.does = Does::Reclaim,
                ["backs", "up"] => self.does = Does::BackUp,
                ["ends"] => self.does = Does::Store,
                _ => {}
            }
        }
    }
}
