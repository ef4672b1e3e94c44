//! How an erasure reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::{MemoryLog, MemoryView, Register};

use super::world::{hooked_view, publisher, room, start, stop, stored};
use crate::engine::Caller;

/// Messages of somebody else, of 4 bytes each.
const MESSAGES: u64 = 10;

#[tokio::test]
async fn users_are_erased_one_after_the_other_and_no_faster_than_configured() {
    let (reading, at_once_max) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&at_once_max);
    let hook = move |call: &'static str, _: Option<&ConversationName>| {
        if call == "after" {
            seen.fetch_max(reading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Long enough for whoever does not wait.
            std::thread::sleep(Duration::from_millis(50));
            reading.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    };
    let (engine, stopper) = start(MemoryLog::new(), hooked_view(MemoryView::new(), hook));
    let writer = publisher("room");
    for n in 1..=MESSAGES {
        stored(&engine, &writer, n).await;
    }
    engine.set_erasure_pace(1);
    // From here on time passes when everybody waits for it.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let (operator, name) = (UserId::new("operator").unwrap(), room("room"));
    let (bob, eve) = (UserId::new("bob").unwrap(), UserId::new("eve").unwrap());
    let erased = tokio::join!(engine.erase(&operator, &name, &bob), engine.erase(&operator, &name, &eve));
    assert!(erased.0.is_ok() && erased.1.is_ok());
    assert_eq!(at_once_max.load(Ordering::SeqCst), 1);
    assert!(begun.elapsed() >= Duration::from_secs(2 * 4 * MESSAGES), "{:?}", begun.elapsed());
    tokio::time::resume();
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn an_own_log_is_one_until_all_is_gone_that_an_erasure_takes() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let bob = UserId::new("bob").unwrap();
    let set = async |key: &'static str, is_there: bool| {
        let (log, value) = (ConversationName::of_user(&bob), is_there.then(|| Bytes::from_static(b"value")));
        engine.note(log, vec![Register { key: Bytes::from_static(key.as_bytes()), value }]).await.unwrap();
    };
    let has = async || engine.has_own_log(&bob).await.unwrap();
    assert!(!has().await);
    set("device/phone", true).await;
    assert!(has().await, "a device");
    set("device/phone", false).await;
    for key in ["t of a list", "l of a list", "u of a list", "@ of an event"] {
        set(key, true).await;
    }
    assert!(!has().await, "where the user is in conversations still, and what was taken away");
    // Events alone are left of that.
    for on in [true, false] {
        let eve = UserId::new("eve").unwrap();
        engine.block(Caller::Operator(bob.clone()), eve, on).await.unwrap();
    }
    assert!(has().await);
    engine.erase_own_log(&bob).await.unwrap();
    assert!(!has().await);
    stop(engine, stopper).await.unwrap();
}
