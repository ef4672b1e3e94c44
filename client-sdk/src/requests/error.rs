//! Why a request has no answer that helps.

use std::time::Duration;

use quoth_protocol::Code;
use quoth_protocol::id::IdError;
use quoth_protocol::reply::Reply;

use crate::send::{retry_after, retry_text};
use crate::state::{Reason, printable};

/// Why a request was not done, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused it: nothing was done. [`Code::action`] says whether trying again can help.
    #[error("the server refused this: {code}{}{reason}{}", if .reason.is_empty() { "" } else { ": " }, retry_text(*.retry_after))]
    Refused {
        /// Why. [`Code::FORBIDDEN`] is both: not allowed, and no such conversation.
        code: Code,
        /// Why, for people, control characters escaped; may be empty.
        reason: String,
        /// When it may be tried again, where that depends on time.
        retry_after: Option<Duration>,
    },
    /// It never left this client: nothing was done.
    #[error("the request was not sent: {reason}")]
    NotSent {
        /// What came in between.
        reason: Reason,
    },
    /// It may be done or not: the connection has ended before the answer, or the server could not tell. What
    /// can be repeated without harm the client has repeated until its time was up, and the application may go
    /// on; a second `Create` without a name, or a second `Invite`, would make a second one of it.
    #[error("it is unknown whether this was done: {reason}")]
    UnknownOutcome {
        /// What came in between.
        reason: Reason,
    },
    /// A name, a user id or a device id that is none.
    #[error(transparent)]
    BadId(#[from] IdError),
    /// The server is one that does not serve such requests.
    #[error("this server does not know this request: it needs a later version")]
    Unsupported,
    /// The server answered something else.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

impl RequestError {
    /// The error that an unwanted reply is.
    pub(super) fn of(reply: Reply) -> Self {
        match reply {
            Reply::Refused {
                code: code @ (Code::TIMED_OUT | Code::STORE_FAILED | Code::INTERNAL),
                reason,
                ..
            } => Self::UnknownOutcome { reason: Reason::Code { code, text: printable(&reason) } },
            Reply::Refused { code, retry_after_ms, reason } => {
                Self::Refused { code, reason: printable(&reason), retry_after: retry_after(retry_after_ms) }
            }
            other => Self::Protocol(format!("{other:?} is the answer to something else")),
        }
    }
}
