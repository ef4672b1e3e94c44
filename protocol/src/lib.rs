//! Quoth's wire, for servers and clients alike: identifiers, frames, codec, codes and limits.
//!
//! Every conversation is a durable, gapless log and every reader is a cursor on it. A client signs in on a
//! control stream ([`Hello`](frame::Hello), [`Welcome`](frame::Welcome)), opens a stream of its own for each
//! conversation ([`Open`](frame::Open)), appends to it ([`Publish`](frame::Publish)) and gets its events from
//! any cursor on. `docs/PROTOCOL.md` is the normative text; `golden/frames.txt` has every frame's bytes.
//!
//! No IO, no clock, no runtime: what is here is the same in the server, in a client and in a test.
//!
//! ```
//! use quoth_protocol::codec::{Decoder, encode};
//! use quoth_protocol::frame::{ClientFrame, Publish};
//! use quoth_protocol::limits::FRAME_BYTES_MAX;
//!
//! let frame = ClientFrame::Publish(Publish::new(1, "hello"));
//! let mut decoder = Decoder::new(FRAME_BYTES_MAX);
//! decoder.push(&encode(&frame));
//! assert_eq!(decoder.next_frame(), Ok(Some(frame)));
//! ```

mod body;
pub mod code;
pub mod codec;
pub mod frame;
pub mod id;
pub mod inbox;
pub mod lane;
pub mod limits;
pub mod membership;
pub mod message;
pub mod name;
pub mod pattern;
pub mod presence;
pub mod reply;
pub mod request;
pub mod retention;
pub mod websocket;

pub use code::{Action, Code};
pub use id::{ConversationName, DeviceId, ProducerId, Seq, UserId};
pub use pattern::Pattern;

/// The application protocol of the TLS handshake.
pub const ALPN: &[u8] = b"quoth/1";

/// WebSocket subprotocol of lanes in binary.
pub const SUBPROTOCOL_POSTCARD: &str = "quoth.v1.postcard";

/// WebSocket subprotocol of lanes in JSON.
pub const SUBPROTOCOL_JSON: &str = "quoth.v1.json";

/// Where a server's WebSocket is.
pub const WEBSOCKET_PATH: &str = "/v1/ws";

/// The UDP and TCP port of a server that is told no other.
pub const DEFAULT_PORT: u16 = 4433;
