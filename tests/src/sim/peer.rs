//! A simulated client: connects, runs its parts, and connects again until all of them are done.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ClientConfig, ConnectionError, Endpoint, EndpointConfig, ReadError, TokioRuntime, VarInt, WriteError,
};
use quoth_protocol::code::Action;
use quoth_protocol::frame::{ClientFrame, Event, Fetch, FetchRange, ServerFrame};
use quoth_protocol::{Code, ConversationName, Seq};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::history::{Broken, History};
use super::load::Part;
use super::plan::CALM_AT_MS;
use super::server::{HOST, PORT};
use super::socket::{Network, Socket};
use crate::history::ReaderId;
use crate::wire::{Frames, Peer};

/// Longest wait for a handshake and a Welcome.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Who reads pages of history, in each conversation; the peers' readers have smaller numbers.
const ARCHIVIST_READER: ReaderId = ReaderId::MAX;

/// How a client reaches the server.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) endpoint: Endpoint,
    pub(super) config: ClientConfig,
    pub(super) server: SocketAddr,
    /// The test's tokens are user names.
    pub(super) token: String,
}

impl Dial {
    /// A new endpoint on the simulated host that runs, which has this name.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub(super) async fn new(
        host: String,
        config: ClientConfig,
        network: &Network,
        seed: [u8; 32],
    ) -> anyhow::Result<Self> {
        let mut endpoint = EndpointConfig::default();
        endpoint.rng_seed(Some(seed));
        let socket = Socket::bind(&host, 0, network).await?;
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, None, socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, config, server: SocketAddr::new(turmoil::lookup(HOST), PORT), token: host })
    }

    /// Connects and signs in, again and again.
    ///
    /// # Errors
    /// When the server breaks a promise.
    pub(super) async fn connect(&self, rng: &mut StdRng) -> anyhow::Result<Peer> {
        loop {
            let config = self.config.clone();
            let attempt = Peer::connect_with(&self.endpoint, config, self.server, &self.token);
            match timeout(CONNECT_TIMEOUT, attempt).await {
                Ok(Ok(peer)) => return Ok(peer),
                Ok(Err(error)) if is_broken(&error) => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
            sleep(Duration::from_millis(rng.random_range(5..250))).await;
        }
    }
}

/// Runs parts to their end.
///
/// # Errors
/// When the server breaks a promise.
pub(super) async fn run(dial: Dial, mut parts: Vec<Part>, mut rng: StdRng) -> anyhow::Result<()> {
    while !parts.iter().all(Part::is_done) {
        let peer = dial.connect(&mut rng).await?;
        let is_calm = turmoil::sim_elapsed().is_some_and(|now| now >= Duration::from_millis(CALM_AT_MS));
        let leaves = !is_calm && rng.random_bool(0.3);
        let leaves_at = leaves.then(|| Instant::now() + Duration::from_millis(rng.random_range(50..1_000)));
        parts = connection(peer, parts, leaves_at).await?;
    }
    Ok(())
}

/// Runs the parts that are not done on one connection until it ends.
async fn connection(peer: Peer, parts: Vec<Part>, leaves_at: Option<Instant>) -> anyhow::Result<Vec<Part>> {
    let peer = Rc::new(peer);
    let (mut over, left): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(Part::is_done);
    let mut running = JoinSet::new();
    for mut part in left {
        let peer = Rc::clone(&peer);
        running.spawn_local(async move {
            let result = part.run(&peer).await;
            (part, result)
        });
    }
    let close = || peer.quic.close(VarInt::from_u32(Code::CLOSED.0), b"");
    loop {
        tokio::select! {
            biased;
            ended = running.join_next() => match ended {
                None => break,
                Some(ended) => {
                    let (part, result) = ended?;
                    over.push(part);
                    if let Err(error) = result {
                        if is_broken(&error) {
                            return Err(error);
                        }
                        close();
                    }
                }
            },
            () = async { sleep_until(leaves_at.unwrap_or_else(Instant::now)).await }, if leaves_at.is_some() && peer.quic.close_reason().is_none() => close(),
        }
    }
    close();
    Ok(over)
}

