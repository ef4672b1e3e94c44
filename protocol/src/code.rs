//! Codes of closes, resets and refusals. The range of a code, never its text, tells a client what to do next.

use serde::{Deserialize, Serialize};

/// Why a connection, a stream or a publish ended. Carried as the QUIC application error code and in frames.
///
/// | range | the client |
/// |---|---|
/// | `0x000..=0x0FF` | has nothing to do: the end was wanted |
/// | `0x100..=0x1FF` | tries again, with backoff |
/// | `0x200..=0x2FF` | gets a new token, then tries again |
/// | everything else | stops: trying again cannot help |
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

/// What a client does about a [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the end was wanted.
    Nothing,
    /// Try again, with backoff.
    Retry,
    /// Get a new token, then try again.
    Reauthenticate,
    /// Stop; trying again cannot help.
    Stop,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal;)+) => {
        impl Code {
            $($(#[doc = $doc])+ pub const $name: Self = Self($value);)+

            /// Every code that this version names, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code's name in capitals, as in the protocol's table of codes, or `UNKNOWN`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

codes! {
    /// Wanted by the side that closed.
    CLOSED = 0x000;
    /// The stream's work is done and the peer needs nothing more of it.
    CANCELLED = 0x001;
    /// The same device has signed in again: the later connection has taken this one's place.
    REPLACED = 0x002;

    /// The server drains; `retry_after_ms` says when to come back.
    GOING_AWAY = 0x100;
    /// Too many connections or requests at the moment.
    OVERLOADED = 0x101;
    /// The server failed in a way that is its own fault.
    INTERNAL = 0x102;
    /// The store failed or refuses to write. Nothing that was not acked may be assumed stored.
    STORE_FAILED = 0x103;
    /// No Hello, or no first frame of a stream, in time. A bad network can make any client late.
    HELLO_TIMEOUT = 0x104;
    /// More of something than any client has use for, in a short time.
    RATE_LIMITED = 0x105;
    /// The conversation is in slow mode; `retry_after_ms` says when the user may write again.
    SLOW_MODE = 0x106;
    /// Something outside of the server that must be asked first (a hook, a source of keys) does not answer.
    UNAVAILABLE = 0x107;
    /// The disk is full: nothing new can be stored until somebody makes room. What is stored can be read.
    STORAGE_FULL = 0x108;
    /// The server has not come to an end with a request in time. Whether it is done is unknown.
    TIMED_OUT = 0x109;

    /// The token's `exp` has passed.
    TOKEN_EXPIRED = 0x200;
    /// The token is not valid: signature, algorithm, audience or a claim.
    TOKEN_REJECTED = 0x201;
    /// The token was good and is revoked.
    TOKEN_REVOKED = 0x202;

    /// A frame that does not decode, or that has no place here.
    PROTOCOL = 0x300;
    /// No protocol version in common.
    UNSUPPORTED_VERSION = 0x301;
    /// A frame over its limit.
    FRAME_TOO_LARGE = 0x302;
    /// The conversation does not exist or the token does not allow this; the two look the same on purpose.
    FORBIDDEN = 0x304;
    /// The conversation is open on this connection already.
    ALREADY_OPEN = 0x305;
    /// A message body over [`limits::BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX).
    TOO_LARGE = 0x306;
    /// A message number below one that this producer has already used in this conversation, and that was
    /// never stored: storing it now would break the producer's order.
    STALE_MESSAGE_ID = 0x307;
    /// A cursor beyond the conversation's head: the client has seen what this server never stored.
    CURSOR_AHEAD = 0x308;
    /// Signed out by the server: by its rules for devices, by an administrator, or by the user from another
    /// device. The GoAway's reason says which.
    KICKED = 0x309;
    /// The user is muted in this conversation; `retry_after_ms` says for how long, as far as it can.
    MUTED = 0x30A;
    /// A conversation with this name exists already.
    ALREADY_EXISTS = 0x30B;
    /// A request that means nothing: a field out of its range, or one that has no place with the others.
    INVALID_REQUEST = 0x30C;
    /// The conversation would have no owner left.
    LAST_OWNER = 0x30D;
    /// There would be more of something than its limit: members, invitations, blocked users.
    TOO_MANY = 0x30E;
    /// The operator's rules, which a hook has told, do not allow it.
    DENIED = 0x30F;
    /// There is no such message: it is absent, or was never there.
    NOT_FOUND_MESSAGE = 0x310;
    /// The message is older than the operator allows for this.
    TOO_OLD = 0x311;
}

impl Code {
    /// What a client does about this code; unknown codes follow their range.
    #[must_use]
    pub const fn action(self) -> Action {
        match self.0 {
            0x000..=0x0FF => Action::Nothing,
            0x100..=0x1FF => Action::Retry,
            0x200..=0x2FF => Action::Reauthenticate,
            _ => Action::Stop,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (0x{:03x})", self.name().to_ascii_lowercase(), self.0)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Code};

    #[test]
    fn the_range_says_what_to_do() {
        assert_eq!(Code::CLOSED.action(), Action::Nothing);
        assert_eq!(Code::GOING_AWAY.action(), Action::Retry);
        assert_eq!(Code::TOKEN_EXPIRED.action(), Action::Reauthenticate);
        assert_eq!(Code::FORBIDDEN.action(), Action::Stop);
        assert_eq!(Code(0x1FE).action(), Action::Retry);
        assert_eq!(Code(0xFFFF).action(), Action::Stop);
    }

    #[test]
    fn codes_are_unique_and_named() {
        for (i, a) in Code::ALL.iter().enumerate() {
            assert_ne!(a.name(), "UNKNOWN");
            assert_eq!(a.to_string(), format!("{} (0x{:03x})", a.name().to_ascii_lowercase(), a.0));
            assert!(Code::ALL[i + 1..].iter().all(|b| a != b));
        }
    }
}
