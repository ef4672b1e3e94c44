//! Connections come and go, against a store in memory.

mod clocks;
mod stores;
mod watching;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::authorize::Grant;
use quoth_core::login::Policy;
use quoth_core::revocation::{Extent, InForce, Revoked};
use quoth_core::session::Identity;
use quoth_protocol::frame::{Hello, VERSION};
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, DeviceId, UserId};
use quoth_store::Register;

use super::keep::{Kept, Registers};
use super::revoked::{PREFIX, decode};
use super::{
    Attendance, Clocks, Expected, Keep, Revocation, RevokeError, Sessions, SessionsConfig, Told, alive,
    devices,
};
use crate::engine::Clock;

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

const EVER: Extent = Extent { issued_before_ms: u64::MAX, over_ms: u64::MAX };

#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<(String, Bytes), Bytes>>);

impl Keep for Memory {
    fn keep(&self, conversation: ConversationName, registers: Vec<Register>) -> Kept<'_, ()> {
        let mut held = self.0.lock();
        for Register { key, value } in registers {
            let key = (conversation.to_string(), key);
            match value {
                Some(value) => held.insert(key, value),
                None => held.remove(&key),
            };
        }
        Box::pin(async { Ok(()) })
    }

    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        let _kept: Vec<_> = notes.into_iter().map(|(of, registers)| self.keep(of, registers)).collect();
        Box::pin(async { Ok(()) })
    }

    fn load(
        &self,
        of: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers> {
        let held = self.0.lock();
        let found = held
            .iter()
            .filter(|((conversation, key), _)| *conversation == *of.as_str() && key.starts_with(prefix))
            .filter(|((_, key), _)| after.as_ref().is_none_or(|after| key > after));
        let found = found.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect();
        Box::pin(async { Ok(found) })
    }

    fn load_each(
        &self,
        of: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Kept<'_, Vec<Registers>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for of in of {
                found.push(self.load(of, prefix, None, limit).await?);
            }
            Ok(found)
        })
    }
}

/// A memory whose first write is slow, and its next read when that is wanted.
#[derive(Debug, Default)]
struct SlowAtFirst {
    memory: Memory,
    calls: AtomicU64,
    is_read_slow: AtomicBool,
    goes_on: tokio::sync::Notify,
}

impl Keep for SlowAtFirst {
    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        self.memory.keep_all(notes)
    }

    fn keep(&self, conversation: ConversationName, registers: Vec<Register>) -> Kept<'_, ()> {
        let is_first = self.calls.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            if is_first {
                self.goes_on.notified().await;
            }
            self.memory.keep(conversation, registers).await
        })
    }

    fn load(
        &self,
        of: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers> {
        let is_slow = self.is_read_slow.swap(false, Ordering::Relaxed);
        let read = self.memory.load(of, prefix, after, limit);
        Box::pin(async move {
            if is_slow {
                self.goes_on.notified().await;
            }
            read.await
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

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        self.unix_ms()
    }
}

/// One that was never set back.
fn clocks(clock: &Arc<SetClock>) -> Clocks {
    Clocks { machine: Arc::clone(clock) as _, judged: Arc::clone(clock) as _ }
}

struct World {
    sessions: Sessions,
    memory: Arc<Memory>,
    clock: Arc<SetClock>,
}

fn world(config: SessionsConfig) -> World {
    world_with(config, Arc::default())
}

fn world_at(now_ms: u64) -> World {
    let (clock, memory) = (Arc::new(SetClock(now_ms.into())), Arc::<Memory>::default());
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&memory) as _, clocks(&clock));
    World { sessions, memory, clock }
}

fn world_with(config: SessionsConfig, memory: Arc<Memory>) -> World {
    let clock = Arc::<SetClock>::default();
    let sessions = Sessions::start(config, Arc::clone(&memory) as _, clocks(&clock));
    World { sessions, memory, clock }
}

