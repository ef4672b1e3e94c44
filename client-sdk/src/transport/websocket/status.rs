//! Closes of WebSockets, as this library writes and reads them.

use quoth_protocol::Code;
use quoth_protocol::websocket::{close_text, code_of, status_of};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The close that says so. A code that has no status is a fault of this side's.
pub(super) fn close_frame(code: Code, text: &str) -> CloseFrame {
    let status = status_of(code).map_or(CloseCode::Protocol, CloseCode::from);
    CloseFrame { code: status, reason: close_text(text).into() }
}

/// What a close says; `None` is a connection that was lost.
pub(super) fn code(status: CloseCode) -> Option<Code> {
    code_of(status.into())
}
