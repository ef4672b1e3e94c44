//! Reads the log from a place on and makes batches of events.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quoth_store::{Log, LogError, LogReader, Position, Record, group};
use serde_json::Value;

use super::event::{Filter, absent, gap};
use super::place::{Cursor, Place};

/// Events of one batch.
const EVENTS_MAX: usize = 500;

/// Bytes of one batch's events as JSON, but for the last one.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of groups that are read over in one go when nothing of them is sent.
const READ_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Some events that are sent together.
#[derive(Debug)]
pub(super) struct Batch {
    /// The first and the last event's ids, which name it.
    pub(super) id: String,
    told: Vec<Told>,
    /// Records that may become absent until they are sent: to be judged at each try.
    pub(super) records: Arc<[Record]>,
    /// The cursor once it is taken.
    pub(super) end: Cursor,
    /// Bytes of the log's groups that are done with then.
    pub(super) log_bytes: u64,
}

/// An event of a batch, as JSON.
#[derive(Debug)]
struct Told {
    json: String,
    /// The same when it is absent, and which of the batch's records says so.
    absent: Option<(String, usize)>,
}

impl Batch {
    /// How many events it has.
    pub(super) fn count(&self) -> usize {
        self.told.len()
    }

    /// What is sent when these of its records are absent.
    pub(super) fn body(&self, are_absent: &[bool]) -> Bytes {
        let json = |told: &Told| match &told.absent {
            Some((absent, record)) if are_absent.get(*record) != Some(&false) => absent.clone(),
            _ => told.json.clone(),
        };
        let events: Vec<String> = self.told.iter().map(json).collect();
        Bytes::from(format!("{{\"events\":[{}]}}", events.join(",")))
    }
}

/// What reading on came to.
#[derive(Debug)]
pub(super) enum Next {
    /// These are to be sent.
    Batch(Batch),
    /// Nothing of what was read is to be sent.
    Passed { end: Cursor, log_bytes: u64 },
    /// There is nothing yet.
    End,
}

/// Reads from a place on.
#[derive(Debug)]
pub(super) struct Feed {
    reader: Box<dyn LogReader>,
    filter: Filter,
    cursor: Cursor,
    /// The rest of a group that is taken in part, and the bytes of the group.
    group: VecDeque<Record>,
    group_bytes: u64,
}

impl Feed {
    /// Reads from a cursor on; from the first group on that is left, with a gap, when what it stands at was freed, and from the next one
    /// on when the log ends before the cursor.
    pub(super) fn new(log: &Arc<dyn Log>, filter: Filter, cursor: Cursor) -> Result<Self, LogError> {
        let cursor = within(log, cursor);
        let reader = log.reader(cursor.next.position)?;
        Ok(Self { reader, filter, cursor, group: VecDeque::new(), group_bytes: 0 })
    }

    /// Where it stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Reads on.
    ///
    /// # Errors
    /// When the log cannot be read; the feed is of no use afterwards.
    pub(super) fn next(&mut self) -> Result<Next, LogError> {
        let (mut events, mut records, mut bytes, mut log_bytes) = (Vec::new(), Vec::new(), 0, 0);
        let mut ids: Option<(String, String)> = None;
        let mut take = |event: &Value, record: Option<usize>, events: &mut Vec<Told>| {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            let last = id.clone();
            ids = Some((ids.take().map_or(id, |(first, _)| first), last));
            let (json, absent) =
                (event.to_string(), record.map(|record| (absent(event).to_string(), record)));
            let bytes = json.len();
            events.push(Told { json, absent });
            bytes
        };
        if let Some(from) = self.cursor.gap_from.take() {
            bytes += take(&gap(from, self.cursor.next), None, &mut events);
        }
        let start = self.cursor.next;
        while events.len() < EVENTS_MAX && bytes < BATCH_BYTES_MAX && log_bytes < READ_BYTES_MAX {
            if self.group.is_empty() && !self.read_group()? {
                break;
            }
            if let Some(record) = self.group.pop_front() {
                if let Some(event) = self.filter.event(&record, self.cursor.next) {
                    let judged = record.is_event().then_some(records.len());
                    bytes += take(&event, judged, &mut events);
                    records.extend(judged.map(|_| record));
                }
                self.cursor.next.index += 1;
            }
            if self.group.is_empty() {
                log_bytes += std::mem::take(&mut self.group_bytes);
                self.cursor.next = Place::begin(self.cursor.next.position.next());
            }
        }
        Ok(match ids {
            Some((first, last)) => Next::Batch(Batch {
                id: format!("{first}-{last}"),
                told: events,
                records: records.into(),
                end: self.cursor,
                log_bytes,
            }),
            None if self.cursor.next == start => Next::End,
            None => Next::Passed { end: self.cursor, log_bytes },
        })
    }

