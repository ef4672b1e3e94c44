//! Reads groups in order, while others are appended.

use std::sync::Arc;

use super::super::{LogError, LogReader, Position};
use super::Shared;
use super::files::Segment;
use super::format::Kind;
use super::recover::open_next;
use super::tail::{Expected, Tail};
use super::walk::{Step, Walk};

/// Where a reader is.
///
/// Only flushed groups are read, and what it read ahead beyond them is read again when more of them are
/// flushed: it may have been written since. A segment is opened when it has a flushed group; one that has
/// marks alone may still be replaced.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    next: Position,
    /// Up to which position the bytes that were read ahead are what was flushed.
    flushed: Position,
    at: Option<(Position, Walk)>,
}

impl Reader {
    pub(super) fn start(shared: &Arc<Shared>, from: Position) -> Result<Self, LogError> {
        let next = from.max(Position(1));
        let first = shared.first();
        if next < first {
            return Err(LogError::Gone { from: next, first });
        }
        Ok(Self { shared: Arc::clone(shared), next, flushed: Position::ZERO, at: None })
    }

    /// Whether the next group is at this position or before it.
    pub(super) fn is_before_end_at(&self, last: Position) -> bool {
        self.next <= last
    }

    /// Whether the next group is flushed.
    fn is_ready(&mut self) -> Result<bool, LogError> {
        if self.next > self.flushed {
            let flushed = self.shared.flushed();
            if self.next > flushed {
                return Ok(false);
            }
            self.flushed = flushed;
            if let Some((_, walk)) = &mut self.at {
                walk.forget_what_is_ahead()?;
            }
        }
        Ok(true)
    }

    /// The walk that the next group is in, or comes to.
    fn walk(&mut self) -> Result<&mut Walk, LogError> {
        match &mut self.at {
            Some((_, walk)) => Ok(walk),
            at => {
                let walk = self.shared.open(self.next, None)?;
                Ok(&mut at.insert(walk).1)
            }
        }
    }

    /// Goes on in the segment behind the one that has ended.
    fn follow(&mut self) -> Result<(), LogError> {
        let Some((first, walk)) = &self.at else { return Ok(()) };
        match walk.judge_tail()? {
            Tail::Clean => {}
            Tail::Torn => return Err(walk.corrupt("a damaged group")),
            Tail::Corrupt(what) => return Err(walk.corrupt(what)),
        }
        let end = *walk.expected();
        let next = self.shared.open(end.position, Some(&end))?;
        if next.0 == *first {
            return Err(walk.corrupt("flushed groups are missing"));
        }
        self.at = Some(next);
        Ok(())
    }
}

impl LogReader for Reader {
    fn next(&mut self) -> Result<Option<(Position, &[u8])>, LogError> {
        if !self.is_ready()? {
            return Ok(None);
        }
        let wanted = self.next;
        loop {
            match self.walk()?.step()? {
                Step::Group(Kind::Records, position) if position == wanted => break,
                Step::Group(..) => {}
                Step::Stop => self.follow()?,
            }
        }
        self.next = wanted.next();
        Ok(Some((wanted, self.walk()?.payload())))
    }

    fn skip_damage(&mut self) -> Result<Option<Position>, LogError> {
        let mut behind = self.next;
        if let Some((first, walk)) = &mut self.at {
            if walk.skip_damage()? {
                self.next = self.next.max(walk.expected().position);
                return Ok(Some(self.next));
            }
            behind = *first;
        }
        // The segment has nothing more, or it cannot be opened.
        let flushed = self.shared.flushed();
        let is_next = |segment: &&Segment| segment.first > behind && segment.first <= flushed;
        let segments: Vec<Segment> = self.shared.segments.read().iter().filter(is_next).cloned().collect();
        for segment in segments {
            match open_next(&segment, None) {
                Ok(walk) => {
                    self.next = self.next.max(segment.first);
                    self.at = Some((segment.first, walk));
                    return Ok(Some(self.next));
                }
                Err(LogError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Shared {
    /// Opens the segment that holds a position, which is flushed. `previous` is where the one before ended.
    fn open(&self, position: Position, previous: Option<&Expected>) -> Result<(Position, Walk), LogError> {
        let holding = self.segments.read().iter().rev().find(|segment| segment.first <= position).cloned();
        let Some(segment) = holding else {
            return Err(LogError::Gone { from: position, first: self.first() });
        };
        let opened = open_next(&segment, previous);
        // It may have been freed since.
        let first = self.first();
        match opened {
            Err(_) if position < first => Err(LogError::Gone { from: position, first }),
            opened => Ok((segment.first, opened?)),
        }
    }
}
