//! What every view keeps of what is no longer to be read.

mod alike;
mod views;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{change, found, notice, record};
use quoth_store::{
    Bounds, Class, Content, FjallView, Last, Marks, PageLimit, Place, Position, Record, Stretch, View,
};
use views::{CACHE_BYTES, Subject, each, flush_without_checkpoint};

const ALL: PageLimit = PageLimit { records: 1000, bytes: 1 << 20 };

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

/// Events of one conversation, with the offsets that a server gives them, one millisecond apart.
fn events(conversation: &str, seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    let bytes = |seq| record(conversation, seq, seq).content.len() as u64;
    let offset = |seq| (1..seq).map(bytes).sum();
    seqs.map(|seq| Record { offset: offset(seq), ..record(conversation, seq, seq) }).collect()
}

fn seqs(stretch: &Stretch) -> (u64, u64, Vec<u64>) {
    (stretch.from.0, stretch.to.0, stretch.records.iter().map(|record| record.seq.0).collect())
}

/// Applies each record as a group of its own, flushed, and an empty group behind them.
fn apply_each(view: &dyn View, records: &[Record]) {
    let next = view.applied().0 + 1;
    for (position, record) in (next..).zip(records) {
        view.apply(Position(position), std::slice::from_ref(record)).unwrap();
        view.flush().unwrap();
    }
}

fn keep_from(seq: u64) -> Marks {
    Marks { seq: Seq(seq), ..Marks::default() }
}

#[test]
fn a_floor_is_the_first_event_behind_all_marks() {
    each(|Subject { view, .. }| {
        let all = events("a", 1..=200);
        let (first, rest) = all.split_at(70);
        view.apply(Position(1), first).unwrap();
        apply_each(&*view, &rest[..30]);
        view.apply(Position(view.applied().0 + 1), &rest[30..]).unwrap();
        let place = |seq: u64| {
            let record = &all[usize::try_from(seq).unwrap() - 1];
            Place { seq: Seq(seq), time_ms: record.time_ms, offset: record.offset }
        };
        let floor = |marks, hint| view.floor(&name("a"), marks, Seq(hint)).unwrap();
        for seq in 1..=200 {
            for hint in [0, 1, seq / 2, seq] {
                assert_eq!(floor(keep_from(seq), hint), place(seq));
                assert_eq!(
                    floor(Marks { time_ms: place(seq).time_ms, ..Marks::default() }, hint),
                    place(seq)
                );
                assert_eq!(floor(Marks { offset: place(seq).offset, ..Marks::default() }, hint), place(seq));
            }
            let either = Marks { time_ms: place(seq).time_ms, ..keep_from(201 - seq) };
            assert_eq!(floor(either, 0), place(seq.max(201 - seq)));
        }
        let last = view.last(&name("a")).unwrap().unwrap();
        assert_eq!((last.seq, last.time_ms, last.end), (Seq(200), all[199].time_ms, all[199].end()));
        let end = Place { seq: Seq(201), time_ms: last.time_ms, offset: last.end };
        assert_eq!(floor(keep_from(500), 0), end);
        assert_eq!(view.floor(&name("b"), keep_from(5), Seq::ZERO).unwrap().seq, Seq(1));
        assert_eq!(view.last(&name("b")).unwrap(), None);
    });
}

#[test]
fn what_is_erased_is_absent_and_the_rest_is_as_it_was() {
    each(|Subject { view, reopen, _dir }| {
        let mut all = events("a", 1..=9);
        // One of the same group, of an earlier one, and some side by side.
        all[6].erases = vec![Seq(6), Seq(2), Seq(3)];
        view.apply(Position(1), &all[..4]).unwrap();
        view.apply(Position(2), &all[4..]).unwrap();
        view.apply(Position(3), &[Record { erases: vec![Seq(9)], ..change("a", 10, []) }]).unwrap();
        let check = |view: &dyn View| {
            let a = name("a");
            assert_eq!(seqs(&view.after(&a, Seq::ZERO, ALL).unwrap()), (1, 10, vec![1, 4, 5, 7, 8, 10]));
            assert_eq!(seqs(&view.after(&a, Seq(1), ALL).unwrap()), (2, 10, vec![4, 5, 7, 8, 10]));
            assert_eq!(seqs(&view.before(&a, None, ALL).unwrap()), (1, 10, vec![1, 4, 5, 7, 8, 10]));
            assert_eq!(seqs(&view.before(&a, Some(Seq(10)), ALL).unwrap()), (1, 9, vec![1, 4, 5, 7, 8]));
            assert_eq!(seqs(&view.before(&a, Some(Seq(4)), ALL).unwrap()), (1, 3, vec![1]));
            let two = PageLimit { records: 2, ..ALL };
            assert_eq!(seqs(&view.after(&a, Seq::ZERO, two).unwrap()), (1, 4, vec![1, 4]));
            assert_eq!(seqs(&view.before(&a, Some(Seq(7)), two).unwrap()), (4, 6, vec![4, 5]));
            alike::check(view, &a, Seq::ZERO, ALL);
            alike::check(view, &a, Seq(1), two);
            assert_eq!(view.bounds(&a).unwrap(), Bounds { floor: Seq(1), head: Seq(10) });
            for record in &all {
                let id = record.id.unwrap();
                assert_eq!(
                    view.find(&a, id.producer, id.n).unwrap(),
                    Some(found(record)),
                    "a repeat is one still"
                );
            }
            // Lengths stay, so offsets of what comes behind mean what they did.
            let kept =
                view.floor(&a, Marks { offset: all[7].offset, ..Marks::default() }, Seq::ZERO).unwrap();
            assert_eq!(kept.seq, Seq(8));
        };
        check(&*view);
        view.flush().unwrap();
        drop(view);
        check(&*reopen());
    });
}

