//! The machine's clock is set back: who is there goes by the judged time, and tokens by the machine's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quoth_core::revocation::{Extent, Revoked};
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName};

use super::{EVER, Memory, PATIENCE, SetClock, World, come, told, until, user, world_at};
use crate::engine::Clock as _;
use crate::sessions::attendance::Members;
use crate::sessions::{Attendance, Clocks, Sessions, SessionsConfig, Told};

/// The judged time's, and a world whose clock is the machine's.
fn set_back(judged_ms: u64, machine_ms: u64) -> (Arc<SetClock>, World) {
    let [judged, clock] = [judged_ms, machine_ms].map(|ms| Arc::new(SetClock(ms.into())));
    let memory = Arc::<Memory>::default();
    let clocks = Clocks { machine: Arc::clone(&clock) as _, judged: Arc::clone(&judged) as _ };
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&memory) as _, clocks);
    (judged, World { sessions, memory, clock })
}

#[tokio::test]
async fn who_goes_is_told_as_gone_when_the_clock_was_set_back() {
    let (judged, world) = set_back(100_000, 100_000);
    let alice = come(&world, "alice", "phone", None).unwrap();
    let mut observed = world.sessions.observe();
    world.clock.0.store(1_000, Ordering::Relaxed);
    judged.0.store(101_000, Ordering::Relaxed);
    drop(alice);
    judged.0.store(106_000, Ordering::Relaxed);
    world.sessions.0.sooner.notify_one();
    let seen = tokio::time::timeout(PATIENCE, observed.recv()).await;
    assert_eq!(seen.expect("it does not wait until the clock has caught up"), Some(user("alice")));
    assert_eq!(world.sessions.status(&user("alice")).await, (Status::Offline, 101_000));
}

/// A block is dated by the judged time.
#[tokio::test]
async fn who_wants_nothing_of_a_watcher_goes_when_the_clock_was_set_back() {
    let (judged, world) = set_back(100_000, 1_000);
    let [alice, _bob] = ["alice", "bob"].map(|id| come(&world, id, "phone", None).unwrap());
    let unseen = HashMap::from([(user("bob"), 100_000)]);
    let (watcher, room) = (alice.watcher(), ConversationName::new("room").unwrap());
    watcher.look(&room).unwrap().found(Members { unseen, ..Members::default() }).unwrap();
    let told = async |alice: &Attendance| {
        let next = async {
            loop {
                if let Told::Presence(seen) = alice.told(true).await {
                    return seen.into_iter().map(|seen| (seen.status, seen.last_seen_ms)).collect::<Vec<_>>();
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("alice is told")
    };
    assert_eq!(told(&alice).await, [(Status::Online, 100_000)]);
    judged.0.store(105_000, Ordering::Relaxed);
    world.sessions.0.sooner.notify_one();
    assert_eq!(told(&alice).await, [(Status::Offline, 100_000)]);
}

/// Otherwise a token would come back that its issuer takes for good still.
#[tokio::test]
async fn a_revocation_is_kept_until_its_token_has_ended_by_the_clock_that_tokens_go_by() {
    let (_judged, world) = set_back(100_000, 1_000);
    let extent = Extent { over_ms: 50_000, ..EVER };
    let token = Revoked::Token { id: "lost".to_owned() };
    world.sessions.revoke(&token, extent, "", world.clock.unix_ms()).await.unwrap();
    let other = Revoked::Token { id: "over".to_owned() };
    world.sessions.revoke(&other, Extent { over_ms: 900, ..EVER }, "", 800).await.unwrap();
    world.sessions.0.revoked.notify_one();
    until(|| world.sessions.counts().revocations == 1).await;
    assert_eq!(come(&world, "alice", "phone", Some("lost")).err(), Some(Code::TOKEN_REVOKED));
    let alice = come(&world, "alice", "phone", Some("good")).unwrap();
    assert_eq!(told(&alice), None);
    world.clock.0.store(50_000, Ordering::Relaxed);
    assert!(come(&world, "alice", "laptop", Some("lost")).is_ok(), "its token has ended");
}

/// Those who go later would wait behind who has gone by a clock that was far ahead.
#[tokio::test]
async fn who_went_by_a_clock_that_was_years_ahead_has_gone_when_it_is_mended() {
    const AHEAD_MS: u64 = 2 * 365 * 24 * 3_600 * 1_000;
    let world = world_at(AHEAD_MS);
    let inner = &world.sessions.0;
    let [phone, laptop] = ["phone", "laptop"].map(|on| come(&world, "alice", on, None).unwrap());
    world.clock.0.fetch_add(1_000, Ordering::Relaxed);
    inner.went.notify_one();
    until(|| inner.state.lock().visits.of(&user("alice")).is_empty()).await;
    drop(phone);
    world.clock.0.store(1_000, Ordering::Relaxed);
    inner.sooner.notify_one();
    until(|| inner.state.lock().presence.due_ms() == Some(6_000)).await;
    drop(laptop);
    world.clock.0.store(6_000, Ordering::Relaxed);
    inner.sooner.notify_one();
    inner.went.notify_one();
    until(|| inner.state.lock().presence.users() == 0).await;
    until(|| inner.state.lock().visits.of(&user("alice")).is_empty()).await;
}
