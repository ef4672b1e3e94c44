//! What a client may do a little of.

use quoth_core::bucket::{Bucket, Pace};

/// Something of which no honest client does much.
pub(crate) struct Flood {
    pace: Option<Pace>,
    bucket: Bucket,
}

impl Flood {
    /// Allows so many in a second, three seconds' worth at once; 0: any number.
    pub(crate) fn new(per_second_max: u32) -> Self {
        Self { pace: Pace::new(per_second_max.into()), bucket: Bucket::FULL }
    }

    /// Whether one more is too many.
    pub(crate) fn is_over(&mut self, now_ms: u64) -> bool {
        self.pace.is_some_and(|pace| self.bucket.take(pace, 1, now_ms).is_err())
    }
}
