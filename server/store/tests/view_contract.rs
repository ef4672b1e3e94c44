//! What every view keeps, run for each of them.

mod alike;
mod views;

use std::path::Path;

use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use quoth_store::testing::{change, found, notice, record};
use quoth_store::{
    Bounds, Content, FjallView, MessageId, PageLimit, Position, ProducerKey, ProducerState, Record, View,
    ViewError,
};
use views::{CACHE_BYTES, Subject, each, fjall, flush_without_checkpoint};

const ALL: PageLimit = PageLimit { records: 1000, bytes: 1 << 20 };

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn records(conversation: &str, seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    seqs.map(|seq| record(conversation, seq, seq * 10)).collect()
}

fn id(record: &Record) -> MessageId {
    record.id.unwrap()
}

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq.0).collect()
}

#[test]
fn an_unknown_conversation_is_empty() {
    each(|Subject { view, .. }| {
        let unknown = name("unknown");
        assert_eq!(view.bounds(&unknown).unwrap(), Bounds { floor: Seq(1), head: Seq::ZERO });
        assert_eq!(view.after(&unknown, Seq::ZERO, ALL).unwrap(), []);
        alike::check(&*view, &unknown, Seq::ZERO, ALL);
        assert_eq!(view.before(&unknown, None, ALL).unwrap(), []);
        assert_eq!(view.before(&unknown, Some(Seq(9)), ALL).unwrap(), []);
        assert_eq!(view.producer(&unknown, record("unknown", 1, 1).id.unwrap().producer).unwrap(), None);
        assert_eq!(view.find(&unknown, record("unknown", 1, 1).id.unwrap().producer, 1).unwrap(), None);
    });
}

#[test]
fn what_is_applied_is_read_in_both_directions() {
    each(|Subject { view, .. }| {
        let mut group = records("a", 1..=20);
        group.extend(records("b", 1..=3));
        group[4].origin_time_ms = Some(5);
        group[5].content = Content::Message(bytes::Bytes::new());
        view.apply(Position(1), &group).unwrap();
        let (a, expected) = (name("a"), &group[..20]);
        assert_eq!(view.bounds(&a).unwrap(), Bounds { floor: Seq(1), head: Seq(20) });
        assert_eq!(view.after(&a, Seq::ZERO, ALL).unwrap(), expected);
        assert_eq!(view.after(&a, Seq(15), ALL).unwrap(), expected[15..]);
        assert_eq!(view.after(&a, Seq(20), ALL).unwrap(), []);
        assert_eq!(view.after(&a, Seq(u64::MAX - 1), ALL).unwrap(), []);
        assert_eq!(view.after(&a, Seq(u64::MAX), ALL).unwrap(), []);
        assert_eq!(view.before(&a, None, ALL).unwrap(), expected);
        assert_eq!(view.before(&a, Some(Seq(6)), ALL).unwrap(), expected[..5]);
        assert_eq!(view.before(&a, Some(Seq(900)), ALL).unwrap(), expected);
        assert_eq!(view.before(&a, Some(Seq(1)), ALL).unwrap(), []);
        assert_eq!(view.before(&a, Some(Seq(0)), ALL).unwrap(), []);
        assert_eq!(seqs(&view.after(&name("b"), Seq::ZERO, ALL).unwrap()), [1, 2, 3]);
    });
}

