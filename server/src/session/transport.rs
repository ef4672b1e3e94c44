//! Exactly what a session needs of what carries it: a connection with streams.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionError, VarInt};
use quoth_lanes::{LaneRecv, LaneSend, Lanes};
use quoth_protocol::Code;

use super::streams_of;
use crate::quic::raise_limits;
use crate::websocket::Heard;

/// A connection whose handshake is complete. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// QUIC, with its own streams.
    Quic(quinn::Connection),
    /// A WebSocket, with lanes for streams.
    WebSocket {
        /// Its lanes.
        lanes: Lanes,
        /// The client's address.
        peer: SocketAddr,
        /// Whether the client has answered a close.
        heard: Heard,
    },
}

/// The server's side of a stream. Dropped, it is finished.
#[derive(Debug)]
pub(super) enum SendStream {
    Quic(quinn::SendStream),
    Lane(LaneSend),
}

/// The client's side of a stream. Dropped, the client is told that no more of it is read.
#[derive(Debug)]
pub(super) enum RecvStream {
    Quic(quinn::RecvStream),
    Lane(LaneRecv),
}

/// The client has ended the stream, or the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// What of some chunks was written: so many of them as a whole, and so many bytes of these and of the next
/// one, whose written part is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) chunks: usize,
    pub(super) bytes: usize,
}

impl Transport {
    /// The next stream that the client has opened. Dropping the future loses nothing.
    pub(super) async fn accept(&self) -> Result<(SendStream, RecvStream), Gone> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.accept_bi().await.map_err(|_| Gone)?;
                Ok((SendStream::Quic(send), RecvStream::Quic(recv)))
            }
            Self::WebSocket { lanes, .. } => {
                let (send, recv) = lanes.accept().await.map_err(|_| Gone)?;
                Ok((SendStream::Lane(send), RecvStream::Lane(recv)))
            }
        }
    }

    /// The next datagram. Dropping the future loses nothing.
    pub(super) async fn read_datagram(&self) -> Result<Bytes, Gone> {
        match self {
            Self::Quic(quic) => quic.read_datagram().await.map_err(|_| Gone),
            // It has none.
            Self::WebSocket { .. } => std::future::pending().await,
        }
    }

    /// How long it takes until the client has said that something has come; zero over WebSocket, where
    /// nothing overtakes anything.
    pub(super) fn round_trip(&self) -> Duration {
        match self {
            Self::Quic(quic) => quic.rtt(),
            Self::WebSocket { .. } => Duration::ZERO,
        }
    }

    /// Whether the client takes datagrams.
    pub(super) fn has_datagrams(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.max_datagram_size().is_some(),
            Self::WebSocket { .. } => false,
        }
    }

    /// Sends a datagram; says whether it may arrive.
    pub(super) fn send_datagram(&self, datagram: Bytes) -> bool {
        match self {
            Self::Quic(quic) => quic.send_datagram(datagram).is_ok(),
            Self::WebSocket { .. } => false,
        }
    }

    /// Grants what a client has that is signed in and may have so many conversations open.
    pub(super) fn raise_limits(&self, open_conversations_max: u32) {
        match self {
            Self::Quic(quic) => raise_limits(quic, open_conversations_max),
            Self::WebSocket { lanes, .. } => lanes.signed_in(streams_of(open_conversations_max)),
        }
    }

    /// Closes the connection. The first close counts.
    pub(super) fn close(&self, code: Code, reason: &str) {
        match self {
            Self::Quic(quic) => quic.close(VarInt::from_u32(code.0), reason.as_bytes()),
            Self::WebSocket { lanes, .. } => lanes.close(code, reason),
        }
    }

    /// For people: how the connection was closed, by either side, or lost; `None` while it is there.
    pub(super) fn closed(&self) -> Option<String> {
        match self {
            Self::Quic(quic) => quic.close_reason().map(|reason| reason.to_string()),
            Self::WebSocket { lanes, .. } => {
                lanes.close_reason().map(|closed| match (closed.by_peer, closed.code) {
                    (true, Some(code)) => format!("closed by peer: {} {code}", closed.text),
                    (false, Some(code)) => format!("closed: {} {code}", closed.text),
                    (_, None) => closed.text,
                })
            }
        }
    }

    /// The code with which the client has closed the connection, if it has.
    pub(super) fn closed_by_client(&self) -> Option<Code> {
        match self {
            Self::Quic(quic) => match quic.close_reason()? {
                ConnectionError::ApplicationClosed(close) => {
                    u32::try_from(close.error_code.into_inner()).ok().map(Code)
                }
                _ => None,
            },
            Self::WebSocket { lanes, .. } => lanes.close_reason().filter(|closed| closed.by_peer)?.code,
        }
    }

    /// Waits until the client has answered the server's close; for ever where closes have no answers.
    pub(super) async fn close_answered(&self) {
        match self {
            Self::Quic(_) => std::future::pending().await,
            Self::WebSocket { heard, .. } => heard.wait().await,
        }
    }

    /// The client's address at present.
    pub(super) fn peer(&self) -> SocketAddr {
        match self {
            Self::Quic(quic) => quic.remote_address(),
            Self::WebSocket { peer, .. } => *peer,
        }
    }
}

