//! Registers of events go with their events and never before, whatever happens in between.

mod views;

use std::path::Path;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{change, commit, contents, key_of, record, set, set_of, unpaced};
use quoth_store::{
    Extent, FjallView, Keep, Marks, Options, Position, Record, Register, Rewrite, Store, SweepCursor, Swept,
    View, verify,
};
use views::{CACHE_BYTES, Subject, each, flush_without_checkpoint};

/// The last event of a conversation here.
const HEAD: u64 = 40;

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

/// No part of it comes twice, so that it stands in a table as it is.
const SAID_OF_15: &str = "Zq7#kV!p2^Lm9@wB";

/// An event with registers of its own and of others: of those before it, and one of no event.
fn event(conversation: &str, seq: u64) -> Record {
    let bytes = |seq| record(conversation, seq, seq).content.len() as u64;
    let said = if seq == 15 { SAID_OF_15.to_owned() } else { format!("said of {seq}") };
    let mut registers = vec![set_of(b'e', seq, &said), set_of(b's', seq, "")];
    registers.extend((1..=3).map(|n| {
        let Register { key, value } = set_of(b'r', seq, "");
        Register { key: [&key[..], &[n]].concat().into(), value }
    }));
    registers.push(set("kept", "for ever"));
    // As of an event of which there may be more.
    registers.push(set("@", "short"));
    // As of an event, and of none.
    let Register { key, value } = set_of(b'e', seq, "");
    registers.push(Register { key: [b"X", &key[1..]].concat().into(), value });
    Record { offset: (1..seq).map(bytes).sum(), registers, ..record(conversation, seq, seq) }
}

fn groups() -> impl Iterator<Item = (Position, Vec<Record>)> {
    (1..=HEAD).map(|seq| (Position(seq), vec![event("a", seq), event("b", seq)]))
}

/// Which events have registers of a kind.
fn of_kind(view: &dyn View, conversation: &str, kind: u8) -> Vec<u64> {
    let rows = view.registers(&name(conversation), &[b'@', kind], None, usize::MAX).unwrap();
    rows.iter().map(|(key, _)| u64::from_be_bytes(key[2..10].try_into().unwrap())).collect()
}

/// Those of these events are there, all of them and no others.
fn must_be_of(view: &dyn View, conversation: &str, seqs: impl IntoIterator<Item = u64>, what: &str) {
    let seqs: Vec<u64> = seqs.into_iter().collect();
    for (kind, each) in [(b'e', 1), (b's', 1), (b'r', 3)] {
        let expected: Vec<_> = seqs.iter().flat_map(|seq| std::iter::repeat_n(*seq, each)).collect();
        assert_eq!(of_kind(view, conversation, kind), expected, "{what}: {conversation}, {kind}");
    }
    for (key, value) in [("kept", "for ever"), ("@", "short")] {
        let kept = view.register(&name(conversation), key.as_bytes()).unwrap();
        assert_eq!(kept.as_deref(), Some(value.as_bytes()), "{what}: {conversation}");
    }
}

fn sweep(view: &dyn View, everything: bool) -> Swept {
    view.sweep(everything, &mut SweepCursor::default(), &mut |_| true).unwrap()
}

/// Keeps both conversations from these events on.
fn reclaim(view: &dyn View, a: u64, b: u64) {
    let mut keeps = |of: &ConversationName| {
        let seq = Seq(if of.as_str() == "a" { a } else { b });
        Ok(Marks { seq, ..Marks::default() })
    };
    view.reclaim(&mut keeps).unwrap();
}

/// What is left of them is from these events on.
fn floors(view: &dyn View) -> (u64, u64) {
    let floor = |conversation| view.bounds(&name(conversation)).unwrap().floor.0;
    (floor("a"), floor("b"))
}

