//! A process that writes, frees windows and rewrites others at the same time is killed, over and over: what
//! is kept is there, what is gone is told, and the rest of it goes.

mod writer;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{commit, record, set_of, unpaced};
use quoth_store::{
    Applier, ApplierOptions, Class, Extent, Keep, Marks, Options, PageLimit, Position, Record, Rewrite,
    Store, SweepCursor, verify,
};

use writer::write_and_be_killed;

const ROUNDS: u64 = 10;

/// Events of a conversation that are kept.
const KEPT: u64 = 40;

const CONVERSATIONS: [&str; 3] = ["a", "b", "c"];

/// A conversation that is kept for ever, but for what has a time of its own, which is nine in ten.
const EVER: &str = "ever";

fn open(dir: &Path) -> Store {
    Store::open(Options { segment_bytes: 8192, cache_bytes: 1 << 20, ..Options::new(dir) }).unwrap()
}

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

/// An event is a second behind the one before, so a window of its class has eight of each conversation.
fn event(conversation: &str, seq: u64) -> Record {
    let body = |seq| record(conversation, seq, seq).content.len() as u64;
    let offset = (1..seq).map(body).sum();
    let (time_ms, class) = (1_000_000 + seq * 1_000, Class::of_age_s(60));
    let registers = vec![set_of(b'e', seq, "")];
    Record { time_ms, offset, class, registers, ..record(conversation, seq, seq) }
}

/// One of those that have a time of their own, and of windows with sixteen of them.
fn event_of_ever(seq: u64) -> Record {
    let event = event(EVER, seq);
    let expires_ms = if seq.is_multiple_of(10) { 0 } else { event.time_ms + 1 };
    Record { expires_ms, class: Class::default(), ends_window: seq.is_multiple_of(16), ..event }
}

/// By when times to live are judged when there are so many.
fn live_ms(head: u64) -> u64 {
    event(EVER, (head + 1).saturating_sub(KEPT)).time_ms
}

fn group(position: u64) -> Vec<Record> {
    let mut group = CONVERSATIONS.map(|conversation| event(conversation, position)).to_vec();
    group.push(event_of_ever(position));
    group
}

/// Rewrites until there is nothing to do; says how many windows went.
fn rewrite(store: &Store) -> u64 {
    let head = store.view.last(&name(EVER)).unwrap().map_or(0, |last| last.seq.0);
    let mut windows = 0;
    loop {
        let mut rewrite = Rewrite {
            now_ms: live_ms(head),
            erased_by_ms: 0,
            extent: Extent::Worthwhile,
            pace: &mut |_| true,
        };
        let mut keepings = |_: &ConversationName| Ok(Keep { live_ms: live_ms(head), ..Keep::default() });
        let rewritten = store.view.rewrite(&mut keepings, &mut rewrite).unwrap();
        windows += rewritten.windows;
        if !rewritten.more {
            return windows;
        }
    }
}

fn sweep(store: &Store, everything: bool) {
    store.view.sweep(everything, &mut SweepCursor::default(), &mut |_| true).unwrap();
    if everything {
        store.view.purge(everything, &unpaced()).unwrap();
    }
}

fn reclaim(store: &Store) -> u64 {
    let reclaimed = store.view.reclaim(&mut |name| {
        if name.as_str() == EVER {
            return Ok(Marks::default());
        }
        let head = store.view.last(name)?.map_or(0, |last| last.seq.0);
        Ok(Marks { seq: Seq((head + 1).saturating_sub(KEPT)), ..Marks::default() })
    });
    reclaimed.unwrap().windows
}

