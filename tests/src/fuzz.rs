//! What holds for any bytes that a peer sends. `tests/fuzz` runs these functions on what a fuzzer thinks up,
//! and `tests/tests/fuzz_corpus.rs` on the committed corpus.

use std::fmt::Debug;

use quoth_protocol::codec::{self, DecodeError, Decoder, LENGTH_BYTES_MAX};
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A property of any bytes: panics when it does not hold.
pub type Property = fn(&[u8]);

/// Every property, by the name of its fuzz target and of its folder in the corpus.
pub const TARGETS: &[(&str, Property)] = &[
    ("decode_client_frame", client_frame),
    ("decode_server_frame", server_frame),
    ("decode_stream", stream),
];

/// Bytes without a length either are no client frame, or one that survives encoding.
///
/// # Panics
/// When that does not hold.
pub fn client_frame(data: &[u8]) {
    if let Ok(frame) = codec::decode::<ClientFrame>(data) {
        assert_survives_encoding(&frame);
    }
}

/// Bytes without a length either are no server frame, or one that survives encoding.
///
/// # Panics
/// When that does not hold.
pub fn server_frame(data: &[u8]) {
    if let Ok(frame) = codec::decode::<ServerFrame>(data) {
        assert_survives_encoding(&frame);
    }
}

/// A stream gives the same frames and the same error however it is cut into chunks, no frame over the limit,
/// and each frame's bytes can be put back together. The first byte says how to cut, the rest is the stream.
///
/// # Panics
/// When that does not hold.
pub fn stream(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = decode_all(stream, stream.len());
    let chunked = decode_all(stream, usize::from(cut) + 1);
    assert_eq!(whole, chunked, "a stream cut into chunks decodes otherwise");
    let mut at = 0;
    for frame in &whole.frames {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        let prefix_len = prefix_len(frame.len());
        at += prefix_len + frame.len();
        assert_eq!(&stream[at - frame.len()..at], &frame[..], "a frame is not the bytes that were sent");
        client_frame(frame);
        server_frame(frame);
    }
    if whole.error.is_none() {
        assert_eq!(whole.ends_mid_frame, at < stream.len(), "bytes of the stream were lost");
    }
}

#[derive(Debug, PartialEq)]
struct Decoded {
    frames: Vec<Vec<u8>>,
    error: Option<DecodeError>,
    ends_mid_frame: bool,
}

fn decode_all(stream: &[u8], chunk_len: usize) -> Decoded {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let mut frames = Vec::new();
    for chunk in stream.chunks(chunk_len.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_bytes() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return Decoded { frames, error: Some(error), ends_mid_frame: true },
            }
        }
    }
    Decoded { frames, error: None, ends_mid_frame: decoder.is_mid_frame() }
}

fn prefix_len(frame_len: usize) -> usize {
    (1..LENGTH_BYTES_MAX).find(|bytes| frame_len < 1 << (7 * bytes)).unwrap_or(LENGTH_BYTES_MAX)
}

fn assert_survives_encoding<F: Serialize + DeserializeOwned + PartialEq + Debug>(frame: &F) {
    let bytes = codec::encode_datagram(frame);
    assert_eq!(codec::decode::<F>(&bytes).as_ref(), Ok(frame), "a frame does not survive encoding");
    let mut decoder = Decoder::new(bytes.len());
    decoder.push(&codec::encode(frame));
    let with_length = decoder.next_frame::<F>().expect("a frame with its length decodes");
    assert_eq!(with_length.as_ref(), Some(frame), "a frame does not survive encoding with its length");
    assert!(!decoder.is_mid_frame(), "a frame's length is too small");
}

#[cfg(test)]
mod tests {
    use super::{client_frame, prefix_len, server_frame, stream};

    #[test]
    fn every_frame_of_one_byte_and_of_two_holds() {
        for first in 0..=u8::MAX {
            client_frame(&[first]);
            server_frame(&[first]);
            for second in 0..=u8::MAX {
                client_frame(&[first, second]);
                server_frame(&[first, second]);
                stream(&[0, first, second]);
            }
        }
    }

    #[test]
    fn a_length_has_as_many_bytes_as_it_needs() {
        for (len, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (73_728, 3)] {
            assert_eq!(prefix_len(len), bytes, "{len}");
        }
    }
}
