//! Packs rows of messages on their way into a table: those that follow one another become one.
//!
//! Where people write, a group has one message of a conversation, and so have most rows. The engine's work is
//! for rows much more than for bytes, whenever they are written, merged or read.
//!
//! A packed row has the key of its last part, and the keys of the others are in no table. So a part must not
//! have taken the place of a row in an older table, which would come to light again. What could have is a row
//! of a group that is applied again, for which `flush.rs` cares, and one of which something was erased: such
//! rows stay as they are.

use std::iter::Peekable;

use ::fjall::LsmError;
use lsm_tree::InternalValue;

use super::row::{self, Block};
use super::run::{self, Message};

/// A packed row has so many bytes at most. Whoever wants one of its messages reads all of it, and whoever
/// erases one writes all of it again, which is in memory until the next flush. With 4 KiB it has some 16
/// messages of a usual length, and the row's share of what each of them costs is small. Rows of before may
/// have had another bound.
const PACKED_BYTES_MAX: usize = 4 * 1024;

/// Rows in the order of their keys, the newest of each key alone.
pub(super) struct Newest<I: Iterator>(Peekable<I>);

impl<I: Iterator> Newest<I> {
    /// Of rows in the engine's order: by their keys, and the newest first.
    pub(super) fn of(rows: I) -> Self {
        Self(rows.peekable())
    }
}

impl<I: Iterator<Item = Result<InternalValue, LsmError>>> Iterator for Newest<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let newest = self.0.next()?;
        if let Ok(newest) = &newest {
            let is_older = |row: &InternalValue| row.key.user_key == newest.key.user_key;
            while self.0.next_if(|row| row.as_ref().is_ok_and(is_older)).is_some() {}
        }
        Some(newest)
    }
}

/// Rows in the order of their keys, packed.
pub(super) struct Packed<I: Iterator>(Peekable<I>);

impl<I: Iterator> Packed<I> {
    /// Of rows in the order of their keys, of which each comes once.
    pub(super) fn of(rows: I) -> Self {
        Self(rows.peekable())
    }
}

impl<I: Iterator<Item = Result<InternalValue, LsmError>>> Iterator for Packed<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let mut last = match self.0.next()? {
            Ok(row) => row,
            failed => return Some(failed),
        };
        let (mut before, mut bytes) = (Vec::new(), last.value.len());
        while let Some(Ok(next)) = self.0.next_if(|next| {
            next.as_ref().is_ok_and(|next| {
                bytes + next.value.len() <= PACKED_BYTES_MAX
                    && goes_on(&last, next)
                    && (!before.is_empty() || parts(&last).is_some())
            })
        }) {
            bytes += next.value.len();
            before.push(std::mem::replace(&mut last, next));
        }
        Some(Ok(if before.is_empty() { last } else { packed(&before, last) }))
    }
}

/// Whether a row that may be packed goes on where another one ends, in the same window and block.
fn goes_on(last: &InternalValue, next: &InternalValue) -> bool {
    let place = |row: &InternalValue| {
        let (window, conversation, seq) = row::split_run_key(&row.key.user_key)?;
        Some((window, conversation, Block::of(seq), seq))
    };
    let (Some((window, conversation, block, seq)), Some((of_next, with_next, block_of_next, _))) =
        (place(last), place(next))
    else {
        return false;
    };
    (window, conversation, block) == (of_next, with_next, block_of_next)
        && parts(next).and_then(|messages| messages.first().map(|first| first.seq)) == Some(seq.next())
}

/// The messages of a row that may be packed. One that is damaged or was taken back is left to whoever reads
/// it; something absent says that the row may have taken the place of another one.
fn parts(row: &InternalValue) -> Option<Vec<Message<'_>>> {
    let (_, _, last) = row::split_run_key(&row.key.user_key)?;
    let messages = run::open(&row.key.user_key, last, &row.value).ok()?;
    (!messages.iter().any(Message::is_absent)).then_some(messages)
}

