//! A conversation with publishers and readers that do one thing at a time, when the test says so. A reader
//! that is not told to read is stalled: its stream fills up, and the server has to wait for it.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use quinn::{Endpoint, VarInt};
use quoth_protocol::frame::{ClientFrame, ServerFrame, Start};
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::history::{Ack, Content, Entry, MessageId, ReaderId, Violation, What, check};
use quoth_tests::load::{Recorder, read_log};
use quoth_tests::wire::{Frames, Peer, client_config, publish};

/// How long anything that must come may take. A bound of a hang, not a measurement.
const HANG: Duration = Duration::from_secs(60);

/// Publishes of one publisher without ack; the server takes no more than 256.
const IN_FLIGHT_MAX: usize = 200;

/// Something that somebody does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// A publisher sends, and does not wait.
    Publish { publisher: usize, count: usize, bytes: usize },
    /// A publisher waits until all of its messages are acked.
    Await { publisher: usize },
    /// A publisher drops its connection. It comes back with its next action and repeats what was not acked.
    DropPublisher { publisher: usize },
    /// A reader reads so many events, or as many as there will be.
    Read { reader: usize, count: usize },
    /// A reader asks for no more (`Read { from: None }`).
    Pause { reader: usize },
    /// A reader goes to another place on its stream, or opens one there.
    Seek { reader: usize, to: Place },
    /// A reader drops its connection.
    DropReader { reader: usize },
}

/// Where a reader goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Where it is.
    Cursor,
    /// So many events before.
    Back(u64),
    /// To the last so many events.
    Last(u32),
    /// To what is stored from now on.
    Live,
}

/// The conversation and everybody in it.
pub(crate) struct Room<'a> {
    server: &'a EmbeddedServer,
    endpoint: Endpoint,
    conversation: ConversationName,
    recorder: Recorder,
    publishers: Vec<Publisher>,
    readers: Vec<Reader>,
}

#[derive(Default)]
struct Publisher {
    connection: Option<(Peer, Frames)>,
    next_n: u64,
    in_flight: VecDeque<(u64, Bytes)>,
    /// The last seq of its acks.
    acked: Seq,
}

#[derive(Default)]
struct Reader {
    connection: Option<(Peer, Frames)>,
    reads: bool,
    cursor: Seq,
}

