//! Panics, damaged rows, and an end while reads are under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quoth_core::retention::Keeping;
use quoth_core::tail::Frame;
use quoth_protocol::{Code, Seq};
use quoth_store::testing::{commit, record};
use quoth_store::{Bounds, MemoryLog, MemoryView, Position, Record, View as _, ViewError};

use crate::config::RetentionConfig;
use crate::engine::{NotStored, Reading};
use crate::retention::Retention;

use super::world::{
    failure, hooked_log, hooked_view, outcome, publish, publisher, room, start, stop, stored,
};

#[tokio::test]
async fn a_panic_of_the_committer_is_a_failure() {
    let hook = |call: &str| {
        assert_ne!(call, "append", "a mistake, for a test");
        Ok(())
    };
    let log = hooked_log(MemoryLog::new(), hook);
    let (engine, stopper) = start(log, MemoryView::new());
    let writer = publisher("room");
    assert!(publish(&engine, &writer, 1).await);
    assert!(failure(&engine).await.contains("committer panicked"));
    assert!(stop(engine, stopper).await.unwrap_err().contains("committer panicked"));
}

#[tokio::test]
async fn damaged_rows_of_one_conversation_stop_only_that_one() {
    let hook = |call: &'static str, name: Option<&quoth_protocol::ConversationName>| match (call, name) {
        ("last", Some(name)) if name.as_str() == "damaged" => {
            Err(ViewError::DamagedRow { conversation: name.clone(), seq: Seq(1), what: "a test wants it so" })
        }
        _ => Ok(()),
    };
    let view = hooked_view(MemoryView::new(), hook);
    let (engine, stopper) = start(MemoryLog::new(), view);
    let (damaged, sound) = (publisher("damaged"), publisher("sound"));
    for n in 1..=3 {
        assert!(publish(&engine, &damaged, n).await);
        assert_eq!(outcome(&damaged).await.result, Err(NotStored::Unknown(Code::STORE_FAILED)));
        assert_eq!(stored(&engine, &sound, n).await, Seq(n));
    }
    assert_eq!(*engine.failure().borrow(), None);
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn an_engine_failure_while_a_conversation_is_loaded_stops_everything() {
    let hook = |call: &'static str, _: Option<&quoth_protocol::ConversationName>| match call {
        "last" => Err(ViewError::Engine { action: "read", path: "view".into(), what: "broken".into() }),
        _ => Ok(()),
    };
    let view = hooked_view(MemoryView::new(), hook);
    let (engine, stopper) = start(MemoryLog::new(), view);
    assert!(publish(&engine, &publisher("room"), 1).await);
    assert!(failure(&engine).await.contains("broken"));
    stop(engine, stopper).await.unwrap_err();
}

#[tokio::test]
async fn a_panic_of_a_look_up_is_answered() {
    let (log, inner, records) = (MemoryLog::new(), MemoryView::new(), [record("room", 1, 1)]);
    let position = commit(&log, &records).unwrap();
    inner.apply(position, &records).unwrap();
    let hook = |call: &'static str, _: Option<&quoth_protocol::ConversationName>| {
        assert_ne!(call, "find", "a mistake, for a test");
        Ok(())
    };
    let (engine, stopper) = start(log, hooked_view(inner, hook));
    let writer = publisher("room");
    assert!(publish(&engine, &writer, 1).await);
    assert_eq!(outcome(&writer).await.result, Err(NotStored::Unknown(Code::INTERNAL)));
    assert_eq!(stored(&engine, &writer, 2).await, Seq(2));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn the_view_has_everything_when_the_engine_has_stopped_even_while_reads_are_under_way() {
    let (read_begins, read_begun) = channel();
    let (end_read, read_ends) = channel::<()>();
    let (read_begins, read_ends) = (Mutex::new(read_begins), Mutex::new(read_ends));
    let hook = move |call: &'static str, _: Option<&quoth_protocol::ConversationName>| {
        match call {
            "after" => {
                read_begins.lock().unwrap().send(()).unwrap();
                read_ends.lock().unwrap().recv().unwrap_err();
            }
            // The stop comes first.
            "apply" => std::thread::sleep(Duration::from_millis(200)),
            _ => {}
        }
        Ok(())
    };
    let inner = MemoryView::new();
    let (engine, stopper) = start(MemoryLog::new(), hooked_view(inner.clone(), hook));
    let reads = engine.reads().clone();
    let limit = quoth_store::PageLimit { records: 1, bytes: 1 };
    let access = crate::engine::Access::fixed(room("other"));
    let read = tokio::spawn(async move {
        reads.after(access.name(), Seq(0), Seq(u64::MAX), limit, Reading::default()).await
    });
    tokio::task::spawn_blocking(move || read_begun.recv().unwrap()).await.unwrap();
    stored(&engine, &publisher("room"), 1).await;
    stop(engine, stopper).await.unwrap();
    assert_eq!(inner.applied(), Position(1));
    drop(end_read);
    read.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_head_is_not_behind_a_tail_that_goes_while_the_view_is_asked() {
    let (let_apply, may_apply) = channel::<()>();
    let (let_apply, may_apply) = (Mutex::new(Some(let_apply)), Mutex::new(may_apply));
    let inner = MemoryView::new();
    let engine_of_hook: Arc<OnceLock<crate::engine::Engine>> = Arc::default();
    let (view, engine) = (inner.clone(), Arc::clone(&engine_of_hook));
    let hook = move |call: &'static str, name: Option<&quoth_protocol::ConversationName>| {
        match (call, engine.get()) {
            ("apply", _) => {
                let _let = may_apply.lock().unwrap().recv();
            }
            ("bounds", Some(engine)) => {
                // What was read is old by now: the view catches up, and the tail makes room for others.
                drop(let_apply.lock().unwrap().take());
                while view.applied() < Position(1) {
                    std::thread::yield_now();
                }
                let (bytes, tails) = (Bytes::from(vec![0; 64 * 1024]), &engine.inner.tails);
                let filling =
                    Frame { bytes, time_ms: 0, expires_ms: 0, offset: 0, about: None, end: 0, position: 1 };
                let mut others = 0;
                while tails.ahead(name.unwrap()).end.seq > Seq::ZERO {
                    others += 1;
                    tails.push(&room(&format!("other {others}")), Seq(1), [filling.clone()], u64::MAX);
                }
            }
            _ => {}
        }
        Ok(())
    };
    let (engine, stopper) = start(MemoryLog::new(), hooked_view(inner, hook));
    stored(&engine, &publisher("room"), 1).await;
    engine_of_hook.set(engine.clone()).unwrap();
    assert_eq!(
        engine.bounds(&room("room"), Keeping::default()).await.unwrap(),
        Bounds { floor: Seq(1), head: Seq(1) }
    );
    drop((engine, stopper));
}

