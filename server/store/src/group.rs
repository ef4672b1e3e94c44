//! The encoding of a group of records, little endian: `u32` count, then per record
//!
//! - kind, flags, length of the conversation and of the sender, `u8` each; length of the content `u32`; time
//!   `u64`;
//! - seq `u64`, unless it is a notice;
//! - origin time `u64`, if a flag says so;
//! - n `u64` and producer, 16 bytes, if a flag says so;
//! - when it expires `u64`, offset `u64` and class `u8`, each if a flag says so;
//! - a flag of its own says that it ends its class's window;
//! - what it erases, if a flag says so: `u32` count and seqs `u64`;
//! - conversation, sender and content;
//! - registers, if a flag says so: `u32` count, then per register length of the key `u8`, 1 and the value's
//!   length `u32` or 0 for none `u8`, key and value.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};

use crate::bytes_reader::Reader;
use crate::class::Class;
use crate::key::ProducerKey;
use crate::record::{
    Content, FLAG_CLASS, FLAG_ENDS_WINDOW, FLAG_ERASES, FLAG_EXPIRES, FLAG_ID, FLAG_OFFSET, FLAG_ORIGIN_TIME,
    FLAG_REGISTERS, KIND_CHANGE, KIND_MESSAGE, KIND_NOTICE, MessageId, Record, Register,
};

/// Why bytes are no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field, or a text is no valid one.
    #[error("record {index} of the group is cut off or malformed")]
    Malformed {
        /// Which record, from 0.
        index: u32,
    },
    /// A record of a kind that this version does not know.
    #[error(
        "record {index} of the group is of kind {kind}, which this version does not know; run the version that wrote it"
    )]
    UnknownKind {
        /// Which record, from 0.
        index: u32,
        /// Its kind.
        kind: u8,
    },
    /// There are bytes behind the last record.
    #[error("{bytes} bytes follow the last record of the group")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Bytes of the number of records.
const COUNT_BYTES: usize = size_of::<u32>();

/// Appends the encoding of a group.
///
/// # Panics
/// When a content, a value or a count is 4 GiB or more, which the wire's limits exclude, or a register's key
/// is empty or longer than [`REGISTER_KEY_BYTES_MAX`](crate::REGISTER_KEY_BYTES_MAX).
pub fn encode(records: &[Record], out: &mut Vec<u8>) {
    out.extend(len_u32(records.len()).to_le_bytes());
    encode_records(records, out);
}

/// Adds records to a group that [`encode`] began in an empty buffer.
///
/// # Panics
/// As of [`encode`], and when no group was begun there.
pub fn encode_more(records: &[Record], group: &mut Vec<u8>) {
    let (count, _) = group.split_first_chunk_mut::<COUNT_BYTES>().expect("a group was begun");
    let before = u32::from_le_bytes(*count);
    *count = before.checked_add(len_u32(records.len())).expect("fewer than 4 Gi records").to_le_bytes();
    encode_records(records, group);
}

fn encode_records(records: &[Record], out: &mut Vec<u8>) {
    for record in records {
        let (conversation, sender) = (record.conversation.as_str(), record.sender.as_str());
        out.extend([kind(&record.content), flags(record), len_u8(conversation), len_u8(sender)]);
        out.extend(len_u32(record.content.len()).to_le_bytes());
        out.extend(record.time_ms.to_le_bytes());
        if record.is_event() {
            out.extend(record.seq.0.to_le_bytes());
        }
        if let Some(origin_time_ms) = record.origin_time_ms {
            out.extend(origin_time_ms.to_le_bytes());
        }
        if let Some(id) = record.id {
            out.extend(id.n.to_le_bytes());
            out.extend(id.producer.0);
        }
        encode_keeping(record, out);
        out.extend(conversation.as_bytes());
        out.extend(sender.as_bytes());
        out.extend(record.content.bytes());
        if !record.registers.is_empty() {
            encode_registers(&record.registers, out);
        }
    }
}

