//! What the bytes behind the last valid group mean.

use super::super::Position;
use super::format::{GROUP_HEADER_BYTES, GroupHeader, TRAILER_BYTES, checked};

/// A disk writes this many bytes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// What stands behind the last valid group of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Zeros: the log ends here.
    Clean,
    /// A group that was being written when the machine stopped. It was never flushed, so nobody was told that
    /// it is stored.
    Torn,
    /// Bytes that no interrupted write explains.
    Corrupt(&'static str),
}

/// Where the walk stopped and what should have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Offset in the file, in bytes.
    pub(super) offset: u64,
    pub(super) position: Position,
    pub(super) previous: u64,
    pub(super) seed: u64,
}

/// Judges the rest of the last segment's file, from the end of its last valid group on. The module doc of
/// [`segment`](super) has the reasoning.
pub(super) fn judge(rest: &[u8], expected: &Expected) -> Tail {
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else {
        return Tail::Clean;
    };
    let mut extent_end = GROUP_HEADER_BYTES.max(last + TRAILER_BYTES).min(rest.len());
    if let Some(header) = GroupHeader::decode(rest, expected.seed) {
        if header.position != expected.position || header.previous != expected.previous {
            return Tail::Corrupt("a group that belongs elsewhere");
        }
        extent_end = header.total_bytes();
        if extent_end > rest.len() {
            return Tail::Corrupt("a group that is longer than the segment");
        }
        if last >= extent_end {
            return Tail::Corrupt("a damaged group with bytes behind it");
        }
    }
    // The checksum that ends a group may itself end in zeros.
    let followers_end = (last + TRAILER_BYTES).min(rest.len());
    if next_group(&rest[..followers_end], expected.seed).is_some() {
        return Tail::Corrupt("a damaged group before a valid one");
    }
    if has_unwritten_sector(&rest[..extent_end], expected.offset) {
        Tail::Torn
    } else {
        Tail::Corrupt("the last group was written whole and has changed since")
    }
}

/// Where the next valid group begins, and its header, behind something that is not one.
pub(super) fn next_group(rest: &[u8], seed: u64) -> Option<(usize, GroupHeader)> {
    (8..rest.len()).step_by(8).find_map(|at| {
        let candidate = &rest[at..];
        let header = GroupHeader::decode(candidate, seed)?;
        checked(candidate.get(..header.total_bytes())?, seed)?;
        Some((at, header))
    })
}

/// Whether the part of some sector that lies in the extent is all zero.
fn has_unwritten_sector(extent: &[u8], offset: u64) -> bool {
    let in_sector = usize::try_from(offset % SECTOR_BYTES as u64).unwrap_or_default();
    let (head, rest) = extent.split_at((SECTOR_BYTES - in_sector).min(extent.len()));
    std::iter::once(head).chain(rest.chunks(SECTOR_BYTES)).any(|part| part.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::super::super::Position;
    use super::super::format::{GroupHeader, Kind, encode_group};
    use super::{Expected, Tail, judge};

    const EXPECTED: Expected = Expected { offset: 1000, position: Position(5), previous: 77, seed: 3 };

    /// The rest of a segment that starts with one group, and the group's length.
    fn rest(payload: &[u8]) -> (Vec<u8>, usize) {
        let header = GroupHeader {
            kind: Kind::Records,
            position: EXPECTED.position,
            epoch: 1,
            previous: EXPECTED.previous,
            payload_bytes: payload.len(),
        };
        let mut bytes = Vec::new();
        encode_group(&header, payload, EXPECTED.seed, &mut bytes);
        let len = bytes.len();
        bytes.resize(8192, 0);
        (bytes, len)
    }

    #[test]
    fn every_subset_of_written_sectors_is_torn() {
        let (whole, len) = rest(&[0xab; 1600]);
        // Sector borders within the group, as the group starts 24 bytes before one.
        let borders = [0, 24, 536, 1048, 1560, len];
        for written in 1..(1_u32 << 5) - 1 {
            let mut bytes = whole.clone();
            for sector in (0..5).filter(|sector| written & (1 << sector) == 0) {
                bytes[borders[sector]..borders[sector + 1]].fill(0);
            }
            assert_eq!(judge(&bytes, &EXPECTED), Tail::Torn, "sectors {written:05b}");
        }
        assert_eq!(judge(&vec![0; 8192], &EXPECTED), Tail::Clean);
    }

    #[test]
    fn a_changed_bit_is_corrupt() {
        let (whole, len) = rest(&[0xab; 1600]);
        for byte in 0..len {
            let mut bytes = whole.clone();
            bytes[byte] ^= 0x10;
            assert!(matches!(judge(&bytes, &EXPECTED), Tail::Corrupt(_)), "byte {byte}");
        }
    }

    #[test]
    fn a_damaged_group_before_a_valid_one_is_corrupt() {
        let (mut bytes, len) = rest(&[0xab; 1600]);
        let (next, _) = rest(b"next");
        bytes[len..len + 200].copy_from_slice(&next[..200]);
        bytes[536..1048].fill(0);
        assert_eq!(judge(&bytes, &EXPECTED), Tail::Corrupt("a damaged group with bytes behind it"));
        bytes[..24].fill(0);
        assert_eq!(judge(&bytes, &EXPECTED), Tail::Corrupt("a damaged group before a valid one"));
    }

    #[test]
    fn a_follower_is_recognised_whatever_zeros_end_its_checksum() {
        let (mut bytes, len) = rest(&[0xab; 1600]);
        bytes[..24].fill(0);
        for zeros in 0..=2 {
            let follower = (0_u64..)
                .map(|n| rest(&n.to_le_bytes()))
                .map(|(follower, len)| follower[..len].to_vec())
                .find(|follower| follower.iter().rev().take_while(|byte| **byte == 0).count() == zeros)
                .unwrap();
            bytes[len..].fill(0);
            bytes[len..len + follower.len()].copy_from_slice(&follower);
            let found = judge(&bytes, &EXPECTED);
            assert_eq!(found, Tail::Corrupt("a damaged group before a valid one"), "{zeros} zeros");
        }
    }
}
