//! Events, but for plain messages.

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind, ServerFrame};
use quoth_protocol::membership::{ConversationKind, GoneCause, InvitationHash, Permissions, Role};
use quoth_protocol::retention::Retention;

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
        (
            "Message reply",
            EventKind::Message {
                body: "@bob yes".into(),
                reply_to: Some(Seq(300)),
                mentions: vec![user("bob"), user("carol")],
                expires_ms: TIME_MS + 60_000,
            },
        ),
        ("Edited", EventKind::Edited { seq: Seq(300), body: "grüße".into(), mentions: vec![user("bob")] }),
        ("Edited plain", EventKind::Edited { seq: Seq(300), body: "".into(), mentions: vec![] }),
        ("Revoked", EventKind::Revoked { seq: Seq(300) }),
        ("Reacted", EventKind::Reacted { seq: Seq(300), reaction: "👍".into(), on: true }),
        (
            "RetentionSet",
            EventKind::RetentionSet { retention: Retention { age_s: 2_592_000, count: 300, bytes: 0 } },
        ),
        ("Hidden", EventKind::Hidden { conversation: name("team"), seq: Seq(300) }),
        (
            "InboxSet",
            EventKind::InboxSet {
                conversation: name("team"),
                archived: true,
                muted_until_ms: u64::MAX,
                pinned: false,
            },
        ),
    ]
}
