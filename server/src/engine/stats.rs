//! What the engine counts, for operators.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much there is of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Events that were stored since the start.
    pub stored: u64,
    /// Publishes that wait for the committer.
    pub queued: usize,
    /// So many may wait.
    pub queued_max: usize,
    /// Log position of the last group that is stored.
    pub position: u64,
}

/// What is counted where it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    stored: AtomicU64,
}

impl Counts {
    /// So many more events are stored.
    pub(super) fn add_stored(&self, count: usize) {
        self.stored.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}
