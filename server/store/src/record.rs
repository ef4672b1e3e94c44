//! A record: one event as log and view hold it, and the encoding of a group of them.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};

use crate::bytes_reader::Reader;
use crate::key::ProducerKey;

/// One event as log and view hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The conversation.
    pub conversation: ConversationName,
    /// Its place in the conversation.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it was first said, in milliseconds since 1970, for imported messages.
    pub origin_time_ms: Option<u64>,
    /// Who published it.
    pub sender: UserId,
    /// First half of its message id.
    pub producer: ProducerKey,
    /// Second half of its message id.
    pub n: u64,
    /// The message, opaque to the store.
    pub body: Bytes,
}

/// Kind of an encoded record. Further kinds get further numbers; one that is not known here does not decode.
pub(crate) const KIND_MESSAGE: u8 = 0;

/// Flag of an encoded record: the origin time holds.
pub(crate) const FLAG_ORIGIN_TIME: u8 = 1;

/// The encoding of a group, little endian: `u32` count, then per record kind `u8`, flags `u8`, length of conversation
/// `u8` and sender `u8`, length of body `u32`, seq, time, origin time and n `u64` each, producer 16 bytes, and the texts
/// and the body behind.
pub mod group {
    use super::{
        Bytes, ConversationName, FLAG_ORIGIN_TIME, KIND_MESSAGE, ProducerKey, Reader, Record, Seq, UserId,
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
            "record {index} of the group is of kind {kind}, which this version does not know; run the version that \
             wrote it"
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

    /// Appends the encoding of a group.
    ///
    /// # Panics
    /// When a body or the count is 4 GiB or more, which the wire's limits exclude.
    pub fn encode(records: &[Record], out: &mut Vec<u8>) {
        out.extend(len_u32(records.len()).to_le_bytes());
        for record in records {
            let (conversation, sender) = (record.conversation.as_str(), record.sender.as_str());
            let flags = if record.origin_time_ms.is_some() { FLAG_ORIGIN_TIME } else { 0 };
            out.extend([KIND_MESSAGE, flags, len_u8(conversation), len_u8(sender)]);
            out.extend(len_u32(record.body.len()).to_le_bytes());
            out.extend(record.seq.0.to_le_bytes());
            out.extend(record.time_ms.to_le_bytes());
            out.extend(record.origin_time_ms.unwrap_or_default().to_le_bytes());
            out.extend(record.n.to_le_bytes());
            out.extend(record.producer.0);
            out.extend(conversation.as_bytes());
            out.extend(sender.as_bytes());
            out.extend(&record.body);
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
            if kind != KIND_MESSAGE {
                return Err(DecodeError::UnknownKind { index, kind });
            }
            records.push(decode_message(&mut reader).ok_or(DecodeError::Malformed { index })?);
        }
        if reader.0.is_empty() { Ok(records) } else { Err(DecodeError::Trailing { bytes: reader.0.len() }) }
    }

    fn decode_message(reader: &mut Reader<'_>) -> Option<Record> {
        let [flags, conversation_len, sender_len] = reader.array()?;
        let body_len = usize::try_from(reader.u32()?).ok()?;
        let seq = Seq(reader.u64()?);
        let time_ms = reader.u64()?;
        let origin_time_ms = reader.u64()?;
        let n = reader.u64()?;
        let producer = ProducerKey(reader.array()?);
        Some(Record {
            conversation: ConversationName::new(reader.text(conversation_len.into())?).ok()?,
            seq,
            time_ms,
            origin_time_ms: (flags & FLAG_ORIGIN_TIME != 0).then_some(origin_time_ms),
            sender: UserId::new(reader.text(sender_len.into())?).ok()?,
            producer,
            n,
            body: Bytes::copy_from_slice(reader.bytes(body_len)?),
        })
    }

    fn len_u32(len: usize) -> u32 {
        u32::try_from(len).expect("the wire's limits keep bodies and groups below 4 GiB")
    }

    /// Identifiers have at most 128 bytes, which their types check.
    fn len_u8(text: &str) -> u8 {
        u8::try_from(text.len()).expect("an identifier has at most 128 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::group::{DecodeError, decode, encode};
    use crate::testing::record;

    #[test]
    fn a_group_survives_its_encoding() {
        let mut records = vec![record("a", 1, 1), record("b", 7, 2)];
        records[1].origin_time_ms = Some(0);
        records[1].body = bytes::Bytes::new();
        let mut bytes = Vec::new();
        encode(&records, &mut bytes);
        assert_eq!(decode(&bytes), Ok(records));
        let mut none = Vec::new();
        encode(&[], &mut none);
        assert_eq!(decode(&none), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_group_does_not_decode() {
        let mut bytes = Vec::new();
        encode(&[record("a", 1, 1)], &mut bytes);
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Err(DecodeError::Malformed { index: 0 }), "cut at {len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
        bytes[4] = 9;
        assert_eq!(decode(&bytes), Err(DecodeError::UnknownKind { index: 0, kind: 9 }));
    }
}
