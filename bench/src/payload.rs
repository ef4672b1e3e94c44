//! What a message of the bench carries: who sent it, as which, when it was due, and a checksum over all of
//! it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the stamp in front of each body; no payload is shorter.
pub const STAMP_BYTES: usize = 28;

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which member of the whole load has sent it.
    pub publisher: u32,
    /// Its number among that member's messages, from 0.
    pub n: u64,
    /// When it was due, behind the load's epoch. Not when it was sent: a sender that is held up shows as
    /// latency.
    pub due: Duration,
}

/// A message: a stamp and what fills it up, which is a text or made from `n`.
#[must_use]
pub fn encode(stamp: Stamp, bytes: usize, text: Option<&[u8]>) -> Bytes {
    let filler = text.map_or_else(|| bytes.saturating_sub(STAMP_BYTES), <[u8]>::len);
    let mut body = Vec::with_capacity(STAMP_BYTES + filler);
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&stamp.publisher.to_le_bytes());
    body.extend_from_slice(&stamp.n.to_le_bytes());
    body.extend_from_slice(&u64::try_from(stamp.due.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
    match text {
        Some(text) => body.extend_from_slice(text),
        // Every message has other bytes, so that one in another's place is found.
        None => {
            let alphabet = (b'a'..=b'z').cycle();
            let offset = usize::try_from(stamp.n % 26).unwrap_or_default();
            body.extend(alphabet.skip(offset).take(filler));
        }
    }
    let checksum = xxh3_64(&body[8..]).to_le_bytes();
    body[..8].copy_from_slice(&checksum);
    body.into()
}

/// Reads a message; `None` when it is not, byte for byte, one that [`encode`] has made.
#[must_use]
pub fn decode(body: &[u8]) -> Option<Stamp> {
    let (checksum, rest) = body.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*checksum) != xxh3_64(rest) {
        return None;
    }
    let (publisher, rest) = rest.split_first_chunk::<4>()?;
    let (n, rest) = rest.split_first_chunk::<8>()?;
    let (due, _) = rest.split_first_chunk::<8>()?;
    Some(Stamp {
        publisher: u32::from_le_bytes(*publisher),
        n: u64::from_le_bytes(*n),
        due: Duration::from_nanos(u64::from_le_bytes(*due)),
    })
}

/// How old a message is that was due at `due` behind `epoch`.
#[must_use]
pub fn age(epoch: Instant, due: Duration, now: Instant) -> Duration {
    now.saturating_duration_since(epoch + due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { publisher: 7, n: 1_000_000, due: Duration::from_nanos(12_345_678_901) };

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(&encode(STAMP, 200, None)), Some(STAMP));
        assert_eq!(encode(STAMP, 200, None).len(), 200);
        assert_eq!(encode(STAMP, 0, None).len(), STAMP_BYTES);
        assert_eq!(decode(&encode(STAMP, 0, Some(b"hello"))), Some(STAMP));
    }

    #[test]
    fn any_altered_byte_is_found() {
        let whole = encode(STAMP, 60, None);
        for i in 0..whole.len() {
            let mut altered = whole.to_vec();
            altered[i] ^= 1;
            assert_eq!(decode(&altered), None, "byte {i}");
        }
        assert_eq!(decode(&whole[..whole.len() - 1]), None);
        assert_eq!(decode(b""), None);
    }
}
