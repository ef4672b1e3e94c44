//! Messages of a WebSocket, on which lanes stand for the streams of QUIC.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::codec::{DecodeError, frame_length};

/// The lane that is the control stream.
pub const CONTROL_LANE: u32 = 0;

/// Bytes in front of a message's frames, at most: the lane's number and the part's.
pub const LANE_HEADER_BYTES_MAX: usize = 6;

/// The number of [`Part::Frames`].
const FRAMES: u8 = 0;

/// One message of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneMessage {
    /// Which lane it is of.
    pub lane: u32,
    /// What it is.
    pub part: Part,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One or more whole frames, each with its length as on a stream.
    Frames(Bytes),
    /// Anything else.
    Signal(Signal),
}

/// What a message says of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Signal {
    /// The sender's side of the lane is finished.
    Finish {},
    /// The lane is reset, in both directions at once.
    Reset {
        /// Why.
        code: Code,
    },
    /// The receiver of this may send more on the lane.
    Credit {
        /// So many bytes more.
        bytes: u32,
    },
    /// Asks for a [`Signal::Pong`]; on lane 0.
    Ping {
        /// Any number.
        n: u64,
    },
    /// Answers a [`Signal::Ping`]; on lane 0.
    Pong {
        /// The number that was asked with.
        n: u64,
    },
}

impl LaneMessage {
    /// A message that says something of a lane.
    #[must_use]
    pub fn signal(lane: u32, signal: Signal) -> Self {
        Self { lane, part: Part::Signal(signal) }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match &self.part {
            Part::Frames(frames) => encode_frames(self.lane, std::slice::from_ref(frames)),
            Part::Signal(signal) => {
                let bytes = postcard::to_extend(&(self.lane, signal), Vec::new());
                let mut bytes = bytes.expect("a signal holds nothing that postcard cannot encode");
                // A signal's number follows that of the frames, which are no variant of it.
                let part = varint_len(self.lane);
                bytes[part] += 1;
                Bytes::from(bytes)
            }
        }
    }

    /// Decodes a message. Frames are only cut, not decoded.
    ///
    /// # Errors
    /// Every [`DecodeError`]; among them [`DecodeError::Empty`] when there is no frame where frames should
    /// be, and [`DecodeError::Cut`] when the last one is not whole.
    pub fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let (lane, rest): (u32, &[u8]) = postcard::take_from_bytes(message).map_err(DecodeError::BadFrame)?;
        let header_len = message.len() - rest.len() + 1;
        if header_len - 1 != varint_len(lane) {
            return Err(DecodeError::BadLength);
        }
        match rest.first() {
            None => Err(DecodeError::Empty),
            Some(&FRAMES) => {
                let frames = message.slice(header_len..);
                check_whole(&frames)?;
                Ok(Self { lane, part: Part::Frames(frames) })
            }
            Some(&part) => {
                let mut signal = rest.to_vec();
                signal[0] = part - 1;
                Ok(Self::signal(lane, crate::codec::decode(&signal)?))
            }
        }
    }
}

/// The message of a lane with these frames, which have their lengths; one copy of each.
#[must_use]
pub fn encode_frames(lane: u32, frames: &[Bytes]) -> Bytes {
    let len: usize = frames.iter().map(Bytes::len).sum();
    let mut message = BytesMut::with_capacity(LANE_HEADER_BYTES_MAX + len);
    let mut rest = lane;
    while rest >= 0x80 {
        message.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    message.put_u8(rest.to_le_bytes()[0]);
    message.put_u8(FRAMES);
    frames.iter().for_each(|frame| message.extend_from_slice(frame));
    message.freeze()
}

fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

fn check_whole(frames: &[u8]) -> Result<(), DecodeError> {
    if frames.is_empty() {
        return Err(DecodeError::Empty);
    }
    let mut rest = frames;
    while !rest.is_empty() {
        let Some((len, prefix_len)) = frame_length(rest)? else { return Err(DecodeError::Cut) };
        rest = rest.get(prefix_len + len..).ok_or(DecodeError::Cut)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{LaneMessage, Part, Signal, encode_frames, varint_len};
    use crate::code::Code;
    use crate::codec::{DecodeError, encode};
    use crate::frame::ServerFrame;
    use crate::id::Seq;

    fn decode(bytes: &[u8]) -> Result<LaneMessage, DecodeError> {
        LaneMessage::decode(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn messages_decode_to_what_was_encoded() {
        let frame = encode(&ServerFrame::Gap { from: Seq(1), to: Seq(2) });
        for lane in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let frames = Part::Frames(Bytes::from([&frame[..], &frame[..]].concat()));
            let mut messages = vec![LaneMessage { lane, part: frames }];
            let signals = [
                Signal::Finish {},
                Signal::Reset { code: Code::FORBIDDEN },
                Signal::Credit { bytes: u32::MAX },
                Signal::Ping { n: u64::MAX },
                Signal::Pong { n: 0 },
            ];
            messages.extend(signals.map(|signal| LaneMessage::signal(lane, signal)));
            for message in messages {
                assert_eq!(decode(&message.encode()), Ok(message.clone()));
            }
            assert_eq!(encode_frames(lane, &[]).len(), varint_len(lane) + 1);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(decode(&[]).is_err());
        assert_eq!(decode(&[1]), Err(DecodeError::Empty));
        assert_eq!(decode(&[1, 0]), Err(DecodeError::Empty));
        assert_eq!(decode(&[1, 0, 2, 1]), Err(DecodeError::Cut), "a frame of two bytes, of which one came");
        assert_eq!(decode(&[1, 0, 0x80]), Err(DecodeError::Cut));
        assert_eq!(decode(&[0x81, 0, 1]), Err(DecodeError::BadLength), "not the shortest form");
        assert!(decode(&[1, 6, 0]).is_err(), "no such part");
        assert_eq!(decode(&[1, 1, 0]), Err(DecodeError::TrailingBytes(1)));
    }
}
