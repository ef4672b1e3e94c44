//! Frames of servers, but for replies and for events other than messages.

use bytes::Bytes;
use quoth_protocol::frame::{Durability, Event, EventKind, Present, ServerFrame, Welcome, feature};
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, Seq};

use super::messages::{inbox_row, inbox_row_gone, message_state, plain};
use super::{name, user};

fn event(seq: u64, sender: &str, origin_time_ms: Option<u64>, body: &[u8]) -> ServerFrame {
    let kind = EventKind::message(Bytes::copy_from_slice(body));
    let time_ms = 1_790_000_000_000;
    ServerFrame::Event(Event { seq: Seq(seq), time_ms, sender: user(sender), origin_time_ms, kind })
}

fn refused(n: u64, code: Code, retry_after_ms: u32, reason: &str) -> ServerFrame {
    ServerFrame::Refused { n, code, retry_after_ms, reason: reason.to_owned() }
}

pub(crate) fn frames() -> Vec<(&'static str, ServerFrame)> {
    let welcome = Welcome {
        version: 1,
        features: feature::DATAGRAMS,
        user: user("alice"),
        durability: Durability::Stored,
        time_ms: 1_790_000_000_000,
        open_conversations_max: 48,
        server: "quoth-server/0.1.0".into(),
    };
    vec![
        ("Welcome", ServerFrame::Welcome(welcome)),
        (
            "GoAway",
            ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 1_000, reason: String::new() },
        ),
        (
            "GoAway kicked",
            ServerFrame::GoAway { code: Code::KICKED, retry_after_ms: 0, reason: "bye".into() },
        ),
        ("TokenExpiring", ServerFrame::TokenExpiring { in_ms: 60_000 }),
        ("Opened empty", ServerFrame::Opened { head: Seq(0), floor: Seq(1), store: 1 }),
        ("Opened", ServerFrame::Opened { head: Seq(12_345), floor: Seq(1), store: 123_456_789 }),
        ("Event", event(1, "alice", None, b"hello")),
        ("Event imported", event(300, "bob", Some(1_103_966_040_000), "grüße".as_bytes())),
        ("Event 200 bytes", event(16_384, "alice", None, &[0x61; 200])),
        ("Ack", ServerFrame::Ack { n: 1, seq: Seq(1), time_ms: 1_790_000_000_000, duplicate: false }),
        (
            "Ack duplicate",
            ServerFrame::Ack { n: 1, seq: Seq(1), time_ms: 1_790_000_000_000, duplicate: true },
        ),
        ("Refused", refused(7, Code::STALE_MESSAGE_ID, 0, "")),
        ("Refused for a while", refused(8, Code::SLOW_MODE, 2_500, "")),
        ("Refused for a reason", refused(9, Code::DENIED, 0, "not here")),
        ("Gap", ServerFrame::Gap { from: Seq(1), to: Seq(1_000) }),
        ("PageEnd", page_end(300, 349, true)),
        ("PageEnd empty", page_end(1, 0, false)),
        ("Typing", ServerFrame::Typing { conversation: name("general"), user: user("bob") }),
        ("Roster empty", ServerFrame::Roster { users: 0, present: vec![] }),
        (
            "Roster",
            ServerFrame::Roster { users: 70, present: vec![present("alice", 0), present("bob", 300)] },
        ),
        ("Presence", presence(Status::Away)),
        ("MessageState", ServerFrame::MessageState(message_state())),
        ("MessageState plain", ServerFrame::MessageState(plain(Seq(300)))),
        ("Receipt", ServerFrame::Receipt { user: user("bob"), delivered: Seq(300), read: Seq(299) }),
        ("InboxRow", ServerFrame::InboxRow { known: 300, row: Box::new(inbox_row()) }),
        ("InboxRow gone", ServerFrame::InboxRow { known: 7, row: Box::new(inbox_row_gone()) }),
    ]
}

fn page_end(from: u64, to: u64, more: bool) -> ServerFrame {
    ServerFrame::PageEnd {
        head: Seq(12_345),
        floor: Seq(1),
        from: Seq(from),
        to: Seq(to),
        more_before: more,
        more_after: true,
    }
}

fn present(name: &str, seen: u64) -> Present {
    let status = if seen == 0 { Status::Online } else { Status::Away };
    Present { user: user(name), seen: Seq(seen), status }
}

fn presence(status: Status) -> ServerFrame {
    let (conversation, user) = (name("general"), user("bob"));
    ServerFrame::Presence { conversation, user, status, last_seen_ms: 1_790_000_000_000 }
}
