//! The log as segment files, the only place where a message is flushed before its ack.
//!
//! # Files
//!
//! `<first position, 20 digits>.log`, each of a fixed length, allocated ahead by a thread of its own, so that
//! an append changes neither a file's length nor the free space, and `fdatasync` has little more than the
//! data to write. What was allocated and not yet written reads as zeros. A segment starts with a header;
//! groups follow, each with its length, its position, the epoch of its writer, the checksum of the group
//! before it and its own checksum. A group never spans segments. `format.rs` has the bytes.
//!
//! A name that ends in `.log` exists only once the header is on stable storage.
//!
//! # Where the log ends
//!
//! A group is flushed before the next one is appended, so at any time at most one group is not on stable
//! storage: the last. The log ends where the rest of the last segment is zero. When something else stands
//! there, it is either
//!
//! - a **torn group**: the machine stopped while the last group was being written. A disk writes sectors of
//!   512 bytes; some of the group's sectors were not written and still hold the zeros of before. It was never
//!   flushed, so it was never acked: it is zeroed and forgotten; or
//! - **corruption**: all of the group's sectors were written, or a valid group follows, and it was hence
//!   flushed. Then acked messages are lost or changed, and the log does not open.
//!
//! So a damaged group counts as torn only when the part of some sector that lies within it is entirely zero
//! and no valid group follows. A group's first and last 8 bytes are never zero, so this holds for groups
//! across the border of two sectors as well. [`Log::close`] ends the log with a mark, so after a clean stop
//! *every* group has a valid one behind it; so has every group after a restart, since opening writes a mark
//! too.
//!
//! What stays undetected: after `kill -9` or a power cut, before the next start, a change within the *one*
//! last group when its payload has a whole sector of zeros of its own, or when the change sets a whole sector
//! to zero. Only a second copy elsewhere could tell that from a torn write.
//!
//! A file that is shorter or longer than its header says is corrupt too: files get their length before they
//! are used.
//!
//! # What a start trusts
//!
//! What is found may be in the page cache only: the server was killed between a write and its flush, or a
//! flush failed, after which Linux takes the pages for clean and another flush does not write them. Only the
//! last group or mark can be so. A start writes it once more, which changes no byte, and flushes it before it
//! counts as stored.

mod files;
mod format;
mod reader;
mod recover;
mod tail;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use files::{Keeper, Segment, Spare};
use format::{GroupHeader, Kind, SEGMENT_HEADER_BYTES, SegmentHeader};
use reader::Reader;
use recover::End;
pub(crate) use recover::{Extent, Found, Walked, extents, walk_all, walk_until};
use tail::Expected;

use super::hold::{Hold, Holds};
use super::{Log, LogError, LogReader, Position, Visit};
use crate::durable::{create_durable_dir, sync_data, sync_dir};
use crate::reserve::Reserve;
use crate::room;

/// Smallest segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 4096;

/// The log as segment files. Closing it is [`Log::close`]; dropping it is what a crash is.
#[derive(Debug)]
pub struct SegmentLog {
    dir: PathBuf,
    segment_bytes: u64,
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    next: AtomicU64,
    holds: Holds,
    /// What pins have of it, whatever is freed meanwhile.
    pinned: Holds,
    keeper: Keeper,
    reserve: Arc<Reserve>,
}

/// What readers need.
#[derive(Debug)]
struct Shared {
    segments: RwLock<Vec<Segment>>,
    flushed: AtomicU64,
}

impl Shared {
    fn flushed(&self) -> Position {
        Position(self.flushed.load(Ordering::Acquire))
    }

    fn first(&self) -> Position {
        self.segments.read().first().map_or(Position(1), |segment| segment.first)
    }
}

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: File,
    end: Expected,
    file_bytes: u64,
    epoch: u64,
    unflushed: bool,
    /// Up to where in the file there may be bytes of a write that found no room.
    unclean_until: u64,
    state: State,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Poisoned,
    Closed,
}

impl SegmentLog {
    /// Opens or creates the log in a folder, with a new epoch. `applied` is how far the log's groups are held
    /// elsewhere; segments that lie before it are not read.
    ///
    /// # Errors
    /// When the log is damaged, which changes nothing, when it no longer reaches back to `applied`, or when
    /// the operating system refuses.
    pub fn open(dir: &Path, segment_bytes: u64, applied: Position) -> Result<Self, LogError> {
        Self::start(Found::look(dir, applied)?, segment_bytes, Reserve::none())
    }

