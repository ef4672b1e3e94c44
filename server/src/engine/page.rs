//! What was read from the view, as frames, and as the pages that it comes to for whoever asked for it.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::retention::Gaps;
use quoth_protocol::Seq;
use quoth_protocol::codec::{self, Run};
use quoth_protocol::frame::ServerFrame;
use quoth_store::StoredEvent;

use super::frame::Frames;
use super::readable::{Facts, Reading};

/// Part of a conversation, as frames.
#[derive(Debug)]
pub struct Page {
    /// Event frames in ascending order, and gap frames in place of events that are absent: whole frames, as
    /// many in a chunk as lie one behind the other. What a stream keeps until it is acknowledged is looked
    /// through for each packet, chunk after chunk.
    pub chunks: Vec<Bytes>,
    /// The seqs of the events, ascending.
    pub events: Vec<Seq>,
    /// Where a reader that has taken the page stands: at its last event, or at the end of its last gap.
    pub reached: Seq,
}

/// Events that are being read.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    facts: Vec<Facts>,
    frames: Frames,
}

impl Gathered {
    pub(super) fn take(&mut self, event: &StoredEvent<'_>) {
        self.facts.push(Facts::of(event));
        self.frames.push(event);
    }

    pub(super) fn into_read(self, last: Seq) -> Read {
        let mut facts = self.facts.into_iter();
        let runs = self.frames.into_runs().into_iter();
        let part =
            |frames: Run| Arc::new(Part { facts: facts.by_ref().take(frames.len()).collect(), frames });
        Read { last, parts: runs.map(part).collect() }
    }
}

/// What was read: events, with what they are judged by.
#[derive(Debug)]
pub(super) struct Read {
    /// The last seq that it tells of.
    pub(super) last: Seq,
    parts: Vec<Arc<Part>>,
}

/// Events one behind the other whose frames share a buffer.
#[derive(Debug, Default)]
struct Part {
    facts: Vec<Facts>,
    frames: Run,
}

impl Read {
    /// Whether there is no event.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether there is an event that is like this.
    pub(super) fn any(&self, is: impl FnMut(&Facts) -> bool) -> bool {
        self.parts.iter().flat_map(|part| &part.facts).any(is)
    }

    /// As a page of who asked for what is behind `cursor`, up to and including `to`.
    pub(super) fn page(&self, is_absent: impl Fn(&Facts) -> bool, cursor: Seq, to: Seq) -> Page {
        page(self.parts.iter().map(AsRef::as_ref), self.last, is_absent, cursor, to)
    }
}

/// What of these parts is not absent, behind `cursor` up to and including `to`; `last` is the last seq that
/// they tell of.
fn page<'a>(
    parts: impl Iterator<Item = &'a Part>,
    last: Seq,
    is_absent: impl Fn(&Facts) -> bool,
    cursor: Seq,
    to: Seq,
) -> Page {
    let gap = |(from, to)| codec::encode(&ServerFrame::Gap { from, to });
    let (mut chunks, mut events, mut gaps) = (Vec::new(), Vec::new(), Gaps::behind(cursor));
    for Part { facts, frames } in parts {
        // From where on the frames are to come that were not cut off yet.
        let mut from = 0;
        let cut = |chunks: &mut Vec<Bytes>, from, to| {
            if from < to {
                chunks.push(frames.slice(from..to));
            }
        };
        for (i, one) in facts.iter().enumerate() {
            let seq = one.place.seq;
            if seq <= cursor || seq > to || is_absent(one) {
                cut(&mut chunks, from, i);
                from = i + 1;
                continue;
            }
            if let Some(absent) = gaps.event(seq) {
                cut(&mut chunks, from, i);
                chunks.push(gap(absent));
                from = i;
            }
            events.push(seq);
        }
        cut(&mut chunks, from, frames.len());
    }
    let reached = last.min(to).max(cursor);
    // What is absent behind the last event may go on in the next page, and is told there as one.
    let last = events.last().copied().filter(|last| *last < reached && reached < to);
    let reached = last.unwrap_or(reached);
    chunks.extend(gaps.until(reached).map(gap));
    Page { chunks, events, reached }
}

/// A page that goes in parts, each of which is judged when it goes. Nothing is lost with what is left of it:
/// its reader's cursor is at what has gone.
#[derive(Debug)]
pub struct PageParts {
    /// Those that have not gone. Of one that has only its frames are kept, by whoever they have gone to.
    left: VecDeque<Arc<Part>>,
    /// The last seq that they tell of.
    last: Seq,
    /// Up to where it was asked for: what is absent up to there is told, whatever follows.
    to: Seq,
}

impl PageParts {
    /// What was asked for up to and including `to`.
    pub(super) fn new(read: &Read, to: Seq) -> Self {
        let (mut left, last) = (VecDeque::from(read.parts.clone()), read.last);
        if left.is_empty() {
            // There is nothing behind it, and something before may be absent all the same.
            left.push_back(Arc::default());
            return Self { left, last, to: last };
        }
        Self { left, last, to }
    }

    /// Whether it tells of nothing behind `cursor`.
    #[must_use]
    pub fn is_nothing(&self, cursor: Seq) -> bool {
        self.last <= cursor
    }

    /// The next part for a reader behind `cursor`, up to and including `to`; `None` when there is none, or
    /// when there is more to find out about them than what was read says: whether [marks take any of
    /// them](quoth_core::retention::Keeping::may_take). The reader goes on with the next page then.
    pub fn next(&mut self, cursor: Seq, to: Seq, at: &Reading) -> Option<Page> {
        if at.may_take() {
            return None;
        }
        let (judged, to) = (at.by(at.rule_without_marks()), to.min(self.to));
        while let Some(part) = self.left.pop_front() {
            let is_last = self.left.is_empty();
            let last = part.facts.last().filter(|_| !is_last).map_or(self.last, |last| last.place.seq);
            let page = page(iter::once(&*part), last, |one| judged.is_absent_by(one), cursor, to);
            if page.reached >= to {
                // What is behind that is read again should its reader come to have it.
                self.left.clear();
                return Some(page);
            }
            // What is absent goes with what follows it, be it of the next page.
            if !page.events.is_empty() {
                return Some(page);
            }
        }
        None
    }
}
