//! The keys and values of the view's rows.
//!
//! A checksum stands first in every value and covers the row's key and the rest of the value, so a row that comes back
//! under another key is damaged too.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::bytes_reader::Reader;
use crate::key::{ConversationKey, ProducerKey};
use crate::record::{FLAG_ORIGIN_TIME, KIND_MESSAGE, Record};
use crate::view::ProducerState;

/// Version of the values of message rows.
const FORMAT: u8 = 1;

/// Seqs of a block. A look-up reads this many messages at most; a producer has a row for each block it is in. Smaller
/// blocks cost more rows, and at 64 a producer that is alone adds a byte to each of its messages.
const BLOCK_SEQS: u64 = 64;

/// A run of consecutive seqs of a conversation, by which a producer's messages are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block(pub(super) u64);

impl Block {
    /// The block that a seq lies in.
    pub(super) const fn of(seq: Seq) -> Self {
        Self(seq.0 / BLOCK_SEQS)
    }

    /// Its first seq that a message can have.
    pub(super) const fn first(self) -> Seq {
        if self.0 == 0 { Seq(1) } else { Seq(self.0.saturating_mul(BLOCK_SEQS)) }
    }

    /// The block behind it.
    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Length of a message's key in bytes: conversation 16, seq 8 in big endian.
pub(super) const MESSAGE_KEY_BYTES: usize = 24;

pub(super) fn message_key(conversation: ConversationKey, seq: Seq) -> [u8; MESSAGE_KEY_BYTES] {
    let mut key = [0; MESSAGE_KEY_BYTES];
    key[..16].copy_from_slice(&conversation.0);
    key[16..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// The parts of a message's key.
pub(super) fn split_message_key(key: &[u8]) -> Option<(ConversationKey, Seq)> {
    let mut reader = Reader(key);
    let conversation = ConversationKey(reader.array()?);
    let seq = Seq(u64::from_be_bytes(reader.array()?));
    reader.0.is_empty().then_some((conversation, seq))
}

/// Length of the key of a producer's row in bytes: conversation 16, producer 16, block 8 in big endian.
pub(super) const PRODUCER_KEY_BYTES: usize = 40;

pub(super) fn producer_key(
    conversation: ConversationKey,
    producer: ProducerKey,
    block: Block,
) -> [u8; PRODUCER_KEY_BYTES] {
    let mut key = [0; PRODUCER_KEY_BYTES];
    key[..16].copy_from_slice(&conversation.0);
    key[16..32].copy_from_slice(&producer.0);
    key[32..].copy_from_slice(&block.0.to_be_bytes());
    key
}

/// The parts of the key of a producer's row.
pub(super) fn split_producer_key(key: &[u8]) -> Option<(ConversationKey, ProducerKey, Block)> {
    let mut reader = Reader(key);
    let (conversation, producer) = (ConversationKey(reader.array()?), ProducerKey(reader.array()?));
    let block = Block(u64::from_be_bytes(reader.array()?));
    reader.0.is_empty().then_some((conversation, producer, block))
}

/// A message's value: checksum `u64`, format, kind, flags and length of the sender `u8` each, time, origin time and n
/// `u64` each, producer 16 bytes, the sender, the body.
pub(super) fn encode_message(key: &[u8], record: &Record) -> Vec<u8> {
    let sender = record.sender.as_str();
    let flags = if record.origin_time_ms.is_some() { FLAG_ORIGIN_TIME } else { 0 };
    let mut value = Vec::with_capacity(52 + sender.len() + record.body.len());
    value.extend([0; 8]);
    // A user id has at most 64 bytes, which its type checks.
    value.extend([FORMAT, KIND_MESSAGE, flags, u8::try_from(sender.len()).unwrap_or(u8::MAX)]);
    for field in [record.time_ms, record.origin_time_ms.unwrap_or_default(), record.n] {
        value.extend(field.to_le_bytes());
    }
    value.extend(record.producer.0);
    value.extend(sender.as_bytes());
    value.extend(&record.body);
    seal(key, &mut value);
    value
}

/// What of a message's value is known without its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageHeader {
    flags: u8,
    sender_bytes: u8,
    time_ms: u64,
    origin_time_ms: u64,
    pub(super) n: u64,
    pub(super) producer: ProducerKey,
}

/// Checks a message's value and splits it into its header and its texts.
pub(super) fn open_message<'a>(
    key: &[u8],
    value: &'a [u8],
) -> Result<(MessageHeader, &'a [u8]), &'static str> {
    let content = checked(key, value).ok_or("its checksum does not match")?;
    let mut reader = Reader(content);
    let [format, kind, flags, sender_bytes] = reader.array().ok_or("it is too short")?;
    if format != FORMAT || kind != KIND_MESSAGE {
        return Err("its format or kind is unknown to this version");
    }
    let header = read_header(&mut reader, flags, sender_bytes).ok_or("it is too short")?;
    Ok((header, reader.0))
}

fn read_header(reader: &mut Reader<'_>, flags: u8, sender_bytes: u8) -> Option<MessageHeader> {
    Some(MessageHeader {
        flags,
        sender_bytes,
        time_ms: reader.u64()?,
        origin_time_ms: reader.u64()?,
        n: reader.u64()?,
        producer: ProducerKey(reader.array()?),
    })
}

impl MessageHeader {
    /// The record of this header and its texts.
    pub(super) fn into_record(
        self,
        conversation: &ConversationName,
        seq: Seq,
        texts: &[u8],
    ) -> Result<Record, &'static str> {
        let mut reader = Reader(texts);
        let sender = reader.text(self.sender_bytes.into()).and_then(|sender| UserId::new(sender).ok());
        Ok(Record {
            conversation: conversation.clone(),
            seq,
            time_ms: self.time_ms,
            origin_time_ms: (self.flags & FLAG_ORIGIN_TIME != 0).then_some(self.origin_time_ms),
            sender: sender.ok_or("its sender is no user id")?,
            producer: self.producer,
            n: self.n,
            body: Bytes::copy_from_slice(reader.0),
        })
    }
}

/// A producer's value: checksum, n and seq, `u64` each.
pub(super) fn encode_producer(key: &[u8], state: ProducerState) -> Vec<u8> {
    let mut value = vec![0; 8];
    value.extend(state.n.to_le_bytes());
    value.extend(state.seq.0.to_le_bytes());
    seal(key, &mut value);
    value
}

pub(super) fn decode_producer(key: &[u8], value: &[u8]) -> Option<ProducerState> {
    let mut reader = Reader(checked(key, value)?);
    let state = ProducerState { n: reader.u64()?, seq: Seq(reader.u64()?) };
    reader.0.is_empty().then_some(state)
}

/// A conversation's value: checksum `u64` and its name.
pub(super) fn encode_name(key: &[u8], name: &ConversationName) -> Vec<u8> {
    let mut value = vec![0; 8];
    value.extend(name.as_str().as_bytes());
    seal(key, &mut value);
    value
}

pub(super) fn decode_name(key: &[u8], value: &[u8]) -> Option<ConversationName> {
    ConversationName::new(std::str::from_utf8(checked(key, value)?).ok()?).ok()
}

fn checksum(key: &[u8], content: &[u8]) -> u64 {
    xxh3_64_with_seed(content, xxh3_64(key))
}

fn seal(key: &[u8], value: &mut [u8]) {
    if let Some((place, content)) = value.split_first_chunk_mut::<8>() {
        *place = checksum(key, content).to_le_bytes();
    }
}

fn checked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, content) = value.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*stored) == checksum(key, content)).then_some(content)
}