#[test]
fn registers_of_events_go_with_these_and_no_others_do() {
    each(|Subject { view, reopen, _dir }| {
        groups().for_each(|(position, group)| view.apply(position, &group).unwrap());
        view.flush().unwrap();
        assert_eq!(sweep(&*view, true), Swept { is_done: true, ..Swept::default() }, "all of them are there");
        reclaim(&*view, 21, HEAD + 1);
        let (a, b) = floors(&*view);
        let swept = sweep(&*view, false);
        assert_eq!((swept.registers, swept.is_done), ((a + b - 2) * 5, true));
        let check = |view: &dyn View| {
            must_be_of(view, "a", a..=HEAD, "swept");
            must_be_of(view, "b", b..=HEAD, "swept");
        };
        check(&*view);
        assert_eq!(view.registers(&name("a"), b"Xe", None, 100).unwrap().len() as u64, HEAD);
        assert_eq!((sweep(&*view, false).registers, sweep(&*view, true).registers), (0, 0));
        // What comes later of an event that has gone, an edit that was on its way, goes as well.
        let late = change("a", HEAD + 1, [set_of(b'e', 1, "late"), set_of(b'e', HEAD + 5, "early")]);
        view.apply(Position(HEAD + 1), &[Record { offset: event("a", HEAD + 1).offset, ..late }]).unwrap();
        let swept = sweep(&*view, false).registers;
        assert_eq!(swept, u64::from(a > 1));
        let early = view.register(&name("a"), &key_of(b'e', HEAD + 5)).unwrap();
        assert_eq!(early.as_deref(), Some(&b"early"[..]), "it is of none that has gone");
        view.flush().unwrap();
        drop(view);
        let view = reopen();
        let first = view.register(&name("a"), &key_of(b'e', 1)).unwrap();
        assert_eq!(first.is_some_and(|value| value == "late"), a == 1);
    });
}

fn open(dir: &Path) -> FjallView {
    FjallView::open(dir, CACHE_BYTES).unwrap().with_window_bytes(600)
}

/// The groups that a view lacks.
fn apply_again(view: &FjallView) {
    let applied = view.applied();
    groups()
        .filter(|(position, _)| *position > applied)
        .for_each(|(position, group)| view.apply(position, &group).unwrap());
}

/// Behind a crash groups are applied again, and set registers of events that have gone by then.
#[test]
fn whatever_a_crash_leaves_the_next_sweep_comes_to_the_same() {
    const CRASHES: [&str; 4] =
        ["in the middle", "behind tables without a checkpoint", "behind all", "of the whole view"];
    for everything in [false, true] {
        for crash in CRASHES {
            let dir = tempfile::tempdir().unwrap();
            let view = open(dir.path());
            for (position, group) in groups() {
                view.apply(position, &group).unwrap();
                if position == Position(30) {
                    view.flush().unwrap();
                }
            }
            view.flush().unwrap();
            reclaim(&view, 25, 30);
            let (a, b) = floors(&view);
            assert!(a > 10 && b > 10);
            match crash {
                "behind tables without a checkpoint" => {
                    let obstacle = dir.path().join("checkpoint.new");
                    std::fs::create_dir(&obstacle).unwrap();
                    view.sweep(everything, &mut SweepCursor::default(), &mut |_| true).unwrap_err();
                    std::fs::remove_dir(obstacle).unwrap();
                }
                "of the whole view" => {}
                _ => {
                    // Ended by whoever paces it, it goes on the next time.
                    let mut cursor = SweepCursor::default();
                    let ended = view.sweep(everything, &mut cursor, &mut |_| crash == "behind all").unwrap();
                    assert_eq!(ended.is_done, crash == "behind all");
                }
            }
            drop(view);
            if crash == "of the whole view" {
                std::fs::remove_dir_all(dir.path()).unwrap();
            }
            let view = open(dir.path());
            apply_again(&view);
            view.flush().unwrap();
            reclaim(&view, 25, 30);
            assert_eq!(floors(&view), (a, b), "{crash}");
            assert!(sweep(&view, everything).is_done);
            must_be_of(&view, "a", a..=HEAD, crash);
            must_be_of(&view, "b", b..=HEAD, crash);
            drop(view);
            must_be_of(&open(dir.path()), "a", a..=HEAD, crash);
        }
    }
}

