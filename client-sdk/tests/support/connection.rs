//! A connection of the fake server's, over either transport.

use bytes::Bytes;
use quinn::VarInt;
use quoth_client::{Code, Transport};
use quoth_lanes::{LaneRecv, LaneSend, Lanes};

use super::STREAMS_MAX;
use super::wire::Frames;

#[derive(Clone)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
    WebSocket(Lanes),
}

pub(super) enum SendHalf {
    Quic(quinn::SendStream),
    WebSocket(LaneSend),
}

pub(super) enum RecvHalf {
    Quic(quinn::RecvStream),
    WebSocket(LaneRecv),
}

impl Connection {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Quic(_) => Transport::Quic,
            Self::WebSocket(_) => Transport::WebSocket,
        }
    }

    pub(super) async fn accept(&self) -> Result<Frames, ()> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.accept_bi().await.map_err(|_| ())?;
                Ok(Frames::new(SendHalf::Quic(send), RecvHalf::Quic(recv)))
            }
            Self::WebSocket(lanes) => {
                let (send, recv) = lanes.accept().await.map_err(|_| ())?;
                Ok(Frames::new(SendHalf::WebSocket(send), RecvHalf::WebSocket(recv)))
            }
        }
    }

    pub(super) fn signed_in(&self) {
        if let Self::WebSocket(lanes) = self {
            lanes.signed_in(STREAMS_MAX);
        }
    }

    pub(crate) fn close(&self, code: Code, text: &str) {
        match self {
            Self::Quic(quic) => quic.close(VarInt::from_u32(code.0), text.as_bytes()),
            Self::WebSocket(lanes) => lanes.close(code, text),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.close_reason().is_some(),
            Self::WebSocket(lanes) => lanes.close_reason().is_some(),
        }
    }

    /// Waits for the end; gives the code with which the client has closed, if it has.
    pub(super) async fn closed(&self) -> Option<Code> {
        match self {
            Self::Quic(quic) => match quic.closed().await {
                quinn::ConnectionError::ApplicationClosed(close) => {
                    Some(Code(u32::try_from(close.error_code.into_inner()).unwrap()))
                }
                _ => None,
            },
            Self::WebSocket(lanes) => {
                let closed = lanes.closed().await;
                closed.code.filter(|_| closed.by_peer)
            }
        }
    }

    pub(super) async fn read_datagram(&self) -> Option<Bytes> {
        match self {
            Self::Quic(quic) => quic.read_datagram().await.ok(),
            Self::WebSocket(lanes) => {
                lanes.closed().await;
                None
            }
        }
    }

    pub(super) fn send_datagram(&self, datagram: Bytes) {
        if let Self::Quic(quic) = self {
            quic.send_datagram(datagram).ok();
        }
    }
}

impl SendHalf {
    pub(super) async fn write(&mut self, frames: &mut [Bytes]) -> Result<usize, ()> {
        match self {
            Self::Quic(send) => Ok(send.write_chunks(frames).await.map_err(|_| ())?.chunks),
            Self::WebSocket(send) => Ok(send.write_chunks(frames).await.map_err(|_| ())?.chunks),
        }
    }

    pub(super) fn finish(&mut self) {
        match self {
            Self::Quic(send) => drop(send.finish()),
            Self::WebSocket(send) => send.finish(),
        }
    }

    pub(super) fn reset(&mut self, code: Code) {
        match self {
            Self::Quic(send) => drop(send.reset(VarInt::from_u32(code.0))),
            Self::WebSocket(send) => send.reset(code),
        }
    }

    /// Waits until the client has got all that was sent; a close does not overtake it on a WebSocket.
    pub(super) async fn received(&mut self) {
        match self {
            Self::Quic(send) => drop(send.stopped().await),
            Self::WebSocket(_) => {}
        }
    }
}

impl RecvHalf {
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, ()> {
        match self {
            Self::Quic(recv) => {
                Ok(recv.read_chunk(usize::MAX, true).await.map_err(|_| ())?.map(|chunk| chunk.bytes))
            }
            Self::WebSocket(recv) => recv.read_chunk().await.map_err(|_| ()),
        }
    }

    pub(super) fn stop(&mut self, code: Code) {
        match self {
            Self::Quic(recv) => drop(recv.stop(VarInt::from_u32(code.0))),
            Self::WebSocket(recv) => recv.stop(code),
        }
    }
}
