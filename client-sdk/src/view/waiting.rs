//! Edits and reactions that cannot be taken yet. Pure.

use std::collections::BTreeMap;

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind};

/// So many wait at most, ten pages of the longest, each of nothing but events about messages that are not
/// there. Of the edits of a message only the latest one waits.
pub(super) const WAITING_MAX: usize = 10_000;

/// Events about messages that have not come, or before which another one may be missing, by the message.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    by_message: BTreeMap<Seq, BTreeMap<Seq, Event>>,
    count: usize,
}

impl Waiting {
    pub(super) fn insert(&mut self, of: Seq, event: Event) {
        let is_new = self.by_message.entry(of).or_default().insert(event.seq, event).is_none();
        self.count += usize::from(is_new);
    }

    /// Takes those about a message up to and including one, in their order.
    pub(super) fn take(&mut self, of: Seq, up_to: Seq) -> BTreeMap<Seq, Event> {
        let Some(mut taken) = self.by_message.remove(&of) else { return BTreeMap::new() };
        let later = taken.split_off(&up_to.next());
        self.count -= taken.len();
        if !later.is_empty() {
            self.by_message.insert(of, later);
        }
        taken
    }

    /// Takes an event about a message out.
    pub(super) fn remove(&mut self, of: Seq, event: Seq) {
        let Some(events) = self.by_message.get_mut(&of) else { return };
        self.count -= usize::from(events.remove(&event).is_some());
        if events.is_empty() {
            self.by_message.remove(&of);
        }
    }

    /// Takes all out that are about the messages from `from` up to and including `to`.
    pub(super) fn remove_messages(&mut self, from: Seq, to: Seq) {
        let gone: Vec<Seq> = self.by_message.range(from..=to).map(|(of, _)| *of).collect();
        for events in gone.iter().filter_map(|of| self.by_message.remove(of)).collect::<Vec<_>>() {
            self.count -= events.len();
        }
    }

    /// The edits of a message.
    pub(super) fn edits(&self, of: Seq) -> impl Iterator<Item = Seq> {
        let events = self.by_message.get(&of).into_iter().flat_map(BTreeMap::values);
        events.filter(|event| matches!(event.kind, EventKind::Edited { .. })).map(|event| event.seq)
    }

    /// The messages that something waits for.
    pub(super) fn messages(&self) -> Vec<Seq> {
        self.by_message.keys().copied().collect()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.count > WAITING_MAX
    }

    /// Lets go of half of what may wait, of the oldest messages first, and gives the events that have gone.
    pub(super) fn shed(&mut self) -> Vec<Seq> {
        let mut gone = Vec::new();
        while self.count > WAITING_MAX / 2
            && let Some((_, events)) = self.by_message.pop_first()
        {
            self.count -= events.len();
            gone.extend(events.into_keys());
        }
        gone
    }

    #[cfg(test)]
    pub(super) const fn count(&self) -> usize {
        self.count
    }
}
