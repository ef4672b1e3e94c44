//! What tests of the store and of its users need.

mod overridden;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

use crate::group;
use crate::key::ProducerKey;
use crate::log::{Log, LogError, Position};
use crate::record::{Content, MessageId, OF_EVENT, Record, Register};
use crate::reserve::Reserve;
#[cfg(test)]
use crate::view::View;
use crate::view::{Found, Pacer};

pub use overridden::{LogOverride, Overridden, ViewOverride};
pub use random::Random;

/// Releases a reserve, as want of room does.
pub fn release(reserve: &Arc<Reserve>) {
    reserve.release(&"a test wants it");
}

/// A record of some user, with a body that its numbers make up.
///
/// # Panics
/// When `conversation` is no conversation name.
#[must_use]
pub fn record(conversation: &str, seq: u64, n: u64) -> Record {
    let sender = UserId::new("ada").expect("a valid id");
    let id = Some(MessageId { producer: ProducerKey::new(&sender, ProducerId(1)), n });
    let content = Content::Message(format!("message {n} of {conversation} at {seq}").into());
    let conversation = ConversationName::new(conversation).expect("the caller gives a valid name");
    let event = Record::event(conversation, Seq(seq), 1_700_000_000_000 + seq, sender, content);
    Record { id, ..event }
}

/// What a look-up of a record's id finds.
#[must_use]
pub const fn found(record: &Record) -> Found {
    Found { seq: record.seq, time_ms: record.time_ms }
}

/// A change by some user, without an id.
///
/// # Panics
/// When `conversation` is no conversation name.
#[must_use]
pub fn change(conversation: &str, seq: u64, registers: impl Into<Vec<Register>>) -> Record {
    Record {
        id: None,
        content: Content::Change(format!("change of {conversation} at {seq}").into()),
        registers: registers.into(),
        ..record(conversation, seq, 0)
    }
}

/// A notice about a conversation.
///
/// # Panics
/// When `conversation` is no conversation name.
#[must_use]
pub fn notice(conversation: &str, registers: impl Into<Vec<Register>>) -> Record {
    let content = Content::Notice(format!("notice of {conversation}").into());
    Record { content, ..change(conversation, 0, registers) }
}

/// A register that gets a value.
#[must_use]
pub fn set(key: &str, value: &str) -> Register {
    let (key, value) = (key.to_owned().into(), Some(value.to_owned().into()));
    Register { key, value }
}

/// A register of an event that gets a value.
#[must_use]
pub fn set_of(kind: u8, seq: u64, value: &str) -> Register {
    Register { key: key_of(kind, seq), value: Some(value.to_owned().into()) }
}

/// The key of a register of an event.
#[must_use]
pub fn key_of(kind: u8, seq: u64) -> Bytes {
    [&[OF_EVENT, kind][..], &seq.to_be_bytes()].concat().into()
}

/// A register that is removed.
#[must_use]
pub fn removed(key: &str) -> Register {
    Register { key: key.to_owned().into(), value: None }
}

/// Applies each record as a group of its own, from the first position on.
#[cfg(test)]
pub(crate) fn apply_one_by_one(view: &dyn View, records: &[Record]) {
    for (position, record) in (1..).map(Position).zip(records) {
        view.apply(position, std::slice::from_ref(record)).expect("it is the next group");
    }
}

/// As fast as it goes.
#[must_use]
pub fn unpaced() -> Pacer {
    Arc::new(|_, _| true)
}

/// Appends a group and flushes it.
///
/// # Errors
/// As [`Log::append`] and [`Log::flush`].
pub fn commit(log: &dyn Log, records: &[Record]) -> Result<Position, LogError> {
    let mut bytes = Vec::new();
    group::encode(records, &mut bytes);
    let position = log.append(&bytes)?;
    log.flush()?;
    Ok(position)
}

/// All files in a folder and in those below it, with their contents.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a readable file"));
        }
    }
    files
}
