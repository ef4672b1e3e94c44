//! Every maximum of the wire, with its unit. Reaching one has the outcome that its text names.

/// Body of one message, in bytes. Larger media travel by reference. Outcome: the publish is refused with
/// [`Code::TOO_LARGE`](crate::Code::TOO_LARGE).
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// One frame without its length prefix, in bytes: a body and 8 KiB for everything around it. Outcome: the
/// stream is reset with [`Code::FRAME_TOO_LARGE`](crate::Code::FRAME_TOO_LARGE).
pub const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + 8 * 1024;

/// The first frame of a stream, before its kind is known (Hello with its token, Open, Fetch), in bytes. Keeps
/// what a peer without a token can make the server hold small. Outcome: as [`FRAME_BYTES_MAX`].
pub const FIRST_FRAME_BYTES_MAX: usize = 8 * 1024;

/// A token that fits into every Hello, in bytes: beside it there is 1 KiB for how device, platform and client
/// are called. A longer one may be too much for its first frame. Outcome: `quoth-server token` does not sign
/// it.
pub const TOKEN_BYTES_MAX: usize = FIRST_FRAME_BYTES_MAX - 1024;

/// One datagram, in bytes: what fits into the smallest packet that QUIC guarantees (1,200) beside its own
/// overhead. Outcome: the sender uses the control stream instead; a larger one that arrives is dropped.
pub const DATAGRAM_BYTES_MAX: usize = 1_100;

/// A conversation's name, in bytes of UTF-8. Outcome: the frame does not decode.
pub const CONVERSATION_NAME_BYTES_MAX: usize = 128;

/// A user's id, in bytes of UTF-8. Outcome: the frame does not decode.
pub const USER_ID_BYTES_MAX: usize = 64;

/// A device's id, in bytes of UTF-8. Outcome: the frame does not decode.
pub const DEVICE_ID_BYTES_MAX: usize = 64;

/// Publishes of one conversation stream that wait for their ack. Outcome: the server stops reading the
/// stream, so the client's writes wait; nothing is refused.
pub const IN_FLIGHT_PUBLISHES_MAX: usize = 256;

/// Events that one Fetch may ask for. Outcome: the server sends at most this many and says that the page is
/// not the last.
pub const FETCH_EVENTS_MAX: u32 = 1_000;

/// Pages of one connection that are sent at once; there is always stream credit for so many. Outcome: the
/// next ones wait for their turn.
pub const FETCHES_AT_ONCE_MAX: u32 = 4;

/// Bytes that a client takes at least, of what waits for it, in the time after which it counts as one that
/// takes nothing. Outcome: that of [`FETCH_STALL_TIMEOUT_MS`] and [`CONTROL_STALL_TIMEOUT_MS`].
pub const STALL_PROGRESS_BYTES_MIN: u64 = 1_024;

/// How long a client may take nothing of a page, or less than [`STALL_PROGRESS_BYTES_MIN`], in milliseconds.
/// Outcome: the stream is reset with [`Code::OVERLOADED`](crate::Code::OVERLOADED).
pub const FETCH_STALL_TIMEOUT_MS: u64 = 10_000;

/// How long a client may take nothing of its control stream, or less than [`STALL_PROGRESS_BYTES_MIN`], when
/// so much waits there that the server does not read it on, in milliseconds. As long as a WebSocket that is
/// not read. Outcome: the connection is closed with [`Code::OVERLOADED`](crate::Code::OVERLOADED).
pub const CONTROL_STALL_TIMEOUT_MS: u64 = 15_000;

/// Events that an Open may ask for with [`Start::Last`](crate::frame::Start::Last). Outcome: it starts with
/// this many.
pub const START_LAST_MAX: u32 = 10_000;

/// Open conversations of one connection, unless configured otherwise. Outcome: one more is reset with
/// [`Code::OVERLOADED`](crate::Code::OVERLOADED).
pub const OPEN_CONVERSATIONS_MAX: u32 = 48;

/// The least of the same for a token that may publish on behalf of users (bridges, imports), whatever is
/// configured.
pub const OPEN_CONVERSATIONS_SERVICE_MAX: u32 = 224;

/// From the end of a connection's handshake to a valid Hello, in milliseconds. Outcome: closed with
/// [`Code::HELLO_TIMEOUT`](crate::Code::HELLO_TIMEOUT).
pub const HELLO_TIMEOUT_MS: u64 = 5_000;

