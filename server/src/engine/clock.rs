//! Where the engine gets the time from, and the time by which it judges and stores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quoth_core::retention::{JudgedTime, judged_ms};

/// Where the engine gets the time from.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970. It may be set on and back.
    fn unix_ms(&self) -> u64;

    /// Milliseconds since some time, by a clock that nobody sets.
    fn elapsed_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed_ms(&self) -> u64 {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        u64::try_from(FIRST.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for JudgedClock {
    /// The time by which everything is judged, which a clock that is set back does not set back.
    fn unix_ms(&self) -> u64 {
        self.now_ms()
    }

    fn elapsed_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }
}

/// Tells the time by which everything is judged and stored. A clock that is set back brings nothing back.
#[derive(Debug)]
pub(super) struct JudgedClock {
    clock: Arc<dyn Clock>,
    /// See [`JudgedTime::origin_ms`].
    origin_ms: AtomicU64,
    /// Since when that time has not gone back with the clock, in milliseconds since 1970.
    right_since_ms: AtomicU64,
}

impl JudgedClock {
    /// Goes on behind what was stored last, in milliseconds since 1970.
    pub(super) fn behind(stored_ms: u64, clock: Arc<dyn Clock>) -> Self {
        let (clock_ms, elapsed_ms) = (clock.unix_ms(), clock.elapsed_ms());
        let judged = judged_ms(stored_ms, clock_ms);
        if judged > clock_ms {
            tracing::warn!(
                clock_ms,
                stored_ms,
                "the clock is behind what was stored last: until it is there, everything is judged and stored by that \
                 time, which goes on half as fast"
            );
        } else if stored_ms > clock_ms {
            tracing::error!(
                clock_ms,
                stored_ms,
                "the clock is more than a day behind what was stored last. It is taken for right; if it is not, what has \
                 expired and is not freed is back: set the clock and start again"
            );
        }
        let origin_ms = AtomicU64::new(JudgedTime::of(judged, elapsed_ms).origin_ms());
        Self { clock, origin_ms, right_since_ms: AtomicU64::new(judged) }
    }

    /// A time at which something was done, in milliseconds since 1970. One that is to come was told by a clock that
    /// was far ahead: then it was done at the latest when that was mended, as far as this process knows.
    pub(super) fn done_ms(&self, done_ms: u64) -> u64 {
        if done_ms > self.now_ms() { self.right_since_ms.load(Ordering::Relaxed) } else { done_ms }
    }

    /// That time, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        // It changes once in a millisecond, and is read at each delivery.
        let before = self.origin_ms.load(Ordering::Relaxed);
        let (clock_ms, elapsed_ms) = (self.clock.unix_ms(), self.clock.elapsed_ms());
        let time = JudgedTime::from_origin_ms(before);
        let (latest, judged) = (time.latest_ms(elapsed_ms), time.at(clock_ms, elapsed_ms));
        if judged == latest {
            return latest;
        }
        let now = JudgedTime::of(judged, elapsed_ms).origin_ms();
        // Who was faster has come to the same, but for a moment.
        match self.origin_ms.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                if judged < latest {
                    self.right_since_ms.store(judged, Ordering::Relaxed);
                    tracing::error!(
                        clock_ms,
                        judged_ms = latest,
                        "the clock was set back by more than a day: it was wrong before, or is now. It is taken for right"
                    );
                }
                judged
            }
            Err(other) => JudgedTime::from_origin_ms(other).at(clock_ms, elapsed_ms),
        }
    }
}
