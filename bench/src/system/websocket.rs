//! Clients of the WebSocket relay.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, EventKind, Open, ServerFrame, Start};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{ConversationName, ProducerId};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, Part, Received, Receiver, Sender, System};
use crate::floor::websocket::{lane_of, message};
use crate::refusal::unexpected;
use crate::wire::publish;

type Lanes = Arc<Mutex<HashMap<u32, mpsc::UnboundedSender<ServerFrame>>>>;

/// The relay.
#[derive(Debug)]
pub struct WebSocket {
    relay: SocketAddr,
}

/// A connection; its lanes are what streams are over QUIC.
#[derive(Debug)]
pub struct WebSocketClient {
    out: mpsc::UnboundedSender<(u32, Bytes)>,
    lanes: Lanes,
}

/// The sending side of a lane.
#[derive(Debug)]
pub struct WebSocketSender {
    lane: u32,
    out: mpsc::UnboundedSender<(u32, Bytes)>,
    n: u64,
}

/// The receiving side of a lane.
#[derive(Debug)]
pub struct WebSocketReceiver {
    frames: mpsc::UnboundedReceiver<ServerFrame>,
    taken: Vec<ServerFrame>,
}

impl WebSocket {
    /// The relay at an address.
    #[must_use]
    pub fn new(relay: SocketAddr) -> Self {
        Self { relay }
    }
}

impl System for WebSocket {
    type Client = WebSocketClient;

    async fn connect(&self) -> anyhow::Result<WebSocketClient> {
        let tcp = TcpStream::connect(self.relay).await?;
        tcp.set_nodelay(true)?;
        let url = format!("ws://{}/", self.relay);
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await?;
        let (sink, stream) = socket.split();
        let (out, waiting) = mpsc::unbounded_channel();
        let lanes = Lanes::default();
        tokio::spawn(write(sink, waiting));
        tokio::spawn(read(stream, Arc::clone(&lanes)));
        Ok(WebSocketClient { out, lanes })
    }
}

impl Client for WebSocketClient {
    type Receiver = WebSocketReceiver;
    type Sender = WebSocketSender;

    async fn enter(
        &self,
        conversation: &str,
        part: Part,
    ) -> anyhow::Result<(WebSocketSender, WebSocketReceiver)> {
        let (sender, mut frames) = mpsc::unbounded_channel();
        let lane = {
            let mut lanes = self.lanes.lock();
            let lane = u32::try_from(lanes.len())?;
            lanes.insert(lane, sender);
            lane
        };
        let conversation = ConversationName::new(conversation)?;
        let from = part.reads().then_some(Start::Live);
        let open = ClientFrame::Open(Open { conversation, producer: ProducerId(0), from });
        self.out.send((lane, encode(&open))).ok().context("the relay has ended the connection")?;
        let opened = frames.recv().await.context("the relay has ended the connection")?;
        if !matches!(opened, ServerFrame::Opened { .. }) {
            return Err(unexpected("an Opened", Some(&opened)));
        }
        let sender = WebSocketSender { lane, out: self.out.clone(), n: 0 };
        Ok((sender, WebSocketReceiver { frames, taken: Vec::new() }))
    }

    async fn close(self) {
        // The relay's reader ends with the connection, which the writer closes when nobody can send.
    }
}

impl Sender for WebSocketSender {
    async fn publish(&mut self, bodies: &mut Vec<Bytes>) -> anyhow::Result<()> {
        for body in bodies.drain(..) {
            self.n += 1;
            let frame = (self.lane, encode(&publish(self.n, body)));
            self.out.send(frame).ok().context("the relay has ended the connection")?;
        }
        Ok(())
    }
}

impl Receiver for WebSocketReceiver {
    async fn receive(&mut self, into: &mut Vec<Received>) -> anyhow::Result<()> {
        const FRAMES_MAX: usize = 256;
        if self.frames.recv_many(&mut self.taken, FRAMES_MAX).await == 0 {
            bail!("the relay has ended the connection");
        }
        for frame in self.taken.drain(..) {
            match frame {
                ServerFrame::Event(event) => {
                    let EventKind::Message { body, .. } = event.kind else {
                        return Err(unexpected("a message", Some(&ServerFrame::Event(event))));
                    };
                    into.push(Received::Message { seq: Some(event.seq.0), body });
                }
                ServerFrame::Ack { seq, .. } => into.extend([Received::Seq(seq.0), Received::Acks(1)]),
                other => return Err(unexpected("an event or an ack", Some(&other))),
            }
        }
        Ok(())
    }
}

async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut waiting: mpsc::UnboundedReceiver<(u32, Bytes)>,
) -> anyhow::Result<()> {
    const MESSAGES_MAX: usize = 256;
    let mut frames = Vec::new();
    while waiting.recv_many(&mut frames, MESSAGES_MAX).await > 0 {
        for (lane, frame) in frames.drain(..) {
            sink.feed(message(lane, &frame)).await?;
        }
        sink.flush().await?;
    }
    Ok(sink.close().await?)
}

async fn read(mut stream: SplitStream<WebSocketStream<TcpStream>>, lanes: Lanes) -> anyhow::Result<()> {
    while let Some(message) = stream.next().await {
        let Message::Binary(bytes) = message? else { continue };
        let (lane, bytes) = lane_of(&bytes)?;
        let Some(frames) = lanes.lock().get(&lane).cloned() else { bail!("no lane {lane}") };
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        decoder.push(&bytes);
        while let Some(frame) = decoder.next_frame()? {
            // The member has been dropped.
            let _is_gone = frames.send(frame);
        }
    }
    Ok(())
}
