//! A view whose windows are rewritten all the time reads as one that is never changed.

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{Random, record, unpaced};
use quoth_store::{
    Class, Content, Extent, FjallView, Keep, Marks, MemoryView, PageLimit, Position, Record, Rewrite,
    Rewritten, View,
};

const CACHE_BYTES: u64 = 1 << 20;

const ALL: PageLimit = PageLimit { records: usize::MAX, bytes: usize::MAX };

const CONVERSATIONS: [&str; 4] = ["a", "b", "c", "d"];

/// Numbers that a seed makes, without a library.
fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn rewrite(
    view: &dyn View,
    keep: &dyn Fn(&ConversationName) -> Keep,
    now_ms: u64,
    erased_by_ms: u64,
) -> Rewritten {
    rewrite_until(view, keep, now_ms, erased_by_ms, u64::MAX)
}

/// Ends behind so many steps.
fn rewrite_until(
    view: &dyn View,
    keep: &dyn Fn(&ConversationName) -> Keep,
    now_ms: u64,
    erased_by_ms: u64,
    steps: u64,
) -> Rewritten {
    let mut left = steps;
    let mut pace = |_| {
        left -= 1;
        left > 0
    };
    let mut rewrite = Rewrite { now_ms, erased_by_ms, extent: Extent::Worthwhile, pace: &mut pace };
    view.rewrite(&mut |name| Ok(keep(name)), &mut rewrite).unwrap()
}

/// What is stored, in groups, and how it is kept.
struct World {
    groups: Vec<Vec<Record>>,
    heads: [(u64, u64); CONVERSATIONS.len()],
    n: u64,
    now_ms: u64,
    keeps: [Keep; CONVERSATIONS.len()],
}

impl World {
    fn keep(&self, name: &ConversationName) -> Keep {
        let at = CONVERSATIONS.iter().position(|of| *of == name.as_str()).unwrap();
        let held = at == 0;
        Keep { live_ms: if held { 0 } else { self.now_ms }, ..self.keeps[at] }
    }

    fn group(&mut self, random: &mut Random) -> Vec<Record> {
        let mut group = Vec::new();
        for _ in 0..=random.below(40) {
            let at = usize::try_from(random.below(CONVERSATIONS.len() as u64)).unwrap();
            let (seq, offset) = &mut self.heads[at];
            (*seq, self.n) = (*seq + 1, self.n + 1);
            self.now_ms += random.below(50);
            let mut record = record(CONVERSATIONS[at], *seq, self.n);
            record.content = Content::Message(vec![b'x'; usize::try_from(random.below(300)).unwrap()].into());
            (record.offset, record.time_ms) = (*offset, self.now_ms);
            if random.below(10) > at as u64 * 3 {
                record.expires_ms = self.now_ms + 1 + random.below(20_000);
            }
            if random.below(12) == 0 && *seq > 1 {
                record.erases = vec![Seq(1 + random.below(*seq - 1))];
            }
            record.ends_window = random.below(80) == 0;
            if at == 3 && random.below(3) == 0 {
                record.class = Class::of_age_s(60);
            }
            *offset = record.end();
            group.push(record);
        }
        self.groups.push(group.clone());
        group
    }

    fn check(&self, view: &dyn View, model: &dyn View, what: &str) {
        for name in CONVERSATIONS.map(name) {
            let keep = self.keep(&name);
            let is_kept = |record: &Record| {
                let place =
                    quoth_store::Place { seq: record.seq, time_ms: record.time_ms, offset: record.offset };
                !keep.is_absent(place, record.expires_ms)
            };
            let read = |view: &dyn View| {
                let mut read = view.after(&name, Seq::ZERO, ALL).unwrap();
                read.records.retain(is_kept);
                read
            };
            let (found, expected) = (read(view), read(model));
            assert_eq!((found.from, found.to), (expected.from, expected.to), "{what}: {name}");
            assert_eq!(found.records, expected.records, "{what}: {name}");
            assert_eq!(view.last(&name).unwrap(), model.last(&name).unwrap(), "{what}: {name}");
            // In pages, from the end.
            let (mut before, mut paged) = (None, Vec::new());
            loop {
                let mut page = view.before(&name, before, PageLimit { records: 7, ..ALL }).unwrap();
                page.records.retain(is_kept);
                page.records.reverse();
                paged.extend(page.records);
                if page.from <= Seq(1) {
                    break;
                }
                before = Some(page.from);
            }
            paged.reverse();
            assert_eq!(paged, expected.records, "{what}: {name}, backwards");
            let of_name = self.groups.iter().flatten().filter(|record| record.conversation == name);
            for record in of_name.step_by(7) {
                let id = record.id.unwrap();
                let found = view.find(&name, id.producer, id.n).unwrap();
                let found =
                    found.unwrap_or_else(|| panic!("{what}: a repeat of {name} {} is one", record.seq));
                if expected.records.iter().any(|kept| kept.seq == record.seq) {
                    assert_eq!(found.seq, record.seq, "{what}: {name}");
                } else {
                    assert!(found.seq >= record.seq, "{what}: {name}");
                }
            }
            let head = view.last(&name).unwrap().map_or(Seq::ZERO, |last| last.seq);
            for part in 0..20 {
                let marks = Marks { seq: Seq((head.0 + 2) * part / 19), ..Marks::default() };
                let floor = view.floor(&name, marks, Seq::ZERO).unwrap().seq;
                let first = model.floor(&name, marks, Seq::ZERO).unwrap().seq;
                assert!(floor >= first, "{what}: {name}");
                // Of what is gone it is not known any more where it lay.
                let passed = expected.records.iter().find(|kept| (first..floor).contains(&kept.seq));
                assert_eq!(passed, None, "{what}: {name}, a floor at {floor} and not {first}");
            }
        }
    }
}

