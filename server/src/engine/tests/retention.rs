//! What readers get is what the rules say, event by event, whatever happens in between.

mod parts;
mod setters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quoth_core::authorize::Grant;
use quoth_core::conversation::{About, Append};
use quoth_core::messages::Alteration;
use quoth_core::retention::{Classes, Retention};
use quoth_core::tail::{Next, Wanted};
use quoth_protocol::codec::Decoder;
use quoth_protocol::frame::{Durability, EventKind, ServerFrame};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, Pattern, ProducerId, Seq, UserId, codec};
use quoth_store::testing::Random;
use quoth_store::{Extent, FjallView, Log, MemoryLog, MemoryView, PageLimit, Store, View};

use super::world::{outcome, room};
use crate::engine::{
    Access, Caller, Clock, Effect, Engine, Execution, Gone, Mailbox, Page, Publisher, Retain, Retained, Role,
    Stand,
};

const STEPS: u64 = 120;

/// A clock that a test sets, and one that it moves on alone.
#[derive(Debug, Default)]
pub(super) struct Hand(pub(super) AtomicU64, pub(super) AtomicU64);

impl Clock for Hand {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Event(u64),
    Gap(u64, u64),
}

/// An event as the rules see it.
struct Known {
    time_ms: u64,
    bytes: u64,
    expires_ms: u64,
    is_absent: bool,
}

/// What is to be there, by the words of the rules.
#[derive(Default)]
pub(super) struct Model {
    events: Vec<Known>,
    policy: Retention,
    is_held: bool,
}

impl Model {
    /// One of a conversation with so many events, of which nothing is to be told.
    pub(super) fn of(events: u64) -> Self {
        let known = || Known { time_ms: 0, bytes: 0, expires_ms: 0, is_absent: false };
        Self { events: (0..events).map(|_| known()).collect(), ..Self::default() }
    }

    fn push(&mut self, time_ms: u64, bytes: usize, expires_ms: u64) {
        self.events.push(Known { time_ms, bytes: bytes as u64, expires_ms, is_absent: false });
    }

    /// Looks at all events at a time. What is absent once stays so.
    fn judge(&mut self, now_ms: u64) {
        if self.is_held {
            return;
        }
        let (mut bytes, policy) = (0, self.policy);
        for (behind, event) in (0..).zip(self.events.iter_mut().rev()) {
            bytes += event.bytes;
            event.is_absent |= (policy.age_s > 0 && now_ms - event.time_ms >= policy.age_s * 1_000)
                || (policy.count > 0 && behind >= policy.count)
                || (policy.bytes > 0 && bytes > policy.bytes)
                || (event.expires_ms > 0 && event.expires_ms <= now_ms);
        }
    }

    fn told(&self) -> Vec<Told> {
        let told = (1..).zip(&self.events);
        merged(told.map(|(seq, event)| if event.is_absent { Told::Gap(seq, seq) } else { Told::Event(seq) }))
    }
}

/// With gaps that touch as one.
fn merged(told: impl Iterator<Item = Told>) -> Vec<Told> {
    let mut merged: Vec<Told> = Vec::new();
    for told in told {
        match (merged.last_mut(), told) {
            (Some(Told::Gap(_, before)), Told::Gap(from, to)) if *before + 1 == from => *before = to,
            _ => merged.push(told),
        }
    }
    merged
}

/// An engine that may be started again.
pub(super) struct World {
    pub(super) log: Arc<dyn Log>,
    pub(super) view: Arc<dyn View>,
    pub(super) clock: Arc<Hand>,
    pub(super) engine: Engine,
    pub(super) publisher: Arc<Publisher>,
    n: u64,
}

/// One in which nothing has happened, a thousand seconds behind 1970.
pub(super) async fn world(log: Arc<dyn Log>, view: Arc<dyn View>) -> World {
    let clock = Arc::new(Hand(AtomicU64::new(1_000_000), AtomicU64::new(0)));
    let (engine, publisher) = start(&log, &view, &clock).await;
    World { log, view, clock, engine, publisher, n: 0 }
}

