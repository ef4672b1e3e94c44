//! What happened to a server's conversations as its clients saw it, and whether the promises held.
//!
//! A harness writes down [`Step`]s as they happen: what was sent and what became of it, what each reader got,
//! and at the end each conversation's whole log. The [`Checker`] finds where they contradict *acked is
//! durable*, *contiguous*, *once* and *no hole*. It is pure; [`generate`] makes histories that are right and
//! [`plant`] breaks them, so that the checker itself is tested.
//!
//! Events carry no message id, so a message is known by its content. A harness therefore never sends the same
//! body under two ids.

mod checker;
pub mod generate;
pub mod plant;

use std::fmt;

use quoth_protocol::frame::Event;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use sha2::{Digest as _, Sha256};

pub use checker::Checker;

/// Sender and body of a message, as the first 16 bytes of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content([u8; 16]);

impl Content {
    /// Of a message.
    #[must_use]
    pub fn new(sender: &UserId, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(sender.as_str());
        hash.update([0]);
        hash.update(body);
        let mut content = [0; 16];
        content.copy_from_slice(&hash.finalize()[..16]);
        Self(content)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A message's id within its conversation. Users have producers of their own in a history, so no user is
/// needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// Who numbers it.
    pub producer: u64,
    /// Its number.
    pub n: u64,
}

/// An event, live or from history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// The server's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub content: Content,
}

impl Entry {
    /// What the checker needs of an event.
    ///
    /// # Panics
    /// When it is no message: nobody has made a conversation of these loads anything else.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let body = event.kind.body().expect("only messages are published");
        Self { seq: event.seq, time_ms: event.time_ms, content: Content::new(&event.sender, body) }
    }
}

/// An ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The message's place.
    pub seq: Seq,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether an earlier publish had stored it.
    pub duplicate: bool,
}

/// A reader of one conversation. It has one session after the other.
pub type ReaderId = u32;

/// Something that happened in a conversation.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where.
    pub conversation: ConversationName,
    /// What.
    pub what: What,
}

/// What happened. Each is written down before anything that it can cause: a send before it goes to the
/// server.
#[derive(Debug, Clone)]
pub enum What {
    /// A message goes to the server, for the first time or again. Until its ack its outcome is unknown.
    Sent {
        /// Its id.
        id: MessageId,
        /// What it says.
        content: Content,
    },
    /// The server says that it is stored.
    Acked {
        /// Its id.
        id: MessageId,
        /// Where and when.
        ack: Ack,
    },
    /// The server says that it is not stored.
    Refused {
        /// Its id.
        id: MessageId,
        /// Why.
        code: Code,
    },
    /// A reader's session begins: its next event is the one behind the cursor.
    Attached {
        /// Which reader.
        reader: ReaderId,
        /// The last event that it does not want.
        cursor: Seq,
    },
    /// A reader gets an event.
    Delivered {
        /// Which reader.
        reader: ReaderId,
        /// The event.
        entry: Entry,
    },
    /// A reader is told that retention has taken events.
    Gap {
        /// Which reader.
        reader: ReaderId,
        /// The first one taken.
        from: Seq,
        /// The last one taken.
        to: Seq,
    },
    /// The whole log at the end, from the floor on. Nothing happens in the conversation behind it.
    Log {
        /// The first readable seq.
        floor: Seq,
        /// All events.
        entries: Vec<Entry>,
    },
}

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A message that was acked, or delivered, is not in the log in its place.
    Lost,
    /// A message is in the log twice, or came to a reader twice in a session.
    Duplicate,
    /// A reader or the log has a hole.
    Gap,
    /// Something comes out of order.
    Reorder,
    /// Something that nobody sent, or that was refused.
    Phantom,
    /// What two places say about one message or one seq differs.
    Mismatch,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which one.
    pub kind: Kind,
    /// In which conversation.
    pub conversation: ConversationName,
    /// What exactly.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}: {}", self.kind, self.conversation, self.detail)
    }
}

/// Checks a history from its beginning to its end.
#[must_use]
pub fn check(steps: &[Step]) -> Vec<Violation> {
    let mut checker = Checker::default();
    steps.iter().for_each(|step| checker.take(step));
    checker.finish()
}
