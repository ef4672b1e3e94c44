//! A process that writes is killed, over and over: what its log has is in the view, events and registers
//! alike.
//!
//! A kill leaves the kernel's page cache alone; what a power cut does besides is in `torn.rs`.

mod writer;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{change, commit, notice, record, removed, set};
use quoth_store::{Applier, ApplierOptions, Options, PageLimit, Position, Record, Register, Store, verify};

use writer::write_and_be_killed;

const ROUNDS: u64 = 12;

/// Registers of each conversation: so many that most of them were set long before a kill.
const REGISTERS: u64 = 499;

fn open(dir: &Path) -> Store {
    Store::open(Options { segment_bytes: 8192, cache_bytes: 1 << 20, ..Options::new(dir) }).unwrap()
}

/// What a position says about its register: most are set, some removed.
fn register(position: u64) -> Register {
    let key = format!("key {}", position * 7 % REGISTERS);
    if position.is_multiple_of(3) { removed(&key) } else { set(&key, &format!("since {position}")) }
}

fn group(position: u64) -> Vec<Record> {
    vec![
        change("a", position, [register(position)]),
        record("b", position, position),
        notice("c", [register(position + 1)]),
    ]
}

/// What the registers of a conversation come to.
fn expected(conversation: &str, last: Position) -> Vec<(Bytes, Bytes)> {
    let mut registers = BTreeMap::new();
    for record in (1..=last.0).flat_map(group).filter(|record| record.conversation.as_str() == conversation) {
        for Register { key, value } in record.registers {
            match value {
                Some(value) => registers.insert(key, value),
                None => registers.remove(&key),
            };
        }
    }
    registers.into_iter().collect()
}

/// Writes until it is killed, and says what is stored. Does nothing unless it is asked.
#[test]
fn the_process_that_writes() {
    let Ok(dir) = std::env::var(writer::DIR_VARIABLE) else { return };
    let store = open(&PathBuf::from(dir));
    let options = ApplierOptions { flush_bytes: 6_000, ..ApplierOptions::default() };
    let on_failure = Box::new(|error| panic!("{error}"));
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    for position in store.log.next().0.. {
        let group = group(position);
        assert_eq!(commit(&*store.log, &group).unwrap(), Position(position));
        applier.submit(Position(position), group.into());
        writeln!(std::io::stdout(), "stored {position}").unwrap();
    }
}

#[test]
fn registers_are_those_of_the_log_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    for round in 1..=ROUNDS {
        let told = write_and_be_killed("the_process_that_writes", dir.path(), round * 37 % 200 + 1);
        let report = verify(dir.path(), &mut |_| {}).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        let store = open(dir.path());
        let last = Position(store.log.next().0 - 1);
        assert!(told > 0 && last >= Position(told), "{told} was told, the log ends at {last}");
        for conversation in ["a", "b", "c"] {
            let name = ConversationName::new(conversation).unwrap();
            let registers = store.view.registers(&name, b"", None, usize::MAX).unwrap();
            assert_eq!(registers, expected(conversation, last), "{conversation} at {last}, round {round}");
            let head = if conversation == "c" { 0 } else { last.0 };
            assert_eq!(store.view.bounds(&name).unwrap().head, Seq(head));
            assert_eq!(store.view.after(&name, Seq::ZERO, all).unwrap().len() as u64, head);
        }
    }
    assert!(open(dir.path()).log.first() > Position(1), "the log was never trimmed");
}
