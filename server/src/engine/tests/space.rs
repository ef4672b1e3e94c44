//! What is freed and when that is told, and by which time anything is judged behind a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quoth_core::authorize::Grant;
use quoth_core::messages::{Alteration, REACTION, REMOVED_REACTIONS_MAX};
use quoth_core::retention::Retention;
use quoth_protocol::{Pattern, Seq, UserId};
use quoth_store::testing::{LogOverride, Overridden};
use quoth_store::{
    Extent, FjallView, Log, MemoryLog, MemoryView, PageLimit, Position, Record, SweepCursor, group,
};

use super::retention::{Model, Told, World, world};
use super::world::room;
use crate::engine::{Caller, Retain};

/// More than what is absent may have pieces in memory.
const ANSWERS: u64 = 300;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn caller(user: &str) -> Caller {
    let (all, user) = (Some(vec![Pattern::new("*")]), UserId::new(user).unwrap());
    Caller::User(Arc::new(Grant { read: all.clone(), write: all, ..Grant::of_membership(user) }))
}

async fn alter(world: &World, user: &str, seq: u64, alteration: Alteration) {
    world.engine.alter(caller(user), &room("room"), Seq(seq), alteration).await.unwrap();
}

async fn sweep(world: &World, everything: bool) -> u64 {
    world.engine.sweep(everything, SweepCursor::default(), |_| true).await.unwrap().0.registers
}

/// How many registers of messages there are.
async fn beside(world: &World) -> usize {
    world.engine.registers(room("room"), b"@", 100_000).await.unwrap().len()
}

/// A bot whose answers come piece by piece, in a room that keeps the latest messages.
#[tokio::test(start_paused = true)]
async fn what_is_kept_beside_messages_is_bounded_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(700);
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
    // Events are more than are told of here.
    let (mut seq, mut largest) = (0, 0);
    for answer in 0..ANSWERS {
        let mut model = Model::of(seq);
        world.publish(&mut model, 10, 0).await;
        let message = seq + 1;
        for piece in 0..4 {
            let body = format!("answer {answer}, as far as piece {piece}").into();
            alter(&world, "ada", message, Alteration::Edit { body, mentions: Vec::new() }).await;
        }
        alter(&world, "bob", message, Alteration::React { reaction: "+1".to_owned(), on: true }).await;
        seq += 6;
        if answer == 0 {
            let count = Retention { count: 30, ..Retention::FOR_EVER };
            world.retain(&mut Model::default(), Retain::Policy(count)).await;
            seq += 1;
        }
        if answer % 10 == 9 {
            world.engine.reclaim().await.unwrap();
            sweep(&world, false).await;
            largest = largest.max(beside(&world).await);
        }
    }
    // Of each of some ten messages an edit, a summary, a reaction and three marks of edits.
    assert!(largest < 120, "{largest} at once");
    let pieces = world.engine.absent(&room("room")).await.unwrap().read().ranges_count();
    assert!(pieces < 270, "{pieces} in memory");
    let message = vec![Seq(seq - 5)];
    let states = world.engine.message_states(&caller("ada"), &room("room"), message).await.unwrap();
    let edited = states.states[0].edited.as_ref().map(|edit| edit.body.clone());
    let last = format!("answer {}, as far as piece 3", ANSWERS - 1);
    assert_eq!(edited.as_deref(), Some(last.as_bytes()), "the last one is as it was");
}

#[tokio::test]
async fn nothing_is_left_beside_a_message_with_many_reactions_that_was_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(700);
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
    world.publish(&mut Model::default(), 10, 0).await;
    for user in 0..REMOVED_REACTIONS_MAX + 20 {
        let reaction = Alteration::React { reaction: "+1".to_owned(), on: true };
        alter(&world, &format!("u{user}"), 1, reaction).await;
    }
    alter(&world, "ada", 1, Alteration::Revoke).await;
    assert_eq!(beside(&world).await, 21, "reactions, and that it is absent");
    sweep(&world, true).await;
    assert_eq!(beside(&world).await, 21, "its row is there: it says who has said it");
    // A moment later it is rewritten.
    let pace = world.engine.pace(u64::MAX);
    world.engine.rewrite(u64::MAX, Extent::Worthwhile, &pace).await.unwrap();
    world.engine.rewrite(u64::MAX, Extent::Worthwhile, &pace).await.unwrap();
    assert_eq!(sweep(&world, true).await, 21);
    assert_eq!(beside(&world).await, 0);
}

