//! Keys of fixed size for names of any length.

use std::fmt;

use quoth_protocol::{ConversationName, ProducerId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A conversation in the view's keys: the first 16 bytes of the SHA-256 of its name. Nobody can aim at a
/// collision, and the view refuses to mix two names should one happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConversationKey(pub [u8; 16]);

impl ConversationKey {
    /// The key of a conversation.
    #[must_use]
    pub fn new(name: &ConversationName) -> Self {
        Self(first_half(Sha256::digest(name.as_str()).as_slice()))
    }
}

/// A producer as the server knows it: the first 16 bytes of the SHA-256 of the user, a zero byte and the
/// producer's number in big endian. So one user's numbers cannot use up another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProducerKey(pub [u8; 16]);

/// Begins the keys of the operator's producers.
const OPERATOR: [u8; 4] = *b"$api";

impl ProducerKey {
    /// The key of a user's producer.
    #[must_use]
    pub fn new(user: &UserId, producer: ProducerId) -> Self {
        let digest = Sha256::new()
            .chain_update(user.as_str())
            .chain_update([0])
            .chain_update(producer.0.to_be_bytes())
            .finalize();
        Self(first_half(digest.as_slice()))
    }

    /// The key of one of the operator's producers: of who publishes in everybody's name. It can be told from
    /// a user's, but for one of 4 billion of these.
    #[must_use]
    pub fn of_operator(producer: &UserId, id: ProducerId) -> Self {
        let Self(mut key) = Self::new(producer, id);
        key[..OPERATOR.len()].copy_from_slice(&OPERATOR);
        Self(key)
    }

    /// Whether it is [one of the operator's](Self::of_operator).
    #[must_use]
    pub fn is_of_operator(&self) -> bool {
        self.0.starts_with(&OPERATOR)
    }
}

fn first_half(digest: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for ProducerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, ProducerId, UserId};

    use super::{ConversationKey, ProducerKey};

    #[test]
    fn keys_are_stable_across_versions() {
        let conversation = ConversationKey::new(&ConversationName::new("abc").unwrap());
        assert_eq!(
            format!("{conversation:?}"),
            "ba7816bf8f01cfea414140de5dae2223",
            "SHA-256 of abc, from FIPS 180-2"
        );
        let a = ProducerKey::new(&UserId::new("u").unwrap(), ProducerId(1));
        let b = ProducerKey::new(&UserId::new("u").unwrap(), ProducerId(2));
        let c = ProducerKey::new(&UserId::new("v").unwrap(), ProducerId(1));
        assert!(a != b && a != c && b != c);
    }
}
