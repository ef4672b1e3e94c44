//! Names of conversations that follow from what the conversation is, and the prefixes that are kept for them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::id::{ConversationName, UserId};
use crate::membership::{HASH_BYTES, hex, truncated};

/// What a conversation with a reserved name is. Names without a reserved prefix are whatever somebody makes
/// of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reserved {
    /// `direct/`: two users.
    Direct,
    /// `notes/`: one user alone.
    Notes,
    /// `group/`: a group whose name the server has made.
    Group,
    /// `channel/`: a channel whose name the server has made.
    Channel,
    /// `$`: the server's own, which nobody publishes to.
    Server,
}

impl Reserved {
    const ALL: [Self; 5] = [Self::Direct, Self::Notes, Self::Group, Self::Channel, Self::Server];

    /// What names of this kind begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Direct => "direct/",
            Self::Notes => "notes/",
            Self::Group => "group/",
            Self::Channel => "channel/",
            Self::Server => "$",
        }
    }
}

/// The prefix of users' own logs, in front of the user's id.
const OF_USER: &str = "$user/";

impl ConversationName {
    /// The conversation of two users, whichever is named first: `direct/` and the first 16 bytes, in
    /// hexadecimal, of SHA-256 over both ids in the order of their bytes, each behind its length in one byte.
    #[must_use]
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        let hash = [first, second].iter().fold(Sha256::new(), |hash, user| {
            let len = u8::try_from(user.as_str().len()).expect("a user id has at most 64 bytes");
            hash.chain_update([len]).chain_update(user.as_str())
        });
        Self::made(Reserved::Direct, &hex(&truncated(hash)))
    }

    /// A user's notes to themselves.
    #[must_use]
    pub fn notes(user: &UserId) -> Self {
        Self::made(Reserved::Notes, user.as_str())
    }

    /// A group's name, made of 128 random bits.
    #[must_use]
    pub fn group(random: [u8; 16]) -> Self {
        Self::made(Reserved::Group, &URL_SAFE_NO_PAD.encode(random))
    }

    /// A channel's name, made of 128 random bits.
    #[must_use]
    pub fn channel(random: [u8; 16]) -> Self {
        Self::made(Reserved::Channel, &URL_SAFE_NO_PAD.encode(random))
    }

    /// A user's own log, which the user opens as [`ConversationName::me`].
    #[must_use]
    pub fn of_user(user: &UserId) -> Self {
        Self::checked(format!("{OF_USER}{user}"))
    }

    /// `$me`: each client's name for its user's own log.
    #[must_use]
    pub fn me() -> Self {
        Self::checked("$me")
    }

    /// `$server`: the log of what holds for the whole server.
    #[must_use]
    pub fn server() -> Self {
        Self::checked("$server")
    }

    /// What the name is kept for; `None` for a name that anybody may choose.
    #[must_use]
    pub fn reserved(&self) -> Option<Reserved> {
        Reserved::ALL.into_iter().find(|reserved| self.as_str().starts_with(reserved.prefix()))
    }

    /// Whether a conversation of this name that is not there may be one day. The name of a group or channel that
    /// the server makes is nobody's before that.
    #[must_use]
    pub fn may_come(&self) -> bool {
        let rest = |reserved: Reserved| self.as_str().strip_prefix(reserved.prefix()).unwrap_or_default();
        match self.reserved() {
            None => true,
            Some(reserved @ Reserved::Direct) => {
                let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                rest(reserved).len() == 2 * HASH_BYTES && rest(reserved).bytes().all(is_digit)
            }
            Some(reserved @ Reserved::Notes) => UserId::new(rest(reserved)).is_ok(),
            Some(Reserved::Group | Reserved::Channel | Reserved::Server) => false,
        }
    }

    /// Whether it is [`ConversationName::me`].
    #[must_use]
    pub fn is_me(&self) -> bool {
        self.as_str() == "$me"
    }

    fn made(reserved: Reserved, rest: &str) -> Self {
        Self::checked(format!("{}{rest}", reserved.prefix()))
    }

    fn checked(text: impl AsRef<str>) -> Self {
        Self::new(text).expect("a prefix and a user id are within a name's limits")
    }
}

#[cfg(test)]
mod tests {
    use super::{ConversationName, Reserved, UserId};

    fn user(text: &str) -> UserId {
        UserId::new(text).unwrap()
    }

    #[test]
    fn two_users_have_one_conversation() {
        let (alice, bob) = (user("alice"), user("bob"));
        let name = ConversationName::direct(&alice, &bob);
        assert_eq!(name, ConversationName::direct(&bob, &alice));
        // printf '\5alice\3bob' | sha256sum
        assert_eq!(name.as_str(), "direct/65531a8eefea7b93693a6f811dfcd740");
        assert_ne!(
            ConversationName::direct(&user("ab"), &user("c")),
            ConversationName::direct(&user("a"), &user("bc"))
        );
    }

    #[test]
    fn reserved_names_say_what_they_are() {
        let long = user(&"ü".repeat(32));
        let made = [
            (ConversationName::direct(&long, &user("b")), Reserved::Direct),
            (ConversationName::notes(&long), Reserved::Notes),
            (ConversationName::group([0xFF; 16]), Reserved::Group),
            (ConversationName::channel([0; 16]), Reserved::Channel),
            (ConversationName::of_user(&long), Reserved::Server),
            (ConversationName::me(), Reserved::Server),
            (ConversationName::server(), Reserved::Server),
        ];
        for (name, reserved) in made {
            assert_eq!(name.reserved(), Some(reserved), "{name}");
        }
        assert_eq!(ConversationName::group([0xFF; 16]).as_str(), "group/_____________________w");
        assert_eq!(ConversationName::of_user(&user("bob")).as_str(), "$user/bob");
        for free in ["general", "group", "directory/a", "Notes/a", "a$b"] {
            assert_eq!(ConversationName::new(free).unwrap().reserved(), None, "{free}");
        }
    }

    #[test]
    fn a_name_that_is_no_conversations_may_be_one_that_can_be() {
        let direct = ConversationName::direct(&user("alice"), &user("bob"));
        for name in ["general", "group", direct.as_str(), "notes/alice", "directory/a"] {
            assert!(ConversationName::new(name).unwrap().may_come(), "{name}");
        }
        let (group, short) =
            (ConversationName::group([7; 16]), &direct.as_str()[..direct.as_str().len() - 1]);
        let upper = format!("{short}A");
        let long = format!("{direct}0");
        for name in
            ["direct/", "direct/alice", short, &upper, &long, "notes/", group.as_str(), "channel/x", "$me"]
        {
            assert!(!ConversationName::new(name).unwrap().may_come(), "{name}");
        }
    }
}
