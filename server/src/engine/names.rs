//! Names and invitations that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_protocol::ConversationName;
use quoth_protocol::membership::ConversationKind;
use rand::RngExt as _;

/// A new name for a group, or for a channel.
#[must_use]
pub fn new_name(kind: ConversationKind) -> ConversationName {
    let random: [u8; 16] = rand::rng().random();
    match kind {
        ConversationKind::Channel => ConversationName::channel(random),
        ConversationKind::Group | ConversationKind::Direct | ConversationKind::Notes => {
            ConversationName::group(random)
        }
    }
}

/// A new invitation's text: 128 random bits.
#[must_use]
pub fn new_invitation() -> String {
    let random: [u8; 16] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(random)
}
