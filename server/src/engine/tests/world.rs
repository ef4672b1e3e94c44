//! An engine over a log and a view in memory, with hooks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quoth_core::conversation::Append;
use quoth_protocol::frame::Durability;
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use quoth_store::{
    Bounds, Log, LogError, MemoryLog, MemoryView, PageLimit, Position, ProducerKey, ProducerState, Record,
    Store, View, ViewError, Visit,
};
use tokio::sync::mpsc;

use crate::engine::{Engine, Execution, Mailbox, Outcome, Publisher, Stopper, SystemClock};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) type LogHook = Box<dyn Fn(&'static str) -> Result<(), LogError> + Send + Sync>;

/// Gets the call and the conversation that it is about.
pub(super) type ViewHook =
    Box<dyn Fn(&'static str, Option<&ConversationName>) -> Result<(), ViewError> + Send + Sync>;

/// A log whose appends and flushes call a hook first.
pub(super) struct HookedLog {
    pub(super) inner: MemoryLog,
    pub(super) hook: LogHook,
}

/// A view whose writes call a hook first, and whose reads call it once they have read.
pub(super) struct HookedView {
    pub(super) inner: MemoryView,
    pub(super) hook: ViewHook,
}

pub(super) fn start(log: impl Log + 'static, view: impl View + 'static) -> (Engine, Stopper) {
    let mut store = Store::memory();
    store.log = Arc::new(log);
    store.view = Arc::new(view);
    Engine::start(store, Durability::Memory, Arc::new(SystemClock), Execution::Threads)
}

pub(super) async fn stop(engine: Engine, stopper: Stopper) -> Result<(), String> {
    drop(engine);
    tokio::task::spawn_blocking(|| stopper.stop()).await.unwrap()
}

pub(super) fn room(name: &str) -> ConversationName {
    ConversationName::new(name).unwrap()
}

pub(super) fn publisher(name: &str) -> Arc<Publisher> {
    let mailbox = Mailbox::new(mpsc::channel(1).0);
    Publisher::new(room(name), UserId::new("ada").unwrap(), ProducerId(1), mailbox)
}

pub(super) async fn publish(engine: &Engine, publisher: &Arc<Publisher>, n: u64) -> bool {
    let sender = publisher.producer.user.clone();
    engine.publish(publisher, Append { n, sender, origin_time_ms: None, body: "text".into() }).await
}

pub(super) async fn outcome(publisher: &Publisher) -> Outcome {
    let mut outcomes = Vec::new();
    while outcomes.is_empty() {
        tokio::time::timeout(PATIENCE, publisher.mailbox.woken()).await.expect("an outcome comes");
        publisher.mailbox.take(&mut outcomes);
    }
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

/// Publishes a new message and returns its place.
pub(super) async fn stored(engine: &Engine, publisher: &Arc<Publisher>, n: u64) -> Seq {
    assert!(publish(engine, publisher, n).await);
    let stored = outcome(publisher).await.result.unwrap();
    assert!(!stored.duplicate);
    stored.seq
}

/// Waits until the engine fails.
pub(super) async fn failure(engine: &Engine) -> String {
    let mut failure = engine.failure();
    let failure = tokio::time::timeout(PATIENCE, failure.wait_for(Option::is_some)).await;
    failure.expect("the failure is told").unwrap().clone().unwrap()
}

impl fmt::Debug for HookedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedLog")
    }
}

impl fmt::Debug for HookedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedView")
    }
}

impl Log for HookedLog {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        (self.hook)("append")?;
        self.inner.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        (self.hook)("flush")?;
        self.inner.flush()
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.inner.read(from, visit)
    }

    fn first(&self) -> Position {
        self.inner.first()
    }

    fn next(&self) -> Position {
        self.inner.next()
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        self.inner.trim(before)
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        self.inner.fence(epoch)
    }

    fn close(&self) -> Result<(), LogError> {
        self.inner.close()
    }
}

impl View for HookedView {
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        (self.hook)("apply", None)?;
        self.inner.apply(position, records)
    }

    fn applied(&self) -> Position {
        self.inner.applied()
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.inner.flush()
    }

    fn bounds(&self, name: &ConversationName) -> Result<Bounds, ViewError> {
        let bounds = self.inner.bounds(name);
        (self.hook)("bounds", Some(name))?;
        bounds
    }

    fn after(&self, name: &ConversationName, after: Seq, limit: PageLimit) -> Result<Vec<Record>, ViewError> {
        let records = self.inner.after(name, after, limit);
        (self.hook)("after", Some(name))?;
        records
    }

    fn before(
        &self,
        name: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let records = self.inner.before(name, before, limit);
        (self.hook)("before", Some(name))?;
        records
    }

    fn producer(
        &self,
        name: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        let state = self.inner.producer(name, producer);
        (self.hook)("producer", Some(name))?;
        state
    }

    fn find(
        &self,
        name: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Record>, ViewError> {
        let record = self.inner.find(name, producer, n);
        (self.hook)("find", Some(name))?;
        record
    }
}
