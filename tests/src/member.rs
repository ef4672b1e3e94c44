//! A client of bare frames that makes requests, over QUIC and over WebSocket alike.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quinn::{Connection, Endpoint, ReadError};
use quoth_protocol::frame::{
    ClientFrame, Event, EventKind, Fetch, FetchRange, Open, ServerFrame, Start, feature,
};
use quoth_protocol::lane::{CONTROL_LANE, Signal};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ALPN, Code, ConversationName, ProducerId, Seq};

use crate::websocket::{Come, Handshake, Socket};
use crate::wire::{Frames, client_config, hello, publish};

/// How long anything may take. A bound of a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// What carries a member's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC.
    Quic,
    /// A WebSocket.
    WebSocket,
}

/// A signed-in user who makes requests.
#[derive(Debug)]
pub struct Member {
    over: Over,
    requests: u32,
    /// Frames of the control stream that are no answers.
    notices: VecDeque<ServerFrame>,
}

#[derive(Debug)]
enum Over {
    Quic { endpoint: Endpoint, quic: Connection, control: Box<Frames> },
    WebSocket { socket: Box<Socket>, lanes: u32, come: HashMap<u32, VecDeque<Come>> },
}

/// A stream of a member.
#[derive(Debug)]
pub struct Stream {
    on: On,
    /// The head that Opened told, if it is a conversation's.
    pub head: Seq,
    /// What has come while something else was awaited.
    waiting: VecDeque<ServerFrame>,
}

#[derive(Debug)]
enum On {
    Quic(Box<Frames>),
    Lane(u32),
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
}

impl Member {
    /// Connects and signs in.
    ///
    /// # Errors
    /// When there is no Welcome.
    pub async fn connect(
        carrier: Carrier,
        server: SocketAddr,
        ca_file: &Path,
        token: &str,
    ) -> anyhow::Result<Self> {
        let ClientFrame::Hello(mut hello) = hello(token)? else { bail!("a Hello") };
        hello.features = feature::ROSTER | feature::MEMBERSHIP;
        let hello = ClientFrame::Hello(hello);
        let over = match carrier {
            Carrier::Quic => {
                let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
                let config = client_config(ca_file, ALPN)?;
                let quic = endpoint.connect_with(config, server, "localhost")?.await?;
                let control = Box::new(Frames::open(&quic).await?);
                Over::Quic { endpoint, quic, control }
            }
            Carrier::WebSocket => {
                let socket = Socket::connect(server, Handshake::PLAIN).await?;
                let socket = socket.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
                Over::WebSocket { socket: Box::new(socket), lanes: 0, come: HashMap::new() }
            }
        };
        let mut member = Self { over, requests: 0, notices: VecDeque::new() };
        member.send_control(&hello).await?;
        match member.control().await? {
            Next::Frame(ServerFrame::Welcome(_)) => Ok(member),
            other => bail!("not a Welcome: {other:?}"),
        }
    }

    /// Makes a request and waits for its answer.
    ///
    /// # Errors
    /// When none comes.
    pub async fn request(&mut self, request: Request) -> anyhow::Result<Reply> {
        let id = self.send_request(request).await?;
        self.reply(id).await
    }