/// Groups of all sizes, of several conversations in turns: a page may begin and end anywhere in what one of
/// them wrote.
#[test]
fn every_page_of_groups_of_any_size_is_right() {
    each(|Subject { view, .. }| {
        let (mut groups, mut a, mut b) = (Vec::new(), 0, 0);
        for size in [1, 1, 2, 61, 3, 70, 64, 130, 1, 5] {
            let mut group = Vec::new();
            for _ in 0..size {
                a += 1;
                group.push(record("a", a, a * 2));
                if a % 3 == 0 {
                    b += 1;
                    group.push(record("b", b, b));
                }
            }
            groups.push(group);
        }
        for (position, group) in (1..).map(Position).zip(&groups) {
            view.apply(position, group).unwrap();
        }
        let of = |conversation: &str| -> Vec<Record> {
            let name = name(conversation);
            groups.iter().flatten().filter(|record| record.conversation == name).cloned().collect()
        };
        for all in [of("a"), of("b")] {
            let name = &all[0].conversation;
            for at in 0..=all.len() {
                for records in [1, 7, 64, 1_000] {
                    let limit = PageLimit { records, bytes: 1 << 20 };
                    let after = view.after(name, Seq(at as u64), limit).unwrap();
                    assert_eq!(after, all[at..(at + records).min(all.len())], "{records} after {at}");
                    assert_eq!(after.to, Seq((at + records).min(all.len()) as u64), "{records} after {at}");
                    alike::check(&*view, name, Seq(at as u64), limit);
                    let before = view.before(name, Some(Seq(at as u64 + 1)), limit).unwrap();
                    assert_eq!(before, all[at.saturating_sub(records)..at], "{records} before {}", at + 1);
                }
            }
            for record in &all {
                assert_eq!(view.find(name, id(record).producer, id(record).n).unwrap(), Some(found(record)));
            }
        }
    });
}

#[test]
fn pages_keep_their_limits_and_make_progress() {
    each(|Subject { view, .. }| {
        let mut group = records("a", 1..=10);
        group.iter_mut().for_each(|record| record.content = Content::Message(vec![7; 100].into()));
        view.apply(Position(1), &group).unwrap();
        let a = name("a");
        let three = PageLimit { records: 3, bytes: 1 << 20 };
        assert_eq!(seqs(&view.after(&a, Seq(2), three).unwrap()), [3, 4, 5]);
        assert_eq!(seqs(&view.before(&a, Some(Seq(9)), three).unwrap()), [6, 7, 8]);
        assert_eq!(seqs(&view.before(&a, None, three).unwrap()), [8, 9, 10]);
        let two_bodies = PageLimit { records: 1000, bytes: 299 };
        assert_eq!(seqs(&view.after(&a, Seq(2), two_bodies).unwrap()), [3, 4]);
        assert_eq!(seqs(&view.before(&a, None, two_bodies).unwrap()), [9, 10]);
        let nothing = PageLimit { records: 0, bytes: 0 };
        assert_eq!(seqs(&view.after(&a, Seq(2), nothing).unwrap()), [3]);
        assert_eq!(seqs(&view.before(&a, Some(Seq(3)), nothing).unwrap()), [2]);
        assert_eq!(view.after(&a, Seq(2), two_bodies).unwrap().to, Seq(4), "what is too much comes next");
        for limit in [three, two_bodies, nothing] {
            alike::check(&*view, &a, Seq(2), limit);
        }
    });
}

#[test]
fn a_group_applied_twice_changes_nothing() {
    each(|Subject { view, .. }| {
        view.apply(Position(1), &records("a", 1..=2)).unwrap();
        view.apply(Position(2), &records("a", 3..=3)).unwrap();
        view.apply(Position(1), &records("b", 1..=9)).unwrap();
        assert_eq!(view.applied(), Position(2));
        assert_eq!(view.bounds(&name("b")).unwrap().head, Seq::ZERO);
        view.apply(Position(3), &[]).unwrap();
        assert_eq!(view.applied(), Position(3));
        assert!(matches!(view.apply(Position(5), &[]), Err(ViewError::Skipped { applied: Position(3), .. })));
    });
}

#[test]
fn a_hole_is_an_error_in_both_directions() {
    each(|Subject { view, .. }| {
        let mut group = records("a", 1..=9);
        group.remove(4);
        view.apply(Position(1), &group).unwrap();
        let a = name("a");
        let missing = |result| matches!(result, Err(ViewError::Hole { expected: Seq(5), .. }));
        assert!(missing(view.after(&a, Seq::ZERO, ALL)));
        assert!(missing(view.after(&a, Seq(4), ALL)));
        assert!(missing(view.before(&a, None, ALL)));
        assert!(missing(view.before(&a, Some(Seq(6)), ALL)));
        assert_eq!(seqs(&view.after(&a, Seq(5), ALL).unwrap()), [6, 7, 8, 9]);
        assert_eq!(seqs(&view.before(&a, Some(Seq(5)), ALL).unwrap()), [1, 2, 3, 4]);
    });
}

