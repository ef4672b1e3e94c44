//! By which time rights on a stream are judged, and who is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quoth_core::authorize::{Action, Grant};
use quoth_core::membership::{Actor, Change};
use quoth_core::session::Identity;
use quoth_protocol::frame::{Durability, Hello, VERSION};
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, DeviceId, UserId};
use quoth_store::Store;

use super::conversation::rights_of;
use super::presence::of_each;
use super::{Limits, PhaseSender, Service, Verification, Verify};
use crate::engine::{Caller, Clock, Engine, Execution, Stopper};

/// A clock that is set, and one that is moved on alone.
#[derive(Debug)]
struct SetClock(AtomicU64, AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

impl SetClock {
    const SET_MS: u64 = 10 * 3_600 * 1_000;

    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(Self::SET_MS), AtomicU64::new(0)))
    }

    /// Both go on.
    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
        self.1.fetch_add(ms, Ordering::Relaxed);
    }
}

fn engine(clock: &Arc<SetClock>) -> (Engine, Stopper) {
    let clock: Arc<dyn Clock> = Arc::<SetClock>::clone(clock);
    Engine::start(Store::memory(), Durability::Memory, clock, Execution::Threads)
}

/// Lets nobody in.
struct Nobody;

impl Verify for Nobody {
    fn verify(&self, _: &str, _: u64) -> Verification {
        Err(Code::TOKEN_REJECTED).into()
    }
}

#[tokio::test]
async fn a_mute_that_is_over_stays_so_when_the_clock_is_set_back() {
    let clock = SetClock::new();
    let (engine, stopper) = engine(&clock);
    let [alice, bob] = ["alice", "bob"].map(|of| Grant::of_membership(UserId::new(of).unwrap()));
    let (caller, room) = (Caller::User(Arc::new(alice)), ConversationName::new("room").unwrap());
    let members = vec![bob.user.clone()];
    let (kind, title) = (ConversationKind::Group, String::new());
    let mute = Change::Mute { user: Some(bob.user.clone()), until_ms: SetClock::SET_MS + 60_000 };
    for change in [Change::Create { kind, title, members, open: false }, mute] {
        engine.change(caller.clone(), &room, change).await.unwrap();
    }
    let access = engine.access(&room, &bob.user).await.unwrap();
    let stand = access.stand(Actor::User(&bob));
    for (later_ms, may_publish) in [(59_999, false), (60_000, true), (0, true)] {
        clock.0.store(SetClock::SET_MS + later_ms, Ordering::Relaxed);
        let rights = rights_of(&bob, &stand.standing, &engine);
        let allowed = rights.standing.allows(Actor::User(&bob), Action::Publish, rights.now_ms);
        assert_eq!(allowed.is_ok(), may_publish, "{later_ms}");
    }
    drop((access, engine));
    tokio::task::spawn_blocking(|| stopper.stop()).await.unwrap().unwrap();
}

/// A block is dated by the judged time. By the machine's clock, which was set back, it would be of a time to
/// come for as long as that takes, and who blocks would be there all the time.
#[tokio::test]
async fn who_has_blocked_somebody_is_gone_for_them_while_the_clock_is_behind() {
    let clock = SetClock::new();
    let (engine, stopper) = engine(&clock);
    // It is known by what was judged last.
    assert_eq!(engine.judged_ms(), SetClock::SET_MS);
    clock.0.fetch_sub(3_600 * 1_000, Ordering::Relaxed);
    let phase = PhaseSender::new();
    let service = Service::new(engine.clone(), Arc::new(Nobody), Limits::default(), phase.subscribe());
    let [alice, bob] = ["alice", "bob"].map(|of| UserId::new(of).unwrap());
    let grant = Arc::new(Grant::of_membership(bob.clone()));
    let identity = Identity {
        grant: Arc::clone(&grant),
        expires_ms: u64::MAX,
        issued_ms: 0,
        token_id: None,
        device: None,
    };
    let hello = Hello {
        version: VERSION,
        features: 0,
        token: String::new(),
        device: DeviceId::new("phone").unwrap(),
        generation: 1,
        platform: "linux".to_owned(),
        client: String::new(),
    };
    let attendance = service.sessions.sign_in(&identity, &hello, None, engine.now_ms()).unwrap();
    engine.block(Caller::User(grant), alice.clone(), true).await.unwrap();
    let blocked_ms = engine.blocked_since(&bob, &alice).await.unwrap().unwrap();
    let seen = async || of_each(&service, &alice, &[&bob]).await.unwrap()[0];
    assert_eq!(
        seen().await,
        (Status::Online, blocked_ms),
        "as everybody who goes is there for a moment longer"
    );
    // Half as fast as the clock, which is behind.
    clock.pass(9_998);
    assert_eq!(seen().await, (Status::Online, blocked_ms));
    clock.pass(2);
    assert_eq!(seen().await, (Status::Offline, blocked_ms));
    clock.pass(2 * 3_600 * 1_000);
    assert_eq!(seen().await, (Status::Offline, blocked_ms), "bob has not come back");
    drop((attendance, service, engine));
    tokio::task::spawn_blocking(|| stopper.stop()).await.unwrap().unwrap();
}