    /// Begins to write behind what was found. Where there is no room the reserve is released.
    pub(crate) fn start(found: Found, segment_bytes: u64, reserve: Arc<Reserve>) -> Result<Self, LogError> {
        let Found { dir, mut segments, end } = found;
        let segment_bytes = segment_bytes.max(SEGMENT_BYTES_MIN);
        create_durable_dir(&dir).map_err(LogError::io("create", &dir))?;
        files::delete_spares(&dir)?;
        let mut writer = match (end, segments.last()) {
            (Some(end), Some(last)) => Writer::resume(&dir, last.path.clone(), &end)?,
            _ => {
                let spare = Spare::create(dir.join("first.spare"), segment_bytes, &reserve)?;
                let seed = RandomState::new().hash_one(std::time::SystemTime::now());
                let header =
                    SegmentHeader { seed, first: Position(1), previous: 0, epoch: 0, bytes: segment_bytes };
                let segment = Segment::new(&dir, header.first);
                let writer = Writer::begin(&dir, &segment, spare, &header)?;
                segments.push(segment);
                writer
            }
        };
        writer.epoch += 1;
        let next = writer.end.position;
        let log = Self {
            segment_bytes,
            shared: Arc::new(Shared { segments: RwLock::new(segments), flushed: AtomicU64::new(next.0 - 1) }),
            writer: Mutex::new(writer),
            next: AtomicU64::new(next.0),
            holds: Holds::default(),
            pinned: Holds::default(),
            keeper: Keeper::start(&dir, segment_bytes, Arc::clone(&reserve))?,
            reserve,
            dir,
        };
        log.mark(&mut log.writer.lock(), Kind::Barrier)?;
        Ok(log)
    }

    /// For whoever is about to pin it. For as long as this is there, the files of segments that are there by
    /// now may be on the disk.
    pub(crate) fn pinned(&self) -> Hold {
        self.pinned.hold(self.stored())
    }

    /// The first position of which something may be in the log's own folder.
    pub(crate) fn stored(&self) -> Position {
        self.keeper.first_stored(self.shared.first())
    }

    /// Puts links to the segments into a folder that does not exist yet, and says up to which position they
    /// hold everything. The last one is written on meanwhile. The caller [holds](Log::hold) all that there
    /// is.
    pub(crate) fn pin(&self, to: &Path) -> Result<Position, LogError> {
        fs::create_dir(to).map_err(LogError::io("create", to))?;
        let last = self.shared.flushed();
        let segments = self.shared.segments.read().clone();
        for Segment { path, first } in &segments {
            let link = Segment::new(to, *first).path;
            fs::hard_link(path, link).map_err(LogError::io("make a link to", path))?;
        }
        Ok(last)
    }

    fn write(&self, writer: &mut Writer, kind: Kind, payload: &[u8]) -> Result<Position, LogError> {
        writer.check()?;
        if writer.unflushed {
            return Err(LogError::Unflushed);
        }
        writer.clean()?;
        let max = self.segment_bytes - SEGMENT_HEADER_BYTES as u64;
        let bytes = format::total_bytes(payload.len());
        if bytes as u64 > max {
            return Err(LogError::TooLarge { bytes, max });
        }
        if writer.end.offset + bytes as u64 > writer.file_bytes {
            self.rotate(writer, bytes as u64)?;
        }
        match writer.write(kind, payload) {
            Err(error) if error.is_full() && self.reserve.release(&error) => {
                writer.clean()?;
                writer.write(kind, payload)
            }
            written => written,
        }
    }