#[test]
fn a_conversation_without_its_first_message_is_an_error() {
    each(|Subject { view, .. }| {
        view.apply(Position(1), &records("a", 2..=3)).unwrap();
        let a = name("a");
        assert!(matches!(view.after(&a, Seq::ZERO, ALL), Err(ViewError::Hole { expected: Seq(1), .. })));
        assert!(matches!(view.before(&a, None, ALL), Err(ViewError::Hole { expected: Seq(1), .. })));
        assert!(matches!(view.before(&a, Some(Seq(2)), ALL), Err(ViewError::Hole { expected: Seq(1), .. })));
    });
}

#[test]
fn a_message_id_is_found_and_an_unused_one_is_not() {
    each(|Subject { view, .. }| {
        let other = ProducerKey::new(&UserId::new("bob").unwrap(), ProducerId(1));
        let mut group = records("a", 1..=8);
        group
            .iter_mut()
            .filter(|record| record.seq.0 % 2 == 0)
            .for_each(|record| record.id.as_mut().unwrap().producer = other);
        view.apply(Position(1), &group[..5]).unwrap();
        view.apply(Position(2), &group[5..]).unwrap();
        let (a, ada) = (name("a"), group[0].id.unwrap().producer);
        assert_eq!(view.producer(&a, ada).unwrap(), Some(ProducerState { n: 70, seq: Seq(7) }));
        assert_eq!(view.producer(&a, other).unwrap(), Some(ProducerState { n: 80, seq: Seq(8) }));
        assert_eq!(view.producer(&name("b"), ada).unwrap(), None);
        for record in &group {
            assert_eq!(view.find(&a, id(record).producer, id(record).n).unwrap(), Some(found(record)));
        }
        for n in [0, 5, 20, 35, 71, 90] {
            assert_eq!(view.find(&a, ada, n).unwrap(), None, "{n}");
        }
    });
}

/// Many producers in one conversation, each with numbers of its own: dense, with gaps, rare, at its begin or
/// end only.
#[test]
fn ids_of_interleaved_producers_are_found_wherever_they_are() {
    const SEQS: u64 = 1_500;
    each(|Subject { view, .. }| {
        let ada = UserId::new("ada").unwrap();
        let producers: Vec<_> = (0..40).map(|id| ProducerKey::new(&ada, ProducerId(id))).collect();
        let mut group = records("a", 1..=SEQS);
        for record in &mut group {
            let seq = record.seq.0;
            let (id, n) = match seq {
                700..=710 => (36, 2 * seq),
                // Both sides of the ends of blocks, of any size that is a power of two.
                _ if seq.is_power_of_two() || (seq + 1).is_power_of_two() => (37, seq),
                _ if seq % 64 == 63 => (38, seq * 1_000_000_000),
                ..200 | 1_300.. => (39, seq),
                _ if seq % 2 == 0 => (0, seq - 200),
                _ => (1 + seq % 35, u64::MAX - (SEQS - seq) * 7),
            };
            let producer = producers[usize::try_from(id).unwrap()];
            record.id = Some(MessageId { producer, n });
        }
        let (first, second) = group.split_at(777);
        view.apply(Position(1), first).unwrap();
        view.apply(Position(2), second).unwrap();
        // The same ids in another conversation mean other messages.
        let mut others = records("b", 1..=100);
        for other in &mut others {
            other.id = Some(MessageId { producer: producers[0], n: 3 * other.seq.0 });
        }
        view.apply(Position(3), &others).unwrap();
        let (a, b) = (name("a"), name("b"));
        let mut last_of = std::collections::HashMap::new();
        for record in &group {
            last_of.insert(id(record).producer, ProducerState { n: id(record).n, seq: record.seq });
            assert_eq!(view.find(&a, id(record).producer, id(record).n).unwrap(), Some(found(record)));
        }
        let stored: std::collections::HashSet<_> =
            group.iter().map(|record| (id(record).producer, id(record).n)).collect();
        for record in &group {
            for n in [id(record).n.saturating_sub(1), id(record).n.saturating_add(1), 0] {
                if !stored.contains(&(id(record).producer, n)) {
                    assert_eq!(view.find(&a, id(record).producer, n).unwrap(), None, "{n}");
                }
            }
        }
        for producer in &producers {
            assert_eq!(view.producer(&a, *producer).unwrap(), last_of.get(producer).copied());
        }
        for other in &others {
            assert_eq!(view.find(&b, id(other).producer, id(other).n).unwrap(), Some(found(other)));
            assert_eq!(view.find(&b, producers[39], id(other).n).unwrap(), None);
        }
        assert_eq!(view.producer(&b, producers[0]).unwrap(), Some(ProducerState { n: 300, seq: Seq(100) }));
        assert_eq!(view.producer(&b, producers[39]).unwrap(), None);
    });
}

