//! What has become of a hook's questions since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::Judgement;

/// Counts as they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Answered with yes.
    pub(crate) allowed: u64,
    /// Answered with yes, for another body.
    pub(crate) changed: u64,
    /// Answered with no.
    pub(crate) denied: u64,
    /// Without an answer, those that were not asked since nobody answers among them: what is configured for
    /// that was done.
    pub(crate) unanswered: u64,
}

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    allowed: AtomicU64,
    changed: AtomicU64,
    denied: AtomicU64,
    unanswered: AtomicU64,
}

impl Counters {
    pub(super) fn answered(&self, judgement: &Judgement) {
        let counter = match judgement {
            Judgement::Allow => &self.allowed,
            Judgement::Change(_) => &self.changed,
            Judgement::Deny(_) => &self.denied,
            Judgement::Unavailable { .. } => &self.unanswered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Counts {
        let [allowed, changed, denied, unanswered] =
            [&self.allowed, &self.changed, &self.denied, &self.unanswered]
                .map(|counter| counter.load(Ordering::Relaxed));
        Counts { allowed, changed, denied, unanswered }
    }
}
