//! Clients of bare frames that keep the protocol's rules: they repeat what has no ack, and read on at their
//! cursor.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use quoth_protocol::frame::{ClientFrame, Event, Open, ServerFrame, Start};
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use super::history::{Broken, History, Progress};
use crate::history::{Ack, MessageId, ReaderId};
use crate::wire::{Frames, Peer, publish};

/// Publishes of a part that wait for an ack.
const IN_FLIGHT_MAX: usize = 24;

/// Messages that were acked and are repeated nevertheless after a reconnect.
const NEEDLESS_REPEATS_MAX: usize = 3;

/// Most of the time bodies are chat messages; some need several packets.
const BODY_BYTES_MAX: usize = 4_000;

/// What a client does in one conversation, over all its connections.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) conversation: ConversationName,
    pub(super) user: UserId,
    pub(super) producer: ProducerId,
    /// Messages that are not published yet.
    pub(super) to_publish: u64,
    /// The longest pause between two of them.
    pub(super) pause: Duration,
    pub(super) reads: bool,
    pub(super) reader: ReaderId,
    /// Where reading ends.
    pub(super) target: Seq,
    pub(super) rng: StdRng,
    pub(super) history: Rc<RefCell<History>>,
    pub(super) next_n: u64,
    pub(super) cursor: Seq,
    pub(super) unacked: VecDeque<(u64, Bytes)>,
    /// The last messages that were acked.
    pub(super) acked: VecDeque<(u64, Bytes)>,
    /// Numbers that the server has not stored, since it ended their stream in order and without an ack.
    pub(super) unstored: Vec<u64>,
}

/// What a part has on one connection.
struct Stream {
    frames: Frames,
    /// Acks that needless repeats wait for.
    repeats: usize,
    /// Cursors of the Open and of the Reads that are not answered yet.
    moves: VecDeque<Seq>,
    publishes_at: Instant,
    /// When the client reads and writes nothing for a while, if it does.
    stalls_at: Option<Instant>,
    /// When it moves its cursor, if it does.
    moves_at: Option<Instant>,
    /// The `n` of the last ack of a new message.
    acked_n: Option<u64>,
    /// The first number that is published here for the first time.
    fresh_n: u64,
    /// Numbers that were not stored before this stream.
    unstored: Vec<u64>,
}

impl Part {
    /// Whether everything is published, acked and read.
    pub(super) fn is_done(&self) -> bool {
        self.to_publish == 0 && self.unacked.is_empty() && (!self.reads || self.cursor >= self.target)
    }

    pub(super) fn note_progress(&self) {
        let progress = Progress {
            to_publish: self.to_publish,
            unacked: self.unacked.len(),
            to_read: if self.reads { self.target.0.saturating_sub(self.cursor.0) } else { 0 },
        };
        let key = (self.user.clone(), self.conversation.clone());
        self.history.borrow_mut().progress.insert(key, progress);
    }