#[test]
fn what_is_flushed_survives_a_restart() {
    each(|Subject { view, reopen, _dir }| {
        let group = records("a", 1..=5);
        view.apply(Position(1), &group[..2]).unwrap();
        assert_eq!(view.flush().unwrap(), Position(1));
        assert_eq!(view.flush().unwrap(), Position(1));
        view.apply(Position(2), &group[2..]).unwrap();
        assert_eq!(view.flush().unwrap(), Position(2));
        drop(view);
        let view = reopen();
        assert_eq!(view.applied(), Position(2));
        assert_eq!(view.after(&name("a"), Seq::ZERO, ALL).unwrap(), group);
        view.apply(Position(3), &records("a", 6..=6)).unwrap();
        assert_eq!(view.flush().unwrap(), Position(3));
        drop(view);
        let view = reopen();
        assert_eq!(view.bounds(&name("a")).unwrap().head, Seq(6));
        assert_eq!(view.producer(&name("a"), group[0].id.unwrap().producer).unwrap().unwrap().seq, Seq(6));
    });
}

#[test]
fn what_is_not_flushed_is_applied_again_after_a_restart() {
    let Subject { view, reopen, _dir } = fjall();
    let group = records("a", 1..=5);
    view.apply(Position(1), &group[..2]).unwrap();
    view.flush().unwrap();
    view.apply(Position(2), &group[2..]).unwrap();
    drop(view);
    let view = reopen();
    assert_eq!(view.applied(), Position(1));
    // Without a flush it was in memory alone.
    assert_eq!(view.bounds(&name("a")).unwrap().head, Seq(2));
    view.apply(Position(2), &group[2..]).unwrap();
    assert_eq!(view.after(&name("a"), Seq::ZERO, ALL).unwrap(), group);
}

const SMALL_WINDOW_BYTES: u64 = 2_000;

/// A view in which a window has some groups, and which was never given those behind `applied`.
fn small_windows(dir: &Path, applied: u64) -> FjallView {
    let view = FjallView::open(dir, CACHE_BYTES).unwrap().with_window_bytes(SMALL_WINDOW_BYTES);
    view.with_new_from(Position(applied + 1))
}

/// Crashes at every place, behind one or two flushes of which tables are left but no checkpoint. What is
/// applied again comes to where it was, wherever the flushes are this time.
#[test]
fn a_crash_leaves_no_trace_in_windows() {
    let of = |name: &'static str, group: u64| records(name, group * 5 + 1..=group * 5 + 5);
    let groups: Vec<_> = (0..12).map(|group| [of("a", group), of("b", group)].concat()).collect();
    let apply = |view: &FjallView, from: u64, to: u64, flush_each: u64| {
        for position in from + 1..=to {
            view.apply(Position(position), &groups[usize::try_from(position - 1).unwrap()]).unwrap();
            if position.is_multiple_of(flush_each) {
                view.flush().unwrap();
            }
        }
    };
    for crash in 0..12 {
        for (before, behind) in [(2, 1), (2, 3), (1, 2), (3, 5), (99, 99), (99, 1)] {
            let dir = tempfile::tempdir().unwrap();
            let view = small_windows(dir.path(), 0);
            apply(&view, 0, crash, before);
            let next = (crash + 1).min(12);
            apply(&view, crash, next, 99);
            flush_without_checkpoint(&view, dir.path());
            let last = (next + 2).min(12);
            apply(&view, next, last, 99);
            flush_without_checkpoint(&view, dir.path());
            drop(view);
            let view = small_windows(dir.path(), last);
            apply(&view, view.applied().0, 12, behind);
            for name in [name("a"), name("b")] {
                let all = groups.iter().flatten().filter(|record| record.conversation == name);
                let all: Vec<_> = all.cloned().collect();
                assert_eq!(view.bounds(&name).unwrap().head, Seq(60));
                assert_eq!(view.after(&name, Seq::ZERO, ALL).unwrap(), all, "{crash} {before} {behind}");
                assert_eq!(view.before(&name, None, ALL).unwrap(), all, "{crash} {before} {behind}");
                for record in all {
                    assert_eq!(
                        view.find(&name, id(&record).producer, id(&record).n).unwrap(),
                        Some(found(&record))
                    );
                }
            }
        }
    }
}

