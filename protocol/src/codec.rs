//! Frames to bytes and back: a varint length and the postcard encoding of the frame. The same on QUIC streams
//! and in WebSocket messages; a datagram is one frame without the length.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The length is over the limit in force.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// The length that the peer announced, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The length is not a varint in its shortest form, of at most [`LENGTH_BYTES_MAX`] bytes.
    #[error("a frame's length is not a varint in its shortest form")]
    BadLength,
    /// The bytes are no frame of this version.
    #[error("not a frame of this version: {0}")]
    BadFrame(postcard::Error),
    /// The frame ends before its bytes do.
    #[error("{0} bytes are left over behind a frame")]
    TrailingBytes(usize),
    /// A message without what it should hold.
    #[error("the message is empty")]
    Empty,
    /// A message whose last frame goes on behind its end.
    #[error("the message ends inside a frame")]
    Cut,
}

/// Bytes of the largest length prefix; three carry 21 bits, enough for every limit.
pub const LENGTH_BYTES_MAX: usize = 3;

/// Encodes a frame with its length.
///
/// # Panics
/// When the frame is over 2 MiB, which no frame within its limits is.
#[must_use]
pub fn encode<F: Serialize>(frame: &F) -> Bytes {
    let mut buffer = Vec::new();
    encode_to(frame, &mut buffer);
    Bytes::from(buffer)
}

/// Frames with their lengths, one behind the other in one buffer: such as live and go together, at the cost of one
/// allocation for all of them.
#[derive(Debug, Clone, Default)]
pub struct Run {
    bytes: Bytes,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Run {
    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of frames by their numbers from 0 on; of those that there are.
    #[must_use]
    pub fn slice(&self, frames: Range<usize>) -> Bytes {
        let end_of = |count: usize| match count.min(self.len()) {
            0 => 0,
            count => self.ends[count - 1],
        };
        let (from, to) = (end_of(frames.start), end_of(frames.end));
        self.bytes.slice(from..to.max(from))
    }

    /// Each frame by itself.
    pub fn frames(&self) -> impl Iterator<Item = Bytes> {
        (0..self.len()).map(|i| self.slice(i..i + 1))
    }
}

/// A [`Run`] that is being made, for frames that come one by one.
#[derive(Debug, Default)]
pub struct RunBuilder {
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl RunBuilder {
    /// One without frames, that has room for so many bytes of them.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ends: Vec::new() }
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// As [`encode`].
    pub fn push<F: Serialize>(&mut self, frame: &F) {
        self.ends.push(encode_to(frame, &mut self.buffer));
    }

    /// Bytes of its frames.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The run.
    #[must_use]
    pub fn build(mut self) -> Run {
        // Whoever holds one of its frames holds all of the buffer.
        if self.buffer.capacity() / 2 > self.buffer.len() {
            self.buffer.shrink_to_fit();
        }
        Run { bytes: Bytes::from(self.buffer), ends: self.ends }
    }
}

/// Appends a frame with its length; says where it ends.
fn encode_to<F: Serialize>(frame: &F, buffer: &mut Vec<u8>) -> usize {
    /// Of most frames: with another one their bytes are moved.
    const USUAL_PREFIX_BYTES: usize = 2;
    let start = buffer.len();
    buffer.resize(start + USUAL_PREFIX_BYTES, 0);
    *buffer = to_vec(frame, std::mem::take(buffer));
    let mut len = buffer.len() - start - USUAL_PREFIX_BYTES;
    assert!(len < 1 << (7 * LENGTH_BYTES_MAX), "a frame of {len} bytes has no length prefix");
    let prefix_len = if len < 1 << 7 {
        buffer.remove(start);
        1
    } else if len < 1 << 14 {
        2
    } else {
        buffer.insert(start, 0);
        3
    };
    for (i, byte) in buffer[start..start + prefix_len].iter_mut().enumerate() {
        let continues = if i + 1 < prefix_len { 0x80 } else { 0 };
        *byte = (len & 0x7F).to_le_bytes()[0] | continues;
        len >>= 7;
    }
    buffer.len()
}

/// Encodes a frame without its length, for a datagram.
#[must_use]
pub fn encode_datagram<F: Serialize>(frame: &F) -> Bytes {
    Bytes::from(to_vec(frame, Vec::new()))
}

fn to_vec<F: Serialize>(frame: &F, head: Vec<u8>) -> Vec<u8> {
    let encoded = postcard::serialize_with_flavor(frame, Buffer(head));
    encoded.expect("a frame holds nothing that postcard cannot encode")
}

/// What frames are encoded into. postcard's own way with a vector extends it by an iterator, also for the single
/// bytes that numbers and variants are.
struct Buffer(Vec<u8>);

impl Flavor for Buffer {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Decodes a frame from exactly its bytes, without a length.
///
/// # Errors
/// [`DecodeError::BadFrame`] and [`DecodeError::TrailingBytes`].
pub fn decode<F: DeserializeOwned>(bytes: &[u8]) -> Result<F, DecodeError> {
    let (frame, rest) = postcard::take_from_bytes(bytes).map_err(DecodeError::BadFrame)?;
    if rest.is_empty() { Ok(frame) } else { Err(DecodeError::TrailingBytes(rest.len())) }
}

/// Cuts a stream of bytes into frames. Holds at most one incomplete frame and what came in the same chunk.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl Decoder {
    /// A decoder that refuses frames of over `frame_bytes_max` bytes.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Changes the limit, for a stream whose kind its first frame has told.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Whether a frame has begun that is not complete.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next complete frame, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// Every [`DecodeError`]; the stream cannot be read on after one.
    pub fn next_frame<F: DeserializeOwned>(&mut self) -> Result<Option<F>, DecodeError> {
        // Decoded where it lies: frames own what they hold, so none keeps the buffer.
        let Some(frame) = self.next_range()? else { return Ok(None) };
        let (decoded, end) = (decode(&self.buffer[frame.clone()]), frame.end);
        self.buffer.advance(end);
        decoded.map(Some)
    }

