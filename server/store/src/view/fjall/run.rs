//! Runs: the row of `messages` holds consecutive messages of one conversation.
//!
//! The engine's work is for rows much more than for bytes, and under load a group has several messages of
//! each conversation: one row for all of them is written and compacted at a fraction of the cost
//! (`figures store`), and a page is read from fewer rows. A run lies in one block, so whoever looks for a seq
//! knows where its run ends at the latest.
//!
//! How a group is cut into runs depends on the group alone. So a group that is applied again after a crash
//! gives the rows that may be there already, and runs never overlap. A flush makes one run of several that
//! follow one another; `flush.rs` says when it does not.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};

use super::row::{self, Block};
use crate::bytes_reader::Reader;
use crate::key::ProducerKey;
use crate::record::{
    Content, FLAG_EXPIRES, FLAG_ID, FLAG_OFFSET, FLAG_ORIGIN_TIME, KIND_ABSENT, KIND_CHANGE, KIND_MESSAGE,
    MessageId, Record,
};
use crate::view::{Last, Place, StoredContent, StoredEvent};

/// Version of the values of runs.
const FORMAT: u8 = 5;

/// A run that has so many bytes of contents takes no further message: who wants one message reads its whole
/// run. With another value a store that was not closed would cut groups in another way than before: the
/// folder's format has to change with it.
const RUN_BYTES_MAX: usize = 16 * 1024;

// A run's value counts its messages in a byte.
const _: () = assert!(row::BLOCK_SEQS <= u8::MAX as u64);

/// Cuts messages of one conversation, ascending and of one block, into runs.
pub(super) fn split<'a, 'r>(mut records: &'a [&'r Record]) -> impl Iterator<Item = &'a [&'r Record]> {
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        while let Some(record) = records.get(count)
            && bytes < RUN_BYTES_MAX
            && (count == 0 || record.seq == records[count - 1].seq.next())
        {
            bytes += record.content.len();
            count += 1;
        }
        let (run, rest) = records.split_at(count);
        records = rest;
        (count > 0).then_some(run)
    })
}

/// Cuts consecutive messages of one block, ascending, into runs.
pub(super) fn cut<'a, 'm>(mut messages: &'a [Message<'m>]) -> impl Iterator<Item = &'a [Message<'m>]> {
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        while let Some(message) = messages.get(count)
            && bytes < RUN_BYTES_MAX
        {
            bytes += message.content.len();
            count += 1;
        }
        let (run, rest) = messages.split_at(count);
        messages = rest;
        (count > 0).then_some(run)
    })
}

