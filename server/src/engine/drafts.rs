//! The committer's own copies of the states that it changes: ahead of what is out by what is not durable yet.
//!
//! What is out follows by the same events once they are durable ([`Known::release`]), so both come to the same.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use quoth_core::membership::ConversationState;
use quoth_core::membership::user::UserState;
use quoth_core::messages::MessageState;
use quoth_core::retention::Kept;
use quoth_protocol::{ConversationName, UserId};

use super::states::{Known, KnownConversation, KnownUser, State};

/// Users that the copies of one kind know of together before all are dropped. A copy costs a pass over its users once, so those
/// of conversations that change again and again are kept.
const USERS_MAX: usize = 200_000;

/// Copies of one kind before all are dropped: each keeps its state in memory.
const COPIES_MAX: usize = 1_000;

/// Copies of one kind.
#[derive(Debug)]
pub(super) struct Copies<S: State> {
    copies: HashMap<S::Key, Copy<S>>,
    users: usize,
}

#[derive(Debug)]
struct Copy<S> {
    /// Kept in memory, so that what is out stays the same one.
    _known: Arc<Known<S>>,
    state: S,
}

/// Copies of all kinds.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) conversations: Copies<Option<ConversationState>>,
    pub(super) users: Copies<UserState>,
    pub(super) kept: Copies<Kept>,
    pub(super) messages: Copies<MessageState>,
}

impl<S: State> Default for Copies<S> {
    fn default() -> Self {
        Self { copies: HashMap::new(), users: 0 }
    }
}

impl<S: State + Clone> Copies<S>
where
    S::Key: Eq + Hash,
{
    /// A state as it is ahead of what is out, to be changed.
    pub(super) fn get_mut(&mut self, key: &S::Key, known: &Arc<Known<S>>) -> &mut S {
        let users = &mut self.users;
        let copy = self.copies.entry(key.clone()).or_insert_with(|| {
            let state = known.read().clone();
            *users += state.users();
            Copy { _known: Arc::clone(known), state }
        });
        &mut copy.state
    }

    /// Looks at a state as it is ahead of what is out.
    pub(super) fn look<T>(&self, key: &S::Key, known: &Known<S>, look: impl FnOnce(&S) -> T) -> T {
        match self.copies.get(key) {
            Some(copy) => look(&copy.state),
            None => look(&known.read()),
        }
    }

    /// Everything that was changed is out: makes room if there are too many.
    fn released(&mut self) {
        if self.users > USERS_MAX || self.copies.len() > COPIES_MAX {
            *self = Self::default();
        }
    }
}

impl Drafts {
    /// A conversation's copy, to be changed.
    pub(super) fn conversation(
        &mut self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
    ) -> &mut Option<ConversationState> {
        self.conversations.get_mut(name, known)
    }

    /// Whether a user has blocked another one.
    pub(super) fn blocks(&self, user: &UserId, known: &KnownUser, other: &UserId) -> bool {
        self.users.look(user, known, |state| state.blocks(other))
    }

    /// Everything that was changed is out.
    pub(super) fn released(&mut self) {
        self.conversations.released();
        self.users.released();
        self.kept.released();
        self.messages.released();
    }
}