    /// Sends a request and gives its number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_request(&mut self, request: Request) -> anyhow::Result<u32> {
        self.requests += 1;
        let id = self.requests;
        self.send_control(&ClientFrame::Request { id, request }).await?;
        Ok(id)
    }

    /// Waits for the answer to a request of that number.
    ///
    /// # Errors
    /// When another one comes, or none.
    pub async fn reply(&mut self, id: u32) -> anyhow::Result<Reply> {
        loop {
            match self.control().await? {
                Next::Frame(ServerFrame::Reply { id: answered, reply }) if answered == id => {
                    return Ok(reply);
                }
                Next::Frame(frame) => self.notices.push_back(frame),
                other => bail!("no answer: {other:?}"),
            }
        }
    }

    /// Waits for the next answer, to whichever request.
    ///
    /// # Errors
    /// When none comes.
    pub async fn any_reply(&mut self) -> anyhow::Result<(u32, Reply)> {
        loop {
            match self.control().await? {
                Next::Frame(ServerFrame::Reply { id, reply }) => return Ok((id, reply)),
                Next::Frame(frame) => self.notices.push_back(frame),
                other => bail!("no answer: {other:?}"),
            }
        }
    }

    /// Makes a request that must be done; gives the conversation and the seq of its event.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn done(&mut self, request: Request) -> anyhow::Result<(ConversationName, Seq)> {
        let text = format!("{request:?}");
        match self.request(request).await? {
            Reply::Done { conversation, seq, .. } => Ok((conversation, seq)),
            other => bail!("{text} is not done: {other:?}"),
        }
    }

    /// Makes a request that must be refused; gives the code.
    ///
    /// # Errors
    /// When it is done.
    pub async fn refused(&mut self, request: Request) -> anyhow::Result<Code> {
        let text = format!("{request:?}");
        match self.request(request).await? {
            Reply::Refused { code, .. } => Ok(code),
            other => bail!("{text} is not refused: {other:?}"),
        }
    }

    /// Notices of the control stream that have come.
    pub fn notices(&mut self) -> impl Iterator<Item = ServerFrame> {
        self.notices.drain(..)
    }

    /// Sends a frame on the control stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_control(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        match &mut self.over {
            Over::Quic { control, .. } => control.write(frame).await,
            Over::WebSocket { socket, .. } => {
                socket.send(CONTROL_LANE, std::slice::from_ref(frame)).await.map(drop)
            }
        }
    }

    async fn control(&mut self) -> anyhow::Result<Next> {
        match &mut self.over {
            Over::Quic { control, .. } => next_of(control).await,
            Over::WebSocket { socket, come, .. } => next_on(socket, come, CONTROL_LANE).await,
        }
    }

    /// Opens a stream with its first frame, and says whether that is all.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn stream(&mut self, first: &ClientFrame, finishes: bool) -> anyhow::Result<Stream> {
        let on = match &mut self.over {
            Over::Quic { quic, .. } => {
                let mut frames = Box::new(Frames::open(quic).await?);
                frames.write(first).await?;
                if finishes {
                    frames.send.finish()?;
                }
                On::Quic(frames)
            }
            Over::WebSocket { socket, lanes, .. } => {
                *lanes += 1;
                socket.send(*lanes, std::slice::from_ref(first)).await?;
                if finishes {
                    socket.signal(*lanes, Signal::Finish {}).await?;
                }
                On::Lane(*lanes)
            }
        };
        Ok(Stream { on, head: Seq::ZERO, waiting: VecDeque::new() })
    }

    /// Opens a conversation; within it, the code with which that was refused.
    ///
    /// # Errors
    /// When something else comes than Opened or a reset.
    pub async fn open(
        &mut self,
        conversation: &ConversationName,
        from: Option<Start>,
    ) -> anyhow::Result<Result<Stream, Code>> {
        let open = Open { conversation: conversation.clone(), producer: ProducerId(1), from };
        let mut stream = self.stream(&ClientFrame::Open(open), false).await?;
        match self.next(&mut stream).await? {
            Next::Frame(ServerFrame::Opened { head, .. }) => {
                stream.head = head;
                Ok(Ok(stream))
            }
            Next::Reset(code) => Ok(Err(code)),
            other => bail!("not an Opened: {other:?}"),
        }
    }

    /// Opens a conversation that may be opened.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn enter(
        &mut self,
        conversation: &ConversationName,
        from: Option<Start>,
    ) -> anyhow::Result<Stream> {
        self.open(conversation, from).await?.map_err(|code| anyhow::anyhow!("{conversation}: {code}"))
    }

    /// What comes next on a stream.
    ///
    /// # Errors
    /// When nothing comes, or what does not decode.
    pub async fn next(&mut self, stream: &mut Stream) -> anyhow::Result<Next> {
        if let Some(frame) = stream.waiting.pop_front() {
            return Ok(Next::Frame(frame));
        }
        self.come(stream).await
    }

    async fn come(&mut self, stream: &mut Stream) -> anyhow::Result<Next> {
        match (&mut self.over, &mut stream.on) {
            (Over::Quic { .. }, On::Quic(frames)) => next_of(frames).await,
            (Over::WebSocket { socket, come, .. }, On::Lane(lane)) => next_on(socket, come, *lane).await,
            (Over::Quic { .. }, On::Lane(_)) | (Over::WebSocket { .. }, On::Quic(_)) => {
                bail!("a stream of another member")
            }
        }
    }

    /// The next event on a stream, rosters left out; within it, the code with which the stream ends.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn event(&mut self, stream: &mut Stream) -> anyhow::Result<Result<Event, Code>> {
        loop {
            match self.next(stream).await? {
                Next::Frame(ServerFrame::Event(event)) => return Ok(Ok(event)),
                Next::Frame(ServerFrame::Roster { .. }) => {}
                Next::Reset(code) => return Ok(Err(code)),
                other => bail!("no event: {other:?}"),
            }
        }
    }

    /// Sends a frame on a stream.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send(&mut self, stream: &mut Stream, frame: &ClientFrame) -> anyhow::Result<()> {
        match (&mut self.over, &mut stream.on) {
            (Over::Quic { .. }, On::Quic(frames)) => frames.write(frame).await,
            (Over::WebSocket { socket, .. }, On::Lane(lane)) => {
                socket.send(*lane, std::slice::from_ref(frame)).await.map(drop)
            }
            (Over::Quic { .. }, On::Lane(_)) | (Over::WebSocket { .. }, On::Quic(_)) => {
                bail!("a stream of another member")
            }
        }
    }

    /// Publishes and gives the seq; within it, the code and the wait with which it is refused.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn publish(
        &mut self,
        stream: &mut Stream,
        n: u64,
        body: &str,
    ) -> anyhow::Result<Result<Seq, (Code, u32)>> {
        self.send(stream, &publish(n, body.to_owned())).await?;
        loop {
            match self.come(stream).await? {
                Next::Frame(ServerFrame::Ack { n: acked, seq, .. }) if acked == n => return Ok(Ok(seq)),
                Next::Frame(ServerFrame::Refused { n: refused, code, retry_after_ms }) if refused == n => {
                    return Ok(Err((code, retry_after_ms)));
                }
                Next::Frame(frame) => stream.waiting.push_back(frame),
                other => bail!("no answer: {other:?}"),
            }
        }
    }

    /// Fetches the last events and the head; within it, the code with which that is refused.
    ///
    /// # Errors
    /// When no page comes.
    pub async fn fetch(
        &mut self,
        conversation: &ConversationName,
    ) -> anyhow::Result<Result<(Vec<Event>, Seq), Code>> {
        let (conversation, range) = (conversation.clone(), FetchRange::Latest);
        let fetch = ClientFrame::Fetch(Fetch { conversation, range, limit: 1_000 });
        let mut stream = self.stream(&fetch, true).await?;
        let mut events = Vec::new();
        loop {
            match self.next(&mut stream).await? {
                Next::Frame(ServerFrame::Event(event)) => events.push(event),
                Next::Frame(ServerFrame::PageEnd { head, .. }) => return Ok(Ok((events, head))),
                Next::Reset(code) => return Ok(Err(code)),
                other => bail!("no page: {other:?}"),
            }
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        match self.over {
            Over::Quic { endpoint, quic, .. } => {
                quic.close(0_u32.into(), b"");
                endpoint.wait_idle().await;
            }
            Over::WebSocket { mut socket, .. } => {
                let _in_any_case = socket.inner.close(None).await;
            }
        }
    }
}

