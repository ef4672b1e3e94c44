//! Quoth's native client: conversations as durable streams over QUIC, or over a WebSocket where no UDP gets
//! through.
//!
//! A [`Client`] is one connection to one server. It connects again by itself, goes on reading where it was,
//! and repeats what has no ack under the same id, so that nothing is lost and nothing appears twice.
//!
//! ```no_run
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! - **Sending**: [`Conversation::send`] resolves when the message is stored; [`Conversation::send_pipelined`] keeps many
//!   on the way. When no ack came in time the outcome is unknown ([`SendError::UnknownOutcome`]) and
//!   [`Conversation::resend`] is safe.
//! - **Reading**: [`Conversation::events`] gives every event behind a cursor exactly once and in order, through history
//!   into live and over reconnects. [`Conversation::history`] gives pages. A [`Cursor`] is a place to keep and to go on
//!   from.
//! - **Messages**: [`Conversation::edit`], [`revoke`](Conversation::revoke), [`react`](Conversation::react) and
//!   [`hide`](Conversation::hide); a [`View`] makes of events and pages what the user sees by now.
//! - **Receipts and the inbox**: [`Conversation::mark_read`], [`Conversation::receipts`], [`Client::inbox`] and
//!   [`Client::watch_inbox`].
//! - **Members**: [`Client::create`], [`Client::join`] and what stands beside them ask the server; what they lead to is told as events
//!   ([`EventKind`]). `$me` is the conversation that tells of the user's own.
//! - **States**: [`Client::states`]. A client is closed by [`Client::close`], or when trying again cannot help.
//!
//! Edits, reactions, receipts and the inbox, in a group of one's own:
//!
//! ```no_run
#![doc = include_str!("../examples/team.rs")]
//! ```

mod backoff;
mod builder;
mod client;
mod connector;
mod control;
mod conversation;

mod dial;
mod error;
mod events;
mod history;
mod kept;
mod link;
mod marks;
mod outbox;
mod paths;
mod progress;
mod queue;
mod race;
mod renewal;
mod requests;
mod room;
mod send;
mod session_end;
mod state;
mod token;
mod transport;
mod view;
mod wire;

pub use builder::Builder;
pub use client::Client;
pub use conversation::{Conversation, Sending};
pub use error::{ConnectError, ConversationError, HistoryError};
pub use events::{ClientEvent, Events, EventsError, Typings};
pub use history::Page;
pub use kept::{Cursor, ReadFrom};
pub use quoth_protocol as protocol;
pub use quoth_protocol::frame::{Event, EventKind, FetchRange, Start};
pub use quoth_protocol::inbox::InboxRow;
pub use quoth_protocol::membership::{ConversationKind, GoneCause, Permissions, Role};
pub use quoth_protocol::message::{Edit, MessageState, Reaction};
pub use quoth_protocol::presence::Status;
pub use quoth_protocol::reply::{ConversationInfo, MemberInfo, ReceiptInfo, SessionInfo};
pub use quoth_protocol::retention::Retention;
pub use quoth_protocol::{Code, ConversationName, DeviceId, ProducerId, Seq, UserId};
pub use requests::{
    Done, InboxChanges, InboxList, InboxPage, InboxSettings, InboxWatch, ListPage, MemberPresence,
    MessageReceipts, MessageStates, NewConversation, PresenceWatch, Receipt, ReceiptWatch, RequestError,
    Retained,
};
pub use send::{Ack, MessageId, SendError, SendOptions};
pub use state::{Reason, State};
pub use transport::Transport;
pub use view::{Edited, Message, ReactionCount, View};