/// Nobody else is to notice that somebody is erased, however much is looked at for it.
#[tokio::test(start_paused = true)]
async fn all_that_is_read_of_a_conversation_to_erase_a_user_is_paced() {
    const BYTES_PER_S: u64 = 100;
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
    world.publish(&mut Model::default(), 3, 0).await;
    for user in 0..20 {
        let reaction = Alteration::React { reaction: "+1".to_owned(), on: true };
        alter(&world, &format!("u{user}"), 1, reaction).await;
    }
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    let read = world.view.after(&room("room"), Seq::ZERO, all).unwrap();
    let contents: usize = read.iter().map(|record| record.content.len()).sum();
    let rows = world.engine.registers(room("room"), &REACTION, usize::MAX).await.unwrap();
    let registers: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(rows.len() == 20 && registers > 0);
    world.engine.set_erasure_pace(BYTES_PER_S);
    let (ops, begun) = (UserId::new("ops").unwrap(), tokio::time::Instant::now());
    world.engine.erase(&ops, &room("room"), &UserId::new("nobody").unwrap()).await.unwrap();
    let seconds = (contents + registers) as u64 / BYTES_PER_S;
    assert!(begun.elapsed() >= Duration::from_secs(seconds), "{:?} and not {seconds} s", begun.elapsed());
}

/// The outbox reads the log, and no mark tells any more that an edit was replaced.
#[tokio::test]
async fn what_is_sent_of_the_log_is_judged_by_rows_where_marks_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), 1 << 20).unwrap();
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
    world.publish(&mut Model::default(), 10, 0).await;
    for text in ["one", "two", "three"] {
        alter(&world, "ada", 1, Alteration::Edit { body: text.into(), mentions: Vec::new() }).await;
    }
    assert_eq!(sweep(&world, false).await, 2, "the marks of the first two edits");
    world.restart().await;
    assert_eq!(world.engine.absent(&room("room")).await.unwrap().read().ranges_count(), 0);
    let mut events = Vec::new();
    let mut visit = |_, bytes: &[u8]| {
        events.extend(group::decode(bytes).unwrap().into_iter().filter(Record::is_event));
        Ok(())
    };
    world.log.read(Position(1), &mut visit).unwrap();
    assert_eq!(world.engine.are_absent(&events.into()).await, [false, true, true, false]);
}

/// A log that deletes what was freed when it is told to.
struct Deleting {
    inner: MemoryLog,
    first_stored: Arc<AtomicU64>,
}

impl LogOverride for Deleting {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn first_stored(&self) -> Position {
        Position(self.first_stored.load(Ordering::Relaxed)).min(self.inner.first())
    }
}

#[tokio::test]
async fn what_was_taken_is_told_to_be_gone_once_it_is_deleted_from_the_log() {
    let first_stored = Arc::new(AtomicU64::new(1));
    let log = Deleting { inner: MemoryLog::new(), first_stored: Arc::clone(&first_stored) };
    let mut world = world(Arc::new(Overridden(log)), Arc::new(MemoryView::new())).await;
    world.publish(&mut Model::default(), 10, 0).await;
    let taken_ms = world.engine.judged_ms();
    world.clock.0.fetch_add(10, Ordering::Relaxed);
    world.engine.free_log().await.unwrap();
    assert!(world.log.first() > Position(1), "it is freed");
    assert!(!world.engine.gone_since(taken_ms).1, "and its file is there");
    first_stored.store(u64::MAX, Ordering::Relaxed);
    assert!(world.engine.gone_since(taken_ms).1);
}

