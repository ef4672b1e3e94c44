//! What a server says in place of what was to come, in words: which code it is, what the server adds, and
//! what mends it.

use quinn::{ConnectionError, ReadError, WriteError};
use quoth_lanes::{Closed, ReadError as LaneReadError, WriteError as LaneWriteError};
use quoth_protocol::Code;
use quoth_protocol::frame::ServerFrame;

/// The server has sent this frame, or has ended the stream, where something else was to come.
pub(crate) fn unexpected(expected: &str, came: Option<&ServerFrame>) -> anyhow::Error {
    let told = match came {
        None => format!("the server has ended the stream, and {expected} was to come"),
        Some(ServerFrame::Refused { code, reason, .. }) => {
            format!("the server refuses a message: {}", because(*code, reason))
        }
        Some(ServerFrame::GoAway { code, reason, .. }) => {
            format!("the server closes the connection: {}", because(*code, reason))
        }
        Some(ServerFrame::TokenExpiring { in_ms }) => format!(
            "the token of the run ends in {} s: give one that lasts longer than the run",
            f64::from(*in_ms) / 1_000.0
        ),
        Some(other) => format!("the server has sent {}, and {expected} was to come", name(other)),
    };
    anyhow::anyhow!(told)
}

/// What has ended a stream or a connection over QUIC, as the server says it; other errors as they are.
pub(crate) fn plainly(error: anyhow::Error) -> anyhow::Error {
    let code = |code: quinn::VarInt| Code(u32::try_from(code.into_inner()).unwrap_or(u32::MAX));
    let told = error.chain().find_map(|cause| {
        if let Some(ConnectionError::ApplicationClosed(close)) = cause.downcast_ref() {
            let reason = String::from_utf8_lossy(&close.reason);
            let because = because(code(close.error_code), &reason);
            return Some(format!("the server has closed the connection: {because}"));
        }
        match (cause.downcast_ref(), cause.downcast_ref()) {
            (Some(ReadError::Reset(reset)), _) | (_, Some(WriteError::Stopped(reset))) => {
                Some(format!("the server has reset the stream: {}", because(code(*reset), "")))
            }
            _ => None,
        }
    });
    told.map_or(error, |told| anyhow::anyhow!(told))
}

/// Why nothing can be read of a lane of a WebSocket.
pub(crate) fn unreadable_lane(error: LaneReadError) -> anyhow::Error {
    match error {
        LaneReadError::Reset(code) => reset(code),
        LaneReadError::Closed(closed) => self::closed(&closed),
    }
}

/// Why nothing can be written to a lane of a WebSocket.
pub(crate) fn unwritable_lane(error: LaneWriteError) -> anyhow::Error {
    match error {
        LaneWriteError::Reset(code) => reset(code),
        LaneWriteError::Closed(closed) => self::closed(&closed),
        LaneWriteError::Finished => anyhow::anyhow!("this side of the lane is finished"),
    }
}

/// A connection over WebSocket has ended.
pub(crate) fn closed(Closed { code, text, .. }: &Closed) -> anyhow::Error {
    match code {
        Some(code) => anyhow::anyhow!("the server has closed the connection: {}", because(*code, text)),
        None => anyhow::anyhow!("the connection was lost: {text}"),
    }
}

fn reset(code: Code) -> anyhow::Error {
    anyhow::anyhow!("the server has reset the stream: {}", because(code, ""))
}

/// The code, what the server adds to it, and what mends it, where that is known.
fn because(code: Code, reason: &str) -> String {
    let mend = match code {
        Code::STORAGE_FULL | Code::STORE_FAILED => {
            "; make room on the disk of its data, or measure on another one (--dir, of a server that the bench starts)"
        }
        Code::TOKEN_EXPIRED => "; give one that lasts longer than the run (--token-file)",
        Code::TOKEN_REJECTED => "; give one that is signed by a key of that server (--token-file)",
        Code::TOKEN_REVOKED => "; give another one (--token-file)",
        Code::FORBIDDEN | Code::DENIED | Code::MUTED => "; the token must allow to read and write anything",
        Code::RATE_LIMITED | Code::OVERLOADED | Code::TOO_MANY => {
            "; take a smaller load, or raise the server's limits (with --set, of a server that the bench starts)"
        }
        _ => "",
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{code}{reason}{mend}")
}

/// As the protocol calls it.
fn name(frame: &ServerFrame) -> String {
    let told = format!("{frame:?}");
    told.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;

    use super::*;

    #[test]
    fn what_a_server_refuses_is_told_in_words_with_what_mends_it() {
        let told = |came: Option<&ServerFrame>| unexpected("an ack", came).to_string();
        let (n, retry_after_ms, reason) = (5, 0, "the disk is full".to_owned());
        let full = ServerFrame::Refused { n, code: Code::STORAGE_FULL, retry_after_ms, reason };
        assert_eq!(
            told(Some(&full)),
            "the server refuses a message: storage_full (0x108): the disk is full; make room on the disk of its data, or measure on \
             another one (--dir, of a server that the bench starts)"
        );
        let away = ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms, reason: String::new() };
        assert_eq!(told(Some(&away)), "the server closes the connection: going_away (0x100)");
        assert!(told(Some(&ServerFrame::TokenExpiring { in_ms: 1_500 })).contains("ends in 1.5 s: give one"));
        let opened = ServerFrame::Opened { head: Seq(1), floor: Seq(1), store: 1 };
        assert_eq!(told(Some(&opened)), "the server has sent Opened, and an ack was to come");
        assert_eq!(told(None), "the server has ended the stream, and an ack was to come");
    }

    #[test]
    fn what_ends_a_stream_or_a_connection_is_told_by_its_name() {
        let code = Code::TOKEN_REJECTED;
        let told = |error: anyhow::Error| format!("{:#}", plainly(error.context("an Opened")));
        let reset = "the server has reset the stream: token_rejected (0x201); give one that is signed by a key of that server \
                     (--token-file)";
        assert_eq!(told(ReadError::Reset(code.0.into()).into()), reset);
        assert_eq!(told(WriteError::Stopped(code.0.into()).into()), reset);
        let close = quinn::ApplicationClose { error_code: code.0.into(), reason: "no".into() };
        let closed = told(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)).into());
        assert!(
            closed.starts_with("the server has closed the connection: token_rejected (0x201): no; give"),
            "{closed}"
        );
        assert_eq!(told(ReadError::ClosedStream.into()), "an Opened: closed stream");
        let of_lane = unreadable_lane(LaneReadError::Closed(Closed {
            code: Some(Code::FORBIDDEN),
            text: "no".to_owned(),
            by_peer: true,
        }));
        assert_eq!(
            of_lane.to_string(),
            "the server has closed the connection: forbidden (0x304): no; the token must allow to read and write anything"
        );
    }
}