    /// Begins a segment that has room for so many bytes of groups.
    fn rotate(&self, writer: &mut Writer, bytes: u64) -> Result<(), LogError> {
        let first = writer.end.position;
        let segment = Segment::new(&self.dir, first);
        let begun = self.keeper.take_spare(SEGMENT_HEADER_BYTES as u64 + bytes).and_then(|spare| {
            let header = SegmentHeader {
                seed: writer.end.seed,
                first,
                previous: writer.end.previous,
                epoch: writer.epoch,
                bytes: spare.bytes,
            };
            Writer::begin(&self.dir, &segment, spare, &header)
        });
        let mut next = match begun {
            Ok(next) => next,
            Err(error) => {
                // Without room nothing has changed: the segment in use goes on when there is some.
                if !error.is_full() {
                    writer.state = State::Poisoned;
                }
                return Err(error);
            }
        };
        next.buffer = std::mem::take(&mut writer.buffer);
        *writer = next;
        let mut segments = self.shared.segments.write();
        // A segment that holds marks alone is replaced by the one that takes over its position.
        segments.retain(|held| held.first < segment.first);
        segments.push(segment);
        Ok(())
    }

    /// Writes a group without payload and flushes it.
    fn mark(&self, writer: &mut Writer, kind: Kind) -> Result<(), LogError> {
        self.write(writer, kind, &[])?;
        writer.flush()
    }
}

impl Writer {
    /// Goes on behind the last group of a segment, once that is durable.
    fn resume(dir: &Path, path: PathBuf, end: &End) -> Result<Self, LogError> {
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(LogError::io("open", &path))?;
        let unsure = end.expected.offset - end.unsure_from;
        let mut bytes = vec![0; usize::try_from(unsure).unwrap_or_default()];
        file.read_exact_at(&mut bytes, end.unsure_from).map_err(LogError::io("read", &path))?;
        file.write_all_at(&bytes, end.unsure_from).map_err(LogError::io("write", &path))?;
        if end.torn {
            tracing::warn!(
                path = %path.display(), offset = end.expected.offset, position = %end.expected.position,
                "dropping a group that was being written when the server stopped; it was never acked"
            );
            let zeros = vec![0; usize::try_from(end.file_bytes - end.expected.offset).unwrap_or_default()];
            file.write_all_at(&zeros, end.expected.offset).map_err(LogError::io("write zeros to", &path))?;
        }
        sync_data(&file, &path).map_err(LogError::io("sync", &path))?;
        sync_dir(dir).map_err(LogError::io("sync", dir))?;
        Ok(Self {
            path,
            file,
            end: end.expected,
            file_bytes: end.file_bytes,
            epoch: end.epoch,
            unflushed: false,
            unclean_until: 0,
            state: State::Open,
            buffer: Vec::new(),
        })
    }

    /// Makes a segment out of a prepared file. Its header is durable before it has the segment's name.
    fn begin(dir: &Path, segment: &Segment, spare: Spare, header: &SegmentHeader) -> Result<Self, LogError> {
        let Spare { file, path, bytes: _ } = spare;
        let named = file
            .write_all_at(&header.encode(), 0)
            .map_err(LogError::io("write", &path))
            .and_then(|()| sync_data(&file, &path).map_err(LogError::io("sync", &path)))
            .and_then(|()| fs::rename(&path, &segment.path).map_err(LogError::io("rename", &path)));
        if let Err(error) = named {
            // It may hold space that is needed. The error that matters is the first one.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        // Whatever the reason: which name is on the disk is not known, so this is never for want of room
        // alone.
        sync_dir(dir).map_err(|error| LogError::io("sync", dir)(std::io::Error::other(error)))?;
        let end = Expected {
            offset: SEGMENT_HEADER_BYTES as u64,
            position: header.first,
            previous: header.previous,
            seed: header.seed,
        };
        Ok(Self {
            path: segment.path.clone(),
            file,
            end,
            file_bytes: header.bytes,
            epoch: header.epoch,
            unflushed: false,
            unclean_until: 0,
            state: State::Open,
            buffer: Vec::new(),
        })
    }

    const fn check(&self) -> Result<(), LogError> {
        match self.state {
            State::Open => Ok(()),
            State::Poisoned => Err(LogError::Poisoned),
            State::Closed => Err(LogError::Closed),
        }
    }

    fn write(&mut self, kind: Kind, payload: &[u8]) -> Result<Position, LogError> {
        let header = GroupHeader {
            kind,
            position: self.end.position,
            epoch: self.epoch,
            previous: self.end.previous,
            payload_bytes: payload.len(),
        };
        let checksum = format::encode_group(&header, payload, self.end.seed, &mut self.buffer);
        if let Err(error) = self.file.write_all_at(&self.buffer, self.end.offset) {
            if room::is_full(&error) {
                self.unclean_until = self.end.offset + self.buffer.len() as u64;
            } else {
                self.state = State::Poisoned;
            }
            return Err(LogError::io("write", &self.path)(error));
        }
        self.unflushed = true;
        self.end.offset += self.buffer.len() as u64;
        if kind == Kind::Records {
            self.end.previous = checksum;
            self.end.position = header.position.next();
        }
        Ok(header.position)
    }

    /// Undoes a write that found no room. That is on stable storage before anything else is written there:
    /// bytes of the one behind the other would be no interrupted write but damage.
    fn clean(&mut self) -> Result<(), LogError> {
        let bytes = self.unclean_until.saturating_sub(self.end.offset);
        if bytes == 0 {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(bytes).unwrap_or_default()];
        if let Err(error) = self.file.write_all_at(&zeros, self.end.offset) {
            if !room::is_full(&error) {
                self.state = State::Poisoned;
            }
            return Err(LogError::io("write zeros to", &self.path)(error));
        }
        if let Err(error) = sync_data(&self.file, &self.path) {
            self.state = State::Poisoned;
            return Err(LogError::io("flush", &self.path)(error));
        }
        self.unclean_until = 0;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.check()?;
        if self.unflushed
            && let Err(error) = sync_data(&self.file, &self.path)
        {
            self.state = State::Poisoned;
            return Err(LogError::io("flush", &self.path)(error));
        }
        self.unflushed = false;
        Ok(())
    }
}

impl Log for SegmentLog {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        let position = self.write(&mut self.writer.lock(), Kind::Records, group)?;
        self.next.store(position.next().0, Ordering::Release);
        Ok(position)
    }

