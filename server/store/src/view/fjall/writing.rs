//! The windows that are written, and what is told of them.

use std::collections::HashMap;

use super::FjallView;
use super::checkpoint::OpenWindow;
use super::tally::Tallies;
use super::window::{ClassWindow, window_bytes};
use crate::class::Class;
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::Erased;

/// The windows that are written.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) windows: [OpenWindow; Class::COUNT],
    /// The one that a conversation is known to have its last span in.
    pub(super) begun: HashMap<ConversationKey, ClassWindow>,
    pub(super) tallies: Tallies,
    /// See [`View::stored_ms`].
    pub(super) stored_ms: u64,
}

impl Writing {
    /// The window that gets the events of a class.
    pub(super) const fn window(&self, class: Class) -> ClassWindow {
        ClassWindow { class, number: self.windows[class.index()].window }
    }

    /// Takes a group that was written, and ends the windows that it has filled.
    pub(super) fn take(&mut self, records: &[Record], window_bytes_max: u64) {
        let Some(stored_ms) = Record::stored_ms(records) else { return };
        self.stored_ms = stored_ms;
        for record in records {
            let open = &mut self.windows[record.class.index()];
            if record.is_event() {
                open.bytes += window_bytes(record);
                if open.since_ms == 0 {
                    open.since_ms = stored_ms;
                }
            }
        }
        for record in records {
            let open = &mut self.windows[record.class.index()];
            if (record.ends_window && open.bytes > 0)
                || open.is_full(record.class, stored_ms, window_bytes_max)
            {
                let ended = ClassWindow { class: record.class, number: open.window };
                *open = OpenWindow { window: open.window.next(), ..OpenWindow::default() };
                self.begun.retain(|_, window| *window != ended);
            }
        }
    }
}

/// What is told of it to whoever must not wait. Who writes holds [`Writing`] for as long as a group takes,
/// and where that erases something that is being packed (`flush.rs`), that is a whole flush.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// As they are written, but for that of the rest.
    pub(super) windows: [OpenWindow; Class::COUNT],
    /// See [`View::stored_ms`](crate::View::stored_ms).
    pub(super) stored_ms: u64,
    /// See [`View::erased`](crate::View::erased).
    pub(super) erased: Erased,
}

impl FjallView {
    /// Tells of what is written; where something was erased or is not counted any more, of that too, which
    /// takes a look at each window.
    pub(super) fn tell(&self, writing: &Writing, has_erased: bool) {
        let erased = has_erased.then(|| writing.tallies.erased());
        let mut told = self.told.lock();
        (told.windows, told.stored_ms) = (writing.windows, writing.stored_ms);
        told.erased = erased.unwrap_or(told.erased);
    }
}

impl OpenWindow {
    /// Whether it ends behind a group that was stored at this time. One that begins later was begun by a clock
    /// that was wrong, and would hold up what is stored by the right one.
    pub(super) fn is_full(&self, class: Class, stored_ms: u64, window_bytes_max: u64) -> bool {
        let is_over = |window_ms: u64| {
            stored_ms < self.since_ms || stored_ms >= self.since_ms.saturating_add(window_ms)
        };
        self.bytes >= window_bytes_max || (self.bytes > 0 && class.window_ms().is_some_and(is_over))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use quoth_protocol::Seq;

    use crate::class::Class;
    use crate::log::Position;
    use crate::record::Record;
    use crate::testing::record;
    use crate::view::View as _;
    use crate::view::fjall::FjallView;

    /// Requests ask it on threads that others need.
    #[test]
    fn what_is_told_waits_for_nobody_who_writes() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let class = Class::of_age_s(60);
        let record = |seq: u64, erases| Record { class, erases, ..record("a", seq, seq) };
        view.apply(Position(1), &[record(1, Vec::new())]).unwrap();
        view.apply(Position(2), &[record(2, vec![Seq(1)])]).unwrap();
        let (told, tells) = mpsc::channel();
        std::thread::scope(|scope| {
            let writing = view.writing.lock();
            scope.spawn(|| told.send((view.stored_ms(), view.overdue(u64::MAX), view.erased())).unwrap());
            let is_told = tells.recv_timeout(PATIENCE);
            let is_so = (record(2, Vec::new()).time_ms, vec![class], writing.tallies.erased());
            drop(writing);
            assert_eq!(is_so.2.events, 1);
            assert_eq!(is_told, Ok(is_so));
        });
    }
}
