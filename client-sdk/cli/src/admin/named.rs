//! Users and conversations that a command names, and that may be misspelt: the server takes any name.

use quoth_client::UserId;
use serde_json::Value;

use super::api::Api;
use super::args::{ConversationCommand, MemberCommand, OneCommand, UserCommand, Which, Whom};
use super::call::{Call, encoded};
use crate::output::{note, printable};

/// Users of one command that are looked at. Outcome: of the others nothing is said.
const USERS_MAX: usize = 10;

/// Whom a command is about who should have been here before.
pub(super) fn users(command: &OneCommand) -> Vec<UserId> {
    match command {
        OneCommand::Kick { user, .. }
        | OneCommand::Revoke { which: Which { user: Some(user), .. }, .. }
        | OneCommand::Member(
            MemberCommand::Set { whom: Whom { user, .. }, .. }
            | MemberCommand::Ban { whom: Whom { user, .. }, .. },
        ) => vec![user.clone()],
        OneCommand::User(UserCommand::Block { user, whom }) => vec![user.clone(), whom.clone()],
        OneCommand::Conversation(ConversationCommand::Create { owner, member, .. }) => {
            std::iter::once(owner).chain(member).cloned().collect()
        }
        _ => Vec::new(),
    }
}

/// Says of each who was never here that this is so. Where the key may not know it nothing is said, and where one
/// answer fails to come no other one is waited for.
pub(super) fn tell_unseen(api: &Api, users: &[UserId]) {
    for user in users.iter().take(USERS_MAX) {
        let asked = Call::get(format!("/v1/users/{}/presence", encoded(user)));
        let Ok(presence) = api.send(&asked) else { return };
        if is_unseen(&presence) {
            note(format_args!("{} has never signed in here: is the name right?", printable(user.as_str())));
        }
    }
}

fn is_unseen(presence: &Value) -> bool {
    presence["status"] == "offline" && presence["last_seen_ms"].as_u64().is_none_or(|seen_ms| seen_ms == 0)
}

/// What is to be said of a message that is the first one of its conversation.
pub(super) fn firsts(answer: &Value) -> Option<String> {
    let is_first = answer["seq"] == 1 && answer["duplicate"] == false;
    let conversation = answer["conversation"].as_str().filter(|_| is_first)?;
    Some(format!("nothing was said in {} before: is the name right?", printable(conversation)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_was_never_here_and_what_is_the_first_is_known_by_the_answer() {
        assert!(is_unseen(&json!({ "status": "offline", "last_seen_ms": 0 })));
        assert!(is_unseen(&json!({ "status": "offline", "last_seen_ms": null })));
        assert!(!is_unseen(&json!({ "status": "offline", "last_seen_ms": 7 })));
        assert!(!is_unseen(&json!({ "status": "online", "last_seen_ms": 0 })));
        let stored =
            |seq: u64, duplicate| json!({ "conversation": "teem", "seq": seq, "duplicate": duplicate });
        assert!(
            firsts(&stored(1, false)).is_some_and(|told| told.contains("nothing was said in teem before"))
        );
        for other in [stored(2, false), stored(1, true), json!({ "conversation": "teem", "seq": 1 })] {
            assert_eq!(firsts(&other), None, "{other}");
        }
    }
}
