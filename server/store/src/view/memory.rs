//! A view in memory, for tests and simulations.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quoth_protocol::{ConversationName, Seq};

use super::{
    Bounds, Dead, Erased, Found, Keepings, Keeps, Last, Marks, Pacer, Page, PageLimit, Place, ProducerState,
    Purged, Reclaimed, Rewrite, Rewritten, Span, Stretch, Survey, SweepCursor, Swept, View, ViewError,
};
use crate::class::Class;
use crate::key::{ConversationKey, ProducerKey};
use crate::log::Position;
use crate::record::{Content, Record, Register, event_of};

/// A view in memory. Clones share what is in it.
#[derive(Debug, Clone, Default)]
pub struct MemoryView(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    applied: Position,
    stored_ms: u64,
    conversations: HashMap<ConversationName, Conversation>,
}

#[derive(Debug, Default)]
struct Conversation {
    records: BTreeMap<Seq, Entry>,
    /// The last event that was reclaimed, with all before it.
    gone: Option<Last>,
    /// The seq of each n.
    producers: HashMap<ProducerKey, BTreeMap<u64, Found>>,
    registers: BTreeMap<Bytes, Bytes>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    is_erased: bool,
    /// Where its content ends, or ended.
    end: u64,
}

impl Conversation {
    fn last(&self) -> Option<Last> {
        self.records.last_key_value().map(|(_, entry)| entry.last()).or(self.gone)
    }

    fn gone_seq(&self) -> Seq {
        self.gone.map_or(Seq::ZERO, |gone| gone.seq)
    }

    fn reclaim(&mut self, marks: Marks) -> u64 {
        let mut bytes = 0;
        while let Some(first) = self.records.first_entry().filter(|first| marks.covers(first.get().place())) {
            let entry = first.remove();
            bytes += entry.end - entry.record.offset;
            self.gone = Some(entry.last());
        }
        bytes
    }
}

impl Entry {
    fn place(&self) -> Place {
        Place { seq: self.record.seq, time_ms: self.record.time_ms, offset: self.record.offset }
    }

    fn last(&self) -> Last {
        Last { seq: self.record.seq, time_ms: self.record.time_ms, end: self.end }
    }
}

impl MemoryView {
    /// An empty view.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Where the next event would lie.
fn behind(last: Option<Last>) -> Place {
    last.map_or_else(
        || Place { seq: Seq(1), time_ms: 0, offset: 0 },
        |last| Place { seq: last.seq.next(), time_ms: last.time_ms, offset: last.end },
    )
}

impl View for MemoryView {
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        let mut state = self.0.write();
        if position <= state.applied {
            return Ok(());
        }
        if position != state.applied.next() {
            return Err(ViewError::Skipped { applied: state.applied, position });
        }
        for record in records {
            let conversation = state.conversations.entry(record.conversation.clone()).or_default();
            for Register { key, value } in &record.registers {
                match value {
                    Some(value) => conversation.registers.insert(key.clone(), value.clone()),
                    None => conversation.registers.remove(key),
                };
            }
            if record.is_event() {
                if let Some(id) = record.id {
                    let found = Found { seq: record.seq, time_ms: record.time_ms };
                    conversation.producers.entry(id.producer).or_default().insert(id.n, found);
                }
                let entry = Entry { record: record.as_read(), end: record.end(), is_erased: false };
                conversation.records.insert(record.seq, entry);
            }
            for seq in &record.erases {
                if let Some(entry) = conversation.records.get_mut(seq) {
                    entry.is_erased = true;
                    entry.record.content = Content::Message(Bytes::new());
                }
            }
        }
        state.applied = position;
        state.stored_ms = Record::stored_ms(records).unwrap_or(state.stored_ms);
        Ok(())
    }

    fn applied(&self) -> Position {
        self.0.read().applied
    }

    fn stored_ms(&self) -> u64 {
        self.0.read().stored_ms
    }

    fn flush(&self) -> Result<Position, ViewError> {
        Ok(self.applied())
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let state = self.0.read();
        let Some(known) = state.conversations.get(conversation) else {
            return Ok(Bounds { floor: Seq(1), head: Seq::ZERO });
        };
        let head = known.last().map_or(Seq::ZERO, |last| last.seq);
        Ok(Bounds { floor: known.gone_seq().next(), head })
    }

    fn last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError> {
        Ok(self.0.read().conversations.get(conversation).and_then(Conversation::last))
    }

    fn gone_with(&self, conversation: &ConversationName, seq: Seq) -> Result<Option<Last>, ViewError> {
        let state = self.0.read();
        let gone = state.conversations.get(conversation).and_then(|known| known.gone);
        Ok(gone.filter(|last| seq <= last.seq))
    }

