//! Frees the space of windows of which everything is absent.
//!
//! First the rows of `spans` say that what a window has is gone, and that is brought to stable storage; only
//! then the window's tables are dropped. A crash in between leaves rows that no span leads to, and the first
//! reclaim behind a start drops them. Only windows that had ended by the checkpoint go, so groups that are
//! applied again write to none of them.
//!
//! A table that lies in two windows stays until both are gone. In the tree of a class with an age the windows
//! go from the front, so that is one table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use ::fjall::Readable as _;
use quoth_protocol::Seq;

use super::FjallView;
use super::checkpoint::OpenWindow;
use super::conversations::{Damaged, WithNext};
use super::engine::{Batch, Snapshot};
use super::row;
use super::window::{ClassWindow, Held, Span as StoredSpan, Window};
use crate::class::Class;
use crate::key::ConversationKey;
use crate::view::{Keeps, Last, Place, Reclaimed, Span, Survey, ViewError};

/// Conversations whose spans are changed in one batch: no read begins, and no group is applied, meanwhile.
const BATCH_CONVERSATIONS: usize = 64;

impl FjallView {
    /// See [`View::survey`](crate::View::survey).
    pub(super) fn survey_spans(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        let closed = self.closed();
        self.each_conversation(&mut |name, _, spans| {
            let there: Vec<_> = spans.iter().filter_map(|span| there(span, &closed)).collect();
            if there.is_empty() { Ok(()) } else { visit(name, &there) }
        })
    }

