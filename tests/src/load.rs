//! Publishers and readers that write down what they see, over one server after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use parking_lot::Mutex;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, ServerFrame, Start};
use quoth_protocol::limits::FETCH_EVENTS_MAX;
use quoth_protocol::{ConversationName, Seq, UserId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::history::{Ack, Content, Entry, MessageId, ReaderId, Step, What};
use crate::wire::{Frames, Peer, publish};

/// Publishes of one publisher that wait for their acks.
const IN_FLIGHT_MAX: usize = 32;

/// Where everybody writes down what happens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    steps: Arc<Mutex<Vec<Step>>>,
    acked: Arc<watch::Sender<u64>>,
}

impl Recorder {
    /// Writes a step down.
    pub fn write(&self, conversation: &ConversationName, what: What) {
        let is_new = matches!(what, What::Acked { ack: Ack { duplicate: false, .. }, .. });
        self.steps.lock().push(Step { conversation: conversation.clone(), what });
        if is_new {
            self.acked.send_modify(|count| *count += 1);
        }
    }

    /// Waits for the acks of so many new messages, counted from this call on, whenever it is waited.
    pub fn acked(&self, count: u64) -> impl Future<Output = ()> + use<> {
        let mut acked = self.acked.subscribe();
        let end = *acked.borrow_and_update() + count;
        async move {
            let _what_is_acked_stays_so = acked.wait_for(|count| *count >= end).await;
        }
    }

    /// The steps until now, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }
}

/// One producer of one conversation. Outlives connections and servers: what was not acked is sent again with
/// its id.
#[derive(Debug)]
pub struct Publisher {
    conversation: ConversationName,
    user: UserId,
    producer: u64,
    next_n: u64,
    in_flight: VecDeque<(u64, Bytes)>,
    rng: StdRng,
    recorder: Recorder,
}

impl Publisher {
    /// A publisher with nothing sent.
    #[must_use]
    pub fn new(
        conversation: ConversationName,
        user: UserId,
        producer: u64,
        seed: u64,
        recorder: Recorder,
    ) -> Self {
        let rng = StdRng::seed_from_u64(seed ^ producer);
        Self { conversation, user, producer, next_n: 1, in_flight: VecDeque::new(), rng, recorder }
    }

    /// Sends again what is in flight, and then new messages until `stop` says so and all is acked.
    ///
    /// # Errors
    /// When the connection or the stream ends before; what is in flight stays so.
    pub async fn run(&mut self, peer: &Peer, stop: &AtomicBool) -> anyhow::Result<()> {
        let (mut frames, _) = peer.open(self.conversation.as_str(), self.producer, None).await?;
        let mut sending = Ok(());
        for (n, body) in self.in_flight.clone() {
            if sending.is_ok() {
                sending = self.send(&mut frames, n, body).await;
            }
        }
        loop {
            // A server that drains takes no more, and the acks of what it has read are still to come.
            while sending.is_ok() && self.in_flight.len() < IN_FLIGHT_MAX && !stop.load(Ordering::Acquire) {
                let (n, body) = (self.next_n, self.body());
                self.next_n += 1;
                self.in_flight.push_back((n, body.clone()));
                sending = self.send(&mut frames, n, body).await;
            }
            if self.in_flight.is_empty() && sending.is_ok() {
                return Ok(());
            }
            match frames.next().await? {
                Some(ServerFrame::Ack { n, seq, time_ms, duplicate }) => {
                    self.in_flight.retain(|(other, _)| *other != n);
                    let ack = Ack { seq, time_ms, duplicate };
                    self.recorder.write(&self.conversation, What::Acked { id: self.id(n), ack });
                }
                Some(ServerFrame::Refused { n, code, .. }) => {
                    self.recorder.write(&self.conversation, What::Refused { id: self.id(n), code });
                    bail!("{n} was refused with {code}");
                }
                None => return sending.and(Err(anyhow::anyhow!("the server has finished the stream"))),
                other => bail!("a publisher got {other:?}"),
            }
        }
    }

