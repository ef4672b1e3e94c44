//! Where the outcomes of a stream's publishes arrive, and how its task is woken.

use std::sync::Arc;

use parking_lot::Mutex;
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::{Code, Seq};
use tokio::sync::Notify;

use super::typing::{Typing, Typings};

/// A stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub seq: Seq,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether an earlier publish with the same id stored it.
    pub duplicate: bool,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The publish's number.
    pub n: u64,
    /// Stored, or why not.
    pub result: Result<Stored, Code>,
}

impl Outcome {
    /// The frame that tells it.
    #[must_use]
    pub fn frame(self) -> ServerFrame {
        let n = self.n;
        match self.result {
            Ok(Stored { seq, time_ms, duplicate }) => ServerFrame::Ack { n, seq, time_ms, duplicate },
            Err(code) => ServerFrame::Refused { n, code },
        }
    }
}

/// The mailbox of one conversation stream. Holds at most as many outcomes as the stream has publishes in flight.
#[derive(Debug)]
pub struct Mailbox {
    worker: usize,
    outcomes: Mutex<Vec<Outcome>>,
    signal: Notify,
    /// Those of the stream's connection.
    typings: Arc<Typings>,
}

impl Mailbox {
    /// An empty mailbox of a stream that this worker serves and whose connection takes typing notices there.
    #[must_use]
    pub(super) fn new(worker: usize, typings: Arc<Typings>) -> Arc<Self> {
        Arc::new(Self { worker, outcomes: Mutex::default(), signal: Notify::new(), typings })
    }

    /// The place of the stream's worker among all workers.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    pub(crate) fn put(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.outcomes.lock().extend(outcomes);
    }

    pub(crate) fn wake(&self) {
        self.signal.notify_one();
    }

    /// Moves what has arrived to the end of `out`.
    pub fn take(&self, out: &mut Vec<Outcome>) {
        out.append(&mut self.outcomes.lock());
    }

    /// Waits for a wake-up since the last one. Dropping the future loses none.
    pub async fn woken(&self) {
        self.signal.notified().await;
    }

    /// Passes a typing notice to the stream's connection, unless it has too many waiting or it is the one that
    /// `except` belongs to.
    pub fn typing(&self, typing: &Typing, except: &Arc<Typings>) {
        if !Arc::ptr_eq(&self.typings, except) {
            self.typings.push(typing);
        }
    }
}
