//! The view: what readers read, built from the log.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
pub use quoth_protocol::retention::{Marks, Place};
use quoth_protocol::{ConversationName, Seq};

use crate::class::Class;
use crate::key::{ConversationKey, ProducerKey};
use crate::log::Position;
use crate::record::Record;

mod error;
mod event;
pub(crate) mod fjall;
pub(crate) mod memory;
mod rewriting;

pub use error::ViewError;
pub use event::{StoredContent, StoredEvent, VisitEvent};
pub use rewriting::{Extent, NoRoom, Rewrite, Rewritten};

/// Which part of a conversation is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first seq that is readable; `head + 1` when there is none.
    pub floor: Seq,
    /// The last seq; 0 when the conversation is unknown.
    pub head: Seq,
}

/// The end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its last event, absent or not.
    pub seq: Seq,
    /// When that was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// Bytes of the contents of all events.
    pub end: u64,
}

/// A message that was stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its place. Of one that was reclaimed it may be that of a later message of the same producer.
    pub seq: Seq,
    /// When that was stored, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Consecutive seqs of a conversation, from `from` to `to`; none when `to` is before `from`. Those of which
/// there is no record are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The first seq that it tells of.
    pub from: Seq,
    /// The last one.
    pub to: Seq,
    /// The events, ascending. Contents are parts of what the view has in memory: whoever keeps one for long
    /// copies it.
    pub records: Vec<Record>,
}

impl Stretch {
    /// Nothing behind a seq.
    #[must_use]
    pub const fn nothing_behind(after: Seq) -> Self {
        Self { from: Seq(after.0.saturating_add(1)), to: after, records: Vec::new() }
    }
}

/// The end of a conversation, with what of it is readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// What is readable.
    pub bounds: Bounds,
    /// The last events, up to its head.
    pub events: Stretch,
}

impl Deref for Stretch {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        &self.records
    }
}

impl<T: AsRef<[Record]> + ?Sized> PartialEq<T> for Stretch {
    fn eq(&self, other: &T) -> bool {
        self.records == other.as_ref()
    }
}

/// What a window has of a conversation: what is reclaimed at once lies in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// With what it is kept together.
    pub class: Class,
    /// The window's number within the class.
    pub window: u32,
    /// Whether the window gets no further events.
    pub is_closed: bool,
    /// Where its first event lies.
    pub first: Place,
    /// Where the event behind its last one lies, or would lie.
    pub next: Place,
}

/// Is told what windows have of a conversation.
pub type Survey<'a> = dyn FnMut(&ConversationName, &[Span]) -> Result<(), ViewError> + 'a;

/// Says from where on a conversation is kept.
pub type Keeps<'a> = dyn FnMut(&ConversationName) -> Result<Marks, ViewError> + 'a;

/// How a conversation is kept, event by event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// What lies before these is absent.
    pub marks: Marks,
    /// What has expired by this time is, in milliseconds since 1970.
    pub live_ms: u64,
    /// For how long events are kept, in milliseconds; 0: that is not said.
    pub age_ms: u64,
}

impl Keep {
    /// Whether an event at this place is absent whose own time to live is over at `expires_ms`; 0: it has
    /// none.
    #[must_use]
    pub const fn is_absent(&self, place: Place, expires_ms: u64) -> bool {
        (expires_ms != 0 && expires_ms <= self.live_ms) || self.marks.covers(place)
    }
}

/// Says how a conversation is kept.
pub type Keepings<'a> = dyn FnMut(&ConversationName) -> Result<Keep, ViewError> + 'a;

/// Where a sweep goes on. The default is the beginning, and so is the end: what is behind it comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepCursor(pub(crate) Option<Reached>);

/// Where a sweep has ended: in a conversation, before the row of a register, or behind a conversation.
pub(crate) type Reached = (ConversationKey, Option<Vec<u8>>);

