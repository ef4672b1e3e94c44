//! One bit changed anywhere in a store's files is detected, never served as something else. In a few places
//! of fjall's tables, which [`excuse`] lists, it may also change nothing.
//!
//! A small store is closed cleanly and copied into memory. Then one bit of a byte is flipped, over and over,
//! at places that are spread over all files, until the time is up; each time the store is opened and
//! everything read. The log alone, and every byte of it, is tested beside its recovery.
//!
//! `QUOTH_BITFLIP_SECONDS` sets the time for each of the two stores; 20 minutes are enough for every byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{self, change, commit, notice, record, set};
use quoth_store::{Applier, ApplierOptions, Options, PageLimit, ProducerState, Record, Store, StoreError};

const CONVERSATIONS: [&str; 4] = ["a", "b", "c", "d"];
const ROUNDS: u64 = 60;

/// Registers of each conversation, more or less.
const REGISTERS: u64 = 7;

fn options(dir: &Path) -> Options {
    Options { segment_bytes: 4096, cache_bytes: 1 << 20, ..Options::new(dir) }
}

fn expected(conversation: &str) -> Vec<Record> {
    let records = (1..=ROUNDS).flat_map(|seq| group(conversation, seq));
    let events = records.filter(Record::is_event);
    events.map(|event| Record { registers: Vec::new(), ..event }).collect()
}

/// What a round has of a conversation: an event, a message mostly, and now and then a notice.
fn group(conversation: &str, seq: u64) -> Vec<Record> {
    let (key, value) = (format!("key {}", seq % REGISTERS), format!("value at {seq}"));
    match seq % 5 {
        4 => vec![change(conversation, seq, [set(&key, &value)])],
        3 => vec![record(conversation, seq, seq * 2), notice(conversation, [set(&key, &value)])],
        _ => vec![record(conversation, seq, seq * 2)],
    }
}

/// What the registers come to.
fn expected_registers(conversation: &str) -> BTreeMap<Bytes, Bytes> {
    let registers = (1..=ROUNDS).flat_map(|seq| group(conversation, seq)).flat_map(|record| record.registers);
    registers.filter_map(|register| Some((register.key, register.value?))).collect()
}

/// Builds the store: several log segments and several tables per keyspace of the view.
fn build(dir: &Path, trim: bool) {
    let store = Store::open(options(dir)).unwrap();
    let on_failure = Box::new(|error: StoreError| panic!("{error}"));
    // Without trimming, the flush at the end is the only one.
    let options =
        ApplierOptions { flush_bytes: if trim { 8_000 } else { u64::MAX }, ..ApplierOptions::default() };
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    for seq in 1..=ROUNDS {
        let group: Vec<Record> = CONVERSATIONS.iter().flat_map(|name| group(name, seq)).collect();
        let position = commit(&*store.log, &group).unwrap();
        applier.submit(position, group.into());
    }
    applier.stop();
    store.close().unwrap();
}

