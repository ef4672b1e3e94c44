//! How a WebSocket closes: codes as statuses and back (`docs/PROTOCOL.md`, section 9).

use crate::code::Code;

/// The status of a close is this and the code.
const STATUS_BASE: u16 = 4_000;

/// The statuses that RFC 6455 leaves to applications end before this.
const STATUS_END: u16 = 5_000;

/// What a close has room for beside its status, in bytes (RFC 6455, section 5.5).
const TEXT_BYTES_MAX: usize = 123;

/// The status of a code; `None` when it has none, which none of this version is.
#[must_use]
pub fn status_of(code: Code) -> Option<u16> {
    let status = u16::try_from(code.0).ok()?.checked_add(STATUS_BASE)?;
    (status < STATUS_END).then_some(status)
}

/// The code of a status, or `None` if it says no more than that the connection is lost.
#[must_use]
pub fn code_of(status: u16) -> Option<Code> {
    match status {
        1_000 | 1_001 => Some(Code::CLOSED),
        1_002 | 1_003 | 1_007 => Some(Code::PROTOCOL),
        1_009 => Some(Code::FRAME_TOO_LARGE),
        STATUS_BASE..STATUS_END => Some(Code((status - STATUS_BASE).into())),
        _ => None,
    }
}

/// As much of a text as a close has room for.
#[must_use]
pub fn close_text(text: &str) -> &str {
    let mut ends = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
    &text[..ends.find(|end| text.is_char_boundary(*end)).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::{STATUS_END, TEXT_BYTES_MAX, close_text, code_of, status_of};
    use crate::code::Code;

    #[test]
    fn every_code_comes_back_from_its_status() {
        for known in Code::ALL {
            assert_eq!(status_of(*known).and_then(code_of), Some(*known));
        }
        assert_eq!(status_of(Code::GOING_AWAY), Some(4_256));
        assert_eq!([1_000, 65_535, u32::MAX].map(|code| status_of(Code(code))), [None; 3]);
    }

    #[test]
    fn a_status_of_the_rfc_is_a_code_or_says_that_the_connection_is_lost() {
        assert_eq!([1_000, 1_001].map(code_of), [Some(Code::CLOSED); 2]);
        assert_eq!([1_002, 1_003, 1_007].map(code_of), [Some(Code::PROTOCOL); 3]);
        assert_eq!(code_of(1_009), Some(Code::FRAME_TOO_LARGE));
        assert_eq!([1_006, 1_011, 3_999, STATUS_END].map(code_of), [None; 4]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(TEXT_BYTES_MAX);
        let cut = close_text(&text);
        assert!(cut.len() == TEXT_BYTES_MAX - 1 && cut.chars().all(|c| c == 'ü'));
        assert_eq!(close_text("short"), "short");
    }
}
