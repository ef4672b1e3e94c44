//! How long a conversation's events are kept.
//!
//! An event is **absent** as soon as the conversation's policy, or its own time to live, says so, whether
//! anything has been freed by then or not. Age, number and bytes of what is kept all bound a conversation
//! from its beginning, so they come to [`Marks`]: what lies before them is absent. Marks only rise. Those
//! that a policy has come to are kept when another one takes its place ([`Kept::set_policy`]), so a longer
//! policy brings nothing back; and a hold is only that a policy raises them no further.

mod class;
mod judged;
mod kept;
#[cfg(test)]
mod tests;

use quoth_protocol::Seq;
pub use quoth_protocol::retention::{Marks, Place, Retention};

pub use class::{CLASSES_MAX, ClassError, Classes, RetentionClass, check_names};
pub use judged::{JudgedTime, judged_ms};
pub use kept::{Kept, KeptError, Retain};

/// The end of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct End {
    /// Its last event.
    pub seq: Seq,
    /// Bytes of the contents of all events.
    pub bytes: u64,
}

/// What a policy comes to at a time, for a conversation with this end.
const fn marks_of(policy: Retention, now_ms: u64, end: End) -> Marks {
    let mut marks = Marks { seq: Seq::ZERO, time_ms: 0, offset: 0 };
    // What is as old as that is absent.
    if policy.age_s > 0
        && let Some(last_ms) = now_ms.checked_sub(policy.age_s.saturating_mul(1_000))
    {
        marks.time_ms = last_ms.saturating_add(1);
    }
    if policy.count > 0 {
        marks.seq = Seq(end.seq.0.saturating_sub(policy.count).saturating_add(1));
    }
    if policy.bytes > 0 {
        marks.offset = end.bytes.saturating_sub(policy.bytes);
    }
    marks
}

/// How a conversation is kept at a time. With its end it says what is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeping {
    /// What earlier policies have come to.
    pub marks: Marks,
    /// The policy, unless a hold has ended it.
    pub policy: Retention,
    /// The time by which policy and times to live are judged, in milliseconds since 1970.
    pub now_ms: u64,
    /// The time by which times to live are judged: when a hold began, it has not gone on.
    pub live_ms: u64,
}

impl Keeping {
    /// Everything for ever, but for what has its own time to live.
    #[must_use]
    pub fn for_ever(now_ms: u64) -> Self {
        Self { now_ms, live_ms: now_ms, ..Self::default() }
    }

    /// Whether marks or a policy may make anything absent.
    #[must_use]
    pub fn may_take(&self) -> bool {
        !self.marks.is_nothing() || !self.policy.is_for_ever()
    }

    /// When an event that is not absent will be, if nothing but time goes on; `u64::MAX`: never. `time_ms` is
    /// when it was stored, `expires_ms` when its time to live is over, 0: it has none.
    #[must_use]
    pub const fn ends_ms(&self, time_ms: u64, expires_ms: u64) -> u64 {
        let by_age = match self.policy.age_s {
            0 => u64::MAX,
            age_s => time_ms.saturating_add(age_s.saturating_mul(1_000)),
        };
        // While a hold lasts, times to live do not go on.
        let is_held = self.live_ms < self.now_ms;
        if expires_ms > 0 && expires_ms < by_age && !is_held { expires_ms } else { by_age }
    }

    /// Whether what is absent depends on where the conversation ends.
    #[must_use]
    pub const fn depends_on_end(&self) -> bool {
        self.policy.count > 0 || self.policy.bytes > 0
    }

    /// What is absent of a conversation with this end.
    #[must_use]
    pub fn judge(&self, end: End) -> Judge {
        let marks = self.marks.max(marks_of(self.policy, self.now_ms, end));
        Judge { marks, live_ms: self.live_ms }
    }
}

/// Says of each event of a conversation whether it is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judge {
    /// What lies before these is absent.
    pub marks: Marks,
    /// What has expired by this time is, in milliseconds since 1970.
    pub live_ms: u64,
}

impl Judge {
    /// Whether an event is absent: `expires_ms` is when its time to live is over, in milliseconds since 1970;
    /// 0: it has none.
    #[must_use]
    pub const fn is_absent(&self, place: Place, expires_ms: u64) -> bool {
        (expires_ms != 0 && expires_ms <= self.live_ms) || self.marks.covers(place)
    }
}

/// Ranges of absent seqs among events, each as large as it is.
#[derive(Debug, Clone, Copy)]
pub struct Gaps {
    /// The last seq that was told of.
    told: Seq,
}

impl Gaps {
    /// Begins behind a seq.
    #[must_use]
    pub const fn behind(seq: Seq) -> Self {
        Self { told: seq }
    }

    /// The next event is to be told: gives what is absent before it.
    pub fn event(&mut self, seq: Seq) -> Option<(Seq, Seq)> {
        let gap = self.until(Seq(seq.0.saturating_sub(1)));
        self.told = self.told.max(seq);
        gap
    }

    /// Everything up to and including `to` is told: gives what is absent at its end.
    pub fn until(&mut self, to: Seq) -> Option<(Seq, Seq)> {
        let gap = (to > self.told).then(|| (self.told.next(), to));
        self.told = self.told.max(to);
        gap
    }
}
