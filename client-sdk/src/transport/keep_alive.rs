//! How often something must cross a connection, whatever carries it.

use std::time::Duration;

/// Default of [`Builder::keep_alive_interval`](crate::Builder::keep_alive_interval), which has the reason.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Bounds of what an application may choose: a PING a second costs more than it tells, and the protocol wants
/// one in 20 s.
const KEEP_ALIVE_INTERVAL_MIN: Duration = Duration::from_secs(1);
const KEEP_ALIVE_INTERVAL_MAX: Duration = Duration::from_secs(20);

/// Keep-alives that are sent in an idle timeout, of either side: two may be lost.
pub(super) const KEEP_ALIVES_IN_IDLE_TIMEOUT: u32 = 3;

/// A network that is away for less is waited for, however often keep-alives are sent.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// What an application has chosen, within the bounds.
pub(crate) fn interval(chosen: Duration) -> Duration {
    chosen.clamp(KEEP_ALIVE_INTERVAL_MIN, KEEP_ALIVE_INTERVAL_MAX)
}

/// How long a server may be silent that is asked so often.
pub(super) fn idle_timeout(keep_alive_interval: Duration) -> Duration {
    (KEEP_ALIVES_IN_IDLE_TIMEOUT * keep_alive_interval).max(IDLE_TIMEOUT_MIN)
}