/// From when the server has begun to read a stream, which is not before the sign-in, to the end of its first
/// frame, in milliseconds. Outcome: the stream is reset with
/// [`Code::HELLO_TIMEOUT`](crate::Code::HELLO_TIMEOUT).
pub const FIRST_FRAME_TIMEOUT_MS: u64 = 5_000;

/// How long before its token's end a connection hears
/// [`ServerFrame::TokenExpiring`](crate::frame::ServerFrame), in milliseconds; less for a token of which less
/// than twice that is left when it is accepted: half of that.
pub const TOKEN_EXPIRING_NOTICE_MS: u64 = 60_000;

/// Refresh frames of one connection per minute. Outcome: closed with
/// [`Code::OVERLOADED`](crate::Code::OVERLOADED).
pub const REFRESHES_PER_MINUTE_MAX: u32 = 10;

/// Streams of one connection that the server takes up per second unless configured otherwise, whatever they
/// are: more than a client opens behind its Hello. Outcome: the next ones wait until the second is over.
pub const STREAMS_PER_SECOND_MAX: u32 = 500;

/// Typing notices of one connection per second. Outcome: further ones are dropped.
pub const TYPING_PER_SECOND_MAX: u32 = 10;

/// Between two [`Status`](crate::frame::ClientFrame::Status)es of one connection that others hear of, in
/// milliseconds, at least: nobody comes and goes faster, and all who watch the user are told of each.
/// Outcome: the latest one counts when the time has come.
pub const STATUS_INTERVAL_MS: u64 = 1_000;

/// Users whom a [`Roster`](crate::frame::ServerFrame::Roster) names. Outcome: it counts the others.
pub const ROSTER_USERS_MAX: usize = 64;

/// Between two [`Roster`](crate::frame::ServerFrame::Roster)s of a stream, in milliseconds, at least.
/// Outcome: what changes meanwhile is told together.
pub const ROSTER_INTERVAL_MS: u64 = 250;

/// A conversation's title, in bytes of UTF-8. Outcome: the request is refused with
/// [`Code::INVALID_REQUEST`](crate::Code::INVALID_REQUEST).
pub const TITLE_BYTES_MAX: usize = 256;

/// An invitation's text, in bytes of UTF-8. Outcome: one that is longer is none that the server has made.
pub const INVITATION_BYTES_MAX: usize = 128;

/// A reason for people, in GoAway and in a refusal, in bytes of UTF-8. Outcome: the server cuts it.
pub const REASON_BYTES_MAX: usize = 512;

/// What a Hello says that its device is (`platform`), in bytes of UTF-8, as far as the server keeps it.
/// Outcome: it keeps the beginning.
pub const PLATFORM_BYTES_MAX: usize = 64;

/// Requests of one connection that wait for their answers. Outcome: the control stream is not read on.
pub const REQUESTS_UNDER_WAY_MAX: usize = 16;

/// Members of a conversation, unless configured otherwise. Outcome: one more is refused with
/// [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const MEMBERS_MAX: u32 = 10_000;

/// Members that a Create may name. Outcome: refused with [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const CREATE_MEMBERS_MAX: usize = 100;

/// Invitations of a conversation that hold at once. Outcome: as [`MEMBERS_MAX`].
pub const INVITATIONS_MAX: usize = 100;

/// Bans of a conversation that hold at once. Outcome: as [`MEMBERS_MAX`].
pub const BANS_MAX: usize = 5_000;

/// Users who are no members of a conversation and of whom it knows: those who may still read what was before
/// they left, and those who are banned. Twice [`BANS_MAX`], and as many as [`MEMBERS_MAX`]. Outcome: it
/// forgets those who have left first.
pub const FORMER_MEMBERS_MAX: usize = 10_000;

/// Users whom one user may have blocked; all of them fit into one answer. Outcome: as [`MEMBERS_MAX`].
pub const BLOCKED_USERS_MAX: usize = 1_000;

/// Devices of a user that the server knows of, those that are not connected among them. Outcome: it forgets
/// the one that was seen least recently of those that are not connected.
pub const SESSIONS_MAX: usize = 256;

/// Members of a page. Outcome: the server sends at most this many and says that there are more.
pub const MEMBERS_PAGE_MAX: u32 = 500;

/// Conversations of a page. Outcome: as [`MEMBERS_PAGE_MAX`].
pub const CONVERSATIONS_PAGE_MAX: u32 = 100;

/// Conversations whose members' presence one connection watches. Outcome: one more is refused with
/// [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const WATCHED_CONVERSATIONS_MAX: usize = 64;

