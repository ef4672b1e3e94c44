//! A log in memory, for tests and simulations.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::hold::{Hold, Holds};
use super::{Log, LogError, LogReader, Position, Visit};

/// A log in memory. Clones are the same handle; [`reopen`](Self::reopen) gives the handle of a process that
/// starts.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Mutex<Shared>>,
    handle: Arc<Mutex<Handle>>,
}

/// What a restart finds again.
#[derive(Debug, Default)]
struct Shared {
    groups: VecDeque<Arc<[u8]>>,
    trimmed: u64,
    flushed: Position,
    epoch: u64,
    holds: Holds,
}

/// What ends with the process.
#[derive(Debug, Default)]
struct Handle {
    epoch: u64,
    closed: bool,
}

impl Shared {
    fn next(&self) -> Position {
        Position(self.trimmed + self.groups.len() as u64 + 1)
    }
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::default(), handle: Arc::default() }
    }

    /// What a power cut does: what was appended but not flushed is lost.
    pub fn crash(&self) {
        let mut shared = self.shared.lock();
        let flushed = shared.flushed;
        while shared.next() > flushed.next() {
            shared.groups.pop_back();
        }
    }

    /// A new handle on the same groups, with a younger epoch, as opening a folder gives. Older handles append
    /// no more.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let epoch = {
            let mut shared = self.shared.lock();
            shared.epoch += 1;
            shared.epoch
        };
        let handle = Handle { epoch, closed: false };
        Self { shared: Arc::clone(&self.shared), handle: Arc::new(Mutex::new(handle)) }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl Log for MemoryLog {
    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        let handle = self.handle.lock();
        let mut shared = self.shared.lock();
        if handle.closed {
            return Err(LogError::Closed);
        }
        if handle.epoch < shared.epoch {
            return Err(LogError::Fenced { epoch: handle.epoch, current: shared.epoch });
        }
        let position = shared.next();
        if position != shared.flushed.next() {
            return Err(LogError::Unflushed);
        }
        shared.groups.push_back(group.into());
        Ok(position)
    }

    fn flush(&self) -> Result<(), LogError> {
        let mut shared = self.shared.lock();
        shared.flushed = Position(shared.next().0 - 1);
        Ok(())
    }

    fn make_room(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn read(&self, from: Position, visit: &mut Visit<'_>) -> Result<(), LogError> {
        let from = from.max(Position(1));
        let (first, groups): (_, Vec<_>) = {
            let shared = self.shared.lock();
            let first = Position(shared.trimmed + 1);
            let flushed = usize::try_from(shared.flushed.0 - shared.trimmed).unwrap_or(usize::MAX);
            (first, shared.groups.iter().take(flushed).cloned().collect())
        };
        if from < first {
            return Err(LogError::Gone { from, first });
        }
        let positions = (first.0..).map(Position);
        positions
            .zip(&groups)
            .filter(|(position, _)| *position >= from)
            .try_for_each(|(p, group)| visit(p, group))
    }

    fn reader(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        let next = from.max(Position(1));
        let first = self.first();
        if next < first {
            return Err(LogError::Gone { from: next, first });
        }
        Ok(Box::new(Reader { shared: Arc::clone(&self.shared), next, group: Arc::default() }))
    }

    fn hold(&self, from: Position) -> Hold {
        let shared = self.shared.lock();
        shared.holds.hold(from.max(Position(shared.trimmed + 1)))
    }

    fn first(&self) -> Position {
        Position(self.shared.lock().trimmed + 1)
    }

    fn first_stored(&self) -> Position {
        self.first()
    }

    fn next(&self) -> Position {
        self.shared.lock().next()
    }

    fn trim(&self, before: Position) -> Result<(), LogError> {
        let mut shared = self.shared.lock();
        let before = shared.holds.limit(before);
        while shared.trimmed + 1 < before.0 && shared.trimmed < shared.flushed.0 {
            shared.groups.pop_front();
            shared.trimmed += 1;
        }
        Ok(())
    }

    fn end_segment(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn fence(&self, epoch: u64) -> Result<(), LogError> {
        let mut handle = self.handle.lock();
        let mut shared = self.shared.lock();
        if epoch < shared.epoch {
            return Err(LogError::Fenced { epoch, current: shared.epoch });
        }
        shared.epoch = epoch;
        handle.epoch = epoch;
        Ok(())
    }

    fn close(&self) -> Result<(), LogError> {
        self.flush()?;
        self.handle.lock().closed = true;
        Ok(())
    }
}

/// Where a reader is.
#[derive(Debug)]
struct Reader {
    shared: Arc<Mutex<Shared>>,
    next: Position,
    group: Arc<[u8]>,
}

impl LogReader for Reader {
    fn next(&mut self) -> Result<Option<(Position, &[u8])>, LogError> {
        let position = self.next;
        let shared = self.shared.lock();
        let first = Position(shared.trimmed + 1);
        if position < first {
            return Err(LogError::Gone { from: position, first });
        }
        if position > shared.flushed {
            return Ok(None);
        }
        let index = usize::try_from(position.0 - first.0).unwrap_or(usize::MAX);
        let Some(group) = shared.groups.get(index) else { return Ok(None) };
        self.group = Arc::clone(group);
        self.next = position.next();
        Ok(Some((position, &self.group)))
    }

    fn skip_damage(&mut self) -> Result<Option<Position>, LogError> {
        Ok(None)
    }
}