/// Whoever stops the server waits for what frees space: it must not wait for a view that has failed.
#[tokio::test]
async fn freeing_ends_when_the_view_fails_that_it_waits_for() {
    let (fail, fails) = channel::<()>();
    let fails = Mutex::new(fails);
    let hook = move |call: &'static str, _: Option<&quoth_protocol::ConversationName>| match call {
        "apply" => {
            fails.lock().unwrap().recv().unwrap_err();
            Err(ViewError::Engine { action: "write", path: "view".into(), what: "an input error".into() })
        }
        _ => Ok(()),
    };
    let (engine, stopper) = start(MemoryLog::new(), hooked_view(MemoryView::new(), hook));
    let freeing = Retention::start(engine.clone(), &RetentionConfig::default());
    stored(&engine, &publisher("room"), 1).await;
    engine.reclaim_soon();
    // It has begun, and the group that it waits for is not applied.
    while engine.inner.reclaims.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    drop(fail);
    assert!(failure(&engine).await.contains("an input error"));
    tokio::time::timeout(Duration::from_secs(30), freeing.stop()).await.expect("it ends");
    stop(engine, stopper).await.unwrap_err();
}

/// Hundreds of them would have all threads that reads are for.
#[tokio::test]
async fn a_read_of_what_is_absent_ends_with_whoever_waits_for_it() {
    for from_the_end in [false, true] {
        let (log, inner) = (MemoryLog::new(), MemoryView::new());
        let expired = |seq| Record { expires_ms: 1, ..record("room", seq, seq) };
        let mut records: Vec<_> = (1..=100).map(expired).collect();
        records[if from_the_end { 0 } else { 99 }].expires_ms = 0;
        inner.apply(commit(&log, &records).unwrap(), &records).unwrap();
        let (begins, begun) = channel();
        let (go_on, goes_on) = channel::<()>();
        let (view_is_there, view_ends) = channel::<()>();
        let (goes_on, view_is_there) = (Mutex::new(goes_on), Mutex::new(view_is_there));
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let hook = move |call: &'static str, _: Option<&quoth_protocol::ConversationName>| {
            let _held = &view_is_there;
            if ["after", "before"].contains(&call) && counted.fetch_add(1, Ordering::SeqCst) == 0 {
                begins.send(()).unwrap();
                goes_on.lock().unwrap().recv().unwrap_err();
            }
            Ok(())
        };
        let (engine, stopper) = start(log, hooked_view(inner, hook));
        let (name, reads) = (room("room"), engine.reads().clone());
        let at = Reading { keeping: engine.keeping(&name).await.unwrap(), ..Reading::default() };
        // One event at a time.
        let read = {
            let (reads, name, at) = (reads.clone(), name.clone(), at.clone());
            async move { reads.events(&name, (Seq(0), Seq(100)), 1, from_the_end, at).await }
        };
        let abandoned = tokio::spawn(read);
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        drop((reads, go_on));
        stop(engine, stopper).await.unwrap();
        tokio::task::spawn_blocking(move || view_ends.recv().unwrap_err()).await.unwrap();
        let calls = calls.load(Ordering::SeqCst);
        assert!((1..20).contains(&calls), "{calls} pages were read");
    }
}

#[tokio::test]
async fn what_lies_behind_much_that_is_absent_is_read_in_both_directions() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let expired = |seq| Record { expires_ms: 1, ..record("room", seq, seq) };
    let mut records: Vec<_> = (1..=100).map(expired).collect();
    records[49].expires_ms = 0;
    view.apply(commit(&log, &records).unwrap(), &records).unwrap();
    let (engine, stopper) = start(log, view);
    let (name, reads) = (room("room"), engine.reads().clone());
    let at = Reading { keeping: engine.keeping(&name).await.unwrap(), ..Reading::default() };
    let read = async |after: u64, last: u64, from_the_end| {
        let read = reads.events(&name, (Seq(after), Seq(last)), 1, from_the_end, at.clone()).await.unwrap();
        (read.from.0, read.to.0, read.events.iter().map(|event| event.seq.0).collect::<Vec<_>>())
    };
    assert_eq!(read(0, 100, false).await, (1, 50, vec![50]));
    assert_eq!(read(0, 100, true).await, (50, 100, vec![50]));
    assert_eq!(read(0, 49, false).await, (1, 49, vec![]));
    assert_eq!(read(50, 100, true).await, (51, 100, vec![]));
    stop(engine, stopper).await.unwrap();
}
