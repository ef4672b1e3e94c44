//! What is kept and what is absent, by a model that is too simple to be wrong: whatever is reclaimed,
//! rewritten and applied again, readers have exactly what is kept, and floors are where they are.

use std::fs;
use std::ops::Range;

use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::check::findings;
use crate::class::Class;
use crate::log::Position;
use crate::record::{Content, Record};
use crate::testing::{Random, notice, record};
use crate::view::{Bounds, Extent, Keep, Marks, PageLimit, Place, Rewrite, View};

const NAMES: [&str; 5] = ["busy", "held", "quiet", "short", "timed"];

/// How long a conversation is kept; 0: that is not said.
#[derive(Debug, Clone, Copy, Default)]
struct Policy {
    age_ms: u64,
    count: u64,
    bytes: u64,
}

struct Event {
    record: Record,
    is_erased: bool,
}

impl Event {
    fn place(&self) -> Place {
        Place { seq: self.record.seq, time_ms: self.record.time_ms, offset: self.record.offset }
    }
}

/// A conversation as it is to be.
#[derive(Default)]
struct Conversation {
    events: Vec<Event>,
    policy: Policy,
    is_held: bool,
    keep: Keep,
    /// So many more have a time to live.
    short_lived: u64,
    /// The floor that was told last.
    floor: Seq,
}

impl Conversation {
    /// Where the next event lies.
    fn end(&self) -> Place {
        self.events.last().map_or_else(
            || Place { seq: Seq(1), ..Place::default() },
            |last| Place {
                seq: last.record.seq.next(),
                time_ms: last.record.time_ms,
                offset: last.record.end(),
            },
        )
    }

    fn set_policy(&mut self, random: &mut Random) {
        self.policy = Policy::default();
        match random.below(5) {
            0 | 1 => self.policy.age_ms = 1_000 + random.below(10_000),
            2 => self.policy.count = 1 + random.below(400),
            3 => self.policy.bytes = 1 + random.below(20_000),
            _ => self.is_held = !self.is_held,
        }
    }

    fn judge(&mut self, now_ms: u64) {
        let (end, Policy { age_ms, count, bytes }) = (self.end(), self.policy);
        let marks = &mut self.keep.marks;
        if self.is_held {
            return;
        }
        let behind = |end: u64, kept: u64| if kept == 0 { 0 } else { end.saturating_sub(kept) };
        marks.seq = marks.seq.max(Seq(behind(end.seq.0, count)));
        marks.time_ms = marks.time_ms.max(behind(now_ms, age_ms));
        marks.offset = marks.offset.max(behind(end.offset, bytes));
        (self.keep.live_ms, self.keep.age_ms) = (now_ms, age_ms);
    }

    fn is_kept(&self, event: &Event) -> bool {
        !event.is_erased && !self.keep.is_absent(event.place(), event.record.expires_ms)
    }

    /// Whether all of these are absent, whose indexes they are.
    fn is_absent(&self, events: Range<usize>) -> bool {
        self.events[events].iter().all(|event| !self.is_kept(event))
    }

    fn floor(&self, marks: Marks) -> Place {
        let kept = self.events.iter().map(Event::place).find(|place| !marks.covers(*place));
        kept.unwrap_or_else(|| self.end())
    }
}

/// Where a place is in a list.
fn index(seq: Seq) -> usize {
    usize::try_from(seq.0 - 1).unwrap()
}

struct World {
    conversations: [Conversation; NAMES.len()],
    groups: Vec<Vec<Record>>,
    now_ms: u64,
    n: u64,
}

impl World {
    fn new() -> Self {
        Self { conversations: Default::default(), groups: Vec::new(), now_ms: 1_000_000, n: 0 }
    }

    fn of(&self, name: &ConversationName) -> &Conversation {
        &self.conversations[NAMES.iter().position(|of| *of == name.as_str()).unwrap()]
    }

    fn judge(&mut self) {
        let now_ms = self.now_ms;
        self.conversations.iter_mut().for_each(|conversation| conversation.judge(now_ms));
    }

