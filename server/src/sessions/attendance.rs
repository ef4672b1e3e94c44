//! A connection's place among the sessions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quoth_core::login::{End, SessionId};
use quoth_core::session::Identity;
use quoth_protocol::limits::{
    WATCHED_CONVERSATIONS_MAX, WATCHED_MEMBERS_OF_CONNECTION_MAX, WATCHED_MEMBERS_OF_USER_MAX,
};
use quoth_protocol::{Code, ConversationName, DeviceId, UserId};

use super::Sessions;
use super::mailbox::{Goodbye, Mailbox, Told};
use super::state::State;
use super::watches::Watches;

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
    pub(super) mailbox: Arc<Mailbox>,
    end: End,
}

impl Attendance {
    pub(super) fn new(sessions: Sessions, session: SessionId, mailbox: Arc<Mailbox>) -> Self {
        Self { sessions, session, mailbox, end: End::Lost }
    }

    /// What the connection is told next; about others only if it `has_room` for that. For one task at a time;
    /// dropping the future loses nothing.
    pub async fn told(&self, has_room: bool) -> Told {
        self.mailbox.next(has_room).await
    }

    /// A new token at `now_ms`, in milliseconds since 1970 by the machine's clock.
    ///
    /// # Errors
    /// When it is revoked.
    pub(crate) fn refresh(&self, identity: &Identity, now_ms: u64) -> Result<(), Goodbye> {
        let judged_ms = self.sessions.0.now_ms();
        self.sessions.0.state.lock().refresh(self.session, identity, now_ms, judged_ms)?;
        self.sessions.0.sooner.notify_one();
        Ok(())
    }

    /// Whether somebody sits at the device.
    pub(crate) fn set_away(&self, away: bool) {
        let now_ms = self.sessions.0.now_ms();
        let mut state = self.sessions.0.state.lock();
        let Some((user, device)) = state.logins.of_session(self.session) else { return };
        let (user, device) = (user.clone(), device.clone());
        let change = state.presence.set_away(&user, &device, away, now_ms);
        self.sessions.tell(&mut state, change, now_ms);
    }

    /// The same place for those who act for the connection.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher { sessions: self.sessions.clone(), session: self.session, mailbox: Arc::clone(&self.mailbox) }
    }

    /// The connection ends by the client's wish, or the client has heard why.
    pub(crate) fn is_wanted(&mut self) {
        self.end = End::Wanted;
    }
}

/// Watches others for a connection.
#[derive(Debug, Clone)]
pub struct Watcher {
    sessions: Sessions,
    session: SessionId,
    mailbox: Arc<Mailbox>,
}

/// Whom a connection may watch of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Those whom it is told of.
    pub(crate) seen: HashSet<UserId>,
    /// Those who want nothing of its user, and since when, in milliseconds since 1970: to it they have gone
    /// then, which it is told when it would be told of anybody who has.
    pub(crate) unseen: HashMap<UserId, u64>,
}

impl Watcher {
    /// Begins to look whom of a conversation it may watch, and watches it from here on: whatever changes
    /// while that is found out makes the connection look anew.
    ///
    /// # Errors
    /// [`Code::TOO_MANY`] when it watches as many conversations as it may.
    pub(crate) fn look(&self, conversation: &ConversationName) -> Result<Look, Code> {
        let mut state = self.sessions.0.state.lock();
        let is_new = state.watches.of(self.session).all(|watched| watched != conversation);
        if is_new && state.watches.of(self.session).count() >= WATCHED_CONVERSATIONS_MAX {
            return Err(Code::TOO_MANY);
        }
        self.mailbox.wishes(conversation);
        Ok(self.begin(&mut state, conversation, false))
    }

    /// Begins to look anew whom of a conversation it may watch, if it watches that still.
    pub(crate) fn look_anew(&self, conversation: &ConversationName) -> Option<Look> {
        let mut state = self.sessions.0.state.lock();
        let is_watching = state.watches.of(self.session).any(|watched| watched == conversation);
        is_watching.then(|| self.begin(&mut state, conversation, true))
    }

    fn begin(&self, state: &mut State, conversation: &ConversationName, is_review: bool) -> Look {
        // One that has ended watches nothing any more.
        let user = state.logins.of_session(self.session).filter(|_| state.is_live(self.session));
        let number = user.map_or(Watches::NO_LOOK, |(user, _)| {
            state.watches.look(self.session, user, &self.mailbox, conversation)
        });
        Look { watcher: self.clone(), conversation: conversation.clone(), number, is_review }
    }

