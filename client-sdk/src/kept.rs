//! Places in conversations that applications keep.

use quoth_protocol::Seq;
use quoth_protocol::frame::Start;
use serde::{Deserialize, Serialize};

/// A place in a conversation that an application keeps, from [`Events::cursor`](crate::Events::cursor), to go
/// on from it with another client ([`Conversation::events`](crate::Conversation::events)), also after a
/// restart.
///
/// It names the store that its seq is of: a server that was restored from a backup gives the same seqs to
/// other events. Reading from a cursor of another store than the server has ends with an
/// [`EventsError`](crate::EventsError) that [is a reset](crate::EventsError::is_reset): what was kept is to be
/// dropped. A seq alone, as of [`Start::After`], would go on in another history without a word.
///
/// ```no_run
#[doc = include_str!("../examples/follow.rs")]
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// Which store it is of: a number below 2^53, so that JSON has it as it is.
    pub store: u64,
    /// Everything up to this one is behind the reader.
    pub seq: Seq,
}

/// Where reading begins: a [`Start`], or a [`Cursor`] of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFrom {
    pub(crate) start: Start,
    /// The store that the start is of, if it is known.
    pub(crate) store: Option<u64>,
}

impl From<Start> for ReadFrom {
    fn from(start: Start) -> Self {
        Self { start, store: None }
    }
}

impl From<Cursor> for ReadFrom {
    fn from(Cursor { store, seq }: Cursor) -> Self {
        Self { start: Start::After(seq), store: Some(store) }
    }
}