    /// Takes the next group; says whether there is one.
    fn read_group(&mut self) -> Result<bool, LogError> {
        let Some((position, bytes)) = self.reader.next()? else { return Ok(false) };
        let records = group::decode(bytes).map_err(|error| {
            LogError::Visit(format!("the group at position {position} does not decode: {error}"))
        })?;
        self.group_bytes = bytes.len() as u64;
        if position > self.cursor.next.position {
            self.cursor.next = Place::begin(position);
        }
        // Those before were taken by an earlier run.
        self.group = records.into_iter().skip(self.cursor.next.index).collect();
        Ok(true)
    }
}

/// A cursor at what the log has. One that was put beside an older log, as a copy may be, would wait until the log has come to it and miss
/// all that it gets until then.
pub(super) fn within(log: &Arc<dyn Log>, cursor: Cursor) -> Cursor {
    let (first, end) = (Place::begin(log.first()), Place::begin(log.next()));
    let next = if cursor.next > end { end } else { cursor.next.max(first) };
    let gap_from =
        if next == cursor.next { cursor.gap_from } else { Some(cursor.gap_from.unwrap_or(cursor.next)) };
    Cursor { next, gap_from }
}

/// The place behind the groups from `from` on that have so many bytes together, and how many they have.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn skip(log: &Arc<dyn Log>, from: Position, bytes: u64) -> Result<(Place, u64), LogError> {
    let (mut reader, mut behind, mut skipped) = (log.reader(from)?, from, 0);
    while skipped < bytes {
        let Some((position, group)) = reader.next()? else { break };
        skipped += group.len() as u64;
        behind = position.next();
    }
    Ok((Place::begin(behind), skipped))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_store::{Log, MemoryLog, Position, Record, group, testing};
    use serde_json::{Value, json};

    use super::{Cursor, EVENTS_MAX, Feed, Next, skip, within};
    use crate::outbox::event::Filter;
    use crate::outbox::place::Place;

    /// A log with so many groups of so many messages.
    fn log(groups: u64, messages: u64) -> Arc<dyn Log> {
        let log = MemoryLog::new();
        for first in 0..groups {
            let records: Vec<_> =
                (0..messages).map(|n| testing::record("room", first * messages + n + 1, n)).collect();
            log.append(&group_of(&records)).unwrap();
            log.flush().unwrap();
        }
        Arc::new(log)
    }

    fn group_of(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        group::encode(records, &mut bytes);
        bytes
    }

    fn begin(position: u64) -> Cursor {
        Cursor { next: Place::begin(Position(position)), gap_from: None }
    }

    fn ids(body: &[u8]) -> Vec<String> {
        let body: Value = serde_json::from_slice(body).unwrap();
        body["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn all(log: &Arc<dyn Log>, mut cursor: Cursor, anew: bool) -> Vec<String> {
        let filter = || Filter::new(Vec::new(), Vec::new());
        let mut feed = Feed::new(log, filter(), cursor).unwrap();
        let mut found = Vec::new();
        while let Next::Batch(batch) = feed.next().unwrap() {
            assert!(batch.count() <= EVENTS_MAX);
            found.extend(ids(&batch.body(&[])));
            cursor = batch.end;
            if anew {
                feed = Feed::new(log, filter(), cursor).unwrap();
            }
        }
        found
    }

    #[test]
    fn every_event_comes_once_in_order_also_from_within_a_group() {
        let log = log(4, 400);
        let expected: Vec<String> =
            (1..=4).flat_map(|position| (0..400).map(move |index| format!("{position}:{index}"))).collect();
        assert_eq!(all(&log, begin(1), false), expected);
        // 500 are not whole groups.
        assert_eq!(all(&log, begin(1), true), expected);
        assert_eq!(all(&log, begin(3), false), expected[800..]);
        assert_eq!(all(&log, begin(5), false), Vec::<String>::new());
    }

    #[test]
    fn a_cursor_beyond_the_log_begins_at_its_end_with_a_gap() {
        let log = log(2, 1);
        assert_eq!(within(&log, begin(3)), begin(3), "the end itself");
        for beyond in [Place { position: Position(3), index: 1 }, Place::begin(Position(9))] {
            let cursor = Cursor { next: beyond, gap_from: None };
            let mut feed = Feed::new(&log, Filter::new(Vec::new(), Vec::new()), cursor).unwrap();
            let group = group_of(&[testing::record("room", 3, 3)]);
            let position = log.append(&group).unwrap();
            log.flush().unwrap();
            let Next::Batch(batch) = feed.next().unwrap() else { panic!("a gap and an event") };
            let expected = [format!("gap:{beyond}-{position}:0"), format!("{position}:0")];
            assert_eq!(ids(&batch.body(&[])), expected);
            assert_eq!(batch.end, begin(position.0 + 1));
        }
    }

    #[test]
    fn what_is_absent_keeps_its_id_and_loses_all_that_it_says() {
        let cursor = Cursor { gap_from: Some(Place::begin(Position(0))), ..begin(1) };
        let mut feed = Feed::new(&log(1, 3), Filter::new(Vec::new(), Vec::new()), cursor).unwrap();
        let Next::Batch(batch) = feed.next().unwrap() else { panic!("there are events") };
        let told = |are_absent: &[bool]| -> Vec<Value> {
            let body: Value = serde_json::from_slice(&batch.body(are_absent)).unwrap();
            body["events"].as_array().unwrap().clone()
        };
        let (whole, judged) = (told(&[false; 3]), told(&[false, true, false]));
        assert_eq!(batch.records.len(), 3);
        for (at, (before, event)) in whole.iter().zip(&judged).enumerate() {
            assert_eq!(before["id"], event["id"]);
            if at == 2 {
                let expected = json!({ "id": "1:1", "type": "message", "conversation": "room", "event": null, "absent": true });
                assert_eq!(event, &expected, "behind the gap it is the second one");
            } else {
                assert_eq!(before, event);
            }
        }
        assert!(
            told(&[]).iter().skip(1).all(|event| event["absent"] == json!(true)),
            "what nobody has judged"
        );
    }

    #[test]
    fn what_nobody_wants_is_passed_and_a_gap_is_told_first() {
        let log = log(2, 3);
        let nobody = Filter::new(vec!["online".to_owned()], Vec::new());
        let mut feed = Feed::new(&log, nobody, begin(1)).unwrap();
        assert!(matches!(feed.next().unwrap(), Next::Passed { end, .. } if end == begin(3)));
        assert!(matches!(feed.next().unwrap(), Next::End));
        let (behind, skipped) = skip(&log, Position(1), 1).unwrap();
        assert!(behind == Place::begin(Position(2)) && skipped > 1);
        let cursor = Cursor { next: behind, gap_from: Some(Place { position: Position(1), index: 1 }) };
        assert_eq!(all(&log, cursor, false), ["gap:1:1-2:0", "2:0", "2:1", "2:2"]);
    }
}
