//! How long to wait before the next attempt: full jitter, so that clients that lost a server together do not
//! come back together.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Upper bound of the first wait.
const BASE: Duration = Duration::from_millis(500);

/// Upper bound of every wait that the server did not ask for.
const CAP: Duration = Duration::from_secs(30);

/// A stream that the server has failed to serve so often in a row, over 2 s on average, is told as such to
/// the application: a fault that passes is over by then.
pub(crate) const FAILURES_BEFORE_TOLD: u32 = 4;

/// A connection that has held for so long starts over with short waits.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Counts failed attempts and draws the wait before the next one.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The wait before the next attempt: random in `[0, min(CAP, BASE * 2^attempt)]`, on top of what the
    /// server asked for.
    pub(crate) fn next_delay(&mut self, rng: &mut impl Rng, retry_after: Option<Duration>) -> Duration {
        let bound = BASE.saturating_mul(2_u32.saturating_pow(self.attempt)).min(CAP);
        self.attempt = self.attempt.saturating_add(1);
        retry_after.unwrap_or_default() + bound.mul_f64(rng.random_range(0.0..=1.0))
    }

    /// Told how long a connection has held, once it is gone.
    pub(crate) fn held_for(&mut self, duration: Duration) {
        if duration >= STABLE_AFTER {
            self.attempt = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_are_spread_over_the_whole_range_and_capped() {
        let mut rng = StdRng::seed_from_u64(7);
        for attempt in 0..40 {
            let bound = BASE.saturating_mul(2_u32.saturating_pow(attempt)).min(CAP);
            let draws: Vec<Duration> =
                (0..200).map(|_| Backoff { attempt }.next_delay(&mut rng, None)).collect();
            assert!(draws.iter().all(|d| *d <= bound));
            assert!(draws.iter().any(|d| *d < bound / 10), "no short wait at attempt {attempt}");
            assert!(draws.iter().any(|d| *d > bound / 10 * 9), "no long wait at attempt {attempt}");
        }
    }

    #[test]
    fn the_bound_doubles_until_a_connection_has_held() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.next_delay(&mut rng, None);
        }
        backoff.held_for(STABLE_AFTER - Duration::from_millis(1));
        assert_eq!(backoff.attempt, 100);
        backoff.held_for(STABLE_AFTER);
        assert!(backoff.next_delay(&mut rng, None) <= BASE);
    }

    #[test]
    fn the_server_s_wait_is_a_lower_bound() {
        let mut rng = StdRng::seed_from_u64(7);
        let asked = Duration::from_secs(90);
        for _ in 0..100 {
            let delay = Backoff::default().next_delay(&mut rng, Some(asked));
            assert!(delay >= asked && delay <= asked + BASE);
        }
    }
}
