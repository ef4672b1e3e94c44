//! Frees the space of events that are absent one by one, in windows that have others which stay.
//!
//! What stays of a window is copied, a little at a time, into a window of the class that is for this, the
//! **rest**; then the old window's tables are dropped as those of any window are. A copy costs what is kept,
//! is bounded by the size of a step, and goes on where it was: a step moves part of a span, and the rows of
//! `spans` say in one batch what is where. So whoever reads has either all of a step or none of it, and a
//! crash leaves rows that no span leads to.
//!
//! A filter in the engine's merges would do the same work for more: the engine merges whatever tables it
//! likes, never the last level of a tree that is not written, and all of a tree when it is asked.
//!
//! What is absent side by side in great number becomes a row of `spans`; the others stay in their runs, as a
//! few bytes for those that are side by side, since a row that says which seqs there were costs more than
//! they do.
//!
//! What was moved stays on the disk until its window's tables are dropped, which may be long after: a rewrite
//! may be ended, and a table may have rows of a window that stays. So each window says whether it has such
//! rows, and what is erased from then on counts there as well.
//!
//! Windows of the rest belong to no group of the log. So a start begins a new one, behind whatever a crash
//! may have left.

use std::collections::{BTreeMap, BTreeSet};

use ::fjall::Readable as _;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::candidates::Assessed;
use super::checkpoint::OpenWindow;
use super::cut::{Spans, cut};
use super::engine::{Batch, Snapshot};
use super::read::{StoredRun, hole};
use super::row::{self, Block};
use super::run::{self, Message};
use super::tally::{Tally, UNKNOWN};
use super::window::{ClassWindow, Held, Piece, Span, WINDOW_BYTES, Window};
use crate::applier::FLUSH_BYTES;
use crate::class::Class;
use crate::key::ConversationKey;
use crate::view::{Keep, Keepings, Place, Rewrite, Rewritten, ViewError};

/// Bytes of rows that a step moves, about. No group is applied meanwhile.
const STEP_BYTES: usize = 128 * 1024;

/// Windows with so many bytes of contents are rewritten at once, about: until all of them are, whatever is
/// overwritten elsewhere meanwhile stays on the disk.
const WINDOWS_BYTES_MAX: u64 = 4 * WINDOW_BYTES;

/// What is dead by its own time and held all the same is looked at again after a day.
const HELD_AGAIN_MS: u64 = 24 * 3_600 * 1_000;

/// One step of a move.
struct Moved {
    /// Where the rest of the span begins; `None` when it is through.
    next: Option<Seq>,
    /// Bytes of rows that were read and written.
    bytes: u64,
    /// Bytes of rows that were written.
    written: u64,
}

impl FjallView {
    /// See [`View::rewrite`](crate::View::rewrite).
    pub(super) fn rewrite_dead(
        &self,
        keepings: &mut Keepings<'_>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Rewritten, ViewError> {
        self.end_rest(|tally| is_due(tally, rewrite));
        // What is erased from here on may be so long after the time that it is judged by.
        let due = self.due_windows(rewrite);
        // The lock is not held while the other one is taken, which a flush has when it takes this one.
        let writing = self.writing.lock().windows.map(|open| open.window);
        if writing != self.closed() {
            self.flush_all(&mut self.flushed.lock())?;
        }
        let closed = self.closed();
        let assessed = self.assess(keepings)?;
        let mut rewritten = Rewritten { is_done: true, ..Rewritten::default() };
        let mut windows = self.begun(&assessed, &closed, &mut rewritten);
        // What was erased has a time by which it is to be gone.
        self.add_erased(due, &assessed, &closed, &mut windows, &mut rewritten);
        self.add_dead(&assessed, &closed, rewrite, &mut windows, &mut rewritten);
        if windows.is_empty() {
            let _is_any = self.forget_windows(&assessed.into_keys().collect(), &closed);
            return Ok(rewritten);
        }
        let mut unflushed = 0;
        self.each_conversation(&mut |name, key, spans| {
            let mut of_windows = spans
                .iter()
                .filter(|(span, _)| span.window().is_some_and(|window| windows.contains(&window)))
                .peekable();
            if of_windows.peek().is_none() || !rewritten.is_done {
                return Ok(());
            }
            let keep = keepings(name)?;
            for (span, next) in of_windows {
                let until = Seq(next.seq.0.saturating_sub(1));
                let mut cursor = Some(span.first);
                while let Some(first) = cursor {
                    let moved = self.move_step((name, key), first, until, &keep, rewrite.now_ms)?;
                    cursor = moved.next;
                    rewritten.moved_bytes += moved.bytes;
                    rewritten.written_bytes += moved.written;
                    unflushed += moved.written;
                    if unflushed >= FLUSH_BYTES {
                        self.flush_all(&mut self.flushed.lock())?;
                        unflushed = 0;
                    }
                    if !(rewrite.pace)(moved.bytes) {
                        rewritten.is_done = false;
                        return Ok(());
                    }
                }
            }
            Ok(())
        })?;
        self.flush_all(&mut self.flushed.lock())?;
        let alive = self.windows_with_spans()?;
        rewritten.windows = windows.iter().filter(|window| !alive.contains(window)).count() as u64;
        // Those that were rewritten before, and left rows beside others, go with their neighbours.
        rewritten.bytes = self.drop_dead(&windows, &alive, &closed)?;
        if self.forget_windows(&alive, &closed) {
            self.flush_all(&mut self.flushed.lock())?;
        }
        Ok(rewritten)
    }

