//! Names and invitations that nobody can guess.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{ConversationName, UserId};
use rand::RngExt as _;

/// A new name for a group, or for a channel.
#[must_use]
pub fn new_name(kind: ConversationKind) -> ConversationName {
    named(kind, rand::rng().random())
}

/// The name of a group or channel that one key of the API makes once by an idempotency key. A length in front
/// keeps names and keys apart.
#[must_use]
pub(crate) fn name_once(kind: ConversationKind, caller: &UserId, key: &str) -> ConversationName {
    let mut context = Context::new(&SHA256);
    context.update(b"create");
    context.update(&caller.as_str().len().to_be_bytes());
    context.update(caller.as_str().as_bytes());
    context.update(key.as_bytes());
    let digest = context.finish();
    named(kind, digest.as_ref().first_chunk().copied().unwrap_or_default())
}

fn named(kind: ConversationKind, bits: [u8; 16]) -> ConversationName {
    match kind {
        ConversationKind::Channel => ConversationName::channel(bits),
        ConversationKind::Group | ConversationKind::Direct | ConversationKind::Notes => {
            ConversationName::group(bits)
        }
    }
}

/// A new invitation's text: 128 random bits, but for texts that begin with a dash, which a command line would take
/// for a flag.
#[must_use]
pub fn new_invitation() -> String {
    loop {
        let random: [u8; 16] = rand::rng().random();
        let text = URL_SAFE_NO_PAD.encode(random);
        if !text.starts_with('-') {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::UserId;
    use quoth_protocol::membership::ConversationKind::{Channel, Group};

    use super::{name_once, new_invitation};

    #[test]
    fn every_caller_makes_conversations_of_its_own_once() {
        let of = |kind, caller: &str, key: &str| name_once(kind, &UserId::new(caller).unwrap(), key);
        assert_eq!(of(Group, "shop", "order 1"), of(Group, "shop", "order 1"));
        assert_ne!(of(Group, "shop", "order 1"), of(Group, "shop", "order 2"));
        assert_ne!(of(Group, "shop", "s1"), of(Group, "shops", "1"));
        assert_ne!(of(Group, "shop", "1"), of(Channel, "shop", "1"));
    }

    /// One in 64 would, if nothing was done about it.
    #[test]
    fn no_invitation_is_taken_for_a_flag() {
        assert!((0..4_096).all(|_| !new_invitation().starts_with('-')));
    }
}
