//! Reads from the view, off the runtime's threads.

use std::sync::Arc;

use quoth_core::history::{Anchor, Span};
use quoth_core::retention::{End, Keeping, Marks};
use quoth_protocol::frame::{Event, FetchRange};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{
    Bounds, Found, Hurry, PageLimit, Position, ProducerKey, StoredEvent, Stretch, View, ViewError,
};

use tokio::sync::{Semaphore, oneshot};

use super::Execution;
use super::coalesced::Coalesced;
use super::frame::{event, stored_event};
use super::page::{Gathered, Page, PageParts, Read};
use super::publisher::{Prior, Publisher};
use super::readable::{Reading, visit_behind};

/// Streams whose old message ids are looked up at once; the others wait, so that many repeats leave threads
/// to other reads.
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

/// Which events are read, of a conversation's that the view has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    conversation: ConversationName,
    after: Seq,
    to: Seq,
    records_max: usize,
    bytes_max: usize,
}

/// What a read has found behind a cursor.
struct Piece<T> {
    /// The last seq that it tells of.
    last: Seq,
    is_any_there: bool,
    found: T,
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
    pub(super) async fn bounds(
        &self,
        conversation: &ConversationName,
        at: Reading,
    ) -> Result<Bounds, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| at.bounds(view, &conversation)).await
    }

    /// The view itself, for what is done there and not read.
    pub(super) fn view(&self) -> &dyn View {
        &*self.view
    }

    /// The same for a publisher, and what else the committer will want to know of one that `publishes`. On
    /// the way it greets.
    pub(super) async fn enter(
        &self,
        publisher: &Arc<Publisher>,
        publishes: bool,
        at: Reading,
        greet: impl FnOnce(&dyn View) + Send + 'static,
    ) -> Result<Bounds, ViewError> {
        let publisher = Arc::clone(publisher);
        self.run(move |view| {
            greet(view);
            if !publishes {
                return at.bounds(view, &publisher.conversation);
            }
            let (bounds, prior) = Prior::read(view, &publisher, at)?;
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
        conversation: &ConversationName,
        cursor: Seq,
        to: Seq,
        limit: PageLimit,
        at: Reading,
    ) -> Result<Page, ViewError> {
        let name = conversation.clone();
        let read = move |view: &dyn View, from: Seq| {
            let mut gathered = Gathered::default();
            let last = at.after(view, &name, (from, to), limit, &mut |event| gathered.take(event))?;
            let read = gathered.into_read(last);
            // They are judged already.
            Ok(Piece { last, is_any_there: !read.is_empty(), found: read.page(|_| false, cursor, to) })
        };
        Ok(self.first_piece((cursor, to), read).await?.found)
    }

    /// The first piece of what is behind a cursor, up to and including `to`, that tells of an event; where
    /// there is none, the last one.
    async fn first_piece<T: Send + 'static>(
        &self,
        (cursor, to): (Seq, Seq),
        read: impl Fn(&dyn View, Seq) -> Result<Piece<T>, ViewError> + Clone + Send + 'static,
    ) -> Result<Piece<T>, ViewError> {
        let mut from = cursor;
        loop {
            let read = read.clone();
            let piece = self.run(move |view| read(view, from)).await?;
            if piece.is_any_there || piece.last >= to || piece.last <= from {
                return Ok(piece);
            }
            from = piece.last;
        }
    }

    /// The same where the view is known to have everything up to `to`: whoever wants the same while it is
    /// read gets it from the one read. Elsewhere one that has begun earlier may lack what somebody was woken
    /// for.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn page(
        &self,
        conversation: &ConversationName,
        cursor: Seq,
        to: Seq,
        limit: PageLimit,
        at: Reading,
    ) -> Result<Page, ViewError> {
        let rule = if at.keeping.may_take() {
            let (at, name) = (at.clone(), conversation.clone());
            self.run(move |view| at.rule(view, &name)).await?
        } else {
            at.rule_without_marks()
        };
        let judged = at.by(rule);
        // What is before the floor need not be read, and whoever asks for it wants the same.
        let mut from = cursor.max(Seq(rule.floor.0.saturating_sub(1)).min(to));
        let read = loop {
            let read = self.behind(conversation, (from, to), limit, true).await?;
            let last = read.last.min(to);
            // All of it is absent, and what follows may be too: it is told as one gap.
            if last <= from || last == to || read.any(|one| !judged.is_absent_by(one)) {
                break read;
            }
            from = last;
        };
        // What has become absent since the read began is left out, whoever began it.
        Ok(read.page(|one| judged.is_absent_by(one), cursor, to))
    }

    /// The same as [`Reads::page`], where `in_view` says up to where the view has everything, or as
    /// [`Reads::after`], in parts that are judged when they go; only of a conversation of which [no marks take
    /// anything](Keeping::may_take).
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn parts(
        &self,
        conversation: &ConversationName,
        cursor: Seq,
        to: Seq,
        in_view: Option<Seq>,
        limit: PageLimit,
        at: Reading,
    ) -> Result<PageParts, ViewError> {
        let judged = at.by(at.rule_without_marks());
        let to = in_view.map_or(to, |in_view| in_view.min(to));
        let mut from = cursor;
        loop {
            let read = self.behind(conversation, (from, to), limit, in_view.is_some()).await?;
            if read.last <= from || read.last >= to || read.any(|one| !judged.is_absent_by(one)) {
                return Ok(PageParts::new(&read, to));
            }
            from = read.last;
        }
    }

    /// What is behind a seq, absent or not: for all who want the same at once where that is right.
    async fn behind(
        &self,
        conversation: &ConversationName,
        (after, to): (Seq, Seq),
        limit: PageLimit,
        is_shared: bool,
    ) -> Result<Arc<Read>, ViewError> {
        let PageLimit { records: records_max, bytes: bytes_max } = limit;
        let wanted = Wanted { conversation: conversation.clone(), after, to, records_max, bytes_max };
        let read = |Wanted { conversation, after, to, .. }: Wanted| {
            self.run(move |view| read_after(view, &conversation, after, to, limit))
        };
        if is_shared { self.pages.get(wanted, read).await } else { read(wanted).await.map(Arc::new) }
    }

    /// The first events behind `after` up to and including `last`, which are readable ones, or the last of
    /// these.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn events(
        &self,
        conversation: &ConversationName,
        (after, last): (Seq, Seq),
        bytes_max: usize,
        from_the_end: bool,
        at: Reading,
    ) -> Result<Events, ViewError> {
        let records = usize::try_from(last.0.saturating_sub(after.0)).unwrap_or(usize::MAX);
        if records == 0 {
            return Ok(Events { from: after.next(), to: after, events: Vec::new() });
        }
        let limit = PageLimit { records, bytes: bytes_max };
        if !from_the_end {
            let name = conversation.clone();
            let read = move |view: &dyn View, from: Seq| {
                let mut events = Vec::new();
                let mut take = |event: &StoredEvent<'_>| events.push(stored_event(&name, event));
                let last = at.after(view, &name, (from, last), limit, &mut take)?;
                let events = events.into_iter().collect::<Result<Vec<_>, _>>()?;
                Ok(Piece { last, is_any_there: !events.is_empty(), found: events })
            };
            let Piece { last: to, found: events, .. } = self.first_piece((after, last), read).await?;
            return Ok(Events { from: after.next(), to, events });
        }
        let mut stretch = self.judged_before(conversation, after, last, limit, at).await?;
        stretch.records.retain(|record| record.seq > after);
        stretch.from = stretch.from.max(after.next());
        self.run(move |_| Events::of(stretch)).await
    }

    /// The last events up to and including `last` that are not absent, behind `after`.
    async fn judged_before(
        &self,
        conversation: &ConversationName,
        after: Seq,
        last: Seq,
        limit: PageLimit,
        at: Reading,
    ) -> Result<Stretch, ViewError> {
        let (mut before, mut to) = (last.next(), None);
        loop {
            let (at, name) = (at.clone(), conversation.clone());
            let stretch = self.run(move |view| at.before(view, &name, before, after, limit)).await?;
            let to = *to.get_or_insert(stretch.to);
            if !stretch.records.is_empty() || stretch.from <= after.next() || stretch.from >= before {
                return Ok(Stretch { to, ..stretch });
            }
            before = stretch.from;
        }
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

    /// The first and the last seq of what lies before the floor, where some of it may have been stored at
    /// `time_ms` or later, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn gone_of_time(
        &self,
        conversation: &ConversationName,
        time_ms: u64,
        floor: Seq,
        keeping: Keeping,
    ) -> Result<Option<(Seq, Seq)>, ViewError> {
        // What goes by its age alone is as old as that. Of what went by the number or the bytes of a class of an
        // earlier start that is not known any more; it is as old at the latest when the age has passed.
        let Marks { seq, time_ms: aged_ms, offset } = keeping.judge(End::default()).marks;
        let is_by_age = !keeping.depends_on_end() && seq <= Seq(1) && offset == 0 && aged_ms > 0;
        if floor <= Seq(1) || (is_by_age && time_ms >= aged_ms) {
            return Ok(None);
        }
        let (conversation, last) = (conversation.clone(), Seq(floor.0 - 1));
        self.run(move |view| {
            // Times never go back, so none of them is later than the last one.
            let stored_ms = if let Some(gone) = view.gone_with(&conversation, last)? {
                Some(gone.time_ms)
            } else {
                let limit = PageLimit { records: 1, bytes: usize::MAX };
                let records = view.before(&conversation, Some(floor), limit)?.records;
                records.last().filter(|record| record.seq == last).map(|record| record.time_ms)
            };
            Ok(stored_ms.is_none_or(|stored_ms| stored_ms >= time_ms).then_some((Seq(1), last)))
        })
        .await
    }

    /// A page of which all is absent, with what is next to it on the side to which it was asked for, or else
    /// on the other one.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn widened(
        &self,
        conversation: &ConversationName,
        anchor: Anchor,
        page: Span,
        limit: u64,
        bounds: Bounds,
        at: Reading,
    ) -> Result<Span, ViewError> {
        let conversation = conversation.clone();
        self.run(move |view| {
            let goes_on = matches!(anchor, Anchor::After(_)) || !page.more_before;
            Ok(match anchor {
                _ if goes_on && !page.more_after => page,
                Anchor::Before(_) if goes_on => page,
                _ if goes_on => {
                    let event = at.first_behind(view, &conversation, page.last)?;
                    page.on_to(event, limit, bounds.head)
                }
                _ => {
                    let event = at.last_before(view, &conversation, page.after.next())?;
                    page.back_to(event, limit, bounds.floor)
                }
            })
        })
        .await
    }

    /// The first event of a conversation that was stored at `time_ms` or later, in milliseconds since 1970;
    /// the seq behind the head where there is none.
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

    /// Waits until the view has what the log holds up to `position`: for ever where it has failed.
    pub(super) async fn applied(&self, position: Position) {
        if self.view.applied() >= position {
            return;
        }
        let Some(hurry) = &self.hurry else { return };
        let (tell, told) = oneshot::channel();
        let tell = move || {
            // Who has waited may have gone.
            let _gone = tell.send(());
        };
        hurry.until(position, Box::new(tell));
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How many wait for pages that are being read.
    #[cfg(test)]
    pub(super) fn page_readers(&self) -> usize {
        self.pages.waiting()
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

/// The first events behind a cursor, absent or not.
fn read_after(
    view: &dyn View,
    conversation: &ConversationName,
    cursor: Seq,
    to: Seq,
    limit: PageLimit,
) -> Result<Read, ViewError> {
    let records = usize::try_from(to.0.saturating_sub(cursor.0)).unwrap_or(usize::MAX);
    if records == 0 {
        return Ok(Gathered::default().into_read(cursor));
    }
    let limit = PageLimit { records: limit.records.min(records), ..limit };
    let mut gathered = Gathered::default();
    let last = visit_behind(view, conversation, cursor, limit, &mut |event| gathered.take(event))?;
    Ok(gathered.into_read(last))
}