impl SendStream {
    /// Whether a chunk may have several frames. The messages of a lane are made frame by frame.
    pub(super) fn takes_runs(&self) -> bool {
        matches!(self, Self::Quic(_))
    }

    /// Writes as much of some chunks, each of which is whole frames or the rest of them, as there is room
    /// for. Dropping the future loses nothing.
    pub(super) async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<Written, Gone> {
        match self {
            Self::Quic(send) => {
                let written = send.write_chunks(chunks).await.map_err(|_| Gone)?;
                Ok(Written { chunks: written.chunks, bytes: written.bytes })
            }
            Self::Lane(send) => {
                let written = send.write_chunks(chunks).await.map_err(|_| Gone)?;
                Ok(Written { chunks: written.chunks, bytes: written.bytes })
            }
        }
    }

    /// Says that nothing more comes. The error says that the stream has ended before.
    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        match self {
            Self::Quic(send) => send.finish().map_err(|_| Gone),
            Self::Lane(send) => {
                send.finish();
                Ok(())
            }
        }
    }

    /// Waits until the client has all of a finished stream, or wants no more. Gives whether it is known to
    /// have all.
    pub(super) async fn stopped(&mut self) -> bool {
        match self {
            Self::Quic(send) => matches!(send.stopped().await, Ok(None)),
            // A close comes behind all that was written.
            Self::Lane(_) => false,
        }
    }

    /// Ends the stream with a code; what was written may be lost.
    pub(super) fn reset(&mut self, code: Code) {
        match self {
            Self::Quic(send) => {
                let _already_ended = send.reset(VarInt::from_u32(code.0));
            }
            Self::Lane(send) => send.reset(code),
        }
    }

    /// Sets whose turn it is when several streams have something to send: the highest one's.
    pub(super) fn set_priority(&self, priority: i32) {
        match self {
            Self::Quic(send) => {
                let _already_ended = send.set_priority(priority);
            }
            // What little waits for the socket goes in turns.
            Self::Lane(_) => {}
        }
    }
}

impl RecvStream {
    /// The next bytes, or `None` when the client has finished its side. Dropping the future loses nothing.
    pub(super) async fn read_chunk(&mut self) -> Result<Option<Bytes>, Gone> {
        match self {
            Self::Quic(recv) => {
                let chunk = recv.read_chunk(usize::MAX, true).await.map_err(|_| Gone)?;
                Ok(chunk.map(|chunk| chunk.bytes))
            }
            Self::Lane(recv) => recv.read_chunk().await.map_err(|_| Gone),
        }
    }

    /// Says that no more is read.
    pub(super) fn stop(&mut self, code: Code) {
        match self {
            Self::Quic(recv) => {
                let _already_ended = recv.stop(VarInt::from_u32(code.0));
            }
            Self::Lane(recv) => recv.stop(code),
        }
    }
}
