//! Stores with a bug, to show that the simulation finds it.

use std::sync::Arc;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::{
    Bounds, Log, LogError, PageLimit, Position, ProducerKey, ProducerState, Record, View, ViewError, Visit,
};

/// A bug of the store under the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// A flush is said to be done before it is: acks leave early.
    EarlyAck,
    /// The view forgets which messages a producer has stored: repeats are stored again after a restart.
    ForgottenProducers,
    /// Reads from the view begin one event too late.
    CursorOffByOne,
}

impl Plant {
    pub(super) fn log(self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        if self == Self::EarlyAck { Arc::new(EarlyLog(log)) } else { log }
    }

    pub(super) fn view(self, view: Arc<dyn View>) -> Arc<dyn View> {
        match self {
            Self::ForgottenProducers | Self::CursorOffByOne => {
                Arc::new(PlantedView { inner: view, plant: self })
            }
            Self::Nothing | Self::EarlyAck => view,
        }
    }
}

/// Flushes a group no sooner than the next one comes.
#[derive(Debug)]
struct EarlyLog(Arc<dyn Log>);

impl Log for EarlyLog {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        self.0.flush()?;
        self.0.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.0.read(from, visit)
    }

    fn first(&self) -> Position {
        self.0.first()
    }

    fn next(&self) -> Position {
        self.0.next()
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        self.0.trim(before)
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        self.0.fence(epoch)
    }

    fn close(&self) -> Result<(), LogError> {
        self.0.close()
    }
}

#[derive(Debug)]
struct PlantedView {
    inner: Arc<dyn View>,
    plant: Plant,
}

impl View for PlantedView {
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        self.inner.apply(position, records)
    }

    fn applied(&self) -> Position {
        self.inner.applied()
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.inner.flush()
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        self.inner.bounds(conversation)
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let after = if self.plant == Plant::CursorOffByOne { after.next() } else { after };
        self.inner.after(conversation, after, limit)
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        self.inner.before(conversation, before, limit)
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        match self.plant {
            Plant::ForgottenProducers => Ok(None),
            _ => self.inner.producer(conversation, producer),
        }
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Record>, ViewError> {
        self.inner.find(conversation, producer, n)
    }
}
