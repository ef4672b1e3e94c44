//! The bytes of every frame, as committed in `golden/frames.txt`, and its JSON, as in `golden/json.txt`. A
//! difference is a change of the wire: it belongs in `docs/PROTOCOL.md` and in every client too.
//! `QUOTH_WRITE_GOLDEN=1 cargo test -p quoth-protocol` writes the files.

#[path = "golden/client.rs"]
mod client;
#[path = "golden/events.rs"]
mod events;
#[path = "golden/messages.rs"]
mod messages;
#[path = "golden/requests.rs"]
mod requests;
#[path = "golden/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use quoth_protocol::codec::{self, Decoder};
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::lane::{LaneMessage, Part, Signal};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, ConversationName, DeviceId, Seq, UserId};

const GOLDEN: &str = include_str!("../golden/frames.txt");
const GOLDEN_JSON: &str = include_str!("../golden/json.txt");
const TIME_MS: u64 = 1_790_000_000_000;

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn device(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn client_frames() -> Vec<(String, ClientFrame)> {
    named(client::frames()).chain(requests::requests()).collect()
}

fn server_frames() -> Vec<(String, ServerFrame)> {
    named(server::frames()).chain(events::events()).chain(requests::replies()).collect()
}

fn named<F>(frames: Vec<(&'static str, F)>) -> impl Iterator<Item = (String, F)> {
    frames.into_iter().map(|(what, frame)| (what.to_owned(), frame))
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

fn rendered_json() -> String {
    let mut text = String::from("# side | frame | JSON, without the lane\n");
    for (what, frame) in client_frames() {
        writeln!(text, "client | {what} | {}", serde_json::to_string(&frame).unwrap()).unwrap();
    }
    for (what, frame) in server_frames() {
        writeln!(text, "server | {what} | {}", serde_json::to_string(&frame).unwrap()).unwrap();
    }
    text
}

fn is_as_committed(file: &str, committed: &str, rendered: &str) {
    if std::env::var_os("QUOTH_WRITE_GOLDEN").is_some() {
        let path = format!("{}/golden/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, rendered).unwrap();
        return;
    }
    for (committed, now) in committed.lines().zip(rendered.lines()) {
        assert_eq!(committed, now, "the wire changed");
    }
    assert_eq!(committed.lines().count(), rendered.lines().count(), "a frame came or went");
}

#[test]
fn frames_have_their_committed_bytes_and_json() {
    is_as_committed("frames.txt", GOLDEN, &rendered());
    is_as_committed("json.txt", GOLDEN_JSON, &rendered_json());
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
    fn numbers<F: serde::Serialize>(values: impl IntoIterator<Item = F>) -> BTreeSet<u8> {
        values.into_iter().map(|value| codec::encode_datagram(&value)[0]).collect()
    }
    assert_eq!(numbers(client_frames().into_iter().map(|(_, frame)| frame)), (0..=9).collect());
    assert_eq!(numbers(server_frames().into_iter().map(|(_, frame)| frame)), (0..=15).collect());
    let requests = client_frames().into_iter().filter_map(|(_, frame)| match frame {
        ClientFrame::Request { request, .. } => Some(request),
        _ => None,
    });
    assert_eq!(numbers(requests), (0..=29).collect());
    let replies = server_frames().into_iter().filter_map(|(_, frame)| match frame {
        ServerFrame::Reply { reply, .. } => Some(reply),
        _ => None,
    });
    assert_eq!(numbers(replies), (0..=12).collect());
    let kinds = server_frames().into_iter().filter_map(|(_, frame)| match frame {
        ServerFrame::Event(event) => Some(event.kind),
        _ => None,
    });
    assert_eq!(numbers(kinds), (0..=18).collect());
}

#[test]
fn frames_come_back_from_json() {
    let text_of = |line: &str| line.splitn(3, " | ").last().unwrap().to_owned();
    let texts = |side: &str| {
        GOLDEN_JSON.lines().filter(|line| line.starts_with(side)).map(text_of).collect::<Vec<_>>()
    };
    for ((what, frame), text) in client_frames().into_iter().zip(texts("client")) {
        assert_eq!(serde_json::from_str::<ClientFrame>(&text).unwrap(), frame, "{what}: {text}");
    }
    for ((what, frame), text) in server_frames().into_iter().zip(texts("server")) {
        assert_eq!(serde_json::from_str::<ServerFrame>(&text).unwrap(), frame, "{what}: {text}");
    }
}
