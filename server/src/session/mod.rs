//! What a signed-in client is served with, whatever carries it: a task for its connection and one for each of
//! its streams.

mod adds;
mod admission;
mod backlog;
mod connection;
mod conversation;
mod counts;
mod cursor;
mod devices;
mod end;
mod fetch;
mod flood;
mod frames;
mod gate;
mod goodbye;
mod inbox;
mod isolated;
mod judged;
mod limits;
mod messages;
mod open;
mod pace;
mod phase;
mod presence;
mod refusals;
pub(crate) mod requests;
mod stream;
#[cfg(test)]
mod tests;
mod transport;
mod waiting;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use quoth_core::session::Identity;
use quoth_protocol::Code;
use tracing::Instrument as _;

use crate::engine::Engine;
use crate::hooks::Hooks;
use crate::sessions::{Clocks, Nothing, Sessions, SessionsConfig};

pub(crate) use admission::{Admission, Admitted, Handshake, Place};
pub(crate) use connection::run;
pub(crate) use flood::Flood;
pub(crate) use limits::streams_of;
pub use limits::{CongestionControl, Limits};
pub use phase::{Phase, PhaseReceiver, PhaseSender};
pub(crate) use requests::answer;
pub(crate) use transport::Transport;

/// Says who a token is for and what it allows.
pub trait Verify: Send + Sync + 'static {
    /// Verifies a token at `now_ms`, in milliseconds since 1970. The error is [`Code::TOKEN_EXPIRED`],
    /// [`Code::TOKEN_REJECTED`], or [`Code::UNAVAILABLE`] when the keys cannot be had at the moment.
    fn verify(&self, token: &str, now_ms: u64) -> Verification;

    /// When whoever was told [`Code::UNAVAILABLE`] may try again, in milliseconds from now.
    fn retry_after_ms(&self) -> u32 {
        0
    }
}

/// What becomes of a token.
pub enum Verification {
    /// This.
    Ready(Result<Identity, Code>),
    /// It turns out later, within seconds: its key has to be asked for.
    Waits(Verifying),
}

/// The verification of a token that has to wait for something. Dropping it ends it.
pub type Verifying = Pin<Box<dyn Future<Output = Result<Identity, Code>> + Send>>;

impl Service {
    /// Verifies a token that a client has sent. Lines of the log about it have the client's address.
    fn verified(&self, token: &str, peer: SocketAddr, now_ms: u64) -> Verification {
        let span = tracing::info_span!("token", %peer);
        match span.in_scope(|| self.verify.verify(token, now_ms)) {
            Verification::Waits(verifying) => Verification::Waits(Box::pin(verifying.instrument(span))),
            ready @ Verification::Ready(_) => ready,
        }
    }
}

impl From<Result<Identity, Code>> for Verification {
    fn from(verified: Result<Identity, Code>) -> Self {
        Self::Ready(verified)
    }
}

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(verified) => f.debug_tuple("Ready").field(verified).finish(),
            Self::Waits(_) => f.write_str("Waits"),
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
pub struct Service {
    /// Conversations.
    pub(crate) engine: Engine,
    /// Tokens.
    verify: Arc<dyn Verify>,
    /// Who is signed in.
    pub(crate) sessions: Sessions,
    /// Sizes and times.
    pub(crate) limits: Arc<Limits>,
    /// Whether the server takes work.
    pub(crate) phase: PhaseReceiver,
    /// Counts over all workers and transports.
    pub(crate) admission: Arc<Admission>,
    /// Rates over all workers.
    paces: Arc<pace::Tables>,
    /// Who is asked before something happens.
    pub(crate) hooks: Arc<Hooks>,
}

impl Service {
    /// What connections need on the engine's worker, with limits that hold for all workers together. All
    /// devices of a user stay, and what is known of them ends with the server; [`Service::with_sessions`]
    /// changes that.
    #[must_use]
    pub fn new(engine: Engine, verify: Arc<dyn Verify>, limits: Limits, phase: PhaseReceiver) -> Self {
        let sessions = Sessions::start(SessionsConfig::default(), Arc::new(Nothing), Clocks::of(&engine));
        engine.set_statuses(sessions.statuses());
        let limits = Arc::new(limits);
        let admission = Arc::new(Admission::new(&limits));
        let paces = Arc::new(pace::Tables::new(&limits));
        Self { engine, verify, limits, phase, admission, paces, sessions, hooks: Arc::default() }
    }

    /// The same with backends that are asked.
    #[must_use]
    pub(crate) fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks: Arc::new(hooks), ..self }
    }

    /// The same with these sessions, before any connection comes.
    #[must_use]
    pub fn with_sessions(self, sessions: Sessions) -> Self {
        self.engine.set_statuses(sessions.statuses());
        Self { sessions, ..self }
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