/// The tables of a flush are there and its checkpoint is not: what has removed a register is older than what
/// sets it again.
#[test]
fn what_a_group_that_comes_again_sets_of_a_gone_event_goes_again() {
    let dir = tempfile::tempdir().unwrap();
    let view = open(dir.path());
    groups().for_each(|(position, group)| view.apply(position, &group).unwrap());
    view.flush().unwrap();
    reclaim(&view, 30, 30);
    let (_, floor) = floors(&view);
    assert!(floor > 10);
    let edit = change("b", HEAD + 1, [set_of(b'e', 1, "said of 1, anew")]);
    let edit = [Record { offset: event("b", HEAD + 1).offset, ..edit }];
    view.apply(Position(HEAD + 1), &edit).unwrap();
    flush_without_checkpoint(&view, dir.path());
    let obstacle = dir.path().join("checkpoint.new");
    std::fs::create_dir(&obstacle).unwrap();
    view.sweep(false, &mut SweepCursor::default(), &mut |_| true).unwrap_err();
    assert_eq!(of_kind(&view, "b", b'e')[0], floor);
    std::fs::remove_dir(obstacle).unwrap();
    drop(view);
    let view = open(dir.path());
    assert_eq!(view.applied(), Position(HEAD));
    view.apply(Position(HEAD + 1), &edit).unwrap();
    assert_eq!(of_kind(&view, "b", b'e')[0], 1, "it is there again");
    sweep(&view, false);
    must_be_of(&view, "b", floor..=HEAD, "behind the crash");
}

fn is_on_disk(dir: &Path, text: &str) -> bool {
    let has = |bytes: &Vec<u8>| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    contents(dir).values().any(has)
}

/// What has gone between others is found when everything is looked at, and then leaves the disk.
#[test]
fn what_was_said_of_events_between_others_leaves_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let view = open(dir.path());
    let is_short = |seq: u64| seq % 10 != 1;
    for (position, group) in groups() {
        let with_end = |record: Record| {
            let expires_ms = if is_short(record.seq.0) { record.time_ms + 1 } else { 0 };
            Record { expires_ms, ends_window: true, ..record }
        };
        view.apply(position, &group.into_iter().map(with_end).collect::<Vec<_>>()).unwrap();
        view.flush().unwrap();
    }
    let text = SAID_OF_15;
    assert!(is_on_disk(dir.path(), text));
    let now_ms = event("a", HEAD).time_ms + 100_000;
    let mut keepings = |_: &ConversationName| Ok(Keep { live_ms: now_ms, ..Keep::default() });
    let mut rewrite = Rewrite { now_ms, erased_by_ms: 0, extent: Extent::Worthwhile, pace: &mut |_| true };
    view.rewrite(&mut keepings, &mut rewrite).unwrap();
    assert!(sweep(&view, false).registers == 0, "the first one is there");
    assert!(sweep(&view, true).registers > HEAD * 5);
    for conversation in ["a", "b"] {
        let there: Vec<_> = (1..=HEAD).filter(|seq| !is_short(*seq)).collect();
        let left = of_kind(&view, conversation, b'e');
        assert!(there.iter().all(|seq| left.contains(seq)), "{left:?}");
        // Some of what has expired is never rewritten.
        assert!(left.len() < there.len() + 8, "{left:?}");
        assert!(!left.contains(&15), "{left:?}");
        must_be_of(&view, conversation, left, "between others");
    }
    assert!(view.purge(true, &unpaced()).unwrap().is_done());
    assert!(!is_on_disk(dir.path(), text), "it is in some file");
}

/// Of which event there are more registers than are looked at at once, as of a message with many reactions.
const REACTIONS: u64 = 2_500;

/// A view in which such an event has gone, of one conversation among others.
fn many_of_one_event(dir: &Path) -> FjallView {
    let registers: Vec<_> = (0..REACTIONS)
        .map(|n| {
            let Register { key, value } = set_of(b'r', 2, "x");
            Register { key: [&key[..], &n.to_be_bytes()].concat().into(), value }
        })
        .collect();
    let view = open(dir);
    let first = |conversation| Record { registers: Vec::new(), ..event(conversation, 1) };
    let second = Record { registers, id: None, ..event("a", 2) };
    let names = ["b", "c", "d", "e", "f"];
    let mut group: Vec<_> = names.iter().map(|name| first(name)).collect();
    group.extend([first("a"), second]);
    view.apply(Position(1), &group).unwrap();
    view.apply(Position(2), &[Record { erases: vec![Seq(2)], ..event("a", 3) }]).unwrap();
    view.flush().unwrap();
    view
}

#[test]
fn an_event_with_many_registers_takes_all_of_them_along() {
    let dir = tempfile::tempdir().unwrap();
    let view = many_of_one_event(dir.path());
    let mut steps = 0;
    let swept = view.sweep(true, &mut SweepCursor::default(), &mut |_| {
        steps += 1;
        true
    });
    assert_eq!(swept.unwrap().registers, REACTIONS);
    assert!(steps >= 3, "in {steps} steps");
    assert_eq!(of_kind(&view, "a", b'r'), [3; 3]);
}

