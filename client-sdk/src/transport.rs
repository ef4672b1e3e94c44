//! QUIC and TLS settings of a client, with the reason for each value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, IdleTimeout, TransportConfig, VarInt};
use quoth_protocol::ALPN;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::ConnectError;
use crate::idle_timeout;

/// Default of [`Builder::keep_alive_interval`](crate::Builder::keep_alive_interval), which has the reason.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Bounds of what an application may choose: a PING a second costs more than it tells, and the protocol wants one in 20 s.
const KEEP_ALIVE_INTERVAL_MIN: Duration = Duration::from_secs(1);
const KEEP_ALIVE_INTERVAL_MAX: Duration = Duration::from_secs(20);

/// Below that a server's idle timeout is not followed: a third of the shortest that a Quoth server can have.
const KEEP_ALIVE_INTERVAL_LEAST: Duration = Duration::from_millis(333);

/// Keep-alives that are sent in an idle timeout, of either side: two may be lost.
const KEEP_ALIVES_IN_IDLE_TIMEOUT: u32 = 3;

/// A network that is away for less is waited for, however often keep-alives are sent.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// What a server may send on one stream ahead of its reader, in bytes: more than the largest frame, and 10 Mbit/s at a
/// round trip of 100 ms.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Streams beside the open conversations (control, history) that must get through while all conversations are stalled.
const SLACK_STREAMS: u32 = 16;

/// Sent and not acknowledged by the peer's QUIC, in bytes: 80 Mbit/s at a round trip of 100 ms.
const SEND_WINDOW_BYTES: u64 = 1024 * 1024;

/// Typing notices that wait, in each direction, in bytes; older ones are dropped, which is what they are for.
const DATAGRAM_BUFFER_BYTES: usize = 16 * 1024;

/// Before a round trip has been measured; RFC 9002's 333 ms makes the first loss expensive.
const INITIAL_RTT: Duration = Duration::from_millis(200);

/// Unidirectional streams are none of the protocol's; a few are granted so that a later server's are no error.
const UNI_STREAMS_MAX: u32 = 8;

/// The client's side of TLS, trusting the given roots alone.
pub(crate) fn tls(roots: RootCertStore) -> Result<Arc<idle_timeout::Listening>, ConnectError> {
    let tls_error = |e: &dyn std::fmt::Display| ConnectError::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| tls_error(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|e| tls_error(&e))?;
    Ok(Arc::new(idle_timeout::Listening(Arc::new(crypto))))
}

/// How often keep-alives are sent: what the application has chosen, or less if a server has proved to need it.
#[derive(Debug)]
pub(crate) struct KeepAliveInterval(AtomicU64);

impl KeepAliveInterval {
    /// What an application has chosen, within the bounds.
    pub(crate) fn new(chosen: Duration) -> Self {
        let interval = Self(AtomicU64::default());
        interval.set(chosen.clamp(KEEP_ALIVE_INTERVAL_MIN, KEEP_ALIVE_INTERVAL_MAX));
        interval
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, interval: Duration) {
        self.0.store(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The longest interval with which the server does not take a silent client for gone.
pub(crate) fn keep_alive_interval_for(connection: &Connection) -> Duration {
    let third = |timeout: Duration| timeout / KEEP_ALIVES_IN_IDLE_TIMEOUT;
    idle_timeout::of(connection).map_or(Duration::MAX, third).max(KEEP_ALIVE_INTERVAL_LEAST)
}

/// The client's side of QUIC.
pub(crate) fn client_config(
    tls: Arc<idle_timeout::Listening>,
    open_conversations_max: u32,
    keep_alive_interval: Duration,
) -> ClientConfig {
    let idle_timeout = (KEEP_ALIVES_IN_IDLE_TIMEOUT * keep_alive_interval).max(IDLE_TIMEOUT_MIN);
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
        .initial_rtt(INITIAL_RTT);
    let mut config = ClientConfig::new(tls);
    config.transport_config(Arc::new(transport));
    config
}

/// The certificates of a PEM text as roots.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| ConnectError::BadCa(e.to_string()))?;
        roots.add(certificate).map_err(|e| ConnectError::BadCa(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConnectError::BadCa("there is no certificate in it".to_owned()));
    }
    Ok(roots)
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

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(crate) fn host(server: &str) -> Result<&str, ConnectError> {
    let bad = || ConnectError::BadServer { server: server.to_owned() };
    let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err(bad()) } else { Ok(host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        assert_eq!(host("127.0.0.1:4433").unwrap(), "127.0.0.1");
        assert_eq!(host("[::1]:4433").unwrap(), "::1");
        assert_eq!(host("chat.example:1").unwrap(), "chat.example");
        for bad in ["chat.example", ":4433", "chat.example:", "chat.example:http", "chat.example:70000", ""] {
            assert!(matches!(host(bad), Err(ConnectError::BadServer { .. })), "{bad}");
        }
    }

    #[test]
    fn a_ca_must_hold_a_certificate() {
        assert!(matches!(roots(b""), Err(ConnectError::BadCa(_))));
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(roots(garbage), Err(ConnectError::BadCa(_))));
    }
}