#[test]
fn what_is_reclaimed_is_absent_and_heads_and_ids_stay() {
    each(|Subject { view, reopen, _dir }| {
        let (a, b) = (name("a"), name("b"));
        let (all, others) = (events("a", 1..=90), events("b", 1..=90));
        for (one, other) in all.iter().zip(&others) {
            let position = Position(view.applied().0 + 1);
            view.apply(position, &[one.clone(), other.clone()]).unwrap();
        }
        view.flush().unwrap();
        let mut keeps = |conversation: &ConversationName| {
            Ok(if *conversation == name("a") {
                keep_from(60)
            } else {
                Marks { offset: others[39].offset, ..Marks::default() }
            })
        };
        let before = view.disk_bytes();
        let reclaimed = view.reclaim(&mut keeps).unwrap();
        let floors = (view.bounds(&a).unwrap().floor, view.bounds(&b).unwrap().floor);
        assert!(floors.0 <= Seq(60) && floors.1 <= Seq(40), "no more than what is absent: {floors:?}");
        assert!(view.disk_bytes() <= before);
        assert_eq!(reclaimed.windows > 0, floors.1 > Seq(1));
        let check = |view: &dyn View| {
            for (name, all, floor) in [(&a, &all, floors.0), (&b, &others, floors.1)] {
                assert_eq!(view.bounds(name).unwrap(), Bounds { floor, head: Seq(90) });
                alike::check(view, name, Seq::ZERO, ALL);
                alike::check(view, name, Seq(70), PageLimit { records: 5, ..ALL });
                let kept: Vec<_> = (floor.0..=90).collect();
                assert_eq!(seqs(&view.after(name, Seq::ZERO, ALL).unwrap()), (1, 90, kept.clone()));
                assert_eq!(seqs(&view.before(name, None, ALL).unwrap()), (1, 90, kept));
                let last = all.last().unwrap();
                let end = Last { seq: Seq(90), time_ms: last.time_ms, end: last.end() };
                assert_eq!(view.last(name).unwrap(), Some(end));
                for record in all.iter() {
                    let id = record.id.unwrap();
                    let found = view.find(name, id.producer, id.n).unwrap();
                    assert!(found.is_some_and(|found| found.seq >= record.seq), "a repeat is one still");
                    assert_eq!(view.find(name, id.producer, 91).unwrap(), None);
                }
            }
        };
        check(&*view);
        assert_eq!(view.reclaim(&mut keeps).unwrap().windows, 0, "it is done");
        drop(view);
        check(&*reopen());
    });
}

#[test]
fn reads_of_what_a_reclaim_has_left_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(1);
    for (position, event) in (1..).map(Position).zip(events("a", 1..=90)) {
        view.apply(position, &[event]).unwrap();
        view.flush().unwrap();
    }
    view.reclaim(&mut |_| Ok(keep_from(60))).unwrap();
    assert_eq!(view.bounds(&name("a")).unwrap().floor, Seq(60));
    for (after, records) in [(0, 1_000), (0, 5), (59, 5), (59, 31), (70, 31), (90, 5)] {
        alike::check(&view, &name("a"), Seq(after), PageLimit { records, ..ALL });
    }
}

#[test]
fn a_conversation_of_which_nothing_is_left_goes_on_with_its_next_seq() {
    each(|Subject { view, reopen, _dir }| {
        let a = name("a");
        view.apply(Position(1), &events("a", 1..=5)).unwrap();
        view.apply(Position(2), &[notice("b", [])]).unwrap();
        view.flush().unwrap();
        view.reclaim(&mut |_| Ok(keep_from(6))).unwrap();
        view.apply(Position(3), &events("a", 6..=7)).unwrap();
        view.flush().unwrap();
        view.reclaim(&mut |_| Ok(keep_from(8))).unwrap();
        drop(view);
        let view = reopen();
        assert_eq!(view.bounds(&a).unwrap().head, Seq(7));
        alike::check(&*view, &a, Seq::ZERO, ALL);
        assert_eq!(view.last(&a).unwrap().unwrap().end, events("a", 7..=7)[0].end());
        view.apply(Position(4), &events("a", 8..=9)).unwrap();
        let Stretch { to, records, .. } = view.after(&a, Seq::ZERO, ALL).unwrap();
        assert!(to == Seq(9) && records.ends_with(&events("a", 8..=9)));
    });
}