/// Is told of bytes that were read and written, again and again, and waits as it likes, but for no longer than
/// what it is given says that it may; `false` ends it.
pub type Pacer = Arc<dyn Fn(u64, &dyn Fn() -> bool) -> bool + Send + Sync>;

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Registers that are gone.
    pub registers: u64,
    /// Conversations that are damaged, and keep all that they have.
    pub damaged: u64,
    /// Whether it was let come to its end.
    pub is_done: bool,
}

/// What a window has that is dead one by one, whatever marks say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dead {
    /// Bytes of contents that were there, and are in no row any more.
    pub gone_bytes: u64,
    /// Bytes of contents that are there and have expired by their own time to live, or were erased.
    pub dead_bytes: u64,
    /// When the first of those expired that were not erased, in milliseconds since 1970; about.
    pub since_ms: Option<u64>,
}

/// What was erased and is on the disk still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Events.
    pub events: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// When the first of them was erased, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// A time at which one of them was erased that is as late as that of any which was so by a clock that was
    /// ahead, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// Nothing is on the disk any more of what it was to take away.
    Done,
    /// All registers are written anew, and a read or a pin holds what was there before: whoever wants no more than
    /// that calls it for what was erased alone, which writes nothing again for it.
    Written,
    /// It was not let go on, the disk became full, or a read or a pin holds it up.
    Unfinished,
}

impl Purged {
    /// Whether it has come to its end.
    #[must_use]
    pub fn is_done(self) -> bool {
        self == Self::Done
    }
}

/// What a reclaim has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Windows that are gone.
    pub windows: u64,
    /// What they took of the disk, in bytes.
    pub bytes: u64,
    /// Conversations that are damaged, and keep all that they have.
    pub damaged: u64,
}

/// How much one read returns at most. It returns at least one record if there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Records.
    pub records: usize,
    /// Bytes of contents.
    pub bytes: usize,
}

/// How much of its limit a read has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    limit: PageLimit,
    records: usize,
    bytes: usize,
}

impl Taken {
    pub(crate) const fn nothing(limit: PageLimit) -> Self {
        Self { limit, records: 0, bytes: 0 }
    }

    /// Whether a further record of no bytes would be over the limit.
    pub(crate) const fn is_full(&self) -> bool {
        self.records > 0 && self.records >= self.limit.records
    }

    /// Takes a record of so many bytes unless it is over the limit; says whether it did.
    pub(crate) const fn take(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(bytes);
        if self.is_full() || (self.records > 0 && bytes > self.limit.bytes) {
            return false;
        }
        self.bytes = bytes;
        self.records += 1;
        true
    }
}

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    records: Vec<Record>,
    taken: Taken,
}

impl Page {
    pub(crate) fn new(limit: PageLimit) -> Self {
        /// Most pages have no more.
        const RECORDS_USUAL: usize = 64;
        Self { records: Vec::with_capacity(limit.records.min(RECORDS_USUAL)), taken: Taken::nothing(limit) }
    }

    /// Whether a further record of no bytes would be over the limit.
    pub(crate) const fn is_full(&self) -> bool {
        self.taken.is_full()
    }

    /// Takes a record unless it is over the limit; says whether it did.
    pub(crate) fn take(&mut self, record: Record) -> bool {
        let is_taken = self.taken.take(record.content.len());
        if is_taken {
            self.records.push(record);
        }
        is_taken
    }

    /// All from `from` to `to`, when the records were taken ascending.
    pub(crate) fn ascending(self, from: Seq, to: Seq) -> Stretch {
        Stretch { from, to, records: self.records }
    }

    /// The same when they were taken descending.
    pub(crate) fn descending(mut self, from: Seq, to: Seq) -> Stretch {
        self.records.reverse();
        Stretch { from, to, records: self.records }
    }
}

/// The last message of a producer in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Second half of its message id.
    pub n: u64,
    /// Its place.
    pub seq: Seq,
}

