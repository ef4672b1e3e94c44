//! The simulated time as a clock for the server and for QUIC.

use std::time::{Duration, SystemTime};

use quoth_server::engine::Clock;
use tokio::time::Instant;

/// When every simulation begins, in milliseconds since 1970.
pub(super) const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;

/// A clock that goes with tokio's paused time.
#[derive(Debug, Clone, Copy)]
pub(super) struct SimClock {
    started: Instant,
    at_start: Duration,
}

impl SimClock {
    /// A clock of the simulated host that runs; it is ahead of the simulation by so much.
    pub(super) fn start(ahead: Duration) -> Self {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        Self { started: Instant::now(), at_start: Duration::from_millis(BEGIN_UNIX_MS) + elapsed + ahead }
    }

    fn since_1970(self) -> Duration {
        self.at_start + self.started.elapsed()
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl quinn::TimeSource for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.since_1970()
    }
}
