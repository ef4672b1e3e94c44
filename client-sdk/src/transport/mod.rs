//! What carries a connection: QUIC, or a WebSocket where no UDP gets through. All that the rest of the client
//! knows of it is here.

mod keep_alive;
pub(crate) mod quic;
mod tls;
pub(crate) mod websocket;

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quoth_lanes::LaneRecv;
use quoth_protocol::Code;
use quoth_protocol::frame::{Welcome, feature};

pub(crate) use self::keep_alive::{KEEP_ALIVE_INTERVAL, interval as keep_alive_interval};
pub(crate) use self::tls::{host, roots};
use crate::state::Reason;
use crate::wire::StreamEnd;

/// What carries a client's connection to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// QUIC, or else a WebSocket: QUIC is tried first and a WebSocket 250 ms later, and the first on which
    /// the sign-in succeeds is used. While that is a WebSocket, QUIC is tried again from time to time, and
    /// the client goes over to it.
    #[default]
    Auto,
    /// QUIC alone, over UDP.
    Quic,
    /// A WebSocket alone, over TLS and TCP on the same port number. A conversation that loses a packet then
    /// delays all others, and a change of networks ends the connection.
    WebSocket,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "QUIC or WebSocket",
            Self::Quic => "QUIC",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// A way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Quic,
    WebSocket,
}

impl Path {
    /// Features that a client offers on it.
    pub(crate) fn features(self) -> u64 {
        match self {
            Self::Quic => feature::DATAGRAMS | feature::MEMBERSHIP | feature::MESSAGES,
            Self::WebSocket => feature::MEMBERSHIP | feature::MESSAGES,
        }
    }
}

impl From<Path> for Transport {
    fn from(path: Path) -> Self {
        match path {
            Path::Quic => Self::Quic,
            Path::WebSocket => Self::WebSocket,
        }
    }
}

/// A connection whose handshake is complete. Cheap to clone. It ends at the latest when nobody holds it any
/// more.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
    WebSocket(websocket::Connection),
}

/// The client's side of a stream. Dropped, it is finished.
#[derive(Debug)]
pub(crate) enum SendHalf {
    Quic(quinn::SendStream),
    WebSocket(websocket::Sender),
}

/// The server's side of a stream. Dropped, the server is told that no more of it is read.
#[derive(Debug)]
pub(crate) enum RecvHalf {
    Quic(quinn::RecvStream),
    WebSocket(LaneRecv),
}

/// Ends when the server has fallen silent.
pub(crate) type Silence = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Quic(_) => Path::Quic,
            Self::WebSocket(_) => Path::WebSocket,
        }
    }

    /// Opens a stream once there are fewer than the server allows.
    pub(crate) async fn open(&self) -> Result<(SendHalf, RecvHalf), Reason> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.open_bi().await?;
                Ok((SendHalf::Quic(send), RecvHalf::Quic(recv)))
            }
            Self::WebSocket(websocket) => {
                let (send, recv) = websocket.open().await?;
                Ok((SendHalf::WebSocket(send), RecvHalf::WebSocket(recv)))
            }
        }
    }

    /// The sign-in has succeeded, and more is granted. QUIC is told by the server.
    pub(crate) fn signed_in(&self, welcome: &Welcome) {
        match self {
            Self::Quic(_) => {}
            Self::WebSocket(websocket) => websocket.signed_in(welcome.open_conversations_max),
        }
    }

    /// Closes with a code and a text for people; a connection that has ended stays as it is.
    pub(crate) fn close(&self, code: Code, text: &str) {
        match self {
            Self::Quic(quic) => quic::close(quic, code, text),
            Self::WebSocket(websocket) => websocket.close(code, text),
        }
    }

    /// Waits until the connection has ended, and says why.
    pub(crate) async fn closed(&self) -> Reason {
        match self {
            Self::Quic(quic) => quic.closed().await.into(),
            Self::WebSocket(websocket) => websocket.closed().await,
        }
    }

    /// Waits until a WebSocket's server has been told about the close. Over QUIC that is the endpoint's
    /// business.
    pub(crate) async fn told(&self) {
        match self {
            Self::Quic(_) => {}
            Self::WebSocket(websocket) => websocket.told().await,
        }
    }

    /// A round trip, as far as is known.
    pub(crate) fn round_trip(&self) -> Duration {
        match self {
            Self::Quic(quic) => quic.rtt(),
            Self::WebSocket(websocket) => websocket.round_trip(),
        }
    }

    /// Waits until the server has fallen silent, so that the connection is to be given up. It holds the
    /// connection.
    pub(crate) fn silence(&self) -> Silence {
        match self {
            Self::Quic(quic) => Box::pin(quic::silence(quic.clone())),
            Self::WebSocket(websocket) => Box::pin(websocket.clone().silence()),
        }
    }

    /// PATH_CHALLENGE frames that have come: a server sends them to every new address of the client. `None`
    /// when the connection cannot move at all.
    pub(crate) fn path_challenges(&self) -> Option<u64> {
        match self {
            Self::Quic(quic) => Some(quic.stats().frame_rx.path_challenge),
            Self::WebSocket(_) => None,
        }
    }

    /// The next datagram. Behind the connection's end `None`; waits for ever where there are no datagrams.
    /// Cancel-safe.
    pub(crate) async fn read_datagram(&self) -> Option<Bytes> {
        match self {
            Self::Quic(quic) => quic.read_datagram().await.ok(),
            Self::WebSocket(_) => pending().await,
        }
    }

    /// Sends a datagram if there is a way, and says whether there was.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        match self {
            Self::Quic(quic) => {
                let fits = quic.max_datagram_size().is_some_and(|max| datagram.len() <= max);
                // What finds no room is dropped, or something older is: that is what datagrams are for.
                fits && quic.send_datagram(datagram).is_ok()
            }
            Self::WebSocket(_) => false,
        }
    }
}

impl SendHalf {
    /// Writes some of these frames, and says how many as a whole. The written part of the next one is cut
    /// off. Cancel-safe.
    pub(crate) async fn write(&mut self, frames: &mut [Bytes]) -> Result<usize, StreamEnd> {
        match self {
            Self::Quic(send) => quic::write(send, frames).await,
            Self::WebSocket(send) => send.write(frames).await,
        }
    }

    /// Says that nothing more follows.
    pub(crate) fn finish(&mut self) {
        match self {
            // Fails only on a stream that the peer has stopped, which is an end as well.
            Self::Quic(send) => drop(send.finish()),
            Self::WebSocket(send) => send.lane().finish(),
        }
    }

    /// Abandons the stream.
    pub(crate) fn reset(&mut self, code: Code) {
        match self {
            Self::Quic(send) => drop(send.reset(quinn::VarInt::from_u32(code.0))),
            Self::WebSocket(send) => send.lane().reset(code),
        }
    }
}

impl RecvHalf {
    /// What comes next, in bytes; `None` at the end. Cancel-safe.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        match self {
            Self::Quic(recv) => quic::read(recv).await,
            Self::WebSocket(recv) => websocket::read(recv).await,
        }
    }

    /// Tells the server that nothing more is read here.
    pub(crate) fn stop(&mut self, code: Code) {
        match self {
            // Fails only on a stream that has ended, where there is nothing to stop.
            Self::Quic(recv) => drop(recv.stop(quinn::VarInt::from_u32(code.0))),
            Self::WebSocket(recv) => recv.stop(code),
        }
    }
}
