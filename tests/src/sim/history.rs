//! What clients saw, and whether it fits to what the server stored.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use quoth_store::{ProducerKey, Record};

/// Names a message for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MessageId {
    pub(super) conversation: ConversationName,
    pub(super) user: UserId,
    pub(super) producer: ProducerId,
    pub(super) n: u64,
}

/// What a client has left to do in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) to_publish: u64,
    pub(super) unacked: usize,
    pub(super) to_read: u64,
}

/// What all clients of a simulation saw.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Every message that was published, once or more often.
    pub(super) published: BTreeMap<MessageId, Bytes>,
    /// Every ack: seq and time.
    pub(super) acks: Vec<(MessageId, Seq, u64)>,
    /// How many acks said that the message was stored before.
    pub(super) duplicates: usize,
    /// Every event that a client got, live, replayed or in a page of history, and which client.
    pub(super) events: Vec<(String, ConversationName, Event)>,
    /// Where each client is that has connected at all.
    pub(super) progress: BTreeMap<(UserId, ConversationName), Progress>,
}

impl History {
    /// Checks that the log has every published message exactly once, gapless and in its producer's order, and that
    /// every ack and every event is the log's. To be asked when every message has been acked.
    pub(super) fn check(&self, log: &[Record]) -> Result<(), String> {
        let mut conversations: HashMap<&ConversationName, Vec<&Record>> = HashMap::new();
        for record in log {
            conversations.entry(&record.conversation).or_default().push(record);
        }
        conversations.values().try_for_each(|records| check_order(records))?;
        let mut by_id = HashMap::new();
        for record in log {
            if let Some(first) = by_id.insert((&record.conversation, record.producer, record.n), record) {
                return Err(format!("twice in the log: {first:?} and {record:?}"));
            }
        }
        for (id, body) in &self.published {
            let key = (&id.conversation, ProducerKey::new(&id.user, id.producer), id.n);
            match by_id.get(&key) {
                Some(record) if record.body == body && record.sender == id.user => {}
                other => return Err(format!("published {id:?}, but the log has {other:?}")),
            }
        }
        if by_id.len() != self.published.len() {
            return Err(format!("{} messages in the log, {} published", by_id.len(), self.published.len()));
        }
        for (id, seq, time_ms) in &self.acks {
            let key = (&id.conversation, ProducerKey::new(&id.user, id.producer), id.n);
            match by_id.get(&key) {
                Some(record) if (record.seq, record.time_ms) == (*seq, *time_ms) => {}
                other => {
                    return Err(format!("{id:?} was acked as seq {seq} at {time_ms}, the log has {other:?}"));
                }
            }
        }
        self.events.iter().try_for_each(|(client, conversation, event)| {
            let index = usize::try_from(event.seq.0).unwrap_or(usize::MAX).wrapping_sub(1);
            let stored = conversations.get(conversation).and_then(|records| records.get(index));
            match stored {
                Some(record) if is_of(event, record) => Ok(()),
                _ => Err(format!("{client} got {event:?} in {conversation}, the log has {stored:?}")),
            }
        })
    }
}

fn check_order(records: &[&Record]) -> Result<(), String> {
    let mut highest = HashMap::new();
    for (record, seq) in records.iter().zip(1..) {
        if record.seq != Seq(seq) {
            return Err(format!("not contiguous: seq {seq} is {record:?}"));
        }
        if highest.insert(record.producer, record.n).is_some_and(|n| n >= record.n) {
            return Err(format!("not in its producer's order: {record:?}"));
        }
    }
    match records.windows(2).find(|pair| pair[0].time_ms > pair[1].time_ms) {
        Some(pair) => Err(format!("time goes back between {:?} and {:?}", pair[0], pair[1])),
        None => Ok(()),
    }
}

fn is_of(event: &Event, record: &Record) -> bool {
    let EventKind::Message { body } = &event.kind;
    (event.seq, event.time_ms, event.origin_time_ms) == (record.seq, record.time_ms, record.origin_time_ms)
        && event.sender == record.sender
        && *body == record.body
}

#[cfg(test)]
mod tests {
    use quoth_protocol::frame::{Event, EventKind};
    use quoth_protocol::{ProducerId, Seq, UserId};
    use quoth_store::{Record, testing};

    use super::{History, MessageId};

    fn id(record: &Record) -> MessageId {
        let user = UserId::new("ada").unwrap();
        MessageId { conversation: record.conversation.clone(), user, producer: ProducerId(1), n: record.n }
    }

    /// A log of three messages and a history that fits to it.
    fn fitting() -> (History, Vec<Record>) {
        let log: Vec<Record> = (1..=3).map(|n| testing::record("room", n, 10 * n)).collect();
        let mut history = History::default();
        for record in &log {
            history.published.insert(id(record), record.body.clone());
            history.acks.push((id(record), record.seq, record.time_ms));
            let event = Event {
                seq: record.seq,
                time_ms: record.time_ms,
                sender: record.sender.clone(),
                origin_time_ms: None,
                kind: EventKind::Message { body: record.body.clone() },
            };
            history.events.push(("bob".to_owned(), record.conversation.clone(), event));
        }
        (history, log)
    }

    #[test]
    fn a_history_that_fits_passes() {
        let (history, log) = fitting();
        assert_eq!(history.check(&log), Ok(()));
    }

    #[test]
    fn each_broken_promise_is_found() {
        type Break = fn(&mut History, &mut Vec<Record>);
        let breaks: [(&str, Break); 8] = [
            ("lost", |_, log| drop(log.pop())),
            ("twice", |_, log| {
                let again = Record { seq: Seq(4), ..log[1].clone() };
                log.push(again);
            }),
            ("hole", |_, log| drop(log.remove(1))),
            ("order of a producer", |_, log| (log[0].n, log[1].n) = (log[1].n, log[0].n)),
            ("time", |_, log| log[0].time_ms += 10),
            ("seq of an ack", |history, _| history.acks[0].1 = Seq(2)),
            ("body of an event", |history, _| {
                history.events[1].2.kind = EventKind::Message { body: "other".into() };
            }),
            ("event that is not stored", |history, _| history.events[2].2.seq = Seq(4)),
        ];
        for (name, broken) in breaks {
            let (mut history, mut log) = fitting();
            broken(&mut history, &mut log);
            assert!(history.check(&log).is_err(), "{name}");
        }
    }
}