/// Reads a whole conversation in pages, forward and backward, as a reader.
///
/// # Errors
/// When the server breaks a promise, or the connection ends, which nothing explains any more.
pub(super) async fn read_pages(
    dial: &Dial,
    conversation: &ConversationName,
    rng: &mut StdRng,
    history: &RefCell<History>,
) -> anyhow::Result<()> {
    let peer = dial.connect(rng).await?;
    for forward in [true, false] {
        let mut range = if forward { FetchRange::After(Seq::ZERO) } else { FetchRange::Latest };
        loop {
            let limit = rng.random_range(1..60);
            let page = read_page(&peer, conversation, range, limit).await?;
            let span = page.events.first().zip(page.events.last());
            let (first, last) = span.map_or((page.from, page.to), |(first, last)| (first.seq, last.seq));
            anyhow::ensure!(
                (page.from, page.to) == (first, last),
                Broken::new("a page does not tell of what it says")
            );
            anyhow::ensure!(
                page.more_before == (first > Seq(1)) && page.more_after == (last < page.head),
                Broken::new("a page does not know whether there are more")
            );
            if !forward || first == Seq(1) {
                history.borrow_mut().attached(conversation, ARCHIVIST_READER, Seq(first.0 - 1))?;
            }
            for event in &page.events {
                history.borrow_mut().delivered(conversation, ARCHIVIST_READER, event)?;
            }
            if !(if forward { page.more_after } else { page.more_before }) {
                break;
            }
            range = if forward { FetchRange::After(last) } else { FetchRange::Before(first) };
        }
    }
    peer.quic.close(VarInt::from_u32(Code::CLOSED.0), b"");
    Ok(())
}

struct Page {
    events: Vec<Event>,
    head: Seq,
    from: Seq,
    to: Seq,
    more_before: bool,
    more_after: bool,
}

async fn read_page(
    peer: &Peer,
    conversation: &ConversationName,
    range: FetchRange,
    limit: u32,
) -> anyhow::Result<Page> {
    let mut frames = Frames::open(&peer.quic).await?;
    frames.write(&ClientFrame::Fetch(Fetch { conversation: conversation.clone(), range, limit })).await?;
    frames.send.finish()?;
    let mut events = Vec::new();
    loop {
        match frames.next().await? {
            Some(ServerFrame::Event(event)) => events.push(event),
            Some(ServerFrame::PageEnd { head, from, to, more_before, more_after, .. }) => {
                return Ok(Page { events, head, from, to, more_before, more_after });
            }
            other => anyhow::bail!("a page has {other:?}"),
        }
    }
}

/// Whether an error is a promise that the server broke, and not the network's or a restart's doing.
pub(super) fn is_broken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Broken>().is_some() || code_of(error).is_some_and(is_terminal)
}

/// No final code is this client's fault.
fn is_terminal(code: Code) -> bool {
    !matches!(code.action(), Action::Nothing | Action::Retry)
}

/// The code that the server closed or reset with.
pub(super) fn code_of(error: &anyhow::Error) -> Option<Code> {
    let of_connection = |error: &ConnectionError| match error {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code),
        _ => None,
    };
    let code = error.chain().find_map(|cause| {
        let read = cause.downcast_ref::<ReadError>().and_then(|error| match error {
            ReadError::Reset(code) => Some(*code),
            ReadError::ConnectionLost(error) => of_connection(error),
            _ => None,
        });
        let write = cause.downcast_ref::<WriteError>().and_then(|error| match error {
            WriteError::Stopped(code) => Some(*code),
            WriteError::ConnectionLost(error) => of_connection(error),
            _ => None,
        });
        read.or(write).or_else(|| cause.downcast_ref::<ConnectionError>().and_then(of_connection))
    });
    code.and_then(|code| u32::try_from(code.into_inner()).ok()).map(Code)
}
