//! Stores that stand still or are full: nobody waits for them, and nothing is lost that they take later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quoth_core::revocation::{Extent, InForce, Revoked};

use super::{EVER, SetClock, SlowAtFirst, hello, identity, until, user};
use crate::sessions::{Sessions, SessionsConfig};

#[tokio::test]
async fn a_store_that_stands_still_while_a_revocation_ends_holds_nobody_up() {
    let (slow, clock) = (Arc::<SlowAtFirst>::default(), Arc::new(SetClock(1.into())));
    let sessions =
        Sessions::start(SessionsConfig::default(), Arc::clone(&slow) as _, Arc::clone(&clock) as _);
    let token = Revoked::Token { id: "t".to_owned() };
    let in_force = InForce { extent: Extent { over_ms: 100, ..EVER }, reason: "".into() };
    sessions.restore(&[(token, in_force)], &[]);
    clock.0.store(200, Ordering::Relaxed);
    sessions.0.revoked.notify_one();
    until(|| slow.calls.load(Ordering::Relaxed) == 1).await;
    // The store has not answered, and who does not come back is offline all the same.
    let alice = sessions.sign_in(&identity("alice", None, 0), &hello("phone", 0), 200).unwrap();
    let mut observed = sessions.observe();
    drop(alice);
    clock.0.store(9_000, Ordering::Relaxed);
    sessions.0.sooner.notify_one();
    let told = tokio::time::timeout(Duration::from_secs(30), observed.recv()).await;
    assert_eq!(told.expect("it does not wait for the store"), Some(user("alice")));
    slow.goes_on.notify_one();
}
