//! A record: what a log holds of one thing that happened, and what it makes true.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};

use crate::class::Class;
use crate::key::ProducerKey;

/// One thing that happened in a conversation, as log and view hold it.
///
/// Messages and changes are **events**: they have a place in their conversation and readers see them. A
/// **notice** is in the log alone, for whoever follows that; it stands among the records of its group,
/// because what they and it make true holds in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The conversation.
    pub conversation: ConversationName,
    /// Its place in the conversation; [`Seq::ZERO`] for a notice, which has none.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it was first said, in milliseconds since 1970, for imported messages.
    pub origin_time_ms: Option<u64>,
    /// Who published it, or who made the change.
    pub sender: UserId,
    /// By which a repeat of it is recognised; `None` when it is not published again, as what the server
    /// makes. Of a notice it is kept in the log and means nothing to the view.
    pub id: Option<MessageId>,
    /// What happened.
    pub content: Content,
    /// When it becomes absent by itself, in milliseconds since 1970; 0: at no time of its own.
    pub expires_ms: u64,
    /// Bytes of the contents of all events before it in its conversation: how much is kept may be said in
    /// bytes.
    pub offset: u64,
    /// With what the view keeps it together: with what is kept for about as long. It means nothing to
    /// readers, who are given the default.
    pub class: Class,
    /// Events of the same conversation, before it, that are absent from here on, and whose contents are to
    /// go. Readers are given none.
    pub erases: Vec<Seq>,
    /// Whether the view's window of its class ends behind its group, full or not. Readers are given none.
    pub ends_window: bool,
    /// What it makes true for its conversation, in this order. Messages have none, which costs them nothing;
    /// and neither has what is read from the view, which keeps the latest values apart.
    pub registers: Vec<Register>,
}

impl Record {
    /// An event that is nothing else: without an id, at the beginning of its conversation's contents, and of
    /// the class that is kept for ever.
    #[must_use]
    pub fn event(
        conversation: ConversationName,
        seq: Seq,
        time_ms: u64,
        sender: UserId,
        content: Content,
    ) -> Self {
        Self {
            conversation,
            seq,
            time_ms,
            origin_time_ms: None,
            sender,
            id: None,
            content,
            expires_ms: 0,
            offset: 0,
            class: Class::default(),
            erases: Vec::new(),
            ends_window: false,
            registers: Vec::new(),
        }
    }

    /// A notice that says nothing but what is true from now on.
    #[must_use]
    pub fn notice(
        conversation: ConversationName,
        time_ms: u64,
        sender: UserId,
        registers: Vec<Register>,
    ) -> Self {
        let nothing = Content::Notice(Bytes::new());
        Self { registers, ..Self::event(conversation, Seq::ZERO, time_ms, sender, nothing) }
    }

    /// As the view gives it back.
    pub(crate) fn as_read(&self) -> Self {
        let Self {
            conversation, seq, time_ms, origin_time_ms, sender, id, content, expires_ms, offset, ..
        } = self.clone();
        let event = Self::event(conversation, seq, time_ms, sender, content);
        Self { origin_time_ms, id, expires_ms, offset, ..event }
    }

    /// Bytes of the contents of all events of the conversation up to and including it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.content.len() as u64)
    }

    /// When a group of records was stored, in milliseconds since 1970; `None` when it has none. That is the
    /// earliest of their times: an event's own may be later, behind another one of its conversation that was
    /// stored while the clock was ahead. Whoever makes a group sees to it that one record has the time.
    #[must_use]
    pub fn stored_ms(group: &[Self]) -> Option<u64> {
        group.iter().map(|record| record.time_ms).min()
    }

    /// Whether it has a place in its conversation, where readers see it.
    #[must_use]
    pub const fn is_event(&self) -> bool {
        !matches!(self.content, Content::Notice(_))
    }
}

/// By which a repeat is recognised. Within a conversation a producer's n grows with seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// Who numbers.
    pub producer: ProducerKey,
    /// Its number.
    pub n: u64,
}

/// What happened, opaque to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message that is nothing but its body: the body.
    Message(Bytes),
    /// A change of the conversation, or a message of which more is said than its body: an event's kind as it
    /// is encoded on the wire.
    Change(Bytes),
    /// Something that only those who follow the log are told.
    Notice(Bytes),
}

impl Content {
    /// The bytes, whatever they are.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Message(bytes) | Self::Change(bytes) | Self::Notice(bytes) => bytes,
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Longest key of a register, in bytes. It fits into a byte.
pub const REGISTER_KEY_BYTES_MAX: usize = 255;

/// A named value of a conversation, of which the latest one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name: 1 to [`REGISTER_KEY_BYTES_MAX`] bytes of any kind. A record with another one cannot be
    /// encoded.
    pub key: Bytes,
    /// What it holds from now on; `None` removes it.
    pub value: Option<Bytes>,
}

impl Register {
    /// Whether its key has a length that is allowed.
    pub(crate) const fn is_valid(&self) -> bool {
        !self.key.is_empty() && self.key.len() <= REGISTER_KEY_BYTES_MAX
    }
}

/// What the key of a register begins with that is about an event of its conversation. A byte of any kind
/// comes behind it, then the event's seq, big endian, then anything. It goes when the event's row has gone.
pub const OF_EVENT: u8 = b'@';

/// The event that a register is about, by its key, and of which kind it is.
pub(crate) fn event_of(key: &[u8]) -> Option<(u8, Seq)> {
    let (&[of_event, kind], rest) = key.split_first_chunk()?;
    let seq = rest.first_chunk()?;
    (of_event == OF_EVENT).then(|| (kind, Seq(u64::from_be_bytes(*seq))))
}

/// Kinds of encoded contents, in groups and in rows. Further kinds get further numbers; one that is not known
/// here does not decode.
pub(crate) const KIND_MESSAGE: u8 = 0;
pub(crate) const KIND_CHANGE: u8 = 1;
pub(crate) const KIND_NOTICE: u8 = 2;
/// Only in rows: what was there is gone, but for its time and how long it was, and its id unless it is long
/// ago.
pub(crate) const KIND_ABSENT: u8 = 3;

/// Flags of an encoded record, in groups and in rows: what of it is there.
pub(crate) const FLAG_ORIGIN_TIME: u8 = 1;
pub(crate) const FLAG_ID: u8 = 2;
pub(crate) const FLAG_REGISTERS: u8 = 4;
pub(crate) const FLAG_EXPIRES: u8 = 8;
/// In groups: unless it is 0. In rows: unless it is where the message before it ends.
pub(crate) const FLAG_OFFSET: u8 = 16;
pub(crate) const FLAG_CLASS: u8 = 32;
pub(crate) const FLAG_ERASES: u8 = 64;
pub(crate) const FLAG_ENDS_WINDOW: u8 = 128;
