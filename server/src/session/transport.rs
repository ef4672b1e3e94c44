//! Exactly what a session needs of what carries it: a connection with streams.

use std::net::SocketAddr;

use bytes::Bytes;
use quinn::VarInt;
use quoth_protocol::Code;

use crate::quic::raise_limits;

/// A connection whose handshake is complete. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// QUIC, with its own streams.
    Quic(quinn::Connection),
}

/// The server's side of a stream. Dropped, it is finished.
#[derive(Debug)]
pub(super) enum SendStream {
    Quic(quinn::SendStream),
}

/// The client's side of a stream. Dropped, the client is told that no more of it is read.
#[derive(Debug)]
pub(super) enum RecvStream {
    Quic(quinn::RecvStream),
}

/// The client has ended the stream, or the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// What of some chunks was written: so many of them as a whole, and so many bytes of these and of the next one, whose
/// written part is cut off.
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
        }
    }

    /// The next datagram. Dropping the future loses nothing.
    pub(super) async fn read_datagram(&self) -> Result<Bytes, Gone> {
        match self {
            Self::Quic(quic) => quic.read_datagram().await.map_err(|_| Gone),
        }
    }

    /// Whether the client takes datagrams.
    pub(super) fn has_datagrams(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.max_datagram_size().is_some(),
        }
    }

    /// Sends a datagram; says whether it may arrive.
    pub(super) fn send_datagram(&self, datagram: Bytes) -> bool {
        match self {
            Self::Quic(quic) => quic.send_datagram(datagram).is_ok(),
        }
    }

    /// Grants what a client has that is signed in and may have so many conversations open.
    pub(super) fn raise_limits(&self, open_conversations_max: u32) {
        match self {
            Self::Quic(quic) => raise_limits(quic, open_conversations_max),
        }
    }

    /// Closes the connection. The first close counts.
    pub(super) fn close(&self, code: Code, reason: &str) {
        match self {
            Self::Quic(quic) => quic.close(VarInt::from_u32(code.0), reason.as_bytes()),
        }
    }

    /// Whether the connection is closed, by either side, or lost.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.close_reason().is_some(),
        }
    }

    /// The client's address at present.
    pub(super) fn peer(&self) -> SocketAddr {
        match self {
            Self::Quic(quic) => quic.remote_address(),
        }
    }
}

impl SendStream {
    /// Writes as much of some chunks as there is room for. Dropping the future loses nothing.
    pub(super) async fn write_chunks(&mut self, chunks: &mut [Bytes]) -> Result<Written, Gone> {
        match self {
            Self::Quic(send) => {
                let written = send.write_chunks(chunks).await.map_err(|_| Gone)?;
                Ok(Written { chunks: written.chunks, bytes: written.bytes })
            }
        }
    }

    /// Says that nothing more comes. The error says that the stream has ended before.
    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        match self {
            Self::Quic(send) => send.finish().map_err(|_| Gone),
        }
    }

    /// Waits until the client has all of a finished stream, or wants no more.
    pub(super) async fn stopped(&mut self) {
        match self {
            Self::Quic(send) => {
                let _in_any_case = send.stopped().await;
            }
        }
    }

    /// Ends the stream with a code; what was written may be lost.
    pub(super) fn reset(&mut self, code: Code) {
        match self {
            Self::Quic(send) => {
                let _already_ended = send.reset(VarInt::from_u32(code.0));
            }
        }
    }

    /// Sets whose turn it is when several streams have something to send: the highest one's.
    pub(super) fn set_priority(&self, priority: i32) {
        match self {
            Self::Quic(send) => {
                let _already_ended = send.set_priority(priority);
            }
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
        }
    }

    /// Says that no more is read.
    pub(super) fn stop(&mut self, code: Code) {
        match self {
            Self::Quic(recv) => {
                let _already_ended = recv.stop(VarInt::from_u32(code.0));
            }
        }
    }
}
