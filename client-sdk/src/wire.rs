//! Frames over a connection's streams. Both halves are cancel-safe, so that one task can wait for both at
//! once.

use std::collections::VecDeque;

use bytes::Bytes;
use quoth_protocol::codec::{DecodeError, Decoder, decode, encode};
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, Seq, UserId};

use crate::state::Reason;
use crate::transport::{RecvHalf, SendHalf};

/// The number of the last `ServerFrame` variant that this version knows.
const LAST_KNOWN_VARIANT: u32 = 15;

/// The number of `ServerFrame::Event`.
const EVENT_VARIANT: u32 = 4;

/// The number of the last `EventKind` that this version knows.
const LAST_KNOWN_KIND: u32 = 18;

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Frame(ServerFrame),
    /// An event of a kind that this version does not know.
    UnknownEvent {
        seq: Seq,
        time_ms: u64,
        sender: UserId,
    },
}

/// Why a stream gives or takes nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The server finished its side.
    Finished,
    /// The server reset or stopped the stream.
    Reset(Code),
    /// The connection is gone.
    ConnectionLost(Reason),
    /// The bytes are no frames.
    Protocol(String),
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvHalf,
    decoder: Decoder,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvHalf) -> Self {
        Self { stream, decoder: Decoder::new(FRAME_BYTES_MAX) }
    }

    /// The next frame that this version knows. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Incoming, StreamEnd> {
        loop {
            if let Some(incoming) = self.buffered()? {
                return Ok(incoming);
            }
            match self.stream.read().await? {
                Some(bytes) => self.decoder.push(&bytes),
                None if self.decoder.is_mid_frame() => {
                    return Err(StreamEnd::Protocol("a stream ends inside a frame".to_owned()));
                }
                None => return Err(StreamEnd::Finished),
            }
        }
    }

    /// The next frame among the bytes that are here already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Incoming>, StreamEnd> {
        let bad = |e: DecodeError| StreamEnd::Protocol(e.to_string());
        while let Some(bytes) = self.decoder.next_bytes().map_err(bad)? {
            if let Some(incoming) = incoming(&bytes).map_err(bad)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// Tells the server that nothing more is read here.
    pub(crate) fn stop(&mut self, code: Code) {
        self.stream.stop(code);
    }
}

/// Decodes a frame without its length; `None` is one to skip.
pub(crate) fn incoming(bytes: &[u8]) -> Result<Option<Incoming>, DecodeError> {
    let (variant, rest): (u32, _) = postcard::take_from_bytes(bytes).map_err(DecodeError::BadFrame)?;
    if variant > LAST_KNOWN_VARIANT {
        return Ok(None);
    }
    match decode(bytes) {
        Ok(frame) => Ok(Some(Incoming::Frame(frame))),
        Err(e) if variant == EVENT_VARIANT => unknown_event(rest).map(Some).ok_or(e),
        Err(e) => Err(e),
    }
}

/// What every event begins with, if the kind that follows is one that this version does not know.
fn unknown_event(fields: &[u8]) -> Option<Incoming> {
    type Head = (Seq, u64, UserId, Option<u64>, u32);
    let ((seq, time_ms, sender, _, kind), _): (Head, _) = postcard::take_from_bytes(fields).ok()?;
    (kind > LAST_KNOWN_KIND).then_some(Incoming::UnknownEvent { seq, time_ms, sender })
}

/// The sending half of a stream and the frames that wait to be written.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    stream: SendHalf,
    waiting: VecDeque<Bytes>,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendHalf) -> Self {
        Self { stream, waiting: VecDeque::new() }
    }

    /// Puts a frame behind those that wait.
    pub(crate) fn push(&mut self, frame: &ClientFrame) {
        self.waiting.push_back(encode(frame));
    }

    /// Frames that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Writes some of what waits. Cancel-safe: what has been written has left the queue.
    pub(crate) async fn write_some(&mut self) -> Result<(), StreamEnd> {
        let written = self.stream.write(self.waiting.make_contiguous()).await?;
        self.waiting.drain(..written);
        Ok(())
    }

    /// Writes all that waits. Cancel-safe.
    pub(crate) async fn write_all(&mut self) -> Result<(), StreamEnd> {
        while !self.waiting.is_empty() {
            self.write_some().await?;
        }
        Ok(())
    }

    /// Says that nothing more follows.
    pub(crate) fn finish(&mut self) {
        self.stream.finish();
    }

    /// Abandons the stream.
    pub(crate) fn reset(&mut self, code: Code) {
        self.stream.reset(code);
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::ConversationName;
    use quoth_protocol::codec::encode_datagram;
    use quoth_protocol::frame::{Event, EventKind};
    use quoth_protocol::inbox::InboxRow;

    use super::*;

    fn event_bytes() -> Vec<u8> {
        let kind = EventKind::message(Bytes::new());
        let sender = UserId::new("alice").unwrap();
        let event = Event { seq: Seq(7), time_ms: 8, sender, origin_time_ms: None, kind };
        encode_datagram(&ServerFrame::Event(event)).to_vec()
    }

    #[test]
    fn later_versions_frames_are_skipped_and_their_events_counted() {
        assert_eq!(incoming(&[u8::try_from(LAST_KNOWN_VARIANT).unwrap() + 1, 1, 2, 3]), Ok(None));
        assert!(matches!(incoming(&event_bytes()), Ok(Some(Incoming::Frame(ServerFrame::Event(_))))));
        let mut later = event_bytes();
        later.truncate(later.len() - encode_datagram(&EventKind::message(Bytes::new())).len());
        later.extend([u8::try_from(LAST_KNOWN_KIND).unwrap() + 1, 9, 9, 9]);
        let sender = UserId::new("alice").unwrap();
        assert_eq!(incoming(&later), Ok(Some(Incoming::UnknownEvent { seq: Seq(7), time_ms: 8, sender })));
    }

    #[test]
    fn broken_frames_of_a_known_kind_are_errors() {
        let mut broken = event_bytes();
        broken.push(0);
        assert_eq!(incoming(&broken), Err(DecodeError::TrailingBytes(1)));
        assert!(incoming(&[]).is_err());
        assert!(incoming(&[3]).is_err());
    }

    #[test]
    fn the_last_known_variant_is_the_protocol_s_last() {
        let conversation = ConversationName::new("c").unwrap();
        let row = InboxRow {
            conversation: conversation.clone(),
            kind: None,
            title: String::new(),
            head: Seq(0),
            time_ms: 0,
            last: None,
            unread: 0,
            mentions: 0,
            read: Seq(0),
            archived: false,
            muted_until_ms: 0,
            pinned: false,
            gone: true,
            version: 1,
            stale_ms: 0,
        };
        let row = ServerFrame::InboxRow { known: 1, row: Box::new(row) };
        assert_eq!(u32::from(encode_datagram(&row)[0]), LAST_KNOWN_VARIANT);
        assert_eq!(u32::from(event_bytes()[0]), EVENT_VARIANT);
        let kind = EventKind::InboxSet { conversation, archived: true, muted_until_ms: 0, pinned: false };
        assert_eq!(u32::from(encode_datagram(&kind)[0]), LAST_KNOWN_KIND);
    }
}