/// A run's value: checksum `u64`, format `u8`, number of messages `u8`, and per event kind, flags and length
/// of the sender `u8` each, length of the content `u32`, time `u64`, origin time `u64` if a flag says so, n
/// `u64` and producer 16 bytes if a flag says so, when it expires and its offset `u64`, each if a flag says
/// so, the sender, the content. Of what is absent there are no sender and no content, but its content's
/// length; and in place of the sender's length stands how many in a row that are absent and have no id this
/// tells of, of which time and offset are those of the first, the length is that of all, and the time of the
/// last `u64` is at the end if they are several.
pub(super) fn encode(key: &[u8], run: &[Message<'_>]) -> Vec<u8> {
    const FIXED_BYTES: usize = 47;
    let texts = run.iter().map(|message| message.sender.len() + message.content.len()).sum::<usize>();
    let mut value = Vec::with_capacity(10 + run.len() * FIXED_BYTES + texts);
    value.extend([0; 8]);
    // A block has fewer messages, and a user id at most 64 bytes, which its type checks.
    let short = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
    value.extend([FORMAT, short(run.len())]);
    let mut expected_offset = 0;
    for alike in run.chunk_by(|a, b| a.is_bare() && b.is_bare()) {
        let [message, rest @ ..] = alike else { continue };
        let last = rest.last().unwrap_or(message);
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let flags = flag(message.origin_time_ms.is_some(), FLAG_ORIGIN_TIME)
            | flag(message.id.is_some(), FLAG_ID)
            | flag(message.expires_ms != 0, FLAG_EXPIRES)
            | flag(message.offset != expected_offset, FLAG_OFFSET);
        let number = if message.is_absent() { alike.len() } else { message.sender.len() };
        value.extend([message.kind, flags, short(number)]);
        let bytes = u32::try_from(last.end().saturating_sub(message.offset)).unwrap_or(u32::MAX);
        value.extend(bytes.to_le_bytes());
        value.extend(message.time_ms.to_le_bytes());
        value.extend(message.origin_time_ms.map(u64::to_le_bytes).iter().flatten());
        if let Some(id) = message.id {
            value.extend(id.n.to_le_bytes());
            value.extend(id.producer.0);
        }
        if message.expires_ms != 0 {
            value.extend(message.expires_ms.to_le_bytes());
        }
        if message.offset != expected_offset {
            value.extend(message.offset.to_le_bytes());
        }
        if alike.len() > 1 {
            value.extend(last.time_ms.to_le_bytes());
        }
        expected_offset = message.offset.saturating_add(bytes.into());
        value.extend(message.sender);
        value.extend(message.content);
    }
    row::seal(key, &mut value);
    value
}

/// A message, or another event, in the bytes of its run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) seq: Seq,
    pub(super) id: Option<MessageId>,
    pub(super) time_ms: u64,
    origin_time_ms: Option<u64>,
    expires_ms: u64,
    offset: u64,
    sender: &'a [u8],
    kind: u8,
    /// How long the content is, or was.
    bytes: u32,
    content: &'a [u8],
}

/// Checks the value of the run that ends with seq `last`, and gives its messages, ascending.
pub(super) fn open<'a>(key: &[u8], last: Seq, value: &'a [u8]) -> Result<Vec<Message<'a>>, &'static str> {
    const TOO_SHORT: &str = "it is too short";
    let content = row::checked(key, value).ok_or("its checksum does not match")?;
    let mut reader = Reader(content);
    let [format, count] = reader.array().ok_or(TOO_SHORT)?;
    if format != FORMAT {
        return Err("its format is unknown to this version");
    }
    let before = last.0.checked_sub(count.into()).ok_or("it has more messages than there can be")?;
    let mut messages = Vec::with_capacity(count.into());
    let (mut offset, mut seq) = (0, before + 1);
    while seq <= last.0 {
        let head: [u8; 3] = reader.array().ok_or(TOO_SHORT)?;
        if ![KIND_MESSAGE, KIND_CHANGE, KIND_ABSENT].contains(&head[0]) {
            return Err("it has a message of a kind that is unknown to this version");
        }
        let message = read(&mut reader, Seq(seq), head, offset).ok_or(TOO_SHORT)?;
        offset = message.end();
        let more = if head[0] == KIND_ABSENT { u64::from(head[2]).saturating_sub(1) } else { 0 };
        if more > last.0 - seq {
            return Err("it tells of more messages than it has");
        }
        if more > 0 {
            // What all of them had is counted to the last one: a floor among them is never lower than it was.
            let last_ms = reader.u64().ok_or(TOO_SHORT)?;
            messages.extend((seq..seq + more).map(|seq| Message { seq: Seq(seq), bytes: 0, ..message }));
            messages.push(Message { seq: Seq(seq + more), time_ms: last_ms, ..message });
        } else {
            messages.push(message);
        }
        seq += more + 1;
    }
    let lies_in_a_block = count > 0 && Block::of(Seq(before + 1)) == Block::of(last);
    if reader.0.is_empty() && lies_in_a_block { Ok(messages) } else { Err("it is malformed") }
}

