//! What users have not read, from windows over the latest messages of the conversations that are asked for,
//! within a budget.

use std::collections::HashMap;

use parking_lot::Mutex;
use quoth_core::unread::{Edited, Life, Posted, Unread, Window};
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::limits::UNREAD_EVENTS_MAX;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Bounds, PageLimit, Record, View, ViewError};

use crate::engine::frame::event;

/// Messages that all windows hold together: about 60 bytes each.
const MESSAGES_MAX: usize = 500_000;

/// What a window costs besides its messages, in messages.
const WINDOW_MESSAGES: usize = 8;

/// Events that are read at once.
const PAGE: PageLimit = PageLimit { records: 256, bytes: 256 * 1024 };

/// A window that is further behind begins anew.
const BEHIND_MAX: u64 = UNREAD_EVENTS_MAX as u64;

/// The windows of the conversations that were asked for lately.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    known: HashMap<ConversationName, Window>,
    messages: usize,
}

impl Counts {
    /// What `me` has not read of a conversation who has read up to `read`. `until_ms` says of each message
    /// when it will be absent; `None`: it is.
    pub(super) fn unread(
        &self,
        view: &dyn View,
        name: &ConversationName,
        Bounds { floor, head }: Bounds,
        (me, read): (&UserId, Seq),
        until_ms: impl Fn(Life) -> Option<u64>,
    ) -> Result<Unread, ViewError> {
        if read >= head {
            return Ok(Unread::default());
        }
        let floor = floor.max(Seq(head.0.saturating_sub(u64::from(UNREAD_EVENTS_MAX) - 1)));
        // Whoever else asks meanwhile makes another one.
        let window = self.0.lock().take(name);
        let mut window = window
            .filter(|window| head.0.saturating_sub(window.last().0) <= BEHIND_MAX)
            .unwrap_or_else(|| Window::behind(head));
        while window.last() < head {
            let records = view.after(name, window.last().max(Seq(floor.0.saturating_sub(1))), PAGE)?;
            let last = records.last().map_or(head, |record| record.seq.min(head));
            follow(&mut window, last, &records);
        }
        let unread = loop {
            match window.count(floor, read, me, &until_ms) {
                Ok(unread) => break unread,
                Err(missing) => {
                    let records = view.before(name, Some(missing.0.next()), PAGE)?;
                    let before =
                        records.first().map_or(Seq::ZERO, |first| Seq(first.seq.0.saturating_sub(1)));
                    let events = events(&records);
                    events.iter().filter_map(Edited::of).for_each(|edited| window.edit(&edited));
                    window.prepend(before, events.iter().filter_map(Posted::of).collect::<Vec<_>>());
                }
            }
        };
        self.0.lock().put(name, window);
        Ok(unread)
    }
}

/// Takes what has happened up to `last`.
fn follow(window: &mut Window, last: Seq, records: &[Record]) {
    let events = events(records);
    window.append(last, events.iter().filter_map(Posted::of));
    for event in events.iter().filter(|event| event.seq <= last) {
        match &event.kind {
            EventKind::Revoked { seq } => window.remove(*seq),
            EventKind::Edited { .. } => Edited::of(event).iter().for_each(|edited| window.edit(edited)),
            _ => {}
        }
    }
}

/// One that does not decode counts for nothing, and whoever reads it comes upon it.
fn events(records: &[Record]) -> Vec<Event> {
    records.iter().filter_map(|record| event(record).ok()).collect()
}

impl Windows {
    fn take(&mut self, name: &ConversationName) -> Option<Window> {
        let window = self.known.remove(name)?;
        self.messages -= cost(&window);
        Some(window)
    }

    fn put(&mut self, name: &ConversationName, window: Window) {
        self.take(name);
        self.messages += cost(&window);
        self.known.insert(name.clone(), window);
        while self.messages > MESSAGES_MAX {
            // Any other one: who asks for it again reads its messages again.
            let Some(other) = self.known.keys().find(|other| *other != name).cloned() else { return };
            self.take(&other);
        }
    }
}

fn cost(window: &Window) -> usize {
    window.len() + WINDOW_MESSAGES
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, Seq, UserId};
    use quoth_store::testing::record;
    use quoth_store::{Content, MemoryView, Position, Record, View as _};

    use super::{Counts, UNREAD_EVENTS_MAX};

    #[test]
    fn what_one_has_written_oneself_is_looked_through_to_an_end() {
        let (view, name) = (MemoryView::new(), ConversationName::new("room").unwrap());
        let (bot, bob) = (UserId::new("bot").unwrap(), UserId::new("bob").unwrap());
        let events_max = u64::from(UNREAD_EVENTS_MAX);
        let head = 3 * events_max;
        // Of another one's there is one before those that are looked at, and one among them.
        let seen = head - events_max + 1;
        let records: Vec<Record> = (1..=head)
            .map(|seq| {
                let sender = if seq == seen - 1 || seq == seen { bob.clone() } else { bot.clone() };
                Record { sender, content: Content::Message("x".into()), ..record("room", seq, seq) }
            })
            .collect();
        for (position, records) in (1..).map(Position).zip(records.chunks(1_000)) {
            view.apply(position, records).unwrap();
        }
        let (counts, bounds) = (Counts::default(), view.bounds(&name).unwrap());
        for _ in 0..2 {
            let unread = counts.unread(&view, &name, bounds, (&bot, Seq::ZERO), |_| Some(u64::MAX)).unwrap();
            assert_eq!(unread.messages, 1);
            let held = counts.0.lock().messages as u64;
            assert!((1..2 * events_max).contains(&held), "{held}");
        }
    }
}
