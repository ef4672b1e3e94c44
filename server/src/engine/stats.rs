//! What the engine counts, for operators.

use std::sync::atomic::{AtomicU64, Ordering};

use quoth_store::{Reclaimed, Rewritten};
use tokio::sync::Notify;

use super::space::Seen;

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
    /// Bytes of the log's groups since the start.
    pub log_bytes: u64,
    /// Windows that were freed since the start.
    pub reclaimed_windows: u64,
    /// What they took of the disk, in bytes, but for what was written anew of it.
    pub reclaimed_bytes: u64,
    /// Bytes of rows that were written anew since the start, to free the space of others.
    pub rewritten_bytes: u64,
    /// What the view takes of the disk, in bytes.
    pub view_bytes: u64,
    /// Conversations of which the last look for what is absent found rows to be damaged: nothing of them is
    /// freed.
    pub damaged_conversations: u64,
    /// What is absent by the last look; `None` before the first one.
    pub seen: Option<Seen>,
    /// The disk is so full that nothing is stored but what frees space.
    pub is_short: bool,
}

/// What is counted where it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    stored: AtomicU64,
    log_bytes: AtomicU64,
    reclaimed_windows: AtomicU64,
    reclaimed_bytes: AtomicU64,
    rewritten_bytes: AtomicU64,
    damaged_conversations: AtomicU64,
    /// Wakes the one who follows the log.
    follower: Notify,
}

impl Counts {
    /// A group of so many records and bytes is stored.
    pub(super) fn add_group(&self, records: usize, bytes: usize) {
        self.stored.fetch_add(records as u64, Ordering::Relaxed);
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.follower.notify_one();
    }

    /// Waits until a group was stored since the last call.
    pub(super) async fn followed(&self) {
        self.follower.notified().await;
    }

    /// A reclaim has freed so much, and has come upon damaged conversations.
    pub(super) fn add_reclaimed(&self, reclaimed: Reclaimed) {
        let Reclaimed { windows, bytes, damaged } = reclaimed;
        self.add_freed(windows, bytes);
        self.damaged_conversations.store(damaged, Ordering::Relaxed);
    }

    fn add_freed(&self, windows: u64, bytes: u64) {
        self.reclaimed_windows.fetch_add(windows, Ordering::Relaxed);
        self.reclaimed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn damaged_conversations(&self) -> u64 {
        self.damaged_conversations.load(Ordering::Relaxed)
    }

    /// So much was rewritten.
    pub(super) fn add_rewritten(&self, rewritten: &Rewritten) {
        let Rewritten { windows, bytes, written_bytes, .. } = *rewritten;
        self.add_freed(windows, bytes.saturating_sub(written_bytes));
        self.rewritten_bytes.fetch_add(written_bytes, Ordering::Relaxed);
    }

    pub(super) fn rewritten_bytes(&self) -> u64 {
        self.rewritten_bytes.load(Ordering::Relaxed)
    }

    /// What was freed: windows and bytes.
    pub(super) fn reclaimed(&self) -> (u64, u64) {
        (self.reclaimed_windows.load(Ordering::Relaxed), self.reclaimed_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}
