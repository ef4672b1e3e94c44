//! Users and conversations that a command names, and that may be misspelt: the server takes any name.

use quoth_client::{DeviceId, UserId};
use serde_json::Value;

use super::api::Api;
use super::args::{ConversationCommand, MemberCommand, OneCommand, UserCommand, Which, Whom};
use super::call::{Call, encoded};
use super::notes::has_changed_nothing;
use crate::hint::quoted;
use crate::output::{note, printable};

/// Users of one command that are looked at. Outcome: of the others nothing is said.
const USERS_MAX: usize = 10;

/// Users whom a command is about who should have been here before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    users: Vec<UserId>,
    /// What was taken away from one was there, so a slip is likely only where nothing was.
    takes_away: bool,
}

/// Whom a command is about who should have been here before.
pub(super) fn users(command: &OneCommand) -> Named {
    use MemberCommand as M;
    let (users, takes_away) = match command {
        OneCommand::Kick { user, .. }
        | OneCommand::Revoke { which: Which { user: Some(user), .. }, .. }
        | OneCommand::Member(
            M::Set { whom: Whom { user, .. }, .. }
            | M::Mute { whom: Whom { user, .. }, .. }
            | M::Ban { whom: Whom { user, .. }, .. },
        ) => (vec![user.clone()], false),
        OneCommand::Unrevoke { which: Which { user: Some(user), .. } }
        | OneCommand::Member(
            M::Remove { whom: Whom { user, .. } }
            | M::Unmute { whom: Whom { user, .. } }
            | M::Unban { whom: Whom { user, .. } },
        ) => (vec![user.clone()], true),
        OneCommand::User(UserCommand::Block { user, whom }) => (vec![user.clone(), whom.clone()], false),
        OneCommand::User(UserCommand::Unblock { user, whom }) => (vec![user.clone(), whom.clone()], true),
        OneCommand::Conversation(ConversationCommand::Create { owner, member, .. }) => {
            (std::iter::once(owner).chain(member).cloned().collect(), false)
        }
        _ => (Vec::new(), false),
    };
    Named { users, takes_away }
}

/// Says of each who was never here that this is so. Where the key may not know it nothing is said, and where one
/// answer fails to come no other one is waited for: whether all have come.
pub(super) fn tell_unseen(api: &Api, named: &Named, answer: &Value) -> bool {
    if named.takes_away && !has_taken_nothing(answer) {
        return true;
    }
    for user in named.users.iter().take(USERS_MAX) {
        let asked = Call::get(format!("/v1/users/{}/presence", encoded(user)));
        let Ok(presence) = api.send(&asked) else { return false };
        if is_unseen(&presence) {
            note(format_args!("{} has never signed in here: is the name right?", printable(user.as_str())));
        }
    }
    true
}

/// Whether there was nothing of what was to be taken away.
fn has_taken_nothing(answer: &Value) -> bool {
    answer["lifted"] == false || has_changed_nothing(answer)
}

/// The device that a command is about, and whose it is.
pub(super) fn device(command: &OneCommand) -> Option<(UserId, DeviceId)> {
    match command {
        OneCommand::Kick { user, device: Some(device), .. }
        | OneCommand::Revoke { which: Which { user: Some(user), device: Some(device), .. }, .. } => {
            Some((user.clone(), device.clone()))
        }
        _ => None,
    }
}

/// Says that a user has no such device, if it is so. Where the key may not know it nothing is said.
pub(super) fn tell_unknown(api: &Api, user: &UserId, device: &DeviceId) {
    let asked = Call::get(format!("/v1/users/{}/sessions", encoded(user)));
    if api.send(&asked).is_ok_and(|answer| !has_device(&answer, device.as_str())) {
        note(format_args!(
            "{} has no device {} here: is the name right? `quoth admin sessions {}` shows those there are",
            printable(user.as_str()),
            printable(device.as_str()),
            quoted(user.as_str())
        ));
    }
}

fn has_device(sessions: &Value, device: &str) -> bool {
    let sessions = sessions["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    sessions.iter().any(|session| session["device"] == device)
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
    fn what_was_not_there_to_be_taken_away_may_have_a_slip_in_its_name() {
        let changed = |seq: u64, time_ms: u64| json!({ "seq": seq, "time_ms": time_ms });
        for nothing in [json!({ "lifted": false }), changed(0, 0)] {
            assert!(has_taken_nothing(&nothing), "{nothing}");
        }
        for something in [json!({ "lifted": true }), changed(7, 5), changed(0, 5)] {
            assert!(!has_taken_nothing(&something), "{something}");
        }
        let sessions = json!({ "sessions": [{ "device": "phone" }, { "device": "desk" }] });
        assert!(has_device(&sessions, "desk") && !has_device(&sessions, "phnoe"));
        assert!(!has_device(&json!({ "sessions": [] }), "desk"));
    }

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
