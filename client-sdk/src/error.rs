//! Errors of connecting and of reading history; those of sends and events stand beside them.

use std::path::PathBuf;
use std::time::Duration;

use quoth_protocol::{Code, ConversationName};

use crate::state::Reason;

/// Why [`Builder::connect`](crate::Builder::connect) gave no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing says which certificate authority to trust.
    #[error("no certificate authority: give the server's CA with `Builder::ca_file` or `Builder::ca_pem`")]
    NoCa,
    /// The CA file cannot be read.
    #[error("cannot read the CA file {}: {error}", .path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The CA is no PEM text with a certificate.
    #[error("the CA is not usable: {0}")]
    BadCa(String),
    /// Neither a token nor a provider was given.
    #[error("no token: give one with `Builder::token` or `Builder::token_provider`")]
    NoToken,
    /// The device id is not valid.
    #[error(transparent)]
    BadDevice(#[from] quoth_protocol::id::IdError),
    /// The server's address is not `host:port`.
    #[error("`{server}` is no server address; write host:port, such as 127.0.0.1:4433 or [::1]:4433")]
    BadServer {
        /// What was given.
        server: String,
    },
    /// No UDP socket.
    #[error("cannot open a UDP socket: {error}")]
    Socket {
        /// Why.
        error: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No attempt succeeded in time.
    #[error("{} {server} within {} s{}", none_to(last.as_ref()), .timeout.as_secs_f32(), last.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    TimedOut {
        /// Where to.
        server: String,
        /// The time limit.
        timeout: Duration,
        /// Why the last attempt failed, if one has.
        last: Option<Reason>,
    },
    /// Trying again cannot help.
    #[error("cannot connect to {server}: {reason}")]
    Refused {
        /// Where to.
        server: String,
        /// Why.
        reason: Reason,
    },
}

/// What there is none of: who is refused has had a connection.
const fn none_to(last: Option<&Reason>) -> &'static str {
    match last {
        Some(Reason::Code { .. }) => "no sign-in at",
        _ => "no connection to",
    }
}

/// Why there is no handle on a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// The name is not valid.
    #[error(transparent)]
    BadName(#[from] quoth_protocol::id::IdError),
    /// A conversation has one producer in a client at a time.
    #[error("this client uses {conversation} with another producer; drop those handles first")]
    OtherProducer {
        /// Which conversation.
        conversation: ConversationName,
    },
}

/// Why a page of history was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The server refuses to let this client read here.
    #[error("the server refused to read {conversation}: {code}")]
    Refused {
        /// Where.
        conversation: ConversationName,
        /// Why.
        code: Code,
    },
    /// The server has failed to read the page several times in a row. It may succeed later.
    #[error("the server failed to read {conversation}: {code}")]
    Failed {
        /// Where.
        conversation: ConversationName,
        /// How it failed the last time.
        code: Code,
    },
    /// No answer in time; asking again is safe.
    #[error("no page of {conversation} within {} s: {reason}", .timeout.as_secs_f32())]
    TimedOut {
        /// Where.
        conversation: ConversationName,
        /// The time limit.
        timeout: Duration,
        /// What came in between.
        reason: Reason,
    },
    /// The server sent what is no page.
    #[error("the server broke the protocol in {conversation}: {text}")]
    Protocol {
        /// Where.
        conversation: ConversationName,
        /// What it did.
        text: String,
    },
    /// The client is closed.
    #[error("{0}")]
    Closed(Reason),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_has_had_a_connection() {
        let told = |last| {
            ConnectError::TimedOut { server: "a:1".to_owned(), timeout: Duration::from_secs(10), last }
                .to_string()
        };
        let refused = Reason::Code { code: Code::TOKEN_REVOKED, text: "fired".to_owned() };
        let refused = told(Some(refused));
        assert_eq!(refused, "no sign-in at a:1 within 10 s: the server said token_revoked (0x202): fired");
        assert_eq!(told(None), "no connection to a:1 within 10 s");
        assert_eq!(told(Some(Reason::TimedOut)), "no connection to a:1 within 10 s: no answer in time");
    }
}