fn read<'a>(
    reader: &mut Reader<'a>,
    seq: Seq,
    [kind, flags, number]: [u8; 3],
    expected_offset: u64,
) -> Option<Message<'a>> {
    let has = |flag: u8| flags & flag != 0;
    let bytes = reader.u32()?;
    let is_absent = kind == KIND_ABSENT;
    let content_bytes = if is_absent { 0 } else { usize::try_from(bytes).ok()? };
    let sender_bytes = if is_absent { 0 } else { usize::from(number) };
    Some(Message {
        seq,
        kind,
        bytes,
        time_ms: reader.u64()?,
        origin_time_ms: if has(FLAG_ORIGIN_TIME) { Some(reader.u64()?) } else { None },
        id: if has(FLAG_ID) {
            Some(MessageId { n: reader.u64()?, producer: ProducerKey(reader.array()?) })
        } else {
            None
        },
        expires_ms: if has(FLAG_EXPIRES) { reader.u64()? } else { 0 },
        offset: if has(FLAG_OFFSET) { reader.u64()? } else { expected_offset },
        sender: reader.bytes(sender_bytes)?,
        content: reader.bytes(content_bytes)?,
    })
}

/// Of a message that cannot be told.
const NO_SENDER: &str = "a sender is no user id";

/// The senders of messages that are read one after the other: mostly it is that of the one before.
#[derive(Default)]
pub(super) struct Senders(Option<UserId>);

impl Senders {
    /// A sender by its bytes.
    fn of(&mut self, sender: &[u8]) -> Option<&UserId> {
        if self.0.as_ref().is_none_or(|last| last.as_str().as_bytes() != sender) {
            self.0 = UserId::new(std::str::from_utf8(sender).ok()?).ok();
        }
        self.0.as_ref()
    }
}

impl<'a> Message<'a> {
    /// What a record is in its run.
    pub(super) fn of(record: &'a Record) -> Self {
        Self {
            seq: record.seq,
            id: record.id,
            time_ms: record.time_ms,
            origin_time_ms: record.origin_time_ms,
            expires_ms: record.expires_ms,
            offset: record.offset,
            sender: record.sender.as_str().as_bytes(),
            kind: if matches!(record.content, Content::Message(_)) { KIND_MESSAGE } else { KIND_CHANGE },
            // The wire's limits keep contents below 4 GiB.
            bytes: u32::try_from(record.content.len()).unwrap_or(u32::MAX),
            content: record.content.bytes(),
        }
    }

    /// The same without what it said and who said it.
    pub(super) fn erased(self) -> Self {
        Self { sender: &[], content: &[], kind: KIND_ABSENT, origin_time_ms: None, expires_ms: 0, ..self }
    }

    /// The same without its id: a repeat of it is known as one of those that are gone.
    pub(super) fn gone(self) -> Self {
        Self { id: None, ..self.erased() }
    }

    /// Whether it is absent, and it is not known whose it was.
    pub(super) const fn is_bare(&self) -> bool {
        self.is_absent() && self.id.is_none()
    }

    /// When its own time to live is over; 0: it has none.
    pub(super) const fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// How long its content is; of several that are gone the last one has all of theirs.
    pub(super) fn content_bytes(&self) -> u64 {
        self.bytes.into()
    }

    /// Whether there is nothing of it to read.
    pub(super) const fn is_absent(&self) -> bool {
        self.kind == KIND_ABSENT
    }

    /// Where it lies in its conversation.
    pub(super) const fn place(&self) -> Place {
        Place { seq: self.seq, time_ms: self.time_ms, offset: self.offset }
    }

    /// As the last one of its conversation.
    pub(super) fn to_last(self) -> Last {
        Last { seq: self.seq, time_ms: self.time_ms, end: self.end() }
    }

