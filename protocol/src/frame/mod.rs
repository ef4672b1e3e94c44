//! Frames. Variants are only ever appended: the variant's number is its place in the enum and part of the
//! wire. `docs/PROTOCOL.md` says for each frame where it may stand and what answers it.
//!
//! Names in serde's attributes are those of the JSON encoding (section 10); postcard has no names.

mod event;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::event::{Event, EventKind};
use crate::code::Code;
use crate::id::{ConversationName, DeviceId, ProducerId, Seq, UserId};
use crate::inbox::InboxRow;
use crate::message::MessageState;
use crate::presence::Status;
use crate::reply::Reply;
use crate::request::Request;

/// Protocol version of this crate, spoken under [`ALPN`](crate::ALPN).
pub const VERSION: u16 = 1;

/// Feature bits of Hello and Welcome. What both sides have set is in force.
pub mod feature {
    /// Typing notices travel in QUIC datagrams.
    pub const DATAGRAMS: u64 = 1 << 0;
    /// Streams that read are told who else reads, and how far.
    pub const ROSTER: u64 = 1 << 1;
    /// Requests may be sent, and conversations have events of membership.
    pub const MEMBERSHIP: u64 = 1 << 2;
    /// Requests about messages and the inbox may be sent, and what is said of them in between: states of
    /// messages, receipts, rows.
    pub const MESSAGES: u64 = 1 << 3;
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Opens the control stream and signs in.
    Hello(Hello),
    /// Replaces the connection's token, on the control stream.
    Refresh {
        /// A token for the same user.
        token: String,
    },
    /// Opens a conversation stream.
    Open(Open),
    /// Moves the reader of an open conversation, or stops it.
    Read {
        /// Where to read on from; `None` stops delivery.
        from: Option<Start>,
    },
    /// Appends a message to the open conversation.
    Publish(Publish),
    /// Asks for a page of history, as the only frame of a fetch stream.
    Fetch(Fetch),
    /// The user is typing, as a datagram or on the control stream.
    Typing {
        /// Where; it must be open on this connection.
        conversation: ConversationName,
    },
    /// The user has read the open conversation up to here, for everybody's [`Roster`](ServerFrame::Roster).
    Seen {
        /// The last event that was read.
        seq: Seq,
    },
    /// Asks the server to do or to tell something, on the control stream. Answered by one
    /// [`Reply`](ServerFrame::Reply).
    Request {
        /// The client's number for it, which the answer repeats; not that of another one under way.
        id: u32,
        /// What is asked.
        request: Request,
    },
    /// Whether somebody sits at this device, on the control stream. A device is there from its Welcome on.
    Status {
        /// Nobody does.
        away: bool,
    },
}

/// First frame of a connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The client's [`VERSION`].
    pub version: u16,
    /// The client's [`feature`] bits.
    pub features: u64,
    /// A JSON Web Token.
    pub token: String,
    /// Which of the user's devices this is.
    pub device: DeviceId,
    /// Grows with each connection of the device, so that the server knows which of two is the later one:
    /// milliseconds since 1970 at its start, or the last one and 1 where that is more.
    pub generation: u64,
    /// Kind of device, free text: `linux`, `android`, `web`.
    pub platform: String,
    /// Name and version of the client's software, for logs.
    pub client: String,
}

impl std::fmt::Debug for Hello {
    /// Leaves the token out, so that no log line can hold it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("features", &self.features)
            .field("device", &self.device)
            .field("generation", &self.generation)
            .field("platform", &self.platform)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// First frame of a conversation stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// The conversation; it begins to exist with its first event.
    pub conversation: ConversationName,
    /// The producer of the stream's publishes.
    pub producer: ProducerId,
    /// Where to read from; `None` delivers nothing until a `Read`.
    pub from: Option<Start>,
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// Behind this cursor: the first event is the next one, through history into live.
    After(Seq),
    /// With the last so many events.
    Last(u32),
    /// With the first event that is stored after the server has read this frame.
    Live,
}

/// A message to append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The second half of the message id: grows with every new message of the producer. A repeat of a stored
    /// one writes nothing and is answered with the first one's seq and time.
    pub n: u64,
    /// The message, opaque to the server.
    #[serde(with = "crate::body")]
    pub body: Bytes,
    /// The user in whose name to publish, if the token allows it.
    pub publish_as: Option<UserId>,
    /// When the message was first said, in milliseconds since 1970, for imports and bridges; only together
    /// with `publish_as`.
    pub origin_time_ms: Option<u64>,
    /// The message that this one answers.
    pub reply_to: Option<Seq>,
    /// Whom it is to be brought to the attention of; at most [`MENTIONS_MAX`](crate::limits::MENTIONS_MAX).
    #[serde(default)]
    pub mentions: Vec<UserId>,
    /// The message becomes absent in so many milliseconds after it was stored, if it has not done so by then;
    /// 0: at no time of its own.
    #[serde(default)]
    pub expires_in_ms: u64,
}

impl Publish {
    /// A message that is nothing but its body.
    #[must_use]
    pub fn new(n: u64, body: impl Into<Bytes>) -> Self {
        Self {
            n,
            body: body.into(),
            publish_as: None,
            origin_time_ms: None,
            reply_to: None,
            mentions: Vec::new(),
            expires_in_ms: 0,
        }
    }
}

/// Asks for a page of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The conversation.
    pub conversation: ConversationName,
    /// Which part of it.
    pub range: FetchRange,
    /// At most so many events; see [`limits::FETCH_EVENTS_MAX`](crate::limits::FETCH_EVENTS_MAX).
    pub limit: u32,
}

