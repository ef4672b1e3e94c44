//! What a connection is told by others. Most are told nothing for hours, so an idle one holds nothing.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, UserId};
use tokio::sync::Notify;

/// Why a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// The code that it is closed with.
    pub code: Code,
    /// For people; may be empty.
    pub reason: String,
    /// When it is of use to come again, in milliseconds from now; 0 when that is not known.
    pub retry_after_ms: u32,
}

impl Goodbye {
    /// One that does not say when to come again.
    #[must_use]
    pub const fn new(code: Code, reason: String) -> Self {
        Self { code, reason, retry_after_ms: 0 }
    }
}

/// Somebody whom the connection watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Among the members of which conversation.
    pub conversation: ConversationName,
    /// Who.
    pub user: UserId,
    /// Whether the user is there.
    pub status: Status,
    /// When a device of the user was last connected, in milliseconds since 1970.
    pub last_seen_ms: u64,
}

/// What a connection is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// To end.
    Goodbye(Goodbye),
    /// What has become of those whom it watches.
    Presence(Vec<Seen>),
    /// To look anew who is to be watched of these conversations.
    Review(BTreeSet<ConversationName>),
    /// That it watches these conversations no more, which it has not asked for.
    Unwatched(BTreeSet<ConversationName>),
    /// The user's own status has changed, by this connection or another one, or whom the user may see.
    Status,
}

/// What one connection has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    goodbye: Option<Goodbye>,
    presence: BTreeMap<(ConversationName, UserId), (Status, u64)>,
    reviews: BTreeSet<ConversationName>,
    unwatched: BTreeSet<ConversationName>,
    has_status: bool,
}

impl Mailbox {
    /// Tells it to end. The first reason counts.
    pub(super) fn goodbye(&self, goodbye: Goodbye) {
        self.waiting.lock().goodbye.get_or_insert(goodbye);
        self.arrived.notify_one();
    }

    /// Tells what has become of those whom it watches, the latest of each counts; and of which conversations
    /// it is to look anew who that is.
    pub(super) fn presence(&self, seen: Vec<Seen>, reviews: BTreeSet<ConversationName>) {
        let mut waiting = self.waiting.lock();
        waiting.reviews.extend(reviews);
        let latest = seen.into_iter().map(|Seen { conversation, user, status, last_seen_ms }| {
            ((conversation, user), (status, last_seen_ms))
        });
        waiting.presence.extend(latest);
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Tells nothing more of a conversation, which is watched no more.
    pub(super) fn forget(&self, conversation: &ConversationName) {
        let mut waiting = self.waiting.lock();
        waiting.presence.retain(|(of, _), _| of != conversation);
        waiting.reviews.remove(conversation);
    }

    /// Tells that a conversation is watched no more, without a wish for that.
    pub(super) fn unwatched(&self, conversation: &ConversationName) {
        self.waiting.lock().unwatched.insert(conversation.clone());
        self.arrived.notify_one();
    }

    /// The client has a new wish for a conversation, so what became of an earlier one is of no importance.
    pub(super) fn wishes(&self, conversation: &ConversationName) {
        self.waiting.lock().unwatched.remove(conversation);
    }

    /// Tells that the user's own status has changed.
    pub(super) fn status(&self) {
        self.waiting.lock().has_status = true;
        self.arrived.notify_one();
    }

    /// Whether it is told to end.
    pub(super) fn has_goodbye(&self) -> bool {
        self.waiting.lock().goodbye.is_some()
    }

    /// What comes next; about others only if there is room for that. For one task at a time; dropping the
    /// future loses nothing.
    pub(super) async fn next(&self, has_room: bool) -> Told {
        loop {
            if let Some(told) = self.take(has_room) {
                return told;
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn take(&self, has_room: bool) -> Option<Told> {
        let mut waiting = self.waiting.lock();
        if let Some(goodbye) = &waiting.goodbye {
            return Some(Told::Goodbye(goodbye.clone()));
        }
        if std::mem::take(&mut waiting.has_status) {
            return Some(Told::Status);
        }
        if !has_room {
            return None;
        }
        let reviews = std::mem::take(&mut waiting.reviews);
        if !reviews.is_empty() {
            return Some(Told::Review(reviews));
        }
        let unwatched = std::mem::take(&mut waiting.unwatched);
        if !unwatched.is_empty() {
            return Some(Told::Unwatched(unwatched));
        }
        let presence = std::mem::take(&mut waiting.presence);
        let seen = presence.into_iter().map(|((conversation, user), (status, last_seen_ms))| Seen {
            conversation,
            user,
            status,
            last_seen_ms,
        });
        let seen: Vec<Seen> = seen.collect();
        (!seen.is_empty()).then_some(Told::Presence(seen))
    }
}