/// One row of several, which follow one another.
fn packed(before: &[InternalValue], last: InternalValue) -> InternalValue {
    let rows = before.iter().chain([&last]);
    let messages: Vec<_> = rows.flat_map(|row| parts(row).expect("it was looked at before")).collect();
    let value = run::encode(&last.key.user_key, &messages);
    InternalValue::new(last.key, value)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lsm_tree::{InternalValue, SeqNo, ValueType};
    use quoth_protocol::Seq;

    use super::super::run::Senders;
    use super::super::window::Window;
    use super::{Message, Newest, PACKED_BYTES_MAX, Packed, row, run};
    use crate::key::ConversationKey;
    use crate::record::{Content, Record};
    use crate::testing::{change, record};

    fn stored(window: u32, messages: &[Message<'_>], name: &str, last: u64, version: SeqNo) -> InternalValue {
        let key = ConversationKey::new(&record(name, 1, 1).conversation);
        let key = row::run_key(Window(window), key, Seq(last));
        let value = run::encode(&key, messages);
        InternalValue::from_components(key.to_vec(), value, version, ValueType::Value)
    }

    /// The row of these records, which are of one conversation.
    fn row_of(window: u32, records: &[Record]) -> InternalValue {
        let messages: Vec<_> = records.iter().map(Message::of).collect();
        let last = &records[records.len() - 1];
        stored(window, &messages, last.conversation.as_str(), last.seq.0, last.seq.0)
    }

    fn single(name: &str, seq: u64) -> InternalValue {
        row_of(0, &[record(name, seq, seq)])
    }

    fn packed(rows: &[InternalValue]) -> Vec<InternalValue> {
        Packed::of(rows.iter().cloned().map(Ok)).map(Result::unwrap).collect()
    }

    /// Of each row its last seq, and how many messages it has.
    fn shape(rows: &[InternalValue]) -> Vec<(u64, usize)> {
        let shape = |row: &InternalValue| {
            let (_, _, last) = row::split_run_key(&row.key.user_key).unwrap();
            (last.0, run::open(&row.key.user_key, last, &row.value).map_or(0, |messages| messages.len()))
        };
        rows.iter().map(shape).collect()
    }

    #[test]
    fn rows_that_follow_one_another_become_one_with_the_same_messages() {
        let mut records: Vec<_> = (60..=70).map(|seq| record("a", seq, seq)).collect();
        records[7] = change("a", 67, []);
        records[8].expires_ms = 9;
        records[9].origin_time_ms = Some(3);
        let mut offset = 500;
        for record in &mut records {
            (record.offset, offset) = (offset, offset + record.content.len() as u64);
        }
        // One of them has several.
        let rows = records[..5].chunks(1).chain([&records[5..8]]).chain(records[8..].chunks(1));
        let rows: Vec<_> = rows.map(|records| row_of(0, records)).collect();
        let packed = packed(&rows);
        assert_eq!(shape(&packed), [(63, 4), (70, 7)], "by block");
        let name = &records[0].conversation;
        let mut read = Vec::new();
        for row in &packed {
            let (_, _, last) = row::split_run_key(&row.key.user_key).unwrap();
            let value = Bytes::copy_from_slice(&row.value);
            let messages = run::open(&row.key.user_key, last, &value).unwrap().into_iter();
            read.extend(messages.map(|it| it.to_record(name, &value, &mut Senders::default()).unwrap()));
        }
        assert_eq!(read, records);
        assert_eq!(packed[1].key.seqno, 70, "of its last part");
    }

    #[test]
    fn what_does_not_follow_stays_apart() {
        let (one, two) = (single("a", 1), single("a", 2));
        assert_eq!(shape(&packed(&[one.clone(), two.clone()])), [(2, 2)]);
        assert_eq!(shape(&packed(&[one.clone(), single("a", 3)])), [(1, 1), (3, 1)], "a hole");
        assert_eq!(shape(&packed(&[one.clone(), single("b", 2)])), [(1, 1), (2, 1)], "another one's");
        let elsewhere = row_of(1, &[record("a", 2, 2)]);
        assert_eq!(shape(&packed(&[one.clone(), elsewhere])), [(1, 1), (2, 1)], "another window's");
        let mut damaged = two.clone();
        damaged.value = "damaged".into();
        for (name, rows) in [("first", [damaged.clone(), single("a", 3)]), ("second", [one.clone(), damaged])]
        {
            assert_eq!(packed(&rows).len(), 2, "the {name} one is damaged");
        }
        let taken_back = InternalValue::new_tombstone(two.key.user_key, 7);
        let rows = packed(&[one, taken_back, single("a", 3)]);
        assert_eq!(rows.iter().map(InternalValue::is_tombstone).collect::<Vec<_>>(), [false, true, false]);
    }

    /// It has taken the place of another row, which may be in a table.
    #[test]
    fn what_has_something_absent_stays_as_it_is() {
        let records = [record("a", 2, 2), record("a", 3, 3)];
        let messages = [Message::of(&records[0]), Message::of(&records[1]).erased()];
        let erased = stored(0, &messages, "a", 3, 9);
        let rows = [single("a", 1), erased, single("a", 4), single("a", 5)];
        assert_eq!(shape(&packed(&rows)), [(1, 1), (3, 2), (5, 2)]);
    }

    #[test]
    fn a_packed_row_has_a_bound() {
        let long = |seq| {
            let content = Content::Message(vec![b'x'; 1_000].into());
            row_of(0, &[Record { content, ..record("a", seq, seq) }])
        };
        let rows: Vec<_> = (1..=9).map(long).collect();
        let packed = packed(&rows);
        assert_eq!(shape(&packed), [(3, 3), (6, 3), (9, 3)]);
        assert!(packed.iter().all(|row| row.value.len() <= PACKED_BYTES_MAX));
    }

    #[test]
    fn the_newest_of_a_key_counts() {
        let version = |seq: u64, text: &str, version| {
            let content = Content::Message(text.to_owned().into());
            let record = Record { content, ..record("a", seq, seq) };
            stored(0, &[Message::of(&record)], "a", seq, version)
        };
        let rows = [version(1, "x", 4), version(2, "new", 9), version(2, "old", 2), version(3, "y", 5)];
        let newest: Vec<_> = Newest::of(rows.iter().cloned().map(Ok)).map(Result::unwrap).collect();
        assert_eq!(newest.iter().map(|row| row.key.seqno).collect::<Vec<_>>(), [4, 9, 5]);
        let packed = packed(&newest);
        assert_eq!(shape(&packed), [(3, 3)]);
        let has = |text: &str| packed[0].value.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("new") && !has("old"));
    }
}
