//! What history checkers count.

use serde::{Deserialize, Serialize};

/// What a history checker counts. Each of it is a broken promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Deliveries that were checked, and messages that were read back where nobody had read them.
    pub checked: u64,
    /// Acks whose sequence numbers were checked.
    #[serde(default)]
    pub acks: u64,
    /// Messages that were acked and did not come to a reader who should have got them.
    pub lost: u64,
    /// Messages that came twice to one reader, and acks of a sequence number that another message has.
    pub duplicate: u64,
    /// Places where a reader's sequence numbers, or all acked ones of a conversation together, left something
    /// out.
    pub gap: u64,
    /// Messages that came behind a later one of the same publisher.
    pub reorder: u64,
    /// Messages whose content was not what was sent.
    pub altered: u64,
}

impl Check {
    /// Whether anything was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicate + self.gap + self.reorder + self.altered == 0
    }

    /// Adds what another checker has counted.
    pub fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.acks += other.acks;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.gap += other.gap;
        self.reorder += other.reorder;
        self.altered += other.altered;
    }
}
