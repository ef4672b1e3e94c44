//! The bytes of every frame, as committed in `golden/frames.txt`. A difference is a change of the wire: it belongs in
//! `docs/PROTOCOL.md` and in every client too. `QUOTH_WRITE_GOLDEN=1 cargo test -p quoth-protocol` writes the file.

use std::fmt::Write as _;

use bytes::Bytes;
use quoth_protocol::codec::{self, Decoder};
use quoth_protocol::frame::{
    ClientFrame, Durability, Event, EventKind, Fetch, FetchRange, Hello, Open, Present, Publish, ServerFrame,
    Start, Welcome, feature,
};
use quoth_protocol::lane::{LaneMessage, Part, Signal};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, ConversationName, DeviceId, ProducerId, Seq, UserId};

const GOLDEN: &str = include_str!("../golden/frames.txt");

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn publish(n: u64, body: &[u8], publish_as: Option<&str>, origin_time_ms: Option<u64>) -> ClientFrame {
    let body = Bytes::copy_from_slice(body);
    ClientFrame::Publish(Publish { n, body, publish_as: publish_as.map(user), origin_time_ms })
}

fn open(from: Option<Start>) -> ClientFrame {
    ClientFrame::Open(Open {
        conversation: name("general"),
        producer: ProducerId(0x0123_4567_89ab_cdef),
        from,
    })
}

fn fetch(range: FetchRange, limit: u32) -> ClientFrame {
    ClientFrame::Fetch(Fetch { conversation: name("general"), range, limit })
}

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    let hello = Hello {
        version: 1,
        features: feature::DATAGRAMS,
        token: "header.claims.signature".into(),
        device: DeviceId::new("laptop").unwrap(),
        platform: "linux".into(),
        client: "quoth/0.1.0".into(),
    };
    vec![
        ("Hello", ClientFrame::Hello(hello)),
        ("Refresh", ClientFrame::Refresh { token: "t".into() }),
        ("Open write only", open(None)),
        ("Open after", open(Some(Start::After(Seq(300))))),
        ("Open last", open(Some(Start::Last(50)))),
        ("Open live", open(Some(Start::Live))),
        ("Read", ClientFrame::Read { from: Some(Start::After(Seq(0))) }),
        ("Read stop", ClientFrame::Read { from: None }),
        ("Publish", publish(1, b"hello", None, None)),
        ("Publish empty", publish(127, b"", None, None)),
        ("Publish as", publish(u64::MAX, "grüße".as_bytes(), Some("bob"), Some(1_103_966_040_000))),
        ("Publish 200 bytes", publish(128, &[0x61; 200], None, None)),
        ("Fetch after", fetch(FetchRange::After(Seq(128)), 100)),
        ("Fetch before", fetch(FetchRange::Before(Seq(1)), 1_000)),
        ("Fetch latest", fetch(FetchRange::Latest, 50)),
        ("Typing", ClientFrame::Typing { conversation: name("general") }),
        ("Seen", ClientFrame::Seen { seq: Seq(300) }),
    ]
}

fn event(seq: u64, sender: &str, origin_time_ms: Option<u64>, body: &[u8]) -> ServerFrame {
    let kind = EventKind::Message { body: Bytes::copy_from_slice(body) };
    let time_ms = 1_790_000_000_000;
    ServerFrame::Event(Event { seq: Seq(seq), time_ms, sender: user(sender), origin_time_ms, kind })
}

fn server_frames() -> Vec<(&'static str, ServerFrame)> {
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
        ("GoAway", ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 1_000 }),
        ("TokenExpiring", ServerFrame::TokenExpiring { in_ms: 60_000 }),
        ("Opened empty", ServerFrame::Opened { head: Seq(0), floor: Seq(1) }),
        ("Opened", ServerFrame::Opened { head: Seq(12_345), floor: Seq(1) }),
        ("Event", event(1, "alice", None, b"hello")),
        ("Event imported", event(300, "bob", Some(1_103_966_040_000), "grüße".as_bytes())),
        ("Event 200 bytes", event(16_384, "alice", None, &[0x61; 200])),
        ("Ack", ServerFrame::Ack { n: 1, seq: Seq(1), time_ms: 1_790_000_000_000, duplicate: false }),
        (
            "Ack duplicate",
            ServerFrame::Ack { n: 1, seq: Seq(1), time_ms: 1_790_000_000_000, duplicate: true },
        ),
        ("Refused", ServerFrame::Refused { n: 7, code: Code::STALE_MESSAGE_ID }),
        ("Gap", ServerFrame::Gap { from: Seq(1), to: Seq(1_000) }),
        ("PageEnd", ServerFrame::PageEnd { head: Seq(12_345), floor: Seq(1), more: true }),
        ("Typing", ServerFrame::Typing { conversation: name("general"), user: user("bob") }),
        ("Roster empty", ServerFrame::Roster { users: 0, present: vec![] }),
        (
            "Roster",
            ServerFrame::Roster { users: 70, present: vec![present("alice", 0), present("bob", 300)] },
        ),
    ]
}

