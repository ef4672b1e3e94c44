//! The registers of messages. Keys hold seqs big endian, so those of a page lie together. All of them begin
//! with [`OF_EVENT`], by which the store knows that they go with their event's row.
//!
//! | key | value |
//! |---|---|
//! | `@e`, seq | the latest edit |
//! | `@r`, seq, reaction, 0, user | the event by which the user reacted so |
//! | `@s`, seq | a [`Summary`]: all that a page needs to know of most messages |
//! | `@x`, seq | the event by which the one with this seq is absent, for as long as it has a row |
//!
//! In a user's own log `h`, the conversation's name, 0 and the seq, the latest first, is a message that the
//! user has hidden.

use std::collections::BTreeMap;

use quoth_protocol::message::{Edit, MessageState, Reaction};
use quoth_protocol::{ConversationName, Seq, UserId};
use serde::{Deserialize, Serialize};

use crate::register::{Damaged, decode};

/// What the keys of registers begin with that go with an event of their conversation: a kind and the event's
/// seq, big endian, come behind it.
pub const OF_EVENT: u8 = b'@';

const EDIT: [u8; 2] = [OF_EVENT, b'e'];

/// What the keys of hidden messages begin with, in a user's own log.
pub const HIDDEN: u8 = b'h';

/// What the keys of reactions begin with.
pub const REACTION: [u8; 2] = [OF_EVENT, b'r'];

/// What the keys of summaries begin with.
pub const SUMMARY: [u8; 2] = [OF_EVENT, b's'];

/// What the keys of absent events begin with.
pub const ABSENT: [u8; 2] = [OF_EVENT, b'x'];

/// What is to be known of a message besides its event; of one about which there are no events there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The last event about it.
    pub version: Seq,
    /// Its latest edit; zero: none.
    pub edited: Seq,
    /// How many users have reacted how.
    pub reactions: BTreeMap<String, u32>,
}

impl Summary {
    /// The one of a register.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(value: &[u8]) -> Result<Self, Damaged> {
        decode(value)
    }

    /// What is told of the message `seq` to a user who has reacted so; `edit` is its latest edit.
    #[must_use]
    pub fn into_state(self, seq: Seq, edit: Option<Edit>, mine: impl Fn(&str) -> bool) -> MessageState {
        let reactions = self.reactions.into_iter().map(|(reaction, count)| {
            let mine = mine(&reaction);
            Reaction { reaction, count, mine }
        });
        MessageState { seq, version: self.version, edited: edit, reactions: reactions.collect() }
    }
}

/// The latest edit of a register.
///
/// # Errors
/// When it is none.
pub fn decode_edit(value: &[u8]) -> Result<Edit, Damaged> {
    decode(value)
}

/// Length of a key that has nothing behind the seq, in bytes.
const KEY_BYTES: usize = 10;

fn of_seq(kind: [u8; 2], seq: Seq) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend(kind);
    key.extend(seq.0.to_be_bytes());
    key
}

/// The key of a message's latest edit.
#[must_use]
pub fn edit_key(seq: Seq) -> Vec<u8> {
    of_seq(EDIT, seq)
}

/// The key of a message's summary.
#[must_use]
pub fn summary_key(seq: Seq) -> Vec<u8> {
    of_seq(SUMMARY, seq)
}

/// The key of an absent event.
#[must_use]
pub fn absent_key(seq: Seq) -> Vec<u8> {
    of_seq(ABSENT, seq)
}

/// What the keys of a message's reactions begin with.
#[must_use]
pub fn reactions_prefix(seq: Seq) -> Vec<u8> {
    of_seq(REACTION, seq)
}

/// The key of a user's reaction to a message. A reaction has no character 0.
#[must_use]
pub fn reaction_key(seq: Seq, reaction: &str, user: &UserId) -> Vec<u8> {
    [&reactions_prefix(seq), reaction.as_bytes(), &[0], user.as_str().as_bytes()].concat()
}

/// What the keys of a conversation's hidden messages begin with, in a user's own log. A name has no character 0.
#[must_use]
pub fn hidden_prefix(conversation: &ConversationName) -> Vec<u8> {
    [&[HIDDEN], conversation.as_str().as_bytes(), &[0]].concat()
}

/// The key of a hidden message, in a user's own log. The latest comes first.
#[must_use]
pub fn hidden_key(conversation: &ConversationName, seq: Seq) -> Vec<u8> {
    let mut key = hidden_prefix(conversation);
    key.extend((!seq.0).to_be_bytes());
    key
}

/// The message of a key that begins with this [`hidden_prefix`].
#[must_use]
pub fn hidden_of(prefix: &[u8], key: &[u8]) -> Option<Seq> {
    let bytes = key.strip_prefix(prefix)?;
    Some(Seq(!u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The seq of a key that has nothing behind it.
#[must_use]
pub fn seq_of(kind: [u8; 2], key: &[u8]) -> Option<Seq> {
    let bytes = key.strip_prefix(&kind)?;
    Some(Seq(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The message of a reaction's key, the reaction, and whose it is.
#[must_use]
pub fn reacted(key: &[u8]) -> Option<(Seq, String, UserId)> {
    let seq = seq_of(REACTION, key.get(..KEY_BYTES)?)?;
    reaction_of(key).map(|(reaction, user)| (seq, reaction, user))
}

/// The reaction and the user of a key.
pub(super) fn reaction_of(key: &[u8]) -> Option<(String, UserId)> {
    let text = std::str::from_utf8(key.get(KEY_BYTES..)?).ok()?;
    let (reaction, user) = text.split_once('\0')?;
    Some((reaction.to_owned(), UserId::new(user).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_messages_lie_by_their_conversation_and_the_latest_first() {
        let name = |name: &str| ConversationName::new(name).unwrap();
        let prefix = hidden_prefix(&name("a"));
        let keys = [Seq(u64::MAX), Seq(256), Seq(255), Seq(1)].map(|seq| hidden_key(&name("a"), seq));
        assert!(keys.is_sorted());
        assert_eq!(hidden_of(&prefix, &keys[1]), Some(Seq(256)));
        assert!(!hidden_key(&name("ab"), Seq(1)).starts_with(&prefix));
        assert_eq!(hidden_of(&prefix, &hidden_key(&name("ab"), Seq(1))), None);
    }
}
