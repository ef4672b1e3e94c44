//! The clients: bare frames, all on one thread, the same for server and relay.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use quoth_protocol::Seq;
use quoth_protocol::frame::{EventKind, ServerFrame, Start};
use rand::RngExt as _;
use tokio::sync::mpsc;

use super::target::Target;
use crate::wire::{Frames, Incoming, Peer, publish, socket};

/// Bytes of a message: what chats have with some markup, and what the rivals' benchmarks use.
pub(super) const BODY_BYTES: usize = 200;

/// Before what counts, in each turn.
pub(super) const WARM_UP: Duration = Duration::from_millis(500);

/// Connects clients to one target, over one socket.
#[derive(Debug)]
pub(super) struct Clients {
    endpoint: Endpoint,
    server: SocketAddr,
    ca_file: PathBuf,
    token: String,
    peers: Vec<Peer>,
}

impl Clients {
    pub(super) fn of(target: &Target) -> anyhow::Result<Self> {
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            None,
            socket((Ipv4Addr::LOCALHOST, 0).into())?,
            runtime,
        )?;
        let (server, ca_file, token) = (target.address(), target.ca_file(), target.token()?);
        Ok(Self { endpoint, server, ca_file, token, peers: Vec::new() })
    }

    /// Connects one more client.
    pub(super) async fn connect(&mut self) -> anyhow::Result<&Peer> {
        let peer = Peer::connect(&self.endpoint, self.server, &self.ca_file, &self.token).await?;
        self.peers.push(peer);
        self.peers.last().context("just pushed")
    }

    /// Closes all: a client that only goes away leaves a server that sends to nobody, which ruins what is
    /// measured next.
    pub(super) async fn close(self) {
        for peer in self.peers {
            peer.quic.close(0_u32.into(), b"");
        }
        self.endpoint.wait_idle().await;
    }
}

/// A reader of one conversation.
#[derive(Debug)]
pub(super) struct Reader {
    incoming: Incoming,
    /// Dropping it would finish the stream, which ends the reader.
    _send: quinn::SendStream,
    last: Option<Seq>,
}

impl Reader {
    /// Opens a conversation to read what is published from now on.
    pub(super) async fn open(peer: &Peer, name: &str) -> anyhow::Result<Self> {
        let (Frames { send, incoming }, _) = peer.open(name, 0, Some(Start::Live)).await?;
        Ok(Self { incoming, _send: send, last: None })
    }

    /// Waits for an event and takes what has come with it: checks that each follows the one before, and calls
    /// `delivered` with their ages. Gives how many there were. Dropping the future loses nothing.
    pub(super) async fn read(&mut self, mut delivered: impl FnMut(Duration)) -> anyhow::Result<u64> {
        let mut next = self.incoming.next().await?;
        let mut count = 0;
        while let Some(frame) = next {
            let ServerFrame::Event(event) = &frame else { bail!("not an event: {frame:?}") };
            if self.last.is_some_and(|last| event.seq != last.next()) {
                bail!("event {} follows {:?}", event.seq, self.last);
            }
            self.last = Some(event.seq);
            let EventKind::Message { body, .. } = &event.kind else { bail!("not a message: {frame:?}") };
            let stamp = body.first_chunk().context("a body without a stamp")?;
            delivered((epoch() + Duration::from_nanos(u64::from_le_bytes(*stamp))).elapsed());
            count += 1;
            next = self.incoming.here()?;
        }
        if count == 0 { bail!("the reader's stream has ended") } else { Ok(count) }
    }

    /// The same until `count` events are read.
    pub(super) async fn read_all(
        &mut self,
        count: u64,
        mut delivered: impl FnMut(Duration),
    ) -> anyhow::Result<()> {
        let mut read = 0;
        while read < count {
            read += self.read(&mut delivered).await?;
        }
        Ok(())
    }
}

/// Of `count` messages that come evenly in the warm-up and a turn, those of the warm-up.
pub(super) fn warm_up_share(count: u64, turn: Duration) -> u64 {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    count * ms(WARM_UP) / ms(turn + WARM_UP)
}