/// Members of a conversation whose presence is watched. Outcome: as [`WATCHED_CONVERSATIONS_MAX`].
pub const WATCHED_MEMBERS_MAX: usize = 500;

/// Members of all conversations together that a connection watches: four of the largest. Each change of
/// members is a look at all of them. Outcome: as [`WATCHED_CONVERSATIONS_MAX`].
pub const WATCHED_MEMBERS_OF_CONNECTION_MAX: usize = 2_000;

/// The same of all connections of a user: of five devices that watch as much as they may. Outcome: as
/// [`WATCHED_CONVERSATIONS_MAX`].
pub const WATCHED_MEMBERS_OF_USER_MAX: usize = 10_000;

/// Between two tellings of one member's presence on a connection, in milliseconds, at least. Outcome: what
/// changes meanwhile is told together.
pub const PRESENCE_INTERVAL_MS: u64 = 1_000;

/// Users whom a message mentions. Outcome: the publish, or the request, is refused with
/// [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const MENTIONS_MAX: usize = 50;

/// A reaction's text, in bytes of UTF-8. Outcome: as [`TITLE_BYTES_MAX`].
pub const REACTION_BYTES_MAX: usize = 32;

/// Different reactions to one message. Outcome: one more is refused with
/// [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const REACTIONS_MAX: usize = 50;

/// Messages that one `Messages` asks for. Outcome: refused with [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const MESSAGES_PAGE_MAX: usize = 100;

/// Unread messages, and unread mentions, that are counted. Outcome: there are so many or more.
pub const UNREAD_MAX: u32 = 1_000;

/// The latest events of a conversation among which unread messages are counted: of what one has written
/// oneself, or cannot see, there may be any number. Outcome: what lies before them counts for nothing.
pub const UNREAD_EVENTS_MAX: u32 = 4_000;

/// Members of a conversation in which it is told who has read what. Outcome: in larger ones they are counted,
/// and no [`Receipt`](crate::frame::ServerFrame::Receipt) comes.
pub const RECEIPT_MEMBERS_MAX: usize = 100;

/// Between two tellings of how far one user has read one conversation, in milliseconds, at least. Outcome: as
/// [`PRESENCE_INTERVAL_MS`].
pub const RECEIPT_INTERVAL_MS: u64 = 1_000;

/// Rows of a page of the inbox. Outcome: the server sends at most this many and says where the next page
/// begins.
pub const INBOX_PAGE_MAX: u32 = 50;

/// What tells where a page of the inbox begins, in bytes of UTF-8. Outcome: one that is longer is none that
/// the server has made.
pub const INBOX_CURSOR_BYTES_MAX: usize = 256;

/// Body of the message that a row of the inbox shows, in bytes. Outcome: the server cuts it, and not within a
/// character where it is UTF-8.
pub const INBOX_PREVIEW_BYTES_MAX: usize = 256;

/// Conversations that one user has pinned. Outcome: one more is refused with
/// [`Code::TOO_MANY`](crate::Code::TOO_MANY).
pub const INBOX_PINNED_MAX: usize = 32;

/// Conversations that may have changed while a client was away, of which it is told. Outcome: `Watching` says
/// that they are not all, and the client asks for the inbox anew.
pub const INBOX_CHANGES_MAX: usize = 1_000;

/// Rows that a client was given or has kept, which the server tells anew on one connection when they go stale.
/// Outcome: of more it is those that go stale first.
pub const INBOX_STALE_MAX: usize = 500;

/// Between two tellings of one row of the inbox on a connection, in milliseconds, at least. Outcome: as
/// [`PRESENCE_INTERVAL_MS`].
pub const INBOX_ROW_INTERVAL_MS: u64 = 100;

/// A WebSocket message in binary, in bytes: the largest frame and 16 bytes for its length and its lane.
/// Outcome: closed with [`Code::FRAME_TOO_LARGE`](crate::Code::FRAME_TOO_LARGE).
pub const LANE_MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + 16;

/// The same before the sign-in, for what clients send. Outcome: the same.
pub const LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX: usize = FIRST_FRAME_BYTES_MAX + 16;

/// A WebSocket message in JSON, in bytes of text: every frame fits, however it is escaped (six bytes of text
/// for one of a body are the most). Outcome: the same.
pub const JSON_MESSAGE_BYTES_MAX: usize = 420_000;

/// The same before the sign-in, for what clients send: a Hello with the largest token, which needs no
/// escapes. Outcome: the same.
pub const JSON_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX: usize = 16 * 1024;

