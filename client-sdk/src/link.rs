//! What a client's tasks share: the connection, if there is one, and whether the client ends.

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Welcome};
use quoth_protocol::{ConversationName, UserId};
use tokio::sync::{broadcast, mpsc, watch};

use crate::state::{Reason, State};

/// Typing notices that wait for a slow listener. Outcome: the oldest are dropped.
const TYPINGS_MAX: usize = 64;

/// What the connector tells everyone else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    pub(crate) session: Option<Session>,
    /// The application closes the client: finish what waits, begin nothing.
    pub(crate) closing: bool,
    /// The client has ended.
    pub(crate) closed: Option<Reason>,
}

/// A connection that is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) connection: quinn::Connection,
    /// Grows with every connection of a client.
    pub(crate) epoch: u64,
    pub(crate) welcome: Arc<Welcome>,
    /// Frames for the control stream.
    pub(crate) control: mpsc::Sender<ClientFrame>,
    /// The server drains: begin nothing here.
    pub(crate) going_away: bool,
}

impl Link {
    /// The session, if something new may begin on it.
    pub(crate) fn usable(&self) -> Option<&Session> {
        self.session.as_ref().filter(|s| !s.going_away && self.closed.is_none())
    }
}

/// The shared ends. The connector writes, everyone reads.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: watch::Sender<Link>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) typings: broadcast::Sender<(ConversationName, UserId)>,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self {
            link: watch::Sender::new(Link::default()),
            state: watch::Sender::new(State::Connecting),
            typings: broadcast::Sender::new(TYPINGS_MAX),
        }
    }

    /// The end, for everyone.
    pub(crate) fn close(&self, reason: Reason) {
        self.link.send_modify(|link| {
            link.session = None;
            link.closing = true;
            link.closed.get_or_insert_with(|| reason.clone());
        });
        self.state.send_replace(State::Closed { reason });
    }
}
