//! A connection's place among the sessions.

use std::sync::Arc;

use quoth_core::login::{End, SessionId};
use quoth_core::session::Identity;

use super::Sessions;
use super::inbox::{Goodbye, Inbox, Told};

/// A connection that may not stay.
#[derive(Debug)]
pub struct Refused {
    /// What it is to be told.
    pub goodbye: Goodbye,
    /// Its place until it has heard it, if that is of importance.
    pub attendance: Option<Attendance>,
}

/// A connection's place among the sessions. Dropped, the connection is lost.
#[derive(Debug)]
pub struct Attendance {
    sessions: Sessions,
    session: SessionId,
    pub(super) inbox: Arc<Inbox>,
    end: End,
}

impl Attendance {
    pub(super) fn new(sessions: Sessions, session: SessionId, inbox: Arc<Inbox>) -> Self {
        Self { sessions, session, inbox, end: End::Lost }
    }

    /// What the connection is told next; about others only if it `has_room` for that. For one task at a time; dropping the future
    /// loses nothing.
    pub async fn told(&self, has_room: bool) -> Told {
        self.inbox.next(has_room).await
    }

    /// A new token at `now_ms`, in milliseconds since 1970.
    ///
    /// # Errors
    /// When it is revoked.
    pub(crate) fn refresh(&self, identity: &Identity, now_ms: u64) -> Result<(), Goodbye> {
        self.sessions.0.state.lock().refresh(self.session, identity, now_ms)
    }

    /// Whether somebody sits at the device.
    pub(crate) fn set_away(&self, away: bool, now_ms: u64) {
        let mut state = self.sessions.0.state.lock();
        let Some((user, device)) = state.logins.of_session(self.session) else { return };
        let (user, device) = (user.clone(), device.clone());
        let change = state.presence.set_away(&user, &device, away, now_ms);
        self.sessions.tell(&mut state, change, now_ms);
    }

    /// The connection ends by the client's wish, or the client has heard why.
    pub(crate) fn is_wanted(&mut self) {
        self.end = End::Wanted;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let now_ms = self.sessions.0.clock.unix_ms();
        self.sessions.0.state.lock().ended(self.session, self.end, now_ms);
        self.sessions.0.sooner.notify_one();
    }
}
