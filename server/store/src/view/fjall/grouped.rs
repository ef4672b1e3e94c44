//! The records of a group, by whom they concern.

use std::collections::HashMap;

use quoth_protocol::ConversationName;

use crate::key::ProducerKey;
use crate::record::{MessageId, Record};
use crate::view::ProducerState;

/// Those of a group's records that readers see.
pub(super) fn events(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| record.is_event())
}

/// The events of each conversation of a group, in their order.
pub(super) fn by_conversation(records: &[Record]) -> Vec<(&ConversationName, Vec<&Record>)> {
    let mut places = HashMap::new();
    let mut gathered: Vec<(&ConversationName, Vec<&Record>)> = Vec::new();
    for record in events(records) {
        let place = *places.entry(&record.conversation).or_insert_with(|| {
            gathered.push((&record.conversation, Vec::new()));
            gathered.len() - 1
        });
        gathered[place].1.push(record);
    }
    gathered
}

/// The last message of each producer. A block has few, so a search in a list is the fastest.
pub(super) fn last_of_producers(records: &[&Record]) -> Vec<(ProducerKey, ProducerState)> {
    let mut last: Vec<(ProducerKey, ProducerState)> = Vec::new();
    for record in records {
        let Some(MessageId { producer, n }) = record.id else { continue };
        let state = ProducerState { n, seq: record.seq };
        match last.iter_mut().find(|(of, _)| *of == producer) {
            Some((_, before)) => *before = state,
            None => last.push((producer, state)),
        }
    }
    last
}
