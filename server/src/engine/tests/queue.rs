//! What waits to be stored: so much of it, and no more.

use bytes::Bytes;
use futures_util::FutureExt as _;
use quoth_core::conversation::{About, Append};
use quoth_protocol::limits::BODY_BYTES_MAX;
use quoth_store::MemoryView;

use super::durable::gated_log;
use super::world::{publish, publisher, start, stop};
use crate::engine::{PUBLISH_OVERHEAD_BYTES, QUEUE_BYTES_MAX, QUEUE_PUBLISHES_MAX, Stand};

/// How many publishes with such a body are taken while the disk takes none.
async fn taken(body: Bytes) -> usize {
    let (log, begun, end) = gated_log();
    let (engine, stopper) = start(log, MemoryView::new());
    let writer = publisher("room");
    assert!(publish(&engine, &writer, 1).await);
    let begun = tokio::task::spawn_blocking(move || {
        begun.recv().unwrap();
        begun
    });
    let _begun = begun.await.unwrap();
    let takes = |n: usize| {
        let (sender, about) = (writer.producer.user.clone(), About::default());
        let append = Append { n: n as u64, sender, origin_time_ms: None, body: body.clone(), about };
        // Otherwise it would wait now and then to let others run.
        let taken = tokio::task::unconstrained(engine.publish(&writer, append, &Stand::FIXED));
        taken.now_or_never().is_some()
    };
    let count = (2..).take_while(|n| takes(*n)).count();
    // Its flush fails, and the engine ends with it.
    drop(end);
    stop(engine, stopper).await.unwrap_err();
    count
}

#[tokio::test]
async fn what_waits_to_be_stored_has_a_bound_in_publishes_and_in_bytes() {
    assert_eq!(taken(Bytes::new()).await, QUEUE_PUBLISHES_MAX);
    let of_each = BODY_BYTES_MAX + PUBLISH_OVERHEAD_BYTES;
    assert_eq!(taken(vec![0; BODY_BYTES_MAX].into()).await, QUEUE_BYTES_MAX / of_each);
}
