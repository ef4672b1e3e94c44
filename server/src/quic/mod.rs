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
mod transport;
mod waiting;

use std::sync::Arc;

use quoth_core::session::Identity;
use quoth_protocol::Code;

use crate::engine::Engine;

pub use listener::{Listener, serve};
pub use phase::{Phase, PhaseReceiver, PhaseSender};
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
    pub engine: Engine,
    /// Tokens.
    pub verify: Arc<dyn Verify>,
    /// Sizes and times.
    pub limits: Arc<Limits>,
    /// Whether the server takes work.
    pub phase: PhaseReceiver,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}
