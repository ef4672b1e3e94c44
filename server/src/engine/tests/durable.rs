//! Acked is durable: nothing of a group leaves before its flush has returned.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use quoth_core::conversation::{About, Append};
use quoth_core::membership::Refusal;
use quoth_core::tail::Next;
use quoth_protocol::{Code, Seq};
use quoth_store::testing::{LogOverride, Overridden};
use quoth_store::{Log, LogError, MemoryLog, MemoryView, Position, Record, View as _, group};

use super::world::{failure, outcome, publish, publisher, room, start, stop, stored, wanted};
use crate::engine::{Engine, Mailbox, NotStored, Stand};

/// Flushes of groups that have an event say that they have begun and wait for a word how to end. What the
/// engine stores for itself, as lists of conversations a moment behind a change, goes through.
struct GatedLog {
    inner: MemoryLog,
    /// Whether the last group has an event.
    has_event: AtomicBool,
    begin: Mutex<Sender<()>>,
    ends: Mutex<Receiver<Result<(), LogError>>>,
}

impl LogOverride for GatedLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        let records = group::decode(group).unwrap();
        self.has_event.store(records.iter().any(Record::is_event), Ordering::Relaxed);
        self.inner.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        if self.has_event.load(Ordering::Relaxed) {
            // Once the test waits for no more of them, nobody hears it.
            let _nobody_hears = self.begin.lock().unwrap().send(());
            self.ends.lock().unwrap().recv().unwrap_or(Err(LogError::Poisoned))?;
        }
        self.inner.flush()
    }
}

/// A log whose flushes of groups with an event say that they have begun and wait for a word how to end.
/// Without the sender of that word they fail.
pub(super) fn gated_log() -> (impl Log, Receiver<()>, Sender<Result<(), LogError>>) {
    let (begin, begun) = channel();
    let (end, ends) = channel();
    let (begin, ends) = (Mutex::new(begin), Mutex::new(ends));
    let log = GatedLog { inner: MemoryLog::new(), has_event: AtomicBool::new(false), begin, ends };
    (Overridden(log), begun, end)
}

/// Whether something of the conversation behind `cursor` is out: acked, delivered, in history, or told to a
/// reader.
fn is_out(engine: &Engine, view: &MemoryView, mailboxes: [&Mailbox; 2], cursor: Seq) -> bool {
    let mut outcomes = Vec::new();
    mailboxes.iter().for_each(|mailbox| mailbox.take(&mut outcomes));
    let mut frames = Vec::new();
    let next = engine.read_tail(&room("room"), wanted(cursor), &mut frames);
    !outcomes.is_empty()
        || matches!(next, Next::Frames(_))
        || engine.inner.tails.ahead(&room("room")).end.seq > cursor
        || engine.inner.released.load(Ordering::Acquire) > cursor.0
        || view.applied().0 > cursor.0
}

#[tokio::test]
async fn nothing_leaves_before_the_flush_has_returned() {
    let (log, begun, end) = gated_log();
    let view = MemoryView::new();
    let (engine, stopper) = start(log, view.clone());
    let writer = publisher("room");
    let reader = publisher("room");
    let _subscription = engine.subscribe(&room("room"), &reader.mailbox);
    let mailboxes = [&*writer.mailbox, &*reader.mailbox];
    let flush_begins = |begun: Receiver<()>| {
        tokio::task::spawn_blocking(move || {
            begun.recv().unwrap();
            begun
        })
    };

    assert!(publish(&engine, &writer, 1).await);
    let begun = flush_begins(begun).await.unwrap();
    assert!(!is_out(&engine, &view, mailboxes, Seq(0)), "before the flush");
    end.send(Ok(())).unwrap();
    assert_eq!(outcome(&writer).await.result.unwrap().seq, Seq(1));
    reader.mailbox.woken().await;
    assert!(is_out(&engine, &view, mailboxes, Seq(0)), "or the test sees nothing");

    assert!(publish(&engine, &writer, 2).await);
    let _begun = flush_begins(begun).await.unwrap();
    assert!(!is_out(&engine, &view, mailboxes, Seq(1)), "before the flush");
    end.send(Err(LogError::Poisoned)).unwrap();
    assert!(failure(&engine).await.contains("earlier write failed"));
    assert!(!is_out(&engine, &view, mailboxes, Seq(1)), "after the flush has failed");
    drop(end);
    assert!(stop(engine, stopper).await.unwrap_err().contains("earlier write failed"));
    assert_eq!(view.applied().0, 1);
    assert_eq!(Arc::strong_count(&writer), 1, "nothing waits for the outcome any more");
}

/// As when nobody can judge it: its ack may have been lost.
#[tokio::test]
async fn what_must_not_be_stored_is_acked_if_it_is_there_already() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let publisher = publisher("room");
    let seq = stored(&engine, &publisher, 1).await;
    let refusal = Refusal { code: Code::UNAVAILABLE, retry_after_ms: 5_000, reason: "nobody can judge it" };
    let refuse_new = async |n: u64| {
        let sender = publisher.producer.user.clone();
        let append = Append { n, sender, origin_time_ms: None, body: "text".into(), about: About::default() };
        assert!(engine.refuse_new(&publisher, append, &Stand::FIXED, refusal).await);
        outcome(&publisher).await.result
    };
    let repeat = refuse_new(1).await.unwrap();
    assert_eq!((repeat.seq, repeat.duplicate), (seq, true));
    assert_eq!(refuse_new(2).await, Err(NotStored::Refused(refusal)));
    assert_eq!(stored(&engine, &publisher, 2).await, seq.next(), "it was not stored");
    drop(publisher);
    stop(engine, stopper).await.unwrap();
}
