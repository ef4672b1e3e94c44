//! Identifiers. Each is a type of its own, checked when it is made, so that bad wire data cannot become one.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{CONVERSATION_NAME_BYTES_MAX, DEVICE_ID_BYTES_MAX, USER_ID_BYTES_MAX};

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("a {kind} must not be empty")]
    Empty {
        /// What the text was to be.
        kind: &'static str,
    },
    /// The text is over its limit.
    #[error("a {kind} has at most {max} bytes, this one has {len}")]
    TooLong {
        /// What the text was to be.
        kind: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The text has a control character, which would break logs and terminals.
    #[error("a {kind} must not have control characters")]
    ControlCharacter {
        /// What the text was to be.
        kind: &'static str,
    },
}

fn check(text: &str, kind: &'static str, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > max {
        return Err(IdError::TooLong { kind, len: text.len(), max });
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter { kind });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[doc = $doc:literal])+ $name:ident, $kind:literal, $max:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// When it is empty, too long, or has control characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                check(text.as_ref(), $kind, $max)?;
                Ok(Self(Arc::from(text.as_ref())))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $kind))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

text_id!(
    /// A conversation's name: 1 to 128 bytes of UTF-8 without control characters.
    ConversationName, "conversation name", CONVERSATION_NAME_BYTES_MAX
);
text_id!(
    /// A user: 1 to 64 bytes of UTF-8 without control characters.
    UserId, "user id", USER_ID_BYTES_MAX
);
text_id!(
    /// One of a user's devices: 1 to 64 bytes of UTF-8 without control characters.
    DeviceId, "device id", DEVICE_ID_BYTES_MAX
);

/// A place in a conversation's log. The first event has 1 and each next one is larger by 1; 0 is the cursor
/// of a reader that has read nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The seq after this one.
    ///
    /// # Panics
    /// At 2^64 - 1, which no conversation reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a conversation has fewer than 2^64 events"))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The first half of a message id: a random number that a client installation picks once and keeps. The
/// server scopes it to the authenticated user, so nobody can use up another user's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerId(pub u64);

#[cfg(test)]
mod tests {
    use super::{ConversationName, IdError, UserId};

    #[test]
    fn ids_refuse_what_is_no_id() {
        assert!(ConversationName::new("general").is_ok());
        assert!(UserId::new("|QuaD-").is_ok());
        assert_eq!(UserId::new(""), Err(IdError::Empty { kind: "user id" }));
        assert_eq!(UserId::new("x".repeat(65)), Err(IdError::TooLong { kind: "user id", len: 65, max: 64 }));
        assert_eq!(
            ConversationName::new("a\u{1b}[1m"),
            Err(IdError::ControlCharacter { kind: "conversation name" })
        );
    }
}
