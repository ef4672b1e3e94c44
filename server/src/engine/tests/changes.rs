//! Changes: out when they are durable and not before, and everybody is judged by what is sequenced.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::authorize::{Action, Grant};
use quoth_core::conversation::{About, Append};
use quoth_core::membership::{Actor, Change, ConversationState, Refusal};
use quoth_core::messages::Alteration;
use quoth_core::retention::Keeping;
use quoth_core::tail::Next;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
use quoth_store::{LogError, MemoryLog, MemoryView};

use super::durable::gated_log;
use super::world::{failure, hooked_log, outcome, room, start, stop, wanted};
use crate::engine::{Access, Caller, Done, Engine, Mailbox, NotStored, Publisher, Role, Statuses};

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn caller(name: &str) -> Caller {
    Caller::User(Arc::new(Grant::of_membership(user(name))))
}

fn create(members: &[&str]) -> Change {
    let members = members.iter().map(|name| user(name)).collect();
    Change::Create { kind: ConversationKind::Group, title: String::new(), members, open: false }
}

fn remove(name: &str) -> Change {
    Change::Remove { user: user(name) }
}

pub(super) async fn publisher(engine: &Engine, name: &str) -> Arc<Publisher> {
    let access = engine.access(&room("room"), &user(name)).await.unwrap();
    Publisher::new(access, Role::User, user(name), ProducerId(1), Mailbox::of_anybody())
}

/// Publishes with what is out now for a standing.
pub(super) async fn publish(engine: &Engine, publisher: &Arc<Publisher>, n: u64) {
    let sender = publisher.producer.user.clone();
    let stand = publisher.access.stand(Actor::User(&Grant::of_membership(sender.clone())));
    let (body, about) = ("text".into(), About::default());
    let append = Append { n, sender, origin_time_ms: None, body, about };
    assert!(engine.publish(publisher, append, &stand).await);
}

async fn begins(begun: Receiver<()>) -> Receiver<()> {
    let begun = tokio::task::spawn_blocking(move || {
        begun.recv().unwrap();
        begun
    });
    begun.await.unwrap()
}

fn members(access: &Access) -> u32 {
    access.with_state(|state| state.map_or(0, ConversationState::members_count))
}

#[tokio::test]
async fn nothing_of_a_change_is_out_before_its_flush() {
    let (log, begun, end) = gated_log();
    let view = MemoryView::new();
    let (engine, stopper) = start(log, view.clone());
    let access = engine.access(&room("room"), &user("alice")).await.unwrap();
    let create = tokio::spawn({
        let engine = engine.clone();
        async move { engine.change(caller("alice"), &room("room"), create(&["bob"])).await }
    });
    let begun = begins(begun).await;
    assert_eq!((members(&access), access.version()), (0, 0));
    let tail = |name: &ConversationName| engine.read_tail(name, wanted(Seq(0)), &mut Vec::new());
    let own = ConversationName::of_user(&user("bob"));
    assert!(matches!(tail(&room("room")), Next::View { .. }) && matches!(tail(&own), Next::View { .. }));
    assert!(!create.is_finished());
    end.send(Ok(())).unwrap();
    let done = create.await.unwrap().unwrap();
    assert_eq!((done.seq, members(&access), access.version()), (Seq(3), 2, 3), "out when it is answered");
    assert!(
        matches!(tail(&room("room")), Next::Frames(Seq(3))) && matches!(tail(&own), Next::Frames(Seq(1)))
    );

    // One whose flush fails is never out.
    let again = tokio::spawn({
        let engine = engine.clone();
        async move { engine.change(caller("alice"), &room("room"), remove("bob")).await }
    });
    let _begun = begins(begun).await;
    end.send(Err(LogError::Poisoned)).unwrap();
    assert!(failure(&engine).await.contains("earlier write failed"));
    assert_eq!(again.await.unwrap().unwrap_err().code, Code::STORE_FAILED);
    assert_eq!((members(&access), access.version()), (2, 3));
    drop(end);
    stop(engine, stopper).await.unwrap_err();
}

type Asked = tokio::task::JoinHandle<Result<Done, Refusal>>;

/// What is told of to those who watch others.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Statuses for Heard {
    fn of(&self, _: &UserId) -> Status {
        Status::Online
    }

    fn members_changed(&self, conversation: &ConversationName) {
        self.0.lock().push(format!("members of {conversation}"));
    }

    fn block_changed(&self, user: &UserId) {
        self.0.lock().push(format!("blocks of {user}"));
    }
}

