//! A WebSocket from its upgrade to its end: moves messages between a socket and the lanes that stand for
//! QUIC's streams.
//!
//! What the messages mean is `quoth_lanes`' and the session's work; here is what a socket needs: frames of
//! RFC 6455, bounds, pings, timeouts, and closes that say why.

mod floods;
mod heard;
mod heartbeat;
mod messages;
mod outbox;
mod pump;
mod status;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use quoth_lanes::{Format, Lanes};
use tokio::net::TcpStream;

use crate::http::Stream;
use crate::session::{self, Place, Service, Transport};
use floods::Floods;
pub use heard::Heard;
use heartbeat::Heartbeat;
pub use messages::Messages;
use pump::Pump;

/// Silence of the server after which it pings, unless a third of the idle timeout is less.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(20);

/// How long a client may take next to nothing of what is sent to it, and send next to nothing of a message
/// that it has begun. Lanes that nobody reads are held up by their credit; this is a socket that nobody
/// reads.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a close may take: to be written, and to be answered. Less than the second and the seven within
/// which a drain ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket on which the handshake of RFC 6455 is done, and how its messages are written.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) stream: Stream,
    /// What of the client's first messages came with the handshake.
    pub(crate) read: Vec<u8>,
    pub(crate) format: Format,
    /// The client; behind a trusted proxy the one that the proxy names, with port 0.
    pub(crate) peer: SocketAddr,
    /// Its place among the connections.
    pub(crate) place: Place,
}

/// The two tasks of a connection: its session, and what moves its messages. Each ends when the other one has.
pub(crate) fn tasks(
    upgraded: Upgraded,
    service: Service,
) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
    let Upgraded { stream, read, format, peer, place } = upgraded;
    let lanes = Lanes::server(format);
    let heartbeat = heartbeat(service.limits.idle_timeout_ms);
    let heard = Heard::default();
    let floods = Floods::new(&service.limits);
    let pump = Pump::new(stream, read, Some(place), lanes.clone(), heartbeat, heard.clone(), floods);
    (session::run(Transport::WebSocket { lanes, peer, heard }, service), pump.run())
}

/// Moves messages between a TCP connection and what stands behind it until either ends, just as is done for
/// sessions: so that tests can see how the socket behaves when something else is there. The handshake of RFC
/// 6455 is done, and nothing has come behind it.
pub async fn run(tcp: TcpStream, messages: impl Messages, idle_timeout_ms: u32) {
    let heartbeat = heartbeat(idle_timeout_ms);
    Pump::new(Stream::plain(tcp), Vec::new(), None, messages, heartbeat, Heard::default(), Floods::none())
        .run()
        .await;
}

fn heartbeat(idle_timeout_ms: u32) -> Heartbeat {
    let idle_timeout = Duration::from_millis(idle_timeout_ms.into());
    Heartbeat::new(idle_timeout, PING_INTERVAL_MAX.min(idle_timeout / 3), STALL_TIMEOUT)
}
