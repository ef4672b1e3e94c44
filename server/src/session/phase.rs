//! Whether the server takes work, told to every connection and stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use quoth_protocol::Code;
use tokio::sync::Notify;

/// Locks among which waiting tasks are spread, since every stream's task waits for the phase again and again.
const SHARDS: usize = 8;

/// Whether the server takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Yes.
    Serving,
    /// It drains: what was read is finished, nothing more is read.
    Draining {
        /// When clients may come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The store has failed: connections are closed at once and nothing is acked.
    Failed,
}

impl Phase {
    /// The code with which connections and streams end in this phase.
    #[must_use]
    pub(crate) fn end_code(self) -> Code {
        match self {
            Self::Failed => Code::STORE_FAILED,
            Self::Serving | Self::Draining { .. } => Code::GOING_AWAY,
        }
    }
}

/// Sets the phase. Begins with [`Phase::Serving`].
///
/// Tasks are woken in the order in which they began to wait; a watch channel of tokio picks a random order,
/// which no simulation could repeat.
#[derive(Debug)]
pub struct PhaseSender {
    shared: Arc<Shared>,
}

/// Tells the phase. A task that waits holds one of its own.
#[derive(Debug)]
pub struct PhaseReceiver {
    shared: Arc<Shared>,
    shard: usize,
}

#[derive(Debug)]
struct Shared {
    phase: RwLock<Phase>,
    changed: [Notify; SHARDS],
    receivers: AtomicUsize,
}

impl PhaseSender {
    /// A sender without receivers.
    #[must_use]
    pub fn new() -> Self {
        let phase = RwLock::new(Phase::Serving);
        Self {
            shared: Arc::new(Shared { phase, changed: Default::default(), receivers: AtomicUsize::new(0) }),
        }
    }

    /// Sets the phase and wakes those who wait for it.
    pub fn set(&self, phase: Phase) {
        *self.shared.phase.write() = phase;
        self.shared.changed.iter().for_each(Notify::notify_waiters);
    }

    /// A receiver.
    #[must_use]
    pub fn subscribe(&self) -> PhaseReceiver {
        PhaseReceiver::new(&self.shared)
    }
}

impl Default for PhaseSender {
    fn default() -> Self {
        Self::new()
    }
}

impl PhaseReceiver {
    fn new(shared: &Arc<Shared>) -> Self {
        let shard = shared.receivers.fetch_add(1, Ordering::Relaxed) % SHARDS;
        Self { shared: Arc::clone(shared), shard }
    }

    /// Whether the server takes work at the moment.
    pub(crate) fn is_serving(&self) -> bool {
        *self.shared.phase.read() == Phase::Serving
    }

    /// Waits for the phase that a connection has to act on: a failure always, a drain unless it drains
    /// already. Dropping the future misses nothing.
    pub(crate) async fn next(&self, drains: bool) -> Phase {
        loop {
            // Before the look at the phase, so that no change goes unnoticed.
            let changed = self.shared.changed[self.shard].notified();
            let phase = *self.shared.phase.read();
            if phase == Phase::Failed || !drains && phase != Phase::Serving {
                return phase;
            }
            changed.await;
        }
    }
}

impl Clone for PhaseReceiver {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, PhaseSender};

    const DRAINING: Phase = Phase::Draining { retry_after_ms: 1 };

    #[tokio::test]
    async fn a_phase_set_before_or_while_it_is_awaited_is_told() {
        let sender = PhaseSender::new();
        let (before, early) = (sender.subscribe(), sender.subscribe());
        let waits = tokio::spawn(async move { early.next(false).await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        sender.set(DRAINING);
        assert_eq!(waits.await.unwrap(), DRAINING);
        assert_eq!(before.clone().next(false).await, DRAINING);
    }

    #[tokio::test]
    async fn who_drains_already_waits_for_a_failure_only() {
        let sender = PhaseSender::new();
        sender.set(DRAINING);
        let receiver = sender.subscribe();
        let waits = tokio::spawn(async move { receiver.next(true).await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        sender.set(Phase::Failed);
        assert_eq!(waits.await.unwrap(), Phase::Failed);
    }
}
