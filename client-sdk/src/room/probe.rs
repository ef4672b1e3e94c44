//! When a publish whose answer does not come is sent again, though its connection is there.
//!
//! A server that was killed and has restarted knows nothing of the connection and says so to the first packet
//! that it gets. What has reached its predecessor is never sent again by QUIC, so without a probe there would
//! be no such packet before the next keep-alive. A server that is only slow answers the repeat like the
//! original, and stores nothing twice.

use std::time::Duration;

use tokio::time::Instant;

/// Round trips that an answer may take: one for the publish, and as many again for losses and a flush.
const ROUND_TRIPS: u32 = 4;

/// An answer that takes less is no reason for doubt: a disk that is busy flushes in hundreds of milliseconds.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Pauses double up to this, so that a server which is slow under load is not loaded further.
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// Counts the time without an answer.
#[derive(Debug, Default)]
pub(super) struct Probe {
    due: Option<Instant>,
    pause: Duration,
}

impl Probe {
    /// An answer has come, or none is awaited.
    pub(super) fn reset(&mut self) {
        self.due = None;
    }

    /// When to call [`Probe::is_due`] next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to send a probe now. Begins to count with the first call while an answer is awaited.
    pub(super) fn is_due(&mut self, now: Instant, round_trip: Duration) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if self.due.is_none() {
            self.pause = round_trip.saturating_mul(ROUND_TRIPS).clamp(PAUSE_MIN, PAUSE_MAX);
        } else if is_due {
            self.pause = (2 * self.pause).min(PAUSE_MAX);
        } else {
            return false;
        }
        self.due = Some(now + self.pause);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(round_trip: Duration, seconds: u32) -> Vec<u32> {
        let (start, mut probe) = (Instant::now(), Probe::default());
        let is_due = |s: &u32| probe.is_due(start + Duration::from_secs((*s).into()), round_trip);
        (0..seconds).filter(is_due).collect()
    }

    #[test]
    fn pauses_grow_from_a_few_round_trips_to_a_bound() {
        assert_eq!(probes(Duration::from_millis(50), 60), [1, 3, 7, 15, 31, 47]);
        assert_eq!(probes(Duration::from_secs(2), 60), [8, 24, 40, 56]);
        assert_eq!(probes(Duration::from_secs(60), 60), [16, 32, 48]);
    }

    #[test]
    fn an_answer_begins_the_count_anew() {
        let (start, mut probe) = (Instant::now(), Probe::default());
        assert!(!probe.is_due(start, Duration::ZERO));
        assert!(probe.is_due(start + PAUSE_MIN, Duration::ZERO));
        probe.reset();
        assert_eq!(probe.due(), None);
        assert!(!probe.is_due(start + PAUSE_MIN, Duration::ZERO));
        assert_eq!(probe.due(), Some(start + 2 * PAUSE_MIN));
    }
}
