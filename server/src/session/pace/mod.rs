//! How fast a client is read: it is slowed, and nothing that it sends is dropped or refused.
//!
//! What comes takes its place in the buckets it concerns, one after the other, and waits for it: first those
//! of the connection, so that nobody holds places in the queue of a conversation without having paid with an
//! own one.

mod buckets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quoth_core::authorize::Grant;
use quoth_core::bucket::Pace;
use quoth_protocol::frame::ClientFrame;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};

use super::Limits;
use crate::engine::Engine;
use buckets::{Buckets, Shared};

/// The buckets of all users and conversations, for all workers.
#[derive(Debug)]
pub(super) struct Tables {
    users: Option<Buckets<UserId>>,
    requests: Option<Buckets<UserId>>,
    conversations: Option<Buckets<ConversationName>>,
    adds: Option<Buckets<UserId>>,
    removals: Option<Buckets<UserId>>,
}

impl Tables {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            users: Pace::new(limits.user_publishes_per_second_max.into()).map(Buckets::new),
            requests: Pace::new(limits.user_requests_per_second_max.into()).map(Buckets::new),
            conversations: Pace::new(limits.conversation_publishes_per_second_max.into()).map(Buckets::new),
            adds: Pace::per_hour(limits.user_adds_per_hour_max.into()).map(Buckets::new),
            removals: Pace::per_hour(limits.user_removals_per_hour_max.into()).map(Buckets::new),
        }
    }

    /// Counts users that a user adds to conversations, and conversations that a user makes.
    ///
    /// # Errors
    /// In how many milliseconds so many may be added. None are counted.
    pub(super) fn add(&self, user: &UserId, count: u64, now_ms: u64) -> Result<(), u64> {
        self.adds.as_ref().map_or(Ok(()), |adds| adds.of(user, now_ms).take(count, now_ms))
    }

    /// Counts a member whom a user takes out of a conversation.
    ///
    /// # Errors
    /// In how many milliseconds one more may be. None is counted.
    pub(super) fn remove(&self, user: &UserId, now_ms: u64) -> Result<(), u64> {
        self.removals.as_ref().map_or(Ok(()), |removals| removals.of(user, now_ms).take(1, now_ms))
    }
}

/// The buckets of a connection, which its streams share, and its user's.
#[derive(Debug)]
pub(super) struct ConnectionPaces {
    engine: Engine,
    tables: Arc<Tables>,
    frames: Option<Shared>,
    bytes: Option<Shared>,
    /// The user's publishes, and the user's requests.
    user: Option<Arc<Shared>>,
    requests: Option<Arc<Shared>>,
    /// Whether it was told that this client is slowed.
    is_told: AtomicBool,
    name: UserId,
}

impl ConnectionPaces {
    /// `None` if nothing slows this client: one that may publish on behalf of users (bridges, imports), for
    /// which no rate of a user is right, or when no rate is configured.
    pub(super) fn new(
        limits: &Limits,
        tables: &Arc<Tables>,
        engine: &Engine,
        grant: &Grant,
    ) -> Option<Arc<Self>> {
        if !grant.publish_as.is_empty() {
            return None;
        }
        let frames = Pace::new(limits.frames_per_second_max.into()).map(Shared::new);
        let bytes = Pace::new(limits.bytes_per_second_max.into()).map(Shared::new);
        let of_user = |table: &Option<Buckets<UserId>>| {
            table.as_ref().map(|users| users.of(&grant.user, engine.now_ms()))
        };
        let (user, requests) = (of_user(&tables.users), of_user(&tables.requests));
        let is_slowed = frames.is_some() || bytes.is_some() || user.is_some() || requests.is_some();
        if !is_slowed && tables.conversations.is_none() {
            return None;
        }
        Some(Arc::new(Self {
            engine: engine.clone(),
            tables: Arc::clone(tables),
            frames,
            bytes,
            user,
            requests,
            is_told: AtomicBool::new(false),
            name: grant.user.clone(),
        }))
    }

    /// Whether what is said to a conversation counts there.
    pub(super) fn counts_conversations(&self) -> bool {
        self.tables.conversations.is_some()
    }

