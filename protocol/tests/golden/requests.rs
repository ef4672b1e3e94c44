//! Requests and replies.

use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::inbox::HeldRow;
use quoth_protocol::membership::{ConversationKind, Permissions, Role};
use quoth_protocol::presence::Status;
use quoth_protocol::reply::{ConversationInfo, MemberInfo, ReceiptInfo, Reply, SessionInfo};
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, Seq};

use super::messages::{inbox_row, message_state, plain};
use super::{TIME_MS, device, name, user};

pub(crate) fn requests() -> Vec<(String, ClientFrame)> {
    let framed = |(id, (what, request))| (format!("Request {what}"), ClientFrame::Request { id, request });
    (1..).zip(all_requests().into_iter().chain(about_messages())).map(framed).collect()
}

fn all_requests() -> Vec<(&'static str, Request)> {
    let (conversation, user) = (|| name("team"), user("bob"));
    let create = |conversation, kind, title: &str, members: &[&str], open| {
        let members = members.iter().copied().map(super::user).collect();
        Request::Create { conversation, kind, title: title.into(), members, open }
    };
    let set = |permissions| Request::SetMember {
        conversation: conversation(),
        user: super::user("bob"),
        role: Role::Admin,
        permissions,
    };
    vec![
        ("Create", create(Some(name("team")), ConversationKind::Group, "Team", &["bob", "carol"], true)),
        ("Create direct", create(None, ConversationKind::Direct, "", &["bob"], false)),
        ("Join", Request::Join { conversation: conversation(), invitation: None }),
        ("Join invited", Request::Join { conversation: conversation(), invitation: Some("abc".into()) }),
        ("Leave", Request::Leave { conversation: conversation() }),
        ("SetMember", set(None)),
        ("SetMember permissions", set(Some(Permissions(31)))),
        ("Remove", Request::Remove { conversation: conversation(), user: user.clone() }),
        ("Rename", Request::Rename { conversation: conversation(), title: "Grüße".into() }),
        ("Mute", Request::Mute { conversation: conversation(), user: Some(user.clone()), until_ms: TIME_MS }),
        ("Mute all", Request::Mute { conversation: conversation(), user: None, until_ms: 0 }),
        ("Ban", Request::Ban { conversation: conversation(), user: user.clone(), until_ms: u64::MAX }),
        ("SlowMode", Request::SlowMode { conversation: conversation(), interval_ms: 30_000 }),
        (
            "Invite",
            Request::Invite {
                conversation: conversation(),
                role: Role::Member,
                expires_ms: TIME_MS,
                uses_max: 5,
            },
        ),
        ("RevokeInvitations", Request::RevokeInvitations { conversation: conversation() }),
        ("Describe", Request::Describe { conversation: conversation() }),
        ("Members", Request::Members { conversation: conversation(), after: None, limit: 100 }),
        (
            "Members behind",
            Request::Members { conversation: conversation(), after: Some(user.clone()), limit: 100 },
        ),
        ("Block", Request::Block { user, blocked: true }),
        ("Blocked", Request::Blocked),
        ("Sessions", Request::Sessions),
        ("EndSession", Request::EndSession { device: device("phone") }),
        ("Conversations", Request::Conversations { after: None, limit: 50 }),
        ("Conversations behind", Request::Conversations { after: Some(name("team")), limit: 50 }),
        ("WatchPresence", Request::WatchPresence { conversation: conversation(), watch: true }),
    ]
}

fn about_messages() -> Vec<(&'static str, Request)> {
    let (conversation, seq) = (|| name("team"), Seq(300));
    let inbox = |after: Option<&str>| Request::Inbox { after: after.map(str::to_owned), limit: 50 };
    let retention = Retention { age_s: 2_592_000, count: 300, bytes: 1 << 30 };
    let (body, mentions) = ("grüße".into(), vec![user("bob")]);
    let held = vec![
        HeldRow { conversation: conversation(), stale_ms: 1_790_000_600_000 },
        HeldRow { conversation: name("old"), stale_ms: 1 },
    ];
    vec![
        ("Edit", Request::Edit { conversation: conversation(), seq, body, mentions }),
        ("Revoke", Request::Revoke { conversation: conversation(), seq }),
        ("React", Request::React { conversation: conversation(), seq, reaction: "👍".into(), on: true }),
        ("Hide", Request::Hide { conversation: conversation(), seq }),
        (
            "SetRetention",
            Request::SetRetention {
                conversation: conversation(),
                retention: Some(retention),
                dry_run: false,
            },
        ),
        ("Mark", Request::Mark { conversation: conversation(), delivered: Seq(300), read: Seq(299) }),
        ("Receipts", Request::Receipts { conversation: conversation(), seq }),
        ("Inbox", inbox(None)),
        ("Inbox behind", inbox(Some("abc"))),
        ("WatchInbox", Request::WatchInbox { since: Some(1 << 40), watch: true, held }),
        ("WatchInbox anew", Request::WatchInbox { since: None, watch: true, held: Vec::new() }),
        ("WatchInbox no more", Request::WatchInbox { since: None, watch: false, held: Vec::new() }),
        (
            "SetInbox",
            Request::SetInbox {
                conversation: conversation(),
                archived: false,
                muted_until_ms: u64::MAX,
                pinned: true,
            },
        ),
        ("Messages", Request::Messages { conversation: conversation(), seqs: vec![Seq(299), Seq(300)] }),
        (
            "SetRetention back",
            Request::SetRetention { conversation: conversation(), retention: None, dry_run: true },
        ),
    ]
}