#[test]
fn what_is_kept_is_read_as_if_nothing_was_rewritten() {
    let (mut rewritten, mut freed) = (0, 0);
    for seed in 1..=6_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(4_000);
        let (mut view, model) = (open(), MemoryView::new());
        let mut world = World {
            groups: Vec::new(),
            heads: Default::default(),
            n: 0,
            now_ms: 1_000_000,
            keeps: [Keep::default(); CONVERSATIONS.len()],
        };
        for step in 0..50 {
            let what = format!("seed {seed}, step {step}");
            match random.below(10) {
                0 => {
                    let at = usize::try_from(random.below(4)).unwrap();
                    let (head, _) = world.heads[at];
                    let marks = &mut world.keeps[at].marks;
                    marks.seq = marks.seq.max(Seq(random.below(head + 2)));
                }
                1 => {
                    let mut keeps = |name: &ConversationName| Ok(world.keep(name).marks);
                    view.reclaim(&mut keeps).unwrap();
                }
                2 | 3 => {
                    let by_ms = if random.below(2) == 0 { world.now_ms } else { 0 };
                    let steps = 1 + random.below(40);
                    let done = rewrite_until(&view, &|name| world.keep(name), world.now_ms, by_ms, steps);
                    (rewritten, freed) = (rewritten + done.windows, freed + done.bytes);
                }
                4 => drop(view.flush().unwrap()),
                5 => {
                    // What is not flushed comes again.
                    drop(view);
                    view = open();
                    let applied = usize::try_from(view.applied().0).unwrap();
                    for (group, position) in world.groups.iter().zip(1..).skip(applied) {
                        view.apply(Position(position), group).unwrap();
                    }
                }
                _ => {
                    let group = world.group(&mut random);
                    let position = Position(world.groups.len() as u64);
                    view.apply(position, &group).unwrap();
                    model.apply(position, &group).unwrap();
                    continue;
                }
            }
            world.check(&view, &model, &what);
        }
    }
    assert!(rewritten > 20 && freed > 0, "{rewritten} windows, {freed} bytes");
}

/// Messages that live for a second, and one in ten that stays, in windows of a MiB.
#[test]
fn the_disk_has_little_more_than_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(1 << 20);
    let (mut seqs, mut offsets, mut random) = ([0_u64; 20], [0_u64; 20], Random(7));
    let (mut live, mut stored) = (Vec::new(), 0_u64);
    for position in 1..=400 {
        let mut group = Vec::new();
        for n in 0..100_u64 {
            let at = usize::try_from(random.below(20)).unwrap();
            seqs[at] += 1;
            let mut record = record(&format!("room-{at}"), seqs[at], position * 1_000 + n);
            // What does not compress.
            let body: Vec<u8> = (0..200).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            record.content = Content::Message(body.into());
            (record.time_ms, record.offset) = (1_000_000 + position, offsets[at]);
            if random.below(10) > 0 {
                record.expires_ms = record.time_ms + 1_000;
            } else {
                live.push(record.clone());
            }
            stored += 200;
            offsets[at] = record.end();
            group.push(record);
        }
        view.apply(Position(position), &group).unwrap();
        if position % 20 == 0 {
            view.flush().unwrap();
        }
    }
    // So that the last window has ended too.
    let end = Record { ends_window: true, ..quoth_store::testing::notice("end", []) };
    view.apply(Position(401), &[end]).unwrap();
    view.flush().unwrap();
    let before = view.disk_bytes();
    assert!(before > stored, "{before} bytes of {stored}");
    let now_ms = 2_000_000;
    let keep = |_: &ConversationName| Keep { live_ms: now_ms, ..Keep::default() };
    let (mut moved, mut calls) = (0, 0);
    loop {
        let done = rewrite(&view, &keep, now_ms, 0);
        assert!(done.is_done);
        (moved, calls) = (moved + done.moved_bytes, calls + 1);
        if !done.more {
            break;
        }
    }
    assert_eq!(rewrite(&view, &keep, now_ms, 0).moved_bytes, 0, "it is done");
    let (after, live) = (view.disk_bytes(), bytes_of(&live));
    assert!(after * 4 <= live * 5, "{after} bytes for {live}, after {moved} in {calls} calls");
}

