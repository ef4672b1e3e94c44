//! What is known of the windows that are written.

use std::collections::HashMap;

use super::checkpoint::OpenWindow;
use super::tally::Tallies;
use super::window::{ClassWindow, window_bytes};
use crate::class::Class;
use crate::key::ConversationKey;
use crate::record::Record;

/// The windows that are written.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) windows: [OpenWindow; Class::COUNT],
    /// The one that a conversation is known to have its last span in.
    pub(super) begun: HashMap<ConversationKey, ClassWindow>,
    pub(super) tallies: Tallies,
    /// See [`View::stored_ms`](crate::View::stored_ms).
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
