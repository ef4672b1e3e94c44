//! A device whose user is in conversations: what tests of them do again and again.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::bail;
use quoth_client::ClientEvent;
use quoth_protocol::frame::{
    ClientFrame, Event, EventKind, Fetch, FetchRange, Open, ServerFrame, Start, feature,
};
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::message::MessageState;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq};

use crate::device::{Device, Next, Over};
use crate::wire::{hello, publish};

/// A signed-in user who makes requests.
#[derive(Debug)]
pub struct Member(Device);

/// A stream of a member.
#[derive(Debug)]
pub struct Stream {
    number: u32,
    /// The head that Opened told, if it is a conversation's.
    pub head: Seq,
    /// What has come while something else was awaited.
    waiting: VecDeque<ServerFrame>,
}

/// A page of history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Its events.
    pub events: Vec<Event>,
    /// First and last seq of each gap.
    pub gaps: Vec<(Seq, Seq)>,
    /// What has become of its messages.
    pub states: Vec<MessageState>,
    /// As its end says.
    pub head: Seq,
    /// As its end says.
    pub floor: Seq,
    /// Its first seq.
    pub from: Seq,
    /// Its last seq.
    pub to: Seq,
    /// Whether there is more before it.
    pub more_before: bool,
    /// Whether there is more behind it.
    pub more_after: bool,
}

impl Page {
    /// As the SDK gives it.
    #[must_use]
    pub fn into_client(self) -> quoth_client::Page {
        let Self { events, gaps, states, head, floor, from, to, more_before, more_after } = self;
        let gaps = gaps.into_iter().map(|(from, to)| (from, ClientEvent::Gap { from, to }));
        let events = events.into_iter().map(|event| (event.seq, ClientEvent::Event(event)));
        let events: BTreeMap<Seq, ClientEvent> = events.chain(gaps).collect();
        let events = events.into_values().collect();
        // Views look at what pages tell of.
        let gone_before = None;
        quoth_client::Page { events, states, head, floor, from, to, more_before, more_after, gone_before }
    }
}

impl Member {
    /// Connects and signs in, as a device of its own.
    ///
    /// # Errors
    /// When there is no Welcome.
    pub async fn connect(
        over: Over,
        server: SocketAddr,
        ca_file: &Path,
        token: &str,
    ) -> anyhow::Result<Self> {
        let ClientFrame::Hello(mut hello) = hello(token)? else { bail!("a Hello") };
        hello.features = feature::ROSTER | feature::MEMBERSHIP | feature::MESSAGES;
        let device = Device::connect(server, ca_file, over, hello).await?;
        device.map(Self).map_err(|ended| anyhow::anyhow!("not let in: {ended:?}"))
    }

    /// Makes a request and waits for its answer.
    ///
    /// # Errors
    /// When none comes.
    pub async fn request(&mut self, request: Request) -> anyhow::Result<Reply> {
        self.0.request(request).await
    }