/// Whoever asks for a change may be gone when it is out: its connection has ended, or its time is over.
#[tokio::test]
async fn who_watches_hears_of_a_change_that_nobody_waits_for_any_more() {
    let (log, mut begun, end) = gated_log();
    let (engine, stopper) = start(log, MemoryView::new());
    let heard = Arc::<Heard>::default();
    engine.set_statuses(Arc::clone(&heard) as _);
    let change = |change: Change| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.change(caller("alice"), &room("room"), change).await })
    };
    let block = || {
        let engine = engine.clone();
        tokio::spawn(async move { engine.block(caller("alice"), user("bob"), true).await })
    };
    let rename = || Change::Rename { title: "title".to_owned() };
    let ban = || Change::Ban { user: user("eve"), until_ms: u64::MAX };
    let asks: [(&dyn Fn() -> Asked, &str); 5] = [
        (&|| change(create(&["bob", "eve"])), "members of room"),
        (&|| change(ban()), "members of room"),
        (&block, "blocks of bob"),
        (&|| change(rename()), ""),
        (&|| change(remove("bob")), "members of room"),
    ];
    for (ask, expected) in asks {
        let asked = ask();
        begun = begins(begun).await;
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        assert!(heard.0.lock().is_empty(), "it is not durable");
        end.send(Ok(())).unwrap();
        let is_told = async {
            while heard.0.lock().concat() != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, is_told).await.expect(expected);
        heard.0.lock().clear();
    }
    drop(end);
    stop(engine, stopper).await.unwrap();
}

/// While a group is flushed, a removal and a publish that was let through before it gather behind it, in one
/// group.
#[tokio::test]
async fn a_publish_behind_a_removal_that_is_not_durable_yet_is_refused() {
    let (log, begun, end) = gated_log();
    let (engine, stopper) = start(log, MemoryView::new());
    let setup = tokio::spawn({
        let engine = engine.clone();
        async move { engine.change(caller("alice"), &room("room"), create(&["bob"])).await }
    });
    let begun = begins(begun).await;
    end.send(Ok(())).unwrap();
    setup.await.unwrap().unwrap();
    let (alice, bob) = (publisher(&engine, "alice").await, publisher(&engine, "bob").await);

    publish(&engine, &alice, 1).await;
    let begun = begins(begun).await;
    publish(&engine, &bob, 1).await;
    let the_room = room("room");
    let mut removal = Box::pin(engine.change(caller("alice"), &the_room, remove("bob")));
    // Up to the queue, where the channel keeps the order in which they came.
    while engine.inner.queue.capacity() + 2 > engine.inner.queue.max_capacity() {
        tokio::select! {
            biased;
            _ = &mut removal => panic!("nothing is durable"),
            () = tokio::task::yield_now() => {}
        }
    }
    publish(&engine, &bob, 2).await;
    publish(&engine, &alice, 2).await;
    end.send(Ok(())).unwrap();
    assert_eq!(outcome(&alice).await.result.unwrap().seq, Seq(4));
    let _begun = begins(begun).await;
    assert!(
        engine
            .access(&room("room"), &user("bob"))
            .await
            .unwrap()
            .with_state(|state| state.unwrap().present(&user("bob")).is_some()),
        "the removal is not out"
    );
    end.send(Ok(())).unwrap();
    let done = removal.await.unwrap();
    assert_eq!(done.seq, Seq(6), "behind the message that came before it");
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        bob.mailbox.woken().await;
        bob.mailbox.take(&mut outcomes);
    }
    outcomes.sort_by_key(|outcome| outcome.n);
    assert_eq!(outcomes[0].result.unwrap().seq, Seq(5));
    assert_eq!(outcomes[1].result.map_err(NotStored::code), Err(Code::FORBIDDEN));
    assert_eq!(outcome(&alice).await.result.unwrap().seq, Seq(7));
    drop((alice, bob, end));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn what_was_changed_is_loaded_as_it_was() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let (engine, stopper) = start(hooked_log(log.clone(), |_| Ok(())), view.clone());
    engine.change(caller("alice"), &room("room"), create(&["bob", "carol"])).await.unwrap();
    engine.change(caller("alice"), &room("room"), remove("bob")).await.unwrap();
    engine.block(caller("alice"), user("bob"), true).await.unwrap();
    let state = engine.with_state(&room("room"), |state| state.cloned()).await.unwrap();
    // As after a crash, which closes no log.
    engine.applied_bounds(&room("room"), Keeping::default()).await.unwrap();
    drop((engine, stopper));
    let (engine, stopper) = start(log, view);
    assert_eq!(engine.with_state(&room("room"), |state| state.cloned()).await.unwrap(), state);
    assert_eq!(engine.blocked_by(&user("alice")).await.unwrap(), [user("bob")]);
    let conversations = async |name: &str| engine.conversations_of(&user(name), None, 10).await.unwrap();
    assert_eq!(conversations("carol").await, (vec![room("room")], false));
    assert_eq!(conversations("bob").await, (vec![], false));
    // Nor does the name become free, or a seq come twice.
    let taken = engine.change(caller("eve"), &room("room"), create(&[])).await.unwrap_err();
    assert_eq!(taken.code, Code::ALREADY_EXISTS);
    let done = engine.change(caller("carol"), &room("room"), Change::Leave).await.unwrap();
    assert_eq!(done.seq, state.unwrap().version().next());
    let operator = Caller::Operator(user("operator"));
    let invited = Change::SetMember {
        user: user("dora"),
        role: quoth_protocol::membership::Role::Member,
        permissions: None,
    };
    engine.change(operator, &room("room"), invited).await.unwrap();
    assert_eq!(conversations("dora").await.0, [room("room")]);
    stop(engine, stopper).await.unwrap();
}

