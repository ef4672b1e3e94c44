//! A client of bare WebSocket messages, which may break whatever it likes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start, Welcome};
use quoth_protocol::lane::{CONTROL_LANE, LaneMessage, Part, Signal, encode_frames};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{
    ConversationName, ProducerId, SUBPROTOCOL_JSON, SUBPROTOCOL_POSTCARD, Seq, WEBSOCKET_PATH,
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::wire::hello;

/// How long anything may take. A bound of a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a WebSocket goes over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A WebSocket.
pub struct Socket {
    /// For what no call here does.
    pub inner: WebSocketStream<Box<dyn Io>>,
    /// What has come of each lane's credit, in bytes.
    come_bytes: HashMap<u32, usize>,
}

/// The answer to a handshake that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its status.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The text for people.
    pub text: String,
}

/// What has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Come {
    /// A frame on a lane.
    Frame(u32, ServerFrame),
    /// A signal on a lane.
    Signal(u32, Signal),
    /// A close, with its status and text.
    Close(u16, String),
}

/// What a handshake says.
#[derive(Debug, Clone, Copy)]
pub struct Handshake<'a> {
    /// Which subprotocols are wanted.
    pub subprotocols: &'a str,
    /// From which page.
    pub origin: Option<&'a str>,
    /// What a proxy says about where the client is.
    pub forwarded_for: Option<&'a str>,
    /// The CA to verify the server with; `None` for no TLS.
    pub ca_file: Option<&'a Path>,
}

impl Handshake<'static> {
    /// Without TLS, in binary.
    pub const PLAIN: Self =
        Self { subprotocols: SUBPROTOCOL_POSTCARD, origin: None, forwarded_for: None, ca_file: None };

    /// Without TLS, in JSON.
    pub const JSON: Self = Self { subprotocols: SUBPROTOCOL_JSON, ..Self::PLAIN };
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