    /// Counts what a request says to a conversation as a publish does, in which all others have their
    /// turns: a request does not wait for these, since what comes behind it would. The user has the right to
    /// say it.
    ///
    /// # Errors
    /// In how many milliseconds there may be room.
    pub(super) fn say(&self, conversation: &ConversationName) -> Result<(), u64> {
        let (all, now_ms) = (self.tables.conversations.as_ref(), self.engine.now_ms());
        all.map_or(Ok(()), |all| all.of(conversation, now_ms).take(1, now_ms))
    }

    /// The waits of one stream, which publishes to a conversation or not at all.
    pub(super) fn stream(self: &Arc<Self>, conversation: Option<&ConversationName>) -> StreamPaces {
        let table = self.tables.conversations.as_ref();
        let conversation = table.zip(conversation).map(|(table, name)| table.of(name, self.engine.now_ms()));
        StreamPaces { connection: Arc::clone(self), conversation, has_say: true, next: Step::Frames }
    }

    fn tell(&self, what: &'static str, wait_ms: u64) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::info!(user = %self.name, what, wait_ms, "a client is slowed: it is over a rate of [limits]");
        }
    }
}

/// What a stream has to wait for.
#[derive(Debug)]
pub(super) struct StreamPaces {
    connection: Arc<ConnectionPaces>,
    conversation: Option<Arc<Shared>>,
    /// Whether the user may publish to it.
    has_say: bool,
    /// Where the frame takes its place next that is being waited for.
    next: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Frames,
    User,
    Conversation,
    Requests { speaks: bool },
    Done,
}

/// Whether a request says something to others as a publish does.
const fn speaks(request: &Request) -> bool {
    matches!(request, Request::Edit { .. } | Request::React { .. })
}

impl StreamPaces {
    /// Whether publishes count at a conversation, and so whether it is to be said if the user has a say there.
    pub(super) fn counts_conversation(&self) -> bool {
        self.conversation.is_some()
    }

    /// Says whether the user may publish to the conversation. What is refused for want of that takes nothing
    /// of what others may say.
    pub(super) fn set_has_say(&mut self, has_say: bool) {
        self.has_say = has_say;
    }

    /// So many bytes have come: how long to wait before anything more is read.
    pub(super) fn bytes(&self, count: usize) -> Option<Duration> {
        let bytes = self.connection.bytes.as_ref()?;
        let wait_ms = bytes.reserve(count as u64, self.connection.engine.now_ms());
        self.wait("limits.bytes_per_second_max", wait_ms)
    }

    /// This frame has come, or has waited: how long to wait for its next place, or `None` when it has them
    /// all.
    pub(super) fn frame(&mut self, frame: &ClientFrame) -> Option<Duration> {
        let now_ms = self.connection.engine.now_ms();
        loop {
            let (bucket, what, next) = match self.next {
                Step::Frames => {
                    let next = match frame {
                        ClientFrame::Publish(_) => Step::User,
                        ClientFrame::Request { request, .. } => Step::Requests { speaks: speaks(request) },
                        _ => Step::Done,
                    };
                    (self.connection.frames.as_ref(), "limits.frames_per_second_max", next)
                }
                Step::User => {
                    let user = self.connection.user.as_deref();
                    (user, "limits.user_publishes_per_second_max", Step::Conversation)
                }
                Step::Conversation => {
                    let conversation = self.conversation.as_deref().filter(|_| self.has_say);
                    (conversation, "limits.conversation_publishes_per_second_max", Step::Done)
                }
                Step::Requests { speaks } => {
                    let requests = self.connection.requests.as_deref();
                    let next = if speaks { Step::User } else { Step::Done };
                    (requests, "limits.user_requests_per_second_max", next)
                }
                Step::Done => {
                    self.next = Step::Frames;
                    return None;
                }
            };
            self.next = next;
            let Some(bucket) = bucket else { continue };
            if let Some(wait) = self.wait(what, bucket.reserve(1, now_ms)) {
                return Some(wait);
            }
        }
    }

    fn wait(&self, what: &'static str, wait_ms: u64) -> Option<Duration> {
        if wait_ms == 0 {
            return None;
        }
        self.connection.tell(what, wait_ms);
        Some(Duration::from_millis(wait_ms))
    }
}
