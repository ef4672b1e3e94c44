//! Who may do what in which conversation. [`authorize`] is the one guard in front of every verb.
//!
//! In a conversation that nobody has created (an unmanaged one) the token alone says what is allowed. In a
//! managed one membership says it, and the token only narrows that. What does not exist and what is not
//! allowed are refused alike.

mod change;
mod grant;
mod standing;
#[cfg(test)]
mod table;
mod written;

use quoth_protocol::{ConversationName, Seq, UserId};

pub use grant::Grant;
pub use standing::Standing;
pub use written::Written;

use crate::membership::{Actor, Change, ConversationState, Refusal};

/// What somebody wants to do in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Get events as they come.
    ReadLive,
    /// Read events that are there already.
    ReadHistory,
    /// Publish in the actor's own name.
    Publish,
    /// Publish in the name of another user.
    PublishAs(&'a UserId),
    /// Show that the actor types.
    Typing,
    /// See who reads, and tell how far one has read.
    Roster,
    /// See who the members are, and whether they are there.
    Members,
    /// See what the conversation is.
    Describe,
    /// Say how far one has got and read.
    Mark,
    /// See how far others have got and read.
    Receipts,
    /// Have it among one's own conversations, and say what one wants of it there.
    Inbox,
    /// Change it, come or go.
    Change(&'a Change),
    /// Make a message say something else.
    Edit(Written<'a>),
    /// Make a message absent for everybody.
    Revoke(Written<'a>),
    /// React to a message.
    React,
    /// Keep a message from oneself.
    Hide,
    /// Say how long the conversation is kept.
    Retain,
}

/// How much of a conversation's log an action may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Whole,
    /// Up to and including this event.
    UpTo(Seq),
}

impl Reach {
    /// The last event that is within reach: none is behind it.
    #[must_use]
    pub const fn last(self) -> Seq {
        match self {
            Self::Whole => Seq(u64::MAX),
            Self::UpTo(seq) => seq,
        }
    }
}

/// Where somebody wants to do something.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The conversation's name.
    pub name: &'a ConversationName,
    /// Its state; `None` when it is not managed.
    pub state: Option<&'a ConversationState>,
    /// Whether it is a direct conversation whose other user has blocked the actor.
    pub is_blocked: bool,
}

/// Lets an action pass at `now_ms`, in milliseconds since 1970, and says how far it reaches, or refuses it.
///
/// Whoever asks often keeps the actor's [`Standing`] for as long as neither the conversation's version nor
/// the token changes.
///
/// # Errors
/// Why not. Whether the conversation exists does not show in it.
pub fn authorize(
    actor: Actor<'_>,
    action: Action<'_>,
    place: Place<'_>,
    now_ms: u64,
) -> Result<Reach, Refusal> {
    match action {
        Action::Change(change) => change::authorize(actor, change, place, now_ms).map(|()| Reach::Whole),
        Action::ReadLive
        | Action::ReadHistory
        | Action::Publish
        | Action::PublishAs(_)
        | Action::Typing
        | Action::Roster
        | Action::Members
        | Action::Describe
        | Action::Mark
        | Action::Receipts
        | Action::Inbox
        | Action::Edit(_)
        | Action::Revoke(_)
        | Action::React
        | Action::Hide
        | Action::Retain => Standing::new(actor, place).allows(actor, action, now_ms),
    }
}
