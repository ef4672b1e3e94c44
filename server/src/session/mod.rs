//! What a signed-in client is served with, whatever carries it: a task for its connection and one for each of its streams.

mod admission;
mod connection;
mod conversation;
mod counts;
mod fetch;
mod frames;
mod gate;
mod limits;
mod open;
mod pace;
mod phase;
mod refusals;
mod transport;
mod waiting;

use std::sync::Arc;

use quoth_core::session::Identity;
use quoth_protocol::Code;

use crate::engine::Engine;

pub(crate) use admission::{Admission, Admitted, Handshake, Place};
pub(crate) use connection::run;
pub(crate) use limits::streams_of;
pub use limits::{CongestionControl, Limits};
pub use phase::{Phase, PhaseReceiver, PhaseSender};
pub(crate) use transport::Transport;

/// Says who a token is for and what it allows.
pub trait Verify: Send + Sync + 'static {
    /// Verifies a token at `now_ms`, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Code::TOKEN_EXPIRED`] or [`Code::TOKEN_REJECTED`].
    fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Code>;
}

/// What every connection needs.
#[derive(Clone)]
pub struct Service {
    /// Conversations.
    engine: Engine,
    /// Tokens.
    verify: Arc<dyn Verify>,
    /// Sizes and times.
    pub(crate) limits: Arc<Limits>,
    /// Whether the server takes work.
    pub(crate) phase: PhaseReceiver,
    /// Counts over all workers and transports.
    pub(crate) admission: Arc<Admission>,
    /// Rates over all workers.
    paces: Arc<pace::Tables>,
}

impl Service {
    /// What connections need on the engine's worker, with limits that hold for all workers together.
    #[must_use]
    pub fn new(engine: Engine, verify: Arc<dyn Verify>, limits: Limits, phase: PhaseReceiver) -> Self {
        let limits = Arc::new(limits);
        let admission = Arc::new(Admission::new(&limits));
        let paces = Arc::new(pace::Tables::new(&limits));
        Self { engine, verify, limits, phase, admission, paces }
    }

    /// The same for connections of another worker, which the current tokio runtime becomes.
    #[must_use]
    pub fn for_another_worker(&self) -> Self {
        Self { engine: self.engine.for_another_worker(), ..self.clone() }
    }
}

/// Tells of a connection's task that has panicked.
pub(crate) fn log_panic<T>(ended: &Result<T, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}
