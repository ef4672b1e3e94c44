//! A connection over a WebSocket, on whose lanes streams run (`docs/PROTOCOL.md`, section 9).

mod handshake;
mod liveness;
mod pump;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quoth_lanes::{Closed, LaneRecv, LaneSend, Lanes, ReadError, WriteError};
use quoth_protocol::Code;
use quoth_protocol::limits::FETCHES_AT_ONCE_MAX;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::handshake::Dialer;
use self::liveness::{CHECK_INTERVAL, Liveness, Verdict};
use crate::state::{Reason, printable};
use crate::wire::StreamEnd;

/// The socket of a connection: TLS over TCP.
type Socket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

/// A connection. When the last clone is dropped it closes.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lanes: Lanes,
    traffic: Arc<Traffic>,
    /// That of the handshake's last request.
    round_trip: Duration,
    keep_alive_interval: Duration,
    /// Ends when the socket is done with.
    pumping: watch::Receiver<()>,
}

/// What has crossed a connection.
#[derive(Debug, Default)]
struct Traffic {
    /// Messages that have come, WebSocket's own pings among them.
    received: AtomicU64,
    /// Writes of frames.
    sent: AtomicU64,
}

/// The client's side of a lane.
#[derive(Debug)]
pub(crate) struct Sender {
    lane: LaneSend,
    traffic: Arc<Traffic>,
}

impl Connection {
    /// Takes a socket whose handshake is complete, and moves its messages in a task of its own.
    fn new(socket: Socket, round_trip: Duration, keep_alive_interval: Duration) -> Self {
        let (lanes, traffic) = (Lanes::client(), Arc::new(Traffic::default()));
        let (pumps, pumping) = watch::channel(());
        let pump = pump::run(socket, lanes.clone(), Arc::clone(&traffic));
        tokio::spawn(async move {
            pump.await;
            drop(pumps);
        });
        Self { shared: Arc::new(Shared { lanes, traffic, round_trip, keep_alive_interval, pumping }) }
    }

    pub(super) async fn open(&self) -> Result<(Sender, LaneRecv), Reason> {
        let (lane, recv) = self.shared.lanes.open().await.map_err(reason)?;
        Ok((Sender { lane, traffic: Arc::clone(&self.shared.traffic) }, recv))
    }

    /// As many lanes as the protocol promises: the control lane, the conversations, and the pages.
    pub(super) fn signed_in(&self, open_conversations_max: u32) {
        let lanes_max = open_conversations_max.saturating_add(1 + FETCHES_AT_ONCE_MAX);
        self.shared.lanes.signed_in(lanes_max);
    }

    pub(super) fn close(&self, code: Code, text: &str) {
        self.shared.lanes.close(code, text);
    }

    pub(super) async fn closed(&self) -> Reason {
        reason(self.shared.lanes.closed().await)
    }

    pub(super) async fn told(&self) {
        let mut pumping = self.shared.pumping.clone();
        while pumping.changed().await.is_ok() {}
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.shared.round_trip
    }

    /// Waits until the server has fallen silent, and asks it before.
    pub(super) async fn silence(self) {
        let Shared { lanes, traffic, keep_alive_interval, .. } = &*self.shared;
        let mut liveness = Liveness::new(*keep_alive_interval, Instant::now());
        loop {
            sleep(CHECK_INTERVAL).await;
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            match liveness.look(count(&traffic.received), count(&traffic.sent), Instant::now()) {
                Verdict::IsThere => {}
                // Whatever comes is an answer, so that nobody waits for this one in particular.
                Verdict::Ask => drop(timeout(CHECK_INTERVAL, lanes.ping()).await),
                Verdict::IsLost => return,
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lanes.close(Code::CLOSED, "the client has left");
    }
}

impl Sender {
    pub(super) async fn write(&mut self, frames: &[Bytes]) -> Result<usize, StreamEnd> {
        match self.lane.write_chunks(frames).await {
            Ok(written) => {
                self.traffic.sent.fetch_add(1, Ordering::Relaxed);
                Ok(written.chunks)
            }
            Err(WriteError::Reset(code)) => Err(StreamEnd::Reset(code)),
            Err(WriteError::Closed(closed)) => Err(StreamEnd::ConnectionLost(reason(closed))),
            Err(WriteError::Finished) => Err(StreamEnd::Finished),
        }
    }

    pub(super) fn lane(&mut self) -> &mut LaneSend {
        &mut self.lane
    }
}

/// What comes next on a lane, in bytes; `None` at the end.
pub(super) async fn read(lane: &mut LaneRecv) -> Result<Option<Bytes>, StreamEnd> {
    lane.read_chunk().await.map_err(|error| match error {
        ReadError::Reset(code) => StreamEnd::Reset(code),
        ReadError::Closed(closed) => StreamEnd::ConnectionLost(reason(closed)),
    })
}

/// Why a connection has ended.
fn reason(closed: Closed) -> Reason {
    let text = printable(&closed.text);
    match closed {
        Closed { code: None, .. } => Reason::Transport(text),
        Closed { code: Some(code), by_peer: true, .. } => Reason::Code { code, text },
        Closed { code: Some(Code::CLOSED), by_peer: false, .. } => Reason::Closed,
        // What the server has sent has no place on a lane.
        Closed { code: Some(_), by_peer: false, .. } => Reason::Protocol(text),
    }
}