/// How long it is kept, and what it erases.
fn encode_keeping(record: &Record, out: &mut Vec<u8>) {
    for value in [record.expires_ms, record.offset].into_iter().filter(|value| *value != 0) {
        out.extend(value.to_le_bytes());
    }
    if record.class != Class::default() {
        out.push(record.class.number());
    }
    if !record.erases.is_empty() {
        out.extend(len_u32(record.erases.len()).to_le_bytes());
        record.erases.iter().for_each(|seq| out.extend(seq.0.to_le_bytes()));
    }
}

const fn kind(content: &Content) -> u8 {
    match content {
        Content::Message(_) => KIND_MESSAGE,
        Content::Change(_) => KIND_CHANGE,
        Content::Notice(_) => KIND_NOTICE,
    }
}

fn flags(record: &Record) -> u8 {
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    flag(record.origin_time_ms.is_some(), FLAG_ORIGIN_TIME)
        | flag(record.id.is_some(), FLAG_ID)
        | flag(!record.registers.is_empty(), FLAG_REGISTERS)
        | flag(record.expires_ms != 0, FLAG_EXPIRES)
        | flag(record.offset != 0, FLAG_OFFSET)
        | flag(record.class != Class::default(), FLAG_CLASS)
        | flag(!record.erases.is_empty(), FLAG_ERASES)
        | flag(record.ends_window, FLAG_ENDS_WINDOW)
}

fn encode_registers(registers: &[Register], out: &mut Vec<u8>) {
    out.extend(len_u32(registers.len()).to_le_bytes());
    for register in registers {
        assert!(register.is_valid(), "a register's key of {} bytes", register.key.len());
        out.push(u8::try_from(register.key.len()).unwrap_or_default());
        match &register.value {
            Some(value) => {
                out.push(1);
                out.extend(len_u32(value.len()).to_le_bytes());
                out.extend(&register.key);
                out.extend(value);
            }
            None => {
                out.push(0);
                out.extend(&register.key);
            }
        }
    }
}

/// Decodes a group.
///
/// # Errors
/// When the bytes are not exactly one group of records of known kinds.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let mut reader = Reader(bytes);
    let count = reader.u32().ok_or(DecodeError::Malformed { index: 0 })?;
    let mut records = Vec::new();
    for index in 0..count {
        let kind = reader.u8().ok_or(DecodeError::Malformed { index })?;
        let content = match kind {
            KIND_MESSAGE => Content::Message,
            KIND_CHANGE => Content::Change,
            KIND_NOTICE => Content::Notice,
            _ => return Err(DecodeError::UnknownKind { index, kind }),
        };
        records.push(decode_record(&mut reader, content).ok_or(DecodeError::Malformed { index })?);
    }
    if reader.0.is_empty() { Ok(records) } else { Err(DecodeError::Trailing { bytes: reader.0.len() }) }
}

fn decode_record(reader: &mut Reader<'_>, content: fn(Bytes) -> Content) -> Option<Record> {
    let [flags, conversation_len, sender_len] = reader.array()?;
    let has = |flag: u8| flags & flag != 0;
    let content_len = usize::try_from(reader.u32()?).ok()?;
    let time_ms = reader.u64()?;
    let is_notice = matches!(content(Bytes::new()), Content::Notice(_));
    let seq = if is_notice { Seq::ZERO } else { Seq(reader.u64()?) };
    let origin_time_ms = if has(FLAG_ORIGIN_TIME) { Some(reader.u64()?) } else { None };
    let id = if has(FLAG_ID) {
        Some(MessageId { n: reader.u64()?, producer: ProducerKey(reader.array()?) })
    } else {
        None
    };
    let expires_ms = if has(FLAG_EXPIRES) { reader.u64()? } else { 0 };
    let offset = if has(FLAG_OFFSET) { reader.u64()? } else { 0 };
    let class = if has(FLAG_CLASS) { Class::from_number(reader.u8()?)? } else { Class::default() };
    let mut erases = Vec::new();
    if has(FLAG_ERASES) {
        for _ in 0..reader.u32()? {
            erases.push(Seq(reader.u64()?));
        }
    }
    Some(Record {
        conversation: ConversationName::new(reader.text(conversation_len.into())?).ok()?,
        seq,
        time_ms,
        origin_time_ms,
        sender: UserId::new(reader.text(sender_len.into())?).ok()?,
        id,
        content: content(Bytes::copy_from_slice(reader.bytes(content_len)?)),
        expires_ms,
        offset,
        class,
        erases,
        ends_window: has(FLAG_ENDS_WINDOW),
        registers: if has(FLAG_REGISTERS) { decode_registers(reader)? } else { Vec::new() },
    })
}