    fn group(&mut self, random: &mut Random) -> Vec<Record> {
        let mut group = Vec::new();
        for _ in 0..=random.below(60) {
            let at = usize::try_from(random.below(NAMES.len() as u64)).unwrap();
            // One message in many of the others', so that a window has one of it.
            if NAMES[at] == "quiet" && !random.one_in(12) {
                continue;
            }
            group.push(self.event(at, random));
        }
        if random.one_in(6) {
            group.push(Record { ends_window: true, ..notice("end", []) });
        }
        self.groups.push(group.clone());
        group
    }

    fn event(&mut self, at: usize, random: &mut Random) -> Record {
        (self.n, self.now_ms) = (self.n + 1, self.now_ms + random.below(60));
        let (name, now_ms) = (NAMES[at], self.now_ms);
        let of = &mut self.conversations[at];
        let end = of.end();
        let mut event = record(name, end.seq.0, self.n);
        event.content = Content::Message(vec![b'x'; usize::try_from(random.below(200)).unwrap()].into());
        (event.time_ms, event.offset) = (now_ms, end.offset);
        if of.short_lived == 0 && random.one_in(60) {
            of.short_lived = 40 + random.below(120);
        }
        let is_short_lived = of.short_lived > 0 || (name == "timed" && random.one_in(2));
        of.short_lived = of.short_lived.saturating_sub(1);
        if is_short_lived {
            event.expires_ms = now_ms + 1 + random.below(4_000);
        }
        if random.one_in(10) && end.seq > Seq(1) {
            let first = 1 + random.below(end.seq.0 - 1);
            let count = if random.one_in(6) { 60 + random.below(30) } else { 1 + random.below(3) };
            event.erases = (first..(first + count).min(end.seq.0)).map(Seq).collect();
            event.erases.iter().for_each(|seq| of.events[index(*seq)].is_erased = true);
        }
        event.class = if name == "short" { Class::of_age_s(60) } else { Class::default() };
        of.events.push(Event { record: event.clone(), is_erased: false });
        event
    }

    fn check(&mut self, view: &FjallView, random: &mut Random, what: &str) {
        self.judge();
        for (of, name) in self.conversations.iter_mut().zip(NAMES) {
            let what = format!("{what}: {name}");
            let name = ConversationName::new(name).unwrap();
            check_events(of, view, &name, random, &what);
            check_floors(of, view, &name, random, &what);
        }
        assert_eq!(findings(view), [""; 0], "{what}");
    }
}

/// Everything that is kept is read, in both directions, and nothing that was erased.
fn check_events(
    of: &Conversation,
    view: &FjallView,
    name: &ConversationName,
    random: &mut Random,
    what: &str,
) {
    let kept: Vec<_> =
        of.events.iter().filter(|event| of.is_kept(event)).map(|event| event.record.as_read()).collect();
    let is_live = |record: &Record| !of.keep.is_absent(place(record), record.expires_ms);
    let limit = PageLimit { records: 1 + usize::try_from(random.below(50)).unwrap(), bytes: 5_000 };
    let (mut cursor, mut read) = (Seq::ZERO, Vec::new());
    loop {
        let page = view.after(name, cursor, limit).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(page.from, cursor.next(), "{what}");
        if page.to <= cursor {
            break;
        }
        cursor = page.to;
        read.extend(page.records.into_iter().filter(is_live));
    }
    assert_eq!(cursor.next(), of.end().seq, "{what}");
    assert_eq!(seqs(&read), seqs(&kept), "{what}");
    assert_eq!(read, kept, "{what}");
    let (mut before, mut read) = (None, Vec::new());
    loop {
        let page = view.before(name, before, limit).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected_to = before.map_or_else(|| of.end().seq.0 - 1, |before: Seq| before.0 - 1);
        assert_eq!(page.to.0, expected_to, "{what}");
        read.extend(page.records.into_iter().filter(is_live).rev());
        if page.from <= Seq(1) {
            break;
        }
        before = Some(page.from);
    }
    read.reverse();
    assert_eq!(read, kept, "{what}, backwards");
    for event in of.events.iter().step_by(11) {
        let id = event.record.id.unwrap();
        let found = view.find(name, id.producer, id.n).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = found.unwrap_or_else(|| panic!("{what}: a repeat of {} is one", event.record.seq));
        assert!(found.seq >= event.record.seq, "{what}");
        if of.is_kept(event) {
            assert_eq!((found.seq, found.time_ms), (event.record.seq, event.record.time_ms), "{what}");
        }
    }
}

