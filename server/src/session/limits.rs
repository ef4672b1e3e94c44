//! Sizes and times that a configuration may change.

use quoth_protocol::limits::{FETCHES_AT_ONCE_MAX, OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX};

/// Sizes and times that a configuration may change.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Handshakes at once.
    pub handshakes_max: usize,
    /// Handshakes at once of one address: an IPv4 address, or a /64 network of IPv6. More are ignored, and from half of it
    /// on the address must be validated by a Retry first.
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
    /// Whether one system call may send several packets: faster for few fast readers, 10 KB more for each connection.
    pub segmentation_offload: bool,
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
            segmentation_offload: false,
            congestion_control: CongestionControl::Bbr,
        }
    }
}

impl Limits {
    /// Conversations that a connection may have open whose token may publish on behalf of users, or may not.
    pub(super) fn open_conversations_max_of(&self, is_service: bool) -> u32 {
        let least = if is_service { OPEN_CONVERSATIONS_SERVICE_MAX } else { 0 };
        self.open_conversations_max.max(least)
    }
}

/// Streams that a signed-in connection has: the control stream, all its conversations and [`FETCHES_AT_ONCE_MAX`].
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
