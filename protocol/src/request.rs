//! Requests: what a client asks the server to do or to tell. `docs/PROTOCOL.md` says for each what it needs
//! and what answers it. Variants are only ever appended.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ConversationName, DeviceId, Seq, UserId};
use crate::inbox::HeldRow;
use crate::membership::{ConversationKind, Permissions, Role};
use crate::retention::Retention;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Makes a managed conversation, whose owner the user is.
    Create {
        /// A free name that is not reserved; `None`: the server makes one. None for
        /// [`ConversationKind::Direct`] and [`ConversationKind::Notes`], whose names follow from who is in
        /// them.
        conversation: Option<ConversationName>,
        /// What it is to be.
        kind: ConversationKind,
        /// What people call it; may be empty.
        title: String,
        /// Who else is in it from the beginning: for [`ConversationKind::Direct`] exactly one user, for
        /// [`ConversationKind::Notes`] nobody.
        members: Vec<UserId>,
        /// Whether anybody may join without an invitation.
        open: bool,
    },
    /// Makes the user a member.
    Join {
        /// Of which conversation.
        conversation: ConversationName,
        /// The text of an invitation; `None` where the conversation is open.
        invitation: Option<String>,
    },
    /// Ends the user's membership.
    Leave {
        /// Of which conversation.
        conversation: ConversationName,
    },
    /// Adds a member, or changes one's role and permissions.
    SetMember {
        /// Of which conversation.
        conversation: ConversationName,
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
        /// What the member may do; `None`: what the role may.
        permissions: Option<Permissions>,
    },
    /// Ends the membership of somebody else.
    Remove {
        /// Of which conversation.
        conversation: ConversationName,
        /// Who.
        user: UserId,
    },
    /// Sets the title.
    Rename {
        /// Of which conversation.
        conversation: ConversationName,
        /// What people call it; may be empty.
        title: String,
    },
    /// Keeps somebody from writing.
    Mute {
        /// Where.
        conversation: ConversationName,
        /// Who; `None`: everybody who may not moderate.
        user: Option<UserId>,
        /// Until when, in milliseconds since 1970; 0 lifts the mute.
        until_ms: u64,
    },
    /// Ends a user's membership and keeps the user out.
    Ban {
        /// Where.
        conversation: ConversationName,
        /// Who.
        user: UserId,
        /// Until when, in milliseconds since 1970; 0 lifts the ban; `u64::MAX`: for ever.
        until_ms: u64,
    },
    /// Sets how often each member may write.
    SlowMode {
        /// Where.
        conversation: ConversationName,
        /// At most one message in so many milliseconds; 0: as often as they like.
        interval_ms: u32,
    },
    /// Makes an invitation.
    Invite {
        /// To which conversation.
        conversation: ConversationName,
        /// As what who comes with it comes in.
        role: Role,
        /// Until when it holds, in milliseconds since 1970; 0: until it is revoked.
        expires_ms: u64,
        /// How many may come with it; 0: any number.
        uses_max: u32,
    },
    /// Ends all invitations.
    RevokeInvitations {
        /// To which conversation.
        conversation: ConversationName,
    },
    /// Asks what a conversation is.
    Describe {
        /// Which.
        conversation: ConversationName,
    },
    /// Asks for a page of members, in the order of their ids' bytes.
    Members {
        /// Of which conversation.
        conversation: ConversationName,
        /// The page begins behind this user; `None`: with the first one.
        after: Option<UserId>,
        /// At most so many; see [`limits::MEMBERS_PAGE_MAX`](crate::limits::MEMBERS_PAGE_MAX).
        limit: u32,
    },
    /// Says whether the user wants anything of somebody else.
    Block {
        /// Who.
        user: UserId,
        /// Nothing.
        blocked: bool,
    },
    /// Asks whom the user has blocked.
    Blocked,
    /// Asks for the user's devices.
    Sessions,
    /// Ends the connection of another device of the user.
    EndSession {
        /// Which.
        device: DeviceId,
    },
    /// Asks for a page of the conversations that the user is in, in the order of their names' bytes.
    Conversations {
        /// The page begins behind this name; `None`: with the first one.
        after: Option<ConversationName>,
        /// At most so many; see [`limits::CONVERSATIONS_PAGE_MAX`](crate::limits::CONVERSATIONS_PAGE_MAX).
        limit: u32,
    },
    /// Says whether this connection wants to be told when members come and go.
    WatchPresence {
        /// Members of which conversation.
        conversation: ConversationName,
        /// It does.
        watch: bool,
    },
    /// Makes one of the user's messages say something else.
    Edit {
        /// Where.
        conversation: ConversationName,
        /// Which message.
        seq: Seq,
        /// All that it is to say.
        #[serde(with = "crate::body")]
        body: Bytes,
        /// All whom it is to mention; at most [`MENTIONS_MAX`](crate::limits::MENTIONS_MAX).
        #[serde(default)]
        mentions: Vec<UserId>,
    },
    /// Makes a message absent for everybody.
    Revoke {
        /// Where.
        conversation: ConversationName,
        /// Which.
        seq: Seq,
    },
    /// Says whether the user reacts to a message.
    React {
        /// Where.
        conversation: ConversationName,
        /// To which.
        seq: Seq,
        /// In which way: a [reaction's text](crate::message::check_reaction).
        reaction: String,
        /// The user does.
        on: bool,
    },
    /// Makes a message absent for the user alone, on all devices.
    Hide {
        /// Where.
        conversation: ConversationName,
        /// Which.
        seq: Seq,
    },
    /// Says how long events are kept.
    SetRetention {
        /// Where.
        conversation: ConversationName,
        /// How long; `None`: as the operator's rules say, as if the conversation said nothing itself.
        retention: Option<Retention>,
        /// Nothing is changed: the answer says what would go.
        dry_run: bool,
    },
    /// Says how far the user has received and read a conversation, which need not be open. Both only ever
    /// move forward: what is less than before changes nothing, so 0 says nothing of one of them.
    Mark {
        /// Which.
        conversation: ConversationName,
        /// The last event that has come to one of the user's devices.
        delivered: Seq,
        /// The last event that the user has read. It counts as delivered, too.
        read: Seq,
    },
    /// Asks who has received and read a message.
    Receipts {
        /// Where.
        conversation: ConversationName,
        /// Which.
        seq: Seq,
    },
    /// Asks for a page of the inbox: pinned conversations first, then the others, each with the latest first.
    Inbox {
        /// The page begins where the one before has said; `None`: with the first row.
        after: Option<String>,
        /// At most so many; see [`limits::INBOX_PAGE_MAX`](crate::limits::INBOX_PAGE_MAX).
        limit: u32,
    },
    /// Says whether this connection wants to be told when rows of the inbox change.
    WatchInbox {
        /// The greatest version that the client has; `None`: only what changes from now on is wanted.
        since: Option<u64>,
        /// It does.
        watch: bool,
        /// Rows that the client has and that go stale, those that do first if there are more than
        /// [`limits::INBOX_STALE_MAX`](crate::limits::INBOX_STALE_MAX).
        held: Vec<HeldRow>,
    },
    /// Says how the user wants to see a conversation in the inbox, on all devices.
    SetInbox {
        /// Which.
        conversation: ConversationName,
        /// It is put away.
        archived: bool,
        /// Until when no notices of it are wanted, in milliseconds since 1970; 0: they are wanted.
        muted_until_ms: u64,
        /// It stands in front of all that are not pinned.
        pinned: bool,
    },
    /// Asks what messages have come to.
    Messages {
        /// Where.
        conversation: ConversationName,
        /// Which; at most [`MESSAGES_PAGE_MAX`](crate::limits::MESSAGES_PAGE_MAX).
        seqs: Vec<Seq>,
    },
}
