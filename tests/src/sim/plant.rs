//! Stores with a bug, to show that the simulation finds it.

use std::sync::Arc;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{LogOverride, Overridden, ViewOverride};
use quoth_store::{Log, LogError, PageLimit, Position, ProducerKey, ProducerState, Stretch, View, ViewError};

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
        if self == Self::EarlyAck { Arc::new(Overridden(EarlyLog(log))) } else { log }
    }

    pub(super) fn view(self, view: Arc<dyn View>) -> Arc<dyn View> {
        match self {
            Self::ForgottenProducers | Self::CursorOffByOne => {
                Arc::new(Overridden(PlantedView { inner: view, plant: self }))
            }
            Self::Nothing | Self::EarlyAck => view,
        }
    }
}

/// Flushes a group no sooner than the next one comes.
struct EarlyLog(Arc<dyn Log>);

impl LogOverride for EarlyLog {
    fn inner(&self) -> &dyn Log {
        &*self.0
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        self.0.flush()?;
        self.0.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        Ok(())
    }
}

struct PlantedView {
    inner: Arc<dyn View>,
    plant: Plant,
}

impl ViewOverride for PlantedView {
    fn inner(&self) -> &dyn View {
        &*self.inner
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let after = if self.plant == Plant::CursorOffByOne { after.next() } else { after };
        self.inner.after(conversation, after, limit)
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
}
