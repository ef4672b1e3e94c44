//! Reads of the view.

use std::ops::Bound;

use ::fjall::{Guard, Readable as _, UserKey, UserValue};
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::Snapshot;
use super::row::{self, Named};
use super::run::{self, Message};
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{Bounds, Page, PageLimit, ViewError};

impl FjallView {
    /// The names of all conversations that have events, ascending by their bytes.
    pub(crate) fn conversations(&self) -> Result<Vec<ConversationName>, ViewError> {
        let snapshot = self.snapshot();
        let mut names = Vec::new();
        for guard in snapshot.iter(&self.engine.conversations) {
            let (key, value) = self.engine.database("read the conversations of", guard.into_inner())?;
            let named = row::decode_name(&key, &value);
            let damaged = || self.engine.failed("read the conversations of", "a name is damaged".to_owned());
            let Named { name, has_events } = named.ok_or_else(damaged)?;
            names.extend(has_events.then_some(name));
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(names)
    }

    pub(super) fn read_bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let key = ConversationKey::new(conversation);
        let snapshot = self.snapshot();
        let named = self.read_name(&snapshot, conversation, key)?;
        let head = self.head(&snapshot, conversation, key)?;
        if named.is_some_and(|named| named.has_events) != (head > Seq::ZERO) {
            let what = "either the name or the messages are missing";
            return Err(ViewError::DamagedConversation { conversation: conversation.clone(), what });
        }
        Ok(Bounds { floor: Seq(1), head })
    }

    /// What is stored for a conversation's key, if it is this conversation's.
    pub(super) fn read_name(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        key: ConversationKey,
    ) -> Result<Option<Named>, ViewError> {
        let value = snapshot.get(&self.engine.conversations, key.0);
        let Some(value) = self.engine.database("read a conversation from", value)? else {
            return Ok(None);
        };
        let Some(named) = row::decode_name(&key.0, &value) else {
            let what = "its checksum does not match";
            return Err(ViewError::DamagedConversation { conversation: conversation.clone(), what });
        };
        if named.name != *conversation {
            let stored = named.name.to_string();
            return Err(ViewError::KeyCollision { stored, asked: conversation.clone() });
        }
        Ok(Some(named))
    }

