//! A disk without room: what is new is refused, nothing that is stored is, and it passes by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quoth_core::authorize::Grant;
use quoth_core::membership::{Change, ConversationState};
use quoth_core::messages::Alteration;
use quoth_core::retention::Retention;
use quoth_protocol::frame::Durability;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
use quoth_store::{LogError, MemoryLog, MemoryView, Reserve, Store, ViewError};

use super::world::{hooked_log, hooked_view, outcome, publish, publisher, room, start, stop, stored};
use crate::engine::{
    Caller, Engine, Execution, Mailbox, NotStored, Outcome, Publisher, Retain, Role, SystemClock,
};

pub(super) fn full() -> LogError {
    let source = Arc::new(std::io::ErrorKind::StorageFull.into());
    LogError::Io { action: "write", path: "log".into(), source }
}

/// A log that has room while this says so.
pub(super) fn log_with_room(has_room: &Arc<AtomicBool>) -> impl quoth_store::Log + use<> {
    let has_room = Arc::clone(has_room);
    hooked_log(MemoryLog::new(), move |call| match call {
        "append" | "make_room" if !has_room.load(Ordering::SeqCst) => Err(full()),
        _ => Ok(()),
    })
}

async fn refused(engine: &Engine, publisher: &Arc<Publisher>, n: u64) {
    assert!(publish(engine, publisher, n).await);
    match outcome(publisher).await.result {
        Err(NotStored::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::STORAGE_FULL);
            assert!(refusal.retry_after_ms > 0);
        }
        other => panic!("{n}: {other:?}"),
    }
}

/// The message is stored already, and that is what its sender is told.
async fn known(engine: &Engine, publisher: &Arc<Publisher>, n: u64, seq: Seq) {
    assert!(publish(engine, publisher, n).await);
    let told = outcome(publisher).await.result.unwrap();
    assert_eq!((told.seq, told.duplicate), (seq, true));
}

#[tokio::test]
async fn a_log_without_room_refuses_what_is_new_and_takes_it_once_there_is_room() {
    let has_room = Arc::new(AtomicBool::new(true));
    let view = MemoryView::new();
    let (engine, stopper) = start(log_with_room(&has_room), view.clone());
    let (ada, other) = (publisher("room"), publisher("other"));
    assert_eq!(stored(&engine, &ada, 1).await, Seq(1));
    assert_eq!(stored(&engine, &other, 1).await, Seq(1));
    // What is not in the view within a second behind a refusal, nobody judges.
    engine.applied_bounds(&room("room"), Default::default()).await.unwrap();
    for _ in 0..2 {
        has_room.store(false, Ordering::SeqCst);
        for n in [5, 6, 5] {
            refused(&engine, &ada, n).await;
        }
        known(&engine, &ada, 1, Seq(1)).await;
        refused(&engine, &other, 2).await;
        known(&engine, &other, 1, Seq(1)).await;
        assert_eq!(
            engine.bounds(&room("room"), Default::default()).await.unwrap().head,
            Seq(1),
            "reads go on"
        );
        let error = engine.note(room("$server/x"), Vec::new()).await.unwrap_err();
        assert!(error.contains("not stored: the disk is full"), "{error}");
    }
    has_room.store(true, Ordering::SeqCst);
    assert_eq!(stored(&engine, &ada, 5).await, Seq(2), "no seq is lost");
    assert_eq!(stored(&engine, &ada, 6).await, Seq(3));
    known(&engine, &ada, 5, Seq(2)).await;
    engine.note(room("$server/x"), Vec::new()).await.unwrap();
    assert_eq!(*engine.failure().borrow(), None);
    stop(engine, stopper).await.unwrap();
    assert_eq!(quoth_store::View::bounds(&view, &room("room")).unwrap().head, Seq(3));
}