/// Flushes move what is visible on in the middle of a group.
#[test]
fn readers_see_whole_groups() {
    each(|Subject { view, .. }| {
        const GROUPS: u64 = 300;
        const CONVERSATIONS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for position in 1..=GROUPS {
                    let group = CONVERSATIONS.map(|name| records(name, position * 7 - 6..=position * 7));
                    view.apply(Position(position), &group.concat()).unwrap();
                }
            });
            scope.spawn(|| {
                while view.applied() < Position(GROUPS) {
                    view.flush().unwrap();
                }
            });
            for turn in (0..).take_while(|_| !writer.is_finished()) {
                let name = name(CONVERSATIONS[turn % CONVERSATIONS.len()]);
                let applied = view.applied();
                let read = view.before(&name, None, PageLimit { records: 20, bytes: 1 << 20 }).unwrap();
                let head = read.last().map_or(0, |record| record.seq.0);
                assert!(head % 7 == 0, "half a group at {head}");
                assert!(head >= applied.0 * 7, "group {applied} was applied, the head is {head}");
            }
        });
    });
}

#[test]
fn changes_are_read_as_messages_are_and_notices_are_not_read() {
    each(|Subject { view, reopen, _dir }| {
        let mut changes = [change("a", 2, []), change("a", 4, [])];
        changes[0].origin_time_ms = Some(0);
        // A change may have an id too.
        changes[1].id = Some(MessageId { n: 30, ..id(&record("a", 1, 10)) });
        let [first, second] = changes;
        let events = vec![record("a", 1, 10), first, record("a", 3, 20), second, record("a", 5, 40)];
        let mut group = events.clone();
        // Before the first event and between others, also of conversations that have no event.
        for (at, of) in [(0, "a"), (3, "a"), (4, "b"), (8, "a")] {
            group.insert(at, notice(of, []));
        }
        group[3].id = Some(id(&record("a", 1, 11)));
        view.apply(Position(1), &[notice("c", [])]).unwrap();
        view.apply(Position(2), &group).unwrap();
        let check = |view: &dyn View| {
            let a = name("a");
            assert_eq!(view.bounds(&a).unwrap(), Bounds { floor: Seq(1), head: Seq(5) });
            assert_eq!(view.after(&a, Seq::ZERO, ALL).unwrap(), events);
            assert_eq!(view.after(&a, Seq(1), ALL).unwrap(), events[1..]);
            alike::check(view, &a, Seq(1), ALL);
            assert_eq!(view.before(&a, None, ALL).unwrap(), events);
            assert_eq!(view.before(&a, Some(Seq(3)), ALL).unwrap(), events[..2]);
            let producer = id(&events[0]).producer;
            for event in [&events[0], &events[2], &events[3], &events[4]] {
                assert_eq!(view.find(&a, producer, id(event).n).unwrap(), Some(found(event)));
            }
            assert_eq!(view.find(&a, producer, 11).unwrap(), None, "the id of a notice");
            for of in ["b", "c"] {
                assert_eq!(view.bounds(&name(of)).unwrap(), Bounds { floor: Seq(1), head: Seq::ZERO });
                assert_eq!(view.after(&name(of), Seq::ZERO, ALL).unwrap(), []);
            }
        };
        check(&*view);
        view.flush().unwrap();
        drop(view);
        check(&*reopen());
    });
}
