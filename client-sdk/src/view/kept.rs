//! How long a conversation's events are kept, as far as a reader can know. Pure.

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::retention::Retention;

use super::ranges::Ranges;

/// What the events that have come say of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// The latest one that says so, or a later one that does not and behind which nothing is known to.
    set: Option<(Seq, Retention)>,
    /// The events that have come themselves. Among absent ones there may be one that has set another
    /// retention: that stays in force.
    seen: Ranges,
}

impl Kept {
    /// An event has come that is nothing of it, or of an unknown kind.
    pub(super) fn seen(&mut self, seq: Seq) {
        self.seen.insert(seq, seq);
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.seen(event.seq);
        if let EventKind::RetentionSet { retention } = event.kind
            && self.set.is_none_or(|(seq, _)| seq < event.seq)
        {
            self.set = Some((event.seq, retention));
        }
    }

    /// The latest one that has come.
    pub(super) fn latest(&self) -> Option<Retention> {
        self.set.map(|(_, retention)| retention)
    }

    /// The one in force, when each event behind it up to this one has come.
    pub(super) fn in_force_at(&self, last: Seq) -> Option<Retention> {
        self.set.filter(|(set, _)| self.seen.all_behind(*set) >= last).map(|(_, retention)| retention)
    }

    pub(super) fn forget_before(&mut self, begin: Seq) {
        if let Some((set, _)) = &mut self.set {
            // It is known up to there, and stays so when those before are forgotten.
            *set = (*set).max(self.seen.all_behind(*set).min(Seq(begin.0.saturating_sub(1))));
        }
        self.seen.forget_before(begin);
    }
}
