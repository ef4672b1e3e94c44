//! Events: what a conversation's log is made of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ConversationName, Seq, UserId};
use crate::membership::{ConversationKind, GoneCause, InvitationHash, Permissions, Role};
use crate::retention::Retention;

/// One entry of a conversation's log. The bytes of its frame are the same for every reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its place.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970; never smaller than the event's before it.
    pub time_ms: u64,
    /// Who published it, or did what it tells.
    pub sender: UserId,
    /// When it was first said, for imported messages, in milliseconds since 1970.
    pub origin_time_ms: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}

/// What an event is. A client shows an event of a kind that it does not know as an unknown one and keeps its
/// seq.
///
/// The state of a conversation (who is in it, what it is called, who may not speak) is what its events come
/// to, in their order: nothing of it is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EventKind {
    /// A message.
    Message {
        /// As published.
        #[serde(with = "crate::body")]
        body: Bytes,
        /// The message that it answers. It may be absent.
        reply_to: Option<Seq>,
        /// Whom it is to be brought to the attention of; at most
        /// [`MENTIONS_MAX`](crate::limits::MENTIONS_MAX).
        mentions: Vec<UserId>,
        /// When it becomes absent, in milliseconds since 1970, unless it does so sooner; 0: at no time of its
        /// own.
        expires_ms: u64,
    },
    /// The conversation is managed from here on: its members are who may read and write.
    Created {
        /// What it is.
        kind: ConversationKind,
        /// What people call it; empty when nobody has said.
        title: String,
        /// Whether anybody may join without an invitation.
        open: bool,
    },
    /// Its title is another one.
    Renamed {
        /// What people call it now.
        title: String,
    },
    /// A user is a member, or is one with another role or other permissions than before.
    MemberSet {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
        /// What the member may do, all of it.
        permissions: Permissions,
        /// As what the user was in it until now; `None`: not at all.
        previous: Option<Role>,
        /// The invitation that the user came with.
        invitation: Option<InvitationHash>,
    },
    /// A member is none any more, and reads up to and including this event.
    MemberGone {
        /// Who.
        user: UserId,
        /// How that came.
        cause: GoneCause,
    },
    /// Somebody may not write for a while.
    Muted {
        /// Who; `None`: everybody who may not moderate.
        user: Option<UserId>,
        /// Until when, in milliseconds since 1970; 0: the mute is lifted.
        until_ms: u64,
    },
    /// A user may be no member and read nothing for a while.
    Banned {
        /// Who.
        user: UserId,
        /// Until when, in milliseconds since 1970; 0: the ban is lifted; `u64::MAX`: for ever.
        until_ms: u64,
    },
    /// How often each member may write.
    SlowMode {
        /// At most one message in so many milliseconds; 0: as often as they like.
        interval_ms: u32,
    },
    /// There is an invitation.
    InvitationMade {
        /// Which: its text is told to nobody but its maker.
        hash: InvitationHash,
        /// As what who comes with it comes in.
        role: Role,
        /// Until when it holds, in milliseconds since 1970; 0: until it is revoked.
        expires_ms: u64,
        /// How many may come with it; 0: any number.
        uses_max: u32,
    },
    /// No invitation from before holds any more.
    InvitationsRevoked,
    /// In a user's own log: the user is in a conversation, or is in it as something else than before.
    Belongs {
        /// Which.
        conversation: ConversationName,
        /// What it is.
        kind: ConversationKind,
        /// What it was called at that time.
        title: String,
        /// As what.
        role: Role,
    },
    /// In a user's own log: the user is not in a conversation any more.
    BelongsNoMore {
        /// Which.
        conversation: ConversationName,
        /// How that came.
        cause: GoneCause,
    },
    /// In a user's own log: whom the user wants nothing of.
    Blocked {
        /// Who.
        user: UserId,
        /// Whether that holds from here on or is over.
        blocked: bool,
    },
    /// A message says something else from here on.
    Edited {
        /// Which.
        seq: Seq,
        /// All that it says now.
        #[serde(with = "crate::body")]
        body: Bytes,
        /// All whom it mentions now; at most [`MENTIONS_MAX`](crate::limits::MENTIONS_MAX).
        mentions: Vec<UserId>,
    },
    /// A message is absent from here on, for everybody.
    Revoked {
        /// Which.
        seq: Seq,
    },
    /// The sender has reacted to a message, or does no more.
    Reacted {
        /// To which.
        seq: Seq,
        /// In which way: a [reaction's text](crate::message::check_reaction).
        reaction: String,
        /// Whether that holds from here on or is over.
        on: bool,
    },
    /// How long events are kept is said by the conversation itself from here on.
    RetentionSet {
        /// How long.
        retention: Retention,
    },
    /// In a user's own log: the user wants to see a message no more, on any device.
    Hidden {
        /// Where.
        conversation: ConversationName,
        /// Which.
        seq: Seq,
    },
    /// In a user's own log: how the user wants to see a conversation in the inbox.
    InboxSet {
        /// Which.
        conversation: ConversationName,
        /// It is put away.
        archived: bool,
        /// Until when no notices of it are wanted, in milliseconds since 1970; 0: they are wanted.
        muted_until_ms: u64,
        /// It stands in front of all that are not pinned.
        pinned: bool,
    },
}

impl EventKind {
    /// A message that is nothing but its body.
    #[must_use]
    pub fn message(body: impl Into<Bytes>) -> Self {
        Self::Message { body: body.into(), reply_to: None, mentions: Vec::new(), expires_ms: 0 }
    }

    /// A message's body as it was published; `None` for what is no message.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        if let Self::Message { body, .. } = self { Some(body) } else { None }
    }
}
