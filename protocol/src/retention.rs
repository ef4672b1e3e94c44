//! How long events of a conversation are kept.

use serde::{Deserialize, Serialize};

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