/// What events take of the disk that have nothing between them.
fn bytes_of(events: &[Record]) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    let mut seqs = std::collections::HashMap::<_, u64>::new();
    for (group, position) in events.chunks(100).zip(1..) {
        let group: Vec<_> = group
            .iter()
            .map(|record| {
                let seq = seqs.entry(record.conversation.clone()).or_default();
                *seq += 1;
                Record { seq: Seq(*seq), ..record.clone() }
            })
            .collect();
        view.apply(Position(position), &group).unwrap();
    }
    view.flush().unwrap();
    view.disk_bytes()
}

/// An erased text is in no file any more, whatever else its tables have.
#[test]
fn what_was_erased_leaves_the_disk_and_its_neighbours_stay() {
    const SECRET: &[u8] = b"a secret that nobody is to find again";
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(2_000);
    let model = MemoryView::new();
    let mut all: Vec<_> = (1..=60).map(|seq| record("a", seq, seq)).collect();
    all[20].content = Content::Message(SECRET.into());
    all[59].erases = vec![Seq(21)];
    for (record, position) in all.iter().zip(1..) {
        for view in [&view as &dyn View, &model] {
            view.apply(Position(position), std::slice::from_ref(record)).unwrap();
        }
        if position % 9 == 0 {
            view.flush().unwrap();
        }
    }
    view.flush().unwrap();
    assert!(has(dir.path(), SECRET));
    let erased = view.erased();
    assert_eq!((erased.events, erased.since_ms), (1, Some(all[59].time_ms)));
    let keep = |_: &ConversationName| Keep::default();
    assert_eq!(rewrite(&view, &keep, u64::MAX, all[59].time_ms - 1).moved_bytes, 0, "it is not due");
    assert!(has(dir.path(), SECRET));
    let mut position = 60;
    while view.erased().events > 0 {
        position += 1;
        assert!(position < 70, "{:?}", view.erased());
        let done = rewrite(&view, &keep, u64::MAX, u64::MAX);
        view.purge(false, &unpaced()).unwrap();
        let end = quoth_store::testing::notice("end", []);
        let ends: Vec<_> = done
            .held_up
            .iter()
            .map(|class| Record { class: *class, ends_window: true, ..end.clone() })
            .collect();
        view.apply(Position(position), &ends).unwrap();
    }
    assert!(!has(dir.path(), SECRET));
    let read = |view: &dyn View| view.after(&name("a"), Seq::ZERO, ALL).unwrap();
    assert_eq!(read(&view), read(&model));
    drop(view);
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    assert_eq!((read(&view), view.erased().events), (read(&model), 0));
}

/// Events of three conversations in some windows, of which the first ones have some that have expired, and a
/// secret each.
fn store_expired(view: &FjallView) {
    let (mut seqs, mut offsets) = ([0_u64; 3], [0_u64; 3]);
    for position in 1..=60_u64 {
        let at = usize::try_from(position % 3).unwrap();
        let name = CONVERSATIONS[at];
        seqs[at] += 1;
        let mut record = record(name, seqs[at], position);
        if seqs[at] == 2 {
            record.content = Content::Message(format!("{SECRET} of {name}").into());
        } else if seqs[at] < 8 {
            record.expires_ms = record.time_ms + 1;
        }
        record.offset = offsets[at];
        offsets[at] = record.end();
        view.apply(Position(position), &[record]).unwrap();
    }
    view.apply(Position(61), &[end()]).unwrap();
    view.flush().unwrap();
}

/// What ends all windows.
fn end() -> Record {
    Record { ends_window: true, ..quoth_store::testing::notice("end", []) }
}

const SECRET: &str = "a secret that nobody is to find again";