async fn start(log: &Arc<dyn Log>, view: &Arc<dyn View>, clock: &Arc<Hand>) -> (Engine, Arc<Publisher>) {
    let mut store = Store::memory();
    (store.log, store.view) = (Arc::clone(log), Arc::clone(view));
    let moment = Duration::from_micros(10);
    let execution = Execution::Tasks { flush: moment, read: moment };
    let clock = Arc::<Hand>::clone(clock);
    let (engine, _stopper) = Engine::start_with(
        store,
        Durability::Memory,
        clock,
        execution,
        Default::default(),
        Classes::default(),
    );
    let user = UserId::new("ada").unwrap();
    let access = engine.access(&room("room"), &user).await.unwrap();
    let publisher = Publisher::new(access, Role::User, user, ProducerId(1), Mailbox::of_anybody());
    (engine, publisher)
}

impl World {
    pub(super) async fn restart(&mut self) {
        (self.engine, self.publisher) = start(&self.log, &self.view, &self.clock).await;
    }

    fn access(&self) -> &Arc<Access> {
        &self.publisher.access
    }

    pub(super) async fn publish(&mut self, model: &mut Model, bytes: u64, expires_in_ms: u64) {
        self.n += 1;
        let body = bytes::Bytes::from(vec![b'x'; usize::try_from(bytes).unwrap()]);
        let about = About { expires_in_ms, ..About::default() };
        let (n, sender) = (self.n, self.publisher.producer.user.clone());
        let append = Append { n, sender, origin_time_ms: None, body: body.clone(), about };
        assert!(self.engine.publish(&self.publisher, append, &Stand::FIXED).await);
        let stored = outcome(&self.publisher).await.result.unwrap();
        assert_eq!(
            (stored.seq.0, stored.duplicate),
            (model.events.len() as u64 + 1, false),
            "a seq is given once"
        );
        if expires_in_ms == 0 {
            return model.push(stored.time_ms, body.len(), 0);
        }
        let expires_ms = stored.time_ms + expires_in_ms;
        let kind = EventKind::Message { body, reply_to: None, mentions: Vec::new(), expires_ms };
        model.push(stored.time_ms, codec::encode_datagram(&kind).len(), expires_ms);
    }

    pub(super) async fn retain(&self, model: &mut Model, retain: Retain) {
        let operator = Caller::Operator(UserId::new("ops").unwrap());
        let told = self.engine.would_retain(&operator, &room("room"), retain).await.unwrap();
        let Retained { done, effect } = self.engine.retain(operator, &room("room"), retain).await.unwrap();
        let of = |effect: &Effect| (effect.kept.hold_ms, effect.policy, effect.gone(), effect.held());
        assert_eq!(of(&told), of(&effect), "what is told before is what comes of it: {retain:?}");
        match retain {
            Retain::Hold(on) => model.is_held = on,
            Retain::Policy(_) | Retain::Class => {
                // There are no classes, so by theirs all is kept.
                let retention = match retain {
                    Retain::Policy(retention) => retention,
                    _ => Retention::FOR_EVER,
                };
                if done.seq > Seq::ZERO {
                    let kind = EventKind::RetentionSet { retention };
                    model.push(done.time_ms, codec::encode_datagram(&kind).len(), 0);
                }
                model.policy = retention;
            }
        }
    }