/// A TCP connection, with TLS if there is a CA.
///
/// # Errors
/// When there is none.
pub async fn dial(server: SocketAddr, ca_file: Option<&Path>) -> anyhow::Result<Box<dyn Io>> {
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    let Some(ca_file) = ca_file else { return Ok(Box::new(tcp)) };
    let tls = TlsConnector::from(Arc::new(quoth_certs::client_config(ca_file, &[b"http/1.1"])?));
    Ok(Box::new(tls.connect("localhost".try_into()?, tcp).await?))
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// When there is no connection; within it, the server's refusal.
    pub async fn connect(server: SocketAddr, with: Handshake<'_>) -> anyhow::Result<Result<Self, Refused>> {
        let io = dial(server, with.ca_file).await?;
        let scheme = if with.ca_file.is_some() { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{server}{WEBSOCKET_PATH}").into_client_request()?;
        let headers = request.headers_mut();
        if !with.subprotocols.is_empty() {
            headers.insert("sec-websocket-protocol", HeaderValue::from_str(with.subprotocols)?);
        }
        if let Some(origin) = with.origin {
            headers.insert("origin", HeaderValue::from_str(origin)?);
        }
        if let Some(client) = with.forwarded_for {
            headers.insert("x-forwarded-for", HeaderValue::from_str(client)?);
        }
        match tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(request, io)).await? {
            Ok((inner, _)) => Ok(Ok(Self { inner, come_bytes: HashMap::new() })),
            Err(Error::Http(response)) => Ok(Err(Refused {
                status: response.status().as_u16(),
                retry_after: response
                    .headers()
                    .get("retry-after")
                    .and_then(|value| value.to_str().ok().map(str::to_owned)),
                text: String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned(),
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects and signs in, in binary.
    ///
    /// # Errors
    /// When there is no Welcome.
    pub async fn sign_in(
        server: SocketAddr,
        with: Handshake<'_>,
        token: &str,
    ) -> anyhow::Result<(Self, Welcome)> {
        let connected = Self::connect(server, with).await?;
        let mut socket = connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        socket.send(CONTROL_LANE, &[hello(token)?]).await?;
        match socket.next().await? {
            Come::Frame(CONTROL_LANE, ServerFrame::Welcome(welcome)) => Ok((socket, welcome)),
            other => bail!("not a Welcome: {other:?}"),
        }
    }

    /// Opens a conversation on a lane, and gives its head.
    ///
    /// # Errors
    /// When something else comes than Opened.
    pub async fn open(
        &mut self,
        lane: u32,
        name: &str,
        producer: u64,
        from: Option<Start>,
    ) -> anyhow::Result<Seq> {
        self.send(lane, &[open(name, producer, from)?]).await?;
        match self.next().await? {
            Come::Frame(on, ServerFrame::Opened { head, .. }) if on == lane => Ok(head),
            other => bail!("not an Opened: {other:?}"),
        }
    }

    /// Sends frames in one message, and says how many bytes it has.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&mut self, lane: u32, frames: &[ClientFrame]) -> anyhow::Result<usize> {
        let frames: Vec<_> = frames.iter().map(encode).collect();
        let message = encode_frames(lane, &frames);
        let bytes = message.len();
        self.inner.send(Message::Binary(message)).await?;
        Ok(bytes)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn signal(&mut self, lane: u32, signal: Signal) -> anyhow::Result<()> {
        Ok(self.inner.send(Message::Binary(LaneMessage::signal(lane, signal).encode())).await?)
    }

    /// Sends a JSON object.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_json(&mut self, value: Value) -> anyhow::Result<()> {
        Ok(self.inner.send(Message::text(value.to_string())).await?)
    }

    /// The next frame, signal or close, but for signals of credit. Each message of the server has one frame
    /// here, or is read again by [`Socket::next_all`].
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub async fn next(&mut self) -> anyhow::Result<Come> {
        let mut all = self.next_all().await?;
        anyhow::ensure!(all.len() == 1, "more than one frame: {all:?}");
        all.pop().context("there is one")
    }

    /// What the next message says, but for signals of credit.
    ///
    /// # Errors
    /// When it says nothing, or none comes.
    pub async fn next_all(&mut self) -> anyhow::Result<Vec<Come>> {
        loop {
            let bytes = match self.message().await? {
                Message::Binary(bytes) => bytes,
                Message::Close(close) => return Ok(vec![closed(close)]),
                other => bail!("not binary: {other:?}"),
            };
            let LaneMessage { lane, part } = LaneMessage::decode(&bytes)?;
            match part {
                Part::Signal(Signal::Credit { .. }) => {}
                Part::Signal(signal) => return Ok(vec![Come::Signal(lane, signal)]),
                Part::Frames(frames) => {
                    *self.come_bytes.entry(lane).or_default() += bytes.len();
                    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
                    decoder.push(&frames);
                    let mut come = Vec::new();
                    while let Some(frame) = decoder.next_frame()? {
                        come.push(Come::Frame(lane, frame));
                    }
                    return Ok(come);
                }
            }
        }
    }

    /// What of a lane's credit has come, in bytes.
    #[must_use]
    pub fn come_bytes(&self, lane: u32) -> usize {
        self.come_bytes.get(&lane).copied().unwrap_or_default()
    }

    /// The next JSON object, but for credit.
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub async fn next_json(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.message().await? {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(text.as_str())?;
                    if value.get("credit").is_none() {
                        return Ok(value);
                    }
                }
                other => bail!("not text: {other:?}"),
            }
        }
    }

    /// The close, behind whatever comes before.
    ///
    /// # Errors
    /// When none comes.
    pub async fn close(&mut self) -> anyhow::Result<(u16, String)> {
        loop {
            if let Message::Close(close) = self.message().await? {
                let Come::Close(status, text) = closed(close) else { bail!("a close") };
                return Ok((status, text));
            }
        }
    }

    /// The next message, pings and pongs aside.
    async fn message(&mut self) -> anyhow::Result<Message> {
        let message = async {
            loop {
                match self.inner.next().await.context("the connection is closed")?? {
                    Message::Ping(_) | Message::Pong(_) => {}
                    message => return Ok(message),
                }
            }
        };
        tokio::time::timeout(PATIENCE, message).await.context("nothing comes")?
    }
}

/// An Open.
///
/// # Errors
/// When the conversation's name is none.
pub fn open(name: &str, producer: u64, from: Option<Start>) -> anyhow::Result<ClientFrame> {
    let conversation = ConversationName::new(name)?;
    Ok(ClientFrame::Open(Open { conversation, producer: ProducerId(producer), from }))
}

fn closed(close: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Come {
    close.map_or_else(
        || Come::Close(1_005, String::new()),
        |close| Come::Close(close.code.into(), close.reason.as_str().to_owned()),
    )
}
