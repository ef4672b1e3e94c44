//! The QUIC side: accepts connections, signs them in, and runs a task for each of their streams.

mod admission;
mod connection;
mod conversation;
mod fetch;
mod frames;
mod gate;
mod listener;
mod open;
mod phase;
mod steering;
mod transport;
mod waiting;

use std::sync::Arc;

use quoth_core::session::Identity;
use quoth_protocol::Code;

use crate::engine::Engine;
use admission::Admission;

pub use listener::{Listener, serve};
pub use phase::{Phase, PhaseReceiver, PhaseSender};
pub use steering::Steering;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use steering::{SteeredIds, worker_of};
pub use transport::{EndpointSecret, Limits, endpoint_config, server_config};

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
    limits: Arc<Limits>,
    /// Whether the server takes work.
    phase: PhaseReceiver,
    /// Counts over all workers.
    admission: Arc<Admission>,
}

impl Service {
    /// What connections need on the engine's worker, with limits that hold for all workers together.
    #[must_use]
    pub fn new(engine: Engine, verify: Arc<dyn Verify>, limits: Limits, phase: PhaseReceiver) -> Self {
        let limits = Arc::new(limits);
        let admission = Arc::new(Admission::new(&limits));
        Self { engine, verify, limits, phase, admission }
    }

    /// The same for connections of another worker, which the current tokio runtime becomes.
    #[must_use]
    pub fn for_another_worker(&self) -> Self {
        Self { engine: self.engine.for_another_worker(), ..self.clone() }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}