#[test]
fn what_was_moved_in_part_is_moved_as_a_whole_however_little_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(4_000);
    store_expired(&view);
    let keep = |_: &ConversationName| Keep { live_ms: u64::MAX, ..Keep::default() };
    assert_eq!(rewrite(&view, &keep, 0, 0).moved_bytes, 0);
    assert!(!rewrite_until(&view, &keep, u64::MAX / 2, 0, 1).is_done);
    let done = rewrite(&view, &keep, 0, 0);
    assert!(done.windows > 0 && done.moved_bytes > 0, "{done:?}");
    assert_eq!(rewrite(&view, &keep, 0, 0).moved_bytes, 0);
}

/// Everything of the first windows is in one table, which stays beside others, or a move has ended in the
/// middle.
#[test]
fn what_was_moved_before_it_was_erased_leaves_the_disk() {
    for is_interrupted in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(4_000);
        let view = open();
        store_expired(&view);
        let keep = |_: &ConversationName| Keep { live_ms: u64::MAX, ..Keep::default() };
        let steps = if is_interrupted { 1 } else { u64::MAX };
        let done = rewrite_until(&view, &keep, u64::MAX / 2, 0, steps);
        assert!(done.moved_bytes > 0 && done.is_done != is_interrupted);
        // Whose secret was moved: now it is erased.
        let mut moved = None;
        view.survey(&mut |name, spans| {
            if spans[0].class != Class::default() {
                moved = Some(name.clone());
            }
            Ok(())
        })
        .unwrap();
        let moved = moved.unwrap();
        let secret = format!("{SECRET} of {moved}");
        let revoked = Record { erases: vec![Seq(2)], ..quoth_store::testing::notice(moved.as_str(), []) };
        view.apply(Position(62), &[revoked]).unwrap();
        view.flush().unwrap();
        assert!(has(dir.path(), secret.as_bytes()));
        drop(view);
        let view = open();
        let mut position = 62;
        // Nothing is dead by its time at 0.
        while view.erased().since_ms.is_some() {
            assert!(position < 80, "{:?}", view.erased());
            let done = rewrite(&view, &keep, 0, u64::MAX);
            view.purge(false, &unpaced()).unwrap();
            position += 1;
            let ends: Vec<_> = done.held_up.iter().map(|class| Record { class: *class, ..end() }).collect();
            view.apply(Position(position), &ends).unwrap();
        }
        assert!(!has(dir.path(), secret.as_bytes()), "interrupted: {is_interrupted}");
        let stays = CONVERSATIONS[..3].iter().map(|name| format!("{SECRET} of {name}"));
        let stay: Vec<_> = stays.filter(|stays| has(dir.path(), stays.as_bytes())).collect();
        assert_eq!(stay.len(), 2, "{stay:?}");
    }
}

/// The walk through all conversations, which begins a rewrite, may take long.
#[test]
fn what_is_erased_while_a_rewrite_looks_at_all_is_not_taken_for_erased_by_a_clock_that_was_ahead() {
    const AHEAD_MS: u64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    let event = |seq| Record { ends_window: true, ..record("a", seq, seq) };
    view.apply(Position(1), &[event(1)]).unwrap();
    view.apply(Position(2), &[event(2)]).unwrap();
    let now_ms = event(2).time_ms;
    let erased = Record { time_ms: now_ms + AHEAD_MS, erases: vec![Seq(1)], ..record("a", 3, 3) };
    let is_erased = std::cell::Cell::new(false);
    let keep = |_: &ConversationName| {
        if !is_erased.replace(true) {
            view.apply(Position(3), std::slice::from_ref(&erased)).unwrap();
        }
        Keep::default()
    };
    assert_eq!(rewrite(&view, &keep, now_ms, 0).moved_bytes, 0);
    assert_eq!(view.erased().since_ms, Some(erased.time_ms));
    // One that was is due.
    assert!(rewrite(&view, &keep, now_ms, 0).moved_bytes > 0);
}

/// What is gone counts as dead no more, also at a beginning, and however few events that are.
#[test]
fn what_was_rewritten_at_the_beginning_of_conversations_is_not_again() {
    const BODY: &[u8] = &[b'x'; 100];
    let dir = tempfile::tempdir().unwrap();
    // A start ends the window of what was rewritten.
    let open = || FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    let view = open();
    let events = (1..=20_u64).flat_map(|seq| CONVERSATIONS.map(|name| record(name, seq, seq)));
    for (event, position) in events.zip(1..) {
        let offset = (event.seq.0 - 1) * BODY.len() as u64;
        let record = Record { content: Content::Message(BODY.into()), offset, ..event };
        view.apply(Position(position), &[record]).unwrap();
    }
    view.apply(Position(81), &[end()]).unwrap();
    view.flush().unwrap();
    drop(view);
    let marks = Marks { seq: Seq(11), ..Marks::default() };
    let keep = |_: &ConversationName| Keep { marks, ..Keep::default() };
    let moved: Vec<_> = (0..3).map(|_| rewrite(&open(), &keep, 0, 0).moved_bytes).collect();
    assert!(moved[0] > 0 && moved[1..] == [0, 0], "{moved:?}");
    for of in CONVERSATIONS.map(name) {
        let read = open().after(&of, Seq::ZERO, ALL).unwrap().records;
        assert!(read.iter().map(|record| record.seq.0).eq(11..=20), "{read:?}");
    }
}