/// Waits for what another task does.
async fn until(mut is_done: impl FnMut() -> bool) {
    let waits = async {
        while !is_done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it is done");
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn identity(id: &str, token_id: Option<&str>, issued_ms: u64) -> Identity {
    let grant = Grant { user: user(id), read: None, write: None, publish_as: vec![], names_freely: false };
    let token_id = token_id.map(ToOwned::to_owned);
    Identity { grant: Arc::new(grant), expires_ms: u64::MAX, issued_ms, token_id, device: None }
}

fn hello(on: &str, generation: u64) -> Hello {
    Hello {
        version: VERSION,
        features: 0,
        token: String::new(),
        device: device(on),
        generation,
        platform: "linux".to_owned(),
        client: String::new(),
    }
}

fn come(world: &World, id: &str, on: &str, token_id: Option<&str>) -> Result<Attendance, Code> {
    let now_ms = world.clock.unix_ms();
    let came = world.sessions.sign_in(&identity(id, token_id, 100), &hello(on, 0), None, now_ms);
    came.map_err(|refused| refused.goodbye.code)
}

/// The code with which a connection is told to end, if it is.
fn told(attendance: &Attendance) -> Option<Code> {
    match attendance.mailbox.take(true) {
        Some(Told::Goodbye(goodbye)) => Some(goodbye.code),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_revoked_ends_at_once_and_does_not_come_back() {
    let of_user = |id: &str, on: Option<&str>| Revoked::User { user: user(id), device: on.map(device) };
    let cases = [
        (of_user("alice", None), EVER, ["alice phone", "alice laptop"].as_slice()),
        (of_user("alice", Some("phone")), EVER, &["alice phone"]),
        (of_user("alice", None), Extent { issued_before_ms: 101, ..EVER }, &["alice phone", "alice laptop"]),
        (of_user("alice", None), Extent { issued_before_ms: 100, ..EVER }, &[]),
        (Revoked::Token { id: "t bob phone".to_owned() }, EVER, &["bob phone"]),
    ];
    for (revoked, extent, expected) in cases {
        let world = world(SessionsConfig::default());
        let all = ["alice phone", "alice laptop", "bob phone"];
        let come = |world: &World, which: &str| {
            let (id, on) = which.split_once(' ').unwrap();
            come(world, id, on, Some(&format!("t {which}")))
        };
        let live: Vec<(&str, Attendance)> =
            all.iter().map(|which| (*which, come(&world, which).unwrap())).collect();
        let made = world.sessions.revoke(&revoked, extent, "lost", 0).await.unwrap();
        let in_force = vec![InForce { extent, reason: "lost".into() }];
        let expected_made = Revocation { closed: expected.len(), in_force, covered_by: None };
        assert_eq!(made, expected_made, "{revoked:?}");
        let ended: HashSet<&str> = live
            .iter()
            .filter(|(_, live)| told(live) == Some(Code::TOKEN_REVOKED))
            .map(|(which, _)| *which)
            .collect();
        assert_eq!(ended, expected.iter().copied().collect(), "{revoked:?}");
        // After a restart too.
        let again = world_with(SessionsConfig::default(), Arc::clone(&world.memory));
        let registers =
            world.memory.load(ConversationName::server(), PREFIX, None, usize::MAX).await.unwrap();
        let kept: Vec<_> = registers.iter().map(|(key, value)| decode(key, value).unwrap()).collect();
        again.sessions.restore(&kept, &[]);
        for world in [&world, &again] {
            for which in all {
                let refused = come(world, which).err();
                let expected = expected.contains(&which).then_some(Code::TOKEN_REVOKED);
                assert_eq!(refused, expected, "{which} and {revoked:?}");
            }
        }
        assert!(world.sessions.lift(&revoked).await.unwrap());
        assert!(
            world.memory.load(ConversationName::server(), PREFIX, None, usize::MAX).await.unwrap().is_empty()
        );
        assert!(all.iter().all(|which| come(&world, which).is_ok()));
    }
}

/// Those who come in the seconds for which the issuer's clock may be ahead are told how long that is yet.
#[tokio::test]
async fn who_is_logged_out_is_told_when_a_new_token_is_good() {
    let world = world(SessionsConfig::default());
    let attendance = come(&world, "alice", "phone", None).unwrap();
    let of_alice = Revoked::User { user: user("alice"), device: None };
    let until = |issued_before_ms| Extent { issued_before_ms, ..EVER };
    world.sessions.revoke(&of_alice, until(30_000), "", 0).await.unwrap();
    let retry_after_ms = |now_ms: u64| {
        let refused = attendance.refresh(&identity("alice", None, 7), now_ms).unwrap_err();
        assert_eq!(refused.code, Code::TOKEN_REVOKED);
        refused.retry_after_ms
    };
    assert_eq!([0, 10_000, 30_000, 40_000].map(retry_after_ms), [30_000, 20_000, 0, 0]);
    attendance.refresh(&identity("alice", None, 30_000), 30_000).unwrap();
    // Who is shut out is not told to come again.
    world.sessions.revoke(&of_alice, EVER, "", 0).await.unwrap();
    assert_eq!(retry_after_ms(10_000), 0);
    // A weaker one changes nothing, and says so.
    let ever = InForce { extent: EVER, reason: "".into() };
    let covered = Revocation { closed: 0, in_force: vec![ever.clone()], covered_by: Some(ever) };
    assert_eq!(world.sessions.revoke(&of_alice, until(40_000), "", 0).await.unwrap(), covered);
    assert_eq!(retry_after_ms(50_000), 0);
}

#[tokio::test]
async fn a_revoked_token_is_no_new_one() {
    let world = world(SessionsConfig { revocations_max: 1, ..SessionsConfig::default() });
    let attendance = come(&world, "alice", "phone", Some("first")).unwrap();
    let token = |id: &str| Revoked::Token { id: id.to_owned() };
    world.sessions.revoke(&token("second"), EVER, "", 0).await.unwrap();
    let refused = attendance.refresh(&identity("alice", Some("second"), 0), 0);
    assert_eq!(refused.unwrap_err().code, Code::TOKEN_REVOKED);
    attendance.refresh(&identity("alice", Some("third"), 0), 0).unwrap();
    let full = world.sessions.revoke(&token("third"), EVER, "", 0).await;
    assert!(matches!(full, Err(RevokeError::TooMany(_))));
    assert!(told(&attendance).is_none());
    world.sessions.lift(&token("second")).await.unwrap();
    world.sessions.revoke(&token("third"), EVER, "", 0).await.unwrap();
    assert_eq!(told(&attendance), Some(Code::TOKEN_REVOKED), "the connection's token is the new one");
}

#[tokio::test]
async fn what_is_revoked_no_more_is_not_listed() {
    let world = world(SessionsConfig::default());
    for (id, over_ms) in [("short", 1_000), ("long", 2_000)] {
        let extent = Extent { over_ms, ..EVER };
        world.sessions.revoke(&Revoked::Token { id: id.to_owned() }, extent, "lost", 0).await.unwrap();
    }
    for (now_ms, expected) in [(999, 2), (1_000, 1), (2_000, 0)] {
        let (listed, next) = world.sessions.revocations(None, 9, now_ms).await.unwrap();
        assert_eq!((listed.len(), next), (expected, None), "{now_ms}");
        assert!(listed.iter().all(|(_, in_force)| &*in_force.reason == "lost"));
    }
}

/// Of one thing several may be in force, so a page may end among them.
#[tokio::test]
async fn pages_of_any_size_list_each_revocation_once() {
    let world = world(SessionsConfig::default());
    let (alice, bob) = (user("alice"), user("bob"));
    let of_phone = Revoked::User { user: alice.clone(), device: Some(device("phone")) };
    let of = |user| Revoked::User { user, device: None };
    let things = [of_phone, Revoked::Token { id: "t".to_owned() }, of(alice), of(bob)];
    let mut expected = Vec::new();
    for (revoked, count) in things.into_iter().zip([1, 1, 3, 2]) {
        for n in 1..=count {
            let extent = Extent { issued_before_ms: u64::MAX - n, over_ms: 1_000 * n };
            let reason = format!("{n} of {count}");
            let made = world.sessions.revoke(&revoked, extent, &reason, 0).await.unwrap();
            assert_eq!(made.in_force.len(), usize::try_from(n).unwrap());
            expected.insert(expected.len() + 1 - made.in_force.len(), (revoked.clone(), reason));
        }
    }
    assert_eq!(world.sessions.counts().revocations, expected.len());
    for (now_ms, expected) in [(0, expected.as_slice()), (2_000, &expected[2..3]), (3_000, &[])] {
        for limit in 1..=8 {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = world.sessions.revocations(after.as_ref(), limit, now_ms).await.unwrap();
                assert!(page.len() <= limit, "{page:?}");
                listed.extend(page.into_iter().map(|(revoked, one)| (revoked, one.reason.to_string())));
                let Some(next) = next else { break };
                after = Some(next.to_string().parse().unwrap());
            }
            assert_eq!(listed, expected, "{limit} at {now_ms}");
        }
    }
}

#[tokio::test]
async fn where_tokens_are_short_a_revocation_is_kept_no_longer_than_they_live() {
    let world = world(SessionsConfig { token_lifetime_max_ms: Some(1_000), ..SessionsConfig::default() });
    let revoked = Revoked::User { user: user("alice"), device: None };
    let before = Extent { issued_before_ms: 500, over_ms: u64::MAX };
    world.sessions.revoke(&revoked, before, "", 0).await.unwrap();
    assert_eq!(world.sessions.counts().revocations, 1);
    let over_ms = 500 + 1_000 + 30_000;
    assert!(come(&world, "alice", "phone", None).is_err());
    world.clock.0.store(over_ms, Ordering::Relaxed);
    world.sessions.0.revoked.notify_one();
    until(|| world.sessions.counts().revocations == 0 && world.memory.0.lock().is_empty()).await;
    assert!(come(&world, "alice", "phone", None).is_ok());
}

/// It is no more among those that are there, and was not yet among those that have gone.
#[tokio::test]
async fn a_device_that_goes_while_its_user_is_looked_up_is_not_left_out() {
    let (slow, clock) = (Arc::<SlowAtFirst>::default(), Arc::new(SetClock(1_000.into())));
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&slow) as _, clocks(&clock));
    let phone = sessions.sign_in(&identity("alice", None, 0), &hello("phone", 0), None, 1_000).unwrap();
    slow.is_read_slow.store(true, Ordering::Relaxed);
    let (of, reads) = (user("alice"), Arc::clone(&slow));
    let leaves = async move {
        until(|| !reads.is_read_slow.load(Ordering::Relaxed)).await;
        drop(phone);
        reads.goes_on.notify_one();
    };
    let (infos, ()) = tokio::join!(sessions.session_infos(&of), leaves);
    let seen: Vec<_> = infos.into_iter().map(|info| (info.device, info.last_seen_ms)).collect();
    assert_eq!(seen, [(device("phone"), 1_000)]);
    // Nor is one that is put out while its connection has not ended.
    let phone = sessions.sign_in(&identity("bob", None, 0), &hello("phone", 0), None, 1_000).unwrap();
    assert_eq!(sessions.kick(&user("bob"), None, ""), 1);
    let infos = sessions.session_infos(&user("bob")).await;
    assert_eq!(infos.into_iter().map(|info| info.device).collect::<Vec<_>>(), [device("phone")]);
    drop(phone);
}

#[tokio::test]
async fn a_device_is_remembered_when_it_goes() {
    let world = world(SessionsConfig::default());
    let (phone, laptop) =
        (come(&world, "alice", "phone", None).unwrap(), come(&world, "alice", "laptop", None).unwrap());
    world.clock.0.store(7_000, Ordering::Relaxed);
    drop(phone);
    world.clock.0.store(9_000, Ordering::Relaxed);
    let infos = |sessions: Sessions| async move {
        let infos = sessions.session_infos(&user("alice")).await;
        infos
            .into_iter()
            .map(|info| (info.device.to_string(), info.status, info.last_seen_ms))
            .collect::<Vec<_>>()
    };
    let expected =
        [("laptop".to_owned(), Status::Online, 9_000), ("phone".to_owned(), Status::Offline, 7_000)];
    assert_eq!(infos(world.sessions.clone()).await, expected, "before it is stored");
    world.clock.0.store(7_000, Ordering::Relaxed);
    drop(laptop);
    world.sessions.close().await;
    let again = world_with(SessionsConfig::default(), world.memory);
    let infos = infos(again.sessions.clone()).await;
    assert_eq!(infos.len(), 2);
    assert!(
        infos.iter().all(|(_, status, last_seen_ms)| (*status, *last_seen_ms) == (Status::Offline, 7_000))
    );
    assert_eq!(again.sessions.status(&user("alice")).await, (Status::Offline, 7_000));
    assert_eq!(again.sessions.status(&user("nobody")).await, (Status::Offline, 0));
}

#[tokio::test]
async fn what_waits_to_be_stored_is_stored_by_itself() {
    let world = world(SessionsConfig::default());
    drop(come(&world, "alice", "phone", None).unwrap());
    world.clock.0.store(2_000, Ordering::Relaxed);
    world.sessions.0.went.notify_one();
    until(|| !world.memory.0.lock().is_empty()).await;
    until(|| world.sessions.0.state.lock().visits.of(&user("alice")).is_empty()).await;
}

#[tokio::test]
async fn the_loser_is_told_and_counts_are_right() {
    let world = world(SessionsConfig { policy: Policy::OneDevice, ..SessionsConfig::default() });
    let phone = come(&world, "alice", "phone", None).unwrap();
    let laptop = come(&world, "alice", "laptop", None).unwrap();
    assert_eq!((told(&phone), told(&laptop)), (Some(Code::KICKED), None));
    drop(phone);
    assert_eq!(come(&world, "alice", "phone", None).err(), Some(Code::KICKED), "it may not have heard it");
    let mut refused =
        world.sessions.sign_in(&identity("alice", None, 0), &hello("phone", 0), None, 0).unwrap_err();
    let mut heard = refused.attendance.take().unwrap();
    heard.is_wanted();
    drop(heard);
    let again = world.sessions.sign_in(&identity("alice", None, 0), &hello("laptop", 0), None, 0).unwrap();
    assert_eq!((told(&laptop), told(&again)), (Some(Code::REPLACED), None));
    drop(laptop);
    let counts = world.sessions.counts();
    assert_eq!((counts.connections, counts.users), (1, 1));
    assert_eq!(world.sessions.kick(&user("alice"), Some(&device("phone")), ""), 0, "it is out");
    assert_eq!(world.sessions.kick(&user("alice"), None, "by us"), 1);
    assert_eq!(told(&again), Some(Code::KICKED));
}

#[tokio::test]
async fn what_is_stored_last_is_what_is_in_force() {
    let (keep, clock) = (Arc::<SlowAtFirst>::default(), Arc::<SetClock>::default());
    let sessions = Sessions::start(SessionsConfig::default(), Arc::clone(&keep) as _, clocks(&clock));
    let alice = Revoked::User { user: user("alice"), device: None };
    let (revoking, lifting) = tokio::join!(sessions.revoke(&alice, EVER, "", 0), async {
        until(|| keep.calls.load(Ordering::Relaxed) == 1).await;
        let lifting = tokio::spawn({
            let (sessions, alice) = (sessions.clone(), alice.clone());
            async move { sessions.lift(&alice).await }
        });
        until(|| sessions.counts().revocations == 0).await;
        tokio::task::yield_now().await;
        keep.goes_on.notify_one();
        lifting.await.unwrap()
    });
    assert!(revoking.is_ok() && lifting.unwrap());
    assert!(keep.memory.0.lock().is_empty(), "it is lifted behind a restart too");
}

#[tokio::test]
async fn nobody_is_told_that_something_is_stored_once_the_store_is_closed() {
    let world = world(SessionsConfig::default());
    let token = Revoked::Token { id: "t".to_owned() };
    world.sessions.close().await;
    let revoked = world.sessions.revoke(&token, EVER, "", 0).await;
    assert!(matches!(revoked, Err(RevokeError::NotStored(_))), "{revoked:?}");
    let lifted = world.sessions.lift(&token).await;
    assert!(matches!(lifted, Err(RevokeError::NotStored(_))), "{lifted:?}");
}

#[tokio::test]
async fn who_is_kicked_while_a_hook_is_asked_does_not_come_in() {
    let world = world(SessionsConfig::default());
    let sessions = &world.sessions;
    let expect = |id: &str, on: &str| sessions.arrives(&device(on)).expect(&user(id));
    // What the hook has said to it has no part in this: until the sign-in itself it may be kicked.
    let come = |expected: &Expected, id: &str, on: &str| {
        let came = sessions.sign_in(&identity(id, None, 0), &hello(on, 0), Some(expected), 0);
        came.map_err(|refused| (refused.goodbye.code, refused.goodbye.reason))
    };
    let [phone, laptop, other] =
        [expect("alice", "phone"), expect("alice", "laptop"), expect("bob", "phone")];
    assert_eq!(sessions.kick(&user("alice"), Some(&device("phone")), "lost"), 1);
    assert_eq!(sessions.kick(&user("alice"), Some(&device("phone")), "again"), 0);
    assert_eq!(come(&phone, "alice", "phone").unwrap_err(), (Code::KICKED, "lost".to_owned()));
    let signed_in = [come(&laptop, "alice", "laptop").unwrap(), come(&other, "bob", "phone").unwrap()];
    assert_eq!(sessions.kick(&user("alice"), None, ""), 1, "who has come is counted once");
    assert_eq!((told(&signed_in[0]), told(&signed_in[1])), (Some(Code::KICKED), None));
    drop(expect("alice", "phone"));
    drop(signed_in);
    assert_eq!(sessions.kick(&user("alice"), None, ""), 0, "who has gone is not expected any more");
    // A question of behind the kick is another one.
    come(&expect("alice", "phone"), "alice", "phone").unwrap();
}

/// Its token may have to wait for a key.
#[tokio::test]
async fn who_is_kicked_before_it_is_known_who_comes_does_not_come_in() {
    let world = world(SessionsConfig::default());
    let sessions = &world.sessions;
    let come = |expected: &Expected, id: &str, on: &str| {
        let came = sessions.sign_in(&identity(id, None, 0), &hello(on, 0), Some(expected), 0);
        came.map_err(|refused| (refused.goodbye.code, refused.goodbye.reason))
    };
    let arrives = |on: &str| sessions.arrives(&device(on));
    let kicked = |reason: &str| Some((Code::KICKED, reason.to_owned()));
    let [phone, laptop, other, first] = ["phone", "laptop", "phone", "phone"].map(arrives);
    assert_eq!(
        sessions.kick(&user("alice"), Some(&device("phone")), "lost"),
        0,
        "nobody knows whose they are"
    );
    let behind = arrives("phone");
    assert_eq!(come(&phone.expect(&user("alice")), "alice", "phone").err(), kicked("lost"));
    assert!(come(&laptop.expect(&user("alice")), "alice", "laptop").is_ok());
    assert!(come(&other.expect(&user("bob")), "bob", "phone").is_ok());
    let expected = behind.expect(&user("alice"));
    assert_eq!(sessions.kick(&user("alice"), None, "all"), 1, "it is known of one");
    assert_eq!(come(&expected, "alice", "phone").err(), kicked("all"));
    assert_eq!(
        come(&first.expect(&user("alice")), "alice", "phone").err(),
        kicked("all"),
        "the latest reason"
    );
    assert!(come(&arrives("phone").expect(&user("alice")), "alice", "phone").is_ok());
    // What concerns nobody any more is forgotten.
    assert!(format!("{:?}", sessions.0.state.lock().arrivals).contains("kicks: {}"));
}

#[tokio::test]
async fn who_was_connected_at_a_crash_was_last_seen_then() {
    let world = world_at(1_000);
    let alice = come(&world, "alice", "phone", None).unwrap();
    let carol = come(&world, "carol", "phone", None).unwrap();
    devices::store(&world.sessions.0).await;
    world.clock.0.store(61_000, Ordering::Relaxed);
    alive::beat(&world.sessions.0).await;
    // Who comes behind the last time that is stored was there then, and who has gone was not.
    world.clock.0.store(65_000, Ordering::Relaxed);
    let bob = come(&world, "bob", "phone", None).unwrap();
    drop(carol);
    devices::store(&world.sessions.0).await;
    let again = world_with(SessionsConfig::default(), Arc::clone(&world.memory));
    again.sessions.restore(
        &[],
        &alive::runs_of(&world.memory.load(ConversationName::server(), b"alive/", None, 9).await.unwrap()),
    );
    for (id, expected) in [("alice", 61_000), ("bob", 65_000), ("carol", 65_000), ("dave", 0)] {
        assert_eq!(again.sessions.status(&user(id)).await, (Status::Offline, expected), "{id}");
    }
    let infos = again.sessions.session_infos(&user("alice")).await;
    assert_eq!((infos.len(), infos[0].last_seen_ms), (1, 61_000));
    // One that stops knows better.
    drop((alice, bob));
    world.sessions.close().await;
    let held = world.memory.0.lock();
    assert!(held.keys().all(|(_, key)| !key.starts_with(b"alive/")), "nothing of it was a crash");
}
