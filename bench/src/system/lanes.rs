//! Clients that speak Quoth's frames over its WebSocket: bare frames, as over QUIC.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use quoth_lanes::{LaneRecv, LaneSend, Lanes, Message as LaneMessage, Outgoing};
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start, Welcome};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, ConversationName, ProducerId, SUBPROTOCOL_POSTCARD, WEBSOCKET_PATH};
use rand::RngExt as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

use super::{Acks, Client, Keeps, Part, Received, Receiver, Sender, System};
use crate::refusal::{closed, unexpected, unreadable_lane, unwritable_lane};
use crate::wire::{hello, publish};

/// How long a close may take to be answered. A bound of a hang.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A server over WebSocket.
pub struct QuothWebSocket {
    server: SocketAddr,
    /// Without it there is none, as behind a proxy that has it.
    tls: Option<(ServerName<'static>, TlsConnector)>,
    token: String,
}

/// A connection.
#[derive(Debug)]
pub struct LanesClient {
    lanes: Lanes,
    welcome: Welcome,
    /// The control lane, which ends the connection when it is dropped.
    _control: Lane,
    /// Ends when the server has closed the socket.
    reader: JoinHandle<()>,
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
    /// A server at `server`, with TLS for a name whose certificate is of the CA in a file, or without it.
    ///
    /// # Errors
    /// When there is no such CA.
    pub fn new(server: SocketAddr, tls: Option<(&str, &Path)>, token: &str) -> anyhow::Result<Self> {
        let tls = tls.map(|(name, ca_file)| {
            let config = Arc::new(quoth_certs::client_config(ca_file, &[b"http/1.1"])?);
            anyhow::Ok((ServerName::try_from(name.to_owned())?, TlsConnector::from(config)))
        });
        Ok(Self { server, tls: tls.transpose()?, token: token.to_owned() })
    }
}

impl std::fmt::Debug for QuothWebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuothWebSocket").field("server", &self.server).finish_non_exhaustive()
    }
}

impl System for QuothWebSocket {
    type Client = LanesClient;

    async fn connect(&self) -> anyhow::Result<LanesClient> {
        let tcp = TcpStream::connect(self.server).await?;
        tcp.set_nodelay(true)?;
        let lanes = Lanes::client();
        let reader = match &self.tls {
            Some((name, connector)) => {
                let tls = connector.connect(name.clone(), tcp).await.context("no TLS")?;
                upgrade(tls, self.server, &lanes).await?
            }
            None => upgrade(tcp, self.server, &lanes).await?,
        };
        let mut control = Lane::open(&lanes).await?;
        control.write(&hello(&self.token)?).await?;
        match control.incoming.next().await? {
            Some(ServerFrame::Welcome(welcome)) => {
                lanes.signed_in(welcome.open_conversations_max.saturating_add(1));
                Ok(LanesClient { lanes, welcome, _control: control, reader })
            }
            other => Err(unexpected("a Welcome", other.as_ref())),
        }
    }
}

/// Makes a WebSocket of a connection and moves its messages; the task that reads ends with it.
async fn upgrade<S>(stream: S, server: SocketAddr, lanes: &Lanes) -> anyhow::Result<JoinHandle<()>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = format!("ws://{server}{WEBSOCKET_PATH}").into_client_request()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL_POSTCARD));
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.context("no WebSocket")?;
    let (sink, stream) = socket.split();
    tokio::spawn(write(sink, lanes.clone()));
    Ok(tokio::spawn(read(stream, lanes.clone())))
}

impl LanesClient {
    /// What the server said when the client signed in.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }
}

impl Client for LanesClient {
    type Receiver = LanesReceiver;
    type Sender = LanesSender;

    async fn enter(&self, conversation: &str, part: Part) -> anyhow::Result<(LanesSender, LanesReceiver)> {
        self.enter_from(conversation, part.reads().then_some(Start::Live)).await
    }

    async fn close(self) {
        self.lanes.close(Code::CLOSED, "");
        let _ended_anyhow = timeout(CLOSE_TIMEOUT, self.reader).await;
    }
}

impl Keeps for LanesClient {
    async fn enter_from(
        &self,
        conversation: &str,
        from: Option<Start>,
    ) -> anyhow::Result<(LanesSender, LanesReceiver)> {
        let mut lane = Lane::open(&self.lanes).await?;
        let (conversation, producer) =
            (ConversationName::new(conversation)?, ProducerId(rand::rng().random()));
        lane.write(&ClientFrame::Open(Open { conversation, producer, from })).await?;
        let opened = lane.incoming.next().await?;
        if !matches!(opened, Some(ServerFrame::Opened { .. })) {
            return Err(unexpected("an Opened", opened.as_ref()));
        }
        let sender = LanesSender { send: lane.send, frames: Vec::new(), n: 0 };
        Ok((sender, LanesReceiver { incoming: lane.incoming, acks: Acks::default() }))
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
            self.acks.take(frame, into)?;
            next = self.incoming.decoder.next_frame()?;
        }
        Ok(())
    }
}

impl Lane {
    async fn open(lanes: &Lanes) -> anyhow::Result<Self> {
        let (send, recv) = lanes.open().await.map_err(|error| closed(&error))?;
        Ok(Self { send, incoming: Incoming { recv, decoder: Decoder::new(FRAME_BYTES_MAX) } })
    }

    async fn write(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        write_all(&mut self.send, &mut vec![encode(frame)]).await
    }
}

async fn write_all(send: &mut LaneSend, frames: &mut Vec<Bytes>) -> anyhow::Result<()> {
    while !frames.is_empty() {
        let written = send.write_chunks(frames).await.map_err(unwritable_lane)?;
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
                Err(error) => return Err(unreadable_lane(error)),
            }
        }
    }
}

/// Sends what the lanes have, all that there is in one write.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    lanes: Lanes,
) -> anyhow::Result<()> {
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
async fn read<S: AsyncRead + AsyncWrite + Unpin>(mut stream: SplitStream<WebSocketStream<S>>, lanes: Lanes) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(bytes) = message
            && lanes.receive(LaneMessage::Binary(bytes)).is_err()
        {
            break;
        }
    }
    lanes.closed_by_peer(None, "the server has ended the connection");
}