    /// Takes note that a class's open window is to be ended. That of the rest is ended here.
    pub(super) fn hold_up(&self, class: Class, rewritten: &mut Rewritten) {
        if class == Class::REST {
            self.end_rest(|_| true);
        } else if !rewritten.held_up.contains(&class) {
            rewritten.held_up.push(class);
        }
    }

    /// Ends the open window of the rest, if it is to be.
    fn end_rest(&self, is_to_end: impl FnOnce(&Tally) -> bool) {
        let mut writing = self.writing.lock();
        let window = writing.window(Class::REST);
        if writing.windows[Class::REST.index()].bytes > 0
            && writing.tallies.get(window).is_some_and(is_to_end)
        {
            writing.windows[Class::REST.index()] =
                OpenWindow { window: window.number.next(), ..OpenWindow::default() };
        }
    }

    /// The windows of which an earlier call has moved a part: until the rest is moved too, all of it takes
    /// space.
    fn begun(
        &self,
        assessed: &BTreeMap<ClassWindow, Assessed>,
        closed: &[Window; Class::COUNT],
        rewritten: &mut Rewritten,
    ) -> BTreeSet<ClassWindow> {
        let (writing, mut windows) = (self.writing.lock(), BTreeSet::new());
        for window in assessed.keys().filter(|window| window.number < closed[window.class.index()]) {
            if writing.tallies.get(*window).is_some_and(|tally| tally.is_left) {
                if self.has_enough(&windows, assessed) {
                    rewritten.more = true;
                    break;
                }
                windows.insert(*window);
            }
        }
        windows
    }

    /// The windows that have something which was erased by a time.
    fn due_windows(&self, rewrite: &Rewrite<'_>) -> Vec<ClassWindow> {
        let writing = self.writing.lock();
        let due = writing.tallies.iter().filter(|(_, tally)| is_due(tally, rewrite));
        due.map(|(window, _)| window).filter(|window| *window != UNKNOWN).collect()
    }

    /// Adds the windows whose tables may have something that is due, unless they have an open window's rows
    /// too: that one is to be ended first.
    fn add_erased(
        &self,
        due: Vec<ClassWindow>,
        assessed: &BTreeMap<ClassWindow, Assessed>,
        closed: &[Window; Class::COUNT],
        windows: &mut BTreeSet<ClassWindow>,
        rewritten: &mut Rewritten,
    ) {
        // Of others only registers may have something.
        let is_there =
            |window: &ClassWindow| !self.is_no_more(*window, assessed.contains_key(window), closed);
        for window in due.into_iter().filter(is_there) {
            if self.has_enough(windows, assessed) {
                rewritten.more = true;
                return;
            }
            let ClassWindow { class, number } = window;
            let (first, last) = self.engine.windows_beside(class, number).unwrap_or((number, number));
            let beside = |number| ClassWindow { class, number };
            if last < closed[class.index()] {
                windows.extend(assessed.range(beside(first)..=beside(last)).map(|(window, _)| *window));
                // Without spans it is dropped again.
                windows.insert(window);
            } else {
                self.hold_up(class, rewritten);
            }
        }
    }

    /// Whether windows are as much as is rewritten at once. On a full disk that is one, so that what is
    /// copied of it finds room.
    pub(super) fn has_enough(
        &self,
        windows: &BTreeSet<ClassWindow>,
        assessed: &BTreeMap<ClassWindow, Assessed>,
    ) -> bool {
        let bytes = windows.iter().filter_map(|window| assessed.get(window)).map(|assessed| assessed.bytes);
        let bytes_max = if self.engine.reserve.is_held() { WINDOWS_BYTES_MAX } else { 1 };
        bytes.sum::<u64>() >= bytes_max
    }

