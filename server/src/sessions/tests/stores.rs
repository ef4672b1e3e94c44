//! Stores that stand still or are full: nobody waits for them, and nothing is lost that they take later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quoth_core::revocation::{Extent, InForce, Revoked};
use quoth_protocol::ConversationName;
use quoth_protocol::presence::Status;
use quoth_store::Register;

use super::{EVER, Memory, SetClock, SlowAtFirst, clocks, hello, identity, until, user};
use crate::engine::Clock as _;
use crate::sessions::keep::{Kept, Registers};
use crate::sessions::{Keep, Sessions, SessionsConfig, alive, devices};

#[tokio::test]
async fn a_store_that_stands_still_while_a_revocation_ends_holds_nobody_up() {
    let (slow, clock) = (Arc::<SlowAtFirst>::default(), Arc::new(SetClock(1.into())));
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&slow) as _, clocks(&clock));
    let token = Revoked::Token { id: "t".to_owned() };
    let in_force = InForce { extent: Extent { over_ms: 100, ..EVER }, reason: "".into() };
    sessions.restore(&[(token, vec![in_force])], &[]);
    clock.0.store(200, Ordering::Relaxed);
    sessions.0.revoked.notify_one();
    until(|| slow.calls.load(Ordering::Relaxed) == 1).await;
    // The store has not answered, and who does not come back is offline all the same.
    let alice = sessions.sign_in(&identity("alice", None, 0), &hello("phone", 0), None, 200).unwrap();
    let mut observed = sessions.observe();
    drop(alice);
    clock.0.store(9_000, Ordering::Relaxed);
    sessions.0.sooner.notify_one();
    let told = tokio::time::timeout(Duration::from_secs(30), observed.recv()).await;
    assert_eq!(told.expect("it does not wait for the store"), Some(user("alice")));
    slow.goes_on.notify_one();
}

/// A store that is full for as long as it is told so, and counts its reads.
#[derive(Debug, Default)]
struct Full {
    memory: Memory,
    is_full: AtomicBool,
    reads: AtomicU64,
}

impl Keep for Full {
    fn keep(&self, of: ConversationName, registers: Vec<Register>) -> Kept<'_, ()> {
        self.keep_all(vec![(of, registers)])
    }

    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        if self.is_full.load(Ordering::Relaxed) {
            return Box::pin(async { Err("the disk is full".to_owned()) });
        }
        self.memory.keep_all(notes)
    }

    fn load(
        &self,
        of: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.memory.load(of, prefix, after, limit)
    }

    fn load_each(
        &self,
        of: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Kept<'_, Vec<Registers>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.memory.load_each(of, prefix, limit)
    }
}

#[tokio::test]
async fn who_has_gone_while_the_disk_was_full_was_last_seen_then() {
    let (full, clock) = (Arc::<Full>::default(), Arc::new(SetClock(1_000.into())));
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&full) as _, clocks(&clock));
    let come = |id: &str| sessions.sign_in(&identity(id, None, 0), &hello("phone", 0), None, clock.unix_ms());
    let (alice, _bob) = (come("alice").unwrap(), come("bob").unwrap());
    devices::store(&sessions.0).await;
    full.is_full.store(true, Ordering::Relaxed);
    clock.0.store(20_000, Ordering::Relaxed);
    drop(alice);
    devices::store(&sessions.0).await;
    // Others are there, and it is stored that the server is.
    full.is_full.store(false, Ordering::Relaxed);
    clock.0.store(90_000, Ordering::Relaxed);
    alive::beat(&sessions.0).await;
    sessions.0.sooner.notify_one();
    until(|| sessions.0.state.lock().presence.of(&user("alice"), 90_000).is_none()).await;
    let alice = user("alice");
    assert_eq!(sessions.status(&alice).await, (Status::Offline, 20_000));
    let seen: Vec<u64> = sessions.session_infos(&alice).await.iter().map(|info| info.last_seen_ms).collect();
    assert_eq!(seen, [20_000]);
    // It is tried again by itself.
    sessions.0.went.notify_one();
    until(|| sessions.0.state.lock().visits.of(&alice).is_empty()).await;
    assert_eq!(sessions.status(&alice).await, (Status::Offline, 20_000), "it is stored");
}

