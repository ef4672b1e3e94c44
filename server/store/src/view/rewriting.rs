//! How windows are rewritten of which a part is absent, and what came of it.

use std::fmt;

use crate::class::Class;

/// How much of what is dead in windows is freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Until an eighth of all is dead at most, in windows that do not go by themselves soon: what costs little.
    Worthwhile,
    /// All of it, however much is copied for that, where the disk has room for the copy; windows that get
    /// further events are ended for it.
    Everything {
        /// What calls before this one for the same have written into, which is not written anew; `None`: this
        /// is the first one.
        written_from: Option<u32>,
    },
}

impl Extent {
    /// The first of some calls that free everything.
    pub const EVERYTHING: Self = Self::Everything { written_from: None };

    /// With what it goes on behind a call.
    #[must_use]
    pub const fn behind(self, rewritten: &Rewritten) -> Self {
        match self {
            Self::Worthwhile => Self::Worthwhile,
            Self::Everything { .. } => Self::Everything { written_from: rewritten.written_from },
        }
    }

    /// Whether it is everything.
    #[must_use]
    pub const fn is_everything(self) -> bool {
        matches!(self, Self::Everything { .. })
    }

    /// Whether this is the first call for everything.
    pub(crate) const fn is_first(self) -> bool {
        matches!(self, Self::Everything { written_from: None })
    }
}

/// How windows are rewritten.
pub struct Rewrite<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// What was erased by this time leaves the disk, in milliseconds since 1970; and what was erased more than a
    /// minute behind `now_ms`, when the clock was ahead.
    pub erased_by_ms: u64,
    /// How much is freed of what was not erased.
    pub extent: Extent,
    /// Is told of bytes that were read and written, again and again, and waits as it likes; `false` ends it.
    pub pace: &'a mut dyn FnMut(u64) -> bool,
}

impl fmt::Debug for Rewrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("erased_by_ms", &self.erased_by_ms).finish_non_exhaustive()
    }
}

/// What a rewrite has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Windows that are gone.
    pub windows: u64,
    /// What they took of the disk, in bytes. What stays of them takes some of it again.
    pub bytes: u64,
    /// Bytes of rows that were read and written.
    pub moved_bytes: u64,
    /// Bytes of rows that were written.
    pub written_bytes: u64,
    /// Whether it was let come to its end.
    pub is_done: bool,
    /// Whether there is more to do at once.
    pub more: bool,
    /// Classes whose open window holds up that what was erased leaves the disk, or that everything is freed:
    /// it is to be ended by a record.
    pub held_up: Vec<Class>,
    /// Windows that were chosen for everything: no further call for the same chooses them.
    pub settled: u64,
    /// For further calls for everything; see [`Extent::Everything`].
    pub written_from: Option<u32>,
    /// What was left for want of room, at the last of some calls for everything.
    pub no_room: Option<NoRoom>,
}

/// Windows that are not rewritten, since the disk has no room for what stays of them. In bytes, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// How many windows.
    pub windows: u64,
    /// What is dead in them.
    pub dead_bytes: u64,
    /// What the one takes of the disk meanwhile that takes least.
    pub needed_bytes: u64,
    /// What is free.
    pub free_bytes: u64,
}

/// A mebibyte, in bytes.
const MIB: u64 = 1024 * 1024;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { windows, dead_bytes, needed_bytes, free_bytes } = *self;
        let windows = if windows == 1 { "1 window".to_owned() } else { format!("{windows} windows") };
        write!(
            f,
            "{windows} with {dead_bytes} bytes that are absent cannot be rewritten, since the disk has no room for a copy of \
             what stays: the smallest one needs {} MiB, with the reserve that is held, and has {} MiB; free that much \
             beside the data folder, or set bounds that take more of what stays, and run it again",
            needed_bytes.div_ceil(MIB),
            free_bytes / MIB,
        )
    }
}