    pub(super) fn windows_with_spans(&self) -> Result<BTreeSet<ClassWindow>, ViewError> {
        let snapshot = self.snapshot();
        let (mut windows, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for row in snapshot.iter(&self.engine.spans) {
            match self.span(row) {
                Ok(span) => windows.extend(span.window()),
                // To where it led is not known.
                Err(ViewError::DamagedSpan { key }) => drop(unknown.insert(key)),
                Err(error) => return Err(error),
            }
        }
        for key in unknown {
            windows.extend(self.windows_of(&snapshot, key)?);
        }
        Ok(windows)
    }

    /// Forgets what was counted of windows of which nothing is on the disk; says whether there was any. Those
    /// that had what was erased count until registers have nothing of it either.
    pub(super) fn forget_windows(
        &self,
        alive: &BTreeSet<ClassWindow>,
        closed: &[Window; Class::COUNT],
    ) -> bool {
        self.forget(|window, tally| {
            tally.due_since_ms().is_none() && self.is_no_more(window, alive.contains(&window), closed)
        })
    }

    /// Whether nothing of a window is on the disk, and nothing comes there again.
    pub(super) fn is_no_more(
        &self,
        window: ClassWindow,
        has_spans: bool,
        closed: &[Window; Class::COUNT],
    ) -> bool {
        window.number < closed[window.class.index()]
            && !has_spans
            && self.engine.windows_beside(window.class, window.number).is_none()
    }

    /// Forgets what was counted of windows; says whether there was any.
    pub(super) fn forget(&self, is_to_go: impl FnMut(ClassWindow, &Tally) -> bool) -> bool {
        let mut writing = self.writing.lock();
        let mut batch = Batch::default();
        let is_any = writing.tallies.remove(&self.engine, &mut batch, is_to_go);
        self.engine.write(batch);
        self.tell(&writing, true);
        is_any
    }

    /// Moves a part of a span, from its first event on, into the open window of the rest, without what is
    /// absent.
    fn move_step(
        &self,
        (name, key): (&ConversationName, ConversationKey),
        first: Seq,
        until: Seq,
        keep: &Keep,
        now_ms: u64,
    ) -> Result<Moved, ViewError> {
        let mut writing = self.writing.lock();
        let snapshot = self.snapshot();
        let rest = writing.window(Class::REST);
        let Some(span) = self.span_at(&snapshot, key, first)?.filter(|span| span.first == first) else {
            return Err(hole(name, first, None));
        };
        let Held::There { window: from, .. } = span.held else { return Err(hole(name, first, None)) };
        let (runs, next) = self.runs_of_step(&snapshot, span, name, until)?;
        let mut messages = Vec::new();
        for run in &runs {
            messages.extend(run.messages(name)?);
        }
        let read = runs.iter().map(|run| run.bytes() as u64).sum::<u64>();
        must_be_whole(name, first, &messages)?;
        let before = match first.0.checked_sub(1).filter(|before| *before > 0) {
            Some(before) => self.span_at(&snapshot, key, Seq(before))?,
            None => None,
        };
        let mut batch = Batch::default();
        let mut spans = Spans::behind(key, before);
        spans.changes.insert(row::span_key(key, first), None);
        writing.tallies.of(from).leave();
        let tally = writing.tallies.of(rest);
        let mut written = 0;
        // Nothing is before the first event. What is absent there would count as dead in each window it comes to.
        let is_behind_gone = spans.ends_gone() || first == Seq(1);
        for piece in cut(&messages, keep, is_behind_gone) {
            let [head, ..] = piece.messages.as_slice() else { continue };
            if piece.is_gone {
                spans.gone(head.place(), piece.messages[piece.messages.len() - 1].to_last());
                continue;
            }
            spans.there(rest, head.place());
            for message in &piece.messages {
                match message.expires_ms() {
                    _ if message.is_bare() => tally.gone(message.content_bytes()),
                    0 => {}
                    expires_ms => {
                        let again_ms = now_ms.saturating_add(HELD_AGAIN_MS);
                        let expires_ms = if expires_ms <= now_ms { again_ms } else { expires_ms };
                        tally.expires(message.place().time_ms, expires_ms, message.content_bytes());
                    }
                }
            }
            for messages in piece.messages.chunk_by(|a, b| Block::of(a.seq) == Block::of(b.seq)) {
                for messages in run::cut(messages) {
                    let key = row::run_key(rest.number, key, messages[messages.len() - 1].seq);
                    let value = run::encode(&key, messages);
                    written += (key.len() + value.len()) as u64;
                    batch.insert(self.engine.messages(Class::REST), key, value);
                }
            }
        }
        if let Some(next) = next {
            spans.there(from, next);
        }
        for (key, held) in spans.changes {
            match held {
                Some(held) => batch.insert(&self.engine.spans, key, row::encode_span(&key, held)),
                None => batch.remove(&self.engine.spans, key),
            }
        }
        let open = &mut writing.windows[Class::REST.index()];
        open.bytes += written;
        if open.bytes >= self.window_bytes {
            *open = OpenWindow { window: open.window.next(), ..OpenWindow::default() };
        }
        drop(snapshot);
        self.engine.write(batch);
        Ok(Moved { next: next.map(|next| next.seq), bytes: read + written, written })
    }

    /// The rows of a span, up to a seq, that one step moves, and where the next one begins.
    fn runs_of_step(
        &self,
        snapshot: &Snapshot<'_>,
        span: Span,
        name: &ConversationName,
        until: Seq,
    ) -> Result<(Vec<StoredRun>, Option<Place>), ViewError> {
        let (mut runs, mut bytes): (Vec<StoredRun>, _) = (Vec::new(), 0);
        for piece in self.pieces(snapshot, span, span.first, until) {
            let Piece::Run(run) = piece? else { continue };
            if bytes >= STEP_BYTES {
                let next = run.messages(name)?.first().map(Message::place);
                return Ok((runs, next));
            }
            bytes += run.bytes();
            runs.push(run);
        }
        Ok((runs, None))
    }
}

/// What is moved has to be all that there is.
fn must_be_whole(name: &ConversationName, first: Seq, messages: &[Message<'_>]) -> Result<(), ViewError> {
    for (expected, message) in (first.0..).zip(messages) {
        if message.seq != Seq(expected) {
            return Err(hole(name, Seq(expected), Some(message.seq)));
        }
    }
    if messages.is_empty() { Err(hole(name, first, None)) } else { Ok(()) }
}

/// So much later than the time of a rewrite something may be erased before it looks, in milliseconds.
const MEANWHILE_MS: u64 = 60_000;

/// Whether something was erased by the time that is wanted. What was so at one that is to come was erased when
/// the clock was far ahead: that was long ago for all that is known, and its time would come when the clock
/// is there again.
fn is_due(tally: &Tally, rewrite: &Rewrite<'_>) -> bool {
    let ahead_ms = rewrite.now_ms.saturating_add(MEANWHILE_MS);
    tally.due_since_ms().is_some_and(|since_ms| since_ms <= rewrite.erased_by_ms)
        || tally.due_until_ms().is_some_and(|until_ms| until_ms > ahead_ms)
}

#[cfg(test)]
mod tests {
    use ::fjall::{AbstractTree as _, Readable as _};

    use super::super::engine::Engine;
    use super::{Class, FjallView, Keep, Seq};
    use crate::key::ConversationKey;
    use crate::log::Position;
    use crate::record::Record;
    use crate::testing::{notice, record};
    use crate::view::{Marks, View};

    /// As a crash does it in a flush, behind the messages and before the spans.
    fn flush_messages_alone(engine: &Engine) {
        for class in Class::all() {
            let tree = &engine.messages(class).tree;
            tree.rotate_memtable();
            let lock = tree.get_flush_lock();
            tree.flush(&lock, engine.unneeded()).unwrap();
        }
    }

    #[test]
    fn what_a_crash_leaves_of_a_move_goes_with_the_first_reclaim() {
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(1);
        let view = open();
        let a = record("a", 1, 1);
        view.apply(Position(1), std::slice::from_ref(&a)).unwrap();
        view.apply(Position(2), &[Record { ends_window: true, ..notice("end", []) }]).unwrap();
        view.flush().unwrap();
        let (name, key) = (&a.conversation, ConversationKey::new(&a.conversation));
        view.move_step((name, key), Seq(1), Seq(1), &Keep::default(), 0).unwrap();
        let copies = |view: &FjallView| view.snapshot().iter(view.engine.messages(Class::REST)).count();
        flush_messages_alone(&view.engine);
        drop(view);
        let view = open();
        assert_eq!(copies(&view), 1, "no span leads to it");
        view.reclaim(&mut |_| Ok(Marks::default())).unwrap();
        assert_eq!(copies(&view), 0);
        let limit = crate::view::PageLimit { records: 9, bytes: 999 };
        assert_eq!(view.after(name, Seq::ZERO, limit).unwrap().len(), 1);
    }
}
