//! Reads a segment's file group by group.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::{LogError, Position};
use super::format::{
    FORMAT, GROUP_HEADER_BYTES, GroupHeader, Kind, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentHeaderError,
    checked,
};
use super::tail::{Expected, Tail, judge, next_group};

const READ_BYTES: usize = 256 * 1024;

/// One step of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A valid group; [`Walk::payload`] has its payload.
    Group(Kind, Position),
    /// No valid group: the segment's end or damage, which [`Walk::judge_tail`] tells apart.
    Stop,
}

/// A walk over one segment.
#[derive(Debug)]
pub(super) struct Walk {
    path: PathBuf,
    reader: BufReader<File>,
    header: SegmentHeader,
    expected: Expected,
    epoch: u64,
    group: Vec<u8>,
}

impl Walk {
    /// Opens a segment's file and checks its header.
    pub(super) fn open(path: &Path, first: Position) -> Result<Self, LogError> {
        let file = File::open(path).map_err(LogError::io("open", path))?;
        let len = file.metadata().map_err(LogError::io("read the length of", path))?.len();
        let mut reader = BufReader::with_capacity(READ_BYTES, file);
        let corrupt = |what| LogError::Corrupt { path: path.to_owned(), offset: 0, position: first, what };
        if len < SEGMENT_HEADER_BYTES as u64 {
            return Err(corrupt("the file is shorter than a header"));
        }
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        reader.read_exact(&mut bytes).map_err(LogError::io("read", path))?;
        let header = SegmentHeader::decode(&bytes).map_err(|error| match error {
            SegmentHeaderError::Damaged => corrupt("the segment's header is damaged"),
            SegmentHeaderError::Format(found) => {
                LogError::Format { path: path.to_owned(), found, expected: FORMAT }
            }
        })?;
        if header.first != first {
            return Err(corrupt("the header names another first position than the file's name"));
        }
        if header.bytes != len {
            return Err(corrupt("the file has another length than its header says"));
        }
        let expected = Expected {
            offset: SEGMENT_HEADER_BYTES as u64,
            position: first,
            previous: header.previous,
            seed: header.seed,
        };
        Ok(Self { path: path.to_owned(), reader, header, expected, epoch: header.epoch, group: Vec::new() })
    }

    pub(super) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Where the walk is, and what comes next.
    pub(super) const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The epoch of the last group.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Payload of the group of the last step.
    pub(super) fn payload(&self) -> &[u8] {
        GroupHeader::decode(&self.group, self.header.seed)
            .and_then(|header| self.group.get(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + header.payload_bytes))
            .unwrap_or_default()
    }

    /// Reads the next group.
    pub(super) fn step(&mut self) -> Result<Step, LogError> {
        let left = usize::try_from(self.header.bytes - self.expected.offset).unwrap_or(usize::MAX);
        if left < GROUP_HEADER_BYTES {
            return Ok(Step::Stop);
        }
        self.group.resize(GROUP_HEADER_BYTES, 0);
        self.read_into(0)?;
        let Some(header) = GroupHeader::decode(&self.group, self.header.seed) else {
            return Ok(Step::Stop);
        };
        let is_expected =
            header.position == self.expected.position && header.previous == self.expected.previous;
        if !is_expected || header.total_bytes() > left {
            return Ok(Step::Stop);
        }
        self.group.resize(header.total_bytes(), 0);
        self.read_into(GROUP_HEADER_BYTES)?;
        let Some(checksum) = checked(&self.group, self.header.seed) else {
            return Ok(Step::Stop);
        };
        self.expected.offset += self.group.len() as u64;
        self.epoch = header.epoch;
        if header.kind == Kind::Records {
            self.expected.previous = checksum;
            self.expected.position = header.position.next();
        }
        Ok(Step::Group(header.kind, header.position))
    }

    /// Drops what was read ahead, which may have been written since.
    pub(super) fn forget_what_is_ahead(&mut self) -> Result<(), LogError> {
        let offset = SeekFrom::Start(self.expected.offset);
        self.reader.seek(offset).map(drop).map_err(LogError::io("read", &self.path))
    }

    fn read_into(&mut self, from: usize) -> Result<(), LogError> {
        self.reader.read_exact(&mut self.group[from..]).map_err(LogError::io("read", &self.path))
    }

    /// Judges what stands behind the last valid group.
    pub(super) fn judge_tail(&self) -> Result<Tail, LogError> {
        Ok(judge(&self.rest()?, &self.expected))
    }

    /// Goes on with the next valid group behind damage; `false` when there is none.
    pub(super) fn skip_damage(&mut self) -> Result<bool, LogError> {
        let Some((at, header)) = next_group(&self.rest()?, self.header.seed) else {
            return Ok(false);
        };
        self.expected.offset += at as u64;
        (self.expected.position, self.expected.previous) = (header.position, header.previous);
        self.forget_what_is_ahead()?;
        Ok(true)
    }

    /// What stands behind the last valid group.
    fn rest(&self) -> Result<Vec<u8>, LogError> {
        let mut rest = vec![0; usize::try_from(self.header.bytes - self.expected.offset).unwrap_or_default()];
        read_at(self.reader.get_ref(), &mut rest, self.expected.offset)
            .map_err(LogError::io("read", &self.path))?;
        Ok(rest)
    }

    /// The error for damage behind the last valid group.
    pub(super) fn corrupt(&self, what: &'static str) -> LogError {
        LogError::Corrupt {
            path: self.path.clone(),
            offset: self.expected.offset,
            position: self.expected.position,
            what,
        }
    }
}

fn read_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}