async fn next_of(frames: &mut Frames) -> anyhow::Result<Next> {
    match tokio::time::timeout(PATIENCE, frames.next()).await.context("nothing comes")? {
        Ok(Some(frame)) => Ok(Next::Frame(frame)),
        Ok(None) => Ok(Next::Finished),
        Err(error) => match error.downcast_ref::<ReadError>() {
            Some(ReadError::Reset(code)) => Ok(Next::Reset(Code(code.into_inner().try_into()?))),
            _ => Err(error),
        },
    }
}

async fn next_on(
    socket: &mut Socket,
    come: &mut HashMap<u32, VecDeque<Come>>,
    lane: u32,
) -> anyhow::Result<Next> {
    loop {
        match come.entry(lane).or_default().pop_front() {
            Some(Come::Frame(_, frame)) => return Ok(Next::Frame(frame)),
            Some(Come::Signal(_, Signal::Reset { code })) => return Ok(Next::Reset(code)),
            Some(Come::Signal(_, Signal::Finish {})) => return Ok(Next::Finished),
            Some(other) => bail!("{other:?} on lane {lane}"),
            None => {}
        }
        for new in socket.next_all().await? {
            let on = match &new {
                Come::Frame(on, _) | Come::Signal(on, _) => *on,
                Come::Close(..) => bail!("closed: {new:?}"),
            };
            come.entry(on).or_default().push_back(new);
        }
    }
}

/// What an event says, for people: a message's text or the kind.
#[must_use]
pub fn text(event: &Event) -> String {
    match &event.kind {
        EventKind::Message { body, .. } => String::from_utf8_lossy(body).into_owned(),
        other => format!("{other:?}"),
    }
}
