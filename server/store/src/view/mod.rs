//! The view: what readers read, built from the log.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};

use crate::key::ProducerKey;
use crate::log::Position;
use crate::record::Record;
use crate::room;

pub(crate) mod fjall;
pub(crate) mod memory;

/// Which part of a conversation is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first seq that is readable; `head + 1` when there is none.
    pub floor: Seq,
    /// The last seq; 0 when the conversation is unknown.
    pub head: Seq,
}

/// How much one read returns at most. It returns at least one record if there is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Records.
    pub records: usize,
    /// Bytes of contents.
    pub bytes: usize,
}

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    records: Vec<Record>,
    limit: PageLimit,
    bytes: usize,
}

impl Page {
    pub(crate) const fn new(limit: PageLimit) -> Self {
        Self { records: Vec::new(), limit, bytes: 0 }
    }

    /// Whether a further record of no bytes would be over the limit.
    pub(crate) const fn is_full(&self) -> bool {
        !self.records.is_empty() && self.records.len() >= self.limit.records
    }

    /// Takes a record unless it is over the limit; says whether it did.
    pub(crate) fn take(&mut self, record: Record) -> bool {
        let bytes = self.bytes.saturating_add(record.content.len());
        if self.is_full() || (!self.records.is_empty() && bytes > self.limit.bytes) {
            return false;
        }
        self.bytes = bytes;
        self.records.push(record);
        true
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The records, ascending, when they were taken descending.
    pub(crate) fn into_descending(mut self) -> Vec<Record> {
        self.records.reverse();
        self.records
    }
}

/// The last message of a producer in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Second half of its message id.
    pub n: u64,
    /// Its place.
    pub seq: Seq,
}

/// Why the view did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The storage engine failed or found its files damaged.
    #[error("cannot {action} the view in {}: {what}", path.display())]
    Engine {
        /// What was tried.
        action: &'static str,
        /// The view's folder.
        path: PathBuf,
        /// What the engine says.
        what: String,
    },
    /// A table of the storage engine is not what was written.
    #[error("the view's table {} is damaged", path.display())]
    DamagedTable {
        /// Its file.
        path: PathBuf,
    },
    /// A stored row is not what was written.
    #[error("the view's row of conversation {conversation}, seq {seq} is damaged: {what}")]
    DamagedRow {
        /// The conversation.
        conversation: ConversationName,
        /// The row's seq.
        seq: Seq,
        /// What is wrong.
        what: &'static str,
    },
    /// What is stored about a conversation as a whole is not what was written.
    #[error("the view's row of conversation {conversation} is damaged: {what}")]
    DamagedConversation {
        /// The conversation.
        conversation: ConversationName,
        /// What is wrong.
        what: &'static str,
    },
    /// What is stored about a producer is not what was written.
    #[error("the view's row of producer {producer:?} in conversation {conversation} is damaged: {what}")]
    DamagedProducer {
        /// The conversation.
        conversation: ConversationName,
        /// The producer.
        producer: ProducerKey,
        /// What is wrong.
        what: &'static str,
    },
    /// A register is not what was written.
    #[error(
        "the view's register {} of conversation {conversation} is damaged: {what}", key.escape_ascii()
    )]
    DamagedRegister {
        /// The conversation.
        conversation: ConversationName,
        /// The register's key.
        key: Bytes,
        /// What is wrong.
        what: &'static str,
    },
    /// A conversation is not contiguous.
    #[error(
        "conversation {conversation} has a hole in the view: seq {expected} is missing, the next one is {found:?}"
    )]
    Hole {
        /// The conversation.
        conversation: ConversationName,
        /// The seq that should be there.
        expected: Seq,
        /// The seq that is there instead; `None` at the conversation's end.
        found: Option<Seq>,
    },
    /// Two conversations have the same key.
    #[error("the conversations {stored} and {asked} have the same key; one of them needs another name")]
    KeyCollision {
        /// The one that is stored.
        stored: String,
        /// The other one.
        asked: ConversationName,
    },
    /// A group was left out.
    #[error("the view holds the groups up to {applied}, so {position} cannot be applied next")]
    Skipped {
        /// How far the view is.
        applied: Position,
        /// The group that was to be applied.
        position: Position,
    },
}

impl ViewError {
    /// Whether it is for want of room: what was tried may be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if room::is_full(source))
    }

    /// What to do about it, for whoever does not know whether the log is sound.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Engine { .. } => ". `quoth-server verify` says whether it can be rebuilt from the log",
            _ => "",
        }
    }
}

/// What to do about an error of the disk.
fn advice(source: &io::Error) -> &'static str {
    if room::is_full(source) {
        "; free space, and start the server again if it has stopped: what was acked is in the log"
    } else {
        ""
    }
}

/// What readers read. Built from the log, and rebuilt from it after a loss.
///
/// One thread applies; any thread may read and flush meanwhile.
pub trait View: Send + Sync + fmt::Debug {
    /// Applies the group at a position; reads show it when this returns. A group that is applied already is left alone.
    /// Registers get the values of the last records that set or remove them. Of a notice there are its registers only.
    ///
    /// # Errors
    /// When it is not the next group, or could not be written.
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError>;

    /// The last group that is applied.
    fn applied(&self) -> Position;

    /// Brings what is applied to stable storage and returns up to which group everything is there. A restart finds at least
    /// these groups and needs those behind from the log.
    ///
    /// # Errors
    /// When it could not be written.
    fn flush(&self) -> Result<Position, ViewError>;

    /// Which part of a conversation is readable.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError>;

    /// The first records behind a seq, ascending.
    ///
    /// # Errors
    /// When they are not contiguous, or rows are damaged or could not be read.
    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError>;

    /// The last records before a seq, or the last ones of all, ascending.
    ///
    /// # Errors
    /// When they are not contiguous, or rows are damaged or could not be read.
    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError>;

    /// The last message of a producer in a conversation.
    ///
    /// # Errors
    /// When the row is damaged or could not be read.
    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError>;

    /// The record with a message id. Relies on that a producer's n grows with seq, and reads few rows, however old the
    /// message and however large the conversation is.
    ///
    /// # Errors
    /// When rows are damaged or could not be read.
    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Record>, ViewError>;

    /// What a conversation's register holds; `None` when it was never set, or removed.
    ///
    /// # Errors
    /// When its row is damaged or could not be read.
    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// A conversation's registers whose keys begin with `prefix` and come behind `after`, with their values, ascending by
    /// key. Fewer than `limit` means that these are the last ones.
    ///
    /// # Errors
    /// When a row is damaged or could not be read.
    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError>;

    /// Conversations that have events or registers and come behind `after`, in the order of their keys
    /// ([`ConversationKey`](crate::ConversationKey)). Fewer than `limit` means that these are the last ones.
    ///
    /// # Errors
    /// When a row is damaged or could not be read.
    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError>;
}