/// What was stored a moment ago is in nobody's memory then, and the view does not have it yet.
#[tokio::test]
async fn a_repeat_that_cannot_be_judged_is_not_said_to_be_stored_nowhere() {
    let (has_room, is_held_up) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let waits = Arc::clone(&is_held_up);
    let view = hooked_view(MemoryView::new(), move |call, _| {
        while call == "apply" && waits.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(())
    });
    let (engine, stopper) = start(log_with_room(&has_room), view);
    let ada = publisher("room");
    assert_eq!(stored(&engine, &ada, 1).await, Seq(1));
    is_held_up.store(true, Ordering::SeqCst);
    assert_eq!(stored(&engine, &ada, 2).await, Seq(2));
    has_room.store(false, Ordering::SeqCst);
    refused(&engine, &ada, 3).await;
    assert!(publish(&engine, &ada, 2).await);
    assert_eq!(outcome(&ada).await.result, Err(NotStored::Unknown(Code::STORAGE_FULL)));
    is_held_up.store(false, Ordering::SeqCst);
    has_room.store(true, Ordering::SeqCst);
    // However long the view takes over it: within a second it is waited for anyway.
    engine.applied_bounds(&room("room"), Default::default()).await.unwrap();
    known(&engine, &ada, 2, Seq(2)).await;
    assert_eq!(stored(&engine, &ada, 3).await, Seq(3));
    stop(engine, stopper).await.unwrap();
}

/// A change that is taken back has never been: neither to its conversation nor to those who publish there.
#[tokio::test]
async fn a_change_without_room_is_taken_back() {
    let has_room = Arc::new(AtomicBool::new(true));
    let (engine, stopper) = start(log_with_room(&has_room), MemoryView::new());
    let user = |name: &str| UserId::new(name).unwrap();
    let boss = Caller::User(Arc::new(Grant::of_membership(user("boss"))));
    let change = async |change| engine.change(boss.clone(), &room("team"), change).await;
    let create = Change::Create {
        kind: ConversationKind::Group,
        title: String::new(),
        members: vec![user("ada")],
        open: false,
    };
    change(create).await.unwrap();
    let access = engine.access(&room("team"), &user("ada")).await.unwrap();
    let ada = Publisher::new(access, Role::User, user("ada"), ProducerId(1), Mailbox::of_anybody());
    let grant = Grant::of_membership(user("ada"));
    let stand = || ada.access.stand(quoth_core::membership::Actor::User(&grant));
    let say = async |n, stand: crate::engine::Stand| {
        let append = quoth_core::conversation::Append {
            n,
            sender: user("ada"),
            origin_time_ms: None,
            body: "text".into(),
            about: Default::default(),
        };
        assert!(engine.publish(&ada, append, &stand).await);
        let Outcome { result, .. } = outcome(&ada).await;
        result
    };
    assert_eq!(say(1, stand()).await.unwrap().seq, Seq(4), "behind what creating it came to");
    has_room.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = change(Change::Remove { user: user("ada") }).await.unwrap_err();
        assert_eq!(refused.code, Code::STORAGE_FULL);
    }
    let members = || ada.access.with_state(|state| state.map_or(0, ConversationState::members_count));
    assert_eq!(members(), 2);
    assert_eq!(ada.access.sequenced(), ada.access.version(), "nothing is ahead of what is out");
    has_room.store(true, Ordering::SeqCst);
    // What is not in the view within a second behind a refusal, nobody judges.
    engine.applied_bounds(&room("team"), Default::default()).await.unwrap();
    assert_eq!(say(2, stand()).await.unwrap().seq, Seq(5), "ada is a member as ever");
    let before = stand();
    let removed = change(Change::Remove { user: user("ada") }).await.unwrap();
    assert_eq!((removed.seq, members()), (Seq(6), 1));
    assert_eq!(say(3, before).await.unwrap_err().code(), Code::FORBIDDEN);
    stop(engine, stopper).await.unwrap();
}

