//! What is played at the most: what is more would fill the memory, or is no number of anything.

/// Rates that can be played, in messages per second: the time between two has a microsecond's sense in it,
/// and ends.
pub(crate) const RATES_PER_S: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;

/// Messages of a round of an open loop.
pub(super) const MESSAGES_MAX: f64 = 100_000_000.0;

/// Messages that a closed loop has in flight, of one publisher.
pub(super) const WINDOW_MAX: u32 = 10_000;

/// Conversations, members or connections.
pub(crate) const COUNT_MAX: u32 = 10_000_000;

/// Seconds of a warm-up, or of what counts of a round.
pub(super) const TIME_S_MAX: f64 = 1_000_000.0;
