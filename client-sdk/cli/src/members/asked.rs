//! What each command needs in its conversation, so that a refusal can say why it was one. Pure.

use quoth_client::Permissions;

use crate::args::ConversationCommand;
use crate::hint::{Asked, Needs};

/// What may stand against it where the permission is there.
const RANK: &str = "nobody does that to a user whose role there is above one's own";
const GIVEN: &str = "nobody gives, or takes from somebody, a role or a permission that is above one's own";
const ADDED: &str = "who is in it already is not added again, nobody gives a role above one's own, and who has blocked you is \
    not added by you";

/// What a command asks of a conversation that is there; `None` where there is none yet, and for lists.
pub(super) fn asked(command: &ConversationCommand) -> Option<Asked<'_>> {
    use ConversationCommand as C;
    let may = |permission| Needs::Permission(permission);
    let (conversation, needs, otherwise) = match command {
        C::Create(_) | C::List { .. } => return None,
        C::Join { conversation, invitation } => {
            (conversation, Needs::Joining { is_invited: invitation.is_some() }, "")
        }
        C::Leave { conversation } => (
            conversation,
            Needs::Membership,
            "nobody leaves a direct conversation or notes, which stay as they are",
        ),
        C::Add { conversation, role, .. } => (conversation, Needs::Adding(*role), ADDED),
        C::Role { conversation, .. } => (conversation, may(Permissions::MANAGE), GIVEN),
        C::Rename { conversation, .. } => (conversation, may(Permissions::MANAGE), ""),
        C::Remove { conversation, .. } | C::Ban { conversation, .. } => {
            (conversation, may(Permissions::MODERATE), RANK)
        }
        C::Mute { conversation, .. } => (conversation, may(Permissions::MODERATE), RANK),
        C::SlowMode { conversation, .. } => (conversation, may(Permissions::MODERATE), ""),
        C::Invite { conversation, revoke: true, .. } => (conversation, may(Permissions::MANAGE), ""),
        C::Invite { conversation, .. } => (conversation, may(Permissions::INVITE), GIVEN),
        C::Members { conversation, .. } => (conversation, Needs::Roster, ""),
        C::Show { conversation, .. } => (conversation, Needs::Reading, ""),
    };
    Some(Asked { conversation: conversation.as_str(), needs, otherwise })
}
