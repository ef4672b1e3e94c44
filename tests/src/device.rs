//! A device of a user, over QUIC or a WebSocket: what is the same for both is tested with both.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quinn::{Connection, ConnectionError, Endpoint, ReadError, VarInt};
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, Start, VERSION, feature};
use quoth_protocol::lane::{CONTROL_LANE, Signal};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ALPN, Code, DeviceId};

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::embedded::EmbeddedServer;
use crate::websocket::{Come, Handshake, Socket, open};
use crate::wire::{Frames, client_config};

/// How long anything may take. A bound of a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// What carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// QUIC.
    Quic,
    /// A WebSocket.
    WebSocket,
}

impl Over {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quic, Self::WebSocket];
}

/// What a device says of itself.
#[derive(Debug, Clone)]
pub struct Who<'a> {
    /// A token.
    pub token: &'a str,
    /// Which device.
    pub device: &'a str,
    /// Which of its connections.
    pub generation: u64,
    /// What kind of device.
    pub platform: &'a str,
}

/// How a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// With which code.
    pub code: Code,
    /// What the GoAway before it said, if there was one.
    pub go_away: Option<(Code, String)>,
    /// When it said to come again, in milliseconds; 0: it did not.
    pub retry_after_ms: u32,
}

/// What comes next on a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A frame.
    Frame(ServerFrame),
    /// The server has reset it.
    Reset(Code),
    /// The server has finished it.
    Finished,
    /// The connection has ended.
    Closed,
}

/// A signed-in device.
#[derive(Debug)]
pub struct Device {
    link: Link,
    requests: u32,
    lanes: u32,
    /// What came while something else was waited for.
    told: VecDeque<ServerFrame>,
    /// Those over QUIC, but for such as the server has reset.
    streams: Vec<Option<Frames>>,
    /// The GoAway that has come, and when it said to come again.
    go_away: Option<(Code, String)>,
    retry_after_ms: u32,
}

#[derive(Debug)]
enum Link {
    Quic { quic: Connection, control: Frames, _endpoint: Endpoint },
    WebSocket(Box<Lanes>),
}

/// A WebSocket, and what its last message has that was not taken yet.
#[derive(Debug)]
struct Lanes {
    socket: Socket,
    come: VecDeque<Come>,
    /// The code of the server's close.
    closed: Option<Code>,
    /// What of each lane's credit was given back, in bytes.
    credited: HashMap<u32, usize>,
}

impl Lanes {
    /// The next frame that `wanted` takes; those that it does not take stay. `None` when the socket is
    /// closed.
    async fn next(&mut self, wanted: impl Fn(&Come) -> bool) -> anyhow::Result<Option<Come>> {
        loop {
            if let Some(at) = self.come.iter().position(&wanted) {
                return Ok(self.come.remove(at));
            }
            if self.closed.is_some() {
                return Ok(None);
            }
            for come in self.socket.next_all().await? {
                if let Come::Close(status, _) = come {
                    // The answer to the close goes out with the next look.
                    let _closed = self.socket.next_all().await;
                    let code = status.checked_sub(4_000).context("no code of the protocol")?;
                    self.closed = Some(Code(code.into()));
                    continue;
                }
                if let Come::Frame(lane, _) = come {
                    let bytes = self.socket.come_bytes(lane);
                    let more = bytes - self.credited.insert(lane, bytes).unwrap_or_default();
                    if more > 0 {
                        let credit = Signal::Credit { bytes: u32::try_from(more)? };
                        // One that is closed needs none.
                        let _gone = self.socket.signal(lane, credit).await;
                    }
                }
                self.come.push_back(come);
            }
        }
    }
}