    fn flush(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        writer.flush()?;
        self.shared.flushed.store(writer.end.position.0 - 1, Ordering::Release);
        Ok(())
    }

    fn make_room(&self) -> Result<(), LogError> {
        {
            let mut writer = self.writer.lock();
            writer.check()?;
            writer.clean()?;
        }
        self.keeper.check_spare()
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        let last = self.shared.flushed();
        let mut reader = Reader::start(&self.shared, from)?;
        while reader.is_before_end_at(last)
            && let Some((position, group)) = reader.next()?
        {
            visit(position, group)?;
        }
        Ok(())
    }

    fn reader(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(Reader::start(&self.shared, from)?))
    }

    fn hold(&self, from: Position) -> Hold {
        // Nothing is freed while this is locked.
        let segments = self.shared.segments.read();
        let first = segments.first().map_or(Position(1), |segment| segment.first);
        self.holds.hold(from.max(first))
    }

    fn first(&self) -> Position {
        self.shared.first()
    }

    fn first_stored(&self) -> Position {
        self.pinned.limit(self.stored())
    }

    fn next(&self) -> Position {
        Position(self.next.load(Ordering::Acquire))
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        let mut segments = self.shared.segments.write();
        let before = self.holds.limit(before);
        let kept_from = segments.iter().rposition(|segment| segment.first <= before).unwrap_or_default();
        self.keeper.delete(segments.drain(..kept_from));
        Ok(())
    }

    fn end_segment(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        writer.check()?;
        if writer.unclean_until > writer.end.offset {
            // There is no room.
            writer.clean()?;
        }
        let has_groups =
            self.shared.segments.read().last().is_some_and(|last| last.first < writer.end.position);
        if has_groups {
            // What is not flushed would be in a file that the next flush does not know of.
            writer.flush()?;
            self.rotate(&mut writer, 0)?;
        }
        Ok(())
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        if epoch < writer.epoch {
            return Err(LogError::Fenced { epoch, current: writer.epoch });
        }
        writer.epoch = epoch;
        self.mark(&mut writer, Kind::Barrier)
    }

    fn close(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        if writer.state == State::Closed {
            return Ok(());
        }
        writer.flush()?;
        self.shared.flushed.store(writer.end.position.0 - 1, Ordering::Release);
        self.mark(&mut writer, Kind::Close)?;
        writer.state = State::Closed;
        Ok(())
    }
}
