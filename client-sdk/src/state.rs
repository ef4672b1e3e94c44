//! States of a client, and why it is in one.

use std::time::Duration;

use quoth_protocol::{Action, Code};

/// Whether a client can reach its server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// On the way to the first connection or to the next one.
    Connecting,
    /// Signed in.
    Connected,
    /// Without a connection; the client tries again by itself.
    Disconnected {
        /// Why the last connection or attempt ended.
        reason: Reason,
        /// When the next attempt starts, from the moment of this state on.
        retry_in: Duration,
    },
    /// For good: closed by the application, or trying again cannot help.
    Closed {
        /// Why.
        reason: Reason,
    },
}

/// Why a connection, an attempt or a call ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The application closed the client.
    #[error("the client was closed")]
    Closed,
    /// The server said so.
    #[error("the server said {code}{}{text}", if .text.is_empty() { "" } else { ": " })]
    Code {
        /// What to do about it is [`Code::action`].
        code: Code,
        /// The server's text for people, control characters escaped.
        text: String,
    },
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The network, QUIC or the WebSocket failed.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// The server's name does not resolve, or to no address.
    #[error("the server has no address: {0}")]
    NoAddress(String),
    /// The TLS handshake failed; mostly because the certificate was not signed by the given CA or not for
    /// this name.
    #[error("the server's certificate or handshake was not accepted: {0}")]
    Tls(String),
    /// Whatever answers over TCP has no WebSocket for this client.
    #[error("there is no WebSocket for this client: {0}")]
    NoWebSocket(String),
    /// The token provider gave no token.
    #[error("no token: {0}")]
    Token(String),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

impl Reason {
    /// What to do about it.
    pub(crate) fn action(&self) -> Action {
        match self {
            Self::Closed => Action::Nothing,
            Self::Code { code, .. } => code.action(),
            Self::TimedOut | Self::Transport(_) | Self::NoAddress(_) | Self::Token(_) => Action::Retry,
            Self::Tls(_) | Self::NoWebSocket(_) | Self::Protocol(_) => Action::Stop,
        }
    }

    /// The application has ended the client, or another client of the same device goes on in its place.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self, Self::Closed | Self::Code { code: Code::REPLACED, .. })
    }

    /// The way to the server has failed, not the server.
    pub(crate) fn is_of_the_network(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Transport(_) | Self::NoAddress(_))
    }
}

/// Text from a peer with its control characters escaped, so that no log line or terminal is at its mercy.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_peer_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{9b}"), "a\\u{1b}[2Jb\\n\\u{9b}");
    }
}