impl Device {
    /// Connects and signs in; within it, how that was refused.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn sign_in(
        server: &EmbeddedServer,
        over: Over,
        who: &Who<'_>,
    ) -> anyhow::Result<Result<Self, Ended>> {
        let hello = Hello {
            version: VERSION,
            features: feature::ROSTER | feature::MEMBERSHIP,
            token: who.token.to_owned(),
            device: DeviceId::new(who.device)?,
            generation: who.generation,
            platform: who.platform.to_owned(),
            client: "quoth-tests".to_owned(),
        };
        Self::connect(server.address(), &server.ca_file(), over, hello).await
    }

    /// The same with any Hello.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn connect(
        server: SocketAddr,
        ca_file: &Path,
        over: Over,
        hello: Hello,
    ) -> anyhow::Result<Result<Self, Ended>> {
        let hello = ClientFrame::Hello(hello);
        let link = match over {
            Over::Quic => {
                let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
                let config = client_config(ca_file, ALPN)?;
                let quic = endpoint.connect_with(config, server, "localhost")?.await?;
                let mut control = Frames::open(&quic).await?;
                control.write(&hello).await?;
                Link::Quic { quic, control, _endpoint: endpoint }
            }
            Over::WebSocket => {
                let connected = Socket::connect(server, Handshake::PLAIN).await?;
                let mut socket = connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
                socket.send(CONTROL_LANE, &[hello]).await?;
                Link::WebSocket(Box::new(Lanes {
                    socket,
                    come: VecDeque::new(),
                    closed: None,
                    credited: HashMap::new(),
                }))
            }
        };
        let mut device = Self {
            link,
            requests: 0,
            lanes: 0,
            told: VecDeque::new(),
            streams: Vec::new(),
            go_away: None,
            retry_after_ms: 0,
        };
        match device.control().await? {
            Ok(ServerFrame::Welcome(_)) => Ok(Ok(device)),
            Ok(ServerFrame::GoAway { .. }) => Ok(Err(device.ended().await?)),
            Ok(other) => bail!("no Welcome: {other:?}"),
            Err(code) => Ok(Err(Ended { code, go_away: None, retry_after_ms: 0 })),
        }
    }

    /// The next frame of the control stream; within it, the code with which the connection was closed.
    async fn control(&mut self) -> anyhow::Result<Result<ServerFrame, Code>> {
        let next = async {
            match &mut self.link {
                Link::Quic { quic, control, .. } => match control.next().await {
                    Ok(Some(frame)) => Ok(Ok(frame)),
                    Ok(None) | Err(_) => match quic.closed().await {
                        ConnectionError::ApplicationClosed(close) => {
                            Ok(Err(Code(u32::try_from(close.error_code.into_inner())?)))
                        }
                        error => Err(anyhow::Error::from(error)),
                    },
                },
                Link::WebSocket(lanes) => {
                    match lanes.next(|come| matches!(come, Come::Frame(CONTROL_LANE, _))).await? {
                        Some(Come::Frame(_, frame)) => Ok(Ok(frame)),
                        _ => Ok(Err(lanes.closed.context("it is closed")?)),
                    }
                }
            }
        };
        let next = tokio::time::timeout(PATIENCE, next).await.context("nothing comes")??;
        if let Ok(ServerFrame::GoAway { code, retry_after_ms, reason }) = &next {
            self.go_away = Some((*code, reason.clone()));
            self.retry_after_ms = *retry_after_ms;
        }
        Ok(next)
    }

    /// The code of the GoAway that has come, whoever was waiting for it.
    #[must_use]
    pub fn has_heard(&self) -> Option<Code> {
        self.go_away.as_ref().map(|(code, _)| *code)
    }

    /// The next frame of the control stream.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn told(&mut self) -> anyhow::Result<ServerFrame> {
        if let Some(frame) = self.told.pop_front() {
            return Ok(frame);
        }
        match self.control().await? {
            Ok(frame) => Ok(frame),
            Err(code) => bail!("closed with {code:?}"),
        }
    }

    /// Waits until the server has closed the connection.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn ended(&mut self) -> anyhow::Result<Ended> {
        loop {
            if let Err(code) = self.control().await? {
                let (go_away, retry_after_ms) = (self.go_away.clone(), self.retry_after_ms);
                return Ok(Ended { code, go_away, retry_after_ms });
            }
        }
    }

    /// Sends a frame on the control stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        match &mut self.link {
            Link::Quic { control, .. } => control.write(frame).await,
            Link::WebSocket(lanes) => {
                lanes.socket.send(CONTROL_LANE, std::slice::from_ref(frame)).await?;
                Ok(())
            }
        }
    }

    /// What has come on the control stream while answers were waited for.
    pub fn notices(&mut self) -> impl Iterator<Item = ServerFrame> {
        self.told.drain(..)
    }

    /// Makes a request and waits for its answer.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn request(&mut self, request: Request) -> anyhow::Result<Reply> {
        let asked = self.ask(request).await?;
        self.reply(asked).await
    }

    /// Makes a request and gives its number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn ask(&mut self, request: Request) -> anyhow::Result<u32> {
        self.requests += 1;
        let id = self.requests;
        self.say(&ClientFrame::Request { id, request }).await?;
        Ok(id)
    }

    /// Waits for the answer to a request of that number.
    ///
    /// # Errors
    /// When another one comes, or the connection ends.
    pub async fn reply(&mut self, asked: u32) -> anyhow::Result<Reply> {
        match self.any_reply().await? {
            (id, reply) if id == asked => Ok(reply),
            other => bail!("in place of the answer to {asked}: {other:?}"),
        }
    }

    /// Waits for the next answer, to whichever request.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn any_reply(&mut self) -> anyhow::Result<(u32, Reply)> {
        loop {
            match self.control().await? {
                Ok(ServerFrame::Reply { id, reply }) => return Ok((id, reply)),
                Ok(frame) => self.told.push_back(frame),
                Err(code) => bail!("closed with {code:?}"),
            }
        }
    }

    /// Opens a stream with its first frame, and finishes it if there is none behind; gives its number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn stream(&mut self, first: &ClientFrame, finishes: bool) -> anyhow::Result<u32> {
        self.lanes += 1;
        match &mut self.link {
            Link::Quic { quic, .. } => {
                let mut frames = Frames::open(quic).await?;
                frames.write(first).await?;
                if finishes {
                    frames.send.finish()?;
                }
                self.streams.push(Some(frames));
            }
            Link::WebSocket(lanes) => {
                lanes.socket.send(self.lanes, std::slice::from_ref(first)).await?;
                if finishes {
                    lanes.socket.signal(self.lanes, Signal::Finish {}).await?;
                }
            }
        }
        Ok(self.lanes)
    }

    /// Opens a conversation and waits for Opened; gives the number of the stream.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn open(&mut self, name: &str, producer: u64, from: Option<Start>) -> anyhow::Result<u32> {
        let stream = self.stream(&open(name, producer, from)?, false).await?;
        match self.next(stream).await? {
            Some(ServerFrame::Opened { .. }) => Ok(stream),
            other => bail!("no Opened: {other:?}"),
        }
    }

    /// Sends a frame on a stream.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn send(&mut self, stream: u32, frame: &ClientFrame) -> anyhow::Result<()> {
        match &mut self.link {
            Link::Quic { .. } => {
                let frames = self.streams[stream as usize - 1].as_mut();
                frames.context("the server has reset the stream")?.write(frame).await
            }
            Link::WebSocket(lanes) => {
                lanes.socket.send(stream, std::slice::from_ref(frame)).await?;
                Ok(())
            }
        }
    }

    /// The next frame of a stream; `None` when the stream or the connection has ended.
    ///
    /// # Errors
    /// When nothing comes.
    pub async fn next(&mut self, stream: u32) -> anyhow::Result<Option<ServerFrame>> {
        match self.come(stream).await? {
            Next::Frame(frame) => Ok(Some(frame)),
            Next::Reset(_) | Next::Finished | Next::Closed => Ok(None),
        }
    }

    /// What comes next on a stream.
    ///
    /// # Errors
    /// When nothing comes, or what does not decode.
    pub async fn come(&mut self, stream: u32) -> anyhow::Result<Next> {
        let next = async {
            match &mut self.link {
                Link::Quic { .. } => {
                    let frames = &mut self.streams[stream as usize - 1];
                    let Some(some) = frames else { return Ok(Next::Finished) };
                    match some.next().await {
                        Ok(Some(frame)) => Ok(Next::Frame(frame)),
                        Ok(None) => Ok(Next::Finished),
                        Err(error) => match error.downcast_ref::<ReadError>() {
                            Some(ReadError::Reset(code)) => {
                                let code = Code(code.into_inner().try_into()?);
                                // So that there is room for another one.
                                *frames = None;
                                Ok(Next::Reset(code))
                            }
                            Some(_) => Ok(Next::Closed),
                            None => Err(error),
                        },
                    }
                }
                Link::WebSocket(lanes) => {
                    let is_end = |signal: &Signal| matches!(signal, Signal::Reset { .. } | Signal::Finish {});
                    let is_its = |come: &Come| match come {
                        Come::Frame(on, _) => *on == stream,
                        Come::Signal(on, signal) => *on == stream && is_end(signal),
                        Come::Close(..) => false,
                    };
                    Ok(match lanes.next(is_its).await? {
                        Some(Come::Frame(_, frame)) => Next::Frame(frame),
                        Some(Come::Signal(_, Signal::Reset { code })) => Next::Reset(code),
                        Some(_) => Next::Finished,
                        None => Next::Closed,
                    })
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.context("nothing comes")?
    }

    /// Finishes a stream, and waits until the server has finished it as well.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn leave(&mut self, stream: u32) -> anyhow::Result<()> {
        match &mut self.link {
            Link::Quic { .. } => {
                let frames = self.streams[stream as usize - 1].as_mut();
                frames.context("the server has reset the stream")?.send.finish()?;
            }
            Link::WebSocket(lanes) => lanes.socket.signal(stream, Signal::Finish {}).await?,
        }
        self.over(stream).await
    }

    /// Waits until a stream has ended, by itself or with the connection.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn over(&mut self, stream: u32) -> anyhow::Result<()> {
        while self.next(stream).await?.is_some() {}
        Ok(())
    }

    /// Closes, as a client does whose user wants that.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn close(self) -> anyhow::Result<()> {
        self.end(Code::CLOSED).await
    }

    /// Ends as a connection that is lost.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn lose(self) -> anyhow::Result<()> {
        self.end(Code::INTERNAL).await
    }

    async fn end(self, code: Code) -> anyhow::Result<()> {
        match self.link {
            Link::Quic { quic, _endpoint, .. } => {
                quic.close(VarInt::from_u32(code.0), b"");
                tokio::time::timeout(PATIENCE, _endpoint.wait_idle()).await?;
            }
            Link::WebSocket(mut lanes) if code == Code::CLOSED => {
                let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                lanes.socket.inner.close(Some(close)).await?;
                while lanes.socket.next_all().await.is_ok() {}
            }
            Link::WebSocket(lanes) => drop(lanes),
        }
        Ok(())
    }
}