/// A floor is the first event that marks do not cover, or lies behind it, as far as everything is absent: of
/// what is gone it is not known any more where it lay.
fn check_floors(
    of: &mut Conversation,
    view: &FjallView,
    name: &ConversationName,
    random: &mut Random,
    what: &str,
) {
    let Bounds { floor: gone, head } = view.bounds(name).unwrap();
    assert_eq!(head.next(), of.end().seq, "{what}");
    assert!(of.is_absent(0..index(gone)), "{what}: {gone} is the first one that is readable");
    for (at, event) in of.events.iter().enumerate() {
        let place = event.place();
        let last = view.gone_with(name, place.seq).unwrap();
        assert!(last.is_some() || place.seq >= gone, "{what}: {place:?}");
        let Some(last) = last else { continue };
        assert!(of.is_absent(at..index(last.seq.next())), "{what}: {place:?} with {last:?}");
        let (stored, next) = (&of.events[index(last.seq)], of.events.get(index(last.seq.next())));
        let next_ms = next.map_or(u64::MAX, |next| next.record.time_ms);
        assert!((stored.record.time_ms..=next_ms).contains(&last.time_ms), "{what}: {place:?} with {last:?}");
    }
    let check = |marks: Marks, hint: Seq| {
        let what = format!("{what}: {marks:?} with {hint}");
        let (floor, first) = (view.floor(name, marks, hint).unwrap(), of.floor(marks));
        assert!(first.seq <= floor.seq && floor.seq <= of.end().seq, "{what}: {floor:?} for {first:?}");
        let passed = index(first.seq)..index(floor.seq);
        assert!(of.is_absent(passed), "{what}: {floor:?} is behind what is kept from {first:?} on");
        match of.events.get(index(floor.seq)) {
            Some(event) if !of.is_kept(event) => {}
            Some(event) => assert_eq!(floor, event.place(), "{what}"),
            None => assert_eq!(floor, of.end(), "{what}"),
        }
        floor.seq
    };
    let told = check(of.keep.marks, Seq::ZERO);
    assert!(told >= of.floor, "{what}: the floor was {}", of.floor);
    for hint in [of.floor, told, Seq(random.below(told.0) + 1)] {
        assert_eq!(check(of.keep.marks, hint), told, "{what}: whatever it was before");
    }
    // It hangs on the marks alone.
    let end = of.end();
    let mut before = Seq::ZERO;
    let mut at = Marks::default();
    for _ in 0..8 {
        match random.below(3) {
            0 => at.seq = at.seq.max(Seq(random.below(end.seq.0 + 2))),
            1 => at.offset = at.offset.max(random.below(end.offset + 2)),
            _ => {
                let any = of.events.get(index(Seq(1 + random.below(end.seq.0))));
                at.time_ms = at.time_ms.max(any.map_or(end.time_ms, |event| event.record.time_ms));
            }
        }
        let floor = check(at, Seq::ZERO);
        assert_eq!(check(at, before), floor, "{what}");
        assert!(floor >= before, "{what}");
        before = floor;
    }
    of.floor = told;
}

fn place(record: &Record) -> Place {
    Place { seq: record.seq, time_ms: record.time_ms, offset: record.offset }
}

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq.0).collect()
}

/// Flushes some of the trees, or all of them, and writes no checkpoint, as a crash in a flush does.
fn flush_in_part(view: &FjallView, random: &mut Random) {
    let trees: Vec<_> = view.engine.keyspaces().map(|keyspace| keyspace.path().join("tables")).collect();
    let obstacle = view.dir.join("checkpoint.new");
    fs::create_dir(&obstacle).unwrap();
    let fails = trees.get(usize::try_from(random.below(2 * trees.len() as u64)).unwrap());
    let away = fails.map(|tables| tables.with_extension("away"));
    fails.zip(away.as_ref()).iter().for_each(|(tables, away)| fs::rename(tables, away).unwrap());
    view.flush_all(&mut view.flushed.lock()).unwrap_err();
    fails.zip(away.as_ref()).iter().for_each(|(tables, away)| fs::rename(away, tables).unwrap());
    fs::remove_dir(&obstacle).unwrap();
}