/// While the reserve is not held, what operators free space with is stored, and nothing else that is new.
#[tokio::test]
async fn without_the_reserve_only_what_is_urgent_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("reserve"), vec![7; 1 << 20]).unwrap();
    let reserve = Reserve::open(dir.path(), 1 << 20).unwrap();
    let mut store = Store::memory();
    store.reserve = Arc::clone(&reserve);
    let (clock, rules) = (Arc::new(SystemClock), Execution::Threads);
    let (engine, stopper) = Engine::start(store, Durability::Memory, clock, rules);
    let user = |name: &str| UserId::new(name).unwrap();
    let boss = Caller::User(Arc::new(Grant::of_membership(user("boss"))));
    let operator = Caller::Operator(user("ops"));
    let create = |title: &str| Change::Create {
        kind: ConversationKind::Group,
        title: title.to_owned(),
        members: vec![user("bob")],
        open: false,
    };
    let ada = publisher("room");
    for n in 1..=5 {
        stored(&engine, &ada, n).await;
    }
    engine.change(boss.clone(), &room("team"), create("before")).await.unwrap();
    // What is not in the view within a second behind a refusal, nobody judges.
    engine.applied_bounds(&room("team"), Default::default()).await.unwrap();
    assert!(!engine.is_short() && !engine.stats().is_short);

    // So nobody takes it again.
    drop(dir);
    quoth_store::testing::release(&reserve);
    assert!(engine.is_short() && engine.stats().is_short);
    refused(&engine, &ada, 6).await;
    // Space is freed at once.
    engine.reclaim_wanted().await;
    known(&engine, &ada, 5, Seq(5)).await;
    let remove = |name: &str| Change::Remove { user: user(name) };
    for (caller, name, change) in [
        (&boss, "team", remove("bob")),
        (&operator, "team", Change::Rename { title: "another".to_owned() }),
        (&operator, "new", create("new")),
    ] {
        let refused = engine.change(caller.clone(), &room(name), change).await.unwrap_err();
        assert_eq!(refused.code, Code::STORAGE_FULL);
    }
    let policy = |count| Retain::Policy(Retention { count, ..Retention::FOR_EVER });
    let refused = engine.retain(boss.clone(), &room("team"), policy(1)).await.unwrap_err();
    assert_eq!(refused.code, Code::STORAGE_FULL);
    let alter = async |caller: &Caller, alteration| {
        engine.alter(caller.clone(), &room("room"), Seq(2), alteration).await.map_err(|error| error.code)
    };
    let edit = Alteration::Edit { body: "long".into(), mentions: Vec::new() };
    assert_eq!(alter(&operator, edit).await.unwrap_err(), Code::STORAGE_FULL);
    let own = ConversationName::of_user(&user("ada"));
    engine.note_all(vec![(own.clone(), Vec::new())]).await.unwrap_err();
    engine.notice(ConversationName::server(), "ada came".into(), Vec::new()).await.unwrap_err();

    alter(&operator, Alteration::Revoke).await.unwrap();
    engine.change(operator.clone(), &room("team"), remove("bob")).await.unwrap();
    engine.note(ConversationName::server(), Vec::new()).await.unwrap();
    engine.retain(operator.clone(), &room("room"), Retain::Hold(true)).await.unwrap();
    engine.retain(operator, &room("room"), policy(2)).await.unwrap();
    engine.reclaim().await.unwrap();
    assert_eq!(*engine.failure().borrow(), None);
    stop(engine, stopper).await.unwrap();
}

/// The view takes what it can in memory; then publishes are refused, and none waits for it.
#[tokio::test]
async fn a_view_without_room_is_waited_for_and_publishes_are_refused_before_too_much_waits() {
    let has_room = Arc::new(AtomicBool::new(false));
    let view_has_room = Arc::clone(&has_room);
    let inner = MemoryView::new();
    let view = hooked_view(inner.clone(), move |call, _| match call {
        "flush" if !view_has_room.load(Ordering::SeqCst) => Err(ViewError::Io {
            action: "write a table of",
            path: "view".into(),
            source: Arc::new(std::io::ErrorKind::StorageFull.into()),
        }),
        _ => Ok(()),
    });
    let (engine, stopper) = start(MemoryLog::new(), view);
    let ada = publisher("room");
    let mut acked = 0;
    loop {
        let append = quoth_core::conversation::Append {
            n: acked + 1,
            sender: UserId::new("ada").unwrap(),
            origin_time_ms: None,
            body: vec![7; 60_000].into(),
            about: Default::default(),
        };
        assert!(engine.publish(&ada, append, &crate::engine::Stand::FIXED).await);
        match outcome(&ada).await.result {
            Ok(stored) => acked = stored.seq.0,
            Err(refused) => {
                assert_eq!(refused.code(), Code::STORAGE_FULL);
                break;
            }
        }
        assert!(acked < 2_000, "never refused");
    }
    assert!(acked > 100, "{acked}: a full view refuses nothing at once");
    known(&engine, &ada, 1, Seq(1)).await;
    has_room.store(true, Ordering::SeqCst);
    let began = std::time::Instant::now();
    let is_stored = async || {
        publish(&engine, &ada, acked + 1).await;
        outcome(&ada).await.result.is_ok()
    };
    while !is_stored().await {
        assert!(began.elapsed().as_secs() < 60, "it does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(*engine.failure().borrow(), None);
    stop(engine, stopper).await.unwrap();
    assert_eq!(quoth_store::View::bounds(&inner, &room("room")).unwrap().head, Seq(acked + 1));
}
