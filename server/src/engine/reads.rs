//! Reads from the view, off the runtime's threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::retention::{End, Gaps, Judge, Keeping, Place};
use quoth_protocol::frame::{Event, ServerFrame};
use quoth_protocol::{ConversationName, Seq, codec};
use quoth_store::{Bounds, Found, Hurry, PageLimit, Position, ProducerKey, Record, Stretch, View, ViewError};

use tokio::sync::Semaphore;

use super::Execution;
use super::frame::{encode_event, event};
use super::publisher::{Prior, Publisher};
use super::retention::marks;
use super::tails::Ahead;

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
    /// Event frames in ascending order, with a gap frame for what is absent.
    pub frames: Vec<Bytes>,
    /// Where a reader that has taken the page stands: at its last event, or at the end of its gap.
    pub reached: Seq,
}

/// Part of a conversation: what of `from` to `to` is no event is absent.
#[derive(Debug)]
pub struct Events {
    /// The first seq that it tells of.
    pub from: Seq,
    /// The last one; before `from` when it tells of none.
    pub to: Seq,
    /// The events, ascending.
    pub events: Vec<Event>,
}

impl Events {
    fn of(Stretch { from, to, records }: Stretch) -> Result<Self, ViewError> {
        Ok(Self { from, to, events: records.iter().map(event).collect::<Result<_, _>>()? })
    }
}

/// By what a read is judged: taken before it begins.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// How the conversation is kept.
    pub(super) keeping: Keeping,
    /// What the view may not have yet.
    pub(super) ahead: Ahead,
}

impl Reading {
    /// The judge, by the end of the conversation that is the latest.
    fn judge(&self, view: &dyn View, name: &ConversationName) -> Result<Judge, ViewError> {
        let Keeping { policy, .. } = self.keeping;
        let mut end = self.ahead.end;
        if policy.count > 0 || policy.bytes > 0 {
            let last = view.last(name)?.map(|last| End { seq: last.seq, bytes: last.end });
            end = last.filter(|last| last.seq > end.seq).unwrap_or(end);
        }
        Ok(self.keeping.judge(end))
    }

    /// The floor, and the head of the view.
    pub(super) fn bounds(&self, view: &dyn View, name: &ConversationName) -> Result<Bounds, ViewError> {
        let bounds = view.bounds(name)?;
        let judge = self.judge(view, name)?;
        if judge.marks.is_nothing() {
            return Ok(bounds);
        }
        Ok(Bounds { floor: view.floor(name, marks(judge.marks), bounds.floor)?.seq, ..bounds })
    }

    fn is_absent(&self, judge: Judge, record: &Record) -> bool {
        let place = Place { seq: record.seq, time_ms: record.time_ms, offset: record.offset };
        judge.is_absent(place, record.expires_ms) || self.ahead.erased.contains(&record.seq)
    }

    /// The first events behind a seq that are not absent, up to `to`. Where all of a page are absent it reads on.
    fn after(
        &self,
        view: &dyn View,
        name: &ConversationName,
        after: Seq,
        to: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let judge = self.judge(view, name)?;
        let mut reached = after;
        if !judge.marks.is_nothing() {
            let floor = view.floor(name, marks(judge.marks), Seq::ZERO)?.seq;
            reached = after.max(Seq(floor.0.saturating_sub(1)).min(to));
        }
        loop {
            let records = usize::try_from(to.0.saturating_sub(reached.0)).unwrap_or(usize::MAX);
            if records == 0 {
                return Ok(Stretch { to: reached, ..Stretch::nothing_behind(after) });
            }
            let limit = PageLimit { records: limit.records.min(records), ..limit };
            let Stretch { to: last, mut records, .. } = view.after(name, reached, limit)?;
            records.retain(|record| record.seq <= to && !self.is_absent(judge, record));
            if !records.is_empty() || last == reached {
                return Ok(Stretch { from: after.next(), to: last.min(to), records });
            }
            reached = last.min(to);
        }
    }

    /// The same in the other direction.
    fn before(
        &self,
        view: &dyn View,
        name: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let (judge, mut before) = (self.judge(view, name)?, before);
        let floor = if judge.marks.is_nothing() {
            Seq(1)
        } else {
            view.floor(name, marks(judge.marks), Seq::ZERO)?.seq
        };
        let mut to = None;
        loop {
            let Stretch { from, to: last, mut records } = view.before(name, before, limit)?;
            let to = *to.get_or_insert(last);
            records.retain(|record| !self.is_absent(judge, record));
            if !records.is_empty() || from <= floor {
                return Ok(Stretch { from, to, records });
            }
            before = Some(from);
        }
    }
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

    /// The view itself, for what is done there and not read.
    pub(super) fn view(&self) -> &dyn View {
        &*self.view
    }

    /// A conversation's floor and head in the view, which may be behind its tail.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(super) async fn bounds(
        &self,
        conversation: &ConversationName,
        at: Reading,
    ) -> Result<Bounds, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| at.bounds(view, &conversation)).await
    }

    /// The same, and what else the committer will want to know of the publisher.
    pub(super) async fn begin(&self, publisher: &Arc<Publisher>, at: Reading) -> Result<Bounds, ViewError> {
        let publisher = Arc::clone(publisher);
        self.run(move |view| {
            let (bounds, prior) = Prior::read(view, &publisher, at)?;
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
        at: Reading,
    ) -> Result<Page, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| {
            let gap = |(from, to)| codec::encode(&ServerFrame::Gap { from, to });
            let (mut frames, mut gaps) = (Vec::new(), Gaps::behind(cursor));
            let read = at.after(view, &conversation, cursor, to, limit)?;
            for record in &read.records {
                frames.extend(gaps.event(record.seq).map(gap));
                frames.push(encode_event(record));
            }
            // What is absent behind the last event may go on in the next page, and is told there as one.
            let reached = match read.records.last() {
                Some(last) if last.seq < read.to && read.to < to => last.seq,
                _ => read.to,
            };
            frames.extend(gaps.until(reached).map(gap));
            Ok(Page { frames, reached })
        })
        .await
    }

    /// The first events behind a seq, ascending.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn events_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
        at: Reading,
    ) -> Result<Events, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| Events::of(at.after(view, &conversation, after, Seq(u64::MAX), limit)?)).await
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
        at: Reading,
    ) -> Result<Events, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| Events::of(at.before(view, &conversation, before, limit)?)).await
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
        at: Reading,
    ) -> Result<Bounds, ViewError> {
        self.applied(position).await;
        self.bounds(conversation, at).await
    }

    /// Finds old message ids of a producer that the log holds up to `position`.
    pub(super) async fn find(
        &self,
        conversation: ConversationName,
        producer: ProducerKey,
        numbers: Vec<u64>,
        position: Position,
    ) -> Vec<(u64, Result<Option<Found>, ViewError>)> {
        self.applied(position).await;
        let _one_of_few = self.look_ups.acquire().await;
        self.run(move |view| {
            numbers.into_iter().map(|n| (n, view.find(&conversation, producer, n))).collect()
        })
        .await
    }
}
