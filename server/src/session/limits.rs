//! Sizes and times that a configuration may change.

use quoth_protocol::limits::{
    FETCHES_AT_ONCE_MAX, OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX, STREAMS_PER_SECOND_MAX,
};

/// Sizes, times and rates that a configuration may change. A rate or a count of 0 is no limit;
/// `docs/LIMITS.md` has what comes of reaching each.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Handshakes at once, and as many TCP connections that are no WebSocket yet. For one more the
    /// network that has most gives up its oldest one.
    pub handshakes_max: usize,
    /// Handshakes at once of one address: an IPv4 address, or a /64 network of IPv6. More are ignored, and
    /// from half of it on the address must be validated by a Retry first.
    pub handshakes_per_address_max: usize,
    /// Handshakes at once from which on an address must be validated by a Retry first.
    pub retry_above_handshakes: usize,
    /// Time for a handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Silence after which a connection is dropped, in milliseconds.
    pub idle_timeout_ms: u32,
    /// Silence after which the server sends a PING, in milliseconds; 0 for never: clients keep alive.
    pub keep_alive_interval_ms: u32,
    /// Conversations that a connection may have open; one that may publish on behalf of users has at least
    /// [`OPEN_CONVERSATIONS_SERVICE_MAX`].
    pub open_conversations_max: u32,
    /// Connections at once of one address: an IPv4 address, or a /64 network of IPv6.
    pub connections_per_address_max: u32,
    /// Signed-in connections at once of one user whose token may not publish on behalf of others.
    pub connections_per_user_max: u32,
    /// Frames of a connection in a second, but for the first one of each stream.
    pub frames_per_second_max: u32,
    /// Bytes of a connection's streams in a second, the same.
    pub bytes_per_second_max: u32,
    /// Publishes of one user in a second, over all connections.
    pub user_publishes_per_second_max: u32,
    /// Publishes to one conversation in a second.
    pub conversation_publishes_per_second_max: u32,
    /// Requests of one user in a second, over all connections.
    pub user_requests_per_second_max: u32,
    /// Users that one user adds to conversations in an hour, and conversations that the user makes, together.
    pub user_adds_per_hour_max: u32,
    /// Members whom one user removes from conversations or bans there in an hour.
    pub user_removals_per_hour_max: u32,
    /// Time for a request, in milliseconds.
    pub request_timeout_ms: u64,
    /// Streams of a connection in a second.
    pub streams_per_second_max: u32,
    /// Streams that a client resets in a second.
    pub resets_per_second_max: u32,
    /// Datagrams of a connection in a second.
    pub datagrams_per_second_max: u32,
    /// Pings, pongs and closes of a WebSocket in a second.
    pub control_frames_per_second_max: u32,
    /// Connections below which a new one sends several packets with one system call: faster for readers that
    /// catch up, 13 KB more for each of them.
    pub segmentation_offload_connections_max: usize,
    /// What decides how much may be on its way to a client.
    pub congestion_control: CongestionControl,
}

/// What decides how much may be on its way to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CongestionControl {
    /// By the rate at which packets arrive (quinn's BBR): a loss alone does not slow it down.
    Bbr,
    /// By losses (RFC 9438), as quinn does it by itself.
    Cubic,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            handshakes_max: 256,
            handshakes_per_address_max: 64,
            retry_above_handshakes: 64,
            handshake_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            keep_alive_interval_ms: 0,
            open_conversations_max: OPEN_CONVERSATIONS_MAX,
            connections_per_address_max: 0,
            connections_per_user_max: 0,
            frames_per_second_max: 0,
            bytes_per_second_max: 0,
            user_publishes_per_second_max: 0,
            conversation_publishes_per_second_max: 0,
            user_requests_per_second_max: 0,
            user_adds_per_hour_max: 0,
            user_removals_per_hour_max: 0,
            // Ten times what a hook has by default, and more than a busy disk takes.
            request_timeout_ms: 10_000,
            streams_per_second_max: STREAMS_PER_SECOND_MAX,
            resets_per_second_max: 100,
            datagrams_per_second_max: 100,
            control_frames_per_second_max: 20,
            segmentation_offload_connections_max: 1_000,
            congestion_control: CongestionControl::Bbr,
        }
    }
}

impl Limits {
    /// What a server has that is not in development mode and whose configuration does not say otherwise. In
    /// development there are no such limits: all that comes is the developer's own, often as one user from
    /// one address, and often as fast as it can.
    #[must_use]
    pub fn deployed(self) -> Self {
        Self {
            // Many people are behind one address of a mobile network or an office.
            connections_per_address_max: 1_000,
            connections_per_user_max: 100,
            // Far above what an application sends; a flood of them takes less than a twentieth of a core.
            frames_per_second_max: 2_000,
            // A third of what a fast home uplink has.
            bytes_per_second_max: 4 * 1_024 * 1_024,
            // People type less than one a second, and a burst of three seconds' worth holds the 256 that a
            // stream may have on its way, so that an application which sends what has gathered is not slowed.
            user_publishes_per_second_max: 100,
            // Nobody can read so many.
            conversation_publishes_per_second_max: 1_000,
            // The burst of three seconds' worth holds what an application asks at its start: two for each of
            // the 64 conversations whose members it may watch.
            user_requests_per_second_max: 50,
            // Some of the largest groups that one request makes (100 members), and more contacts than people
            // gather in a day. Whoever has larger ones to fill invites, or asks a backend.
            user_adds_per_hour_max: 500,
            // Who cleans up takes out faster than one other user adds, and nobody empties a large conversation
            // before its owners see it.
            user_removals_per_hour_max: 1_000,
            ..self
        }
    }

    /// Conversations that a connection may have open whose token may publish on behalf of users, or may not.
    pub(super) fn open_conversations_max_of(&self, is_service: bool) -> u32 {
        let least = if is_service { OPEN_CONVERSATIONS_SERVICE_MAX } else { 0 };
        self.open_conversations_max.max(least)
    }
}

/// Streams that a signed-in connection has: the control stream, all its conversations and
/// [`FETCHES_AT_ONCE_MAX`].
pub(crate) const fn streams_of(open_conversations_max: u32) -> u32 {
    open_conversations_max.saturating_add(1 + FETCHES_AT_ONCE_MAX)
}

#[cfg(test)]
mod tests {
    use quoth_protocol::limits::{OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX};

    use super::Limits;

    #[test]
    fn a_service_has_no_fewer_conversations_than_a_user() {
        let most = |open_conversations_max| {
            let limits = Limits { open_conversations_max, ..Limits::default() };
            [false, true].map(|is_service| limits.open_conversations_max_of(is_service))
        };
        assert_eq!(most(OPEN_CONVERSATIONS_MAX), [OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX]);
        assert_eq!(most(1_000), [1_000, 1_000]);
    }
}
