//! The bytes of a segment: its header and its groups, little endian.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::super::Position;
use crate::bytes_reader::Reader;

/// Version of this format, in each segment's header.
pub(super) const FORMAT: u32 = 1;

/// Length of a segment's header in bytes.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;

/// Length of a group's header in bytes.
pub(super) const GROUP_HEADER_BYTES: usize = 48;

/// Length of the checksum that ends a group, in bytes.
pub(super) const TRAILER_BYTES: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"QUOTHLOG";
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"QGrp");

/// The header of a segment: magic `8`, format `u32`, reserved `u32`, seed, first position, checksum of the
/// group before, epoch, length of the file, check: `u64` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Random number of this log, part of all its checksums: what a user writes into a message cannot pass
    /// for a group, and a segment of another log is no segment of this one.
    pub(super) seed: u64,
    /// Position of the segment's first group.
    pub(super) first: Position,
    /// Checksum of the group before the first one, 0 at the log's start.
    pub(super) previous: u64,
    /// The epoch in force when the segment was begun.
    pub(super) epoch: u64,
    /// Length of the file in bytes.
    pub(super) bytes: u64,
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentHeaderError {
    Damaged,
    Format(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend(SEGMENT_MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        for field in [self.seed, self.first.0, self.previous, self.epoch, self.bytes] {
            out.extend(field.to_le_bytes());
        }
        let check = xxh3_64(&out);
        out.extend(check.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, SegmentHeaderError> {
        let checked = &bytes[..SEGMENT_HEADER_BYTES - 8];
        Self::decode_fields(&mut Reader(bytes), xxh3_64(checked)).unwrap_or(Err(SegmentHeaderError::Damaged))
    }

    fn decode_fields(reader: &mut Reader<'_>, check: u64) -> Option<Result<Self, SegmentHeaderError>> {
        let magic: [u8; 8] = reader.array()?;
        let format = reader.u32()?;
        let _reserved = reader.u32()?;
        let header = Self {
            seed: reader.u64()?,
            first: Position(reader.u64()?),
            previous: reader.u64()?,
            epoch: reader.u64()?,
            bytes: reader.u64()?,
        };
        Some(if magic != SEGMENT_MAGIC || reader.u64()? != check {
            Err(SegmentHeaderError::Damaged)
        } else if format != FORMAT {
            Err(SegmentHeaderError::Format(format))
        } else {
            Ok(header)
        })
    }
}

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An appended group; it takes the position in its header.
    Records = 0,
    /// A new epoch begins. A mark takes no position, its header has that of the group to come; and it is no
    /// link of the chain of checksums, so that a segment of marks alone can be replaced.
    Barrier = 1,
    /// The log was closed; a mark as well.
    Close = 2,
}

/// The header of a group: magic `u32`, kind `u8`, reserved 3 bytes, position, epoch, checksum of the group
/// before, length of the payload `u64` each, check `u64`. The payload follows, zeros up to a multiple of 8
/// bytes, and the checksum over all of it.
///
/// The checksum stands last so that a group has bytes that are not zero in its first and in its last 8 bytes:
/// where these are zero, they were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) kind: Kind,
    pub(super) position: Position,
    pub(super) epoch: u64,
    pub(super) previous: u64,
    pub(super) payload_bytes: usize,
}

impl GroupHeader {
    /// Length of the whole group in the file, in bytes.
    pub(super) const fn total_bytes(&self) -> usize {
        total_bytes(self.payload_bytes)
    }

    /// Decodes a header whose check is right.
    pub(super) fn decode(bytes: &[u8], seed: u64) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != GROUP_MAGIC {
            return None;
        }
        let kind = match reader.u32()? {
            0 => Kind::Records,
            1 => Kind::Barrier,
            2 => Kind::Close,
            _ => return None,
        };
        let header = Self {
            kind,
            position: Position(reader.u64()?),
            epoch: reader.u64()?,
            previous: reader.u64()?,
            payload_bytes: usize::try_from(reader.u64()?).ok()?,
        };
        (reader.u64()? == xxh3_64_with_seed(&bytes[..GROUP_HEADER_BYTES - 8], seed)).then_some(header)
    }
}

/// Length of a group with a payload, in bytes.
pub(super) const fn total_bytes(payload_bytes: usize) -> usize {
    GROUP_HEADER_BYTES.saturating_add(payload_bytes.saturating_add(7) / 8 * 8).saturating_add(TRAILER_BYTES)
}

/// Writes a group into `out` and returns its checksum.
pub(super) fn encode_group(header: &GroupHeader, payload: &[u8], seed: u64, out: &mut Vec<u8>) -> u64 {
    out.clear();
    out.extend(GROUP_MAGIC.to_le_bytes());
    out.extend((header.kind as u32).to_le_bytes());
    for field in [header.position.0, header.epoch, header.previous, header.payload_bytes as u64] {
        out.extend(field.to_le_bytes());
    }
    let check = xxh3_64_with_seed(out, seed);
    out.extend(check.to_le_bytes());
    out.extend(payload);
    out.resize(header.total_bytes() - TRAILER_BYTES, 0);
    let checksum = xxh3_64_with_seed(out, seed);
    out.extend(checksum.to_le_bytes());
    checksum
}

/// The checksum of a whole group, if it is right.
pub(super) fn checked(group: &[u8], seed: u64) -> Option<u64> {
    let (covered, trailer) = group.split_last_chunk::<TRAILER_BYTES>()?;
    let checksum = u64::from_le_bytes(*trailer);
    (checksum == xxh3_64_with_seed(covered, seed)).then_some(checksum)
}
