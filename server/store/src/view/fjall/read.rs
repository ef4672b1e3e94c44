//! Reads of the view.

use ::fjall::{Guard, Readable, Snapshot};
use quoth_protocol::{ConversationName, Seq};

use super::{FjallView, row};
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{Bounds, Page, PageLimit, ViewError};

impl FjallView {
    pub(super) fn read_bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let key = ConversationKey::new(conversation);
        let snapshot = self.database.snapshot();
        let damaged = |what| ViewError::DamagedConversation { conversation: conversation.clone(), what };
        let value = self.engine("read a conversation from", snapshot.get(&self.conversations, key.0))?;
        let decode = |value: ::fjall::UserValue| {
            row::decode_name(&key.0, &value).ok_or_else(|| damaged("its checksum does not match"))
        };
        let name = value.map(decode).transpose()?;
        if let Some(stored) = name.as_ref().filter(|stored| *stored != conversation) {
            return Err(ViewError::KeyCollision { stored: stored.to_string(), asked: conversation.clone() });
        }
        let head = self.head(&snapshot, conversation, key)?;
        if name.is_some() != (head > Seq::ZERO) {
            return Err(damaged("either the name or the messages are missing"));
        }
        Ok(Bounds { floor: Seq(1), head })
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
        let range = row::message_key(key, first)..=row::message_key(key, Seq(u64::MAX));
        let mut expected = first;
        for guard in self.database.snapshot().range(&self.messages, range) {
            let (found, record) = self.record(conversation, guard)?;
            if found != expected {
                return Err(hole(conversation, expected, Some(found)));
            }
            if !page.take(record) || page.is_full() {
                break;
            }
            expected = expected.next();
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
        let snapshot = self.database.snapshot();
        let mut expected = before.map(|before| Seq(before.0.saturating_sub(1)));
        let mut page = Page::new(limit);
        let range =
            row::message_key(key, Seq::ZERO)..=row::message_key(key, expected.unwrap_or(Seq(u64::MAX)));
        for guard in snapshot.range(&self.messages, range).rev() {
            let (found, record) = self.record(conversation, guard)?;
            let expected_here = match expected {
                Some(expected) if page.is_empty() => expected.min(self.head(&snapshot, conversation, key)?),
                Some(expected) => expected,
                None => found,
            };
            if found != expected_here {
                return Err(hole(conversation, expected_here, Some(found)));
            }
            if !page.take(record) || page.is_full() {
                return Ok(page.into_descending());
            }
            expected = Some(Seq(found.0.saturating_sub(1)));
        }
        match expected {
            Some(missing) if missing > Seq::ZERO && self.head(&snapshot, conversation, key)? > Seq::ZERO => {
                Err(hole(conversation, missing, None))
            }
            _ => Ok(page.into_descending()),
        }
    }

    /// The name that is stored for a conversation's key.
    pub(super) fn stored_name(
        &self,
        snapshot: &Snapshot,
        key: ConversationKey,
    ) -> Result<Option<ConversationName>, ViewError> {
        let value = self.engine("read a conversation from", snapshot.get(&self.conversations, key.0))?;
        let decode = |value: ::fjall::UserValue| {
            let damaged = || format!("the name of conversation {key:?} is damaged");
            row::decode_name(&key.0, &value)
                .ok_or_else(|| ViewError::engine(&self.dir, "read a conversation", damaged()))
        };
        value.map(decode).transpose()
    }

    fn head(
        &self,
        snapshot: &Snapshot,
        conversation: &ConversationName,
        key: ConversationKey,
    ) -> Result<Seq, ViewError> {
        let range = row::message_key(key, Seq::ZERO)..=row::message_key(key, Seq(u64::MAX));
        match snapshot.range(&self.messages, range).next_back() {
            None => Ok(Seq::ZERO),
            Some(guard) => Ok(self.record(conversation, guard)?.0),
        }
    }

    fn record(&self, conversation: &ConversationName, guard: Guard) -> Result<(Seq, Record), ViewError> {
        let (key, value) = self.engine("read a message from", guard.into_inner())?;
        let (_, seq) = row::split_message_key(&key).ok_or_else(|| self.odd_key())?;
        let record = row::open_message(&key, &value)
            .and_then(|(header, texts)| header.into_record(conversation, seq, texts))
            .map_err(|what| damaged(conversation, seq, what))?;
        Ok((seq, record))
    }

    pub(super) fn odd_key(&self) -> ViewError {
        ViewError::engine(&self.dir, "read a message", "a row has a key of another length".to_owned())
    }
}

pub(super) fn damaged(conversation: &ConversationName, seq: Seq, what: &'static str) -> ViewError {
    ViewError::DamagedRow { conversation: conversation.clone(), seq, what }
}

pub(super) fn hole(conversation: &ConversationName, expected: Seq, found: Option<Seq>) -> ViewError {
    ViewError::Hole { conversation: conversation.clone(), expected, found }
}
