//! How messages are written: in binary, or as JSON for people and for languages without a codec.

use bytes::Bytes;
use quoth_protocol::codec::{DecodeError, Decoder, decode, encode};
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::lane::{LaneMessage, Part, Signal, encode_frames};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::state::Side;

/// The encoding of a connection's messages, which its subprotocol names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `quoth.v1.postcard`: binary messages.
    Postcard,
    /// `quoth.v1.json`: text messages.
    Json,
}

/// A message of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A binary one.
    Binary(Bytes),
    /// A text one, in UTF-8.
    Text(String),
}

impl Message {
    /// Its length, which is what it takes of a lane's credit, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }
}

/// Why a message is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error(transparent)]
    Binary(#[from] DecodeError),
    #[error("not JSON as it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a message is an object with `lane` and one other member")]
    Members,
    #[error("a binary message where text should be, or the reverse")]
    Kind,
}

/// The messages with a lane's frames, each of which has its length, until `write` says that no more may be
/// sent. Returns how many frames are written.
pub(crate) fn write_frames(
    format: Format,
    side: Side,
    lane: u32,
    frames: &[Bytes],
    mut write: impl FnMut(Message) -> bool,
) -> usize {
    let frame_text = match (format, side) {
        (Format::Postcard, _) => {
            write(Message::Binary(encode_frames(lane, frames)));
            return frames.len();
        }
        (Format::Json, Side::Server) => frame_text::<ServerFrame>,
        (Format::Json, Side::Client) => frame_text::<ClientFrame>,
    };
    let mut count = 0;
    for frame in frames {
        count += 1;
        if !write(frame_text(lane, frame)) {
            break;
        }
    }
    count
}

/// The message that says something of a lane.
pub(crate) fn write_signal(format: Format, lane: u32, signal: Signal) -> Message {
    match format {
        Format::Postcard => Message::Binary(LaneMessage::signal(lane, signal).encode()),
        Format::Json => Message::Text(text(lane, &signal)),
    }
}

/// What a message of the other side says.
pub(crate) fn read(format: Format, side: Side, message: Message) -> Result<LaneMessage, FormatError> {
    match (format, message) {
        (Format::Postcard, Message::Binary(bytes)) => Ok(LaneMessage::decode(&bytes)?),
        (Format::Json, Message::Text(text)) => match side {
            Side::Server => parse::<ClientFrame>(&text),
            Side::Client => parse::<ServerFrame>(&text),
        },
        _ => Err(FormatError::Kind),
    }
}

/// `{"lane":1,"event":{…}}`
fn text(lane: u32, content: &impl Serialize) -> String {
    let content = serde_json::to_string(content).expect("frames have nothing that JSON cannot say");
    let members = content.strip_prefix('{').expect("every frame and signal is an object with one member");
    format!("{{\"lane\":{lane},{members}")
}

fn frame_text<F: Serialize + DeserializeOwned>(lane: u32, frame: &Bytes) -> Message {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.push(frame);
    let bytes = decoder.next_bytes().ok().flatten().expect("this side's frames are whole");
    let frame: F = decode(&bytes).expect("this side's frames are frames");
    Message::Text(text(lane, &frame))
}

