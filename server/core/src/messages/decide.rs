//! From what somebody wants of a message to the event that makes it so.

use bytes::Bytes;
use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX, REACTIONS_MAX};
use quoth_protocol::message::check_reaction;
use quoth_protocol::{Code, Seq, UserId};

use super::MessageState;
use crate::authorize::{Action, Standing, Written};
use crate::membership::{Actor, ConversationState, Refusal, Rules};
use crate::retention::Place;

/// What somebody wants of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// It is to say something else.
    Edit {
        /// What.
        body: Bytes,
        /// Whom it calls.
        mentions: Vec<UserId>,
    },
    /// Nobody is to have it any more.
    Revoke,
    /// The actor reacts to it, or does so no more.
    React {
        /// How.
        reaction: String,
        /// Whether that holds from now on or is over.
        on: bool,
    },
}

/// A message that something is wanted of: what never changes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its place.
    pub seq: Seq,
    /// Who has written it.
    pub sender: UserId,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// Bytes of the contents of all events of its conversation before it.
    pub offset: u64,
    /// When its time to live is over, in milliseconds since 1970; 0: it has none.
    pub expires_ms: u64,
}

impl Target {
    /// Where it lies in its conversation.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { seq: self.seq, time_ms: self.time_ms, offset: self.offset }
    }
}

/// What a decision needs besides the message and what is wanted of it.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The operator's numbers.
    pub rules: &'a Rules,
    /// How the actor stands in the conversation.
    pub standing: &'a Standing,
    /// The conversation's state, if it is managed.
    pub state: Option<&'a ConversationState>,
}

impl Alteration {
    /// The event that makes it so.
    fn event(&self, seq: Seq) -> EventKind {
        match self.clone() {
            Self::Edit { body, mentions } => EventKind::Edited { seq, body, mentions },
            Self::Revoke => EventKind::Revoked { seq },
            Self::React { reaction, on } => EventKind::Reacted { seq, reaction, on },
        }
    }

    /// Whether it may be at all, whatever it is about.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Edit { body, .. } if body.len() > BODY_BYTES_MAX => {
                Err(Refusal::new(Code::TOO_LARGE, "a message has at most 65,536 bytes"))
            }
            Self::Edit { mentions, .. } if mentions.len() > MENTIONS_MAX => {
                Err(Refusal::new(Code::TOO_MANY, "a message mentions at most 50 users"))
            }
            Self::React { reaction, .. } => check_reaction(reaction)
                .map_err(|_| Refusal::invalid("a reaction has 1 to 32 bytes and no control characters")),
            Self::Edit { .. } | Self::Revoke => Ok(()),
        }
    }

    /// What the actor does to a message, for the one guard.
    fn action<'a>(&self, message: Written<'a>) -> Action<'a> {
        match self {
            Self::Edit { .. } => Action::Edit(message),
            Self::Revoke => Action::Revoke(message),
            Self::React { .. } => Action::React,
        }
    }

    /// For how long the sender may do so, in milliseconds; 0: for ever.
    const fn within_ms(&self, rules: &Rules) -> u64 {
        match self {
            Self::Edit { .. } => rules.edit_within_ms,
            Self::Revoke => rules.revoke_within_ms,
            Self::React { .. } => 0,
        }
    }

    /// Whether the actor may do so to anything there: to an own message that was just said. Who may not is
    /// not told what there is.
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, actor: Actor<'_>, standing: &Standing, now_ms: u64) -> Result<(), Refusal> {
        let own = Written { sender: actor.user(), role: None, is_recent: true };
        standing.allows(actor, self.action(own), now_ms).map(drop)
    }
}

/// There is no such message, or not any more: nobody can tell the one from the other.
pub(super) const NOT_FOUND: Refusal =
    Refusal::new(Code::NOT_FOUND_MESSAGE, "there is no such message, or not any more");

/// The event that makes an alteration so; none when nothing has to change, as when the same is asked for
/// again. A message that is not there is `None`.
///
/// # Errors
/// Why it is refused: by the guard, or since it cannot be.
pub fn decide(
    actor: Actor<'_>,
    alteration: &Alteration,
    target: Option<(&Target, &MessageState)>,
    Context { now_ms, rules, standing, state }: Context<'_>,
) -> Result<Option<EventKind>, Refusal> {
    alteration.allow(actor, standing, now_ms)?;
    let (target, message) = target.filter(|(_, message)| !message.is_absent()).ok_or(NOT_FOUND)?;
    let within_ms = alteration.within_ms(rules);
    let written = Written {
        sender: &target.sender,
        role: state.and_then(|state| state.present(&target.sender)).map(|present| present.role),
        is_recent: within_ms == 0 || now_ms.saturating_sub(target.time_ms) <= within_ms,
    };
    standing.allows(actor, alteration.action(written), now_ms)?;
    alteration.check()?;
    let changes = match alteration {
        Alteration::Edit { body, mentions } => {
            message.edited().is_none_or(|edit| edit.body != *body || edit.mentions != *mentions)
        }
        Alteration::Revoke => true,
        Alteration::React { reaction, on } => {
            if *on && !message.has_reaction(reaction) && message.reactions_count() >= REACTIONS_MAX {
                return Err(Refusal::new(
                    Code::TOO_MANY,
                    "there are too many reactions to this message: choose one of them",
                ));
            }
            message.has_reacted(reaction, actor.user()) != *on
        }
    };
    Ok(changes.then(|| alteration.event(target.seq)))
}
