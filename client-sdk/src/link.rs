//! What a client's tasks share: the connection, if there is one, and whether the client ends.

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Welcome};
use quoth_protocol::{Code, ConversationName, UserId};
use tokio::sync::{broadcast, mpsc, watch};

use crate::state::{Reason, State};
use crate::wire::close;

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

/// A connection whose Hello is on the way or accepted.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) connection: quinn::Connection,
    /// Grows with every connection of a client.
    pub(crate) epoch: u64,
    /// `None` until the server has answered the Hello.
    pub(crate) signed_in: Option<SignedIn>,
    /// The server drains: begin nothing here.
    pub(crate) going_away: bool,
}

/// What there is once the server has accepted the sign-in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) welcome: Arc<Welcome>,
    /// Frames for the control stream.
    pub(crate) control: mpsc::Sender<ClientFrame>,
}

impl Link {
    /// The session, if a stream may be opened on it: behind the Hello already.
    pub(crate) fn usable(&self) -> Option<&Session> {
        self.session.as_ref().filter(|s| !s.going_away && self.closed.is_none())
    }

    /// The session, if anything may begin on it.
    pub(crate) fn signed_in(&self) -> Option<&Session> {
        self.usable().filter(|s| s.signed_in.is_some())
    }
}

/// The shared ends. The connector writes, everyone reads.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: watch::Sender<Link>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) typings: broadcast::Sender<(ConversationName, UserId)>,
    /// Rings when the client has moved to another network; the PATH_CHALLENGE frames of its connection before that.
    pub(crate) moves: watch::Sender<u64>,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self {
            link: watch::Sender::new(Link::default()),
            state: watch::Sender::new(State::Connecting),
            typings: broadcast::Sender::new(TYPINGS_MAX),
            moves: watch::Sender::new(0),
        }
    }

    /// Notes something about the session, if there still is one.
    pub(crate) fn change_session(&self, change: impl FnOnce(&mut Session)) {
        self.link.send_modify(|link| {
            if let Some(session) = &mut link.session {
                change(session);
            }
        });
    }

    /// Takes the session from everyone and closes its connection, if it has not ended: the streams on it would keep it.
    pub(crate) fn end_session(&self, text: &str) {
        self.link.send_modify(|link| {
            if let Some(session) = link.session.take() {
                close(&session.connection, Code::CLOSED, text);
            }
        });
    }

    /// The end, for everyone.
    pub(crate) fn close(&self, reason: Reason) {
        self.link.send_modify(|link| {
            link.closing = true;
            link.closed.get_or_insert_with(|| reason.clone());
        });
        self.state.send_replace(State::Closed { reason });
    }
}