fn parse<F: Serialize + DeserializeOwned>(text: &str) -> Result<LaneMessage, FormatError> {
    let mut members: Map<String, Value> = serde_json::from_str(text)?;
    let lane = u32::deserialize(members.remove("lane").ok_or(FormatError::Members)?)?;
    let (Some(name), 1) = (members.keys().next(), members.len()) else { return Err(FormatError::Members) };
    let is_signal = matches!(name.as_str(), "finish" | "reset" | "credit" | "ping" | "pong");
    let content = Value::Object(members);
    if is_signal {
        return Ok(LaneMessage::signal(lane, Signal::deserialize(content)?));
    }
    Ok(LaneMessage { lane, part: Part::Frames(encode(&F::deserialize(content)?)) })
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Code;
    use quoth_protocol::frame::{Event, EventKind, Open, Present, Publish, Start};
    use quoth_protocol::presence::Status;
    use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

    use super::*;

    fn written(frame: &impl Serialize) -> String {
        text(1, frame)
    }

    fn parsed(text: &str) -> Result<ClientFrame, String> {
        let message =
            read(Format::Json, Side::Server, Message::Text(text.to_owned())).map_err(|e| e.to_string())?;
        let Part::Frames(frame) = message.part else { panic!("no frame: {text}") };
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        decoder.push(&frame);
        Ok(decoder.next_frame().unwrap().unwrap())
    }

    #[test]
    fn frames_are_written_as_the_protocol_shows_them() {
        let user = |text| UserId::new(text).unwrap();
        let event = |body: &'static [u8]| {
            let (seq, time_ms, sender, origin_time_ms) = (Seq(7), 8, user("bob"), None);
            let kind = EventKind::message(body);
            ServerFrame::Event(Event { seq, time_ms, sender, origin_time_ms, kind })
        };
        let hello = r#"{"lane":1,"event":{"seq":7,"time_ms":8,"sender":"bob","origin_time_ms":null,"kind":{"message":{"body":"hello","reply_to":null,"mentions":[],"expires_ms":0}}}}"#;
        assert_eq!(written(&event(b"hello")), hello);
        assert!(written(&event(b"\xFF\x00")).contains(r#""body":{"base64":"/wA="}"#));
        let present = vec![Present { user: user("a"), seen: Seq(3), status: Status::Away }];
        let roster = r#"{"lane":1,"roster":{"users":1,"present":[{"user":"a","seen":3,"status":"away"}]}}"#;
        assert_eq!(written(&ServerFrame::Roster { users: 1, present }), roster);
        assert_eq!(
            written(&ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 5, reason: "bye".into() }),
            r#"{"lane":1,"go_away":{"code":256,"retry_after_ms":5,"reason":"bye"}}"#
        );
        assert_eq!(written(&Signal::Finish {}), r#"{"lane":1,"finish":{}}"#);
    }

    #[test]
    fn frames_are_read_with_what_may_be_left_out() {
        let open = |from| {
            let (conversation, producer) = (ConversationName::new("general").unwrap(), ProducerId(5));
            Ok(ClientFrame::Open(Open { conversation, producer, from }))
        };
        assert_eq!(parsed(r#"{"lane":1,"open":{"conversation":"general","producer":5}}"#), open(None));
        let with = |from: &str| {
            parsed(&format!(r#"{{"open":{{"conversation":"general","producer":5,"from":{from}}},"lane":1}}"#))
        };
        assert_eq!(with("null"), open(None));
        assert_eq!(with(r#""live""#), open(Some(Start::Live)));
        assert_eq!(with(r#"{"last":50}"#), open(Some(Start::Last(50))));
        let publish = |body: &'static [u8]| Ok(ClientFrame::Publish(Publish::new(1, body)));
        assert_eq!(
            parsed(r#"{"lane":1,"publish":{"n":1,"body":"gr\u00fc\u00dfe"}}"#),
            publish("grüße".as_bytes())
        );
        assert_eq!(parsed(r#"{"lane":1,"publish":{"n":1,"body":{"base64":"/wA="}}}"#), publish(b"\xFF\x00"));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let bad = [
            "",
            "1",
            "[]",
            r#"{"lane":1}"#,
            r#"{"lane":1,"read":{},"seen":{"seq":1}}"#,
            r#"{"lane":-1,"read":{}}"#,
            r#"{"lane":1,"seen":{"seq":1,"more":1}}"#,
            r#"{"lane":1,"unheard_of":{}}"#,
            r#"{"lane":1,"typing":{"conversation":""}}"#,
            r#"{"lane":1,"publish":{"n":1,"body":{"base64":"*"}}}"#,
            r#"{"lane":1,"publish":{"n":-1,"body":"x"}}"#,
            r#"{"lane":1,"credit":{"bytes":5000000000}}"#,
            r#"{"lane":1,"event":{}}"#,
        ];
        for text in bad {
            assert!(read(Format::Json, Side::Server, Message::Text(text.to_owned())).is_err(), "{text}");
        }
        assert!(read(Format::Json, Side::Server, Message::Binary(Bytes::from_static(b"{}"))).is_err());
        assert!(read(Format::Postcard, Side::Server, Message::Text(String::new())).is_err());
    }
}
