//! Replies: what answers requests. Variants are only ever appended.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::id::{ConversationName, DeviceId, Seq, UserId};
use crate::inbox::InboxRow;
use crate::membership::{ConversationKind, Permissions, Role};
use crate::message::MessageState;
use crate::presence::Status;
use crate::retention::Retention;

/// Answers a [`Request`](crate::request::Request).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// It is done and stored.
    Done {
        /// Where.
        conversation: ConversationName,
        /// The last event that came of it; 0 when nothing had to change.
        seq: Seq,
        /// When that was stored, in milliseconds since 1970; 0 when nothing had to change.
        time_ms: u64,
    },
    /// It was not done, and nothing was stored.
    Refused {
        /// Why.
        code: Code,
        /// When it may be tried again, in milliseconds from now; 0 when the code does not depend on time.
        retry_after_ms: u32,
        /// Why, for people. May be empty.
        reason: String,
    },
    /// Answers `Invite`.
    Invitation {
        /// What somebody joins with. The server tells it this once.
        invitation: String,
    },
    /// Answers `Describe`.
    Conversation(ConversationInfo),
    /// Answers `Members`.
    Members {
        /// In the order of their ids' bytes.
        members: Vec<MemberInfo>,
        /// Whether there are further ones.
        more: bool,
    },
    /// Answers `Blocked`.
    Users {
        /// In the order of their ids' bytes.
        users: Vec<UserId>,
    },
    /// Answers `Sessions`.
    Sessions {
        /// The user's devices, also those that are not connected; the latest first.
        sessions: Vec<SessionInfo>,
    },
    /// Answers `Conversations`.
    Conversations {
        /// In the order of their names' bytes.
        conversations: Vec<ConversationInfo>,
        /// Whether there are further ones.
        more: bool,
    },
    /// Answers `Receipts`.
    Receipts {
        /// To how many members the message has come; its sender does not count, here as below.
        delivered: u32,
        /// How many of them have read it.
        read: u32,
        /// Those to whom it has come, in the order of their ids' bytes; none where the conversation has over
        /// [`RECEIPT_MEMBERS_MAX`](crate::limits::RECEIPT_MEMBERS_MAX) members.
        users: Vec<ReceiptInfo>,
    },
    /// Answers `Inbox`.
    Inbox {
        /// In the inbox's order.
        rows: Vec<InboxRow>,
        /// What the next page begins behind; `None`: there are no further rows.
        next: Option<String>,
        /// The greatest version of the inbox when the page was read: `WatchInbox` may go on from that of the
        /// first page.
        version: u64,
    },
    /// Answers `WatchInbox`.
    Watching {
        /// The greatest version of the inbox at that time.
        version: u64,
        /// Whether all rows that have changed since the version that the client has will come. Otherwise it
        /// must ask for `Inbox` again.
        complete: bool,
    },
    /// Answers `Messages`, as far as it fits into one frame.
    Messages {
        /// Those that are there, in the order in which they were asked for.
        states: Vec<MessageState>,
        /// Those that are absent or no messages, in the same order.
        absent: Vec<Seq>,
        /// Whether there are some of which nothing is said here. At least one is told of all the same.
        more: bool,
    },
    /// Answers `SetRetention`.
    Retained {
        /// Where.
        conversation: ConversationName,
        /// The event that says so; 0 when nothing had to change, when nothing was to be changed, and when
        /// nothing was ever said there.
        seq: Seq,
        /// When that was stored, in milliseconds since 1970; 0 when nothing had to change, or was to be.
        time_ms: u64,
        /// How long events are kept by that, if by the operator's rules, then by these.
        retention: Retention,
        /// So many events are beyond that and were not absent before, with those among them that are absent by
        /// themselves. They are absent by that, but for what the operator holds, which is not told.
        events: u64,
        /// Bytes of what they say.
        bytes: u64,
    },
}

/// How far a member has received and read a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptInfo {
    /// Who.
    pub user: UserId,
    /// The last event that a device of the member has received.
    pub delivered: Seq,
    /// The last event that the member has read.
    pub read: Seq,
}

/// What a conversation is, for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationInfo {
    /// Which.
    pub conversation: ConversationName,
    /// What it is; `None`: unmanaged, so it has no members, and only its name, `permissions` and how its
    /// events are kept say anything.
    pub kind: Option<ConversationKind>,
    /// What people call it; may be empty. The other user's id for who is in a direct conversation.
    pub title: String,
    /// Whether anybody may join without an invitation.
    pub open: bool,
    /// As what the asking user is in it; `None`: not.
    pub role: Option<Role>,
    /// What the asking user may do, mutes apart.
    pub permissions: Permissions,
    /// How many members it has.
    pub members: u32,
    /// Until when nobody who may not moderate may write, in milliseconds since 1970; 0: they may.
    pub muted_until_ms: u64,
    /// Each member who may not moderate writes at most once in so many milliseconds; 0: as often as they
    /// like.
    pub slow_mode_interval_ms: u32,
    /// How long its events are kept: what it says itself, or else the operator's rules for its name. Whether
    /// it is held is not told.
    pub retention: Retention,
    /// Whether it says so itself, by a `RetentionSet`.
    pub own_retention: bool,
    /// The last event that changed anything of this, its retention apart, or of the members.
    pub version: Seq,
}

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberInfo {
    /// Who.
    pub user: UserId,
    /// As what.
    pub role: Role,
    /// What the member may do, mutes apart.
    pub permissions: Permissions,
    /// Until when the member may not write, in milliseconds since 1970; 0: the member may.
    pub muted_until_ms: u64,
    /// Whether the member is there.
    pub status: Status,
    /// When a device of the member was last connected, in milliseconds since 1970; 0 when none ever was.
    pub last_seen_ms: u64,
}

/// One of a user's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionInfo {
    /// Which.
    pub device: DeviceId,
    /// What its Hello said that it is.
    pub platform: String,
    /// Its Hello's generation.
    pub generation: u64,
    /// Whether it is connected, and whether somebody sits there.
    pub status: Status,
    /// When it connected, in milliseconds since 1970.
    pub connected_ms: u64,
    /// When it was last connected, in milliseconds since 1970: now while it is.
    pub last_seen_ms: u64,
}