pub(crate) fn replies() -> Vec<(String, ServerFrame)> {
    let framed = |(id, (what, reply))| (format!("Reply {what}"), ServerFrame::Reply { id, reply });
    (1..).zip(all_replies()).map(framed).collect()
}

fn all_replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("Done", Reply::Done { conversation: name("team"), seq: Seq(9), time_ms: TIME_MS }),
        ("Done already", Reply::Done { conversation: name("team"), seq: Seq(0), time_ms: 0 }),
        (
            "Refused",
            Reply::Refused { code: Code::RATE_LIMITED, retry_after_ms: 700, reason: "slowly".into() },
        ),
        ("Invitation", Reply::Invitation { invitation: "abc".into() }),
        ("Conversation", Reply::Conversation(conversation("team", Some(Role::Owner)))),
        ("Conversation of others", Reply::Conversation(conversation("team", None))),
        (
            "Conversation unmanaged",
            Reply::Conversation(ConversationInfo {
                kind: None,
                title: String::new(),
                open: false,
                permissions: Permissions::READ.union(Permissions::WRITE),
                members: 0,
                slow_mode_interval_ms: 0,
                version: Seq::ZERO,
                ..conversation("team", None)
            }),
        ),
        ("Members", Reply::Members { members: vec![member("alice"), member("bob")], more: true }),
        ("Users", Reply::Users { users: vec![user("bob"), user("carol")] }),
        ("Sessions", Reply::Sessions { sessions: vec![session()] }),
        (
            "Conversations",
            Reply::Conversations {
                conversations: vec![conversation("team", Some(Role::Member))],
                more: false,
            },
        ),
        (
            "Receipts",
            Reply::Receipts { delivered: 3, read: 2, users: vec![receipt("bob"), receipt("carol")] },
        ),
        ("Receipts counted", Reply::Receipts { delivered: 1_000, read: 300, users: vec![] }),
        ("Inbox", Reply::Inbox { rows: vec![inbox_row()], next: Some("abc".into()), version: 1 << 40 }),
        ("Inbox empty", Reply::Inbox { rows: vec![], next: None, version: 0 }),
        ("Watching", Reply::Watching { version: 1 << 40, complete: true }),
        (
            "Messages",
            Reply::Messages {
                states: vec![message_state(), plain(Seq(300))],
                absent: vec![Seq(298)],
                more: true,
            },
        ),
        (
            "Retained",
            Reply::Retained {
                conversation: name("team"),
                seq: Seq(301),
                time_ms: TIME_MS,
                retention: Retention { age_s: 2_592_000, count: 300, bytes: 1 << 30 },
                events: 290,
                bytes: 1 << 20,
            },
        ),
    ]
}

fn receipt(text: &str) -> ReceiptInfo {
    ReceiptInfo { user: user(text), delivered: Seq(300), read: Seq(299) }
}

fn conversation(text: &str, role: Option<Role>) -> ConversationInfo {
    let kind = ConversationKind::Group;
    ConversationInfo {
        conversation: name(text),
        kind: Some(kind),
        title: "Team".into(),
        open: true,
        role,
        permissions: role.map_or(Permissions::NONE, |role| role.permissions(kind)),
        members: 3,
        muted_until_ms: 0,
        slow_mode_interval_ms: 30_000,
        retention: Retention { age_s: 2_592_000, count: 300, bytes: 1 << 30 },
        own_retention: role.is_some(),
        version: Seq(300),
    }
}

fn member(text: &str) -> MemberInfo {
    MemberInfo {
        user: user(text),
        role: Role::Member,
        permissions: Permissions(7),
        muted_until_ms: 0,
        status: Status::Online,
        last_seen_ms: TIME_MS,
    }
}

fn session() -> SessionInfo {
    SessionInfo {
        device: device("phone"),
        platform: "android".into(),
        generation: TIME_MS,
        status: Status::Offline,
        connected_ms: TIME_MS,
        last_seen_ms: TIME_MS + 1,
    }
}
