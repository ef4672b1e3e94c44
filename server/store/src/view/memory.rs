//! A view in memory, for tests and simulations.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quoth_protocol::{ConversationName, Seq};

use super::{Bounds, Page, PageLimit, ProducerState, View, ViewError};
use crate::key::{ConversationKey, ProducerKey};
use crate::log::Position;
use crate::record::{Record, Register};

/// A view in memory. Clones share what is in it.
#[derive(Debug, Clone, Default)]
pub struct MemoryView(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    applied: Position,
    conversations: HashMap<ConversationName, Conversation>,
}

#[derive(Debug, Default)]
struct Conversation {
    records: BTreeMap<Seq, Record>,
    /// The seq of each n.
    producers: HashMap<ProducerKey, BTreeMap<u64, Seq>>,
    registers: BTreeMap<Bytes, Bytes>,
}

impl MemoryView {
    /// An empty view.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Fills a page with records that must have consecutive seqs in one direction. Returns the seq that should come next when
/// the records ended before the page was full.
fn fill<'a>(
    page: &mut Page,
    records: impl Iterator<Item = &'a Record>,
    mut expected: Seq,
    step: impl Fn(Seq) -> Seq,
) -> Result<Option<Seq>, ViewError> {
    for record in records {
        if record.seq != expected {
            let conversation = record.conversation.clone();
            return Err(ViewError::Hole { conversation, expected, found: Some(record.seq) });
        }
        if !page.take(record.clone()) || page.is_full() {
            return Ok(None);
        }
        expected = step(expected);
    }
    Ok(Some(expected))
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
            if !record.is_event() {
                continue;
            }
            if let Some(id) = record.id {
                conversation.producers.entry(id.producer).or_default().insert(id.n, record.seq);
            }
            conversation.records.insert(record.seq, record.without_registers());
        }
        state.applied = position;
        Ok(())
    }

    fn applied(&self) -> Position {
        self.0.read().applied
    }

    fn flush(&self) -> Result<Position, ViewError> {
        Ok(self.applied())
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let state = self.0.read();
        let last = state.conversations.get(conversation).and_then(|known| known.records.last_key_value());
        Ok(Bounds { floor: Seq(1), head: last.map_or(Seq::ZERO, |(seq, _)| *seq) })
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let mut page = Page::new(limit);
        let Some(first) = after.0.checked_add(1).map(Seq) else {
            return Ok(Vec::new());
        };
        if let Some(known) = self.0.read().conversations.get(conversation) {
            fill(&mut page, known.records.range(first..).map(|(_, record)| record), first, Seq::next)?;
        }
        Ok(page.into_records())
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        let mut page = Page::new(limit);
        if let Some(known) = self.0.read().conversations.get(conversation) {
            let head = known.records.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
            let end = before.map_or_else(|| head.next(), |before| before.min(head.next()));
            let records = known.records.range(..end).rev().map(|(_, record)| record);
            let before = |seq: Seq| Seq(seq.0.saturating_sub(1));
            let missing = fill(&mut page, records, before(end), before)?;
            if let Some(expected) = missing.filter(|missing| *missing > Seq::ZERO) {
                return Err(ViewError::Hole { conversation: conversation.clone(), expected, found: None });
            }
        }
        Ok(page.into_descending())
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        let state = self.0.read();
        let known = state.conversations.get(conversation).and_then(|known| known.producers.get(&producer));
        let last = known.and_then(BTreeMap::last_key_value);
        Ok(last.map(|(n, seq)| ProducerState { n: *n, seq: *seq }))
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Record>, ViewError> {
        let state = self.0.read();
        let find = |known: &Conversation| {
            let seq = known.producers.get(&producer)?.get(&n)?;
            known.records.get(seq).cloned()
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