/// Opens the store and reads everything, in the ways the server does.
fn read_all(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(options(dir))?;
    let all = PageLimit { records: 10_000, bytes: 1 << 24 };
    for name in CONVERSATIONS {
        let (conversation, expected) = (ConversationName::new(name)?, expected(name));
        let bounds = store.view.bounds(&conversation)?;
        let after = store.view.after(&conversation, Seq::ZERO, all)?;
        let before = store.view.before(&conversation, None, all)?;
        let producer = store.view.producer(&conversation, expected[0].id.unwrap().producer)?;
        let found = store.view.find(&conversation, expected[0].id.unwrap().producer, 60)?;
        let registers = store.view.registers(&conversation, b"", None, 1_000)?;
        assert_eq!(BTreeMap::from_iter(registers), expected_registers(name), "registers of {name}");
        for (key, value) in expected_registers(name) {
            assert_eq!(store.view.register(&conversation, &key)?, Some(value), "a register of {name}");
        }
        assert_eq!(bounds.head, Seq(ROUNDS), "head of {name}");
        assert_eq!(after, expected, "{name}");
        assert_eq!(before, expected, "{name}");
        assert_eq!(producer, Some(ProducerState { n: ROUNDS * 2, seq: Seq(ROUNDS) }), "{name}");
        assert_eq!(found, Some(testing::found(&expected[29])), "{name}");
    }
    let mut next = store.log.first();
    store.log.read(next, &mut |position, _| {
        assert_eq!(position, next);
        next = next.next();
        Ok(())
    })?;
    assert_eq!(next, store.log.next());
    Ok(())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A copy of a folder, to be put back after each flip.
struct Copy(Vec<(PathBuf, Vec<u8>)>);

impl Copy {
    fn of(dir: &Path) -> Self {
        Self(files(dir).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect())
    }

    fn bytes(&self, path: &Path) -> &[u8] {
        &self.0.iter().find(|(kept, _)| kept == path).unwrap().1
    }

    /// Puts files back whose contents or existence differ.
    fn restore(&self, dir: &Path) {
        for path in files(dir) {
            if !self.0.iter().any(|(kept, _)| *kept == path) {
                fs::remove_file(path).unwrap();
            }
        }
        for (path, bytes) in &self.0 {
            if fs::read(path).ok().as_ref() != Some(bytes) {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// The section of a table that a byte lies in. A table ends with a trailer of 38 bytes, which ends with the
/// offset and the length of a table of contents: magic 4 bytes, count `u32`, and per section offset and
/// length `u64` each, length of the name `u16` and name.
fn section(table: &[u8], at: usize) -> String {
    let number = |from: usize, len: usize| {
        table[from..from + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let contents = number(table.len() - 16, 8);
    let mut entry = contents + 8;
    for _ in 0..number(contents + 4, 4) {
        let (start, len, name_len) = (number(entry, 8), number(entry + 8, 8), number(entry + 16, 2));
        let name = &table[entry + 18..entry + 18 + name_len];
        if (start..start + len).contains(&at) {
            return String::from_utf8_lossy(name).into_owned();
        }
        entry += 18 + name_len;
    }
    "contents".to_owned()
}

/// The section of a table for messages; other files have none.
fn section_name(path: &Path, bytes: &[u8], at: usize) -> String {
    if path.parent().is_some_and(|dir| dir.ends_with("tables")) { section(bytes, at) } else { String::new() }
}

/// Why a changed bit may go unnoticed; `None` where it must be detected. Everything outside fjall's keyspaces
/// must.
fn excuse(dir: &Path, copy: &Copy, path: &Path, at: usize) -> Option<&'static str> {
    let place = path.strip_prefix(dir.join("view/engine/keyspaces")).ok()?;
    let (keyspace, table) = match place.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>()[..] {
        [keyspace, "tables", _] => (keyspace, copy.bytes(path)),
        [_, manifest] if manifest.starts_with('v') => {
            let current = copy.bytes(&path.with_file_name("current"));
            let is_current = current[..8] == manifest[1..].parse::<u64>().unwrap().to_le_bytes();
            return (!is_current).then_some("an old manifest, which the next start deletes");
        }
        _ => return None,
    };
    if at >= table.len() - 8 {
        return Some("the length of the table of contents, which says itself how many sections it has");
    }
    if section(table, at) == "table_version" {
        return Some("fjall reads the version in the section `meta` instead");
    }
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
    let has_younger =
        copy.0.iter().any(|(kept, _)| kept.parent() == path.parent() && number(kept) > number(path));
    (keyspace == "2" && has_younger)
        .then_some("the rows of producers in this table have younger versions in another")
}

struct Outcome {
    detected: usize,
    harmless: usize,
}

/// Flips one bit at each place, which must be detected or have an excuse; returns how many were what.
fn flip(dir: &Path, copy: &Copy, places: impl Iterator<Item = (PathBuf, usize)>, time: Duration) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome { detected: 0, harmless: 0 };
    for (path, at) in places {
        if started.elapsed() > time {
            break;
        }
        let bytes = copy.bytes(&path);
        let bit = 1 << (at * 7 % 8);
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all_at(&[bytes[at] ^ bit], at as u64)
            .unwrap();
        let dir_of_flip = dir.to_owned();
        let result =
            std::panic::catch_unwind(move || read_all(&dir_of_flip).map_err(|error| error.to_string()));
        match result {
            Ok(Ok(())) => {
                let is_excused = excuse(dir, copy, &path, at).is_some();
                assert!(
                    is_excused,
                    "bit {bit:#x} of byte {at} of {} ({}) is not noticed",
                    path.display(),
                    section_name(&path, bytes, at)
                );
                outcome.harmless += 1;
            }
            Ok(Err(_)) => outcome.detected += 1,
            Err(_) => panic!("bit {bit:#x} of byte {at} of {} is served", path.display()),
        }
        copy.restore(dir);
    }
    outcome
}

#[test]
fn a_flipped_bit_anywhere_is_detected_or_harmless() {
    let seconds = std::env::var("QUOTH_BITFLIP_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    for trim in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), trim);
        read_all(dir.path()).unwrap();
        // The reading start has opened the store once more; from here on each start begins with the same
        // files.
        let copy = Copy::of(dir.path());
        let mut places: Vec<(PathBuf, usize)> = Vec::new();
        for (path, bytes) in &copy.0 {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            places.extend((0..used).map(|at| (path.clone(), at)));
        }
        // A stride that shares no factor with the number of places visits each once, spread over all files
        // from the start.
        let count = places.len();
        let stride = (count * 5 / 13..).find(|stride| gcd(*stride, count) == 1).unwrap();
        let spread = (0..count).map(|index| places[index * stride % count].clone());
        let outcome = flip(dir.path(), &copy, spread, Duration::from_secs(seconds));
        println!("trim {trim}: {count} places, {} detected, {} harmless", outcome.detected, outcome.harmless);
        assert!(outcome.detected > 0, "no time for a single flip");
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
