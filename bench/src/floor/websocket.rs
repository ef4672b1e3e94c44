//! A relay over bare WebSocket, without TLS: what browsers could have at the least. A message has the number
//! of a lane, four bytes, and a frame behind it; a lane is what a stream is over QUIC.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use quoth_protocol::codec::Decoder;
use quoth_protocol::frame::ClientFrame;
use quoth_protocol::limits::FRAME_BYTES_MAX;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::rooms::{Member, Out, Rooms};
use super::tell_address;

/// Messages that go out in one write.
const WRITE_MESSAGES_MAX: usize = 256;

/// Serves and prints the address. Ends with its process.
///
/// # Errors
/// When it cannot serve.
pub fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        tell_address(listener.local_addr()?)?;
        let rooms = Rooms::new();
        loop {
            let (tcp, _) = listener.accept().await?;
            let rooms = rooms.clone();
            tokio::spawn(async move {
                let _client_is_gone = connection(tcp, rooms).await;
            });
        }
    })
}

/// A message of a lane.
#[must_use]
pub fn message(lane: u32, frame: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(4 + frame.len());
    bytes.put_u32(lane);
    bytes.extend_from_slice(frame);
    Message::Binary(bytes.freeze())
}

/// The lane of a message and what is behind it.
///
/// # Errors
/// When it is too short.
pub fn lane_of(bytes: &Bytes) -> anyhow::Result<(u32, Bytes)> {
    let lane = bytes.first_chunk().ok_or_else(|| anyhow::anyhow!("a message without a lane"))?;
    Ok((u32::from_be_bytes(*lane), bytes.slice(4..)))
}

async fn connection(tcp: TcpStream, rooms: Rooms) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let (sink, stream) = tokio_tungstenite::accept_async(tcp).await?.split();
    let (frames, waiting) = mpsc::unbounded_channel();
    tokio::spawn(write(sink, waiting));
    read(stream, frames, rooms).await
}

async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut waiting: mpsc::UnboundedReceiver<(u32, Bytes)>,
) -> anyhow::Result<()> {
    let mut frames = Vec::new();
    while waiting.recv_many(&mut frames, WRITE_MESSAGES_MAX).await > 0 {
        for (lane, frame) in frames.drain(..) {
            sink.feed(message(lane, &frame)).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

async fn read(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    frames: mpsc::UnboundedSender<(u32, Bytes)>,
    rooms: Rooms,
) -> anyhow::Result<()> {
    let mut lanes: HashMap<u32, Member> = HashMap::new();
    while let Some(message) = stream.next().await {
        let Message::Binary(bytes) = message? else { continue };
        let (lane, bytes) = lane_of(&bytes)?;
        let member = lanes.entry(lane).or_insert_with(|| rooms.member(Out { lane, frames: frames.clone() }));
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        decoder.push(&bytes);
        while let Some(frame) = decoder.next_frame::<ClientFrame>()? {
            member.handle(frame)?;
        }
    }
    Ok(())
}
