//! The QUIC side: accepts connections, signs them in, and runs a task for each of their streams.

mod connection;
mod conversation;
mod fetch;
mod frames;
mod listener;
mod transport;

use std::sync::Arc;

use quoth_core::session::Identity;
use quoth_protocol::Code;
use tokio::sync::watch;

use crate::engine::Engine;

pub use listener::{Listener, serve};
pub use transport::{Limits, endpoint_config, server_config};

/// Says who a token is for and what it allows.
pub trait Verify: Send + Sync + 'static {
    /// Verifies a token at `now_ms`, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`Code::TOKEN_EXPIRED`] or [`Code::TOKEN_REJECTED`].
    fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Code>;
}

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

/// What every connection needs.
#[derive(Clone)]
pub struct Service {
    /// Conversations.
    pub engine: Engine,
    /// Tokens.
    pub verify: Arc<dyn Verify>,
    /// Sizes and times.
    pub limits: Arc<Limits>,
    /// Whether the server takes work.
    pub phase: watch::Receiver<Phase>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Waits for the phase that a connection has to act on: a failure always, a drain unless it drains already.
async fn next_phase(phase: &mut watch::Receiver<Phase>, drains: bool) -> Phase {
    let is_due = |phase: &Phase| *phase == Phase::Failed || !drains && *phase != Phase::Serving;
    match phase.wait_for(is_due).await.map(|phase| *phase) {
        Ok(phase) => phase,
        Err(_) => std::future::pending().await,
    }
}
