//! A page of history: events, and what has become of those that are messages.

use std::sync::Arc;

use quoth_core::history::{Anchor, Span};
use quoth_core::retention::Gaps;
use quoth_protocol::frame::{Event, FetchRange};
use quoth_protocol::message::MessageState;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::ViewError;
use serde_json::{Value, json};

use crate::engine::{Engine, Events, Reading, state_bytes};

/// Bytes of the bodies of one page, and of what its messages have come to as many, but for some events: with
/// escapes some times more of JSON.
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Events of which it is read at once what has become of them: all of them may be edits of 64 KiB.
const STATES_AT_ONCE: usize = 16;

/// Reads pages of a conversation.
pub(super) struct Reader<'a> {
    pub(super) engine: &'a Engine,
    pub(super) conversation: &'a ConversationName,
    /// Whose own reactions are told as such.
    pub(super) me: &'a UserId,
    /// [`BYTES_MAX`].
    pub(super) bytes_max: usize,
}

/// What is told of a range of seqs: what is no event in it is absent.
struct Part {
    from: Seq,
    /// The last one; `from - 1` when it tells of none.
    to: Seq,
    events: Vec<Event>,
    /// Of those events of which there is one.
    states: Vec<MessageState>,
}

/// From which end of a range is read: where there is too much of it, it is cut at the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

impl Part {
    /// With what follows it.
    fn with(mut self, later: Self) -> Self {
        self.events.extend(later.events);
        self.states.extend(later.states);
        Self { to: later.to, ..self }
    }

    /// With as many of the events as these, of its one end.
    fn cut_to(&mut self, count: usize, end: End) {
        if count >= self.events.len() {
            // What is absent at its ends is told as that.
            return;
        }
        match end {
            End::First => {
                self.events.truncate(count);
                self.to = self.events.last().map_or(self.to, |event| event.seq);
            }
            End::Last => {
                self.events.drain(..self.events.len() - count);
                self.from = self.events.first().map_or(self.from, |event| event.seq);
            }
        }
    }
}

