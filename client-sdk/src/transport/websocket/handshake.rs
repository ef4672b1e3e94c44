//! Connecting: TCP, TLS, and the request that makes a WebSocket of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quoth_protocol::Code;
use quoth_protocol::limits::LANE_MESSAGE_BYTES_MAX;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use super::super::tls;
use super::Connection;
use crate::error::ConnectError;
use crate::session_end::SessionEnd;
use crate::state::{Reason, printable};

/// Where a server has its WebSocket.
const PATH: &str = "/v1/ws";

const SUBPROTOCOL: &str = "quoth.v1.postcard";

/// What the socket is read into at once, in bytes. tungstenite keeps it, and grows it for a message that is
/// larger.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// What is gathered before it goes to TLS, in bytes: the most that one TLS record takes. The pump flushes
/// behind all that waits.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// A wait that a server asks for and that is taken seriously.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What it takes to connect again and again.
pub(crate) struct Dialer {
    tls: TlsConnector,
    keep_alive_interval: Duration,
}

impl Dialer {
    pub(crate) fn new(roots: RootCertStore, keep_alive_interval: Duration) -> Result<Self, ConnectError> {
        let config: ClientConfig = tls::config(roots, b"http/1.1")?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), keep_alive_interval })
    }

    /// A connection to one of the addresses of `server`, which is its `host:port`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        server: &str,
        server_name: &str,
    ) -> Result<Connection, SessionEnd> {
        let uri: Uri = format!("wss://{server}{PATH}").parse().map_err(|_| no_websocket("it has no URI"))?;
        let name = ServerName::try_from(server_name.to_owned()).map_err(|e| Reason::Tls(e.to_string()))?;
        let tcp = TcpStream::connect(address).await.map_err(|e| Reason::Transport(e.to_string()))?;
        // The pump decides what leaves together.
        tcp.set_nodelay(true).map_err(|e| Reason::Transport(e.to_string()))?;
        let tls = self.tls.connect(name, tcp).await.map_err(|error| tls_reason(&error))?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let asked_at = Instant::now();
        let (socket, _) =
            client_async_with_config(request, tls, Some(config())).await.map_err(request_end)?;
        Ok(Connection::new(socket, asked_at.elapsed(), self.keep_alive_interval))
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES + 2 * LANE_MESSAGE_BYTES_MAX)
        .max_message_size(Some(LANE_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(LANE_MESSAGE_BYTES_MAX))
}

fn no_websocket(text: &str) -> Reason {
    Reason::NoWebSocket(printable(text))
}

/// Why TLS has failed: rustls' own errors are about the server, all others about the way there.
fn tls_reason(error: &std::io::Error) -> Reason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Reason::Tls(printable(&tls.to_string())),
        None => Reason::Transport(printable(&error.to_string())),
    }
}

/// Why there is no WebSocket behind TLS.
fn request_end(error: Error) -> SessionEnd {
    match error {
        Error::Http(response) => refusal(&response),
        // The network, or a server that hangs up in the middle.
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            Reason::Transport(printable(&error.to_string())).into()
        }
        other => no_websocket(&other.to_string()).into(),
    }
}

/// What an answer means that is no consent.
fn refusal(response: &Response) -> SessionEnd {
    let status = response.status();
    let text = format!("HTTP {status}");
    let reason = match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Reason::Code { code: Code::OVERLOADED, text }
        }
        // A proxy on the way cannot reach the server.
        status if status.is_server_error() => Reason::Transport(text),
        _ => no_websocket(&text),
    };
    SessionEnd { retry_after: retry_after(response), ..SessionEnd::from(reason) }
}

/// The seconds of `Retry-After`; its other form, a date, is not for this.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: u16, retry_after: Option<&str>) -> SessionEnd {
        let mut response = Response::new(None);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(value) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, value.parse().unwrap());
        }
        request_end(Error::Http(Box::new(response)))
    }

    #[test]
    fn a_server_that_has_too_much_to_do_is_asked_again_when_it_wants_to_be() {
        let overloaded = end(503, Some("7"));
        assert!(matches!(overloaded.reason, Reason::Code { code: Code::OVERLOADED, .. }), "{overloaded:?}");
        assert_eq!(overloaded.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(end(503, Some("99999999999")).retry_after, Some(RETRY_AFTER_MAX));
        assert_eq!(end(503, Some("Fri, 31 Dec 1999 23:59:59 GMT")).retry_after, None);
    }

    #[test]
    fn other_answers_say_whether_trying_again_can_help() {
        for status in [400, 403, 404, 426] {
            let Reason::NoWebSocket(text) = end(status, None).reason else { panic!("{status}") };
            assert!(text.contains(&status.to_string()), "{text}");
        }
        assert!(matches!(end(502, None).reason, Reason::Transport(_)));
        assert!(matches!(request_end(Error::ConnectionClosed).reason, Reason::Transport(_)));
    }
}
