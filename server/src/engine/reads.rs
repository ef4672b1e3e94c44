//! Reads from the view, off the runtime's threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_protocol::frame::{Event, ServerFrame};
use quoth_protocol::{ConversationName, Seq, codec};
use quoth_store::{Bounds, Hurry, PageLimit, Position, ProducerKey, Record, View, ViewError};

use tokio::sync::Semaphore;

use super::Execution;
use super::frame::{encode_events, event};
use super::publisher::{Prior, Publisher};

/// How long a read of what may be fresh waits between two looks at how far the applier is; it is usually done with a
/// group within a millisecond.
const APPLIED_POLL: Duration = Duration::from_millis(1);

/// Streams whose old message ids are looked up at once; the others wait, so that many repeats leave threads to other
/// reads.
const LOOK_UPS_AT_ONCE_MAX: usize = 4;

/// Reads from the view. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    view: Arc<dyn View>,
    /// `None` where groups are applied at once.
    hurry: Option<Hurry>,
    execution: Execution,
    look_ups: Arc<Semaphore>,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("execution", &self.execution).finish_non_exhaustive()
    }
}

/// Part of a conversation, as frames.
#[derive(Debug)]
pub struct Page {
    /// Event frames in ascending order, after a gap frame where retention has taken events.
    pub frames: Vec<Bytes>,
    /// Where a reader that has taken the page stands: at its last event, or at the end of its gap.
    pub reached: Seq,
}

impl Reads {
    pub(crate) fn new(view: Arc<dyn View>, hurry: Option<Hurry>, execution: Execution) -> Self {
        Self { view, hurry, execution, look_ups: Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE_MAX)) }
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> T + Send + 'static,
    ) -> T {
        if let Execution::Tasks { read: duration, .. } = self.execution {
            let value = read(&*self.view);
            tokio::time::sleep(duration).await;
            return value;
        }
        let view = Arc::clone(&self.view);
        match tokio::task::spawn_blocking(move || read(&*view)).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// A conversation's floor and head in the view, which may be behind its tail.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| view.bounds(&conversation)).await
    }

    /// The same for a publisher, and what else the committer will want to know of one that `publishes`. On the way it greets.
    pub(super) async fn enter(
        &self,
        publisher: &Arc<Publisher>,
        publishes: bool,
        greet: impl FnOnce(&dyn View) + Send + 'static,
    ) -> Result<Bounds, ViewError> {
        let publisher = Arc::clone(publisher);
        self.run(move |view| {
            greet(view);
            if !publishes {
                return view.bounds(&publisher.conversation);
            }
            let (bounds, prior) = Prior::read(view, &publisher)?;
            prior.map(|prior| publisher.prior.set(prior));
            Ok(bounds)
        })
        .await
    }

    /// The events behind a cursor, up to and including `to`.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn after(
        &self,
        conversation: &ConversationName,
        cursor: Seq,
        to: Seq,
        limit: PageLimit,
    ) -> Result<Page, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| {
            let bounds = view.bounds(&conversation)?;
            let before_floor = bounds.floor.0.saturating_sub(1).min(bounds.head.0);
            let readable = Seq(cursor.0.max(before_floor.min(to.0)));
            let mut frames = Vec::new();
            if readable > cursor {
                frames.push(codec::encode(&ServerFrame::Gap { from: cursor.next(), to: readable }));
            }
            let readable_max = usize::try_from(to.0.saturating_sub(readable.0)).unwrap_or(usize::MAX);
            if readable_max == 0 {
                return Ok(Page { frames, reached: readable });
            }
            let limit = PageLimit { records: limit.records.min(readable_max), ..limit };
            let records = view.after(&conversation, readable, limit)?;
            frames.extend(encode_events(&records.iter().collect::<Vec<_>>()));
            Ok(Page { frames, reached: records.last().map_or(readable, |record| record.seq) })
        })
        .await
    }

    /// The first events behind a seq, which must not be before the floor, ascending.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn events_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Vec<Event>, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| view.after(&conversation, after, limit)?.iter().map(event).collect()).await
    }

    /// The last events before a seq, or the last ones of all, ascending.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn events_before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Event>, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| view.before(&conversation, before, limit)?.iter().map(event).collect()).await
    }

    /// Up to which group of the log the view is.
    pub(super) fn applied_position(&self) -> Position {
        self.view.applied()
    }

    /// Waits until the view has what the log holds up to `position`.
    pub(super) async fn applied(&self, position: Position) {
        while self.view.applied() < position {
            self.hurry.iter().for_each(Hurry::now);
            tokio::time::sleep(APPLIED_POLL).await;
        }
    }

    /// A conversation's floor and head, with everything that the log holds up to `position`.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn bounds_at(
        &self,
        conversation: &ConversationName,
        position: Position,
    ) -> Result<Bounds, ViewError> {
        self.applied(position).await;
        self.bounds(conversation).await
    }

    /// Finds old message ids of a producer that the log holds up to `position`.
    pub(super) async fn find(
        &self,
        conversation: ConversationName,
        producer: ProducerKey,
        numbers: Vec<u64>,
        position: Position,
    ) -> Vec<(u64, Result<Option<Record>, ViewError>)> {
        self.applied(position).await;
        let _one_of_few = self.look_ups.acquire().await;
        self.run(move |view| {
            numbers.into_iter().map(|n| (n, view.find(&conversation, producer, n))).collect()
        })
        .await
    }
}