/// However short the pieces are, each goes on where the one before has ended, also within a conversation.
#[test]
fn a_sweep_comes_to_its_end_in_pieces() {
    for everything in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let view = many_of_one_event(dir.path());
        let (mut cursor, mut registers, mut pieces) = (SweepCursor::default(), 0, 0);
        loop {
            let mut looks = 0;
            let swept = view.sweep(everything, &mut cursor, &mut |_| {
                looks += 1;
                false
            });
            let swept = swept.unwrap();
            registers += swept.registers;
            if swept.is_done {
                break;
            }
            assert_eq!(looks, 1, "it ends when it is told to");
            pieces += 1;
            assert!(pieces < 20, "it looks at the same again");
        }
        // Five conversations with one event each, and three pages at least of the other one.
        assert!(pieces >= 8, "{pieces}");
        assert_eq!(registers, REACTIONS, "{everything}");
        assert_eq!(cursor, SweepCursor::default(), "it begins anew behind its end");
        assert_eq!(of_kind(&view, "a", b'r'), [3; 3]);
    }
}

/// Who waits for nothing looks at each conversation all the same: it is told, and may be ended there.
#[test]
fn a_look_at_a_conversation_without_registers_counts_too() {
    let dir = tempfile::tempdir().unwrap();
    let view = open(dir.path());
    let group: Vec<_> = (0..30).map(|n| record(&format!("room-{n}"), 1, 1)).collect();
    view.apply(Position(1), &group).unwrap();
    let (mut looks, mut bytes) = (0, 0);
    let swept = view.sweep(false, &mut SweepCursor::default(), &mut |read| {
        bytes += read;
        looks += 1;
        looks < 20
    });
    assert_eq!((looks, swept.unwrap().is_done), (20, false));
    assert!(bytes >= 20 * 1_024, "{bytes}");
}

/// Stores all groups, each in a window of its own, and what erases an event.
fn fill(dir: &Path, change: impl Fn(&mut Record)) -> Store {
    let options = Options { segment_bytes: 1 << 20, cache_bytes: 1 << 20, ..Options::new(dir) };
    let store = Store::open(options).unwrap();
    let erasing = vec![Record { erases: vec![Seq(30)], ..event("a", HEAD + 1) }];
    for mut group in groups().map(|(_, group)| group).chain([erasing]) {
        group.iter_mut().for_each(|record| record.ends_window = true);
        group.iter_mut().for_each(&change);
        let position = commit(&*store.log, &group).unwrap();
        store.view.apply(position, &group).unwrap();
    }
    store.view.flush().unwrap();
    store
}

fn findings(dir: &Path) -> Vec<String> {
    let report = verify(dir, &mut |_| {}).unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_check_misses_no_register_of_what_has_gone_and_each_of_what_is_there() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = fill(dir.path(), |_| {});
    reclaim(&*store.view, 20, 20);
    assert!(sweep(&*store.view, true).registers >= 5 * 10);
    store.close().unwrap();
    assert_eq!(findings(dir.path()), [""; 0]);
    // Built anew from its log it has all of them again, until it is looked at.
    let view = dir.path().join("view");
    std::fs::remove_dir_all(&view).unwrap();
    let store = Store::open(Options { cache_bytes: 1 << 20, ..Options::new(dir.path()) }).unwrap();
    assert_eq!(of_kind(&*store.view, "a", b'e')[0], 1);
    reclaim(&*store.view, 20, 20);
    sweep(&*store.view, false);
    assert!(of_kind(&*store.view, "a", b'e')[0] > 10);
    store.close().unwrap();
    assert_eq!(findings(dir.path()), [""; 0]);
    // A view that lacks a register of an event that is there.
    let store = fill(other.path(), |record| {
        if record.seq == Seq(HEAD) && record.conversation == name("b") {
            record.registers.retain(|register| register.key != key_of(b'e', HEAD));
        }
    });
    store.close().unwrap();
    std::fs::remove_dir_all(&view).unwrap();
    std::fs::rename(other.path().join("view"), &view).unwrap();
    let found = findings(dir.path());
    assert!(found.len() == 1 && found[0].contains("of conversation b"), "{found:?}");
}
