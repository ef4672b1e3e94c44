//! Events other than messages.

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind, ServerFrame};
use quoth_protocol::membership::{ConversationKind, GoneCause, InvitationHash, Permissions, Role};

use super::{TIME_MS, name, user};

pub(crate) fn events() -> Vec<(String, ServerFrame)> {
    let numbered = (1..).zip(kinds());
    let event = |(seq, (what, kind))| {
        let (time_ms, sender, origin_time_ms) = (TIME_MS, user("alice"), None);
        (
            format!("Event {what}"),
            ServerFrame::Event(Event { seq: Seq(seq), time_ms, sender, origin_time_ms, kind }),
        )
    };
    numbered.map(event).collect()
}

fn kinds() -> Vec<(&'static str, EventKind)> {
    let set = |role, permissions, previous, invitation| EventKind::MemberSet {
        user: user("bob"),
        role,
        permissions: Permissions(permissions),
        previous,
        invitation,
    };
    vec![
        ("Created", EventKind::Created { kind: ConversationKind::Channel, title: "News".into(), open: true }),
        ("Renamed", EventKind::Renamed { title: "Grüße".into() }),
        ("MemberSet", set(Role::Owner, 63, Some(Role::Admin), None)),
        ("MemberSet invited", set(Role::Reader, 1, None, Some(InvitationHash::of("abc")))),
        ("MemberGone", EventKind::MemberGone { user: user("bob"), cause: GoneCause::Removed }),
        ("Muted", EventKind::Muted { user: Some(user("bob")), until_ms: TIME_MS }),
        ("Muted all", EventKind::Muted { user: None, until_ms: 0 }),
        ("Banned", EventKind::Banned { user: user("bob"), until_ms: u64::MAX }),
        ("SlowMode", EventKind::SlowMode { interval_ms: 30_000 }),
        (
            "InvitationMade",
            EventKind::InvitationMade {
                hash: InvitationHash::of("abc"),
                role: Role::Member,
                expires_ms: TIME_MS,
                uses_max: 5,
            },
        ),
        ("InvitationsRevoked", EventKind::InvitationsRevoked),
        (
            "Belongs",
            EventKind::Belongs {
                conversation: name("team"),
                kind: ConversationKind::Group,
                title: "Team".into(),
                role: Role::Admin,
            },
        ),
        ("BelongsNoMore", EventKind::BelongsNoMore { conversation: name("team"), cause: GoneCause::Banned }),
        ("Blocked", EventKind::Blocked { user: user("bob"), blocked: true }),
    ]
}
