//! Logs and views of which a test changes a part: the rest is passed on to another one.

use std::fmt;

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};

use crate::class::Class;
use crate::key::ProducerKey;
use crate::log::hold::Hold;
use crate::log::{Log, LogError, LogReader, Position, Visit};
use crate::record::Record;
use crate::view::{
    Bounds, Dead, Erased, Found, Keepings, Keeps, Last, Marks, Pacer, PageLimit, Place, ProducerState,
    Purged, Reclaimed, Rewrite, Rewritten, Stretch, Survey, SweepCursor, Swept, View, ViewError,
};

/// What a test makes a log or a view of: `Overridden(my_override)`.
pub struct Overridden<T>(pub T);

impl<T> fmt::Debug for Overridden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<T>())
    }
}

/// Calls of [`Log`] that a test changes; those that it leaves out go to [`LogOverride::inner`].
#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `Log`")]
pub trait LogOverride: Send + Sync {
    /// The log that does the work.
    fn inner(&self) -> &dyn Log;

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        self.inner().append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        self.inner().flush()
    }

    fn make_room(&self) -> Result<(), LogError> {
        self.inner().make_room()
    }

    fn first_stored(&self) -> Position {
        self.inner().first_stored()
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        self.inner().fence(epoch)
    }

    fn close(&self) -> Result<(), LogError> {
        self.inner().close()
    }
}

impl<T: LogOverride> Log for Overridden<T> {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        self.0.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        self.0.flush()
    }

    fn make_room(&self) -> Result<(), LogError> {
        self.0.make_room()
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.0.inner().read(from, visit)
    }

    fn reader(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        self.0.inner().reader(from)
    }

    fn hold(&self, from: Position) -> Hold {
        self.0.inner().hold(from)
    }

    fn first(&self) -> Position {
        self.0.inner().first()
    }

    fn first_stored(&self) -> Position {
        self.0.first_stored()
    }

    fn next(&self) -> Position {
        self.0.inner().next()
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        self.0.inner().trim(before)
    }

    fn end_segment(&self) -> Result<(), LogError> {
        self.0.inner().end_segment()
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        self.0.fence(epoch)
    }

    fn close(&self) -> Result<(), LogError> {
        self.0.close()
    }
}

/// Calls of [`View`] that a test changes; those that it leaves out go to [`ViewOverride::inner`].
#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `View`")]
pub trait ViewOverride: Send + Sync {
    /// The view that does the work.
    fn inner(&self) -> &dyn View;

    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        self.inner().apply(position, records)
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.inner().flush()
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        self.inner().bounds(conversation)
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.inner().after(conversation, after, limit)
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.inner().before(conversation, before, limit)
    }

    fn last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError> {
        self.inner().last(conversation)
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        self.inner().producer(conversation, producer)
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        self.inner().find(conversation, producer, n)
    }

    fn rewrite(
        &self,
        keepings: &mut Keepings<'_>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Rewritten, ViewError> {
        self.inner().rewrite(keepings, rewrite)
    }

    fn sweep(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        self.inner().sweep(everything, cursor, pace)
    }

    fn purge(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError> {
        self.inner().purge(everything, pace)
    }

    fn erased(&self) -> Erased {
        self.inner().erased()
    }

    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        self.inner().survey(visit)
    }

    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.inner().register(conversation, key)
    }

    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.inner().registers(conversation, prefix, after, limit)
    }

    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        self.inner().conversations(after, limit)
    }
}

impl<T: ViewOverride> View for Overridden<T> {
    fn last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError> {
        self.0.last(conversation)
    }

    fn floor(&self, conversation: &ConversationName, marks: Marks, hint: Seq) -> Result<Place, ViewError> {
        self.0.inner().floor(conversation, marks, hint)
    }

    fn gone_with(&self, conversation: &ConversationName, seq: Seq) -> Result<Option<Last>, ViewError> {
        self.0.inner().gone_with(conversation, seq)
    }

    fn reclaim(&self, keeps: &mut Keeps<'_>) -> Result<Reclaimed, ViewError> {
        self.0.inner().reclaim(keeps)
    }

    fn rewrite(
        &self,
        keepings: &mut Keepings<'_>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Rewritten, ViewError> {
        self.0.rewrite(keepings, rewrite)
    }

    fn sweep(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        self.0.sweep(everything, cursor, pace)
    }

    fn purge(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError> {
        self.0.purge(everything, pace)
    }

    fn erased(&self) -> Erased {
        self.0.erased()
    }

    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        self.0.survey(visit)
    }

    fn dead(&self, class: Class, window: u32, now_ms: u64) -> Dead {
        self.0.inner().dead(class, window, now_ms)
    }

    fn overdue(&self, now_ms: u64) -> Vec<Class> {
        self.0.inner().overdue(now_ms)
    }

    fn disk_bytes(&self) -> u64 {
        self.0.inner().disk_bytes()
    }

    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        self.0.apply(position, records)
    }

    fn applied(&self) -> Position {
        self.0.inner().applied()
    }

    fn stored_ms(&self) -> u64 {
        self.0.inner().stored_ms()
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.0.flush()
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        self.0.bounds(conversation)
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.0.after(conversation, after, limit)
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.0.before(conversation, before, limit)
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        self.0.producer(conversation, producer)
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        self.0.find(conversation, producer, n)
    }

    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.0.register(conversation, key)
    }

    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.0.registers(conversation, prefix, after, limit)
    }

    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        self.0.conversations(after, limit)
    }
}
