//! Statuses of WebSocket closes, and the codes that they stand for (`docs/PROTOCOL.md`, section 9).

use quoth_protocol::Code;
use quoth_protocol::websocket::{self, close_text, status_of};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Utf8Bytes;

use super::wire::TooManyFragments;

/// Statuses of RFC 6455 for its own violations.
const PROTOCOL_ERROR: u16 = 1_002;
const INVALID_PAYLOAD: u16 = 1_007;
const TOO_BIG: u16 = 1_009;

/// The close with a code.
pub(super) fn close_with(code: Code, text: &str) -> CloseFrame {
    // All codes of this version have a status.
    frame(status_of(code).or_else(|| status_of(Code::INTERNAL)).unwrap_or(PROTOCOL_ERROR), text)
}

/// The code of a close of the client's, or `None` if it says no more than that the connection is lost.
pub(super) fn code_of(close: Option<&CloseFrame>) -> Option<Code> {
    websocket::code_of(close?.code.into())
}

/// How a socket that cannot be read any more is to be closed: with which code for the session, and with which
/// frame for the client. `None` when it is lost.
pub(super) fn violation(error: &Error) -> Option<(Code, CloseFrame)> {
    let (code, status) = match error {
        Error::Capacity(_) => (Code::FRAME_TOO_LARGE, TOO_BIG),
        Error::Utf8(_) => (Code::PROTOCOL, INVALID_PAYLOAD),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        Error::Protocol(_) => (Code::PROTOCOL, PROTOCOL_ERROR),
        Error::Io(error) if TooManyFragments::is(error) => (Code::FRAME_TOO_LARGE, TOO_BIG),
        _ => return None,
    };
    let text = match error {
        Error::Io(_) => TooManyFragments.to_string(),
        other => other.to_string(),
    };
    Some((code, frame(status, &text)))
}

fn frame(status: u16, text: &str) -> CloseFrame {
    CloseFrame { code: status.into(), reason: Utf8Bytes::from(close_text(text)) }
}
