//! Handshakes that are begun and never finished, from an address of the caller's choice.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quinn_proto::{ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig};

/// How long an answer of a server on loopback is waited for: what is silence must be none of a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// What a first packet got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server's side of the handshake.
    Handshake,
    /// The same, after the address was validated by a Retry.
    HandshakeAfterRetry,
    /// A close.
    Refused,
    /// Nothing.
    Silence,
}

/// Begins a handshake from a port of its own on `from` and says what came back. The server goes on to wait
/// for the rest.
///
/// # Errors
/// When nothing can be sent or what comes is for nobody.
pub fn begin(server: SocketAddr, from: IpAddr, config: ClientConfig) -> anyhow::Result<Answer> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let (handle, mut connection) = endpoint.connect(Instant::now(), config, server, "localhost")?;
    let mut answer = Answer::Handshake;
    send(&socket, &mut connection)?;
    let mut datagram = [0; 2_048];
    loop {
        let len = match socket.recv(&mut datagram) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Answer::Silence),
            Err(error) => return Err(error).context("no answer can be received"),
        };
        let datagram = &datagram[..len];
        if !is_retry(datagram) {
            deliver(&mut endpoint, handle, &mut connection, server, datagram)?;
            return Ok(if connection.is_closed() { Answer::Refused } else { answer });
        }
        answer = Answer::HandshakeAfterRetry;
        deliver(&mut endpoint, handle, &mut connection, server, datagram)?;
        send(&socket, &mut connection)?;
    }
}

/// Whether a datagram is a Retry packet (RFC 9000, 17.2.5).
fn is_retry(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0b1011_0000 == 0b1011_0000)
}

fn send(socket: &UdpSocket, connection: &mut Connection) -> anyhow::Result<()> {
    let mut datagram = Vec::new();
    if connection.poll_transmit(Instant::now(), 1, &mut datagram).is_none() {
        bail!("nothing to send");
    }
    socket.send(&datagram)?;
    Ok(())
}

fn deliver(
    endpoint: &mut Endpoint,
    handle: ConnectionHandle,
    connection: &mut Connection,
    server: SocketAddr,
    datagram: &[u8],
) -> anyhow::Result<()> {
    let mut answer = Vec::new();
    match endpoint.handle(Instant::now(), server, None, None, datagram.into(), &mut answer) {
        Some(DatagramEvent::ConnectionEvent(to, event)) if to == handle => {
            connection.handle_event(event);
            Ok(())
        }
        _ => bail!("the server's answer is for no connection"),
    }
}
