//! What a client's tasks share: the connection, if there is one, and whether the client ends.

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Welcome};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use crate::marks::MARKS_UNDER_WAY_MAX;
use crate::requests::{Inboxes, Presences};
use crate::state::{Reason, State};
use crate::transport::Connection;

/// Typing notices that wait for a slow listener. Outcome: the oldest are dropped.
const TYPINGS_MAX: usize = 64;

/// What the connector tells everyone else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    pub(crate) session: Option<Session>,
    /// Sessions that there have been.
    sessions: u64,
    /// The application closes the client: finish what waits, begin nothing.
    pub(crate) closing: bool,
    /// The client has ended.
    pub(crate) closed: Option<Reason>,
}

/// A connection whose Hello is on the way or accepted.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// Grows with every session of a client.
    pub(crate) epoch: u64,
    /// `None` until the server has answered the Hello.
    pub(crate) signed_in: Option<SignedIn>,
    /// Until then another path to the server may win, and this connection is then left.
    pub(crate) has_rivals: bool,
    /// The server drains: begin nothing here.
    pub(crate) going_away: bool,
}

/// What there is once the server has accepted the sign-in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) welcome: Arc<Welcome>,
    /// For the control stream.
    pub(crate) control: mpsc::Sender<Outgoing>,
}

/// What goes out on a control stream.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// That the user types.
    Typing(ClientFrame),
    /// A request, and who waits for its answer. Dropped without one, the connection is gone.
    Request(Request, oneshot::Sender<Reply>),
}

impl Session {
    /// Whether anything may be published on it: reading on two paths at once costs nothing, but a publish has
    /// one path.
    pub(crate) fn may_publish(&self) -> bool {
        self.signed_in.is_some() || !self.has_rivals
    }
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

    fn session_of(&mut self, epoch: Option<u64>) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| Some(session.epoch) == epoch)
    }

    /// Puts a session in the place of the one that is there, and gives its epoch.
    fn put(&mut self, connection: Connection, signed_in: Option<SignedIn>, has_rivals: bool) -> u64 {
        self.sessions += 1;
        let epoch = self.sessions;
        self.session = Some(Session { connection, epoch, signed_in, has_rivals, going_away: false });
        epoch
    }
}

/// The first session after the lost one that anything may begin on, or why there is none.
pub(crate) async fn next_session(
    link: &mut watch::Receiver<Link>,
    lost_epoch: Option<u64>,
) -> Result<Session, Reason> {
    let usable = |link: &Link| {
        link.closed.is_some()
            || link.signed_in().is_some_and(|s| lost_epoch.is_none_or(|lost| s.epoch > lost))
    };
    let found = link.wait_for(usable).await.map_err(|_| Reason::Closed)?;
    match (&found.closed, &found.session) {
        (Some(reason), _) => Err(reason.clone()),
        (None, Some(session)) => Ok(session.clone()),
        (None, None) => Err(Reason::Closed),
    }
}

/// The shared ends. The connector writes, everyone reads.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: watch::Sender<Link>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) typings: broadcast::Sender<(ConversationName, UserId)>,
    pub(crate) presences: Presences,
    pub(crate) inboxes: Inboxes,
    /// Marks that may be under way at once, for all conversations.
    pub(crate) marks: Arc<Semaphore>,
    /// Nobody sits here; told to the server on each connection.
    pub(crate) away: watch::Sender<bool>,
    /// Rings when the client has moved to another network; the PATH_CHALLENGE frames of its connection before
    /// that.
    pub(crate) moves: watch::Sender<u64>,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self {
            link: watch::Sender::new(Link::default()),
            state: watch::Sender::new(State::Connecting),
            typings: broadcast::Sender::new(TYPINGS_MAX),
            presences: Presences::default(),
            inboxes: Inboxes::default(),
            marks: Arc::new(Semaphore::new(MARKS_UNDER_WAY_MAX)),
            away: watch::Sender::new(false),
            moves: watch::Sender::new(0),
        }
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

/// A connection's place in the link. Dropped, it is empty again, unless another connection has it by then;
/// and the connection is closed if it has not ended: the streams on it would keep it.
#[derive(Debug)]
pub(crate) struct Place {
    core: Arc<Core>,
    connection: Connection,
    /// Of its session, if it has had one.
    epoch: Option<u64>,
}

impl Place {
    /// For a connection whose Hello is on its way: all that the client has open is opened on it, unless there
    /// is another one.
    pub(crate) fn behind_hello(core: Arc<Core>, connection: Connection, has_rivals: bool) -> Self {
        let mut epoch = None;
        core.link.send_if_modified(|link| {
            if link.session.is_none() {
                epoch = Some(link.put(connection.clone(), None, has_rivals));
            }
            epoch.is_some()
        });
        Self { core, connection, epoch }
    }

    /// The server has accepted: this is the client's session, whichever was there before.
    pub(crate) fn signed_in(&mut self, signed_in: SignedIn) {
        let Self { core, connection, epoch } = self;
        core.link.send_modify(|link| match link.session_of(*epoch) {
            Some(session) => session.signed_in = Some(signed_in),
            None => *epoch = Some(link.put(connection.clone(), Some(signed_in), false)),
        });
    }

    /// The server drains: nothing more is begun here.
    pub(crate) fn going_away(&self) {
        self.core.link.send_modify(|link| {
            if let Some(session) = link.session_of(self.epoch) {
                session.going_away = true;
            }
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.link.send_if_modified(|link| {
            let is_there = link.session_of(self.epoch).is_some();
            if is_there {
                link.session = None;
            }
            is_there
        });
        self.connection.close(Code::CLOSED, "the client has left");
    }
}
