//! A server with users, and requests in short.

use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};

pub(crate) use quoth_tests::site::{Site, with_each_carrier};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

pub(crate) fn name(name: &str) -> ConversationName {
    ConversationName::new(name).expect("a conversation name")
}

pub(crate) fn create(conversation: Option<&str>, kind: ConversationKind, members: &[&str]) -> Request {
    Request::Create {
        conversation: conversation.map(name),
        kind,
        title: String::new(),
        members: members.iter().map(|name| user(name)).collect(),
        open: false,
    }
}

/// A group named `room`.
pub(crate) fn create_room(members: &[&str]) -> Request {
    create(Some("room"), ConversationKind::Group, members)
}

pub(crate) fn set(who: &str, role: Role) -> Request {
    Request::SetMember { conversation: name("room"), user: user(who), role, permissions: None }
}

pub(crate) fn leave() -> Request {
    Request::Leave { conversation: name("room") }
}

pub(crate) fn remove(who: &str) -> Request {
    Request::Remove { conversation: name("room"), user: user(who) }
}

pub(crate) fn ban(who: &str, until_ms: u64) -> Request {
    Request::Ban { conversation: name("room"), user: user(who), until_ms }
}

pub(crate) fn mute(who: Option<&str>, until_ms: u64) -> Request {
    Request::Mute { conversation: name("room"), user: who.map(user), until_ms }
}

pub(crate) fn join(invitation: Option<&str>) -> Request {
    Request::Join { conversation: name("room"), invitation: invitation.map(str::to_owned) }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
