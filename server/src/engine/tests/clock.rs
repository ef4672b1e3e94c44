//! Clocks that are set back, or were ahead: what expires does so, what is dated is dated on, and nobody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quoth_core::messages::Alteration;
use quoth_core::receipts::Cursor;
use quoth_core::retention::Keeping;
use quoth_protocol::{Code, Seq};
use quoth_store::{Class, Extent, FjallView, MemoryLog, MemoryView};

use super::lists::{self, caller, user};
use super::retention::{Model, Told, World, world};
use super::world::{publisher, room, stored};
use crate::engine::{Caller, Since};

const HOUR_MS: u64 = 3_600 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const PATIENCE: Duration = Duration::from_secs(60);

async fn in_memory() -> World {
    world(Arc::new(MemoryLog::new()), Arc::new(MemoryView::new())).await
}

/// Both clocks go on.
fn pass(world: &World, ms: u64) {
    world.clock.0.fetch_add(ms, Ordering::Relaxed);
    world.clock.1.fetch_add(ms, Ordering::Relaxed);
}

#[tokio::test]
async fn what_expires_does_while_the_clock_is_behind() {
    let (mut world, mut model) = (in_memory().await, Model::default());
    world.clock.0.store(2 * DAY_MS, Ordering::Relaxed);
    world.publish(&mut model, 10, 0).await;
    world.clock.0.fetch_sub(HOUR_MS, Ordering::Relaxed);
    for (seq, restarts) in [(2, false), (4, true)] {
        if restarts {
            world.restart().await;
        }
        world.publish(&mut model, 10, 60_000).await;
        pass(&world, 119_998);
        let told = world.read(Seq::ZERO, 1_000).await;
        assert!(told.contains(&Told::Event(seq)), "it lasts twice as long: {told:?}");
        pass(&world, 2);
        let told = world.read(Seq::ZERO, 1_000).await;
        assert!(!told.contains(&Told::Event(seq)), "and no longer: {told:?}");
        world.publish(&mut model, 10, 0).await;
    }
    pass(&world, 2 * HOUR_MS);
    assert_eq!(world.engine.judged_ms(), world.clock.0.load(Ordering::Relaxed), "the clock has caught up");
}

/// Of a conversation whose last event was stored by a clock that was ahead, all that follows has that time.
#[tokio::test]
async fn nobody_else_is_judged_by_a_conversation_that_is_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let view = FjallView::open(dir.path(), 1 << 20).unwrap();
    let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
    let (mut model, right_ms) = (Model::default(), 3 * DAY_MS);
    world.clock.0.store(right_ms + DAY_MS + HOUR_MS, Ordering::Relaxed);
    world.publish(&mut model, 10, 0).await;
    world.clock.0.store(right_ms, Ordering::Relaxed);
    let other = room("other");
    assert_eq!(stored(&world.engine, &publisher("other"), 1).await, Seq(1));
    pass(&world, 10 * HOUR_MS);
    // Alone in the last group.
    world.publish(&mut model, 10, 0).await;
    world.restart().await;
    assert_eq!(world.engine.judged_ms(), right_ms + 10 * HOUR_MS);
    let keeping = world.engine.keeping(&other).await.unwrap();
    assert_eq!(keeping, Keeping::for_ever(right_ms + 10 * HOUR_MS));
    // What is revoked there now is due as if it were anywhere.
    let revoke = Alteration::Revoke;
    let operator = Caller::Operator(user("ops"));
    world.engine.alter(operator, &room("room"), Seq(1), revoke).await.unwrap();
    world.engine.applied_bounds(&other, keeping).await.unwrap();
    assert_eq!(world.engine.outstanding().erased.since_ms, Some(right_ms + 10 * HOUR_MS));
}