/// An access of before a direct conversation began knows nobody who could block, and hears of no block.
#[tokio::test]
async fn who_was_there_before_a_direct_conversation_began_comes_again() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let name = ConversationName::direct(&user("alice"), &user("bob"));
    let before = engine.access(&name, &user("alice")).await.unwrap();
    let direct = Change::Create {
        kind: ConversationKind::Direct,
        title: String::new(),
        members: vec![user("bob")],
        open: false,
    };
    engine.change(caller("alice"), &name, direct).await.unwrap();
    engine.block(caller("bob"), user("alice"), true).await.unwrap();
    let grant = Grant::of_membership(user("alice"));
    let may = |access: &Access| {
        access.stand(Actor::User(&grant)).standing.allows(Actor::User(&grant), Action::Publish, 0).is_ok()
    };
    let again = engine.access(&name, &user("alice")).await.unwrap();
    assert!(!may(&again) && !may(&before));
    // What was let through before, by whatever version, is judged by what is sequenced.
    let publisher = Publisher::new(before, Role::User, user("alice"), ProducerId(1), Mailbox::of_anybody());
    assert!(super::world::publish(&engine, &publisher, 1).await);
    assert_eq!(outcome(&publisher).await.result.map_err(NotStored::code), Err(Code::FORBIDDEN));
    engine.block(caller("bob"), user("alice"), false).await.unwrap();
    assert!(may(&again));
    drop((publisher, again));
    stop(engine, stopper).await.unwrap();
}

/// Whoever finds an event in the tail and looks at the state behind that finds one that has it. The other way
/// round a stream would give its user what lies behind the user's leave.
#[tokio::test]
async fn states_are_out_before_their_events_are() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    engine.change(caller("alice"), &room("room"), create(&[])).await.unwrap();
    let access = engine.access(&room("room"), &user("alice")).await.unwrap();
    let looks = std::thread::spawn({
        let engine = engine.clone();
        move || {
            let (name, mut cursor, mut frames) = (room("room"), Seq(2), Vec::new());
            while cursor < Seq(2 + CHANGES) {
                let next = engine.read_tail(&name, wanted(cursor), &mut frames);
                let version = access.version();
                if let Next::Frames(reached) = next {
                    assert!(version >= reached.0, "event {reached} is out, and the state is at {version}");
                    cursor = reached;
                }
            }
        }
    });
    for n in 0..CHANGES {
        let rename = Change::Rename { title: format!("title {n}") };
        engine.change(caller("alice"), &room("room"), rename).await.unwrap();
    }
    tokio::task::spawn_blocking(|| looks.join().unwrap()).await.unwrap();
    stop(engine, stopper).await.unwrap();
}

const CHANGES: u64 = 500;

/// In the name of somebody else, by this role.
async fn publish_as(engine: &Engine, publisher: &Arc<Publisher>, n: u64, sender: &str) {
    let (by, sender) = (publisher.producer.user.clone(), user(sender));
    let grant = Grant::of_membership(by);
    let actor = match publisher.role {
        Role::User => Actor::User(&grant),
        Role::Operator => Actor::Operator { sender: &grant.user },
    };
    let stand = publisher.access.stand(actor);
    let append = Append { n, sender, origin_time_ms: None, body: "text".into(), about: About::default() };
    assert!(engine.publish(publisher, append, &stand).await);
    outcome(publisher).await.result.unwrap();
}