    /// Everything behind a cursor, as a stream's reader gets it.
    pub(super) async fn read(&self, mut cursor: Seq, bytes_max: usize) -> Vec<Told> {
        let (mut frames, name) = (Vec::new(), room("room"));
        loop {
            let keeping = self.access().keeping(self.engine.judged_ms());
            let wanted = Wanted { cursor, to: Seq(u64::MAX), bytes_max, keeping };
            match self.engine.read_tail(&name, wanted, &mut frames) {
                Next::Wait => break,
                Next::Frames(reached) => cursor = reached,
                Next::View { .. } => {
                    let limit = PageLimit { records: 7, bytes: bytes_max };
                    let at = self.engine.reading(&name, keeping);
                    if !at.may_take() {
                        let to = Seq(u64::MAX);
                        let parts = self.engine.reads().parts(&name, cursor, to, None, limit, at.clone());
                        let mut parts = parts.await.unwrap();
                        if parts.is_nothing(cursor) {
                            break;
                        }
                        while let Some(part) = parts.next(cursor, to, &at) {
                            frames.extend(part.chunks);
                            cursor = part.reached;
                        }
                        continue;
                    }
                    let page =
                        self.engine.reads().after(&name, cursor, Seq(u64::MAX), limit, at).await.unwrap();
                    if page.reached == cursor {
                        break;
                    }
                    frames.extend(page.chunks);
                    cursor = page.reached;
                }
            }
        }
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        frames.iter().for_each(|chunk| decoder.push(chunk));
        merged(std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| match frame {
            ServerFrame::Event(event) => Told::Event(event.seq.0),
            ServerFrame::Gap { from, to } => Told::Gap(from.0, to.0),
            other => panic!("{other:?}"),
        }))
    }

    async fn check(&self, model: &Model, context: &str) {
        let expected = model.told();
        assert_eq!(self.read(Seq::ZERO, 1_000).await, expected, "{context}");
        assert_eq!(self.read(Seq::ZERO, 1).await, expected, "{context}");
        let keeping = self.access().keeping(self.engine.judged_ms());
        let bounds = self.engine.bounds(&room("room"), keeping).await.unwrap();
        assert_eq!(bounds.head.0, model.events.len() as u64, "{context}");
        let first =
            model.events.iter().position(|event| !event.is_absent).map_or(u64::MAX, |at| at as u64 + 1);
        assert!(bounds.floor.0 <= first, "{context}: {bounds:?}, {first} can be read");
        let name = room("room");
        let (all, at) = ((Seq::ZERO, bounds.head), self.engine.reading(&name, keeping));
        self.engine.applied_bounds(&name, keeping).await.unwrap();
        let page = self.engine.reads().events(&name, all, 1 << 20, true, at).await.unwrap();
        let read: Vec<_> = page.events.iter().map(|event| Told::Event(event.seq.0)).collect();
        let events = expected.into_iter().filter(|told| matches!(told, Told::Event(_)));
        assert_eq!(read, events.collect::<Vec<_>>(), "{context}");
    }
}