#[test]
fn what_is_kept_is_there_and_a_floor_passes_nothing_else() {
    let (mut rewritten, mut reclaimed, mut passed) = (0, 0, 0);
    for seed in 1..=8_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let dir = tempfile::tempdir().unwrap();
        let window_bytes = [3_000, 30_000][usize::try_from(seed % 2).unwrap()];
        let open = |groups: &[Vec<Record>]| {
            let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(window_bytes);
            view.with_new_from(Position(groups.len() as u64 + 1))
        };
        let (mut view, mut world) = (open(&[]), World::new());
        for step in 0..60 {
            world.judge();
            match random.below(16) {
                0 | 1 => {
                    // A window goes when nothing of it is kept in any conversation.
                    let all = random.one_in(3);
                    for of in &mut world.conversations {
                        if all || random.one_in(4) {
                            of.set_policy(&mut random);
                        }
                    }
                }
                2 | 7 => {
                    let done = view.reclaim(&mut |name| Ok(world.of(name).keep.marks)).unwrap();
                    reclaimed += done.windows;
                }
                3 | 4 => {
                    let mut steps = 1 + random.below(30);
                    let mut pace = |_| {
                        steps = steps.saturating_sub(1);
                        steps > 0
                    };
                    let erased_by_ms = if random.one_in(2) { u64::MAX } else { 0 };
                    let mut rewrite = Rewrite {
                        now_ms: world.now_ms,
                        erased_by_ms,
                        extent: Extent::Worthwhile,
                        pace: &mut pace,
                    };
                    let keepings = &mut |name: &ConversationName| Ok(world.of(name).keep);
                    rewritten += view.rewrite(keepings, &mut rewrite).unwrap().windows;
                }
                5 => drop(view.flush().unwrap()),
                6 | 8 => {
                    if random.one_in(2) {
                        flush_in_part(&view, &mut random);
                    }
                    // What is not flushed comes again.
                    drop(view);
                    view = open(&world.groups);
                    let applied = usize::try_from(view.applied().0).unwrap();
                    for (group, position) in world.groups.iter().zip(1..).skip(applied) {
                        view.apply(Position(position), group).unwrap();
                    }
                }
                _ => {
                    let group = world.group(&mut random);
                    view.apply(Position(world.groups.len() as u64), &group).unwrap();
                    continue;
                }
            }
            world.check(&view, &mut random, &format!("seed {seed}, step {step}"));
        }
        passed += world.conversations.iter().filter(|of| of.floor > of.floor(of.keep.marks).seq).count();
    }
    assert!(rewritten > 50 && reclaimed > 5 && passed > 0, "{rewritten}, {reclaimed}, {passed}");
}

/// The time of an event may be that of a clock that was ahead, behind another one of its conversation.
#[test]
fn a_window_ends_by_when_its_groups_were_stored() {
    const NOW_MS: u64 = 1_700_000_000_000;
    const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;
    let class = Class::of_age_s(60);
    let window_ms = class.window_ms().unwrap();
    let ahead = |name: &str| Record { class, time_ms: NOW_MS + YEAR_MS, ..record(name, 1, 1) };
    let date = Record { time_ms: NOW_MS, ..notice("a", []) };
    let open = || {
        let dir = tempfile::tempdir().unwrap();
        (FjallView::open(dir.path(), 1 << 20).unwrap(), dir)
    };
    let (view, _dir) = open();
    view.apply(Position(1), &[ahead("a"), date.clone()]).unwrap();
    assert_eq!(view.stored_ms(), NOW_MS);
    assert_eq!(view.overdue(NOW_MS + window_ms - 1), []);
    assert_eq!(view.overdue(NOW_MS + window_ms), [class]);
    // What is stored while the clock is ahead holds nothing up once that is mended.
    let (view, _dir) = open();
    view.apply(Position(1), &[ahead("a")]).unwrap();
    assert_eq!(view.overdue(NOW_MS + YEAR_MS), []);
    assert_eq!(view.overdue(NOW_MS), [class]);
    // Erased is what was erased when that was stored.
    let erasing = Record { seq: Seq(2), erases: vec![Seq(1)], ..ahead("a") };
    view.apply(Position(2), &[erasing, date]).unwrap();
    assert_eq!(view.erased().since_ms, Some(NOW_MS));
}
