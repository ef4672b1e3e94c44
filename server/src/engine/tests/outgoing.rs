//! What is told of the log to others is judged as what readers get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use quoth_core::membership::Change;
use quoth_core::messages::Alteration;
use quoth_core::retention::Retention;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Log as _, MemoryLog, MemoryView, Position, Record, ViewError, group};

use super::changes::{publish, publisher};
use super::world::{hooked_view, outcome, room, start, stop};
use crate::engine::{Caller, Engine, Retain};

fn caller(name: &str) -> Caller {
    Caller::Operator(UserId::new(name).unwrap())
}

/// All events of a conversation that the log has.
fn events(log: &MemoryLog, name: &ConversationName) -> Arc<[Record]> {
    let mut events = Vec::new();
    log.read(Position(1), &mut |_, bytes| {
        let records = group::decode(bytes).unwrap();
        events.extend(records.into_iter().filter(|record| record.is_event() && record.conversation == *name));
        Ok(())
    })
    .unwrap();
    events.into()
}

/// The seqs of those that are absent.
async fn absent(engine: &Engine, events: &Arc<[Record]>) -> Vec<u64> {
    let judged = engine.are_absent(events).await;
    assert_eq!(judged.len(), events.len());
    let absent = events.iter().zip(judged).filter(|(_, is_absent)| *is_absent);
    absent.map(|(event, _)| event.seq.0).collect()
}

#[tokio::test]
async fn what_is_revoked_replaced_or_kept_no_longer_is_absent_also_in_a_users_own_log() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let (engine, stopper) = start(log.clone(), view.clone());
    let members = vec![UserId::new("bob").unwrap()];
    let create = Change::Create { kind: ConversationKind::Group, title: String::new(), members, open: false };
    engine.change(caller("alice"), &room("room"), create).await.unwrap();
    let bob = publisher(&engine, "bob").await;
    for n in 1..=4 {
        publish(&engine, &bob, n).await;
        outcome(&bob).await.result.unwrap();
    }
    assert_eq!(absent(&engine, &events(&log, &room("room"))).await, [0; 0]);
    let alter = async |seq, what| engine.alter(caller("bob"), &room("room"), Seq(seq), what).await.unwrap();
    let edit =
        |text: &'static str| Alteration::Edit { body: Bytes::from_static(text.as_bytes()), mentions: vec![] };
    alter(4, edit("one")).await;
    alter(4, edit("two")).await;
    alter(5, Alteration::Revoke).await;
    assert_eq!(absent(&engine, &events(&log, &room("room"))).await, [5, 8], "the message and the first edit");
    let latest = Retain::Policy(Retention { count: 3, ..Retention::default() });
    engine.retain(caller("alice"), &room("room"), latest).await.unwrap();
    let (known, expected) = (events(&log, &room("room")), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(known.len(), 11);
    // The second edit ends with its message.
    assert_eq!(absent(&engine, &known).await, expected);

    let own = ConversationName::of_user(&UserId::new("bob").unwrap());
    let before = events(&log, &own);
    assert!(!before.is_empty() && absent(&engine, &before).await.is_empty());
    let ahead = Arc::from([Record { seq: Seq(99), ..before[0].clone() }]);
    assert_eq!(absent(&engine, &ahead).await, [0; 0], "the view does not have it yet");
    engine.erase_own_log(&UserId::new("bob").unwrap()).await.unwrap();
    engine.applied_bounds(&own, quoth_core::retention::Keeping::default()).await.unwrap();
    assert_eq!(absent(&engine, &before).await.len(), before.len());
    drop(bob);
    stop(engine, stopper).await.unwrap();
    // By then no tail tells of it.
    let (engine, stopper) = start(log.clone(), view);
    assert_eq!(absent(&engine, &before).await.len(), before.len());
    assert_eq!(absent(&engine, &known).await, expected);
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_judged_is_absent() {
    let is_damaged = Arc::new(AtomicBool::new(false));
    let hook = {
        let is_damaged = Arc::clone(&is_damaged);
        move |call: &'static str, name: Option<&ConversationName>| match name {
            Some(name) if call == "last" && is_damaged.load(Ordering::Relaxed) => {
                let (conversation, what) = (name.clone(), "a test has damaged it");
                Err(ViewError::DamagedConversation { conversation, what })
            }
            _ => Ok(()),
        }
    };
    let log = MemoryLog::new();
    let (engine, stopper) = start(log.clone(), hooked_view(MemoryView::new(), hook));
    for name in ["kept", "room"] {
        let publisher = super::world::publisher(name);
        super::world::stored(&engine, &publisher, 1).await;
    }
    // The end of this one is to be known to judge it.
    let latest = Retain::Policy(Retention { count: 3, ..Retention::default() });
    engine.retain(caller("alice"), &room("room"), latest).await.unwrap();
    let of_both = [events(&log, &room("kept")), events(&log, &room("room"))].map(|of| of.to_vec()).concat();
    let of_both = Arc::from(of_both);
    assert_eq!(engine.are_absent(&of_both).await, [false; 3]);
    is_damaged.store(true, Ordering::Relaxed);
    assert_eq!(engine.are_absent(&of_both).await, [false, true, true], "of the other one it is known");
    stop(engine, stopper).await.unwrap();
}