/// Writes and frees until it is killed, and says what is stored. Does nothing unless it is asked.
#[test]
fn the_process_that_writes_and_frees() {
    let Ok(dir) = std::env::var(writer::DIR_VARIABLE) else { return };
    let store = open(&PathBuf::from(dir));
    let options = ApplierOptions { flush_bytes: 3_000, ..ApplierOptions::default() };
    let on_failure = Box::new(|error| panic!("{error}"));
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                reclaim(&store);
                rewrite(&store);
                for everything in [false, true] {
                    sweep(&store, everything);
                }
            }
        });
        for position in store.log.next().0.. {
            let group = group(position);
            assert_eq!(commit(&*store.log, &group).unwrap(), Position(position));
            applier.submit(Position(position), group.into());
            writeln!(std::io::stdout(), "stored {position}").unwrap();
        }
    });
}

#[test]
fn what_is_kept_is_there_after_every_kill_and_what_is_not_goes() {
    let dir = tempfile::tempdir().unwrap();
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    let (mut floors, mut gone) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let told =
            write_and_be_killed("the_process_that_writes_and_frees", dir.path(), round * 53 % 170 + 60);
        let report = verify(dir.path(), &mut |_| {}).unwrap();
        assert!(report.findings.is_empty(), "round {round}: {:?}", report.findings);
        let store = open(dir.path());
        let head = store.log.next().0 - 1;
        assert!(told > 0 && head >= told, "{told} was told, the log ends at {head}");
        for conversation in CONVERSATIONS {
            let name = name(conversation);
            let bounds = store.view.bounds(&name).unwrap();
            assert_eq!(bounds.head, Seq(head));
            assert!(bounds.floor.0 <= (head + 1).saturating_sub(KEPT).max(1), "{bounds:?}");
            let read = store.view.after(&name, Seq::ZERO, all).unwrap();
            let there: Vec<_> =
                (bounds.floor.0..=head).map(|seq| as_read(event(conversation, seq))).collect();
            assert_eq!((read.from, read.to, read.records), (Seq(1), Seq(head), there), "round {round}");
            floors.push(bounds.floor);
        }
        let read = store.view.after(&name(EVER), Seq::ZERO, all).unwrap();
        let is_kept = |record: &Record| record.expires_ms == 0 || record.expires_ms > live_ms(head);
        let kept: Vec<_> = (1..=head).map(|seq| as_read(event_of_ever(seq))).filter(is_kept).collect();
        assert_eq!((read.from, read.to), (Seq(1), Seq(head)), "round {round}");
        gone = head - read.records.len() as u64;
        assert_eq!(read.records.into_iter().filter(is_kept).collect::<Vec<_>>(), kept, "round {round}");
        store.close().unwrap();
    }
    assert!(gone > 50, "only {gone} rows were left out");
    assert!(floors.last().is_some_and(|floor| *floor > Seq(100)), "{floors:?}");
    // What the last one has left goes, and what is left of the disk is what is kept.
    let store = open(dir.path());
    reclaim(&store);
    reclaim(&store);
    rewrite(&store);
    assert_eq!(rewrite(&store), 0, "it is done");
    sweep(&store, true);
    let read = store.view.after(&name(EVER), Seq::ZERO, all).unwrap();
    let head = read.to.0;
    assert!(
        (read.records.len() as u64) < head / 10 + KEPT + 64,
        "{} of {head} are there",
        read.records.len()
    );
    for conversation in CONVERSATIONS {
        let Bounded { floor, head } = bounded(&store, conversation);
        let beside = store.view.registers(&name(conversation), b"@e", None, usize::MAX).unwrap();
        assert_eq!(
            beside.len() as u64,
            head + 1 - floor,
            "each that is there has its register, and no other"
        );
        assert!(head - floor <= KEPT + 16, "a window more is left at most: from {floor} to {head}");
    }
}

fn as_read(event: Record) -> Record {
    Record { class: Class::default(), ends_window: false, registers: Vec::new(), ..event }
}

struct Bounded {
    floor: u64,
    head: u64,
}

fn bounded(store: &Store, conversation: &str) -> Bounded {
    let bounds = store.view.bounds(&name(conversation)).unwrap();
    Bounded { floor: bounds.floor.0, head: bounds.head.0 }
}