    fn floor(&self, conversation: &ConversationName, marks: Marks, _: Seq) -> Result<Place, ViewError> {
        let state = self.0.read();
        let known = state.conversations.get(conversation);
        let kept = known.and_then(|known| known.records.values().find(|entry| !marks.covers(entry.place())));
        let last = known.and_then(Conversation::last);
        Ok(kept.map_or_else(|| behind(last), Entry::place))
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let mut page = Page::new(limit);
        if after == Seq(u64::MAX) {
            return Ok(Stretch::nothing_behind(after));
        }
        let (from, mut to) = (after.next(), after);
        if let Some(known) = self.0.read().conversations.get(conversation) {
            to = to.max(known.gone_seq());
            for (seq, entry) in known.records.range(to.next()..) {
                if *seq != to.next() {
                    let (conversation, expected) = (conversation.clone(), to.next());
                    return Err(ViewError::Hole { conversation, expected, found: Some(*seq) });
                }
                if !entry.is_erased && !page.take(entry.record.clone()) {
                    break;
                }
                to = *seq;
                if page.is_full() {
                    break;
                }
            }
        }
        Ok(page.ascending(from, to))
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let mut page = Page::new(limit);
        let state = self.0.read();
        let Some(known) = state.conversations.get(conversation) else {
            return Ok(page.ascending(Seq(1), Seq::ZERO));
        };
        let head = known.last().map_or(Seq::ZERO, |last| last.seq);
        let until = before.map_or(head, |before| Seq(before.0.saturating_sub(1)).min(head));
        let mut from = until.next();
        for (seq, entry) in known.records.range(..=until).rev() {
            if seq.next() != from {
                let (conversation, expected) = (conversation.clone(), Seq(from.0 - 1));
                return Err(ViewError::Hole { conversation, expected, found: Some(*seq) });
            }
            if !entry.is_erased && !page.take(entry.record.clone()) {
                return Ok(page.descending(from, until));
            }
            from = *seq;
            if page.is_full() {
                return Ok(page.descending(from, until));
            }
        }
        if from > known.gone_seq().next() {
            let (conversation, expected) = (conversation.clone(), Seq(from.0 - 1));
            return Err(ViewError::Hole { conversation, expected, found: None });
        }
        Ok(page.descending(Seq(1), until))
    }

    fn reclaim(&self, keeps: &mut Keeps<'_>) -> Result<Reclaimed, ViewError> {
        let mut reclaimed = Reclaimed::default();
        // Whoever says how they are kept may read meanwhile.
        let names: Vec<_> = self.0.read().conversations.keys().cloned().collect();
        for name in names {
            let marks = match keeps(&name) {
                Err(error) if error.is_damage() => {
                    reclaimed.damaged += 1;
                    continue;
                }
                marks => marks?,
            };
            if let Some(known) = self.0.write().conversations.get_mut(&name) {
                let bytes = known.reclaim(marks);
                reclaimed.windows += u64::from(bytes > 0);
                reclaimed.bytes += bytes;
            }
        }
        Ok(reclaimed)
    }

    fn rewrite(&self, _: &mut Keepings<'_>, _: &mut Rewrite<'_>) -> Result<Rewritten, ViewError> {
        Ok(Rewritten { is_done: true, ..Rewritten::default() })
    }

    fn sweep(
        &self,
        _: bool,
        _: &mut SweepCursor,
        _: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        let mut swept = Swept { is_done: true, ..Swept::default() };
        for known in self.0.write().conversations.values_mut() {
            let (gone, before) = (known.gone_seq(), known.registers.len());
            known.registers.retain(|key, _| event_of(key).is_none_or(|(_, seq)| seq > gone));
            swept.registers += (before - known.registers.len()) as u64;
        }
        Ok(swept)
    }

    fn purge(&self, _: bool, _: &Pacer) -> Result<Purged, ViewError> {
        Ok(Purged::Done)
    }

    fn erased(&self) -> Erased {
        Erased::default()
    }

    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        let mut spans = Vec::new();
        for (name, known) in &self.0.read().conversations {
            if let Some((_, first)) = known.records.first_key_value() {
                let (class, first, next) = (Class::default(), first.place(), behind(known.last()));
                spans.push((name.clone(), Span { class, window: 0, is_closed: false, first, next }));
            }
        }
        let mut damaged = 0;
        for (name, span) in &spans {
            match visit(name, std::slice::from_ref(span)) {
                Err(error) if error.is_damage() => damaged += 1,
                other => other?,
            }
        }
        Ok(damaged)
    }

    fn dead(&self, _: Class, _: u32, _: u64) -> Dead {
        Dead::default()
    }

    fn overdue(&self, _: u64) -> Vec<Class> {
        Vec::new()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        let state = self.0.read();
        let known = state.conversations.get(conversation).and_then(|known| known.producers.get(&producer));
        let last = known.and_then(BTreeMap::last_key_value);
        Ok(last.map(|(n, found)| ProducerState { n: *n, seq: found.seq }))
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        let state = self.0.read();
        let find = |known: &Conversation| {
            let (_, found) = known.producers.get(&producer)?.range(n..).next()?;
            let is_stored = known.producers.get(&producer)?.contains_key(&n);
            let is_gone = !known.records.contains_key(&found.seq);
            (is_stored || is_gone).then_some(*found)
        };
        Ok(state.conversations.get(conversation).and_then(find))
    }

    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let state = self.0.read();
        Ok(state.conversations.get(conversation).and_then(|known| known.registers.get(key)).cloned())
    }

    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let state = self.0.read();
        let Some(known) = state.conversations.get(conversation) else {
            return Ok(Vec::new());
        };
        let first = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let behind = known.registers.range::<[u8], _>((first, Bound::Unbounded));
        let of_prefix = behind.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(of_prefix.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        let after = after.map(ConversationKey::new);
        let state = self.0.read();
        let mut behind: BTreeMap<_, _> =
            state.conversations.keys().map(|name| (ConversationKey::new(name), name)).collect();
        behind.retain(|key, _| after.is_none_or(|after| *key > after));
        Ok(behind.into_values().take(limit).cloned().collect())
    }
}