/// How long a frame's length is.
async fn run(seed: u64, view: Arc<dyn View>) {
    let mut random = Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
    let mut world = world(Arc::new(MemoryLog::new()), view).await;
    let (mut model, mut latest_ms) = (Model::default(), world.clock.unix_ms());
    // Of what has no events nothing is set.
    world.publish(&mut model, 1, 0).await;
    for step in 0..STEPS {
        match random.below(16) {
            0 => latest_ms += random.below(40_000),
            1 => latest_ms += random.below(500),
            2 => {
                let (age_s, count, bytes) = (random.maybe(40), random.maybe(20), random.maybe(400));
                let policy = Retain::Policy(Retention { age_s, count, bytes });
                let retain = if random.below(4) == 0 { Retain::Class } else { policy };
                world.retain(&mut model, retain).await;
            }
            3 => {
                let on = random.below(2) == 0;
                world.retain(&mut model, Retain::Hold(on)).await;
            }
            4 => {
                // What was judged by is what something was stored at.
                world.publish(&mut model, 1, 0).await;
                world.clock.0.store(latest_ms - random.below(30_000), Ordering::Relaxed);
                world.restart().await;
            }
            5 => drop(world.engine.reclaim().await.unwrap()),
            _ => {
                let (bytes, expires_in_ms) = (random.below(60), random.maybe(20_000));
                world.publish(&mut model, bytes, expires_in_ms).await;
            }
        }
        // The clock may be set back: nothing is younger by that.
        let back_ms = if random.below(8) == 0 { random.below(30_000) } else { 0 };
        world.clock.0.store(latest_ms, Ordering::Relaxed);
        assert_eq!(world.engine.judged_ms(), latest_ms);
        world.clock.0.store(latest_ms - back_ms, Ordering::Relaxed);
        model.judge(latest_ms);
        world.check(&model, &format!("seed {seed}, step {step}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn readers_get_exactly_what_the_rules_leave() {
    for seed in 1..=60 {
        run(seed, Arc::new(MemoryView::new())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn readers_get_exactly_what_the_rules_leave_while_windows_are_freed() {
    for seed in 100..=112 {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(700);
        run(seed, Arc::new(view)).await;
    }
}

/// A world whose event 1 is a message that was edited and reacted to by 2 and 3, and 4 another message.
async fn altered(expires_in_ms: u64) -> (World, Caller) {
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
    let mut model = Model::default();
    world.publish(&mut model, 10, expires_in_ms).await;
    let all = Some(vec![Pattern::new("*")]);
    let ada = UserId::new("ada").unwrap();
    let ada = Caller::User(Arc::new(Grant { read: all.clone(), write: all, ..Grant::of_membership(ada) }));
    for what in [edit("edited"), Alteration::React { reaction: "+1".to_owned(), on: true }] {
        world.engine.alter(ada.clone(), &room("room"), Seq(1), what).await.unwrap();
    }
    model.events.push(Known { time_ms: 0, bytes: 0, expires_ms: 0, is_absent: false });
    model.events.push(Known { time_ms: 0, bytes: 0, expires_ms: 0, is_absent: false });
    world.publish(&mut model, 10, 0).await;
    (world, ada)
}

fn edit(text: &'static str) -> Alteration {
    Alteration::Edit { body: text.into(), mentions: Vec::new() }
}

/// Nobody gets anything of message 1 by any way, and nobody alters it.
async fn is_gone(world: &mut World, ada: &Caller, expected: &[Told]) {
    let states = world.engine.message_states(ada, &room("room"), vec![Seq(1)]).await.unwrap();
    assert_eq!((states.states, states.absent), (Vec::new(), vec![Seq(1)]));
    let again = world.engine.alter(ada.clone(), &room("room"), Seq(1), edit("again")).await;
    assert_eq!(again.unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    let hidden = world.engine.hide(ada.clone(), &room("room"), Seq(1)).await;
    assert_eq!(hidden.unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    assert_eq!(world.read(Seq::ZERO, 1_000).await, expected, "by the tail");
    world.restart().await;
    assert_eq!(world.read(Seq::ZERO, 1_000).await, expected, "by the view");
}

#[tokio::test]
async fn what_is_said_of_a_message_ends_with_its_time_to_live() {
    let (mut world, ada) = altered(1_000).await;
    let all = [1, 2, 3, 4].map(Told::Event);
    assert_eq!(world.read(Seq::ZERO, 1_000).await, all);
    world.clock.0.fetch_add(1_000, Ordering::Relaxed);
    is_gone(&mut world, &ada, &[Told::Gap(1, 3), Told::Event(4)]).await;
}

#[tokio::test]
async fn what_is_said_of_a_message_ends_with_its_place() {
    let (mut world, ada) = altered(0).await;
    // Of events 1 to 5 the last four are kept, the edit among them.
    let count = Retention { count: 4, ..Retention::FOR_EVER };
    world.retain(&mut Model::default(), Retain::Policy(count)).await;
    is_gone(&mut world, &ada, &[Told::Gap(1, 3), Told::Event(4), Told::Event(5)]).await;
}

/// Its space may be freed long after, and whoever asks whether all of a user is gone is told by what was
/// erased.
#[tokio::test]
async fn what_is_absent_already_is_erased_with_its_user() {
    for expires_in_ms in [1_000, 0] {
        let (world, _) = altered(expires_in_ms).await;
        if expires_in_ms > 0 {
            world.clock.0.fetch_add(expires_in_ms, Ordering::Relaxed);
        } else {
            let count = Retention { count: 1, ..Retention::FOR_EVER };
            world.retain(&mut Model::default(), Retain::Policy(count)).await;
        }
        let has = |view: &dyn View| {
            let all = view.after(&room("room"), Seq::ZERO, PageLimit { records: 99, bytes: 9_999 }).unwrap();
            all.iter().map(|record| record.seq.0).take_while(|seq| *seq <= 4).collect::<Vec<_>>()
        };
        world.engine.applied_bounds(&room("room"), Default::default()).await.unwrap();
        assert_eq!(has(&*world.view), [1, 2, 3, 4], "it is there, whoever may have it");
        let (operator, ada) = (UserId::new("operator").unwrap(), UserId::new("ada").unwrap());
        world.engine.erase(&operator, &room("room"), &ada).await.unwrap();
        world.engine.applied_bounds(&room("room"), Default::default()).await.unwrap();
        assert_eq!(has(&*world.view), [3], "a reaction, which says nothing");
    }
}

#[tokio::test]
async fn what_is_absent_is_one_gap_across_the_pieces_that_are_read() {
    let (mut world, _) = altered(0).await;
    let mut model = Model::default();
    model.events.extend((0..4).map(|_| Known { time_ms: 0, bytes: 0, expires_ms: 0, is_absent: false }));
    for _ in 0..20 {
        world.publish(&mut model, 100, 1_000).await;
    }
    world.clock.0.fetch_add(1_000, Ordering::Relaxed);
    let name = room("room");
    let at = world.engine.reading_of(world.access());
    world.engine.applied_bounds(&name, at.keeping).await.unwrap();
    let limit = PageLimit { records: 100, bytes: 300 };
    let (reads, behind) = (world.engine.reads(), |cursor| (Seq(cursor), Seq(24)));
    // Behind an event, too, where it begins in a piece of which not all is absent.
    for (begin, expected) in [(4, vec![Told::Gap(5, 24)]), (3, vec![Told::Event(4), Told::Gap(5, 24)])] {
        for is_shared in [true, false] {
            let ((mut cursor, to), mut all) = (behind(begin), Vec::new());
            while cursor < to {
                let page = match is_shared {
                    true => reads.page(&name, cursor, to, limit, at.clone()).await.unwrap(),
                    false => reads.after(&name, cursor, to, limit, at.clone()).await.unwrap(),
                };
                all.extend(told(&page));
                cursor = page.reached;
            }
            assert_eq!(all, expected, "behind {begin}");
        }
    }
}

fn told(page: &Page) -> Vec<Told> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    page.chunks.iter().for_each(|chunk| decoder.push(chunk));
    let told = std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| match frame {
        ServerFrame::Event(event) => Told::Event(event.seq.0),
        ServerFrame::Gap { from, to } => Told::Gap(from.0, to.0),
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// By a time to live, and until rows are written anew without it.
#[tokio::test]
async fn what_dies_by_itself_is_counted_as_expired_and_then_not_at_all() {
    const KEPT_BYTES: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let view: Arc<dyn View> = Arc::new(FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(700));
    let (log, clock): (Arc<dyn Log>, _) =
        (Arc::new(MemoryLog::new()), Arc::new(Hand(AtomicU64::new(1_000_000), AtomicU64::new(0))));
    let (engine, publisher) = start(&log, &view, &clock).await;
    let (mut world, mut model) = (World { log, view, clock, engine, publisher, n: 0 }, Model::default());
    for n in 0..40 {
        world.publish(&mut model, KEPT_BYTES, if n % 4 == 0 { 0 } else { 1_000 }).await;
    }
    let seen = async |world: &World| {
        world.engine.look().await.unwrap();
        let seen = world.engine.looked().await.unwrap().overview;
        (seen.live_bytes, seen.expired_bytes)
    };
    let all = model.events.iter().map(|event| event.bytes).sum::<u64>();
    assert_eq!(seen(&world).await, (all, 0));
    world.clock.0.fetch_add(10_000, Ordering::Relaxed);
    let kept = 10 * KEPT_BYTES;
    assert_eq!(seen(&world).await, (kept, all - kept));
    let rewritten = world.engine.rewrite(0, Extent::Worthwhile, &world.engine.pace(u64::MAX)).await.unwrap();
    assert!(rewritten.windows > 0, "{rewritten:?}");
    let (live, expired) = seen(&world).await;
    assert!(live == kept && expired < (all - kept) / 2, "{live} and {expired} of {all}");
}

#[tokio::test]
async fn what_is_set_for_what_is_not_there_is_in_nobody_s_way_and_nothing_is_taken_back() {
    let (engine, stopper) = super::world::start(MemoryLog::new(), MemoryView::new());
    let operator = || Caller::Operator(UserId::new("operator").unwrap());
    let count = Retention { count: 4, ..Retention::FOR_EVER };
    for name in ["nobody", "notes/ada"] {
        for never_set in [Retain::Class, Retain::Hold(false)] {
            let refused = engine.retain(operator(), &room(name), never_set).await.unwrap_err();
            assert_eq!(refused.code, Code::FORBIDDEN, "{name}");
        }
        for retain in [Retain::Policy(count), Retain::Hold(true)] {
            let done = engine.retain(operator(), &room(name), retain).await.unwrap();
            let Retained { done, effect } = done;
            assert!(done.seq == Seq::ZERO && done.time_ms > 0, "{name}");
            assert_eq!((effect.gone(), effect.held()), (Gone::default(), Gone::default()), "{name}");
        }
        let (kept, _) = engine.kept(&room(name)).await.unwrap();
        assert_eq!((kept.policy, kept.hold_ms > 0), (Some(count), true), "{name}");
    }
    let publisher = super::world::publisher("nobody");
    assert_eq!(super::world::stored(&engine, &publisher, 1).await, Seq(1), "no event was in its way");
    let released = engine.retain(operator(), &room("nobody"), Retain::Class).await.unwrap();
    assert_eq!(released.done.seq, Seq(2), "now somebody may read it");
    super::world::stop(engine, stopper).await.unwrap();
}

/// What is told before is what comes of it, what says so included.
#[tokio::test]
async fn a_preview_says_what_a_policy_takes() {
    let room = room("room");
    for policy in [
        Retention { count: 4, ..Retention::FOR_EVER },
        Retention { count: 1, ..Retention::FOR_EVER },
        Retention { bytes: 95, ..Retention::FOR_EVER },
        Retention { age_s: 6, ..Retention::FOR_EVER },
        Retention { age_s: 100, count: 100, bytes: 10_000 },
        Retention::FOR_EVER,
    ] {
        let mut world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
        let mut model = Model::default();
        for _ in 0..10 {
            world.publish(&mut model, 30, 0).await;
            world.clock.0.fetch_add(1_000, Ordering::Relaxed);
        }
        let would = async |world: &World, retain| {
            let operator = Caller::Operator(UserId::new("ops").unwrap());
            world.engine.would_retain(&operator, &room, retain).await.unwrap()
        };
        let told = would(&world, Retain::Policy(policy)).await;
        assert_eq!((told.floor.seq, told.head), (Seq(1), Seq(10)), "{policy:?}");
        assert_eq!(told.gone().bytes, 30 * told.gone().events, "{policy:?}");
        world.retain(&mut model, Retain::Policy(policy)).await;
        let keeping = world.engine.keeping(&room).await.unwrap();
        let bounds = world.engine.applied_bounds(&room, keeping).await.unwrap();
        assert_eq!(told.floor_then.seq, bounds.floor, "{policy:?}");
        let again = would(&world, Retain::Policy(policy)).await;
        assert_eq!(
            (again.floor.seq, again.floor_then.seq),
            (bounds.floor, bounds.floor),
            "it is set already"
        );
        world.retain(&mut model, Retain::Hold(true)).await;
        let one = Retention { count: 1, ..Retention::FOR_EVER };
        let held = would(&world, Retain::Policy(one)).await;
        assert_eq!(held.gone(), Gone::default(), "a hold keeps it");
        // All but the twelfth, which would say so.
        let goes = if policy == one { 0 } else { 12 - bounds.floor.0 };
        assert_eq!(held.held().events, goes, "{policy:?}");
        world.retain(&mut model, Retain::Policy(one)).await;
        let released = would(&world, Retain::Hold(false)).await;
        assert_eq!((released.gone(), released.held()), (held.held(), Gone::default()), "{policy:?}");
        // Which has the same told and done, as all of these.
        world.retain(&mut model, Retain::Hold(false)).await;
        assert_eq!(would(&world, Retain::Hold(false)).await.gone(), Gone::default(), "it has ended");
    }
}
