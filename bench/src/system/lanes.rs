//! Clients that speak Quoth's frames over its WebSocket: bare frames, as over QUIC.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use quoth_lanes::{LaneRecv, LaneSend, Lanes, Message as LaneMessage, Outgoing};
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, EventKind, Open, ServerFrame, Start};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{ConversationName, ProducerId, SUBPROTOCOL_POSTCARD, WEBSOCKET_PATH};
use rand::RngExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

use super::{Acks, Client, Part, Received, Receiver, Sender, System};
use crate::wire::{hello, publish};

/// A server over WebSocket without TLS, as behind a proxy that has it, and as the relay is.
#[derive(Debug)]
pub struct QuothWebSocket {
    server: SocketAddr,
    token: String,
}

/// A connection.
#[derive(Debug)]
pub struct LanesClient {
    lanes: Lanes,
    /// The control lane, which ends the connection when it is dropped.
    _control: Lane,
}

/// The sending side of a lane.
#[derive(Debug)]
pub struct LanesSender {
    send: LaneSend,
    frames: Vec<Bytes>,
    n: u64,
}

/// The receiving side of a lane.
#[derive(Debug)]
pub struct LanesReceiver {
    incoming: Incoming,
    acks: Acks,
}

#[derive(Debug)]
struct Lane {
    send: LaneSend,
    incoming: Incoming,
}

#[derive(Debug)]
struct Incoming {
    recv: LaneRecv,
    decoder: Decoder,
}

impl QuothWebSocket {
    /// A server at `server`.
    #[must_use]
    pub fn new(server: SocketAddr, token: &str) -> Self {
        Self { server, token: token.to_owned() }
    }
}

impl System for QuothWebSocket {
    type Client = LanesClient;

    async fn connect(&self) -> anyhow::Result<LanesClient> {
        let tcp = TcpStream::connect(self.server).await?;
        tcp.set_nodelay(true)?;
        let mut request = format!("ws://{}{WEBSOCKET_PATH}", self.server).into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL_POSTCARD));
        let (socket, _) = tokio_tungstenite::client_async(request, tcp).await.context("no WebSocket")?;
        let (sink, stream) = socket.split();
        let lanes = Lanes::client();
        tokio::spawn(write(sink, lanes.clone()));
        tokio::spawn(read(stream, lanes.clone()));
        let mut control = Lane::open(&lanes).await?;
        control.write(&hello(&self.token)?).await?;
        match control.incoming.next().await? {
            Some(ServerFrame::Welcome(welcome)) => {
                lanes.signed_in(welcome.open_conversations_max.saturating_add(1))
            }
            other => bail!("not a Welcome: {other:?}"),
        }
        Ok(LanesClient { lanes, _control: control })
    }
}

impl Client for LanesClient {
    type Receiver = LanesReceiver;
    type Sender = LanesSender;

    async fn enter(&self, conversation: &str, part: Part) -> anyhow::Result<(LanesSender, LanesReceiver)> {
        let mut lane = Lane::open(&self.lanes).await?;
        let (conversation, producer) =
            (ConversationName::new(conversation)?, ProducerId(rand::rng().random()));
        let from = part.reads().then_some(Start::Live);
        lane.write(&ClientFrame::Open(Open { conversation, producer, from })).await?;
        let opened = lane.incoming.next().await?;
        anyhow::ensure!(matches!(opened, Some(ServerFrame::Opened { .. })), "not an Opened: {opened:?}");
        let sender = LanesSender { send: lane.send, frames: Vec::new(), n: 0 };
        Ok((sender, LanesReceiver { incoming: lane.incoming, acks: Acks::default() }))
    }

    async fn close(self) {
        self.lanes.close(quoth_protocol::Code::CLOSED, "");
    }
}

impl Sender for LanesSender {
    async fn publish(&mut self, bodies: &mut Vec<Bytes>) -> anyhow::Result<()> {
        for body in bodies.drain(..) {
            self.n += 1;
            self.frames.push(encode(&publish(self.n, body)));
        }
        write_all(&mut self.send, &mut self.frames).await
    }
}

impl Receiver for LanesReceiver {
    async fn receive(&mut self, into: &mut Vec<Received>) -> anyhow::Result<()> {
        let mut next = self.incoming.next().await?;
        if next.is_none() {
            bail!("the server has ended the lane");
        }
        while let Some(frame) = next {
            match frame {
                ServerFrame::Event(event) => {
                    let EventKind::Message { body } = event.kind;
                    into.push(Received::Message { seq: Some(event.seq.0), body });
                }
                ServerFrame::Ack { n, duplicate: false, .. } => into.extend(self.acks.add(n)),
                other => bail!("neither an event nor an ack: {other:?}"),
            }
            next = self.incoming.decoder.next_frame()?;
        }
        Ok(())
    }
}

impl Lane {
    async fn open(lanes: &Lanes) -> anyhow::Result<Self> {
        let (send, recv) = lanes.open().await.map_err(|closed| anyhow::anyhow!("{closed:?}"))?;
        Ok(Self { send, incoming: Incoming { recv, decoder: Decoder::new(FRAME_BYTES_MAX) } })
    }

    async fn write(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        write_all(&mut self.send, &mut vec![encode(frame)]).await
    }
}

async fn write_all(send: &mut LaneSend, frames: &mut Vec<Bytes>) -> anyhow::Result<()> {
    while !frames.is_empty() {
        let written = send.write_chunks(frames).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        frames.drain(..written.chunks);
    }
    Ok(())
}

impl Incoming {
    /// The next frame; `None` when the server has finished the lane. Dropping the future loses nothing.
    async fn next(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk().await {
                Ok(Some(frames)) => self.decoder.push(&frames),
                Ok(None) => return Ok(None),
                Err(error) => bail!("{error:?}"),
            }
        }
    }
}

/// Sends what the lanes have, all that there is in one write.
async fn write(mut sink: SplitSink<WebSocketStream<TcpStream>, Message>, lanes: Lanes) -> anyhow::Result<()> {
    loop {
        let mut outgoing = lanes.next_message().await;
        loop {
            match outgoing {
                Outgoing::Message(LaneMessage::Binary(bytes)) => sink.feed(Message::Binary(bytes)).await?,
                Outgoing::Message(LaneMessage::Text(_)) => bail!("these lanes are binary"),
                Outgoing::Close(_) => return Ok(sink.close().await?),
            }
            match poll_fn(|task| Poll::Ready(lanes.poll_next_message(task))).await {
                Poll::Ready(next) => outgoing = next,
                Poll::Pending => break,
            }
        }
        sink.flush().await?;
    }
}

/// Hands the lanes what comes.
async fn read(mut stream: SplitStream<WebSocketStream<TcpStream>>, lanes: Lanes) -> anyhow::Result<()> {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(bytes) = message
            && lanes.receive(LaneMessage::Binary(bytes)).is_err()
        {
            break;
        }
    }
    lanes.closed_by_peer(None, "the server has ended the connection");
    Ok(())
}
