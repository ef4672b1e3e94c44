//! What a send takes and gives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quoth_protocol::frame::Publish;
use quoth_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX};
use quoth_protocol::{Code, ProducerId, Seq, UserId};

use crate::state::Reason;

/// A message is stored as durably as [`Welcome::durability`](quoth_protocol::frame::Welcome) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The message's place in the conversation.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970 on the server's clock.
    pub time_ms: u64,
    /// Whether an earlier send with the same id had stored it already.
    pub duplicate: bool,
}

/// Names a message for good: sending it again under the same id writes nothing and gives the first one's
/// [`Ack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The producer that the client was built with, or the random one that it picked.
    pub producer: ProducerId,
    /// The message's number, within the producer and the conversation.
    pub n: u64,
}

/// A message and how to send it. Made from a body alone with `From`.
///
/// ```
/// # use quoth_client::SendOptions;
/// let options = SendOptions { origin_time_ms: Some(1_103_940_000_000), ..SendOptions::from("hi") };
/// ```
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The message, at most [`BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// The message's number. Default: one more than the client's last in any
    /// conversation. A client with a fixed producer
    /// ([`Builder::producer`](crate::Builder::producer)) must give it.
    pub n: Option<u64>,
    /// Send in this user's name; the token must allow it.
    pub publish_as: Option<UserId>,
    /// When the message was first said, in milliseconds since 1970; only together with `publish_as`.
    pub origin_time_ms: Option<u64>,
    /// The message that this one answers. The server does not look it up.
    pub reply_to: Option<Seq>,
    /// Whom to bring it to the attention of, each once; at most [`MENTIONS_MAX`].
    pub mentions: Vec<UserId>,
    /// How long after it was stored everybody loses it, to the millisecond. Default: as long as the
    /// conversation keeps its messages, which ends it sooner in any case.
    pub expires_in: Option<Duration>,
    /// How long to wait for the ack. Default: the client's
    /// [`send_timeout`](crate::Builder::send_timeout).
    pub timeout: Option<Duration>,
}

impl From<&str> for SendOptions {
    fn from(body: &str) -> Self {
        Self { body: Bytes::copy_from_slice(body.as_bytes()), ..Self::default() }
    }
}

impl From<String> for SendOptions {
    fn from(body: String) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

impl From<Bytes> for SendOptions {
    fn from(body: Bytes) -> Self {
        Self { body, ..Self::default() }
    }
}

impl From<Vec<u8>> for SendOptions {
    fn from(body: Vec<u8>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// The server has refused a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, reason: String::new(), retry_after: None }
    }
}

/// A wait that a server asks for; 0 is none.
pub(crate) fn retry_after(retry_after_ms: u32) -> Option<Duration> {
    (retry_after_ms > 0).then(|| Duration::from_millis(retry_after_ms.into()))
}

/// The same for people, behind a code.
pub(crate) fn retry_text(retry_after: Option<Duration>) -> String {
    // The greatest that a frame holds stands for all that is longer, such as a mute without an end.
    let told = retry_after.filter(|wait| *wait < Duration::from_millis(u32::MAX.into()));
    let Some(wait) = told else { return String::new() };
    // Rounded up: whoever comes a moment too early is refused again.
    match wait.as_millis().div_ceil(1_000) {
        seconds @ ..120 => format!("; again in {seconds} s"),
        seconds @ ..7_200 => format!("; again in {} min", seconds.div_ceil(60)),
        seconds => format!("; again in {} h", seconds.div_ceil(3_600)),
    }
}

/// Why a send has no ack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message never left this client: it is not stored, and sending it anew cannot make it appear twice.
    #[error("the message was not sent: {reason}")]
    NotSent {
        /// What came in between.
        reason: Reason,
    },
    /// The message may be stored or not. Repeating it under the same id is safe, with
    /// [`Conversation::resend`](crate::Conversation::resend) or with the same [`SendOptions::n`]: it is
    /// stored once in every case. After [`Reason::TimedOut`] the client goes on trying by itself, so that
    /// later messages stay behind this one, and `resend` waits for that. After every other reason it has
    /// given the message up, and `resend` does not know it: the server refused the conversation or broke the
    /// protocol there, or the client is closed.
    #[error("it is unknown whether message {} is stored: {reason}; it is safe to send it again under the same id", .id.n)]
    UnknownOutcome {
        /// Which message.
        id: MessageId,
        /// What came in between.
        reason: Reason,
    },
    /// The runtime ended before there was an answer: whether the message is stored is unknown.
    #[error("the client's runtime ended before it was known whether the message is stored")]
    Abandoned,
    /// The server refused the message: it is not stored. [`Code::action`] says whether trying again can help.
    #[error(
        "the server refused message {}: {code}{}{reason}{}",
        .id.n, if .reason.is_empty() { "" } else { ": " }, retry_text(*.retry_after)
    )]
    Refused {
        /// Which message.
        id: MessageId,
        /// Why.
        code: Code,
        /// Why, for people, control characters escaped; empty where the code says it all.
        reason: String,
        /// When it may be sent again, in slow mode, while the user is muted, where a rate was exceeded, or while
        /// what the server has to ask first does not answer.
        /// Later messages may have been stored meanwhile, so send it anew, without its number.
        retry_after: Option<Duration>,
    },
    /// The body is over [`BODY_BYTES_MAX`].
    #[error("a body of {len} bytes is over the limit of {BODY_BYTES_MAX}; send a reference to it instead")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
    },
    /// Over [`MENTIONS_MAX`] users are mentioned.
    #[error("a message mentions at most {MENTIONS_MAX} users, this one {count}")]
    TooManyMentions {
        /// How many, in all.
        count: usize,
    },
    /// `expires_in` is zero, or no whole millisecond.
    #[error(
        "a message expires after a millisecond at the earliest; leave `expires_in` out for one that does not"
    )]
    ExpiresAtOnce,
    /// `origin_time_ms` without `publish_as`.
    #[error(
        "an origin time needs `publish_as`: only who may publish for others may say when a message was said"
    )]
    OriginTimeWithoutUser,
    /// The client has a fixed producer and the message no number.
    #[error(
        "a client with a fixed producer must number its messages (`SendOptions::n`): numbers that it picked \
         by itself would repeat those of its last run, and the server would take the messages for repeats"
    )]
    NumberMissing,
    /// [`Conversation::resend`](crate::Conversation::resend) of a message that this client does not hold.
    #[error("message {} is not held by this client any more; send it again with its body and the same `n`", .id.n)]
    UnknownMessage {
        /// Which message.
        id: MessageId,
    },
}

impl SendOptions {
    /// What can be refused without asking the server.
    pub(crate) fn check(&self, producer_is_fixed: bool) -> Result<(), SendError> {
        if self.body.len() > BODY_BYTES_MAX {
            Err(SendError::TooLarge { len: self.body.len() })
        } else if self.mentions.len() > MENTIONS_MAX {
            Err(SendError::TooManyMentions { count: self.mentions.len() })
        } else if self.expires_in.is_some_and(|after| after.as_millis() == 0) {
            Err(SendError::ExpiresAtOnce)
        } else if self.origin_time_ms.is_some() && self.publish_as.is_none() {
            Err(SendError::OriginTimeWithoutUser)
        } else if producer_is_fixed && self.n.is_none() {
            Err(SendError::NumberMissing)
        } else {
            Ok(())
        }
    }
}

impl SendOptions {
    /// What goes out under this number.
    pub(crate) fn publish(self, n: u64) -> Publish {
        let Self { body, publish_as, origin_time_ms, reply_to, mentions, expires_in, .. } = self;
        let expires_in_ms =
            expires_in.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        Publish { n, body, publish_as, origin_time_ms, reply_to, mentions, expires_in_ms }
    }
}

/// The numbers of a client's messages. One counter for all its conversations, since a number that came twice
/// would make the server take a new message for a repeat, and conversations come and go.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: AtomicU64,
}

impl Numbers {
    /// The number of a new message.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The application has used this number.
    pub(crate) fn used(&self, n: u64) {
        self.last.fetch_max(n, Ordering::Relaxed);
    }
}
