//! The range of every number in the table of settings. A value outside is a mistake in the configuration,
//! told before anything starts, and not a panic, an overflow or an allocation later on.

use std::ops::RangeInclusive;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// 0 chooses. A worker has a thread and its buffers, some megabytes; more than cores only cost.
pub(super) const WORKERS: RangeInclusive<u64> = 0..=32;

/// An hour: clients that wait longer look dead to their users.
pub(super) const DRAIN_RETRY_AFTER_MS: RangeInclusive<u64> = 0..=3_600_000;

/// To a day: a key that an issuer has withdrawn should not be good for longer.
pub(super) const JWKS_REFRESH_S: RangeInclusive<u64> = 1..=86_400;

/// From one look a second, which any issuer bears, to an hour, for which nobody could sign in with a new key.
pub(super) const JWKS_REFRESH_MIN_S: RangeInclusive<u64> = 1..=3_600;

/// To a week: longer than any rotation takes.
pub(super) const JWKS_OVERLAP_S: RangeInclusive<u64> = 0..=604_800;

/// 0 has no limit. To ten years, which is what `quoth-server token` signs at most.
pub(super) const TOKEN_LIFETIME_MAX_S: RangeInclusive<u64> = 0..=3_650 * 86_400;

/// One takes some hundred bytes. All are gone through when something is revoked, and read at each start.
pub(super) const REVOCATIONS_MAX: RangeInclusive<u64> = 1..=10_000_000;

/// To more devices than anybody has.
pub(super) const LOGIN_DEVICES_MAX: RangeInclusive<u64> = 1..=1_000;

/// To ten minutes, for which somebody who has gone looks there.
pub(super) const PRESENCE_LEAVE_MS: RangeInclusive<u64> = 0..=600_000;

/// At least some of the largest groups. At most what a start reads in a few seconds, since it looks at the
/// rest of the last segment; the log takes two or three times this of the disk.
pub(super) const LOG_SEGMENT_BYTES: RangeInclusive<u64> = 4 * MIB..=GIB;

/// At least some blocks of the view. At most 64 GiB, more than the memory of the machines that this server is
/// made for.
pub(super) const VIEW_CACHE_BYTES: RangeInclusive<u64> = MIB..=64 * GIB;

/// 0 holds nothing back. At most what frees anything: all that is rewritten at once, and more than that.
pub(super) const RESERVE_BYTES: RangeInclusive<u64> = 0..=64 * GIB;

/// A connection costs tens of kilobytes, so a million is tens of gigabytes. Below what a semaphore counts
/// (2^61).
pub(super) const CONNECTIONS_MAX: RangeInclusive<u64> = 1..=1_000_000;

/// Sixteen times what quinn lets wait for acceptance (4,096).
pub(super) const HANDSHAKES_MAX: RangeInclusive<u64> = 1..=65_536;

/// Above [`HANDSHAKES_MAX`] it would have no effect.
pub(super) const HANDSHAKES_PER_ADDRESS_MAX: RangeInclusive<u64> = 1..=65_536;

/// 0 validates every address. Above [`HANDSHAKES_MAX`] it would have no effect.
pub(super) const RETRY_ABOVE_HANDSHAKES: RangeInclusive<u64> = 0..=65_536;

/// From one round trip in a bad network to a minute, within which a connection that has shown nothing holds
/// its place.
pub(super) const HANDSHAKE_TIMEOUT_MS: RangeInclusive<u64> = 100..=60_000;

/// From three of the longest round trips that a bad mobile network makes usual (1.5 s): a client sends
/// something in each third of it, and one that is lost and sent again must not be its end. To an hour, for
/// which a client that has vanished holds its memory.
pub(super) const IDLE_TIMEOUT_MS: RangeInclusive<u64> = 5_000..=3_600_000;

/// 0 sends none. Longer than the longest idle timeout it would have no effect.
pub(super) const KEEP_ALIVE_INTERVAL_MS: RangeInclusive<u64> = 0..=3_600_000;

/// Two: a conversation of one has notes. At most what a start of the conversation, which reads them all, does
/// within a second; each costs about 100 bytes of memory while the conversation is in use.
pub(super) const MEMBERS_MAX: RangeInclusive<u64> = 2..=100_000;

/// 0 has no limit. To a hundred years, which nobody tells from it.
pub(super) const ALTER_WITHIN_MS: RangeInclusive<u64> = 0..=100 * 365 * 86_400_000;

/// quinn holds a table slot for every stream that it allows: at most some tens of kilobytes for a connection.
pub(super) const OPEN_CONVERSATIONS_MAX: RangeInclusive<u64> = 1..=1_024;

/// From some flushes of a slow disk to ten minutes, longer than anybody waits.
pub(super) const REQUEST_TIMEOUT_MS: RangeInclusive<u64> = 100..=600_000;

/// At least one of the largest messages as base64 in JSON. At most what a request may reasonably cost in
/// memory, times [`API_REQUESTS_MAX`] at worst.
pub(super) const API_BODY_BYTES_MAX: RangeInclusive<u64> = 128 * 1024..=256 * MIB;

/// From some flushes of a slow disk to ten minutes, longer than proxies and clients of HTTP wait.
pub(super) const API_REQUEST_TIMEOUT_MS: RangeInclusive<u64> = 100..=600_000;

/// Backends are few; each request may hold [`API_BODY_BYTES_MAX`].
pub(super) const API_REQUESTS_MAX: RangeInclusive<u64> = 1..=10_000;

/// From a round trip to another machine to a minute, for which a message would wait.
pub(super) const HOOKS_TIMEOUT_MS: RangeInclusive<u64> = 10..=60_000;

/// Each has a connection and a message.
pub(super) const HOOKS_REQUESTS_MAX: RangeInclusive<u64> = 1..=10_000;

/// From a busy backend's usual time to ten minutes, for which a backend that has gone goes unnoticed.
pub(super) const HOOKS_EVENTS_TIMEOUT_MS: RangeInclusive<u64> = 100..=600_000;

/// From two of the smallest segments of the log to more than disks have.
pub(super) const HOOKS_OUTBOX_BYTES_MAX: RangeInclusive<u64> = 8 * MIB..=1024 * 1024 * GIB;
/// 0 counts none.
pub(super) const CONNECTIONS_OF_ONE_MAX: RangeInclusive<u64> = 0..=1_000_000;

/// 0 slows nobody. Above a million a second it would have no effect.
pub(super) const PER_SECOND_MAX: RangeInclusive<u64> = 0..=1_000_000;

/// 0 slows nobody. Below one of the largest frames a second a connection would not be worth having, which is
/// left to who wants it so; at most 4 GB/s.
pub(super) const BYTES_PER_SECOND_MAX: RangeInclusive<u64> = 0..=4_000_000_000;

/// 0 is no limit. At least what a client opens behind its Hello when it comes back, or it would wait for a
/// second each time.
pub(super) const STREAMS_PER_SECOND_MAX: RangeInclusive<u64> = 0..=1_000_000;

/// A look costs a read of each span. To an hour, by which space is free later.
pub(super) const RETENTION_INTERVAL_S: RangeInclusive<u64> = 1..=3_600;

/// From what a few looks take to a year; laws say a month or so.
pub(super) const RETENTION_ERASURE_MAX_S: RangeInclusive<u64> = 10..=366 * 86_400;

/// From a share of the slowest disks that is worth anything to more than disks can.
pub(super) const RETENTION_REWRITE_BYTES_PER_S: RangeInclusive<u64> = MIB..=64 * GIB;
