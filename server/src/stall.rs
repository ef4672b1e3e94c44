//! Whether a peer moves on with what waits for it: pure, with the times given.

use std::time::Duration;

use quoth_protocol::limits::STALL_PROGRESS_BYTES_MIN;
use tokio::time::Instant;

/// A window in which enough has to move. A byte from time to time is no progress: for the price of one packet
/// a peer would keep what waits for it in memory for ever.
#[derive(Debug)]
pub(crate) struct Stall {
    timeout: Duration,
    bytes_min: u64,
    /// Since when too little has moved, and how much had before.
    since: Option<(Instant, u64)>,
}

impl Stall {
    /// Nothing waits yet. It is a stall when [`STALL_PROGRESS_BYTES_MIN`] bytes take longer than this.
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self { timeout, bytes_min: STALL_PROGRESS_BYTES_MIN, since: None }
    }

    /// The same where any byte counts: for what ends by itself before that is of use to anybody.
    pub(crate) const fn of_any(timeout: Duration) -> Self {
        Self { timeout, bytes_min: 1, since: None }
    }

    /// Something waits at `now`, and so many bytes have moved since the beginning.
    pub(crate) fn waits(&mut self, moved_bytes: u64, now: Instant) {
        match self.since {
            Some((_, before)) if moved_bytes - before < self.bytes_min => {}
            _ => self.since = Some((now, moved_bytes)),
        }
    }

    /// Nothing waits.
    pub(crate) fn is_idle(&mut self) {
        self.since = None;
    }

    /// When it is a stall, unless enough moves until then.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.since.map(|(since, _)| since + self.timeout)
    }

    /// Whether it is one at a time.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ends().is_some_and(|ends| now >= ends)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{STALL_PROGRESS_BYTES_MIN, Stall};

    #[test]
    fn a_byte_from_time_to_time_is_a_stall_and_a_slow_peer_is_none() {
        let (mut stall, start) = (Stall::new(Duration::from_secs(15)), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        assert!(!stall.is_over(at(1_000)) && stall.ends().is_none(), "nothing waits");
        for (moved, s) in [(10, 0), (11, 14), (12, 14)] {
            stall.waits(moved, at(s));
        }
        assert!(!stall.is_over(at(14)) && stall.is_over(at(15)));
        assert_eq!(stall.ends(), Some(at(15)));
        let mut moved = 12;
        for s in (14..1_000).step_by(14) {
            moved += STALL_PROGRESS_BYTES_MIN;
            stall.waits(moved, at(s));
            assert!(!stall.is_over(at(s + 14)));
        }
        stall.is_idle();
        assert!(!stall.is_over(at(2_000)));
        // The next time begins anew.
        stall.waits(moved, at(2_000));
        assert!(!stall.is_over(at(2_014)) && stall.is_over(at(2_015)));
    }

    #[test]
    fn where_any_byte_counts_only_silence_is_a_stall() {
        let (mut stall, start) = (Stall::of_any(Duration::from_secs(1)), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        for moved in 0..10 {
            stall.waits(moved, at(moved * 900));
            assert!(!stall.is_over(at(moved * 900 + 999)));
        }
        stall.waits(9, at(8_200));
        assert!(stall.is_over(at(9_100)));
    }
}