/// It costs a window, so only whoever wants everything now has it ended for a few bytes.
#[test]
fn an_open_window_with_little_that_is_dead_is_ended_for_who_wants_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
    for position in 1..=10 {
        let event = record("a", position, position);
        view.apply(Position(position), &[Record { expires_ms: event.time_ms + 1, ..event }]).unwrap();
    }
    for (extent, ended) in [(Extent::Worthwhile, vec![]), (Extent::EVERYTHING, vec![Class::default()])] {
        let (now_ms, keep) = (u64::MAX / 2, Keep { live_ms: u64::MAX, ..Keep::default() });
        let mut rewrite = Rewrite { now_ms, erased_by_ms: 0, extent, pace: &mut |_| true };
        assert_eq!(view.rewrite(&mut |_| Ok(keep), &mut rewrite).unwrap().held_up, ended);
    }
}

/// Calls again and again for whoever wants everything; gives what was done.
fn free_everything(view: &dyn View, keep: &dyn Fn(&ConversationName) -> Keep) -> Vec<Rewritten> {
    let (mut done, mut extent): (Vec<Rewritten>, _) = (Vec::new(), Extent::EVERYTHING);
    loop {
        assert!(done.len() < 50, "it goes on for ever: {done:?}");
        let mut rewrite = Rewrite { now_ms: 0, erased_by_ms: 0, extent, pace: &mut |_| true };
        let rewritten = view.rewrite(&mut |name| Ok(keep(name)), &mut rewrite).unwrap();
        extent = extent.behind(&rewritten);
        let ends: Vec<_> = rewritten.held_up.iter().map(|class| Record { class: *class, ..end() }).collect();
        view.apply(view.applied().next(), &ends).unwrap();
        let goes_on = rewritten.more || !ends.is_empty();
        done.push(rewritten);
        if !goes_on {
            return done;
        }
    }
}

/// Four of 46 parts, in a window that gets further events: no pass that comes by itself begins for these.
#[test]
fn however_little_is_dead_is_freed_for_who_wants_everything_once_and_what_stays_is_as_it_was() {
    for window_bytes in [u64::MAX, 20_000] {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(window_bytes);
        let model = MemoryView::new();
        let keep_and_drop = (1..=42).map(|seq| ("a", seq)).chain((1..=4).map(|seq| ("b", seq)));
        for ((room, seq), position) in keep_and_drop.zip(1..) {
            let text = if room == "b" { SECRET } else { "what stays" };
            let content = Content::Message(format!("{text} {seq} {}", "x".repeat(1_000)).into());
            let mut event = Record { content, ..record(room, seq, position) };
            event.offset = (seq - 1) * 2_000;
            view.apply(Position(position), std::slice::from_ref(&event)).unwrap();
            model.apply(Position(position), &[event]).unwrap();
            // No table has rows of two windows.
            view.flush().unwrap();
        }
        let marks = Marks { seq: Seq(5), ..Marks::default() };
        let keep = |name: &ConversationName| {
            if name.as_str() == "b" { Keep { marks, ..Keep::default() } } else { Keep::default() }
        };
        assert_eq!(rewrite(&view, &keep, 0, 0).moved_bytes, 0, "it is below an eighth");
        assert!(has(dir.path(), SECRET.as_bytes()));
        let done = free_everything(&view, &keep);
        assert!(done.iter().map(|done| done.windows).sum::<u64>() > 0, "{done:?}");
        assert!(!has(dir.path(), SECRET.as_bytes()), "{done:?}");
        let read = |view: &dyn View| view.after(&name("a"), Seq::ZERO, ALL).unwrap();
        assert_eq!(read(&view), read(&model));
        assert_eq!(read(&view).records.len(), 42);
        let again = free_everything(&view, &keep);
        assert!(again.iter().all(|again| again.moved_bytes == 0), "there is nothing to free: {again:?}");
    }
}

/// Whether any file of a folder has these bytes.
fn has(dir: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has(&path, bytes);
        }
        std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}
