//! Who publishes where, and what the view said of it when the stream was opened.

use std::sync::{Arc, OnceLock};

use quoth_core::conversation::Append;
use quoth_core::membership::Refusal;
use quoth_core::sequencer::Producer;
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use quoth_store::{Bounds, Position, ProducerKey, View, ViewError};

use super::access::{Access, Stand};
use super::mailbox::Mailbox;
use super::readable::Reading;
use super::{Engine, PUBLISH_OVERHEAD_BYTES, PublishRequest, Request};

/// One stream's publishes: all go to one conversation, have one producer, and their outcomes come to one
/// mailbox.
#[derive(Debug)]
pub struct Publisher {
    pub(super) conversation: ConversationName,
    pub(super) access: Arc<Access>,
    pub(super) role: Role,
    pub(super) producer: Producer,
    pub(super) key: ProducerKey,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) prior: OnceLock<Prior>,
}

/// By which right somebody publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// By the user's own.
    User,
    /// By the operator's, who needs to be no member.
    Operator,
}

impl Publisher {
    /// A publisher of `user`, to the conversation that `access` is to.
    #[must_use]
    pub fn new(
        access: Arc<Access>,
        role: Role,
        user: UserId,
        id: ProducerId,
        mailbox: Arc<Mailbox>,
    ) -> Arc<Self> {
        let key = match role {
            Role::User => ProducerKey::new(&user, id),
            Role::Operator => ProducerKey::of_operator(&user, id),
        };
        let producer = Producer { user, id };
        let (conversation, prior) = (access.name().clone(), OnceLock::new());
        Arc::new(Self { conversation, access, role, producer, key, mailbox, prior })
    }
}

/// What the view said of a conversation and of a producer in it. It saves the committer, whom everybody waits
/// for, its own reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prior {
    /// The view had at least the groups up to here.
    pub(super) applied: Position,
    pub(super) last: Last,
    /// The producer's highest number.
    pub(super) n: Option<u64>,
}

/// The end of a conversation; zeros when it has no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) seq: Seq,
    pub(super) time_ms: u64,
    /// Bytes of the contents of all events.
    pub(super) end: u64,
}

impl Last {
    /// Reads it from the view.
    pub(super) fn read(view: &dyn View, name: &ConversationName) -> Result<Self, ViewError> {
        let last = view.last(name)?;
        let nothing = Self { seq: Seq::ZERO, time_ms: 0, end: 0 };
        Ok(last.map_or(nothing, |quoth_store::Last { seq, time_ms, end }| Self { seq, time_ms, end }))
    }
}

impl Prior {
    /// Reads it from the view, and the conversation's bounds, which come even when the rest is damaged.
    pub(super) fn read(
        view: &dyn View,
        publisher: &Publisher,
        at: Reading,
    ) -> Result<(Bounds, Option<Self>), ViewError> {
        // Before the reads, so that they show at least that much.
        let applied = view.applied();
        let name = &publisher.conversation;
        let bounds = at.bounds(view, name)?;
        let prior = || {
            let last = Last::read(view, name)?;
            let n = view.producer(name, publisher.key)?.map(|state| state.n);
            Ok::<_, ViewError>(Self { applied, last, n })
        };
        // The committer comes upon the same damage and answers the publish.
        Ok((bounds, prior().ok()))
    }
}

impl Engine {
    /// Hands a message to the committer; its outcome comes to the publisher's mailbox. Waits while the queue
    /// is full. `stand` is what the message was let through by: that of the publisher's user by the
    /// publisher's access.
    ///
    /// Dropping the future before it is ready publishes nothing. Returns false when the engine has failed or
    /// is stopping: then no outcome comes.
    pub async fn publish(&self, publisher: &Arc<Publisher>, append: Append, stand: &Stand) -> bool {
        self.enqueue_publish(publisher, append, stand, None).await
    }

    /// The same of a message that must not be stored: it is acked if it is there already, and refused
    /// otherwise.
    pub async fn refuse_new(
        &self,
        publisher: &Arc<Publisher>,
        append: Append,
        stand: &Stand,
        refusal: Refusal,
    ) -> bool {
        self.enqueue_publish(publisher, append, stand, Some(refusal)).await
    }

    async fn enqueue_publish(
        &self,
        publisher: &Arc<Publisher>,
        append: Append,
        stand: &Stand,
        refused_if_new: Option<Refusal>,
    ) -> bool {
        let weight = append.body.len().saturating_add(PUBLISH_OVERHEAD_BYTES);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let queued = Arc::clone(&self.inner.queue_bytes).acquire_many_owned(weight).await;
        let Ok(queued) = queued else { return false };
        let request = PublishRequest {
            publisher: Arc::clone(publisher),
            append,
            version: stand.version,
            slow_mode_interval_ms: stand.standing.slow_mode_interval_ms(),
            refused_if_new,
            queued,
        };
        self.inner.queue.send(Request::Publish(request)).await.is_ok()
    }
}