    /// Watches these from here on, in place of those whom it has watched for the conversation; it is told of
    /// who is there of them.
    fn watch(&self, state: &mut State, conversation: &ConversationName, members: Members) {
        let (Members { seen, unseen }, now_ms) = (members, self.sessions.0.now_ms());
        let before = state.watches.users(self.session, conversation);
        let leaving = state.watches.take_leaving(self.session, conversation);
        state.watches.watch(self.session, conversation.clone(), seen.clone());
        for user in seen.difference(&before) {
            if let Some(present) = state.presence.of(user, now_ms) {
                state.watches.tell(self.session, conversation, user, present, now_ms);
            }
        }
        for (user, since_ms) in &unseen {
            let present = state.presence.of(user, now_ms);
            let seen_ms = present.map(|(_, seen_ms)| seen_ms).or_else(|| leaving.get(user).copied());
            let last_seen_ms = seen_ms.map_or(*since_ms, |seen_ms| seen_ms.min(*since_ms));
            let due_ms = self.sessions.leaves_ms(last_seen_ms);
            let is_known = before.contains(user) || leaving.contains_key(user);
            // As everybody who goes is there for a moment longer, also for who begins to watch in it.
            let is_to_go = match present {
                Some((status, _)) if !is_known && due_ms > now_ms => {
                    let present = (status, last_seen_ms);
                    state.watches.tell(self.session, conversation, user, present, now_ms);
                    true
                }
                _ => is_known,
            };
            if is_to_go {
                state.watches.leaves(self.session, conversation, user, last_seen_ms, due_ms, now_ms);
            }
        }
        self.sessions.0.sooner.notify_one();
    }

    /// Watches a conversation no more.
    pub(crate) fn unwatch(&self, conversation: &ConversationName) {
        self.sessions.0.state.lock().watches.unwatch(self.session, conversation);
        self.mailbox.wishes(conversation);
    }

    /// The device of the connection.
    pub(crate) fn device(&self) -> Option<DeviceId> {
        let state = self.sessions.0.state.lock();
        state.logins.of_session(self.session).map(|(_, device)| device.clone())
    }
}

/// Finds out whom of a conversation a connection may watch. Of several for one conversation the latest
/// counts, since it alone has seen all that has changed, and none when the client wants to watch it no more
/// meanwhile. Dropped, as where there is no right to it, the conversation is watched no more; the client is
/// told so unless it waits for an answer, which says it.
#[derive(Debug)]
pub(crate) struct Look {
    watcher: Watcher,
    conversation: ConversationName,
    number: u64,
    /// Whether the client has not asked for it.
    is_review: bool,
}

impl Look {
    /// It is found out.
    ///
    /// # Errors
    /// [`Code::TOO_MANY`] when the connection or its user would watch more members than one may, and
    /// [`Code::FORBIDDEN`] when a later look has found no right to it meanwhile, or the client wants to watch
    /// it no more.
    pub(crate) fn found(self, members: Members) -> Result<(), Code> {
        let mut state = self.watcher.sessions.0.state.lock();
        if !state.watches.is_latest(self.watcher.session, &self.conversation, self.number) {
            // Whoever is told that it is watched behind the end of that would take it for begun anew.
            let is_watched = state.watches.of(self.watcher.session).any(|of| *of == self.conversation);
            return if is_watched { Ok(()) } else { Err(Code::FORBIDDEN) };
        }
        if self.is_too_much(&state, members.seen.len()) {
            return Err(Code::TOO_MANY);
        }
        self.watcher.watch(&mut state, &self.conversation, members);
        Ok(())
    }

    /// Whether so many more would be too many.
    fn is_too_much(&self, state: &State, count: usize) -> bool {
        let (of_session, of_user) = state.watches.counts_beside(self.watcher.session, &self.conversation);
        of_session + count > WATCHED_MEMBERS_OF_CONNECTION_MAX
            || of_user + count > WATCHED_MEMBERS_OF_USER_MAX
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let Watcher { sessions, session, mailbox } = &self.watcher;
        let mut state = sessions.0.state.lock();
        // No more so once it was found.
        if state.watches.is_latest(*session, &self.conversation, self.number) {
            state.watches.unwatch(*session, &self.conversation);
            if self.is_review {
                mailbox.unwatched(&self.conversation);
            }
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let now_ms = self.sessions.0.now_ms();
        self.sessions.0.state.lock().ended(self.session, self.end, now_ms);
        self.sessions.0.sooner.notify_one();
        self.sessions.0.went.notify_one();
    }
}