    /// See [`View::reclaim`](crate::View::reclaim).
    pub(super) fn reclaim_windows(&self, keeps: &mut Keeps<'_>) -> Result<Reclaimed, ViewError> {
        let numbers = |windows: [OpenWindow; Class::COUNT]| windows.map(|open| open.window);
        let writing = numbers(self.writing.lock().windows);
        if writing != self.closed() {
            // Also where no group was applied: a start begins windows.
            self.flush_all(&mut self.flushed.lock())?;
        }
        let closed = self.closed();
        // Of each window, whether everything is absent. What cannot be judged stays.
        let mut windows: BTreeMap<ClassWindow, bool> = BTreeMap::new();
        let (mut of_damaged, mut unknown) = (Vec::new(), Vec::new());
        let mut stay = |Damaged { key, spans, is_whole }: Damaged<'_>| {
            of_damaged.extend(spans.iter().filter_map(StoredSpan::window));
            unknown.extend((!is_whole).then_some(key));
        };
        let damaged = self.each_conversation_or(&mut stay, &mut |name, _, spans| {
            let marks = keeps(name)?;
            let floor =
                if marks.is_nothing() { Seq::ZERO } else { self.read_floor(name, marks, Seq::ZERO)?.seq };
            for (span, next) in spans {
                let Some(window) = span.window() else { continue };
                let is_dead = window.number < closed[window.class.index()] && next.seq <= floor;
                *windows.entry(window).or_insert(true) &= is_dead;
            }
            Ok(())
        })?;
        for key in unknown {
            // To where its damaged rows led is not known.
            of_damaged.extend(self.windows_of(&self.snapshot(), key)?);
        }
        windows.extend(of_damaged.into_iter().map(|window| (window, false)));
        let goes: BTreeSet<_> =
            windows.iter().filter(|(_, goes)| **goes).map(|(window, _)| *window).collect();
        windows.retain(|_, goes| !*goes);
        let alive = windows.into_keys().collect();
        let dropped = self.bury_and_drop(&goes, &alive, &closed);
        if dropped.is_err() {
            // What was buried by then has no span any more that leads to it.
            self.has_looked_for_dead.store(false, Ordering::Relaxed);
        }
        let bytes = dropped?;
        // Should it come back with a crash, the next look takes it away.
        let _is_any = self.forget_windows(&alive, &closed);
        Ok(Reclaimed { windows: goes.len() as u64, bytes, damaged })
    }

    /// The first window of each class that may get further events when groups are applied again.
    pub(super) fn closed(&self) -> [Window; Class::COUNT] {
        self.flushed.lock().checkpoint.windows.map(|open| open.window)
    }

    /// Drops windows, of which rows say before that what they have is gone; gives their bytes.
    fn bury_and_drop(
        &self,
        goes: &BTreeSet<ClassWindow>,
        alive: &BTreeSet<ClassWindow>,
        closed: &[Window; Class::COUNT],
    ) -> Result<u64, ViewError> {
        if !goes.is_empty() {
            self.bury(goes)?;
            self.leave(goes);
            self.flush_all(&mut self.flushed.lock())?;
        }
        self.drop_dead(goes, alive, closed)
    }

    /// Takes note that tables of these windows may stay, beside those of others.
    fn leave(&self, goes: &BTreeSet<ClassWindow>) {
        let mut writing = self.writing.lock();
        goes.iter().for_each(|window| writing.tallies.of(*window).leave());
    }

    /// Says of all that these windows have that it is gone.
    pub(super) fn bury(&self, goes: &BTreeSet<ClassWindow>) -> Result<(), ViewError> {
        let (mut batch, mut conversations) = (Batch::default(), 0);
        self.each_conversation(&mut |_, key, spans| {
            let is_in = |(span, _): &WithNext| span.window().is_some_and(|window| goes.contains(&window));
            if !spans.iter().any(is_in) {
                return Ok(());
            }
            self.bury_spans(key, spans, goes, &mut batch);
            conversations += 1;
            if conversations % BATCH_CONVERSATIONS == 0 {
                self.write_between_groups(std::mem::take(&mut batch));
            }
            Ok(())
        })?;
        self.write_between_groups(batch);
        Ok(())
    }

    /// A group that is being applied looks at spans before it writes.
    pub(super) fn write_between_groups(&self, batch: Batch<'_>) {
        let _writing = self.writing.lock();
        self.engine.write(batch);
    }

    /// The same for one conversation. Spans that touch become one.
    fn bury_spans<'a>(
        &'a self,
        key: ConversationKey,
        spans: &[WithNext],
        goes: &BTreeSet<ClassWindow>,
        batch: &mut Batch<'a>,
    ) {
        let insert = |batch: &mut Batch<'a>, open: Option<(Place, Last, bool)>| {
            if let Some((Place { seq, time_ms, offset }, last, true)) = open {
                let (key, held) = (row::span_key(key, seq), Held::Gone { time_ms, offset, last });
                batch.insert(&self.engine.spans, key, row::encode_span(&key, held));
            }
        };
        let mut open: Option<(Place, Last, bool)> = None;
        for (span, next) in spans {
            let (last, is_new) = match span.held {
                Held::Gone { last, .. } => (last, false),
                // Of the last event itself the row behind it knows where it ends, and when it was stored at
                // the latest.
                Held::There { window, .. } if goes.contains(&window) => {
                    let seq = Seq(next.seq.0.saturating_sub(1));
                    (Last { seq, time_ms: next.time_ms, end: next.offset }, true)
                }
                Held::There { .. } => {
                    insert(batch, open.take());
                    continue;
                }
            };
            match &mut open {
                Some((_, before, is_changed)) if before.seq.next() == span.first => {
                    batch.remove(&self.engine.spans, row::span_key(key, span.first));
                    (*before, *is_changed) = (last, true);
                }
                _ => {
                    insert(batch, open.take());
                    open = Some((place(span), last, is_new));
                }
            }
        }
        insert(batch, open);
    }

    /// Drops the tables of windows without a span; gives their bytes. What an earlier process has left is
    /// looked for once.
    pub(super) fn drop_dead(
        &self,
        goes: &BTreeSet<ClassWindow>,
        alive: &BTreeSet<ClassWindow>,
        closed: &[Window; Class::COUNT],
    ) -> Result<u64, ViewError> {
        let looks_at_all = !self.has_looked_for_dead.swap(true, Ordering::Relaxed);
        let mut bytes = 0;
        for class in Class::all() {
            if !looks_at_all && !goes.iter().any(|window| window.class == class) {
                continue;
            }
            for windows in self.dead_ranges(class, alive, closed[class.index()])? {
                bytes += self.engine.drop_windows(class, windows)?;
            }
        }
        Ok(bytes)
    }

    /// Windows of a class that have rows but no spans, in stretches without one that has spans in between.
    fn dead_ranges(
        &self,
        class: Class,
        alive: &BTreeSet<ClassWindow>,
        closed: Window,
    ) -> Result<Vec<RangeInclusive<u32>>, ViewError> {
        let snapshot = self.snapshot();
        let (mut ranges, mut before, mut at): (Vec<RangeInclusive<u32>>, _, _) =
            (Vec::new(), None, Window(0));
        while let Some(number) = self.first_window(&snapshot, class, at)?.filter(|number| *number < closed) {
            let is_dead = !alive.contains(&ClassWindow { class, number });
            if is_dead {
                match ranges.last_mut().filter(|_| before == Some(true)) {
                    Some(range) => *range = *range.start()..=number.0,
                    // Below the first one there is nothing.
                    None => ranges.push(before.map_or(0, |_| number.0)..=number.0),
                }
            }
            (before, at) = (Some(is_dead), number.next());
        }
        Ok(ranges)
    }

    /// The first window from one on that has rows.
    fn first_window(
        &self,
        snapshot: &Snapshot<'_>,
        class: Class,
        from: Window,
    ) -> Result<Option<Window>, ViewError> {
        let key = row::run_key(from, ConversationKey([0; 16]), Seq::ZERO);
        let Some(row) = snapshot.range(self.engine.messages(class), key..).next() else { return Ok(None) };
        let (key, _) = self.engine.database("read a message from", row.into_inner())?;
        let (window, _, _) = row::split_run_key(&key).ok_or_else(|| self.odd_key())?;
        Ok(Some(window))
    }
}

/// Where a span's first event lies.
pub(super) fn place(span: &StoredSpan) -> Place {
    let (Held::There { time_ms, offset, .. } | Held::Gone { time_ms, offset, .. }) = span.held;
    Place { seq: span.first, time_ms, offset }
}

/// A span that is there, for whoever surveys.
fn there((span, next): &WithNext, closed: &[Window; Class::COUNT]) -> Option<Span> {
    let ClassWindow { class, number } = span.window()?;
    let is_closed = number < closed[class.index()];
    Some(Span { class, window: number.0, is_closed, first: place(span), next: *next })
}
