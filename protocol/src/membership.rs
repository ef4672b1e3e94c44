//! What managed conversations are made of: kinds, roles, permissions, invitations.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::limits::TITLE_BYTES_MAX;

/// What a managed conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConversationKind {
    /// All members write.
    Group,
    /// Few write, and who joins reads.
    Channel,
    /// Two users, for ever; nobody manages it.
    Direct,
    /// One user alone, on all devices.
    Notes,
}

/// What a member is. Greater ones may do more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads, writes, invites.
    Member,
    /// Does everything, but not to owners.
    Admin,
    /// Does everything. A group or channel always has one.
    Owner,
}

/// How a member came to be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GoneCause {
    /// By leaving.
    Left,
    /// Somebody else removed the member.
    Removed,
    /// By a ban.
    Banned,
}

macro_rules! named {
    ($name:ident: $($variant:ident = $text:literal),+) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}

named!(ConversationKind: Group = "group", Channel = "channel", Direct = "direct", Notes = "notes");
named!(Role: Reader = "reader", Member = "member", Admin = "admin", Owner = "owner");
named!(GoneCause: Left = "left", Removed = "removed", Banned = "banned");

impl Role {
    /// What a member with this role may do in a conversation of this kind, unless somebody has said
    /// otherwise.
    #[must_use]
    pub const fn permissions(self, kind: ConversationKind) -> Permissions {
        match (kind, self) {
            (ConversationKind::Direct, _) => Permissions::READ.union(Permissions::WRITE),
            (_, Self::Owner | Self::Admin) => Permissions::ALL,
            (_, Self::Member) => Permissions::READ.union(Permissions::WRITE).union(Permissions::INVITE),
            (_, Self::Reader) => Permissions::READ,
        }
    }

    /// As what somebody comes in who joins without being given a role.
    #[must_use]
    pub const fn of_joiner(kind: ConversationKind) -> Self {
        if matches!(kind, ConversationKind::Channel) { Self::Reader } else { Self::Member }
    }
}

/// What a member may do, as bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permissions(pub u32);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read events, and see the members.
    pub const READ: Self = Self(1);
    /// Publish messages.
    pub const WRITE: Self = Self(2);
    /// Make invitations, and add members with the role of one who joins.
    pub const INVITE: Self = Self(4);
    /// Mute, ban and remove others, and set how often members may write.
    pub const MODERATE: Self = Self(8);
    /// Rename, add members with any role, change roles and permissions, say how long events are kept.
    pub const MANAGE: Self = Self(16);
    /// Revoke messages of others.
    pub const DELETE_ANY: Self = Self(32);
    /// Everything that this version knows.
    pub const ALL: Self = Self(63);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one alone.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#b}", self.0)
    }
}

/// Bytes of an [`InvitationHash`].
pub(crate) const HASH_BYTES: usize = 16;

/// Which invitation, for those who must not learn its text: the first 16 bytes of the text's SHA-256. In JSON
/// it is 32 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InvitationHash(pub [u8; HASH_BYTES]);

impl InvitationHash {
    /// The hash of an invitation's text.
    #[must_use]
    pub fn of(invitation: &str) -> Self {
        Self(truncated(Sha256::new().chain_update(invitation)))
    }
}

/// A text is no [`InvitationHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an invitation's hash has 32 hexadecimal digits in lower case")]
pub struct NoHash;

impl std::str::FromStr for InvitationHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        from_hex(text).map(Self).ok_or(NoHash)
    }
}

impl fmt::Display for InvitationHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for InvitationHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for InvitationHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for InvitationHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hash;
        impl serde::de::Visitor<'_> for Hash {
            type Value = InvitationHash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the 16 bytes of an invitation's hash")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<InvitationHash, E> {
                bytes.try_into().map(InvitationHash).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<InvitationHash, E> {
                from_hex(text).map(InvitationHash).ok_or_else(|| E::custom("not 32 hexadecimal digits"))
            }
        }
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(Hash);
        }
        deserializer.deserialize_bytes(Hash)
    }
}

/// The first 16 bytes.
pub(crate) fn truncated(hash: Sha256) -> [u8; HASH_BYTES] {
    let mut bytes = [0; HASH_BYTES];
    bytes.copy_from_slice(&hash.finalize()[..HASH_BYTES]);
    bytes
}

/// Two digits for each byte, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; HASH_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_BYTES
        || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let mut bytes = [0; HASH_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Why a text is no title.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TitleError {
    /// The text is over its limit.
    #[error("a title has at most {TITLE_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// The text has a control character.
    #[error("a title must not have control characters")]
    ControlCharacter,
}

/// Checks a title, which may be empty.
///
/// # Errors
/// When it has over [`TITLE_BYTES_MAX`] bytes, or control characters.
pub fn check_title(title: &str) -> Result<(), TitleError> {
    if title.len() > TITLE_BYTES_MAX {
        return Err(TitleError::TooLong(title.len()));
    }
    if title.chars().any(char::is_control) {
        return Err(TitleError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ConversationKind, InvitationHash, Permissions, Role, TitleError, check_title};

    #[test]
    fn greater_roles_may_do_more() {
        for kind in [ConversationKind::Group, ConversationKind::Channel] {
            let roles = [Role::Reader, Role::Member, Role::Admin, Role::Owner];
            for pair in roles.windows(2) {
                assert!(pair[0] < pair[1] && pair[1].permissions(kind).contains(pair[0].permissions(kind)));
            }
            assert!(!Role::Reader.permissions(kind).contains(Permissions::WRITE));
            assert!(!Role::Member.permissions(kind).contains(Permissions::MODERATE));
            assert_eq!(Role::Owner.permissions(kind), Permissions::ALL);
        }
        assert_eq!(Role::of_joiner(ConversationKind::Channel), Role::Reader);
        assert_eq!(Role::of_joiner(ConversationKind::Group), Role::Member);
        let direct = Role::Member.permissions(ConversationKind::Direct);
        assert_eq!(direct, Permissions::READ.union(Permissions::WRITE));
        assert_eq!(direct.difference(Permissions::READ), Permissions::WRITE);
    }

    #[test]
    fn an_invitation_is_known_by_its_hash() {
        // printf abc | sha256sum
        let hash = InvitationHash::of("abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223");
        let bytes = postcard::to_stdvec(&hash).unwrap();
        assert_eq!((bytes.len(), bytes[0]), (17, 16));
        assert_eq!(postcard::from_bytes(&bytes), Ok(hash));
        assert!(postcard::from_bytes::<InvitationHash>(&[3, 1, 2, 3]).is_err(), "not 16 bytes");
    }

    #[test]
    fn titles_are_short_and_in_one_line() {
        assert_eq!(check_title(""), Ok(()));
        assert_eq!(check_title(&"ü".repeat(128)), Ok(()));
        assert_eq!(check_title(&"x".repeat(257)), Err(TitleError::TooLong(257)));
        assert_eq!(check_title("a\nb"), Err(TitleError::ControlCharacter));
    }
}