/// Whoever erased something then would wait for a year until it is gone, and as long to be told so.
#[tokio::test]
async fn what_was_erased_while_the_clock_was_far_ahead_is_due_when_that_is_mended() {
    const ERASURE_MAX_MS: u64 = 3_600_000;
    for restarts in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
        let right_ms = 3 * DAY_MS;
        world.clock.0.store(right_ms + 365 * DAY_MS, Ordering::Relaxed);
        world.publish(&mut Model::default(), 10, 0).await;
        let operator = Caller::Operator(user("ops"));
        world.engine.alter(operator, &room("room"), Seq(1), Alteration::Revoke).await.unwrap();
        world.engine.free_log().await.unwrap();
        let taken_ms = world.engine.judged_ms();
        world.clock.0.store(right_ms, Ordering::Relaxed);
        if restarts {
            world.restart().await;
        }
        assert_eq!(world.engine.judged_ms(), right_ms);
        world.engine.set_erasure_max(ERASURE_MAX_MS);
        pass(&world, 60_000);
        let outstanding = world.engine.outstanding();
        assert_eq!(outstanding.erased.since_ms, Some(right_ms));
        assert_eq!(outstanding.gone_by_ms, Some(right_ms + ERASURE_MAX_MS));
        assert_eq!(world.engine.gone_since(taken_ms), (right_ms + ERASURE_MAX_MS, false));
        // What was erased by now is not wanted yet, but this is late already.
        let pace = world.engine.pace(u64::MAX);
        let before_ms = world.engine.judged_ms() - ERASURE_MAX_MS / 2;
        let mut passes = 0;
        while world.engine.outstanding().erased.events > 0 {
            passes += 1;
            assert!(passes < 5, "{restarts}: {:?}", world.engine.outstanding());
            world.engine.rewrite(before_ms, Extent::Worthwhile, &pace).await.unwrap();
            world.engine.purge(false, Arc::new(|_, _| true)).await.unwrap();
        }
        pass(&world, 60_000);
        assert_eq!(stored(&world.engine, &publisher("other"), 1).await, Seq(1));
        world.engine.free_log().await.unwrap();
        assert!(world.engine.gone_since(taken_ms).1, "and so is the log");
    }
}

/// A right time behind it must not hide the other one, of the same window or of another.
#[tokio::test]
async fn what_was_erased_while_the_clock_was_far_ahead_is_not_gone_for_what_was_erased_since() {
    for (is_of_other, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = format!("of another window: {is_of_other}, restarts: {restarts}");
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let mut world = world(Arc::new(MemoryLog::new()), Arc::new(view)).await;
        let (mut model, right_ms) = (Model::default(), 3 * DAY_MS);
        world.clock.0.store(right_ms + 365 * DAY_MS, Ordering::Relaxed);
        for _ in 0..2 {
            world.publish(&mut model, 10, 0).await;
        }
        let operator = || Caller::Operator(user("ops"));
        world.engine.alter(operator(), &room("room"), Seq(1), Alteration::Revoke).await.unwrap();
        world.engine.free_log().await.unwrap();
        let taken_ms = world.engine.judged_ms();
        world.clock.0.store(right_ms, Ordering::Relaxed);
        assert_eq!(world.engine.judged_ms(), right_ms);
        pass(&world, 60_000);
        let of = if is_of_other { room("other") } else { room("room") };
        if is_of_other {
            world.engine.close_window(Class::default()).await.unwrap();
            assert_eq!(stored(&world.engine, &publisher("other"), 1).await, Seq(1));
        }
        world
            .engine
            .alter(operator(), &of, Seq(if is_of_other { 1 } else { 2 }), Alteration::Revoke)
            .await
            .unwrap();
        let later_ms = world.engine.judged_ms();
        pass(&world, 60_000);
        if restarts {
            assert_eq!(stored(&world.engine, &publisher("last"), 1).await, Seq(1));
            world.restart().await;
        }
        for n in 1..=2 {
            pass(&world, 60_000);
            assert_eq!(stored(&world.engine, &publisher("more"), n).await, Seq(n));
            world.engine.free_log().await.unwrap();
        }
        assert_eq!(world.engine.outstanding().erased.events, 2, "{case}");
        assert!(!world.engine.gone_since(taken_ms).1, "{case}");
        assert!(!world.engine.gone_since(later_ms).1, "{case}");
        // Nothing but what is late already is wanted.
        let (pace, before) = (world.engine.pace(u64::MAX), world.engine.outstanding());
        for _ in 0..5 {
            world.engine.rewrite(0, Extent::Worthwhile, &pace).await.unwrap();
            world.engine.purge(false, Arc::new(|_, _| true)).await.unwrap();
        }
        assert!(world.engine.outstanding().erased.events < before.erased.events, "{case}");
        // Behind a start, all that was erased before it may have been so first.
        assert_eq!(world.engine.gone_since(taken_ms).1, !(is_of_other && restarts), "{case}");
        assert_eq!(world.engine.gone_since(later_ms).1, !is_of_other, "{case}");
    }
}

