//! An engine over a log and a view in memory, with hooks.

use std::sync::Arc;
use std::time::Duration;

use quoth_core::conversation::{About, Append};
use quoth_core::retention::Keeping;
use quoth_core::tail::Wanted;
use quoth_protocol::frame::Durability;
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use quoth_store::testing::{LogOverride, Overridden, ViewOverride};
use quoth_store::{
    Bounds, Found, Last, Log, LogError, MemoryLog, MemoryView, PageLimit, Position, ProducerKey,
    ProducerState, Record, Store, Stretch, View, ViewError,
};

use crate::engine::{
    Access, Engine, Execution, Mailbox, Outcome, Publisher, Role, Stand, Stopper, SystemClock,
};

const PATIENCE: Duration = Duration::from_secs(30);

type LogHook = Box<dyn Fn(&'static str) -> Result<(), LogError> + Send + Sync>;

/// Gets the call and the conversation that it is about.
type ViewHook = Box<dyn Fn(&'static str, Option<&ConversationName>) -> Result<(), ViewError> + Send + Sync>;

/// A log whose appends and flushes call a hook first.
pub(super) struct HookedLog {
    inner: MemoryLog,
    hook: LogHook,
}

/// A view whose writes call a hook first, and whose reads call it once they have read.
pub(super) struct HookedView {
    inner: MemoryView,
    hook: ViewHook,
}

/// A log with a hook.
pub(super) fn hooked_log(
    inner: MemoryLog,
    hook: impl Fn(&'static str) -> Result<(), LogError> + Send + Sync + 'static,
) -> Overridden<HookedLog> {
    Overridden(HookedLog { inner, hook: Box::new(hook) })
}

/// A view with a hook.
pub(super) fn hooked_view(
    inner: MemoryView,
    hook: impl Fn(&'static str, Option<&ConversationName>) -> Result<(), ViewError> + Send + Sync + 'static,
) -> Overridden<HookedView> {
    Overridden(HookedView { inner, hook: Box::new(hook) })
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
    let mailbox = Mailbox::of_anybody();
    Publisher::new(Access::fixed(room(name)), Role::User, UserId::new("ada").unwrap(), ProducerId(1), mailbox)
}

pub(super) async fn publish(engine: &Engine, publisher: &Arc<Publisher>, n: u64) -> bool {
    let sender = publisher.producer.user.clone();
    let (body, about) = ("text".into(), About::default());
    let append = Append { n, sender, origin_time_ms: None, body, about };
    engine.publish(publisher, append, &Stand::FIXED).await
}

/// Everything behind a cursor.
pub(super) fn wanted(cursor: Seq) -> Wanted {
    Wanted { cursor, to: Seq(u64::MAX), bytes_max: usize::MAX, keeping: Keeping::default() }
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

impl LogOverride for HookedLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        (self.hook)("append")?;
        self.inner.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        (self.hook)("flush")?;
        self.inner.flush()
    }

    fn make_room(&self) -> Result<(), LogError> {
        (self.hook)("make_room")?;
        self.inner.make_room()
    }
}

impl HookedView {
    fn read<T>(
        &self,
        call: &'static str,
        name: &ConversationName,
        read: impl FnOnce(&MemoryView) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        let value = read(&self.inner);
        (self.hook)(call, Some(name))?;
        value
    }
}

impl ViewOverride for HookedView {
    fn inner(&self) -> &dyn View {
        &self.inner
    }

    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        (self.hook)("apply", None)?;
        self.inner.apply(position, records)
    }

    fn flush(&self) -> Result<Position, ViewError> {
        (self.hook)("flush", None)?;
        self.inner.flush()
    }

    fn bounds(&self, name: &ConversationName) -> Result<Bounds, ViewError> {
        self.read("bounds", name, |view| view.bounds(name))
    }

    fn last(&self, name: &ConversationName) -> Result<Option<Last>, ViewError> {
        self.read("last", name, |view| view.last(name))
    }

    fn after(&self, name: &ConversationName, after: Seq, limit: PageLimit) -> Result<Stretch, ViewError> {
        self.read("after", name, |view| view.after(name, after, limit))
    }

    fn before(
        &self,
        name: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.read("before", name, |view| view.before(name, before, limit))
    }

    fn producer(
        &self,
        name: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        self.read("producer", name, |view| view.producer(name, producer))
    }

    fn find(
        &self,
        name: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        self.read("find", name, |view| view.find(name, producer, n))
    }
}