impl Reader<'_> {
    /// The page of a range: at most `limit` events.
    pub(super) async fn page(&self, range: FetchRange, limit: u32) -> Result<Value, ViewError> {
        let Self { engine, conversation, .. } = *self;
        let keeping = engine.keeping(conversation).await?;
        let bounds = engine.applied_bounds(conversation, keeping).await?;
        let anchor = engine.reads().anchor(conversation, range, bounds).await?;
        let at = engine.reading_for_all(conversation).await?;
        let mut span = Span::of(anchor, limit.into(), bounds.floor, bounds.head);
        let mut part = self.part(anchor, span, &at).await?;
        if part.events.is_empty() {
            // Nobody is to ask page after page for what is absent.
            let reads = engine.reads();
            span = reads.widened(conversation, anchor, span, limit.into(), bounds, at.clone()).await?;
            part = self.part(anchor, span, &at).await?;
        }
        let Part { from, to, events, states } = part;
        let more_before = from > bounds.floor;
        // What lies before the first event that can be read is gone as what lies between two of them is.
        let gone = match range {
            _ if more_before => None,
            FetchRange::AfterTime(time_ms) => {
                engine.reads().gone_of_time(conversation, time_ms, bounds.floor, keeping).await?
            }
            _ => gone_before(range, bounds.floor),
        };
        let is_empty = to < from;
        let (from, to) = gone.map_or((from, to), |(first, last)| (first, if is_empty { last } else { to }));
        let mut told = Gaps::behind(Seq(from.0.saturating_sub(1)));
        let mut gaps: Vec<_> = events.iter().filter_map(|event| told.event(event.seq)).collect();
        gaps.extend(told.until(to));
        let gaps: Vec<_> = gaps.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        Ok(json!({
            "events": events,
            "states": states,
            "gaps": gaps,
            "complete": gaps.is_empty(),
            "from": from,
            "to": to,
            "more_before": more_before,
            "more_after": to < bounds.head,
            "head": bounds.head,
            "floor": bounds.floor,
        }))
    }

    /// What is told of a span. Where all of it is too much, the end goes that is farther from what was asked
    /// for: around a seq both do.
    async fn part(&self, anchor: Anchor, span: Span, at: &Reading) -> Result<Part, ViewError> {
        let Span { after, last, .. } = span;
        match anchor {
            Anchor::After(_) => self.side((after, last), self.bytes_max, End::First, at).await,
            Anchor::Before(_) => self.side((after, last), self.bytes_max, End::Last, at).await,
            Anchor::Around(seq) => {
                let middle = Seq(seq.0.saturating_sub(1)).clamp(after, last);
                let half = self.bytes_max / 2;
                let earlier = self.side((after, middle), half, End::Last, at).await?;
                Ok(earlier.with(self.side((middle, last), half, End::First, at).await?))
            }
        }
    }

    /// What is behind `after` up to and including `last`, as far as it is of about so many bytes.
    async fn side(
        &self,
        (after, last): (Seq, Seq),
        bytes_max: usize,
        end: End,
        at: &Reading,
    ) -> Result<Part, ViewError> {
        let (reads, is_from_the_end) = (self.engine.reads(), end == End::Last);
        let read =
            reads.events(self.conversation, (after, last), bytes_max, is_from_the_end, at.clone()).await?;
        let Events { from, to, events } = read;
        let mut part = Part { from, to, events, states: Vec::new() };
        let (mut bytes, mut told) = (0, 0);
        while told < part.events.len() && bytes <= bytes_max {
            let count = STATES_AT_ONCE.min(part.events.len() - told);
            let first = if is_from_the_end { part.events.len() - told - count } else { told };
            let states = self.states(&part.events[first..first + count], at).await?;
            bytes += states.iter().map(state_bytes).sum::<usize>();
            told += count;
            let place = if is_from_the_end { 0 } else { part.states.len() };
            part.states.splice(place..place, states);
        }
        part.cut_to(told, end);
        Ok(part)
    }

    /// What has become of events, as far as they are messages and anything has.
    async fn states(&self, events: &[Event], at: &Reading) -> Result<Vec<MessageState>, ViewError> {
        let seqs: Arc<[Seq]> = events.iter().map(|event| event.seq).collect();
        let (mut states, mut behind) = (Vec::new(), Some(Seq::ZERO));
        while let Some(after) = behind {
            let read =
                self.engine.states_of_page(self.conversation, at, self.me, &seqs, after, Seq(u64::MAX));
            let (some, more) = read.await?;
            states.extend(some);
            behind = more;
        }
        Ok(states)
    }
}

