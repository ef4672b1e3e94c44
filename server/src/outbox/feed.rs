//! Reads the log from a place on and makes batches of events.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quoth_store::{Log, LogError, LogReader, Position, Record, group};
use serde_json::Value;

use super::event::{Filter, absent};
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
    /// Behind damage nothing whole has come yet, which was said.
    is_stuck: bool,
}

impl Feed {
    /// Reads from a cursor on; from the first group on that is left, with a gap, when what it stands at was
    /// freed, and from the next one on when the log ends before the cursor.
    pub(super) fn new(log: &Arc<dyn Log>, filter: Filter, cursor: Cursor) -> Result<Self, LogError> {
        let cursor = within(log, cursor);
        let reader = log.reader(cursor.next.position)?;
        Ok(Self { reader, filter, cursor, group: VecDeque::new(), group_bytes: 0, is_stuck: false })
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
            bytes += take(&self.filter.gap(from, self.cursor.next), None, &mut events);
        }
        let start = self.cursor.next;
        while events.len() < EVENTS_MAX && bytes < BATCH_BYTES_MAX && log_bytes < READ_BYTES_MAX {
            if self.group.is_empty() && !self.read_group()? {
                break;
            }
            if let Some(from) = self.cursor.gap_from.take() {
                bytes += take(&self.filter.gap(from, self.cursor.next), None, &mut events);
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

    /// Takes the next group; says whether there is one. What is damaged before it is a gap.
    fn read_group(&mut self) -> Result<bool, LogError> {
        loop {
            let read = self.reader.next().map(|read| {
                read.map(|(position, bytes)| (position, bytes.len() as u64, group::decode(bytes)))
            });
            match read {
                Ok(None) => return Ok(false),
                Ok(Some((position, bytes, records))) => {
                    self.group_bytes += bytes;
                    let Ok(records) = records else {
                        self.lose(position.next(), &"a group does not decode");
                        continue;
                    };
                    if position > self.cursor.next.position {
                        self.cursor.next = Place::begin(position);
                    }
                    // Those before were taken by an earlier run.
                    self.group = records.into_iter().skip(self.cursor.next.index).collect();
                    return Ok(true);
                }
                Err(error @ LogError::Corrupt { .. }) => match self.reader.skip_damage()? {
                    Some(position) => self.lose(position, &error),
                    None => {
                        if !std::mem::replace(&mut self.is_stuck, true) {
                            tracing::error!(%error, "events wait for what comes behind damage of the log");
                        }
                        return Ok(false);
                    }
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// What lies before a position cannot be read.
    fn lose(&mut self, before: Position, error: &dyn std::fmt::Display) {
        self.is_stuck = false;
        let Cursor { next, gap_from } = self.cursor;
        if before > next.position {
            tracing::error!(%error, from = %next, before = %Place::begin(before), "events are lost: the backend is told of the gap");
            self.cursor = Cursor { next: Place::begin(before), gap_from: Some(gap_from.unwrap_or(next)) };
        }
    }
}

/// A cursor at what the log has. One that was put beside an older log, as a copy may be, would wait until the
/// log has come to it and miss all that it gets until then.
pub(super) fn within(log: &Arc<dyn Log>, cursor: Cursor) -> Cursor {
    let (first, end) = (Place::begin(log.first()), Place::begin(log.next()));
    let next = if cursor.next > end { end } else { cursor.next.max(first) };
    let gap_from =
        if next == cursor.next { cursor.gap_from } else { Some(cursor.gap_from.unwrap_or(cursor.next)) };
    Cursor { next, gap_from }
}

/// Reads over groups, to know how many bytes they have.
#[derive(Debug)]
pub(super) struct Skip {
    reader: Box<dyn LogReader>,
    /// The place behind them.
    pub(super) behind: Place,
    /// How many bytes they have together.
    pub(super) bytes: u64,
}

impl Skip {
    pub(super) fn new(log: &Arc<dyn Log>, from: Position) -> Result<Self, LogError> {
        Ok(Self { reader: log.reader(from)?, behind: Place::begin(from), bytes: 0 })
    }

    /// Reads over some more, until they have so many bytes or there is nothing more; says whether that is so.
    ///
    /// # Errors
    /// When the log cannot be read. What is damaged is no error: it is read over too.
    pub(super) fn on(&mut self, bytes: u64) -> Result<bool, LogError> {
        let pause = self.bytes.saturating_add(READ_BYTES_MAX);
        while self.bytes < bytes {
            if self.bytes >= pause {
                return Ok(false);
            }
            match self.reader.next() {
                Ok(None) => break,
                Ok(Some((position, group))) => {
                    self.bytes += group.len() as u64;
                    self.behind = Place::begin(position.next());
                }
                Err(LogError::Corrupt { .. }) => match self.reader.skip_damage()? {
                    Some(position) => self.behind = Place::begin(position),
                    None => break,
                },
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_store::{Content, Log, MemoryLog, Position, Record, StoreId, group, testing};
    use serde_json::{Value, json};

    use super::{Cursor, EVENTS_MAX, Feed, Next, Skip, within};
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
            .map(|event| event["id"].as_str().unwrap().replace("00000000000001-", ""))
            .collect()
    }

    fn all(log: &Arc<dyn Log>, mut cursor: Cursor, anew: bool) -> Vec<String> {
        let filter = || Filter::new(StoreId::MEMORY, Vec::new(), Vec::new());
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

    /// Flips a bit of each of these texts in a log's files.
    fn damage(dir: &std::path::Path, texts: &[&str]) {
        for entry in std::fs::read_dir(dir.join("log")).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            for text in texts {
                if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
                    bytes[at] ^= 1;
                }
            }
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        }
    }

    #[test]
    fn what_is_damaged_is_a_gap_and_what_is_behind_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let options = quoth_store::Options { segment_bytes: 4096, ..quoth_store::Options::new(dir.path()) };
        let store = quoth_store::Store::open(options).unwrap();
        let append = |n: u64| {
            let text = format!("text {n:03} {}", "x".repeat(600));
            let content = Content::Message(text.into());
            store.log.append(&group_of(&[Record { content, ..testing::record("room", n, n) }])).unwrap();
            store.log.flush().unwrap();
        };
        (1..=40).for_each(append);
        let cursor = begin(store.log.first().0);
        // In the middle of a segment, two behind each other, and the last one of all.
        damage(dir.path(), &["text 003", "text 017", "text 018", "text 040"]);
        let mut expected: Vec<String> = (1..=39).map(|n| format!("{n}:0")).collect();
        for (first, before) in [(17, 19), (3, 4)] {
            let gap = format!("gap:{first}:0-{before}:0");
            expected.splice(first - 1..before - 1, [gap]);
        }
        assert_eq!(all(&store.log, cursor, false), expected);
        assert_eq!(all(&store.log, begin(17), false), expected[16..], "also when it begins there");
        let mut skip = Skip::new(&store.log, cursor.next.position).unwrap();
        assert!(skip.on(u64::MAX).unwrap());
        assert_eq!(skip.behind, Place::begin(Position(40)));
        assert!((36 * 600..40 * 700).contains(&skip.bytes), "{}", skip.bytes);
        // What comes behind the last one.
        append(41);
        expected.extend(["gap:40:0-41:0".to_owned(), "41:0".to_owned()]);
        assert_eq!(all(&store.log, cursor, false), expected);
    }

    #[test]
    fn what_does_not_decode_is_a_gap() {
        let log = MemoryLog::new();
        for n in 1..=3 {
            let group = if n == 2 { vec![0xFF; 20] } else { group_of(&[testing::record("room", n, n)]) };
            log.append(&group).unwrap();
            log.flush().unwrap();
        }
        let log: Arc<dyn Log> = Arc::new(log);
        assert_eq!(all(&log, begin(1), false), ["1:0", "gap:2:0-3:0", "3:0"]);
        assert_eq!(all(&log, begin(2), true), ["gap:2:0-3:0", "3:0"]);
    }

    #[test]
    fn a_cursor_beyond_the_log_begins_at_its_end_with_a_gap() {
        let log = log(2, 1);
        assert_eq!(within(&log, begin(3)), begin(3), "the end itself");
        for beyond in [Place { position: Position(3), index: 1 }, Place::begin(Position(9))] {
            let cursor = Cursor { next: beyond, gap_from: None };
            let mut feed =
                Feed::new(&log, Filter::new(StoreId::MEMORY, Vec::new(), Vec::new()), cursor).unwrap();
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
        let mut feed =
            Feed::new(&log(1, 3), Filter::new(StoreId::MEMORY, Vec::new(), Vec::new()), cursor).unwrap();
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
                let expected = json!({ "id": "00000000000001-1:1", "type": "message", "conversation": "room", "event": null, "absent": true });
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
        let nobody = Filter::new(StoreId::MEMORY, vec!["online".to_owned()], Vec::new());
        let mut feed = Feed::new(&log, nobody, begin(1)).unwrap();
        assert!(matches!(feed.next().unwrap(), Next::Passed { end, .. } if end == begin(3)));
        assert!(matches!(feed.next().unwrap(), Next::End));
        let mut skip = Skip::new(&log, Position(1)).unwrap();
        assert!(skip.on(1).unwrap() && skip.bytes > 1);
        let behind = skip.behind;
        assert_eq!(behind, Place::begin(Position(2)));
        let cursor = Cursor { next: behind, gap_from: Some(Place { position: Position(1), index: 1 }) };
        assert_eq!(all(&log, cursor, false), ["gap:1:1-2:0", "2:0", "2:1", "2:2"]);
    }
}