/// Windows of a class end by time as well, and a conversation may come back to one.
#[test]
fn classes_have_windows_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    let minute = Class::of_age_s(60);
    let mut all = events("a", 1..=43);
    for record in &mut all {
        record.class = if record.seq.0 / 3 % 2 == 0 { minute } else { Class::default() };
        record.time_ms = 1_000_000 + record.seq.0 * 1_000;
    }
    let (first, second) = all.split_at(25);
    view.apply(Position(1), first).unwrap();
    for record in second {
        view.apply(Position(view.applied().0 + 1), std::slice::from_ref(record)).unwrap();
    }
    let read: Vec<_> =
        all.iter().map(|record| Record { class: Class::default(), ..record.clone() }).collect();
    let check = |view: &FjallView| {
        assert_eq!(view.after(&name("a"), Seq::ZERO, ALL).unwrap(), read);
        assert_eq!(view.before(&name("a"), None, ALL).unwrap(), read);
        for at in 0..=43 {
            assert_eq!(
                view.after(&name("a"), Seq(at), ALL).unwrap().records,
                read[usize::try_from(at).unwrap()..]
            );
            let before = view.before(&name("a"), Some(Seq(at + 1)), ALL).unwrap();
            assert_eq!(before.records, read[..usize::try_from(at).unwrap()]);
        }
    };
    check(&view);
    view.flush().unwrap();
    drop(view);
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    check(&view);
    let mut windows = Vec::new();
    view.survey(&mut |_, spans| {
        windows.extend(spans.iter().map(|span| (span.class == minute, span.window, span.is_closed)));
        Ok(())
    })
    .unwrap();
    windows.sort_unstable();
    windows.dedup();
    assert!(windows.contains(&(true, 1, true)) && windows.contains(&(false, 0, false)), "{windows:?}");
    assert!(view.overdue(1_049_000).is_empty());
    assert_eq!(view.overdue(1_050_000), [minute], "whose open window a notice ends");
    let closes = Record { class: minute, time_ms: 1_050_000, ..notice("$server", []) };
    view.apply(Position(view.applied().0 + 1), &[closes]).unwrap();
    assert!(view.overdue(1_060_000).is_empty());
}

/// Crashes between the flush and the drop of tables, and before the flush.
#[test]
fn a_crash_in_a_reclaim_leaves_nothing_behind() {
    for is_behind_flush in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(2_000);
        let view = open();
        let all = events("a", 1..=200);
        for group in all.chunks(10) {
            view.apply(Position(view.applied().0 + 1), group).unwrap();
            view.flush().unwrap();
        }
        if is_behind_flush {
            // What was said to be gone is stored, and the tables are as they were.
            let saved = tempfile::tempdir().unwrap();
            copy(&dir.path().join("engine"), saved.path());
            view.reclaim(&mut |_| Ok(keep_from(101))).unwrap();
            drop(view);
            let tables = "engine/keyspaces";
            restore_messages(&saved.path().join("keyspaces"), &dir.path().join(tables));
        } else {
            let obstacle = dir.path().join("checkpoint.new");
            std::fs::create_dir(&obstacle).unwrap();
            view.reclaim(&mut |_| Ok(keep_from(101))).unwrap_err();
            std::fs::remove_dir(obstacle).unwrap();
            drop(view);
        }
        let view = open();
        let read = view.after(&name("a"), Seq::ZERO, ALL).unwrap();
        assert!(read.to == Seq(200) && read.records.ends_with(&all[100..]), "all that is kept is there");
        let before = view.disk_bytes();
        view.reclaim(&mut |_| Ok(keep_from(101))).unwrap();
        assert!(view.disk_bytes() < before, "what was left is gone: {before} bytes before");
        let floor = view.bounds(&name("a")).unwrap().floor;
        assert!((Seq(60)..=Seq(101)).contains(&floor), "{floor}");
        let _ = flush_without_checkpoint;
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Puts back the tree that has the messages, which is the first one.
fn restore_messages(from: &std::path::Path, to: &std::path::Path) {
    let first = |dir: &std::path::Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_by_key(|name| name.to_string_lossy().parse::<u64>().unwrap_or(u64::MAX));
        names[1].clone()
    };
    let of_messages = first(from);
    std::fs::remove_dir_all(to.join(&of_messages)).unwrap();
    copy(&from.join(&of_messages), &to.join(&of_messages));
}

#[test]
fn what_expires_is_read_with_its_time() {
    each(|Subject { view, .. }| {
        let mut all = events("a", 1..=3);
        all[1].expires_ms = 77;
        all[2].content = Content::Message(bytes::Bytes::new());
        view.apply(Position(1), &all).unwrap();
        assert_eq!(view.after(&name("a"), Seq::ZERO, ALL).unwrap(), all);
    });
}
