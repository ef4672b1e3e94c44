//! What tests of the store and of its users need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};

use crate::key::ProducerKey;
use crate::log::{Log, LogError, Position, Visit};
use crate::record::{Record, group};

/// A record of some user, with a body that its numbers make up.
///
/// # Panics
/// When `conversation` is no conversation name.
#[must_use]
pub fn record(conversation: &str, seq: u64, n: u64) -> Record {
    let sender = UserId::new("ada").expect("a valid id");
    Record {
        conversation: ConversationName::new(conversation).expect("the caller gives a valid name"),
        seq: Seq(seq),
        time_ms: 1_700_000_000_000 + seq,
        origin_time_ms: None,
        producer: ProducerKey::new(&sender, ProducerId(1)),
        sender,
        n,
        body: format!("message {n} of {conversation} at {seq}").into(),
    }
}

/// Appends a group and flushes it.
///
/// # Errors
/// As [`Log::append`] and [`Log::flush`].
pub fn commit(log: &dyn Log, records: &[Record]) -> Result<Position, LogError> {
    let mut bytes = Vec::new();
    group::encode(records, &mut bytes);
    let position = log.append(&bytes)?;
    log.flush()?;
    Ok(position)
}

/// A log whose flush fails once, as a broken disk's does; from then on it is poisoned.
#[derive(Debug)]
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    flushes_left: AtomicU64,
}

impl FaultyLog {
    /// Fails the flush number `fails_at`, counted from 1.
    #[must_use]
    pub fn new(inner: Arc<dyn Log>, fails_at: u64) -> Self {
        Self { inner, flushes_left: AtomicU64::new(fails_at) }
    }

    fn check(&self) -> Result<(), LogError> {
        if self.flushes_left.load(Ordering::SeqCst) == 0 { Err(LogError::Poisoned) } else { Ok(()) }
    }
}

impl Log for FaultyLog {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        self.check()?;
        self.inner.append(group)
    }

    fn flush(&self) -> Result<(), LogError> {
        self.check()?;
        if self.flushes_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let source = Arc::new(std::io::Error::other("a fault for a test"));
            return Err(LogError::Io { action: "flush", path: "a faulty log".into(), source });
        }
        self.inner.flush()
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.inner.read(from, visit)
    }

    fn first(&self) -> Position {
        self.inner.first()
    }

    fn next(&self) -> Position {
        self.inner.next()
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        self.inner.trim(before)
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        self.check()?;
        self.inner.fence(epoch)
    }

    fn close(&self) -> Result<(), LogError> {
        self.check()?;
        self.inner.close()
    }
}
