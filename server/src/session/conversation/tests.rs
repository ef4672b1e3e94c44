//! By which time rights on a stream are judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quoth_core::authorize::{Action, Grant};
use quoth_core::membership::{Actor, Change};
use quoth_protocol::frame::Durability;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::Store;

use super::rights_of;
use crate::engine::{Caller, Clock, Engine, Execution};

/// A clock that is set.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_mute_that_is_over_stays_so_when_the_clock_is_set_back() {
    let clock = Arc::new(SetClock(AtomicU64::new(1_000_000)));
    let of_engine: Arc<dyn Clock> = Arc::<SetClock>::clone(&clock);
    let (engine, stopper) = Engine::start(Store::memory(), Durability::Memory, of_engine, Execution::Threads);
    let [alice, bob] = ["alice", "bob"].map(|of| Grant::of_membership(UserId::new(of).unwrap()));
    let (caller, room) = (Caller::User(Arc::new(alice)), ConversationName::new("room").unwrap());
    let members = vec![bob.user.clone()];
    let (kind, title) = (ConversationKind::Group, String::new());
    let mute = Change::Mute { user: Some(bob.user.clone()), until_ms: 1_060_000 };
    for change in [Change::Create { kind, title, members, open: false }, mute] {
        engine.change(caller.clone(), &room, change).await.unwrap();
    }
    let access = engine.access(&room, &bob.user).await.unwrap();
    let stand = access.stand(Actor::User(&bob));
    for (now_ms, may_publish) in [(1_059_999, false), (1_060_000, true), (1_000_000, true)] {
        clock.0.store(now_ms, Ordering::Relaxed);
        let rights = rights_of(&bob, &stand.standing, &engine);
        let allowed = rights.standing.allows(Actor::User(&bob), Action::Publish, rights.now_ms);
        assert_eq!(allowed.is_ok(), may_publish, "{now_ms}");
    }
    drop((access, engine));
    tokio::task::spawn_blocking(|| stopper.stop()).await.unwrap().unwrap();
}