fn present(name: &str, seen: u64) -> Present {
    Present { user: user(name), seen: Seq(seen) }
}

fn lane_messages() -> Vec<(&'static str, LaneMessage)> {
    let frames = |frames: &[Bytes]| Part::Frames(Bytes::from(frames.concat()));
    let typing = codec::encode(&ClientFrame::Typing { conversation: name("general") });
    let seen = codec::encode(&ClientFrame::Seen { seq: Seq(300) });
    vec![
        ("Frames of the control lane", LaneMessage { lane: 0, part: frames(&[typing]) }),
        ("Frames two", LaneMessage { lane: 300, part: frames(&[seen.clone(), seen]) }),
        ("Finish", LaneMessage::signal(1, Signal::Finish {})),
        ("Reset", LaneMessage::signal(127, Signal::Reset { code: Code::OVERLOADED })),
        ("Credit", LaneMessage::signal(128, Signal::Credit { bytes: 65_536 })),
        ("Ping", LaneMessage::signal(0, Signal::Ping { n: 7 })),
        ("Pong", LaneMessage::signal(0, Signal::Pong { n: u64::MAX })),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn rendered() -> String {
    let mut text = String::from("# side | frame | bytes with the length in front, in hex\n");
    for (what, frame) in client_frames() {
        writeln!(text, "client | {what} | {}", hex(&codec::encode(&frame))).unwrap();
    }
    for (what, frame) in server_frames() {
        writeln!(text, "server | {what} | {}", hex(&codec::encode(&frame))).unwrap();
    }
    text.push_str("# messages of a WebSocket, which have no length\n");
    for (what, message) in lane_messages() {
        writeln!(text, "lane | {what} | {}", hex(&message.encode())).unwrap();
    }
    text
}

#[test]
fn frames_have_their_committed_bytes() {
    let rendered = rendered();
    if std::env::var_os("QUOTH_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/frames.txt");
        std::fs::write(path, &rendered).unwrap();
        return;
    }
    for (committed, now) in GOLDEN.lines().zip(rendered.lines()) {
        assert_eq!(committed, now, "the wire changed");
    }
    assert_eq!(GOLDEN.lines().count(), rendered.lines().count(), "a frame came or went");
}

#[test]
fn committed_bytes_decode_to_their_frames() {
    let bytes_of = |side: &str| -> Vec<Vec<u8>> {
        let lines = GOLDEN.lines().filter(|line| line.starts_with(side));
        let hexes = lines.map(|line| line.rsplit(" | ").next().unwrap().to_owned());
        hexes
            .map(|hex| {
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
            })
            .collect()
    };
    let decode_all = |side: &str| {
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        bytes_of(side).iter().for_each(|bytes| decoder.push(bytes));
        decoder
    };
    let mut decoder = decode_all("client");
    for (what, frame) in client_frames() {
        assert_eq!(decoder.next_frame().as_ref(), Ok(&Some(frame)), "{what}");
    }
    let mut decoder = decode_all("server");
    for (what, frame) in server_frames() {
        assert_eq!(decoder.next_frame().as_ref(), Ok(&Some(frame)), "{what}");
    }
    for (bytes, (what, message)) in bytes_of("lane").into_iter().zip(lane_messages()) {
        assert_eq!(LaneMessage::decode(&Bytes::from(bytes)), Ok(message), "{what}");
    }
}

#[test]
fn every_variant_has_golden_bytes() {
    let variants = |frames: Vec<u8>| frames.into_iter().collect::<std::collections::BTreeSet<_>>();
    let client = client_frames().iter().map(|(_, f)| codec::encode_datagram(f)[0]).collect();
    let server = server_frames().iter().map(|(_, f)| codec::encode_datagram(f)[0]).collect();
    assert_eq!(variants(client), (0..=7).collect());
    assert_eq!(variants(server), (0..=10).collect());
}
