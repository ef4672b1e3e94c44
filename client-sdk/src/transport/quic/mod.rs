//! A connection over QUIC.

mod idle_timeout;
mod liveness;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream, VarInt, WriteError};
use quinn_proto::TokenMemoryCache;
use quoth_protocol::Code;
use rustls::RootCertStore;
use tokio::time::sleep;

use self::liveness::{CHECK_INTERVAL, Liveness};
use self::settings::KeepAliveInterval;
pub(crate) use self::settings::{STREAM_WINDOW_BYTES, endpoint, socket};
use crate::error::ConnectError;
use crate::state::{Reason, printable};
use crate::wire::StreamEnd;

/// Bytes that one read takes at most.
const READ_BYTES_MAX: usize = 64 * 1024;

/// TLS alerts occupy this range of QUIC's transport error codes (RFC 9001, 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// What it takes to connect again and again.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Arc<idle_timeout::Listening>,
    /// By which the server knows the client's address again: without one, a server under load asks for it
    /// first, which costs a round trip.
    address_tokens: Arc<TokenMemoryCache>,
    open_conversations_max: u32,
    /// With which a connection is begun; at most what the application has chosen.
    keep_alive_interval: KeepAliveInterval,
}

impl Dialer {
    pub(crate) fn new(
        endpoint: Endpoint,
        roots: RootCertStore,
        open_conversations_max: u32,
        keep_alive_interval: Duration,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            endpoint,
            tls: settings::tls(roots)?,
            address_tokens: Arc::default(),
            open_conversations_max,
            keep_alive_interval: KeepAliveInterval::new(keep_alive_interval),
        })
    }

    /// A connection that lasts while nobody says anything. Only the handshake tells what that takes, and
    /// quinn's keep-alives are set before it: a connection whose keep-alives prove too rare is given up for
    /// another, and the next ones begin with the right interval.
    pub(crate) async fn connect(&self, address: SocketAddr, server_name: &str) -> Result<Connection, Reason> {
        let begun_with = self.keep_alive_interval.get();
        let connection = self.handshake(address, server_name, begun_with).await?;
        let interval = settings::keep_alive_interval_for(&connection);
        if interval >= begun_with {
            return Ok(connection);
        }
        self.keep_alive_interval.set(interval);
        close(&connection, Code::CLOSED, "the keep-alives would be too rare");
        self.handshake(address, server_name, interval).await
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        server_name: &str,
        keep_alive_interval: Duration,
    ) -> Result<Connection, Reason> {
        let tls = Arc::clone(&self.tls);
        let mut config = settings::client_config(tls, self.open_conversations_max, keep_alive_interval);
        config.token_store(Arc::<TokenMemoryCache>::clone(&self.address_tokens));
        let connecting = self.endpoint.connect_with(config, address, server_name);
        Ok(connecting.map_err(|e| Reason::Transport(e.to_string()))?.await?)
    }
}

/// Closes with a code and a text for people; a connection that has ended stays as it is.
pub(super) fn close(connection: &Connection, code: Code, text: &str) {
    if connection.close_reason().is_none() {
        connection.close(VarInt::from_u32(code.0), text.as_bytes());
    }
}

/// Waits until the server has fallen silent.
pub(super) async fn silence(connection: Connection) {
    let mut liveness = Liveness::default();
    while !liveness.is_lost(&connection.stats()) {
        sleep(CHECK_INTERVAL).await;
    }
}

/// What comes next, in bytes; `None` at the end.
pub(super) async fn read(stream: &mut RecvStream) -> Result<Option<bytes::Bytes>, StreamEnd> {
    match stream.read_chunk(READ_BYTES_MAX, true).await {
        Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
        Err(ReadError::Reset(reset)) => Err(StreamEnd::Reset(code(reset))),
        Err(ReadError::ConnectionLost(e)) => Err(StreamEnd::ConnectionLost(e.into())),
        Err(other) => Err(StreamEnd::Protocol(other.to_string())),
    }
}

/// Writes some of these frames, and says how many as a whole. The written part of the next one is cut off.
pub(super) async fn write(stream: &mut SendStream, frames: &mut [bytes::Bytes]) -> Result<usize, StreamEnd> {
    match stream.write_chunks(frames).await {
        Ok(written) => Ok(written.chunks),
        Err(WriteError::Stopped(stopped)) => Err(StreamEnd::Reset(code(stopped))),
        Err(WriteError::ConnectionLost(e)) => Err(StreamEnd::ConnectionLost(e.into())),
        Err(other) => Err(StreamEnd::Protocol(other.to_string())),
    }
}

impl From<ConnectionError> for Reason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Code {
                code: code(close.error_code),
                text: printable(&String::from_utf8_lossy(&close.reason)),
            },
            ConnectionError::TransportError(e) if TLS_ALERTS.contains(&u64::from(e.code)) => {
                Self::Tls(printable(&e.to_string()))
            }
            ConnectionError::ConnectionClosed(e) if TLS_ALERTS.contains(&u64::from(e.error_code)) => {
                Self::Tls(printable(&e.to_string()))
            }
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::Closed,
            other => Self::Transport(printable(&other.to_string())),
        }
    }
}

/// A QUIC application error code as one of ours; what does not fit is of no known range.
fn code(code: VarInt) -> Code {
    Code(u32::try_from(code.into_inner()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Action;

    use super::*;

    #[test]
    fn a_code_beyond_32_bits_stops() {
        assert_eq!(code(VarInt::MAX).action(), Action::Stop);
        assert_eq!(code(VarInt::from_u32(0x100)), Code::GOING_AWAY);
    }
}