    /// Runs on a connection until all is done. An error may be the end of the connection, or a broken
    /// promise.
    pub(super) async fn run(&mut self, peer: &Peer) -> anyhow::Result<()> {
        let mut stream = self.open(peer).await?;
        loop {
            self.note_progress();
            if self.is_done() && stream.repeats == 0 && stream.moves.is_empty() {
                return finish(stream.frames).await;
            }
            let publishes = self.to_publish > 0 && self.unacked.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                () = until(stream.stalls_at) => {
                    stream.stalls_at = None;
                    sleep(Duration::from_millis(self.rng.random_range(20..600))).await;
                }
                frame = stream.frames.next() => {
                    let Some(frame) = frame? else {
                        let fresh = self.unacked.iter().map(|(n, _)| *n).filter(|n| *n >= stream.fresh_n);
                        self.unstored = fresh.collect();
                        bail!("the server has finished the stream");
                    };
                    self.take(&mut stream, frame)?;
                }
                () = until(stream.moves_at) => {
                    let again = Duration::from_millis(self.rng.random_range(1..400));
                    stream.moves_at = self.rng.random_bool(0.6).then(|| Instant::now() + again);
                    self.move_cursor(&mut stream).await?;
                }
                () = sleep_until(stream.publishes_at), if publishes => self.publish(&mut stream).await?,
            }
        }
    }

    async fn open(&mut self, peer: &Peer) -> anyhow::Result<Stream> {
        let mut frames = Frames::open(&peer.quic).await?;
        let from = self.reads.then_some(Start::After(self.cursor));
        let (conversation, producer) = (self.conversation.clone(), self.producer);
        let unstored = std::mem::take(&mut self.unstored);
        frames.write(&ClientFrame::Open(Open { conversation, producer, from })).await?;
        let needless = self.rng.random_range(0..=NEEDLESS_REPEATS_MAX.min(self.acked.len()));
        let repeated = self.acked.iter().skip(self.acked.len() - needless).chain(&self.unacked);
        for (n, body) in repeated {
            self.note_sent(*n, body)?;
            frames.write(&publish(*n, body.clone())).await?;
        }
        let (now, publishes_at) = (Instant::now(), self.next_publish());
        let rng = &mut self.rng;
        let mut sometimes = |probability: f64| {
            // Soon as often as later: much happens in a stream's first moments.
            let longest_ms = if rng.random_bool(0.5) { 60 } else { 1_500 };
            let wait = Duration::from_millis(rng.random_range(1..longest_ms));
            rng.random_bool(probability).then(|| now + wait)
        };
        Ok(Stream {
            frames,
            repeats: needless,
            moves: VecDeque::from([self.cursor]),
            publishes_at,
            stalls_at: sometimes(0.3),
            moves_at: sometimes(0.3).filter(|_| self.reads),
            acked_n: None,
            fresh_n: self.next_n,
            unstored,
        })
    }

    /// Publishes some messages in a row.
    async fn publish(&mut self, stream: &mut Stream) -> anyhow::Result<()> {
        let most = if self.pause > Duration::from_secs(1) { 1 } else { 4 };
        for _ in 0..self.rng.random_range(1..=most).min(self.to_publish) {
            let (n, body) = self.next_message()?;
            stream.frames.write(&publish(n, body)).await?;
        }
        stream.publishes_at = self.next_publish();
        Ok(())
    }

    /// When the next message is to be published.
    pub(super) fn next_publish(&mut self) -> Instant {
        Instant::now() + self.rng.random_range(Duration::ZERO..self.pause)
    }

    /// Makes up a message that is to be published.
    pub(super) fn next_message(&mut self) -> anyhow::Result<(u64, Bytes)> {
        let n = self.next_n;
        self.next_n += self.rng.random_range(1..=3);
        let bytes = if self.rng.random_bool(0.1) { BODY_BYTES_MAX } else { 60 };
        let mut body = format!("{n} of {} in {} ", self.user, self.conversation).into_bytes();
        body.resize(body.len() + self.rng.random_range(0..bytes), b'.');
        let body = Bytes::from(body);
        self.to_publish -= 1;
        self.unacked.push_back((n, body.clone()));
        self.note_sent(n, &body)?;
        Ok((n, body))
    }

    /// Notes that a message goes to the server, perhaps again.
    pub(super) fn note_sent(&self, n: u64, body: &[u8]) -> Result<(), Broken> {
        self.history.borrow_mut().sent(&self.conversation, self.id(n), &self.user, body)
    }

    /// A message was not published after all; another one will be.
    pub(super) fn take_back(&mut self, n: u64) -> Result<(), Broken> {
        self.unacked.retain(|(unacked, _)| *unacked != n);
        self.to_publish += 1;
        self.history.borrow_mut().not_sent(&self.conversation, self.id(n))
    }

    /// Notes an ack and removes its message from those without one, if it was there.
    pub(super) fn note_ack(&mut self, n: u64, ack: Ack) -> Result<Option<(u64, Bytes)>, Broken> {
        self.history.borrow_mut().acked(&self.conversation, self.id(n), ack)?;
        let at = self.unacked.iter().position(|(unacked, _)| *unacked == n);
        Ok(at.and_then(|at| self.unacked.remove(at)))
    }

    /// Stops reading and reads on from somewhat before, perhaps twice.
    async fn move_cursor(&mut self, stream: &mut Stream) -> anyhow::Result<()> {
        for _ in 0..self.rng.random_range(1..=2) {
            let cursor = Seq(self.cursor.0.saturating_sub(self.rng.random_range(0..8)));
            if self.rng.random_bool(0.5) {
                stream.frames.write(&ClientFrame::Read { from: None }).await?;
            }
            stream.frames.write(&ClientFrame::Read { from: Some(Start::After(cursor)) }).await?;
            stream.moves.push_back(cursor);
        }
        Ok(())
    }

    fn take(&mut self, stream: &mut Stream, frame: ServerFrame) -> anyhow::Result<()> {
        match frame {
            ServerFrame::Opened { head, .. } => {
                let cursor =
                    stream.moves.pop_front().context(Broken::new("an Opened that answers nothing"))?;
                ensure!(head >= cursor, Broken::new("a head before a cursor"));
                self.attach(cursor)
            }
            ServerFrame::Event(event) => self.take_event(&event),
            ServerFrame::Ack { n, seq, time_ms, duplicate } => {
                let message = self.note_ack(n, Ack { seq, time_ms, duplicate })?;
                self.take_ack(stream, n, duplicate, message)
            }
            other => {
                let broken = anyhow::Error::new(Broken::new("a frame that has no place here"));
                Err(broken.context(format!("{other:?}")))
            }
        }
    }

    /// Reading goes on behind a cursor.
    pub(super) fn attach(&mut self, cursor: Seq) -> anyhow::Result<()> {
        self.cursor = cursor;
        if self.reads {
            self.history.borrow_mut().attached(&self.conversation, self.reader, cursor)?;
        }
        Ok(())
    }

    pub(super) fn take_event(&mut self, event: &Event) -> anyhow::Result<()> {
        self.cursor = event.seq;
        Ok(self.history.borrow_mut().delivered(&self.conversation, self.reader, event)?)
    }

    fn take_ack(
        &mut self,
        stream: &mut Stream,
        n: u64,
        duplicate: bool,
        message: Option<(u64, Bytes)>,
    ) -> anyhow::Result<()> {
        ensure!(!duplicate || !stream.unstored.contains(&n), Broken::new("a drain withheld an ack"));
        if !duplicate {
            ensure!(stream.acked_n.is_none_or(|last| last < n), Broken::new("acks are not in order"));
            stream.acked_n = Some(n);
        }
        if let Some(message) = message {
            if self.acked.len() == NEEDLESS_REPEATS_MAX {
                self.acked.pop_front();
            }
            self.acked.push_back(message);
            return Ok(());
        }
        ensure!(stream.repeats > 0, Broken::new("an ack for nothing"));
        ensure!(duplicate, Broken::new("a repeat of an acked message is stored as a new one"));
        stream.repeats -= 1;
        Ok(())
    }

    fn id(&self, n: u64) -> MessageId {
        MessageId { producer: self.producer.0, n }
    }
}

/// Ends a stream that is done and waits for the server's end.
async fn finish(mut frames: Frames) -> anyhow::Result<()> {
    frames.send.finish()?;
    while frames.next().await?.is_some() {}
    Ok(())
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