/// What readers read. Built from the log, and rebuilt from it after a loss.
///
/// One thread applies; any thread may read and flush meanwhile.
pub trait View: Send + Sync + fmt::Debug {
    /// Applies the group at a position; reads show it when this returns. A group that is applied already is
    /// left alone. Registers get the values of the last records that set or remove them. Of a notice there
    /// are its registers only. What a record erases is absent from then on.
    ///
    /// # Errors
    /// When it is not the next group, or could not be written.
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError>;

    /// The last group that is applied.
    fn applied(&self) -> Position;

    /// When the last group was stored that is applied and has records, in milliseconds since 1970; 0: there is
    /// none. See [`Record::stored_ms`].
    fn stored_ms(&self) -> u64;

    /// Brings what is applied to stable storage and returns up to which group everything is there. A restart
    /// finds at least these groups and needs those behind from the log.
    ///
    /// # Errors
    /// When it could not be written.
    fn flush(&self) -> Result<Position, ViewError>;

    /// Which part of a conversation is readable: what was reclaimed at its beginning is not.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError>;

    /// Where a conversation ends; `None` when it has no event. That is so for as long as the view is kept,
    /// whatever is reclaimed: a seq is given once.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError>;

    /// The first event that is not before `marks`, or where the next event would lie. Of events that are gone
    /// it is not known any more where they lay: if it is one of them it may be told as a later one, and all
    /// in between are absent. It never goes back, whatever is freed, unless the marks do. It reads few rows.
    /// `hint` is not behind it: what was the floor before.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn floor(&self, conversation: &ConversationName, marks: Marks, hint: Seq) -> Result<Place, ViewError>;

    /// The last one of the events that are gone together with the one at `seq`; `None` when that is not gone. Its time
    /// may be a later one: at most that of the event behind it.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn gone_with(&self, conversation: &ConversationName, seq: Seq) -> Result<Option<Last>, ViewError>;

    /// The first records behind a seq, ascending.
    ///
    /// # Errors
    /// When something is neither there nor absent, or rows are damaged or could not be read.
    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError>;

