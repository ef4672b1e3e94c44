//! Statuses of WebSocket closes, and the codes that they stand for (`docs/PROTOCOL.md`, section 9).

use quoth_protocol::Code;
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Utf8Bytes;

use super::wire::TooManyFragments;

/// What is added to a code.
const STATUSES: u16 = 4_000;

/// Statuses of RFC 6455 for its own violations.
const PROTOCOL_ERROR: u16 = 1_002;
const INVALID_PAYLOAD: u16 = 1_007;
const TOO_BIG: u16 = 1_009;

/// Bytes of a close's text: what a control frame has room for beside the status.
const TEXT_BYTES_MAX: usize = 123;

/// The close with a code.
pub(super) fn close_with(code: Code, text: &str) -> CloseFrame {
    let offset = u16::try_from(code.0).ok().filter(|code| *code < 1_000);
    // All codes of this version have a status.
    let status = STATUSES + offset.unwrap_or_else(|| u16::try_from(Code::INTERNAL.0).unwrap_or_default());
    frame(status, text)
}

/// The code of a close of the client's, or `None` if it says no more than that the connection is lost.
pub(super) fn code_of(close: Option<&CloseFrame>) -> Option<Code> {
    match u16::from(close?.code) {
        1_000 | 1_001 => Some(Code::CLOSED),
        1_002 | 1_003 | 1_007 => Some(Code::PROTOCOL),
        1_009 => Some(Code::FRAME_TOO_LARGE),
        status @ STATUSES..5_000 => Some(Code((status - STATUSES).into())),
        _ => None,
    }
}

/// How a socket that cannot be read any more is to be closed: with which code for the session, and with which frame for the
/// client. `None` when it is lost.
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
    let mut ends = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    CloseFrame { code: status.into(), reason: Utf8Bytes::from(&text[..end]) }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Code;

    use super::{TEXT_BYTES_MAX, close_with, code_of, frame};

    #[test]
    fn every_code_comes_back_from_its_status() {
        for code in Code::ALL {
            let close = close_with(*code, "");
            assert!(close.code.is_allowed());
            assert_eq!(code_of(Some(&close)), Some(*code));
        }
        assert_eq!(u16::from(close_with(Code::GOING_AWAY, "").code), 4_256);
        assert_eq!(code_of(Some(&close_with(Code(5_000), ""))), Some(Code::INTERNAL));
    }

    #[test]
    fn a_status_of_the_rfc_is_a_code_or_says_that_the_connection_is_lost() {
        let code = |status| code_of(Some(&frame(status, "")));
        assert_eq!([1_000, 1_001].map(code), [Some(Code::CLOSED); 2]);
        assert_eq!([1_002, 1_003, 1_007].map(code), [Some(Code::PROTOCOL); 3]);
        assert_eq!(code(1_009), Some(Code::FRAME_TOO_LARGE));
        assert_eq!([1_006, 1_011, 3_000].map(code), [None; 3]);
        assert_eq!(code_of(None), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(TEXT_BYTES_MAX);
        let reason = close_with(Code::PROTOCOL, &text).reason;
        assert!(reason.len() == TEXT_BYTES_MAX - 1 && reason.chars().all(|c| c == 'ü'));
    }
}
