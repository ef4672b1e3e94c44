//! The state of one message, as whoever decides about it needs it.

use std::collections::{BTreeMap, BTreeSet};

use quoth_protocol::frame::EventKind;
use quoth_protocol::message::Edit;
use quoth_protocol::{Seq, UserId};

use super::registers::{
    Summary, absent_key, edit_key, reaction_key, reaction_of, reactions_prefix, summary_key,
};
use crate::membership::Fact;
use crate::register::{Damaged, RegisterChange, decode, encode};

/// So many reactions a revocation takes away itself, since its record is bounded. Nobody reads the others,
/// and their rows go with the message's.
pub const REMOVED_REACTIONS_MAX: usize = 1_000;

/// What the events about a message have come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageState {
    edited: Option<Edit>,
    /// Who has reacted how.
    reactions: BTreeMap<String, BTreeSet<UserId>>,
    version: Seq,
    is_absent: bool,
}

/// What an event about a message has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Altered {
    /// Registers of the conversation.
    pub registers: Vec<RegisterChange>,
    /// Events that are absent from now on.
    pub absent: Vec<Seq>,
}

impl MessageState {
    /// The state of the message `seq` that registers hold: all that begin with its [`reactions_prefix`], and
    /// those of its [`edit_key`], its [`summary_key`] and its [`absent_key`].
    ///
    /// # Errors
    /// When they are none that [`MessageState::apply`] has made.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        seq: Seq,
        registers: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Damaged> {
        let (mut state, prefix) = (Self::default(), reactions_prefix(seq));
        for (key, value) in registers {
            let (key, value) = (key.as_ref(), value.as_ref());
            if key.starts_with(&prefix) {
                let (reaction, user) = reaction_of(key).ok_or(Damaged("a key is no reaction"))?;
                state.reactions.entry(reaction).or_default().insert(user);
            } else if *key == edit_key(seq) {
                state.edited = Some(decode(value)?);
            } else if *key == summary_key(seq) {
                state.version = state.version.max(Summary::decode(value)?.version);
            } else if *key == absent_key(seq) {
                state.is_absent = true;
                state.version = state.version.max(decode(value)?);
            } else {
                return Err(Damaged("a key is of no message"));
            }
        }
        if state.is_absent {
            state.reactions.clear();
        }
        Ok(state)
    }

    /// Takes the next event about the message `seq`; events of other kinds change nothing.
    ///
    /// An edit makes the edit before it absent, and a revocation the message and its latest edit: so no text
    /// comes back that was taken back.
    pub fn apply(&mut self, seq: Seq, fact: Fact<'_>) -> Altered {
        let mut altered = Altered::default();
        match fact.kind {
            EventKind::Edited { body, mentions, .. } => {
                altered.absent.extend(self.edited.take().map(|before| before.seq));
                let (body, mentions) = (body.clone(), mentions.clone());
                let edit = Edit { seq: fact.seq, time_ms: fact.time_ms, body, mentions };
                altered.registers.push((edit_key(seq), Some(encode(&edit))));
                self.edited = Some(edit);
            }
            EventKind::Reacted { reaction, on, .. } => {
                let users = self.reactions.entry(reaction.clone()).or_default();
                if *on {
                    users.insert(fact.sender.clone());
                } else {
                    users.remove(fact.sender);
                }
                if users.is_empty() {
                    self.reactions.remove(reaction);
                }
                let row = on.then(|| encode(&fact.seq));
                altered.registers.push((reaction_key(seq, reaction, fact.sender), row));
            }
            EventKind::Revoked { .. } => {
                altered.absent.push(seq);
                if let Some(edit) = self.edited.take() {
                    altered.absent.push(edit.seq);
                    altered.registers.push((edit_key(seq), None));
                }
                let reactions = std::mem::take(&mut self.reactions);
                let keys = reactions.iter().flat_map(|(reaction, users)| {
                    users.iter().map(move |user| (reaction_key(seq, reaction, user), None))
                });
                altered.registers.extend(keys.take(REMOVED_REACTIONS_MAX));
                self.is_absent = true;
            }
            _ => return altered,
        }
        self.version = fact.seq;
        let summary = (!self.is_absent).then(|| encode(&self.summary()));
        altered.registers.push((summary_key(seq), summary));
        let by = encode(&fact.seq);
        altered.registers.extend(altered.absent.iter().map(|seq| (absent_key(*seq), Some(by.clone()))));
        altered
    }

    fn summary(&self) -> Summary {
        let count = |users: &BTreeSet<UserId>| u32::try_from(users.len()).unwrap_or(u32::MAX);
        Summary {
            version: self.version,
            edited: self.edited.as_ref().map_or(Seq::ZERO, |edit| edit.seq),
            reactions: self.reactions.iter().map(|(text, users)| (text.clone(), count(users))).collect(),
        }
    }

    /// Whether nobody is to have it any more.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// The latest edit.
    #[must_use]
    pub const fn edited(&self) -> Option<&Edit> {
        self.edited.as_ref()
    }

    /// Whether a user has reacted so.
    #[must_use]
    pub fn has_reacted(&self, reaction: &str, user: &UserId) -> bool {
        self.reactions.get(reaction).is_some_and(|users| users.contains(user))
    }

    /// In how many ways users have reacted.
    #[must_use]
    pub fn reactions_count(&self) -> usize {
        self.reactions.len()
    }

    /// Whether somebody has reacted so.
    #[must_use]
    pub fn has_reaction(&self, reaction: &str) -> bool {
        self.reactions.contains_key(reaction)
    }

    /// How many users it knows of: what it costs.
    #[must_use]
    pub fn users_count(&self) -> usize {
        self.reactions.values().map(BTreeSet::len).sum()
    }

    /// The last event about it; zero: none.
    #[must_use]
    pub const fn version(&self) -> Seq {
        self.version
    }
}
