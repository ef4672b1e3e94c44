//! What a network has done, for reports.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::link::Counts;

/// What a network has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Client to server.
    pub up: DirectionCounters,
    /// Server to client.
    pub down: DirectionCounters,
}

/// What one direction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DirectionCounters {
    /// What became of the packets.
    #[serde(flatten)]
    pub counts: Counts,
    /// Packets that the device dropped because the relay did not fetch them in time: the machine was too
    /// busy, and what was measured meanwhile is not the profile's network. Not part of `sent`.
    pub overrun: u64,
    /// How much later than due packets came out.
    pub lateness: Lateness,
}

/// How much later than due the relay let packets out, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// Half of the packets came out sooner.
    pub p50_us: u64,
    /// All but a hundredth of the packets came out sooner.
    pub p99_us: u64,
    /// The latest one.
    pub max_us: u64,
}

/// Latenesses as they come. Longer ones than a minute count as a minute.
#[derive(Debug)]
pub(crate) struct Latenesses(Histogram<u64>);

impl Latenesses {
    const MAX_US: u64 = 60_000_000;

    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_max(Self::MAX_US, 2).expect("bounds that the library takes"))
    }

    pub(crate) fn record(&mut self, lateness: Duration) {
        self.0.saturating_record(u64::try_from(lateness.as_micros()).unwrap_or(Self::MAX_US));
    }

    pub(crate) fn summary(&self) -> Lateness {
        Lateness {
            p50_us: self.0.value_at_quantile(0.5),
            p99_us: self.0.value_at_quantile(0.99),
            max_us: self.0.max(),
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up    {}\ndown  {}", self.up, self.down)
    }
}

impl fmt::Display for DirectionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, overrun, lateness } = self;
        write!(
            f,
            "sent {}, delivered {}, under way {}, lost {}, queue full {}, too big {}, blacked out {}, reordered {}, \
             duplicated {}, overrun {overrun}; late by {} us (p50), {} us (p99), {} us (max)",
            counts.sent,
            counts.delivered,
            counts.under_way,
            counts.lost,
            counts.queue_full,
            counts.too_big,
            counts.blacked_out,
            counts.reordered,
            counts.duplicated,
            lateness.p50_us,
            lateness.p99_us,
            lateness.max_us
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latenesses;

    #[test]
    fn latenesses_are_summed_up() {
        let mut latenesses = Latenesses::new();
        assert_eq!(latenesses.summary().max_us, 0);
        for us in 1..=100 {
            latenesses.record(Duration::from_micros(us));
        }
        latenesses.record(Duration::from_secs(1_000));
        let summary = latenesses.summary();
        assert_eq!((summary.p50_us, summary.p99_us), (51, 100));
        assert!(summary.max_us >= 60_000_000);
    }
}