    async fn send(&self, frames: &mut Frames, n: u64, body: Bytes) -> anyhow::Result<()> {
        let content = Content::new(&self.user, &body);
        self.recorder.write(&self.conversation, What::Sent { id: self.id(n), content });
        frames.write(&publish(n, body)).await
    }

    fn id(&self, n: u64) -> MessageId {
        MessageId { producer: self.producer, n }
    }

    /// Unlike any other body; most are short, some are long enough to fill segments soon.
    fn body(&mut self) -> Bytes {
        let bytes = if self.rng.random_bool(0.7) { 200..2_000_usize } else { 8_000..32_000 };
        let mut body = format!("{}/{}/{} ", self.conversation, self.producer, self.next_n).into_bytes();
        body.resize(self.rng.random_range(bytes), b'.');
        body.into()
    }
}

/// Where a reader's next session starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Where the last one ended.
    Cursor,
    /// With what is stored from then on.
    Live,
    /// Somewhere before the end of the last one.
    Before,
}

/// A reader of one conversation; outlives connections and servers.
#[derive(Debug)]
pub struct Reader {
    id: ReaderId,
    conversation: ConversationName,
    from: From,
    cursor: Seq,
    rng: StdRng,
    recorder: Recorder,
}

impl Reader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(
        id: ReaderId,
        conversation: ConversationName,
        from: From,
        seed: u64,
        recorder: Recorder,
    ) -> Self {
        let rng = StdRng::seed_from_u64(seed ^ u64::from(id));
        Self { id, conversation, from, cursor: Seq::ZERO, rng, recorder }
    }

    /// The last event that it has.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Which conversation it reads.
    #[must_use]
    pub fn conversation(&self) -> &ConversationName {
        &self.conversation
    }

    /// Reads in a new session until it has `until`.
    ///
    /// # Errors
    /// When the connection or the stream ends before.
    pub async fn run(&mut self, peer: &Peer, until: Seq) -> anyhow::Result<()> {
        let start = match self.from {
            From::Cursor => Start::After(self.cursor),
            From::Before => Start::After(Seq(self.rng.random_range(0..=self.cursor.0))),
            From::Live => Start::Live,
        };
        let (mut frames, head) =
            peer.open(self.conversation.as_str(), u64::from(self.id), Some(start)).await?;
        let reader = self.id;
        let cursor = if let Start::After(cursor) = start { cursor } else { head };
        self.cursor = cursor;
        self.recorder.write(&self.conversation, What::Attached { reader, cursor });
        while self.cursor < until {
            match frames.next().await?.context("the reader's stream has ended")? {
                ServerFrame::Event(event) => {
                    let entry = Entry::of(&event);
                    self.recorder.write(&self.conversation, What::Delivered { reader, entry });
                    self.cursor = event.seq;
                }
                ServerFrame::Gap { from, to } => {
                    self.recorder.write(&self.conversation, What::Gap { reader, from, to });
                    self.cursor = to;
                }
                other => bail!("a reader got {other:?}"),
            }
        }
        Ok(())
    }
}

/// Reads a conversation's whole log by pages, writes it down, and gives its head.
///
/// # Errors
/// When the connection or a stream ends before.
pub async fn read_log(
    peer: &Peer,
    conversation: &ConversationName,
    recorder: &Recorder,
) -> anyhow::Result<Seq> {
    let (mut entries, mut floor, mut cursor) = (Vec::new(), None, Seq::ZERO);
    loop {
        let mut frames = Frames::open(&peer.quic).await?;
        let range = FetchRange::After(cursor);
        let fetch = Fetch { conversation: conversation.clone(), range, limit: FETCH_EVENTS_MAX };
        frames.write(&ClientFrame::Fetch(fetch)).await?;
        frames.send.finish()?;
        let end = loop {
            match frames.next().await?.context("a page has no end")? {
                ServerFrame::Event(event) => {
                    cursor = event.seq;
                    entries.push(Entry::of(&event));
                }
                ServerFrame::PageEnd { floor, more_after, .. } => break (floor, more_after),
                other => bail!("a page has {other:?}"),
            }
        };
        let floor = *floor.get_or_insert(end.0);
        if !end.1 {
            recorder.write(conversation, What::Log { floor, entries });
            return Ok(cursor);
        }
    }
}