/// Which part of a conversation a page shows. Pages are in ascending order in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FetchRange {
    /// The first events behind this seq.
    After(Seq),
    /// The last events before this seq.
    Before(Seq),
    /// The last events.
    Latest,
    /// Events before and behind this seq, about as many of each; its own is the first one behind.
    Around(Seq),
    /// The first events that were stored at this time or later, in milliseconds since 1970.
    AfterTime(u64),
    /// The last events that were stored before this time, in milliseconds since 1970.
    BeforeTime(u64),
    /// As [`Around`](Self::Around), of the first event that was stored at this time or later, in milliseconds
    /// since 1970.
    AroundTime(u64),
}

/// What a server sends. A client skips variants that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerFrame {
    /// Answers Hello.
    Welcome(Welcome),
    /// The server will close the connection: finish what waits for an ack and open nothing new.
    GoAway {
        /// Why.
        code: Code,
        /// When to connect again, in milliseconds from now.
        retry_after_ms: u32,
        /// Why, for people; clients show it. May be empty.
        reason: String,
    },
    /// The connection's token ends soon; answer with Refresh.
    TokenExpiring {
        /// In so many milliseconds.
        in_ms: u32,
    },
    /// Answers Open, and a Read that moves the cursor: what comes behind it is read from there.
    Opened {
        /// The last event's seq, 0 when there is none.
        head: Seq,
        /// The first seq that is still readable, `head + 1` when there is none.
        floor: Seq,
        /// Which store the conversation is in, less than 2^53. Seqs that were told of another one mean
        /// nothing here, as when the server was restored from a backup.
        store: u64,
    },
    /// One event of the stream's conversation.
    Event(Event),
    /// A publish is stored as durably as Welcome says.
    Ack {
        /// The publish's number.
        n: u64,
        /// Its place in the conversation.
        seq: Seq,
        /// When it was stored, in milliseconds since 1970.
        time_ms: u64,
        /// Whether it was stored by an earlier publish with the same number.
        duplicate: bool,
    },
    /// A publish was not stored. The stream goes on.
    Refused {
        /// The publish's number.
        n: u64,
        /// Why.
        code: Code,
        /// When it may be sent again, in milliseconds from now; 0 when the code does not depend on time.
        retry_after_ms: u32,
        /// Why, for people, in at most [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes; empty
        /// when the code says it all.
        reason: String,
    },
    /// Events that are absent, all of them: they have expired, or were revoked or erased. The cursor moves to
    /// `to`.
    Gap {
        /// The first missing seq.
        from: Seq,
        /// The last missing seq.
        to: Seq,
    },
    /// Ends a page of history, which has told of every seq from `from` to `to`: by an event or by a gap.
    PageEnd {
        /// The conversation's head when the page was read.
        head: Seq,
        /// The first seq that is still readable.
        floor: Seq,
        /// The first seq that the page tells of.
        from: Seq,
        /// The last one; `from` - 1 when the page tells of none.
        to: Seq,
        /// Whether there are readable seqs before `from`.
        more_before: bool,
        /// Whether there are readable seqs behind `to`.
        more_after: bool,
    },
    /// Somebody is typing, as a datagram or on the control stream.
    Typing {
        /// Where.
        conversation: ConversationName,
        /// Who.
        user: UserId,
    },
    /// Who reads the stream's conversation at the moment; replaces the one before.
    Roster {
        /// How many users.
        users: u32,
        /// The first of them, in the order of their ids' bytes; at most
        /// [`ROSTER_USERS_MAX`](crate::limits::ROSTER_USERS_MAX).
        present: Vec<Present>,
    },
    /// Answers a request.
    Reply {
        /// The request's number.
        id: u32,
        /// The answer.
        reply: Reply,
    },
    /// Whether a member is there, for those who asked to be told; replaces the one before.
    Presence {
        /// The conversation whose members are watched.
        conversation: ConversationName,
        /// Which member.
        user: UserId,
        /// The best of the user's devices.
        status: Status,
        /// When a device of the user was last connected, in milliseconds since 1970; 0 when none ever was.
        last_seen_ms: u64,
    },
    /// What a message of a page has come to, behind the page's events.
    MessageState(MessageState),
    /// How far a user has received and read the stream's conversation; replaces the one before.
    Receipt {
        /// Who.
        user: UserId,
        /// The last event that a device of the user has received.
        delivered: Seq,
        /// The last event that the user has read.
        read: Seq,
    },
    /// A conversation of the inbox has changed, for those who asked to be told; replaces the row before.
    InboxRow {
        /// The version up to which the client knows the inbox once it has this: where it goes on over another
        /// connection.
        known: u64,
        /// The row.
        row: Box<InboxRow>,
    },
}

/// A user who reads a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Present {
    /// Who.
    pub user: UserId,
    /// How far the user has read; 0 when nothing was said of it.
    pub seen: Seq,
    /// Whether the user is there.
    pub status: Status,
}

/// Answers Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The server's [`VERSION`].
    pub version: u16,
    /// The [`feature`] bits in force.
    pub features: u64,
    /// Who the token says that the client is.
    pub user: UserId,
    /// What an ack means on this server.
    pub durability: Durability,
    /// The server's time, in milliseconds since 1970: that by which it stores and by which things expire. It
    /// is not set back with the server's clock, by up to a day.
    pub time_ms: u64,
    /// Conversations that this connection may have open at once.
    pub open_conversations_max: u32,
    /// Name and version of the server's software.
    pub server: String,
}

/// What an ack means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Durability {
    /// Held in memory only: gone when the process ends. For tests.
    Memory,
    /// Flushed to stable storage (`fdatasync`).
    Stored,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Stored => "stored",
        })
    }
}
