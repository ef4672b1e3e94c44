//! The range of every number in the table of settings. A value outside is a mistake in the configuration, told before
//! anything starts, and not a panic, an overflow or an allocation later on.

use std::ops::RangeInclusive;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// 0 chooses. A worker has a thread and its buffers, some megabytes; more than cores only cost.
pub(super) const WORKERS: RangeInclusive<u64> = 0..=32;

/// An hour: clients that wait longer look dead to their users.
pub(super) const DRAIN_RETRY_AFTER_MS: RangeInclusive<u64> = 0..=3_600_000;

/// At least some of the largest groups. At most what a start reads in a few seconds, since it looks at the rest of the
/// last segment; the log takes two or three times this of the disk.
pub(super) const LOG_SEGMENT_BYTES: RangeInclusive<u64> = 4 * MIB..=GIB;

/// At least some blocks of the view. At most 64 GiB, more than the memory of the machines that this server is made for.
pub(super) const VIEW_CACHE_BYTES: RangeInclusive<u64> = MIB..=64 * GIB;

/// A connection costs tens of kilobytes, so a million is tens of gigabytes. Below what a semaphore counts (2^61).
pub(super) const CONNECTIONS_MAX: RangeInclusive<u64> = 1..=1_000_000;

/// Sixteen times what quinn lets wait for acceptance (4,096).
pub(super) const HANDSHAKES_MAX: RangeInclusive<u64> = 1..=65_536;

/// Above [`HANDSHAKES_MAX`] it would have no effect.
pub(super) const HANDSHAKES_PER_ADDRESS_MAX: RangeInclusive<u64> = 1..=65_536;

/// 0 validates every address. Above [`HANDSHAKES_MAX`] it would have no effect.
pub(super) const RETRY_ABOVE_HANDSHAKES: RangeInclusive<u64> = 0..=65_536;

/// From one round trip in a bad network to a minute, within which a connection that has shown nothing holds its place.
pub(super) const HANDSHAKE_TIMEOUT_MS: RangeInclusive<u64> = 100..=60_000;

/// From three of the longest round trips that a bad mobile network makes usual (1.5 s): a client sends something in each
/// third of it, and one that is lost and sent again must not be its end. To an hour, for which a client that has vanished
/// holds its memory.
pub(super) const IDLE_TIMEOUT_MS: RangeInclusive<u64> = 5_000..=3_600_000;

/// 0 sends none. Longer than the longest idle timeout it would have no effect.
pub(super) const KEEP_ALIVE_INTERVAL_MS: RangeInclusive<u64> = 0..=3_600_000;

/// quinn holds a table slot for every stream that it allows: at most some tens of kilobytes for a connection.
pub(super) const OPEN_CONVERSATIONS_MAX: RangeInclusive<u64> = 1..=1_024;

/// 0 counts none.
pub(super) const CONNECTIONS_OF_ONE_MAX: RangeInclusive<u64> = 0..=1_000_000;

/// 0 slows nobody. Above a million a second it would have no effect.
pub(super) const PER_SECOND_MAX: RangeInclusive<u64> = 0..=1_000_000;

/// 0 slows nobody. Below one of the largest frames a second a connection would not be worth having, which is left to who wants it so;
/// at most 4 GB/s.
pub(super) const BYTES_PER_SECOND_MAX: RangeInclusive<u64> = 0..=4_000_000_000;

/// 0 is no limit. At least what a client opens behind its Hello when it comes back, or it would wait for a second each time.
pub(super) const STREAMS_PER_SECOND_MAX: RangeInclusive<u64> = 0..=1_000_000;