#[tokio::test]
async fn a_restart_with_a_clock_that_was_set_back_brings_nothing_back() {
    for back_ms in [1, 5_000, DAY_MS] {
        let mut world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
        let mut model = Model::default();
        world.clock.0.store(2 * DAY_MS, Ordering::Relaxed);
        world.publish(&mut model, 10, 1).await;
        world.clock.0.fetch_add(1, Ordering::Relaxed);
        world.publish(&mut model, 10, 0).await;
        let gone = [Told::Gap(1, 1), Told::Event(2)];
        assert_eq!(world.read(Seq::ZERO, 1_000).await, gone);
        world.clock.0.fetch_sub(back_ms, Ordering::Relaxed);
        world.restart().await;
        assert_eq!(world.read(Seq::ZERO, 1_000).await, gone, "{back_ms} ms back");
        // What is stored by then lasts no shorter for it, and no longer once the clock goes on.
        world.publish(&mut model, 10, 1_000).await;
        let both = [Told::Gap(1, 1), Told::Event(2), Told::Event(3)];
        assert_eq!(world.read(Seq::ZERO, 1_000).await, both, "{back_ms} ms back");
        // Nor does what is the first one of its conversation.
        let publisher = super::world::publisher("other");
        super::world::stored(&world.engine, &publisher, 1).await;
        let operator = Caller::Operator(UserId::new("ops").unwrap());
        let second = Retain::Policy(Retention { age_s: 1, ..Retention::FOR_EVER });
        world.engine.retain(operator, &room("other"), second).await.unwrap();
        let keeping = world.engine.keeping(&room("other")).await.unwrap();
        let bounds = world.engine.bounds(&room("other"), keeping).await.unwrap();
        assert_eq!(bounds.floor, Seq(1), "{back_ms} ms back");
        world.clock.0.store(2 * DAY_MS + 1_001, Ordering::Relaxed);
        assert_eq!(world.read(Seq::ZERO, 1_000).await, [Told::Gap(1, 1), Told::Event(2), Told::Gap(3, 3)]);
    }
}

/// Whether the server is started again or not, what comes later is kept for as long as it is to be.
#[tokio::test]
async fn a_clock_that_was_far_ahead_counts_no_more_once_it_is_mended() {
    for restarts in [false, true] {
        let mut world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
        let right_ms = 3 * DAY_MS;
        world.clock.0.store(right_ms + 400 * DAY_MS, Ordering::Relaxed);
        world.publish(&mut Model::default(), 10, 0).await;
        world.clock.0.store(right_ms, Ordering::Relaxed);
        if restarts {
            world.restart().await;
        }
        assert_eq!(world.engine.judged_ms(), right_ms);
        let name = room("other");
        let publisher = super::world::publisher("other");
        assert_eq!(super::world::stored(&world.engine, &publisher, 1).await, Seq(1));
        let minute = Retain::Policy(Retention { age_s: 60, ..Retention::FOR_EVER });
        let operator = Caller::Operator(UserId::new("ops").unwrap());
        world.engine.retain(operator, &name, minute).await.unwrap();
        let floor = async || {
            let keeping = world.engine.keeping(&name).await.unwrap();
            world.engine.bounds(&name, keeping).await.unwrap().floor
        };
        assert_eq!(floor().await, Seq(1), "it is new");
        world.clock.0.fetch_add(59_999, Ordering::Relaxed);
        assert_eq!(floor().await, Seq(1), "it is not a minute old");
        world.clock.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(floor().await, Seq(3), "it is, and what set that as well");
    }
}

#[tokio::test]
async fn who_may_not_wait_is_not_paced_and_holds_up_nobody() {
    const HANG: Duration = Duration::from_secs(60);
    let world = world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await;
    // A byte a second.
    let pace = world.engine.pace(1);
    let paced = Arc::clone(&pace);
    let taking = tokio::task::spawn_blocking(move || {
        let nobody_is_held_up = paced.take_while(1_000_000, &|| false) && paced.take(0);
        let asked = std::cell::Cell::new(0);
        let for_a_moment = || asked.replace(asked.get() + 1) < 2;
        nobody_is_held_up && paced.take_while(1_000_000, &for_a_moment) && asked.get() > 2
    });
    let taken = tokio::time::timeout(HANG, taking).await;
    pace.stop();
    assert!(taken.expect("it waits").unwrap());
}