    /// The same events for whoever needs no records: `visit` is told of each, ascending, and what it was told
    /// is worth nothing after an error. Gives the first seq and the last one that it tells of, as
    /// [`Stretch::from`] and [`Stretch::to`].
    ///
    /// # Errors
    /// As [`View::after`].
    fn visit_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
        visit: &mut VisitEvent<'_>,
    ) -> Result<(Seq, Seq), ViewError> {
        let stretch = self.after(conversation, after, limit)?;
        stretch.iter().for_each(|record| visit(&StoredEvent::of(record)));
        Ok((stretch.from, stretch.to))
    }

    /// The last records before a seq, or the last ones of all, ascending.
    ///
    /// # Errors
    /// When something is neither there nor absent, or rows are damaged or could not be read.
    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError>;

    /// The last records of all, and the bounds with this head: what lists show, from fewer rows than by two
    /// reads.
    ///
    /// # Errors
    /// As of [`View::bounds`] and [`View::before`].
    fn latest(&self, conversation: &ConversationName, limit: PageLimit) -> Result<Latest, ViewError> {
        let events = self.before(conversation, None, limit)?;
        let (head, Bounds { floor, .. }) = (events.to, self.bounds(conversation)?);
        Ok(Latest { bounds: Bounds { floor: floor.min(head.next()), head }, events })
    }

    /// Frees the space of windows of which everything lies before the marks of its conversation. What lies
    /// there must not be read any more, and marks must not move back later. What goes is absent; heads and
    /// message ids are kept. Conversations that are damaged, also those of which `keeps` says so, keep all
    /// that they have. It may be called again and again, by one thread at a time, while others read and
    /// apply.
    ///
    /// # Errors
    /// When rows could not be read or written; or one of `keeps`.
    fn reclaim(&self, keeps: &mut Keeps<'_>) -> Result<Reclaimed, ViewError>;

    /// Frees the space of what is absent in windows of which the rest stays, by writing that anew elsewhere:
    /// of those of which the most is dead, until an eighth of all is at most or nothing is, and of those that
    /// have what was erased by a time. What is not absent is as it was, for everybody at any time. It may be ended at any
    /// time, and is to be called again and again, by one thread at a time, which frees whole windows in
    /// between. Conversations that are damaged keep what they have.
    ///
    /// # Errors
    /// When rows could not be read or written; or one of `keepings`.
    fn rewrite(&self, keepings: &mut Keepings<'_>, rewrite: &mut Rewrite<'_>)
    -> Result<Rewritten, ViewError>;

    /// Removes the registers of events ([`OF_EVENT`](crate::OF_EVENT)) that have gone, with their window or
    /// when that was rewritten. `everything`: it looks at all of these registers; otherwise at those of the
    /// first events of each conversation alone, up to the first one that is there, which is cheap. It begins
    /// at `cursor` and leaves it where it ends. `pace` is told of bytes that were read, again and again, and
    /// waits as it likes; `false` ends it. It is to be called again and again, by one thread at a time, while
    /// others read, apply, reclaim and rewrite: groups that are applied again set registers again.
    ///
    /// # Errors
    /// When rows could not be read or written.
    fn sweep(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError>;

    /// Takes from the disk what registers have held of what was erased, when its windows are gone, which
    /// [`View::erased`] counts until then, and what registers held that were removed: `everything` or, unless
    /// that is much, only beside what was erased. It writes all registers anew, beside the old ones and at a
    /// pace, while others do whatever they like. Says how far it has come. It is to be called again and again, by
    /// one thread at a time.
    ///
    /// # Errors
    /// When rows could not be read or written, the disk has no room for all registers beside themselves, or so
    /// many are written meanwhile that others would have to wait.
    fn purge(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError>;

    /// What was erased and is on the disk still, as far as rewriting takes it away. Nobody waits for it.
    fn erased(&self) -> Erased;

    /// Goes through the conversations that have events, with what windows have of them, ascending. Reading
    /// goes on meanwhile. Those that are damaged, also those of which `visit` says so, are left out; it gives
    /// how many.
    ///
    /// # Errors
    /// When rows could not be read; or another one of `visit`.
    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError>;

    /// What a window of a class has that is dead one by one, at a time in milliseconds since 1970.
    fn dead(&self, class: Class, window: u32, now_ms: u64) -> Dead;

    /// The classes whose open window is to be closed at this time, in milliseconds since 1970: by a record of
    /// the class, which may be a notice. Nobody waits for it.
    fn overdue(&self, now_ms: u64) -> Vec<Class>;

    /// What the view takes of the disk, in bytes.
    fn disk_bytes(&self) -> u64;

    /// The last message of a producer in a conversation.
    ///
    /// # Errors
    /// When the row is damaged or could not be read.
    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError>;

    /// The message with a message id, absent or not. Relies on that a producer's n grows with seq, and reads
    /// few rows, however old the message and however large the conversation is. Among what was reclaimed, it
    /// takes every n for that of a message.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError>;

    /// What a conversation's register holds; `None` when it was never set, or removed.
    ///
    /// # Errors
    /// When its row is damaged or could not be read.
    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// What several registers of a conversation hold, in the order of their keys.
    ///
    /// # Errors
    /// When one of the rows is damaged or could not be read.
    fn registers_at(
        &self,
        conversation: &ConversationName,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Bytes>>, ViewError> {
        keys.iter().map(|key| self.register(conversation, key)).collect()
    }

    /// A conversation's registers whose keys begin with `prefix` and come behind `after`, with their values,
    /// ascending by key. Fewer than `limit` means that these are the last ones.
    ///
    /// # Errors
    /// When a row is damaged or could not be read.
    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError>;

    /// Conversations that have events or registers and come behind `after`, in the order of their keys
    /// ([`ConversationKey`]). Fewer than `limit` means that these are the last ones.
    /// Those whose names are damaged are left out.
    ///
    /// # Errors
    /// When rows could not be read.
    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError>;
}
