//! Why the view did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};

use crate::key::{ConversationKey, ProducerKey};
use crate::log::Position;
use crate::room;

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
    /// A block of a table is not what was written.
    #[error("cannot {action} the view in {}: a table is damaged: the checksum of a block does not match", path.display())]
    DamagedBlock {
        /// What was tried.
        action: &'static str,
        /// The view's folder.
        path: PathBuf,
    },
    /// The name of a conversation is not what was written, or is not there.
    #[error("the view's row with the name of conversation {key:?} is {what}")]
    DamagedName {
        /// The conversation's key.
        key: ConversationKey,
        /// What is wrong.
        what: &'static str,
    },
    /// A row that leads to events of a conversation is not what was written.
    #[error("the view's row that leads to events of conversation {key:?} is damaged")]
    DamagedSpan {
        /// The conversation's key.
        key: ConversationKey,
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
    /// Whether rows that were asked for are damaged, while others may be read.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::DamagedBlock { .. } => true,
            _ => self.concerns_one_conversation(),
        }
    }

    /// Whether it is about the rows of one conversation only.
    #[must_use]
    pub const fn concerns_one_conversation(&self) -> bool {
        match self {
            Self::DamagedName { .. }
            | Self::DamagedSpan { .. }
            | Self::DamagedRow { .. }
            | Self::DamagedConversation { .. }
            | Self::DamagedProducer { .. }
            | Self::DamagedRegister { .. }
            | Self::Hole { .. }
            | Self::KeyCollision { .. } => true,
            Self::Io { .. }
            | Self::Engine { .. }
            | Self::DamagedBlock { .. }
            | Self::DamagedTable { .. }
            | Self::Skipped { .. } => false,
        }
    }

    /// Whether it is for want of room: what was tried may be tried again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if room::is_full(source))
    }

    /// What to do about it, for whoever does not know whether the log is sound.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Engine { .. } | Self::DamagedBlock { .. } => {
                ". `quoth-server verify` says whether it can be rebuilt from the log"
            }
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

impl ViewError {
    pub(crate) fn engine(dir: &Path, action: &'static str, what: String) -> Self {
        Self::Engine { action, path: dir.to_owned(), what }
    }

    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}