#[tokio::test]
async fn what_is_published_in_somebodys_name_takes_nobodys_turn_in_slow_mode() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let (engine, stopper) = start(log.clone(), view.clone());
    let slow = Change::SlowMode { interval_ms: 600_000 };
    engine.change(caller("alice"), &room("room"), create(&["bob", "carol", "dave", "bridge"])).await.unwrap();
    engine.change(caller("alice"), &room("room"), slow).await.unwrap();
    let access = engine.access(&room("room"), &user("shop")).await.unwrap();
    let backend = Publisher::new(access, Role::Operator, user("shop"), ProducerId(1), Mailbox::of_anybody());
    let bridge = publisher(&engine, "bridge").await;
    for (n, sender) in [(1, "bob"), (2, "bob"), (3, "carol")] {
        publish_as(&engine, &backend, n, sender).await;
    }
    for n in 1..=2 {
        publish_as(&engine, &bridge, n, "dave").await;
    }
    for name in ["bob", "dave", "bridge"] {
        let own = publisher(&engine, name).await;
        publish(&engine, &own, 10).await;
        outcome(&own).await.result.unwrap();
    }
    publish_as(&engine, &backend, 4, "bob").await;
    drop((backend, bridge));
    stop(engine, stopper).await.unwrap();
    // Of what is read from the store a backend's is known as such.
    let (engine, stopper) = start(log.reopen(), view);
    let (bob, carol) = (publisher(&engine, "bob").await, publisher(&engine, "carol").await);
    publish(&engine, &carol, 10).await;
    outcome(&carol).await.result.unwrap();
    publish(&engine, &bob, 11).await;
    let NotStored::Refused(refusal) = outcome(&bob).await.result.unwrap_err() else { panic!("not refused") };
    assert_eq!(refusal.code, Code::SLOW_MODE, "bob has written as well");
    drop((bob, carol));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn slow_mode_goes_on_behind_a_restart() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let (engine, stopper) = start(log.clone(), view.clone());
    let slow = Change::SlowMode { interval_ms: 600_000 };
    engine.change(caller("alice"), &room("room"), create(&["bob", "carol"])).await.unwrap();
    engine.change(caller("alice"), &room("room"), slow).await.unwrap();
    let bob = publisher(&engine, "bob").await;
    publish(&engine, &bob, 1).await;
    outcome(&bob).await.result.unwrap();
    drop(bob);
    stop(engine, stopper).await.unwrap();
    let (engine, stopper) = start(log.reopen(), view);
    let (bob, carol) = (publisher(&engine, "bob").await, publisher(&engine, "carol").await);
    publish(&engine, &bob, 2).await;
    let NotStored::Refused(refusal) = outcome(&bob).await.result.unwrap_err() else { panic!("not refused") };
    assert_eq!(refusal.code, Code::SLOW_MODE);
    assert!((500_000..=600_000).contains(&refusal.retry_after_ms), "{}", refusal.retry_after_ms);
    publish(&engine, &carol, 1).await;
    outcome(&carol).await.result.unwrap();
    drop((bob, carol));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn in_slow_mode_a_member_edits_once_in_an_interval() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    // What is written in the millisecond of the start may be of before.
    let started_ms = engine.now_ms();
    while engine.now_ms() <= started_ms {
        tokio::task::yield_now().await;
    }
    let slow = Change::SlowMode { interval_ms: 600_000 };
    engine.change(caller("alice"), &room("room"), create(&["bob"])).await.unwrap();
    let (alice, bob) = (publisher(&engine, "alice").await, publisher(&engine, "bob").await);
    for author in [&alice, &bob] {
        publish(&engine, author, 1).await;
        outcome(author).await.result.unwrap();
    }
    engine.change(caller("alice"), &room("room"), slow).await.unwrap();
    let alter = async |who: &str, seq: u64, what| {
        let done = engine.alter(caller(who), &room("room"), Seq(seq), what).await;
        done.map(|done| done.seq > Seq::ZERO).map_err(|refusal| refusal.code)
    };
    let edit =
        |text: &'static str| Alteration::Edit { body: Bytes::from_static(text.as_bytes()), mentions: vec![] };
    let react = |on| Alteration::React { reaction: "+1".to_owned(), on };
    assert_eq!(alter("bob", 5, edit("put right")).await, Ok(true));
    assert_eq!(alter("bob", 5, edit("put right")).await, Ok(false), "the same again is none more");
    assert_eq!(alter("bob", 5, edit("the next thing")).await, Err(Code::SLOW_MODE));
    for text in ["who moderates", "speaks"] {
        assert_eq!(alter("alice", 4, edit(text)).await, Ok(true));
    }
    assert_eq!([alter("bob", 4, react(true)).await, alter("bob", 4, react(false)).await], [Ok(true); 2]);
    // Messages have their own.
    publish(&engine, &bob, 2).await;
    outcome(&bob).await.result.unwrap();
    drop((alice, bob));
    stop(engine, stopper).await.unwrap();
}