#[tokio::test]
async fn cursors_are_stored_and_dated_whatever_becomes_of_the_clock() {
    for back_ms in [HOUR_MS, 3 * DAY_MS] {
        let mut world = lists::World::at(10 * DAY_MS);
        world.group(&room("a"), "alice", &["bob"]).await;
        for _ in 0..9 {
            world.publish(&room("a"), "alice", &[]).await;
        }
        world.engine.mark(&room("a"), &user("bob"), Cursor::from(Seq(4))).await.unwrap();
        world.settled().await;
        world.clock.advance(HOUR_MS / 2);
        let since = world.row("bob").await.version;
        world.clock.set_back(back_ms);
        // A second is one all the same.
        world.clock.advance(1_000);
        let (name, bob) = (room("a"), user("bob"));
        let marked = world.engine.mark(&name, &bob, Cursor::from(Seq(7)));
        tokio::time::timeout(PATIENCE, marked).await.expect("nobody waits for the clock").unwrap();
        assert_eq!(world.engine.cursor(&room("a"), &user("bob")).await.unwrap(), Cursor::from(Seq(7)));
        world.settled().await;
        let watch = world.engine.watch_inbox(&user("bob"));
        let told = watch.tell_since(&world.engine, Some(since)).await.unwrap();
        let expected = match back_ms {
            HOUR_MS => Since { version: since, complete: true },
            // It says nothing of what has come since the clock was mended.
            _ => Since { version: world.engine.judged_ms(), complete: false },
        };
        assert_eq!(told, expected, "{back_ms} ms back");
        if told.complete {
            assert_eq!(lists::rows(&watch, &world.engine, "bob").await[0].read, Seq(7));
        }
        drop(watch);
        world.stop().await;
    }
}

/// As the committer judges, so that nobody is refused what it would take.
#[tokio::test]
async fn a_mute_that_is_over_stays_so_when_the_clock_is_set_back() {
    let mut world = lists::World::at(10 * DAY_MS);
    let (name, bob) = (room("a"), user("bob"));
    world.group(&name, "alice", &["bob"]).await;
    let seq = world.publish(&name, "bob", &[]).await;
    let until_ms = world.engine.judged_ms() + 60_000;
    let mute = quoth_core::membership::Change::Mute { user: Some(bob.clone()), until_ms };
    world.engine.change(caller("alice"), &name, mute).await.unwrap();
    let edit = || Alteration::Edit { body: "other".into(), mentions: Vec::new() };
    let may_edit = async || world.engine.may_alter(&caller("bob"), &name, &edit()).await;
    assert_eq!(may_edit().await.unwrap_err().code, Code::MUTED);
    world.clock.advance(60_000);
    may_edit().await.unwrap();
    world.clock.set_back(HOUR_MS);
    may_edit().await.unwrap();
    world.engine.alter(caller("bob"), &name, seq, edit()).await.unwrap();
    world.stop().await;
}

/// Large conversations are told of once a second to those who watch.
#[tokio::test]
async fn who_watches_is_told_whatever_becomes_of_the_clock() {
    let mut world = lists::World::at(10 * DAY_MS);
    let members: Vec<_> = (0..300).map(|n| format!("u{n}")).collect();
    world.group(&room("a"), "alice", &["bob"]).await;
    for of in &members {
        let set = quoth_core::membership::Change::SetMember {
            user: user(of),
            role: quoth_protocol::membership::Role::Member,
            permissions: None,
        };
        world.engine.change(caller("alice"), &room("a"), set).await.unwrap();
    }
    world.settled().await;
    world.clock.advance(1_000);
    let watch = world.engine.watch_inbox(&user("bob"));
    let first = world.publish(&room("a"), "alice", &[]).await;
    while lists::rows(&watch, &world.engine, "bob").await[0].head < first {}
    world.clock.set_back(3 * DAY_MS);
    let second = world.publish(&room("a"), "alice", &[]).await;
    world.clock.advance(1_000);
    let third = world.publish(&room("a"), "alice", &[]).await;
    assert!(third > second);
    while lists::rows(&watch, &world.engine, "bob").await[0].head < third {}
    drop(watch);
    world.stop().await;
}
