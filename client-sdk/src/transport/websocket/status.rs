//! Statuses with which WebSockets close, and codes of ours.

use quoth_protocol::Code;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// From a code to its status. Those below 1,000 fit into what RFC 6455 leaves to applications.
const STATUS_OF_CODE_0: u16 = 4_000;

/// The last status that it leaves to them.
const STATUS_MAX: u16 = 4_999;

/// What a close has room for beside its status, in bytes (RFC 6455, 5.5).
const TEXT_BYTES_MAX: usize = 123;

/// The close that says so.
pub(super) fn close_frame(code: Code, text: &str) -> CloseFrame {
    let status = u16::try_from(code.0).ok().and_then(|code| STATUS_OF_CODE_0.checked_add(code));
    let status = status.filter(|status| *status <= STATUS_MAX).map_or(CloseCode::Protocol, CloseCode::from);
    let end = (0..=text.len().min(TEXT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    let end = end.unwrap_or_default();
    CloseFrame { code: status, reason: text[..end].into() }
}

/// What a close says; `None` is a connection that was lost.
pub(super) fn code(status: CloseCode) -> Option<Code> {
    match status {
        CloseCode::Normal | CloseCode::Away => Some(Code::CLOSED),
        CloseCode::Protocol | CloseCode::Unsupported | CloseCode::Invalid => Some(Code::PROTOCOL),
        CloseCode::Size => Some(Code::FRAME_TOO_LARGE),
        other => {
            let status = u16::from(other);
            (STATUS_OF_CODE_0..=STATUS_MAX)
                .contains(&status)
                .then(|| Code(u32::from(status - STATUS_OF_CODE_0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_status() {
        for known in Code::ALL {
            assert_eq!(code(close_frame(*known, "").code), Some(*known));
        }
        assert_eq!(u16::from(close_frame(Code::GOING_AWAY, "").code), 4_256);
        assert_eq!(close_frame(Code(1_000), "").code, CloseCode::Protocol);
    }

    #[test]
    fn the_statuses_of_rfc_6455_have_a_meaning() {
        let codes = [1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 3999, 5000].map(|s| code(s.into()));
        let (closed, protocol) = (Some(Code::CLOSED), Some(Code::PROTOCOL));
        let large = Some(Code::FRAME_TOO_LARGE);
        assert_eq!(codes, [closed, closed, protocol, protocol, None, protocol, large, None, None, None]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let frame = close_frame(Code::CLOSED, &"ü".repeat(100));
        assert_eq!(frame.reason.as_str(), "ü".repeat(61));
    }
}
