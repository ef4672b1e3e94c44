//! What has changed of whom others may watch, until somebody looks at it.
//!
//! The committer tells it, which has all publishes to store: it leaves a name here, each once, and waits for
//! nobody. The lock of the sessions, under which all who watch are told of it, may be held for longer.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use quoth_protocol::{ConversationName, UserId};

/// Changes of which those who watch others do not know.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Changed>);

/// What has changed, each once.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Conversations that have other members.
    pub(super) conversations: BTreeSet<ConversationName>,
    /// Users whom somebody has blocked, or blocks no more.
    pub(super) users: BTreeSet<UserId>,
}

impl Changes {
    pub(super) fn members_changed(&self, conversation: &ConversationName) {
        self.0.lock().conversations.insert(conversation.clone());
    }

    pub(super) fn blocks_changed(&self, user: &UserId) {
        self.0.lock().users.insert(user.clone());
    }

    /// All that has changed since this was taken last. To be taken under the lock of the sessions, by whoever
    /// hands statuses over next: nothing of them may overtake it.
    pub(super) fn take(&self) -> Changed {
        std::mem::take(&mut *self.0.lock())
    }
}
