//! What was read from the view, as frames, and as the pages that it comes to for whoever asked for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::retention::Gaps;
use quoth_protocol::Seq;
use quoth_protocol::codec::{self, Run};
use quoth_protocol::frame::ServerFrame;
use quoth_store::{PageLimit, StoredEvent};

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
    /// Nothing, with room for a page.
    pub(super) fn within(limit: PageLimit) -> Self {
        /// Of larger pages the room grows with them.
        const RECORDS_USUAL: usize = 1_024;
        Self { facts: Vec::with_capacity(limit.records.min(RECORDS_USUAL)), frames: Frames::default() }
    }

    pub(super) fn take(&mut self, event: &StoredEvent<'_>) {
        self.facts.push(Facts::of(event));
        self.frames.push(event);
    }

    pub(super) fn into_read(self, last: Seq) -> Read {
        Read { last, facts: self.facts, runs: self.frames.into_runs() }
    }
}

/// What was read: events, with what they are judged by.
#[derive(Debug)]
pub(super) struct Read {
    /// The last seq that it tells of.
    pub(super) last: Seq,
    facts: Vec<Facts>,
    /// The events' frames, in their order.
    runs: Vec<Run>,
}

impl Read {
    /// Whether there is no event.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether there is an event that is like this.
    pub(super) fn any(&self, is: impl FnMut(&Facts) -> bool) -> bool {
        self.facts.iter().any(is)
    }

    /// As a page of who asked for what is behind `cursor`, up to and including `to`.
    pub(super) fn page(&self, is_absent: impl Fn(&Facts) -> bool, cursor: Seq, to: Seq) -> Page {
        self.page_of(0..self.runs.len(), &self.facts, is_absent, (cursor, to))
    }

    /// The same of some of its runs, which have the events with these facts.
    fn page_of(
        &self,
        runs: Range<usize>,
        facts: &[Facts],
        is_absent: impl Fn(&Facts) -> bool,
        (cursor, to): (Seq, Seq),
    ) -> Page {
        let gap = |(from, to)| codec::encode(&ServerFrame::Gap { from, to });
        let is_end = runs.end == self.runs.len();
        let last = facts.last().filter(|_| !is_end).map_or(self.last, |last| last.place.seq);
        let (mut chunks, mut events) = (Vec::new(), Vec::with_capacity(facts.len()));
        let (mut gaps, mut facts) = (Gaps::behind(cursor), facts.iter());
        for run in &self.runs[runs] {
            // From where on the frames of the run are to come that were not cut off yet.
            let mut from = 0;
            let cut = |chunks: &mut Vec<Bytes>, from, to| {
                if from < to {
                    chunks.push(run.slice(from..to));
                }
            };
            for (i, one) in facts.by_ref().take(run.len()).enumerate() {
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
            cut(&mut chunks, from, run.len());
        }
        let reached = last.min(to).max(cursor);
        // What is absent behind the last event may go on in the next page, and is told there as one.
        let last = events.last().copied().filter(|last| *last < reached && reached < to);
        let reached = last.unwrap_or(reached);
        chunks.extend(gaps.until(reached).map(gap));
        Page { chunks, events, reached }
    }
}

/// What was read ahead of a reader and is handed over in parts, each of which is judged when it goes. Nothing
/// is lost with it: the reader's cursor is at what was handed over.
#[derive(Debug)]
pub struct ReadAhead {
    /// Behind which seq it was asked for.
    after: Seq,
    in_view: Option<Seq>,
    read: Arc<Read>,
    /// Parts, which are runs, and events that were handed over.
    parts: usize,
    events: usize,
}

impl ReadAhead {
    pub(super) const fn new(after: Seq, in_view: Option<Seq>, read: Arc<Read>) -> Self {
        Self { after, in_view, read, parts: 0, events: 0 }
    }

    /// Behind which seq it was asked for.
    #[must_use]
    pub const fn after(&self) -> Seq {
        self.after
    }

    /// Whether it tells of nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.read.is_empty() && self.read.last <= self.after
    }

    /// The last seq that it tells of.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.read.last
    }

    /// Up to where the view was known to have everything when it was asked for.
    #[must_use]
    pub const fn in_view(&self) -> Option<Seq> {
        self.in_view
    }

    /// Bytes of frames that were not handed over.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.read.runs.iter().skip(self.parts).map(Run::bytes).sum()
    }

    /// The next part for a reader behind `cursor`, up to and including `to`; `None` when all was handed over.
    /// It is about as large as what frames share a buffer.
    pub fn next(&mut self, cursor: Seq, to: Seq, at: &Reading) -> Option<Page> {
        let (judged, runs) = (at.by(at.rule_without_marks()), &self.read.runs);
        // Where there is no event something may be absent all the same.
        let parts = runs.len().max(1);
        while self.parts < parts {
            let part = self.parts..runs.len().min(self.parts + 1);
            let count = runs.get(self.parts).map_or(0, Run::len);
            let facts = &self.read.facts[self.events..self.events + count];
            (self.parts, self.events) = (self.parts + 1, self.events + count);
            let page = self.read.page_of(part, facts, |one| judged.is_absent_by(one), (cursor, to));
            // What is absent before the end is told with what follows it.
            if !page.events.is_empty() || self.parts == parts || page.reached >= to {
                return Some(page);
            }
        }
        None
    }
}
