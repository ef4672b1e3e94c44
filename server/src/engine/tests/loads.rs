//! What the committer knows of a conversation when it is first published to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quoth_protocol::Seq;
use quoth_store::testing::{commit, record};
use quoth_store::{MemoryLog, MemoryView, View as _};

use super::world::{hooked_view, publish, publisher, start, stop, stored};
use crate::engine::Greeting;

#[tokio::test]
async fn the_committer_reads_nothing_for_a_stream_that_was_begun() {
    let (log, inner) = (MemoryLog::new(), MemoryView::new());
    let records: Vec<_> =
        ["begun", "not begun"].iter().flat_map(|name| [record(name, 1, 1), record(name, 2, 2)]).collect();
    inner.apply(commit(&log, &records).unwrap(), &records).unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let hook = move |call: &'static str, _: Option<&quoth_protocol::ConversationName>| {
        if call != "apply" && std::thread::current().name() == Some("committer") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    };
    let (engine, stopper) = start(log, hooked_view(inner, hook));
    for (name, expected) in [("begun", 0), ("new and begun", 0), ("not begun", 2)] {
        let writer = publisher(name);
        let head = if name.starts_with("new") { Seq(0) } else { Seq(2) };
        if expected == 0 {
            assert_eq!(engine.enter(&writer, true, Greeting::Nothing).await.unwrap().head, head);
        }
        assert_eq!(stored(&engine, &writer, 7).await, head.next());
        assert_eq!(reads.swap(0, Ordering::SeqCst), expected, "{name}");
    }
    // The numbers of before count as well.
    let again = publisher("begun");
    engine.enter(&again, true, Greeting::Nothing).await.unwrap();
    assert!(publish(&engine, &again, 2).await);
    assert_eq!(super::world::outcome(&again).await.result.unwrap().seq, Seq(2));
    stop(engine, stopper).await.unwrap();
}
