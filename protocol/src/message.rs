//! What becomes of a message after it was published: edits and reactions.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{Seq, UserId};
use crate::limits::REACTION_BYTES_MAX;

/// What a message has come to by the events behind it. It is a fold of
/// [`Edited`](crate::frame::EventKind::Edited) and [`Reacted`](crate::frame::EventKind::Reacted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageState {
    /// Which message.
    pub seq: Seq,
    /// The last event about it: all up to that one are in it. 0: there is none.
    pub version: Seq,
    /// Its latest edit; `None`: it is as it was published.
    pub edited: Option<Edit>,
    /// What users have reacted with, in the order of the texts' bytes, each text once; at most
    /// [`REACTIONS_MAX`](crate::limits::REACTIONS_MAX).
    pub reactions: Vec<Reaction>,
}

/// What a message says since somebody has edited it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The event of the edit. Of two edits of a message the one with the greater seq is the later one.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// All that the message says now.
    #[serde(with = "crate::body")]
    pub body: Bytes,
    /// All whom it mentions now.
    pub mentions: Vec<UserId>,
}

/// How many users have reacted to a message in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    /// In which: a [reaction's text](check_reaction).
    pub reaction: String,
    /// How many, who is told among them.
    pub count: u32,
    /// Whether who is told this has.
    pub mine: bool,
}

/// Why a text is no reaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReactionError {
    /// The text is empty.
    #[error("a reaction must not be empty")]
    Empty,
    /// The text is over its limit.
    #[error("a reaction has at most {REACTION_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// The text has a control character.
    #[error("a reaction must not have control characters")]
    ControlCharacter,
}

/// Checks the text of a reaction, which is an emoji or a short word.
///
/// # Errors
/// When it is empty, has over [`REACTION_BYTES_MAX`] bytes, or control characters.
pub fn check_reaction(reaction: &str) -> Result<(), ReactionError> {
    if reaction.is_empty() {
        return Err(ReactionError::Empty);
    }
    if reaction.len() > REACTION_BYTES_MAX {
        return Err(ReactionError::TooLong(reaction.len()));
    }
    if reaction.chars().any(char::is_control) {
        return Err(ReactionError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ReactionError, check_reaction};

    #[test]
    fn reactions_are_short_and_in_one_line() {
        // A family of four, which is one sign to people and 25 bytes.
        for good in ["👍", "👨‍👩‍👧‍👦", "+1", &"x".repeat(32)] {
            assert_eq!(check_reaction(good), Ok(()), "{good}");
        }
        assert_eq!(check_reaction(""), Err(ReactionError::Empty));
        assert_eq!(check_reaction(&"x".repeat(33)), Err(ReactionError::TooLong(33)));
        assert_eq!(check_reaction("a\nb"), Err(ReactionError::ControlCharacter));
    }
}
