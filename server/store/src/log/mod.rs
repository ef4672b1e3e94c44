//! The log: orders and persists groups.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::hold::Hold;
use crate::room;

pub(crate) mod hold;
pub(crate) mod memory;
pub(crate) mod segment;

/// The number of a group in the log. The first group is 1; `Position(0)` stands before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    /// Before the first group.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    ///
    /// # Panics
    /// At 2^64 - 1, which no log reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log has fewer than 2^64 groups"))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why the log did not do what it was asked. After an `Io` error of a write or a flush the log is poisoned:
/// it stays as it is on disk and takes nothing more until it is opened anew. After other errors, and when an
/// append found no [room](Self::is_full), it is as before.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// An earlier append or flush failed, so it is unknown what of the log is on stable storage.
    #[error(
        "the log takes nothing more since an earlier write failed; check the disk and restart the server, which writes \
         the group in question once more if it is there, and drops it if it is not"
    )]
    Poisoned,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A group was appended while the one before it was not flushed yet.
    #[error("the group before was not flushed yet")]
    Unflushed,
    /// The group does not fit into a segment.
    #[error("the group has {bytes} bytes, a segment of the log holds groups of at most {max}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: u64,
    },
    /// Another writer has taken over.
    #[error("the log belongs to epoch {current} now, this writer has epoch {epoch}")]
    Fenced {
        /// The epoch that was refused.
        epoch: u64,
        /// The epoch in force.
        current: u64,
    },
    /// The groups asked for were freed.
    #[error("the log starts at position {first}, position {from} was freed")]
    Gone {
        /// The position asked for.
        from: Position,
        /// The first position still held.
        first: Position,
    },
    /// Stored bytes are not what was written.
    #[error(
        "{} is damaged at byte {offset} (position {position}): {what}. Nothing was changed. Restore the folder from a \
         backup; `verify` lists all damage",
        path.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// The group that is, or should be, there.
        position: Position,
        /// What is wrong.
        what: &'static str,
    },
    /// The log was written in another format.
    #[error("{} has log format {found}, this version reads format {expected}; run the version that wrote it", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this version.
        expected: u32,
    },
    /// What the reader does with a group failed.
    #[error("{0}")]
    Visit(String),
}

impl LogError {
    /// Whether it is for want of room: [`Log::make_room`] says when it has passed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if room::is_full(source))
    }

    /// For `map_err`: what was tried with which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

/// Called with each group that is read.
pub type Visit<'a> = dyn FnMut(Position, &[u8]) -> Result<(), LogError> + 'a;

/// Reads a log's flushed groups in order, also those that are flushed while it reads.
pub trait LogReader: Send + fmt::Debug {
    /// The next group. `None` when it is not flushed yet; whoever waits for it is told by the one who
    /// flushes, and asks again.
    ///
    /// # Errors
    /// When the group was freed or is damaged. The reader is of no use afterwards, but that it may [skip
    /// damage](Self::skip_damage).
    fn next(&mut self) -> Result<Option<(Position, &[u8])>, LogError>;

    /// Goes on behind the [damage](LogError::Corrupt) that [`next`](Self::next) has met, and gives the
    /// position that it is at then: of the next group that is whole, or of the one that was wanted, when the
    /// damage lies before it. `None` when there is none yet; it may be asked again when more is flushed.
    /// Reads up to a segment.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn skip_damage(&mut self) -> Result<Option<Position>, LogError>;
}

/// Orders and persists opaque groups.
///
/// One thread appends and flushes; any thread may read, trim, hold and ask for positions meanwhile.
pub trait Log: Send + Sync + fmt::Debug {
    /// Appends a group. It is with the operating system when this returns, and durable after the next
    /// [`flush`](Self::flush), which must come before the next append.
    ///
    /// # Errors
    /// When the group is too large, another writer has taken over, or it could not be written. In the last
    /// case the log is poisoned, unless there was no [room](LogError::is_full): then it is as if nobody had
    /// asked.
    fn append(&self, group: &[u8]) -> Result<Position, LogError>;

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// When it could not be flushed. It is then unknown whether the group is stored; the log is poisoned.
    fn flush(&self) -> Result<(), LogError>;

    /// Says whether appends may go on after one that found no room, for which it undoes what that one has
    /// left. Costs little while there is none, since room is looked for once in a second.
    ///
    /// # Errors
    /// When there is no [room](LogError::is_full) yet, or the log fails.
    fn make_room(&self) -> Result<(), LogError>;

    /// Visits the flushed groups from `from` on, in order, up to those that were flushed when the call began.
    ///
    /// # Errors
    /// When `from` was freed, a group is damaged, or the visitor failed.
    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError>;

    /// Reads piecewise from a position on, beside appends. The groups before `from` in its segment are read
    /// over first; from then on each group is read once. What is not read yet may be freed, unless a
    /// [hold](Self::hold) keeps it.
    ///
    /// # Errors
    /// When `from` was freed.
    fn reader(&self, from: Position) -> Result<Box<dyn LogReader>, LogError>;

    /// Keeps the groups from a position on, whatever [`trim`](Self::trim) allows, until the hold is moved on
    /// or dropped. When the first of them were freed already, it holds from the [first](Self::first) on that
    /// is left, and [`Hold::from`] says so. Space is freed at the next trim only.
    fn hold(&self, from: Position) -> Hold;

    /// The first position still there; the same as [`next`](Self::next) when there is none.
    fn first(&self) -> Position;

    /// The first position of which something may be stored still: what was freed is deleted a moment later,
    /// and may be there again behind a power cut until that is durable; and pins have what was there before.
    fn first_stored(&self) -> Position;

    /// The position that the next append gets.
    fn next(&self) -> Position;

    /// Allows to free the groups before a position. Whole segments are freed and none that is held, so groups
    /// before it may stay. Does not hold up an append on another thread.
    ///
    /// # Errors
    /// When the log's state does not allow it.
    fn trim(&self, before: Position) -> Result<(), LogError>;

    /// Goes on in another segment, if the one in use has groups: then [`trim`](Self::trim) may free these,
    /// however few they are.
    ///
    /// # Errors
    /// When it could not be begun, as of [`append`](Self::append).
    fn end_segment(&self) -> Result<(), LogError>;

    /// Takes the log over for an epoch: appends of handles with an older epoch are refused from now on, also
    /// after a restart.
    ///
    /// # Errors
    /// When a younger epoch is in force, or it could not be made durable.
    fn fence(&self, epoch: u64) -> Result<(), LogError>;

    /// Marks the log as closed, durably, so that damage to its last group cannot pass for an interrupted
    /// write. Nothing can be appended afterwards.
    ///
    /// # Errors
    /// When the mark could not be made durable.
    fn close(&self) -> Result<(), LogError>;
}