    /// Sends a request and gives its number.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_request(&mut self, request: Request) -> anyhow::Result<u32> {
        self.0.ask(request).await
    }

    /// Waits for the answer to a request of that number.
    ///
    /// # Errors
    /// When another one comes, or none.
    pub async fn reply(&mut self, id: u32) -> anyhow::Result<Reply> {
        self.0.reply(id).await
    }

    /// Waits for the next answer, to whichever request.
    ///
    /// # Errors
    /// When none comes.
    pub async fn any_reply(&mut self) -> anyhow::Result<(u32, Reply)> {
        self.0.any_reply().await
    }

    /// Makes a request that must be done; gives the conversation and the seq of its event.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn done(&mut self, request: Request) -> anyhow::Result<(ConversationName, Seq)> {
        let text = format!("{request:?}");
        match self.request(request).await? {
            Reply::Done { conversation, seq, .. } | Reply::Retained { conversation, seq, .. } => {
                Ok((conversation, seq))
            }
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
        self.0.notices()
    }

    /// The next change of the user's list, which is watched.
    ///
    /// # Errors
    /// When none comes.
    pub async fn row(&mut self) -> anyhow::Result<InboxRow> {
        loop {
            if let ServerFrame::InboxRow { row, .. } = self.0.told().await? {
                return Ok(*row);
            }
        }
    }

    /// A page of the user's list, what the next one begins behind, and the version.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn inbox(
        &mut self,
        after: Option<String>,
        limit: u32,
    ) -> anyhow::Result<(Vec<InboxRow>, Option<String>, u64)> {
        match self.request(Request::Inbox { after, limit }).await? {
            Reply::Inbox { rows, next, version } => Ok((rows, next, version)),
            other => bail!("no page: {other:?}"),
        }
    }

    /// Sends a frame on the control stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send_control(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        self.0.say(frame).await
    }

    /// Opens a stream with its first frame, and says whether that is all.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn stream(&mut self, first: &ClientFrame, finishes: bool) -> anyhow::Result<Stream> {
        let number = self.0.stream(first, finishes).await?;
        Ok(Stream { number, head: Seq::ZERO, waiting: VecDeque::new() })
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

    /// Leaves a conversation, so that there is room for another one.
    ///
    /// # Errors
    /// When the stream does not end.
    pub async fn leave(&mut self, stream: Stream) -> anyhow::Result<()> {
        self.0.leave(stream.number).await
    }

    /// What comes next on a stream.
    ///
    /// # Errors
    /// When nothing comes, or what does not decode.
    pub async fn next(&mut self, stream: &mut Stream) -> anyhow::Result<Next> {
        match stream.waiting.pop_front() {
            Some(frame) => Ok(Next::Frame(frame)),
            None => self.0.come(stream.number).await,
        }
    }

    /// The next event on a stream, rosters and receipts left out; within it, the code with which the stream
    /// ends.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn event(&mut self, stream: &mut Stream) -> anyhow::Result<Result<Event, Code>> {
        loop {
            match self.next(stream).await? {
                Next::Frame(ServerFrame::Event(event)) => return Ok(Ok(event)),
                Next::Frame(ServerFrame::Roster { .. } | ServerFrame::Receipt { .. }) => {}
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
        self.0.send(stream.number, frame).await
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
            match self.0.come(stream.number).await? {
                Next::Frame(ServerFrame::Ack { n: acked, seq, .. }) if acked == n => return Ok(Ok(seq)),
                Next::Frame(ServerFrame::Refused { n: refused, code, retry_after_ms, .. })
                    if refused == n =>
                {
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
        let page = self.page(conversation, FetchRange::Latest, 1_000).await?;
        Ok(page.map(|page| (page.events, page.head)))
    }

    /// Fetches a page of history; within it, the code with which that is refused.
    ///
    /// # Errors
    /// When no page comes, or one that does not tell of each of its seqs once.
    pub async fn page(
        &mut self,
        conversation: &ConversationName,
        range: FetchRange,
        limit: u32,
    ) -> anyhow::Result<Result<Page, Code>> {
        let fetch = ClientFrame::Fetch(Fetch { conversation: conversation.clone(), range, limit });
        let mut stream = self.stream(&fetch, true).await?;
        let mut page = Page::default();
        loop {
            match self.next(&mut stream).await? {
                Next::Frame(ServerFrame::Event(event)) => page.events.push(event),
                Next::Frame(ServerFrame::Gap { from, to }) => page.gaps.push((from, to)),
                Next::Frame(ServerFrame::MessageState(state)) => page.states.push(state),
                Next::Frame(ServerFrame::PageEnd { head, floor, from, to, more_before, more_after }) => {
                    page = Page { head, floor, from, to, more_before, more_after, ..page };
                    break;
                }
                Next::Reset(code) => return Ok(Err(code)),
                other => bail!("no page: {other:?}"),
            }
        }
        let mut told: Vec<Seq> = page.events.iter().map(|event| event.seq).collect();
        told.extend(page.gaps.iter().flat_map(|(from, to)| (from.0..=to.0).map(Seq)));
        told.sort_unstable();
        if !told.iter().copied().eq((page.from.0..=page.to.0).map(Seq)) {
            bail!("a page from {} to {} tells of {told:?}", page.from, page.to);
        }
        Ok(Ok(page))
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _gone = self.0.close().await;
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