#[tokio::test]
async fn who_of_many_is_there_is_one_read() {
    let (full, clock) = (Arc::<Full>::default(), Arc::new(SetClock(1_000.into())));
    let config = SessionsConfig { leave_ms: 0, ..SessionsConfig::default() };
    let sessions = Sessions::start(config, Arc::clone(&full) as _, clocks(&clock));
    let come = |id: &str| sessions.sign_in(&identity(id, None, 0), &hello("phone", 0), None, clock.unix_ms());
    let (bob, _carol) = (come("bob").unwrap(), come("carol").unwrap());
    drop(bob);
    devices::store(&sessions.0).await;
    clock.0.store(2_000, Ordering::Relaxed);
    drop(come("dave").unwrap());
    sessions.0.sooner.notify_one();
    until(|| sessions.counts().users == 1 && sessions.0.state.lock().presence.users() == 1).await;
    let ids = ["alice", "bob", "carol", "dave", "eve"].map(user);
    clock.0.store(3_000, Ordering::Relaxed);
    let before = full.reads.load(Ordering::Relaxed);
    let statuses = sessions.statuses_of(&ids.each_ref()).await;
    let offline = |last_seen_ms| (Status::Offline, last_seen_ms);
    let expected = [offline(0), offline(1_000), (Status::Online, 3_000), offline(2_000), offline(0)];
    assert_eq!(statuses, expected, "in their order");
    assert_eq!(full.reads.load(Ordering::Relaxed) - before, 1);
}

/// A store that answers nothing before it is told to, and counts its writes.
#[derive(Debug, Default)]
struct Slow {
    memory: Memory,
    loads: AtomicU64,
    writes: AtomicU64,
    goes_on: tokio::sync::Notify,
}

impl Keep for Slow {
    fn keep(&self, of: ConversationName, registers: Vec<Register>) -> Kept<'_, ()> {
        self.keep_all(vec![(of, registers)])
    }

    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.memory.keep_all(notes)
    }

    fn load(
        &self,
        of: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            self.goes_on.notified().await;
            self.memory.load(of, prefix, after, limit).await
        })
    }

    fn load_each(
        &self,
        of: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Kept<'_, Vec<Registers>> {
        self.memory.load_each(of, prefix, limit)
    }
}

#[tokio::test]
async fn a_slow_store_holds_nothing_up_and_is_written_to_once() {
    const USERS: u64 = 20;
    let (slow, clock) = (Arc::<Slow>::default(), Arc::new(SetClock(1.into())));
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&slow) as _, clocks(&clock));
    let mut observed = sessions.observe();
    let come =
        |n: u64| sessions.sign_in(&identity(&format!("user {n}"), None, 0), &hello("phone", 0), None, 0);
    let live: Vec<_> = (0..USERS).map(|n| come(n).unwrap()).collect();
    drop(live);
    clock.0.store(2_000, Ordering::Relaxed);
    sessions.0.went.notify_one();
    until(|| slow.loads.load(Ordering::Relaxed) == USERS).await;
    // The store has not answered, and users who do not come back are offline all the same.
    clock.0.store(9_000, Ordering::Relaxed);
    sessions.0.sooner.notify_one();
    let told = async {
        for _ in 0..2 * USERS {
            observed.recv().await.expect("who has come and gone");
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it does not wait for the store");
    assert_eq!(sessions.0.state.lock().visits.of(&user("user 7")).len(), 1, "it is known meanwhile");
    let goes_on = async {
        while slow.writes.load(Ordering::Relaxed) == 0 {
            slow.goes_on.notify_waiters();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), goes_on).await.expect("it stores");
    assert_eq!(slow.writes.load(Ordering::Relaxed), 1);
    assert_eq!(slow.memory.0.lock().len(), 20);
}