/// First and last seq of what a page that begins with the conversation is asked for and cannot have, since
/// the conversation begins at `floor` by now. Of one from a time on [`Reads::gone_of_time`] tells.
///
/// [`Reads::gone_of_time`]: crate::engine::Reads::gone_of_time
fn gone_before(range: FetchRange, floor: Seq) -> Option<(Seq, Seq)> {
    let from = if let FetchRange::After(cursor) = range { Seq(cursor.0.saturating_add(1)) } else { Seq(1) };
    let end = if let FetchRange::Before(seq) = range { seq.min(floor) } else { floor };
    (from < end).then(|| (from, Seq(end.0 - 1)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use quoth_core::conversation::{About, Append};
    use quoth_core::membership::Change;
    use quoth_core::messages::Alteration;
    use quoth_core::retention::Retention;
    use quoth_protocol::frame::Durability;
    use quoth_protocol::membership::ConversationKind;
    use quoth_store::{FjallView, Store, View as _};

    use super::super::poster::{Post, Poster};
    use super::*;
    use crate::engine::{Caller, Clock, Execution, Retain, Stopper, SystemClock};

    const ANY: usize = BYTES_MAX;

    /// An engine in memory, and who asks it.
    struct World {
        engine: Engine,
        room: ConversationName,
        ops: UserId,
        _stopper: Stopper,
    }

    impl World {
        fn start() -> Self {
            Self::with(Store::memory(), Arc::new(SystemClock))
        }

        fn with(store: Store, clock: Arc<dyn Clock>) -> Self {
            let started = Engine::start(store, Durability::Memory, clock, Execution::Threads);
            let (engine, stopper) = started;
            let (room, ops) = (ConversationName::new("room").unwrap(), UserId::new("ops").unwrap());
            Self { engine, room, ops, _stopper: stopper }
        }

        fn caller(&self) -> Caller {
            Caller::Operator(self.ops.clone())
        }

        /// Stores messages with bodies of so many bytes.
        async fn say(&self, count: u64, bytes: usize) {
            let poster = Poster::new(self.engine.clone());
            for _ in 0..count {
                let (body, about) = (Bytes::from(vec![b'x'; bytes]), About::default());
                let append = Append { n: 0, sender: self.ops.clone(), origin_time_ms: None, body, about };
                let post = Post { conversation: self.room.clone(), append, once: None };
                poster.post(&self.ops, post).await.unwrap().outcome().await.unwrap();
            }
        }

        async fn alter(&self, seq: u64, alteration: Alteration) {
            self.engine.alter(self.caller(), &self.room, Seq(seq), alteration).await.unwrap();
        }

        async fn page(&self, range: FetchRange, limit: u32, bytes_max: usize) -> Value {
            let Self { engine, room: conversation, ops: me, .. } = self;
            Reader { engine, conversation, me, bytes_max }.page(range, limit).await.unwrap()
        }
    }

    fn seqs(page: &Value, of: &str) -> Vec<u64> {
        page[of].as_array().unwrap().iter().map(|one| one["seq"].as_u64().unwrap()).collect()
    }

    fn edit(bytes: usize) -> Alteration {
        Alteration::Edit { body: vec![b'e'; bytes].into(), mentions: Vec::new() }
    }

    #[test]
    fn what_is_gone_is_told_as_far_as_it_was_asked_for() {
        let gone = |range| gone_before(range, Seq(11)).map(|(from, to)| (from.0, to.0));
        for range in [FetchRange::Latest, FetchRange::BeforeTime(5), FetchRange::Around(Seq(3))] {
            assert_eq!(gone(range), Some((1, 10)), "{range:?}");
        }
        assert_eq!(gone(FetchRange::After(Seq(4))), Some((5, 10)));
        assert_eq!(gone(FetchRange::After(Seq(10))), None);
        assert_eq!(gone(FetchRange::After(Seq(u64::MAX))), None);
        assert_eq!(gone(FetchRange::Before(Seq(4))), Some((1, 3)));
        assert_eq!(gone(FetchRange::Before(Seq(1))), None);
        assert_eq!(gone_before(FetchRange::Latest, Seq(1)), None);
    }

    /// A clock that a test sets, in milliseconds since 1970.
    #[derive(Debug)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn unix_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn elapsed_ms(&self) -> u64 {
            self.unix_ms()
        }
    }

    #[tokio::test]
    async fn a_page_from_a_time_on_misses_nothing_where_what_is_gone_was_older() {
        const BEGIN_MS: u64 = 1_000_000_000_000;
        const HOUR_MS: u64 = 3_600_000;
        let dir = tempfile::tempdir().unwrap();
        let view = Arc::new(FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(1));
        let mut on_disk = Store::memory();
        on_disk.view = Arc::<FjallView>::clone(&view);
        for (store, frees) in [(Store::memory(), false), (on_disk, true)] {
            let clock = Arc::new(Hand(AtomicU64::new(BEGIN_MS)));
            let world = World::with(store, Arc::<Hand>::clone(&clock));
            let policy = Retention { age_s: 3_600, ..Retention::FOR_EVER };
            world.engine.retain(world.caller(), &world.room, Retain::Policy(policy)).await.unwrap();
            world.say(3, 10).await;
            clock.0.store(BEGIN_MS + 2 * HOUR_MS, Ordering::Relaxed);
            world.say(2, 10).await;
            for is_freed in [false, frees] {
                if is_freed {
                    world.engine.reclaim().await.unwrap();
                    view.flush().unwrap();
                    world.engine.reclaim().await.unwrap();
                    assert_eq!(view.bounds(&world.room).unwrap().floor, Seq(4), "it is not there any more");
                }
                for (time_ms, from) in [(BEGIN_MS + HOUR_MS + 1, 4), (BEGIN_MS, 1), (0, 1)] {
                    let page = world.page(FetchRange::AfterTime(time_ms), 10, ANY).await;
                    let gaps = if from == 4 { json!([]) } else { json!([{ "from": 1, "to": 3 }]) };
                    assert_eq!((&page["floor"], &page["from"]), (&json!(4), &json!(from)), "{page}");
                    assert_eq!((&page["gaps"], &page["complete"]), (&gaps, &json!(from == 4)), "{page}");
                }
                let later = world.page(FetchRange::AfterTime(BEGIN_MS + 3 * HOUR_MS), 10, ANY).await;
                assert_eq!((&later["events"], &later["complete"]), (&json!([]), &json!(true)), "{later}");
            }
        }
    }

    #[tokio::test]
    async fn a_page_of_what_is_gone_says_so() {
        let world = World::start();
        let members = vec![UserId::new("bob").unwrap()];
        let create =
            Change::Create { kind: ConversationKind::Group, title: String::new(), members, open: false };
        world.engine.change(world.caller(), &world.room, create).await.unwrap();
        for count in [4, 3, 2] {
            let count = Retention { count, ..Retention::FOR_EVER };
            world.engine.retain(world.caller(), &world.room, Retain::Policy(count)).await.unwrap();
        }
        let page = async |range| world.page(range, 10, ANY).await;
        let all = page(FetchRange::Latest).await;
        let (floor, head) = (all["floor"].as_u64().unwrap(), all["head"].as_u64().unwrap());
        assert!(floor > 2 && floor < head, "{all}");
        let gone = json!([{ "from": 1, "to": floor - 1 }]);
        assert_eq!((&all["gaps"], &all["from"], &all["to"]), (&gone, &json!(1), &json!(head)));
        assert_eq!(all["more_before"], false);
        let early = page(FetchRange::Before(Seq(floor))).await;
        assert_eq!((&early["gaps"], &early["events"]), (&gone, &json!([])));
        assert_eq!(
            (&early["from"], &early["to"], &early["more_after"]),
            (&json!(1), &json!(floor - 1), &json!(true))
        );
        let earliest = page(FetchRange::Before(Seq(floor - 1))).await;
        assert_eq!(
            (&earliest["gaps"], &earliest["to"]),
            (&json!([{ "from": 1, "to": floor - 2 }]), &json!(floor - 2)),
            "no more than was asked for"
        );
        let later = page(FetchRange::After(Seq(floor - 1))).await;
        assert_eq!((&later["gaps"], &later["from"]), (&json!([]), &json!(floor)));
        assert_eq!([&all, &early, &later].map(|page| page["complete"] == true), [false, false, true]);
    }

    #[tokio::test]
    async fn one_that_is_cut_for_its_bytes_has_what_it_was_asked_for_and_both_sides() {
        let world = World::start();
        world.say(60, 1024).await;
        for seq in [1, 2, 30, 59, 60] {
            let page = world.page(FetchRange::Around(Seq(seq)), 50, 8 * 1024).await;
            let told = seqs(&page, "events");
            let (first, last) = (told[0], told[told.len() - 1]);
            assert!(told.contains(&seq), "{seq} in {told:?}");
            assert!(told.len() <= 10 && told.windows(2).all(|two| two[0] + 1 == two[1]), "{told:?}");
            assert!(seq == 1 || first < seq, "what is before {seq}: {told:?}");
            assert!(seq == 60 || last > seq, "what is behind {seq}: {told:?}");
            let ends = (&page["from"], &page["to"], &page["more_before"], &page["more_after"]);
            assert_eq!(ends, (&json!(first), &json!(last), &json!(first > 1), &json!(last < 60)));
        }
        let time_ms = world.page(FetchRange::After(Seq(29)), 1, ANY).await["events"][0]["time_ms"].clone();
        let at = FetchRange::AroundTime(time_ms.as_u64().unwrap());
        let page = world.page(at, 50, 8 * 1024).await;
        let is_in_it = page["events"].as_array().unwrap().iter().any(|one| one["time_ms"] == time_ms);
        assert!(is_in_it, "{:?}", seqs(&page, "events"));
    }

    #[tokio::test]
    async fn pages_say_what_messages_have_come_to() {
        let world = World::start();
        world.say(5, 10).await;
        world.alter(2, edit(3)).await;
        let react = |on| Alteration::React { reaction: "+1".into(), on };
        world.alter(4, react(true)).await;
        world.alter(5, react(true)).await;
        world.alter(5, Alteration::Revoke).await;
        let page = world.page(FetchRange::After(Seq(0)), 5, ANY).await;
        assert_eq!(seqs(&page, "events"), [1, 2, 3, 4]);
        assert_eq!(seqs(&page, "states"), [2, 4], "not of what was revoked");
        assert_eq!(page["states"][0]["edited"]["body"], json!("eee"));
        assert_eq!(
            (&page["states"][0]["version"], &page["states"][0]["edited"]["seq"]),
            (&json!(6), &json!(6))
        );
        let reactions = json!([{ "reaction": "+1", "count": 1, "mine": true }]);
        assert_eq!(page["states"][1]["reactions"], reactions);
        world.alter(4, react(false)).await;
        let page = world.page(FetchRange::Around(Seq(4)), 2, ANY).await;
        assert_eq!(page["states"][0]["reactions"], json!([]));
    }

    /// They are read piece by piece: of so many events, and so many bytes, at once.
    #[tokio::test]
    async fn a_page_has_what_all_its_messages_have_come_to_in_their_order() {
        const MESSAGES: u64 = 3 * STATES_AT_ONCE as u64 - 1;
        let world = World::start();
        world.say(MESSAGES, 1).await;
        for seq in 1..=MESSAGES {
            world.alter(seq, edit(10 * 1024)).await;
        }
        let limit = u32::try_from(MESSAGES).unwrap();
        for range in [FetchRange::After(Seq(0)), FetchRange::Before(Seq(MESSAGES + 1))] {
            let page = world.page(range, limit, ANY).await;
            assert_eq!(seqs(&page, "events"), (1..=MESSAGES).collect::<Vec<_>>(), "{range:?}");
            assert_eq!(seqs(&page, "states"), seqs(&page, "events"), "{range:?}");
        }
        let page = world.page(FetchRange::Around(Seq(MESSAGES / 2)), limit, ANY).await;
        let mut messages = seqs(&page, "events");
        messages.retain(|seq| *seq <= MESSAGES);
        assert!(messages.len() > STATES_AT_ONCE, "{messages:?}");
        assert_eq!(seqs(&page, "states"), messages);
    }

    #[tokio::test]
    async fn a_page_of_which_all_is_absent_goes_on_to_what_is_not() {
        let world = World::start();
        world.say(30, 1).await;
        for seq in 5..=25 {
            world.alter(seq, Alteration::Revoke).await;
        }
        let page = world.page(FetchRange::After(Seq(4)), 5, ANY).await;
        assert_eq!(seqs(&page, "events").first(), Some(&26), "{page}");
        assert_eq!(page["gaps"][0], json!({ "from": 5, "to": 25 }));
        let page = world.page(FetchRange::Before(Seq(26)), 3, ANY).await;
        assert_eq!(seqs(&page, "events").last(), Some(&4), "{page}");
        let gaps = page["gaps"].as_array().unwrap();
        assert_eq!(gaps.last(), Some(&json!({ "from": 5, "to": 25 })));
    }

    #[tokio::test]
    async fn long_edits_make_a_page_shorter_and_none_is_left_out() {
        const MESSAGES: u64 = 60;
        let world = World::start();
        world.say(MESSAGES, 1).await;
        for seq in 1..=MESSAGES {
            world.alter(seq, edit(1024)).await;
        }
        let (limit, bytes_max) = (u32::try_from(MESSAGES).unwrap(), 8 * 1024);
        let page = world.page(FetchRange::Around(Seq(30)), limit, bytes_max).await;
        assert!(seqs(&page, "events").contains(&30) && seqs(&page, "states") == seqs(&page, "events"));
        let (mut after, mut pages, mut states) = (0, 0, Vec::new());
        while after < MESSAGES {
            let page = world.page(FetchRange::After(Seq(after)), limit, bytes_max).await;
            let told = seqs(&page, "states").into_iter().filter(|seq| *seq <= MESSAGES);
            states.extend(told);
            after = page["to"].as_u64().unwrap();
            assert_eq!(seqs(&page, "events").last(), Some(&after));
            pages += 1;
        }
        assert!(pages > 2, "{pages}");
        assert_eq!(states, (1..=MESSAGES).collect::<Vec<_>>());
        let (mut before, mut states) = (MESSAGES + 1, Vec::new());
        while before > 1 {
            let page = world.page(FetchRange::Before(Seq(before)), limit, bytes_max).await;
            states.splice(0..0, seqs(&page, "states"));
            before = page["from"].as_u64().unwrap();
            assert_eq!(seqs(&page, "events").first(), Some(&before));
        }
        assert_eq!(states, (1..=MESSAGES).collect::<Vec<_>>());
    }
}
