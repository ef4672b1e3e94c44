//! A message as one user sees it. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::message::MessageState;
use quoth_protocol::{Seq, UserId};

/// A message as the user sees it now, in a [`View`](crate::View).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its place.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970 on the server's clock.
    pub time_ms: u64,
    /// Who has written it.
    pub sender: UserId,
    /// When it was first said, as its publisher claims, in milliseconds since 1970.
    pub origin_time_ms: Option<u64>,
    /// What it says now.
    pub body: Bytes,
    /// Whom it mentions now.
    pub mentions: Vec<UserId>,
    /// The message that it answers; it may be absent.
    pub reply_to: Option<Seq>,
    /// When it is absent at the latest, in milliseconds since 1970; 0: at no time of its own.
    pub expires_ms: u64,
    /// Its latest edit; `None`: it says what was said at first.
    pub edited: Option<Edited>,
    /// How users have reacted, by the reaction's text.
    pub reactions: BTreeMap<String, ReactionCount>,
    /// All events about it up to this one are in it.
    pub version: Seq,
}

/// That a message was edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edited {
    /// The event of the edit.
    pub seq: Seq,
    /// When that was stored, in milliseconds since 1970 on the server's clock.
    pub time_ms: u64,
}

/// How many users have reacted in one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReactionCount {
    /// So many.
    pub count: u32,
    /// Whether the user is among them.
    pub mine: bool,
}

impl Message {
    /// As it was published; `None` for an event that is no message.
    pub(super) fn published(event: &Event) -> Option<Self> {
        let EventKind::Message { body, reply_to, mentions, expires_ms } = &event.kind else { return None };
        Some(Self {
            seq: event.seq,
            time_ms: event.time_ms,
            sender: event.sender.clone(),
            origin_time_ms: event.origin_time_ms,
            body: body.clone(),
            mentions: mentions.clone(),
            reply_to: *reply_to,
            expires_ms: *expires_ms,
            edited: None,
            reactions: BTreeMap::new(),
            version: event.seq,
        })
    }

    /// What it has come to by the events up to `head`, or to where its state is, if that is later.
    pub(super) fn with(self, state: Option<&MessageState>, head: Seq) -> Self {
        let mut message = Self { version: head, ..self };
        let Some(state) = state else { return message };
        message.version = head.max(state.version);
        if let Some(edit) = &state.edited {
            (message.body, message.mentions) = (edit.body.clone(), edit.mentions.clone());
            message.edited = Some(Edited { seq: edit.seq, time_ms: edit.time_ms });
        }
        let counted = |known: &quoth_protocol::message::Reaction| {
            (known.reaction.clone(), ReactionCount { count: known.count, mine: known.mine })
        };
        message.reactions = state.reactions.iter().map(counted).collect();
        message
    }

    /// Takes an event about it, unless that is in it already.
    pub(super) fn apply(&mut self, event: Event, me: &UserId) {
        if event.seq <= self.version {
            return;
        }
        self.version = event.seq;
        match event.kind {
            EventKind::Edited { body, mentions, .. } => {
                (self.body, self.mentions) = (body, mentions);
                self.edited = Some(Edited { seq: event.seq, time_ms: event.time_ms });
            }
            EventKind::Reacted { reaction, on, .. } => {
                let ReactionCount { count, mine } = self.reactions.entry(reaction.clone()).or_default();
                *count = if on { count.saturating_add(1) } else { count.saturating_sub(1) };
                if event.sender == *me {
                    *mine = on;
                }
                if *count == 0 {
                    self.reactions.remove(&reaction);
                }
            }
            _ => {}
        }
    }
}
