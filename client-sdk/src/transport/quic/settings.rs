//! QUIC settings of a client, with the reason for each value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::congestion::BbrConfig;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, IdleTimeout, TransportConfig, VarInt};
use quoth_protocol::ALPN;
use rustls::RootCertStore;

use super::super::keep_alive::{self, KEEP_ALIVES_IN_IDLE_TIMEOUT};
use super::super::tls;
use super::idle_timeout;
use crate::error::ConnectError;

/// Below that a server's idle timeout is not followed: a third of the shortest that a Quoth server can have.
const KEEP_ALIVE_INTERVAL_LEAST: Duration = Duration::from_millis(333);

/// What a server may send on one stream ahead of its reader, in bytes: more than the largest frame, and 10
/// Mbit/s at a round trip of 100 ms.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Streams beside the open conversations (control, history) that must get through while all conversations are
/// stalled.
const SLACK_STREAMS: u32 = 16;

/// Sent and not acknowledged by the peer's QUIC, in bytes: 80 Mbit/s at a round trip of 100 ms.
const SEND_WINDOW_BYTES: u64 = 1024 * 1024;

/// Typing notices that wait, in each direction, in bytes; older ones are dropped, which is what they are for.
const DATAGRAM_BUFFER_BYTES: usize = 16 * 1024;

/// Before a round trip has been measured; RFC 9002's 333 ms makes the first loss expensive.
const INITIAL_RTT: Duration = Duration::from_millis(200);

/// Unidirectional streams are none of the protocol's; a few are granted so that a later server's are no
/// error.
const UNI_STREAMS_MAX: u32 = 8;

/// The client's side of TLS, trusting the given roots alone.
pub(super) fn tls(roots: RootCertStore) -> Result<Arc<idle_timeout::Listening>, ConnectError> {
    let crypto = QuicClientConfig::try_from(tls::config(roots, ALPN)?);
    Ok(Arc::new(idle_timeout::Listening(Arc::new(crypto.map_err(|e| ConnectError::Tls(e.to_string()))?))))
}

/// How often keep-alives are sent: what the application has chosen, or less if a server has proved to need
/// it.
#[derive(Debug)]
pub(super) struct KeepAliveInterval(AtomicU64);

impl KeepAliveInterval {
    pub(super) fn new(interval: Duration) -> Self {
        let this = Self(AtomicU64::default());
        this.set(interval);
        this
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, interval: Duration) {
        self.0.store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The longest interval with which the server does not take a silent client for gone.
pub(super) fn keep_alive_interval_for(connection: &Connection) -> Duration {
    let third = |timeout: Duration| timeout / KEEP_ALIVES_IN_IDLE_TIMEOUT;
    idle_timeout::of(connection).map_or(Duration::MAX, third).max(KEEP_ALIVE_INTERVAL_LEAST)
}

/// The client's side of QUIC.
pub(super) fn client_config(
    tls: Arc<idle_timeout::Listening>,
    open_conversations_max: u32,
    keep_alive_interval: Duration,
) -> ClientConfig {
    let idle_timeout = keep_alive::idle_timeout(keep_alive_interval);
    // Room for every stream's window: conversations that stall cannot take the credit of others.
    let streams = open_conversations_max.saturating_add(SLACK_STREAMS);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(streams.saturating_mul(STREAM_WINDOW_BYTES).min(u32::MAX >> 2)))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        // Far below the 2^62 ms that QUIC can say, with which no timeout would be set.
        .max_idle_timeout(IdleTimeout::try_from(idle_timeout).ok())
        .keep_alive_interval(Some(keep_alive_interval))
        // As the server does it: a phone's losses are seldom congestion.
        .congestion_controller_factory(Arc::new(BbrConfig::default()))
        .initial_rtt(INITIAL_RTT);
    let mut config = ClientConfig::new(tls);
    config.transport_config(Arc::new(transport));
    config
}

/// An endpoint on a port of the system's choice, for IPv6 and IPv4 where there is IPv6.
pub(crate) fn endpoint() -> Result<Endpoint, ConnectError> {
    Endpoint::client(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        .or_else(|_| Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))
        .map_err(|error| ConnectError::Socket { error })
}

/// A fresh socket like that of [`endpoint`], to move to after a change of networks.
pub(crate) fn socket(like: SocketAddr) -> std::io::Result<UdpSocket> {
    let any = if like.is_ipv6() {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    };
    UdpSocket::bind(any)
}
