//! Who sets how a conversation is kept is told what goes by that, and nothing of what others do.

use std::time::Duration;

use quoth_core::retention::Retention;
use quoth_protocol::{Seq, UserId};
use quoth_store::{MemoryLog, MemoryView};
use tokio::time::sleep;

use super::super::durable::gated_log;
use super::super::world::{publish, publisher, room, start, stop, stored};
use crate::engine::{Caller, Gone, QUEUE_PUBLISHES_MAX, Retain};

fn operator() -> Caller {
    Caller::Operator(UserId::new("ops").unwrap())
}

fn last(count: u64) -> Retain {
    Retain::Policy(Retention { count, ..Retention::FOR_EVER })
}

#[tokio::test]
async fn of_two_who_set_it_at_once_each_is_told_what_goes_by_the_own_change() {
    let (log, begun, end) = gated_log();
    let (engine, stopper) = start(log, MemoryView::new());
    let writer = publisher("room");
    for n in 1..=10 {
        end.send(Ok(())).unwrap();
        stored(&engine, &writer, n).await;
    }
    // While this one is flushed both of them gather, for one group.
    assert!(publish(&engine, &writer, 11).await);
    let all_begun = tokio::task::spawn_blocking(move || begun.iter().take(11).count());
    assert_eq!(all_begun.await.unwrap(), 11);
    let mut setters = Vec::new();
    for (waiting, count) in [(1, 5), (2, 2)] {
        let engine_of_it = engine.clone();
        let sets = async move { engine_of_it.retain(operator(), &room("room"), last(count)).await.unwrap() };
        setters.push(tokio::spawn(sets));
        while engine.inner.queue.capacity() > QUEUE_PUBLISHES_MAX - waiting {
            sleep(Duration::from_millis(1)).await;
        }
    }
    for _ in 0..2 {
        end.send(Ok(())).unwrap();
    }
    let mut told = Vec::new();
    for setter in setters {
        told.push(setter.await.unwrap());
    }
    let effects: Vec<_> = told.iter().map(|told| (told.done.seq, told.effect)).collect();
    let floors = |place: usize| (effects[place].1.floor.seq, effects[place].1.floor_then.seq);
    // Of twelve events five, and of thirteen two: what says so counts.
    assert_eq!((effects[0].0, floors(0), effects[0].1.gone().events), (Seq(12), (Seq(1), Seq(8)), 7));
    assert_eq!((effects[1].0, floors(1), effects[1].1.gone().events), (Seq(13), (Seq(8), Seq(12)), 4));
    let counts: Vec<_> = effects.iter().map(|(_, effect)| (effect.policy.count, effect.head)).collect();
    assert_eq!(counts, [(5, Seq(12)), (2, Seq(13))]);
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_set_again_takes_nothing_whether_it_is_held_or_not() {
    for is_held in [false, true] {
        let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
        let writer = publisher("room");
        for n in 1..=10 {
            stored(&engine, &writer, n).await;
        }
        let retain = async |retain: Retain| engine.retain(operator(), &room("room"), retain).await.unwrap();
        if is_held {
            retain(Retain::Hold(true)).await;
        }
        assert_eq!(retain(last(4)).await.effect.beyond().events, 7, "held: {is_held}");
        let again = retain(last(4)).await;
        let thought_of = engine.would_retain(&operator(), &room("room"), last(4)).await.unwrap();
        for effect in [again.effect, thought_of] {
            assert_eq!(
                (effect.beyond(), effect.gone()),
                (Gone::default(), Gone::default()),
                "held: {is_held}"
            );
            assert_eq!(effect.held().events, if is_held { 7 } else { 0 }, "an operator is told of a hold");
        }
        stop(engine, stopper).await.unwrap();
    }
}
