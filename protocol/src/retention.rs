//! How long events of a conversation are kept. Where they lie, and from where on they are kept, is never on
//! the wire, and meant alike by those who judge it and by the store that frees the space.

use serde::{Deserialize, Serialize};

use crate::id::Seq;

/// How much of a conversation is kept. Each bound holds for itself: what is over any of them is absent. The
/// default has no bounds, so it keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Events that are younger than this, in seconds; 0: of any age.
    pub age_s: u64,
    /// So many of the last events; 0: any number.
    pub count: u64,
    /// The last events, of up to so many bytes together; 0: of any number of bytes.
    pub bytes: u64,
}

impl Retention {
    /// Keeps everything.
    pub const FOR_EVER: Self = Self { age_s: 0, count: 0, bytes: 0 };

    /// Whether it keeps everything.
    #[must_use]
    pub const fn is_for_ever(self) -> bool {
        self.age_s == 0 && self.count == 0 && self.bytes == 0
    }
}

/// Where an event lies in its conversation. All three grow from event to event, or stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Its seq.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// Bytes of the contents of all events before it.
    pub offset: u64,
}

/// From where on a conversation is kept: an event is absent that lies before any of these. The default keeps
/// everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Events before this one are absent.
    pub seq: Seq,
    /// Events that were stored before this time are, in milliseconds since 1970.
    pub time_ms: u64,
    /// Events that begin before this offset are, in bytes.
    pub offset: u64,
}

impl Marks {
    /// What is absent by either of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            seq: self.seq.max(other.seq),
            time_ms: self.time_ms.max(other.time_ms),
            offset: self.offset.max(other.offset),
        }
    }

    /// Whether an event at this place is absent.
    #[must_use]
    pub const fn covers(&self, place: Place) -> bool {
        place.seq.0 < self.seq.0 || place.time_ms < self.time_ms || place.offset < self.offset
    }

    /// Whether everything is kept.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
