//! A user's inbox: the list of conversations, the latest first.

use serde::{Deserialize, Serialize};

use crate::frame::Event;
use crate::id::{ConversationName, Seq};
use crate::membership::ConversationKind;

/// What one of the user's conversations is in the list of all of them. A row replaces the one before of the
/// same conversation, unless that one's version is greater.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxRow {
    /// Which conversation.
    pub conversation: ConversationName,
    /// What it is; `None`: it is not managed.
    pub kind: Option<ConversationKind>,
    /// What people call it; may be empty. The other user's id for a direct conversation.
    pub title: String,
    /// Its last event; 0 when there is none.
    pub head: Seq,
    /// When the conversation was last written to, in milliseconds since 1970: rows are in the order of this
    /// time.
    pub time_ms: u64,
    /// The last message that is not absent, as it is after its latest edit, with at most
    /// [`INBOX_PREVIEW_BYTES_MAX`](crate::limits::INBOX_PREVIEW_BYTES_MAX) of its body and without its
    /// mentions; `None`: there is none.
    pub last: Option<Event>,
    /// Messages of others behind `read` that are not absent, at most
    /// [`UNREAD_MAX`](crate::limits::UNREAD_MAX), which stands for so many or more.
    pub unread: u32,
    /// Those of them that mention the user.
    pub mentions: u32,
    /// How far the user has read, on any device.
    pub read: Seq,
    /// The user has put it away.
    pub archived: bool,
    /// Until when the user wants no notices of it, in milliseconds since 1970; 0: notices are wanted.
    pub muted_until_ms: u64,
    /// The user wants it in front of all that are not pinned.
    pub pinned: bool,
    /// The user is not in it any more: it is to be taken out of the list.
    pub gone: bool,
    /// Grows with each change of a row of this user's.
    pub version: u64,
    /// From when on something that the row shows or counts has expired, in milliseconds since 1970; 0: of what
    /// it has nothing expires. Whoever watches the inbox is told the row anew then.
    pub stale_ms: u64,
}

/// A row that a client has from an earlier connection, or from before it watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRow {
    /// Which conversation's.
    pub conversation: ConversationName,
    /// As the row has it; not 0.
    pub stale_ms: u64,
}