/// Opens a conversation to publish.
pub(super) async fn open_publisher(peer: &Peer, name: &str) -> anyhow::Result<Publisher> {
    let (Frames { send, incoming }, _) = peer.open(name, rand::rng().random(), None).await?;
    Ok(Publisher { send, incoming, n: 0 })
}

/// One producer of one conversation.
#[derive(Debug)]
pub(super) struct Publisher {
    send: quinn::SendStream,
    incoming: Incoming,
    n: u64,
}

impl Publisher {
    /// Publishes bodies in one write.
    pub(super) async fn publish(&mut self, bodies: impl IntoIterator<Item = Bytes>) -> anyhow::Result<()> {
        let mut frames: Vec<Bytes> = Vec::new();
        for body in bodies {
            self.n += 1;
            frames.push(quoth_protocol::codec::encode(&publish(self.n, body)));
        }
        self.send.write_all_chunks(&mut frames).await?;
        Ok(())
    }

    /// Publishes each stamp as it comes, and calls `acked` with the time of each publish that is acked. Ends
    /// when all stamps are acked.
    pub(super) async fn publish_stamps(
        mut self,
        mut stamps: mpsc::UnboundedReceiver<Instant>,
        mut acked: impl FnMut(Duration),
    ) -> anyhow::Result<()> {
        let (mut waiting, mut in_flight) = (Vec::new(), VecDeque::<Instant>::new());
        let mut is_open = true;
        while is_open || !in_flight.is_empty() {
            tokio::select! {
                biased;
                count = self.incoming.next(), if !in_flight.is_empty() => {
                    let mut next = count?;
                    if next.is_none() { bail!("the stream has ended") }
                    while let Some(frame) = next {
                        let ServerFrame::Ack { duplicate: false, .. } = frame else { bail!("not an ack: {frame:?}") };
                        acked(in_flight.pop_front().map_or(Duration::ZERO, |stamp| stamp.elapsed()));
                        next = self.incoming.here()?;
                    }
                }
                count = stamps.recv_many(&mut waiting, 1_024), if is_open => {
                    is_open = count > 0;
                    in_flight.extend(waiting.iter().copied());
                    self.publish(waiting.drain(..).map(body)).await?;
                }
            }
        }
        Ok(())
    }
}

/// When the first message was made; stamps count from there.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// A message that carries when it was made.
pub(super) fn body(stamp: Instant) -> Bytes {
    let mut body = vec![b'x'; BODY_BYTES];
    let since = stamp.saturating_duration_since(epoch());
    body[..8].copy_from_slice(&u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
    body.into()
}

/// Longest time between two wake-ups of [`pace`] is a message's, the shortest this: faster rates come in
/// bursts.
const TICK: Duration = Duration::from_millis(1);

/// Says when messages are due, on a thread of its own and in turn to each of some publishers, whatever
/// becomes of them: a publisher that is held up shows as latency. A stamp is when the thread woke up, so that
/// its own lateness is not taken for the server's. Gives how many messages each publisher gets.
pub(super) fn pace(
    publishers: usize,
    per_second: u64,
    duration: Duration,
) -> (u64, Vec<mpsc::UnboundedReceiver<Instant>>) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..publishers).map(|_| mpsc::unbounded_channel()).unzip();
    let rounds =
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) * per_second / 1_000 / publishers as u64;
    let started = epoch().max(Instant::now());
    std::thread::spawn(move || {
        let mut woke = started;
        let in_turn = senders.iter().cycle();
        for (i, sender) in (0..rounds * senders.len() as u64).zip(in_turn) {
            let due = started + Duration::from_nanos(i * 1_000_000_000 / per_second);
            if due > woke {
                std::thread::sleep((due.max(woke + TICK)).saturating_duration_since(Instant::now()));
                woke = Instant::now();
            }
            if sender.send(woke).is_err() {
                return;
            }
        }
    });
    (rounds, receivers)
}

/// A runtime for the clients.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