impl<'a> Room<'a> {
    pub(crate) fn new(
        server: &'a EmbeddedServer,
        name: &str,
        publishers: usize,
        readers: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            endpoint: Endpoint::client(([127, 0, 0, 1], 0).into())?,
            conversation: ConversationName::new(name)?,
            recorder: Recorder::default(),
            publishers: (0..publishers).map(|_| Publisher::default()).collect(),
            readers: (0..readers).map(|_| Reader::default()).collect(),
        })
    }

    /// Performs the actions, lets everybody come to the end, and gives what was not as promised.
    pub(crate) async fn run(mut self, actions: &[Action]) -> anyhow::Result<Vec<Violation>> {
        for action in actions {
            self.perform(action).await.with_context(|| format!("{action:?}"))?;
        }
        for publisher in 0..self.publishers.len() {
            self.connect_publisher(publisher).await?;
            self.settle(publisher, 0).await?;
        }
        for reader in 0..self.readers.len() {
            if !self.readers[reader].reads {
                self.seek(reader, Place::Cursor).await?;
            }
            self.read(reader, usize::MAX).await.context("all that is left")?;
        }
        let peer = self.connect().await?;
        read_log(&peer, &self.conversation, &self.recorder).await?;
        self.endpoint.close(VarInt::from_u32(0), b"");
        Ok(check(&self.recorder.steps()))
    }

    async fn perform(&mut self, action: &Action) -> anyhow::Result<()> {
        match *action {
            Action::Publish { publisher, count, bytes } => self.publish(publisher, count, bytes).await,
            Action::Await { publisher } => {
                self.connect_publisher(publisher).await?;
                self.settle(publisher, 0).await
            }
            Action::DropPublisher { publisher } => {
                close(self.publishers[publisher].connection.take());
                Ok(())
            }
            Action::Read { reader, count } => self.read(reader, count).await,
            Action::Pause { reader } => self.pause(reader).await,
            Action::Seek { reader, to } => self.seek(reader, to).await,
            Action::DropReader { reader } => {
                self.readers[reader].reads = false;
                close(self.readers[reader].connection.take());
                Ok(())
            }
        }
    }

    async fn connect(&self) -> anyhow::Result<Peer> {
        // Small windows, so that a reader stalls soon.
        let mut config = client_config(&self.server.ca_file(), quoth_protocol::ALPN)?;
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(16 * 1024));
        config.transport_config(std::sync::Arc::new(transport));
        let token = self.server.token();
        soon("a connection", Peer::connect_with(&self.endpoint, config, self.server.address(), token)).await
    }

    async fn connect_publisher(&mut self, index: usize) -> anyhow::Result<()> {
        if self.publishers[index].connection.is_some() {
            return Ok(());
        }
        let peer = self.connect().await?;
        let opens = peer.open(self.conversation.as_str(), index as u64, None);
        let (frames, _) = soon("an Opened", opens).await?;
        self.publishers[index].connection = Some((peer, frames));
        for (n, body) in self.publishers[index].in_flight.clone() {
            self.send(index, n, body).await?;
        }
        Ok(())
    }

    async fn send(&mut self, index: usize, n: u64, body: Bytes) -> anyhow::Result<()> {
        let content = Content::new(&UserId::new("alice")?, &body);
        let id = MessageId { producer: index as u64, n };
        self.recorder.write(&self.conversation, What::Sent { id, content });
        let (_, frames) = self.publishers[index].connection.as_mut().context("connected before")?;
        soon("room for a publish", frames.write(&publish(n, body))).await
    }

    async fn publish(&mut self, index: usize, count: usize, bytes: usize) -> anyhow::Result<()> {
        self.connect_publisher(index).await?;
        for _ in 0..count {
            self.settle(index, IN_FLIGHT_MAX).await?;
            let publisher = &mut self.publishers[index];
            let n = publisher.next_n;
            publisher.next_n += 1;
            let mut body = format!("{index}/{n} ").into_bytes();
            body.resize(body.len().max(bytes), b'.');
            publisher.in_flight.push_back((n, body.clone().into()));
            self.send(index, n, body.into()).await?;
        }
        Ok(())
    }

    /// Takes acks until at most so many are missing.
    async fn settle(&mut self, index: usize, in_flight_max: usize) -> anyhow::Result<()> {
        let publisher = &mut self.publishers[index];
        while publisher.in_flight.len() > in_flight_max {
            let (_, frames) = publisher.connection.as_mut().context("connected before")?;
            let Some(ServerFrame::Ack { n, seq, time_ms, duplicate }) = soon("an ack", frames.next()).await?
            else {
                bail!("something else than an ack");
            };
            publisher.in_flight.retain(|(other, _)| *other != n);
            publisher.acked = publisher.acked.max(seq);
            let (id, ack) = (MessageId { producer: index as u64, n }, Ack { seq, time_ms, duplicate });
            self.recorder.write(&self.conversation, What::Acked { id, ack });
        }
        Ok(())
    }

    /// The head that there will be without anybody doing anything more.
    fn head(&self) -> Seq {
        let is_sure =
            |publisher: &Publisher| publisher.in_flight.is_empty() || publisher.connection.is_some();
        if self.publishers.iter().all(is_sure) {
            Seq(self.publishers.iter().map(|publisher| publisher.next_n).sum())
        } else {
            self.publishers.iter().map(|publisher| publisher.acked).max().unwrap_or_default()
        }
    }

    async fn read(&mut self, index: usize, count: usize) -> anyhow::Result<()> {
        if !self.readers[index].reads {
            return Ok(());
        }
        let cursor = self.readers[index].cursor;
        let until = self.head().min(Seq(cursor.0.saturating_add(count as u64)));
        while self.readers[index].cursor < until {
            let at = self.readers[index].cursor;
            let frame = self.next(index).await;
            let frame = frame.with_context(|| format!("reader {index} is at {at} and will have {until}"))?;
            ensure!(frame.is_none(), "reader {index} got {frame:?}");
        }
        Ok(())
    }

    /// Takes the next frame of a reader; gives it when it is no event.
    async fn next(&mut self, index: usize) -> anyhow::Result<Option<ServerFrame>> {
        let state = &mut self.readers[index];
        let (_, frames) = state.connection.as_mut().context("a reader with a stream")?;
        let reader = ReaderId::try_from(index)?;
        match soon("the next event", frames.next()).await?.context("the stream has ended")? {
            ServerFrame::Event(event) => {
                state.cursor = event.seq;
                let entry = Entry::of(&event);
                self.recorder.write(&self.conversation, What::Delivered { reader, entry });
                Ok(None)
            }
            ServerFrame::Gap { from, to } => {
                state.cursor = to;
                self.recorder.write(&self.conversation, What::Gap { reader, from, to });
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    async fn pause(&mut self, index: usize) -> anyhow::Result<()> {
        let state = &mut self.readers[index];
        state.reads = false;
        match &mut state.connection {
            Some((_, frames)) => frames.write(&ClientFrame::Read { from: None }).await,
            None => Ok(()),
        }
    }

    async fn seek(&mut self, index: usize, to: Place) -> anyhow::Result<()> {
        let cursor = self.readers[index].cursor;
        let from = match to {
            Place::Cursor => Start::After(cursor),
            Place::Back(by) => Start::After(Seq(cursor.0.saturating_sub(by))),
            Place::Last(count) => Start::Last(count),
            Place::Live => Start::Live,
        };
        let head = if let Some((_, frames)) = &mut self.readers[index].connection {
            frames.write(&ClientFrame::Read { from: Some(from) }).await?;
            loop {
                match self.next(index).await? {
                    Some(ServerFrame::Opened { head, .. }) => break head,
                    None => {}
                    other => bail!("reader {index} got {other:?}"),
                }
            }
        } else {
            let peer = self.connect().await?;
            let opens = peer.open(self.conversation.as_str(), 99, Some(from));
            let (frames, head) = soon("an Opened", opens).await?;
            self.readers[index].connection = Some((peer, frames));
            head
        };
        let cursor = match from {
            Start::After(cursor) => cursor,
            Start::Last(count) => Seq(head.0.saturating_sub(count.into())),
            Start::Live => head,
        };
        (self.readers[index].cursor, self.readers[index].reads) = (cursor, true);
        let attached = What::Attached { reader: ReaderId::try_from(index)?, cursor };
        self.recorder.write(&self.conversation, attached);
        Ok(())
    }
}

fn close(connection: Option<(Peer, Frames)>) {
    if let Some((peer, _)) = connection {
        peer.quic.close(VarInt::from_u32(0), b"");
    }
}

async fn soon<T>(what: &str, comes: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(HANG, comes).await.with_context(|| format!("{what} has not come in {HANG:?}"))?
}