    /// The next complete frame's bytes without the length, for a reader that skips frames which it does not
    /// know.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] and [`DecodeError::BadLength`].
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(frame) = self.next_range()? else { return Ok(None) };
        self.buffer.advance(frame.start);
        Ok(Some(self.buffer.split_to(frame.len()).freeze()))
    }

    /// Where the next complete frame's bytes lie in the buffer, without the length.
    fn next_range(&mut self) -> Result<Option<Range<usize>>, DecodeError> {
        let Some((len, prefix_len)) = self.length()? else { return Ok(None) };
        let end = prefix_len + len;
        if self.buffer.len() < end {
            self.buffer.reserve(end - self.buffer.len());
            return Ok(None);
        }
        Ok(Some(prefix_len..end))
    }

    fn length(&self) -> Result<Option<(usize, usize)>, DecodeError> {
        match frame_length(&self.buffer)? {
            Some((len, _)) if len > self.frame_bytes_max => {
                Err(DecodeError::TooLarge { len, max: self.frame_bytes_max })
            }
            length => Ok(length),
        }
    }
}

/// The frames of a chunk of whole ones, each by itself.
pub fn frames_of(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let bytes = match frame_length(&chunk) {
            Ok(Some((len, prefix_len))) => (prefix_len + len).min(chunk.len()),
            _ => chunk.len(),
        };
        (bytes > 0).then(|| chunk.split_to(bytes))
    })
}

/// The length that the frame at the front of `bytes` has, and that of its length prefix; `None` until the
/// prefix is whole.
///
/// # Errors
/// [`DecodeError::BadLength`].
pub fn frame_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut len = 0_usize;
    for (i, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            if i > 0 && *byte == 0 {
                return Err(DecodeError::BadLength);
            }
            return Ok(Some((len, i + 1)));
        }
    }
    if bytes.len() >= LENGTH_BYTES_MAX { Err(DecodeError::BadLength) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{DecodeError, Decoder, RunBuilder, decode, encode, encode_datagram, frames_of};
    use crate::frame::{ClientFrame, Publish, ServerFrame};
    use crate::id::Seq;
    use crate::limits::FRAME_BYTES_MAX;

    fn publish(len: usize) -> ClientFrame {
        ClientFrame::Publish(Publish::new(1, vec![7; len]))
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames() {
        let frames = [publish(0), publish(100), publish(300), publish(20_000), publish(64 * 1024)];
        let stream: Vec<u8> = frames.iter().flat_map(|f| encode(f).to_vec()).collect();
        for step in [1, 2, 3, 127, 4096, stream.len()] {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            let mut got: Vec<ClientFrame> = Vec::new();
            for chunk in stream.chunks(step) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames);
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn lengths_over_the_limit_or_not_in_shortest_form_are_refused() {
        let mut decoder = Decoder::new(100);
        decoder.push(&encode(&publish(200)));
        assert!(matches!(decoder.next_frame::<ClientFrame>(), Err(DecodeError::TooLarge { max: 100, .. })));
        for bad in [&[0x80, 0x00][..], &[0x80, 0x80, 0x80], &[0xFF, 0xFF, 0xFF]] {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            decoder.push(bad);
            assert_eq!(decoder.next_bytes(), Err(DecodeError::BadLength));
        }
    }

    #[test]
    fn a_run_of_frames_is_cut_between_them() {
        let frames = [publish(0), publish(200), publish(20_000), publish(1)];
        let mut run = RunBuilder::with_capacity(0);
        frames.iter().for_each(|frame| run.push(frame));
        let run = run.build();
        let each: Vec<Bytes> = frames.iter().map(encode).collect();
        assert_eq!(run.frames().collect::<Vec<_>>(), each);
        assert_eq!(frames_of(run.slice(0..run.len())).collect::<Vec<_>>(), each);
        assert_eq!(run.slice(1..3), each[1..3].concat());
        assert_eq!((run.len(), run.slice(4..9).len(), frames_of(Bytes::new()).count()), (4, 0, 0));
    }

    #[test]
    fn bytes_behind_a_frame_are_refused() {
        let frame = ServerFrame::Gap { from: Seq(1), to: Seq(2) };
        let mut bytes = encode_datagram(&frame).to_vec();
        assert_eq!(decode::<ServerFrame>(&bytes), Ok(frame));
        bytes.push(0);
        assert_eq!(decode::<ServerFrame>(&bytes), Err(DecodeError::TrailingBytes(1)));
    }
}