    pub(super) fn read_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let mut page = Page::new(limit);
        let Some(first) = after.0.checked_add(1).map(Seq) else {
            return Ok(Vec::new());
        };
        let key = ConversationKey::new(conversation);
        let mut expected = first;
        for run in self.runs_from(&self.snapshot(), key, first) {
            let run = run?;
            for message in run.messages(conversation)?.into_iter().filter(|message| message.seq >= first) {
                if message.seq != expected {
                    return Err(hole(conversation, expected, Some(message.seq)));
                }
                if !page.take(record(conversation, message)?) || page.is_full() {
                    return Ok(page.into_records());
                }
                expected = expected.next();
            }
        }
        Ok(page.into_records())
    }

    pub(super) fn read_before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let key = ConversationKey::new(conversation);
        let snapshot = self.snapshot();
        let until = before.map_or(Seq(u64::MAX), |before| Seq(before.0.saturating_sub(1)));
        let mut expected = before.map(|_| until);
        let mut page = Page::new(limit);
        for run in self.runs_until(&snapshot, key, until) {
            let run = run?;
            let messages = run.messages(conversation)?.into_iter().rev();
            for message in messages.filter(|message| message.seq <= until) {
                let found = message.seq;
                let expected_here = match expected {
                    Some(expected) if page.is_empty() => {
                        expected.min(self.head(&snapshot, conversation, key)?)
                    }
                    Some(expected) => expected,
                    None => found,
                };
                if found != expected_here {
                    return Err(hole(conversation, expected_here, Some(found)));
                }
                if !page.take(record(conversation, message)?) || page.is_full() {
                    return Ok(page.into_descending());
                }
                expected = Some(Seq(found.0.saturating_sub(1)));
            }
        }
        match expected {
            Some(missing) if missing > Seq::ZERO && self.head(&snapshot, conversation, key)? > Seq::ZERO => {
                Err(hole(conversation, missing, None))
            }
            _ => Ok(page.into_descending()),
        }
    }

    /// What is stored for a conversation's key, whoever's it is.
    pub(super) fn read_conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        const ACTION: &str = "read a conversation from";
        let first = match after {
            Some(after) => Bound::Excluded(ConversationKey::new(after).0),
            None => Bound::Unbounded,
        };
        let snapshot = self.snapshot();
        let mut names = Vec::new();
        for guard in snapshot.range(&self.engine.conversations, (first, Bound::Unbounded)).take(limit) {
            let (key, value) = self.engine.database(ACTION, guard.into_inner())?;
            let damaged =
                || ViewError::engine(&self.dir, ACTION, "the name of a conversation is damaged".to_owned());
            names.push(row::decode_name(&key, &value).ok_or_else(damaged)?.name);
        }
        Ok(names)
    }

    pub(super) fn stored_name(
        &self,
        snapshot: &Snapshot<'_>,
        key: ConversationKey,
    ) -> Result<Option<Named>, ViewError> {
        let value = self
            .engine
            .database("read a conversation from", snapshot.get(&self.engine.conversations, key.0))?;
        let decode = |value: ::fjall::UserValue| {
            let damaged = || format!("the name of conversation {key:?} is damaged");
            row::decode_name(&key.0, &value)
                .ok_or_else(|| ViewError::engine(&self.dir, "read a conversation from", damaged()))
        };
        value.map(decode).transpose()
    }

    fn head(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        key: ConversationKey,
    ) -> Result<Seq, ViewError> {
        let Some(span) = self.span_at(snapshot, key, Seq(u64::MAX))? else {
            return Ok(Seq::ZERO);
        };
        let run = self.runs_back(snapshot, span, Seq(u64::MAX)).next().transpose()?;
        let run = run.filter(|run| run.last >= span.first).ok_or_else(|| {
            let what = "its last messages are missing";
            ViewError::DamagedConversation { conversation: conversation.clone(), what }
        })?;
        run.messages(conversation)?;
        Ok(run.last)
    }

    /// A row of `messages`, not yet checked.
    pub(super) fn run(&self, row: Guard) -> Result<StoredRun, ViewError> {
        let (key, value) = self.engine.database("read a message from", row.into_inner())?;
        let (_, _, last) = row::split_run_key(&key).ok_or_else(|| self.odd_key())?;
        Ok(StoredRun { key, last, value })
    }

    pub(super) fn missing_name(&self, key: ConversationKey) -> ViewError {
        let what = format!("the name of conversation {key:?} is missing");
        ViewError::engine(&self.dir, "read a conversation from", what)
    }

    pub(super) fn odd_key(&self) -> ViewError {
        ViewError::engine(&self.dir, "read a message from", "a row has a key of another length".to_owned())
    }
}

/// A row of `messages`.
pub(super) struct StoredRun {
    key: UserKey,
    /// The seq of its last message.
    pub(super) last: Seq,
    value: UserValue,
}

impl StoredRun {
    /// Its messages, ascending. `conversation` is for the error.
    pub(super) fn messages(&self, conversation: &ConversationName) -> Result<Vec<Message<'_>>, ViewError> {
        run::open(&self.key, self.last, &self.value).map_err(|what| damaged(conversation, self.last, what))
    }
}

pub(super) fn record(conversation: &ConversationName, message: Message<'_>) -> Result<Record, ViewError> {
    message.to_record(conversation).map_err(|what| damaged(conversation, message.seq, what))
}

pub(super) fn damaged(conversation: &ConversationName, seq: Seq, what: &'static str) -> ViewError {
    ViewError::DamagedRow { conversation: conversation.clone(), seq, what }
}

pub(super) fn hole(conversation: &ConversationName, expected: Seq, found: Option<Seq>) -> ViewError {
    ViewError::Hole { conversation: conversation.clone(), expected, found }
}