    /// Bytes of all contents up to and including its own.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.into())
    }

    /// What happened, in its run's value; nothing of what is absent.
    pub(super) const fn content(&self) -> &'a [u8] {
        self.content
    }

    /// The message where it lies. There is none of what is absent.
    pub(super) fn to_event<'s>(self, senders: &'s mut Senders) -> Result<StoredEvent<'s>, &'static str>
    where
        'a: 's,
    {
        let Self { seq, time_ms, origin_time_ms, expires_ms, offset, .. } = self;
        let sender = senders.of(self.sender).ok_or(NO_SENDER)?;
        let content = match self.kind {
            KIND_MESSAGE => StoredContent::Message(self.content),
            _ => StoredContent::Kind(self.content),
        };
        Ok(StoredEvent { seq, time_ms, origin_time_ms, sender, content, expires_ms, offset })
    }

    /// The message as a record, whose content is a part of its run's value. There is none of what is absent.
    pub(super) fn to_record(
        self,
        conversation: &ConversationName,
        value: &Bytes,
        senders: &mut Senders,
    ) -> Result<Record, &'static str> {
        let sender = senders.of(self.sender).ok_or(NO_SENDER)?.clone();
        let content = value.slice_ref(self.content);
        let content = match self.kind {
            KIND_MESSAGE => Content::Message(content),
            _ => Content::Change(content),
        };
        let Self { origin_time_ms, id, expires_ms, offset, .. } = self;
        let event = Record::event(conversation.clone(), self.seq, self.time_ms, sender, content);
        Ok(Record { origin_time_ms, id, expires_ms, offset, ..event })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::{Seq, UserId};

    use super::super::row;
    use super::{Content, Message, RUN_BYTES_MAX, Record, Senders, encode, open, split};
    use crate::testing::{change, record};

    const KEY: &[u8] = b"key";

    fn runs(records: &[Record]) -> Vec<Vec<u64>> {
        let records: Vec<_> = records.iter().collect();
        split(&records).map(|run| run.iter().map(|record| record.seq.0).collect()).collect()
    }

    fn encoded(records: &[Record]) -> Vec<u8> {
        encode(KEY, &records.iter().map(Message::of).collect::<Vec<_>>())
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut value = vec![0; 8];
        value.extend(content);
        row::seal(KEY, &mut value);
        value
    }

    #[test]
    fn a_run_ends_at_a_hole_and_when_it_is_large() {
        let mut records: Vec<_> = [1, 2, 3, 5, 6, 7, 8].map(|seq| record("a", seq, seq)).to_vec();
        assert_eq!(runs(&records), [vec![1, 2, 3], vec![5, 6, 7, 8]]);
        records[1].content = Content::Message(vec![0; RUN_BYTES_MAX].into());
        assert_eq!(runs(&records), [vec![1, 2], vec![3], vec![5, 6, 7, 8]]);
        assert_eq!(runs(&[]), [[0; 0]; 0]);
    }

    #[test]
    fn a_run_survives_its_encoding() {
        let mut records: Vec<_> = (60..=63).map(|seq| record("a", seq, seq * 2)).collect();
        records[0].origin_time_ms = Some(0);
        records[1] = change("a", 61, []);
        records[2].content = Content::Message(Bytes::new());
        records[2..].iter_mut().for_each(|record| record.sender = UserId::new("bob").unwrap());
        records[0].expires_ms = 7;
        (records[0].offset, records[1].offset) = (100, 100 + records[0].content.len() as u64);
        let value = Bytes::from(encoded(&records));
        let (opened, mut senders) = (open(KEY, Seq(63), &value).unwrap(), Senders::default());
        let mut record =
            |message: Message<'_>| message.to_record(&records[0].conversation, &value, &mut senders).unwrap();
        let opened: Vec<_> = opened.into_iter().map(&mut record).collect();
        assert_eq!(opened, records);
        // What they say is not copied, and who says it is, once for several in a row.
        let is_part = |content: &Content| value.as_ptr_range().contains(&content.bytes().as_ptr());
        assert!(opened.iter().all(|record| record.content.is_empty() || is_part(&record.content)));
        let senders: Vec<_> = opened.iter().map(|record| record.sender.as_str().as_ptr()).collect();
        assert_eq!((senders[0], senders[2]), (senders[1], senders[3]));
    }

    #[test]
    fn of_what_is_erased_its_place_and_its_id_are_left() {
        let records = [record("a", 61, 1), record("a", 62, 2), record("a", 63, 3)];
        let value = encoded(&records);
        let mut messages = open(KEY, Seq(63), &value).unwrap();
        messages[1] = messages[1].erased();
        let erased = encode(KEY, &messages);
        let text = records[1].content.bytes();
        let has = |value: &[u8]| value.windows(text.len()).any(|window| window == &text[..]);
        assert!(has(&value) && !has(&erased));
        let again = open(KEY, Seq(63), &erased).unwrap();
        assert_eq!(again.iter().map(Message::is_absent).collect::<Vec<_>>(), [false, true, false]);
        for (before, after) in messages.iter().zip(&again) {
            assert_eq!((before.id, before.place(), before.end()), (after.id, after.place(), after.end()));
        }
    }

    #[test]
    fn those_that_are_gone_side_by_side_are_one() {
        let mut records: Vec<_> = (64..=127).map(|seq| record("a", seq, seq)).collect();
        let mut offset = 7;
        for record in &mut records {
            (record.offset, record.time_ms) = (offset, 1_000 + record.seq.0);
            offset = record.end();
        }
        let value = Bytes::from(encoded(&records));
        let messages = open(KEY, Seq(127), &value).unwrap();
        let is_live = |seq: u64| seq.is_multiple_of(10);
        let rest: Vec<_> = messages.iter().map(|m| if is_live(m.seq.0) { *m } else { m.gone() }).collect();
        let gone = Bytes::from(encode(KEY, &rest));
        let again = open(KEY, Seq(127), &gone).unwrap();
        assert_eq!(again.len(), 64);
        for (before, after) in messages.iter().zip(&again) {
            assert_eq!((before.seq, is_live(before.seq.0)), (after.seq, !after.is_absent()));
            if is_live(before.seq.0) {
                let record = |message: &Message<'_>, value| {
                    message.to_record(&records[0].conversation, value, &mut Senders::default())
                };
                assert_eq!(record(before, &value), record(after, &gone));
            }
            assert!(
                after.place().time_ms <= before.place().time_ms
                    && after.place().offset <= before.place().offset
            );
        }
        let ends = |messages: &[Message<'_>]| messages.last().map(|last| (last.place().time_ms, last.end()));
        assert_eq!(ends(&again), ends(&messages));
        assert_eq!(encode(KEY, &again), gone, "written again they are the same");
        let live = messages.iter().filter(|m| is_live(m.seq.0)).map(|m| m.content.len() + 60).sum::<usize>();
        assert!(gone.len() < live + 7 * 25, "{} bytes", gone.len());
        let one: Vec<_> = messages.iter().map(|message| message.gone()).collect();
        assert!(encode(KEY, &one).len() < 48);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let records = [record("a", 64, 1), record("a", 65, 2)];
        let value = encoded(&records);
        let content = &value[8..];
        let what = |content: &[u8], last| open(KEY, Seq(last), &sealed(content)).err();
        assert_eq!(what(content, 65), None);
        assert_eq!(open(b"another", Seq(65), &value).err(), Some("its checksum does not match"));
        assert_eq!(what(content, 64), Some("it is malformed"), "over the end of a block");
        assert_eq!(what(content, 1), Some("it has more messages than there can be"));
        for len in 0..content.len() {
            assert_eq!(what(&content[..len], 65), Some("it is too short"), "cut at {len}");
        }
        let longer = [content, &[0]].concat();
        assert_eq!(what(&longer, 65), Some("it is malformed"));
        assert_eq!(what(&[content[0], 0], 65), Some("it is malformed"), "no message");
        let changed = |at: usize| {
            let mut content = content.to_vec();
            content[at] ^= 0x10;
            what(&content, 65)
        };
        assert_eq!(changed(0), Some("its format is unknown to this version"));
        assert_eq!(changed(2), Some("it has a message of a kind that is unknown to this version"));
    }
}
