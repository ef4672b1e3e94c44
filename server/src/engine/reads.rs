//! Reads from the view, off the runtime's threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::history::Anchor;
use quoth_core::messages::Absent;
use quoth_protocol::frame::{Event, FetchRange};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Bounds, Hurry, PageLimit, Position, ProducerKey, Record, View, ViewError};

use tokio::sync::Semaphore;

use super::Execution;
use super::absent::leave_out;
use super::access::Access;
use super::coalesced::Coalesced;
use super::frame::{encode_event, event};
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
    pages: Arc<Coalesced<Wanted, Read>>,
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("execution", &self.execution).finish_non_exhaustive()
    }
}

/// Part of a conversation, as frames.
#[derive(Debug)]
pub struct Page {
    /// Event frames in ascending order, and gap frames in place of events that are absent.
    pub frames: Vec<Bytes>,
    /// Where a reader that has taken the page stands: at its last event, or at the end of its last gap.
    pub reached: Seq,
}

/// Which events are read, of a conversation's that the view has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    conversation: ConversationName,
    after: Seq,
    to: Seq,
    records_max: usize,
    bytes_max: usize,
}

/// What was read: the frames of consecutive events.
#[derive(Debug)]
struct Read {
    first: Seq,
    frames: Vec<Bytes>,
}

impl Read {
    /// As a page of who asked for what is behind `cursor`.
    fn page(&self, access: Option<&Access>, cursor: Seq) -> Page {
        let mut frames = self.frames.clone();
        let reached = Seq(self.first.0 + frames.len() as u64 - 1);
        let gap_from = (self.first > cursor.next()).then(|| cursor.next());
        match access.and_then(Access::absent) {
            Some(absent) => leave_out(&absent.read(), gap_from, self.first, &mut frames),
            None => leave_out(&Absent::default(), gap_from, self.first, &mut frames),
        }
        Page { frames, reached }
    }
}

impl Reads {
    pub(crate) fn new(view: Arc<dyn View>, hurry: Option<Hurry>, execution: Execution) -> Self {
        let look_ups = Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE_MAX));
        Self { view, hurry, execution, look_ups, pages: Arc::default() }
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

    /// The events behind a cursor, up to and including `to`, with gaps in place of those that are absent.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn after(
        &self,
        access: &Access,
        cursor: Seq,
        to: Seq,
        limit: PageLimit,
    ) -> Result<Page, ViewError> {
        let name = access.name().clone();
        let read = self.run(move |view| read_after(view, &name, cursor, to, limit)).await?;
        Ok(read.page(Some(access), cursor))
    }

    /// The same where the view is known to have everything up to `to`: whoever wants the same while it is read gets it from the one
    /// read. Elsewhere one that has begun earlier may lack what somebody was woken for.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn page(
        &self,
        access: &Access,
        cursor: Seq,
        to: Seq,
        limit: PageLimit,
    ) -> Result<Page, ViewError> {
        let PageLimit { records: records_max, bytes: bytes_max } = limit;
        let conversation = access.name().clone();
        let wanted = Wanted { conversation, after: cursor, to, records_max, bytes_max };
        let read = |Wanted { conversation, after, to, .. }: Wanted| {
            self.run(move |view| read_after(view, &conversation, after, to, limit))
        };
        let read = self.pages.get(wanted, read).await?;
        // What has become absent since the read began is left out, whoever began it.
        Ok(read.page(Some(access), cursor))
    }

    /// The first events behind `after` up to and including `last`, which are readable ones, or the last of these.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn events(
        &self,
        conversation: &ConversationName,
        (after, last): (Seq, Seq),
        bytes_max: usize,
        from_the_end: bool,
    ) -> Result<Vec<Event>, ViewError> {
        let records = usize::try_from(last.0.saturating_sub(after.0)).unwrap_or(usize::MAX);
        if records == 0 {
            return Ok(Vec::new());
        }
        let (conversation, limit) = (conversation.clone(), PageLimit { records, bytes: bytes_max });
        let read = move |view: &dyn View| {
            let records = if from_the_end {
                view.before(&conversation, Some(last.next()), limit)?
            } else {
                view.after(&conversation, after, limit)?
            };
            records.iter().map(event).collect()
        };
        self.run(read).await
    }

    /// Where a page of this range lies.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn anchor(
        &self,
        conversation: &ConversationName,
        range: FetchRange,
        bounds: Bounds,
    ) -> Result<Anchor, ViewError> {
        let first_at = |time_ms| self.first_at(conversation, time_ms, bounds);
        Ok(match range {
            FetchRange::After(seq) => Anchor::After(seq),
            FetchRange::Before(seq) => Anchor::Before(seq),
            FetchRange::Latest => Anchor::Before(Seq(u64::MAX)),
            FetchRange::Around(seq) => Anchor::Around(seq),
            FetchRange::AfterTime(time_ms) => {
                Anchor::After(Seq(first_at(time_ms).await?.0.saturating_sub(1)))
            }
            FetchRange::BeforeTime(time_ms) => Anchor::Before(first_at(time_ms).await?),
            FetchRange::AroundTime(time_ms) => Anchor::Around(first_at(time_ms).await?),
        })
    }

    /// The first event of a conversation that was stored at `time_ms` or later, in milliseconds since 1970; the seq behind the head where
    /// there is none.
    async fn first_at(
        &self,
        conversation: &ConversationName,
        time_ms: u64,
        bounds: Bounds,
    ) -> Result<Seq, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| {
            // Times never go back, so each look leaves out half of what is left.
            let (mut first, mut behind) = (bounds.floor.0, bounds.head.0.saturating_add(1));
            while first < behind {
                let middle = first + (behind - first) / 2;
                let limit = PageLimit { records: 1, bytes: usize::MAX };
                let records = view.after(&conversation, Seq(middle.saturating_sub(1)), limit)?;
                if records.first().is_none_or(|record| record.time_ms >= time_ms) {
                    behind = middle;
                } else {
                    first = middle + 1;
                }
            }
            Ok(Seq(first))
        })
        .await
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

/// The first readable events behind a cursor.
fn read_after(
    view: &dyn View,
    conversation: &ConversationName,
    cursor: Seq,
    to: Seq,
    limit: PageLimit,
) -> Result<Read, ViewError> {
    let bounds = view.bounds(conversation)?;
    let before_floor = bounds.floor.0.saturating_sub(1).min(bounds.head.0);
    let readable = Seq(cursor.0.max(before_floor.min(to.0)));
    let mut frames = Vec::new();
    let readable_max = usize::try_from(to.0.saturating_sub(readable.0)).unwrap_or(usize::MAX);
    if readable_max > 0 {
        let limit = PageLimit { records: limit.records.min(readable_max), ..limit };
        frames.extend(view.after(conversation, readable, limit)?.iter().map(encode_event));
    }
    Ok(Read { first: readable.next(), frames })
}
