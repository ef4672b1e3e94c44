//! Where the outcomes of a stream's publishes arrive, and how its task is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::{Code, Seq, UserId};
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
            Err(code) => ServerFrame::Refused { n, code, retry_after_ms: 0 },
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
    user: UserId,
    /// How far the user has read, as the client says.
    seen: AtomicU64,
    wants_roster: bool,
}

impl Mailbox {
    /// An empty mailbox of a stream that this worker serves, of a user whose connection takes typing notices there.
    /// `wants_roster` says whether it is woken when the conversation's roster has changed.
    #[must_use]
    pub(super) fn new(worker: usize, user: UserId, typings: Arc<Typings>, wants_roster: bool) -> Arc<Self> {
        let (outcomes, signal, seen) = (Mutex::default(), Notify::new(), AtomicU64::new(0));
        Arc::new(Self { worker, outcomes, signal, typings, user, seen, wants_roster })
    }

    /// The place of the stream's worker among all workers.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// Some user's, which does not matter.
    #[cfg(test)]
    pub(super) fn of_anybody() -> Arc<Self> {
        Self::new(0, UserId::new("anybody").expect("a valid id"), Arc::default(), false)
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn wants_roster(&self) -> bool {
        self.wants_roster
    }

    pub(super) fn seen(&self) -> Seq {
        Seq(self.seen.load(Ordering::Relaxed))
    }

    /// The user has read up to here. Says whether that is further than before.
    pub(super) fn set_seen(&self, seq: Seq) -> bool {
        self.seen.fetch_max(seq.0, Ordering::Relaxed) < seq.0
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