fn decode_registers(reader: &mut Reader<'_>) -> Option<Vec<Register>> {
    let mut registers = Vec::new();
    for _ in 0..reader.u32()? {
        let key_len = reader.u8()?;
        let value_len = match reader.u8()? {
            0 => None,
            1 => Some(usize::try_from(reader.u32()?).ok()?),
            _ => return None,
        };
        let key = Bytes::copy_from_slice(reader.bytes(key_len.into())?);
        let value = match value_len {
            Some(len) => Some(Bytes::copy_from_slice(reader.bytes(len)?)),
            None => None,
        };
        let register = Register { key, value };
        if !register.is_valid() {
            return None;
        }
        registers.push(register);
    }
    Some(registers)
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("the wire's limits keep contents and groups below 4 GiB")
}

/// Identifiers have at most 128 bytes, which their types check.
fn len_u8(text: &str) -> u8 {
    u8::try_from(text.len()).expect("an identifier has at most 128 bytes")
}

#[cfg(test)]
mod tests {
    use super::{Class, Content, DecodeError, Record, Seq, decode, encode};
    use crate::testing::{change, notice, record, removed, set};

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(records, &mut bytes);
        bytes
    }

    #[test]
    fn a_group_survives_its_encoding() {
        let mut records = vec![
            record("a", 1, 1),
            record("b", 7, 2),
            change("a", 2, [set("title", "x"), removed("owner"), set("title", "")]),
            notice("a", []),
            notice("b", [removed("k"), set(&"k".repeat(255), &"v".repeat(70_000))]),
            record("a", 3, 3),
        ];
        records[1].origin_time_ms = Some(0);
        records[1].content = Content::Message(bytes::Bytes::new());
        records[2].origin_time_ms = Some(u64::MAX);
        records[3].id = records[0].id;
        records[3].ends_window = true;
        records[5].id = None;
        (records[0].expires_ms, records[0].class) = (u64::MAX, Class::of_age_s(1));
        (records[1].offset, records[1].erases) = (1, vec![Seq(1), Seq(6)]);
        assert_eq!(decode(&encoded(&records)), Ok(records));
        assert_eq!(decode(&encoded(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_group_does_not_decode() {
        for record in [record("a", 1, 1), change("a", 1, [set("k", "v"), removed("l")]), notice("a", [])] {
            let mut bytes = encoded(&[record]);
            for len in 0..bytes.len() {
                assert_eq!(decode(&bytes[..len]), Err(DecodeError::Malformed { index: 0 }), "cut at {len}");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(decode(&longer).is_err());
            bytes[4] = 9;
            assert_eq!(decode(&bytes), Err(DecodeError::UnknownKind { index: 0, kind: 9 }));
        }
        let mut longer = encoded(&[record("a", 1, 1)]);
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
    }

    #[test]
    #[should_panic(expected = "a register's key of 256 bytes")]
    fn a_key_that_is_too_long_is_not_encoded() {
        encoded(&[change("a", 1, [set(&"k".repeat(256), "v")])]);
    }

    #[test]
    #[should_panic(expected = "a register's key of 0 bytes")]
    fn a_key_without_bytes_is_not_encoded() {
        encoded(&[change("a", 1, [removed("")])]);
    }

    #[test]
    fn a_message_has_no_byte_for_what_it_has_not() {
        let message = record("a", 1, 1);
        let texts = 1 + message.sender.as_str().len() + message.content.len();
        assert_eq!(encoded(&[message]).len() - texts, 4 + 4 + 4 + 3 * 8 + 16);
    }
}
