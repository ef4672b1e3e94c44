//! Events where they lie in the view.

use quoth_protocol::{Seq, UserId};

use crate::record::{Content, Record};

/// An event where it lies in the view, for whoever needs no record of it.
#[derive(Debug, Clone, Copy)]
pub struct StoredEvent<'a> {
    /// Its place in the conversation.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it was first said, in milliseconds since 1970, for imported messages.
    pub origin_time_ms: Option<u64>,
    /// Who published it, or who made the change.
    pub sender: &'a UserId,
    /// What happened.
    pub content: StoredContent<'a>,
    /// When it becomes absent by itself, in milliseconds since 1970; 0: at no time of its own.
    pub expires_ms: u64,
    /// Bytes of the contents of all events before it in its conversation.
    pub offset: u64,
}

/// The content of a [`StoredEvent`].
#[derive(Debug, Clone, Copy)]
pub enum StoredContent<'a> {
    /// A message that is nothing but its body: the body.
    Message(&'a [u8]),
    /// Anything else: an event's kind as it is encoded on the wire.
    Kind(&'a [u8]),
}

impl<'a> StoredEvent<'a> {
    /// What a record is in the view.
    #[must_use]
    pub fn of(record: &'a Record) -> Self {
        let Record { seq, time_ms, origin_time_ms, sender, content, expires_ms, offset, .. } = record;
        Self {
            seq: *seq,
            time_ms: *time_ms,
            origin_time_ms: *origin_time_ms,
            sender,
            content: match content {
                Content::Message(body) => StoredContent::Message(body),
                Content::Change(kind) | Content::Notice(kind) => StoredContent::Kind(kind),
            },
            expires_ms: *expires_ms,
            offset: *offset,
        }
    }
}

/// Is told of events.
pub type VisitEvent<'a> = dyn FnMut(&StoredEvent<'_>) + 'a;
