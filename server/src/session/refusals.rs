//! What was not taken up, told in sum: a line for each attempt would make a flood of them one of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines of the log, at least.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How many attempts were not taken up since the server began, and when that was told.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    retried: AtomicU64,
    refused: AtomicU64,
    ignored: AtomicU64,
    evicted: AtomicU64,
    told: Mutex<Option<Instant>>,
}

/// What has become of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// Its address is to be validated first.
    Retried,
    /// The server is full, or its address has too many connections.
    Refused,
    /// Its address has too many handshakes under way.
    Ignored,
    /// It was begun, and has made room for another network's.
    Evicted,
}

impl Refusals {
    /// Counts one, and tells of all if it is time.
    pub(super) fn count(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Retried => &self.retried,
            Refusal::Refused => &self.refused,
            Refusal::Ignored => &self.ignored,
            Refusal::Evicted => &self.evicted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        // Whoever does not get it leaves the telling to who has it.
        let Some(mut told) = self.told.try_lock() else { return };
        if told.is_none_or(|told| now.duration_since(told) >= TELL_INTERVAL) {
            *told = Some(now);
            let [retried, refused, ignored, evicted] =
                [&self.retried, &self.refused, &self.ignored, &self.evicted]
                    .map(|counter| counter.load(Ordering::Relaxed));
            tracing::warn!(
                retried,
                refused,
                ignored,
                evicted,
                "connection attempts were not taken up at once: see [limits]"
            );
        }
    }
}