/// What a client may send on a lane before it gets more credit, in bytes of messages. Outcome: it waits; one
/// that does not is closed with [`Code::PROTOCOL`](crate::Code::PROTOCOL).
pub const LANE_CREDIT_OF_CLIENT_BYTES: u32 = 64 * 1024;

/// What a server may send on a lane before it gets more credit, in bytes of messages: 20 Mbit/s at a round
/// trip of 100 ms. It costs the server nothing, which reads events only as it sends them. Outcome: the server
/// waits.
pub const LANE_CREDIT_OF_SERVER_BYTES: u32 = 256 * 1024;

/// Lanes or streams that a client may have at once before its sign-in, the control stream among them.
/// Outcome: over QUIC the next ones wait; a lane is reset with [`Code::OVERLOADED`](crate::Code::OVERLOADED).
pub const STREAMS_BEFORE_SIGN_IN_MAX: u32 = 4;

const _: () = assert!(STREAMS_PER_SECOND_MAX > OPEN_CONVERSATIONS_SERVICE_MAX);
const _: () = assert!(FIRST_FRAME_BYTES_MAX < FRAME_BYTES_MAX);

/// Bytes that an answer's elements have beside their texts, at most, with a varint of the largest size for
/// every number.
const ELEMENT_BYTES_MAX: usize = 64;

/// What a conversation's element has beside that: its retention.
const RETENTION_BYTES_MAX: usize = 31;
/// All mentions of a message, with their lengths.
const MENTIONS_BYTES_MAX: usize = MENTIONS_MAX * (USER_ID_BYTES_MAX + 1);
const _: () = assert!(
    FRAME_BYTES_MAX
        > BODY_BYTES_MAX
            + MENTIONS_BYTES_MAX
            + CONVERSATION_NAME_BYTES_MAX
            + USER_ID_BYTES_MAX
            + 2 * ELEMENT_BYTES_MAX
);
// One state of a message fits into an answer, whatever else that says.
const _: () = assert!(
    FRAME_BYTES_MAX
        > BODY_BYTES_MAX
            + MENTIONS_BYTES_MAX
            + REACTIONS_MAX * (REACTION_BYTES_MAX + 7)
            + MESSAGES_PAGE_MAX * 10
            + ELEMENT_BYTES_MAX
);
// Six bytes of text for one of a body, and three for one of an identifier, which has no control characters.
const _: () = assert!(
    JSON_MESSAGE_BYTES_MAX
        > 6 * BODY_BYTES_MAX
            + 3 * (MENTIONS_BYTES_MAX + 2 * MENTIONS_MAX + CONVERSATION_NAME_BYTES_MAX + USER_ID_BYTES_MAX)
            + 1_024
);
const _: () = assert!(
    INBOX_PAGE_MAX as usize
        * (CONVERSATION_NAME_BYTES_MAX
            + TITLE_BYTES_MAX
            + INBOX_PREVIEW_BYTES_MAX
            + USER_ID_BYTES_MAX
            + 2 * ELEMENT_BYTES_MAX)
        + INBOX_CURSOR_BYTES_MAX
        < FRAME_BYTES_MAX
);
const _: () =
    assert!(INBOX_STALE_MAX * (CONVERSATION_NAME_BYTES_MAX + 12) + ELEMENT_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(RECEIPT_MEMBERS_MAX * (USER_ID_BYTES_MAX + ELEMENT_BYTES_MAX) < FRAME_BYTES_MAX);
const _: () = assert!(MEMBERS_PAGE_MAX as usize * (USER_ID_BYTES_MAX + ELEMENT_BYTES_MAX) < FRAME_BYTES_MAX);
const _: () = assert!(
    CONVERSATIONS_PAGE_MAX as usize
        * (CONVERSATION_NAME_BYTES_MAX + TITLE_BYTES_MAX + ELEMENT_BYTES_MAX + RETENTION_BYTES_MAX)
        < FRAME_BYTES_MAX
);
const _: () = assert!(BLOCKED_USERS_MAX * (USER_ID_BYTES_MAX + 1) < FRAME_BYTES_MAX);
const _: () =
    assert!(SESSIONS_MAX * (DEVICE_ID_BYTES_MAX + PLATFORM_BYTES_MAX + ELEMENT_BYTES_MAX) < FRAME_BYTES_MAX);
const _: () = assert!(CREATE_MEMBERS_MAX * (USER_ID_BYTES_MAX + 1) < FIRST_FRAME_BYTES_MAX);
