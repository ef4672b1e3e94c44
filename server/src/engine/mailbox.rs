//! Where the outcomes of a stream's publishes arrive, and how its task is woken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use quoth_core::membership::Refusal;
use quoth_core::receipts::Cursor;
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

/// Why a message is not stored, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// It is refused: it is not stored.
    Refused(Refusal),
    /// Nobody knows: the stream ends with this code.
    Unknown(Code),
}

impl NotStored {
    /// The code that tells it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Unknown(code) => code,
        }
    }
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The publish's number.
    pub n: u64,
    /// Stored, or why not.
    pub result: Result<Stored, NotStored>,
}

impl Outcome {
    /// The frame that tells it.
    ///
    /// # Errors
    /// The code to end the stream with, when it is not known what became of the publish.
    pub fn frame(self) -> Result<ServerFrame, Code> {
        let n = self.n;
        match self.result {
            Ok(Stored { seq, time_ms, duplicate }) => Ok(ServerFrame::Ack { n, seq, time_ms, duplicate }),
            Err(NotStored::Refused(Refusal { code, retry_after_ms, reason })) => {
                // All other codes say it by themselves.
                let reason = if code == Code::UNAVAILABLE { reason } else { "" };
                Ok(ServerFrame::Refused { n, code, retry_after_ms, reason: reason.to_owned() })
            }
            Err(NotStored::Unknown(code)) => Err(code),
        }
    }
}

/// The mailbox of one conversation stream. Holds at most as many outcomes as the stream has publishes in
/// flight.
#[derive(Debug)]
pub struct Mailbox {
    worker: usize,
    outcomes: Mutex<Vec<Outcome>>,
    signal: Notify,
    /// Those of the stream's connection.
    typings: Arc<Typings>,
    user: UserId,
    /// How far the user has read, as it is stored, and as the client says.
    seen: AtomicU64,
    marked: AtomicU64,
    /// How far others are, for a client that is told of them one by one; nothing most of the time.
    receipts: Mutex<BTreeMap<UserId, Cursor>>,
    wants_receipts: AtomicBool,
    has_receipts: AtomicBool,
    /// Whether the user is to be seen by those who read the conversation, and told who types there.
    is_present: AtomicBool,
    wants_roster: bool,
}

impl Mailbox {
    /// An empty mailbox of a stream that this worker serves, of a user whose connection takes typing notices
    /// there. `wants_roster` says whether it is woken when the conversation's roster has changed.
    #[must_use]
    pub(super) fn new(worker: usize, user: UserId, typings: Arc<Typings>, wants_roster: bool) -> Arc<Self> {
        Arc::new(Self {
            worker,
            outcomes: Mutex::default(),
            signal: Notify::new(),
            typings,
            user,
            seen: AtomicU64::new(0),
            marked: AtomicU64::new(0),
            receipts: Mutex::default(),
            wants_receipts: AtomicBool::new(false),
            has_receipts: AtomicBool::new(false),
            is_present: AtomicBool::new(true),
            wants_roster,
        })
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

    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn wants_roster(&self) -> bool {
        self.wants_roster
    }

    pub(super) fn seen(&self) -> Seq {
        Seq(self.seen.load(Ordering::Relaxed))
    }

    /// The client says that the user has read up to here. Says whether that is further than before.
    pub(super) fn set_marked(&self, seq: Seq) -> bool {
        self.marked.fetch_max(seq.0, Ordering::Relaxed) < seq.0
    }

    /// Whether its client is told how far each user is.
    pub(crate) fn set_wants_receipts(&self, wants: bool) {
        self.wants_receipts.store(wants, Ordering::Relaxed);
        if !wants {
            self.receipts.lock().clear();
        }
    }

    pub(super) fn wants_receipts(&self) -> bool {
        self.wants_receipts.load(Ordering::Relaxed)
    }

    /// How far a user is, if the client is told that; says whether it is.
    pub(super) fn put_receipt(&self, user: &UserId, cursor: Cursor) -> bool {
        let wants = self.wants_receipts();
        if wants {
            let mut receipts = self.receipts.lock();
            let of_user = receipts.entry(user.clone()).or_default();
            *of_user = of_user.merged(cursor);
            drop(receipts);
            self.has_receipts.store(true, Ordering::Release);
        }
        wants
    }

    /// How far users are of whom that was not taken yet, the latest of each.
    pub(crate) fn take_receipts(&self) -> BTreeMap<UserId, Cursor> {
        // Without the lock most of the time: this is asked for behind each wake-up.
        if !self.has_receipts.load(Ordering::Relaxed) {
            return BTreeMap::new();
        }
        self.has_receipts.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.receipts.lock())
    }

    /// It is stored that the user has read up to here. Says whether that is further than before.
    pub(super) fn set_seen(&self, seq: Seq) -> bool {
        self.seen.fetch_max(seq.0, Ordering::Relaxed) < seq.0
    }

    pub(super) fn is_present(&self) -> bool {
        self.is_present.load(Ordering::Relaxed)
    }

    /// Says whether that has changed.
    pub(super) fn set_present(&self, is_present: bool) -> bool {
        self.is_present.swap(is_present, Ordering::Relaxed) != is_present
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

    /// Passes a typing notice to the stream's connection, unless it has too many waiting or it is the one
    /// that `except` belongs to.
    pub fn typing(&self, typing: &Typing, except: &Arc<Typings>) {
        if !Arc::ptr_eq(&self.typings, except) {
            self.typings.push(typing);
        }
    }
}
