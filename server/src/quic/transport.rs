//! Every QUIC limit and window, set by us: quinn's defaults are made for bulk transfer between peers that
//! trust each other (an unbounded connection window, 10 MB of send buffer, 200 pre-allocated streams, no
//! keep-alive).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

use quoth_protocol::limits::STREAMS_BEFORE_SIGN_IN_MAX;

use super::steering::{SteeredIds, Steering};
use crate::session::{CongestionControl, Limits, streams_of};

/// Bytes that a client may have on its way in one stream: more than the largest frame, and 10 Mbit/s at 100
/// ms.
const STREAM_RECEIVE_WINDOW_BYTES: u32 = 128 * 1024;

/// The same for all streams of a connection before it has signed in.
const RECEIVE_WINDOW_BEFORE_SIGN_IN_BYTES: u32 = 32 * 1024;

/// The same afterwards.
const RECEIVE_WINDOW_BYTES: u32 = 512 * 1024;

/// Bytes sent and not acknowledged, for one connection: 20 Mbit/s at 100 ms. A client that vanishes costs
/// that at the most, and beside it what waits in each of its streams: some 48 KiB of frames, and the rest of
/// one page of the view, which is 64 KiB and what its events take besides.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;

/// Datagram buffers, in bytes: about 15 typing notices. Old ones are dropped, which is what a notice wants.
const DATAGRAM_BUFFER_BYTES: usize = 16 * 1024;

/// Connections that wait to be accepted, and bytes that they may have sent meanwhile, each and together.
const INCOMING_MAX: usize = 4_096;
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 32 * 1024 * 1024;

/// For how long an address validated by a Retry stays so, and by a token of an earlier connection.
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);

/// Streams that a signed-in connection is granted, so that it always has credit for [all that it
/// has](streams_of).
///
/// quinn announces that streams are free again only when more than an eighth of all have become so, so up to
/// an eighth may be free without the client's knowing.
const fn streams_max(open_conversations_max: u32) -> u32 {
    let wanted = streams_of(open_conversations_max);
    wanted.saturating_add(wanted.div_ceil(7))
}

/// Grants a connection what it has once it is signed in and may have so many conversations open.
pub(crate) fn raise_limits(quic: &quinn::Connection, open_conversations_max: u32) {
    quic.set_max_concurrent_bi_streams(VarInt::from_u32(streams_max(open_conversations_max)));
    quic.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES));
}

fn transport_config(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let keep_alive = Duration::from_millis(limits.keep_alive_interval_ms.into());
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_BEFORE_SIGN_IN_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BEFORE_SIGN_IN_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(limits.idle_timeout_ms))))
        .keep_alive_interval((!keep_alive.is_zero()).then_some(keep_alive))
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .congestion_controller_factory(congestion_controller(limits.congestion_control))
        .allow_spin(false)
        .enable_segmentation_offload(false);
    transport
}

fn congestion_controller(chosen: CongestionControl) -> Arc<dyn ControllerFactory + Send + Sync> {
    match chosen {
        CongestionControl::Bbr => Arc::new(BbrConfig::default()),
        CongestionControl::Cubic => Arc::new(CubicConfig::default()),
    }
}

/// The QUIC configuration around a TLS one.
///
/// # Errors
/// When the TLS configuration cannot do TLS 1.3 with a QUIC cipher suite.
pub fn server_config(
    tls: rustls::ServerConfig,
    limits: &Limits,
    secret: &EndpointSecret,
) -> Result<ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(Arc::new(transport_config(limits)))
        .migration(true)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX)
        .token_key(Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, b"quoth address tokens").extract(secret)))
        .retry_token_lifetime(RETRY_TOKEN_LIFETIME);
    Ok(config)
}

/// The same for a connection that sends several packets with one system call, and has memory for as many;
/// `None` where none does.
#[must_use]
pub fn with_segmentation_offload(config: &ServerConfig, limits: &Limits) -> Option<Arc<ServerConfig>> {
    (limits.segmentation_offload_connections_max > 0).then(|| {
        let (mut config, mut transport) = (config.clone(), transport_config(limits));
        transport.enable_segmentation_offload(true);
        config.transport_config(Arc::new(transport));
        Arc::new(config)
    })
}

/// The secret behind the endpoint's own keys. A server that keeps it over a restart can tell the clients of
/// before, with a stateless reset, that their connections are gone; otherwise they wait for their idle
/// timeout.
pub type EndpointSecret = [u8; 32];

/// The configuration of a worker's endpoint itself.
#[must_use]
pub fn endpoint_config(secret: &EndpointSecret, steering: Steering) -> EndpointConfig {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let derived = hmac::sign(&key, b"quoth connection ids");
    let cid_key = derived.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(key));
    // An id that this generator cannot have made is dropped without an answer, so its key must be kept too.
    config.cid_generator(move || Box::new(SteeredIds::new(cid_key, steering)));
    config
}

#[cfg(test)]
mod tests {
    use quoth_protocol::limits::{
        FETCHES_AT_ONCE_MAX, OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX,
    };

    use super::streams_max;

    /// The least credit of a client that has so many conversations open and fetches nothing, by the rule of
    /// `quinn_proto::StreamsState::queue_max_stream_id`.
    fn least_credit(open_conversations: u32) -> u32 {
        let streams_max = streams_max(open_conversations);
        let unannounced_max = streams_max / 8;
        streams_max - 1 - open_conversations - unannounced_max
    }

    #[test]
    fn fetches_have_credit_when_all_conversations_are_open() {
        let configured =
            [OPEN_CONVERSATIONS_MAX, OPEN_CONVERSATIONS_SERVICE_MAX].into_iter().chain(1..10_000);
        for open_conversations in configured {
            assert!(least_credit(open_conversations) >= FETCHES_AT_ONCE_MAX, "{open_conversations}");
            assert!(least_credit(open_conversations) <= FETCHES_AT_ONCE_MAX + 1, "no slot more than needed");
        }
        assert_eq!(streams_max(u32::MAX), u32::MAX);
    }
}
