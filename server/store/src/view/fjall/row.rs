//! The keys and values of the view's rows.
//!
//! A checksum stands first in every value and covers the row's key and the rest of the value, so a row that
//! comes back under another key is damaged too.

use quoth_protocol::{ConversationName, Seq};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::window::{ClassWindow, Held, Span, Window};
use crate::bytes_reader::Reader;
use crate::class::Class;
use crate::key::{ConversationKey, ProducerKey};
use crate::view::{Last, ProducerState};

/// Seqs of a block. A look-up reads this many messages at most; a producer has a row for each block it is in.
/// Smaller blocks cost more rows, and at 64 a producer that is alone adds a byte to each of its messages.
pub(super) const BLOCK_SEQS: u64 = 64;

/// Seqs of a conversation between two multiples of [`BLOCK_SEQS`], by which a producer's messages are found.
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

    /// Its last seq.
    pub(super) const fn last(self) -> Seq {
        Seq(self.0.saturating_mul(BLOCK_SEQS).saturating_add(BLOCK_SEQS - 1))
    }

    /// The block behind it.
    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Length of a run's key in bytes: window 4 in big endian, conversation 16, seq of its last message 8 in big
/// endian.
pub(super) const RUN_KEY_BYTES: usize = 28;

/// The key of the run whose last message has this seq. The run that holds a seq is the first one from its key
/// on.
pub(super) fn run_key(window: Window, conversation: ConversationKey, last: Seq) -> [u8; RUN_KEY_BYTES] {
    let mut key = [0; RUN_KEY_BYTES];
    key[..4].copy_from_slice(&window.0.to_be_bytes());
    key[4..20].copy_from_slice(&conversation.0);
    key[20..].copy_from_slice(&last.0.to_be_bytes());
    key
}

/// The parts of a run's key.
pub(super) fn split_run_key(key: &[u8]) -> Option<(Window, ConversationKey, Seq)> {
    let mut reader = Reader(key);
    let window = Window(u32::from_be_bytes(reader.array()?));
    let conversation = ConversationKey(reader.array()?);
    let seq = Seq(u64::from_be_bytes(reader.array()?));
    reader.0.is_empty().then_some((window, conversation, seq))
}

/// Length of a span's key in bytes: conversation 16, its first seq 8 in big endian.
pub(super) const SPAN_KEY_BYTES: usize = 24;

pub(super) fn span_key(conversation: ConversationKey, first: Seq) -> [u8; SPAN_KEY_BYTES] {
    let mut key = [0; SPAN_KEY_BYTES];
    key[..16].copy_from_slice(&conversation.0);
    key[16..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// A span's value: checksum `u64`, then
/// - of what is there: 0 and class `u8`, window `u32`, time and offset of its first event `u64` each;
/// - of what was reclaimed: 1 `u8`, time and offset of its first event, seq of its last one, when that was
///   stored and where it ended, `u64` each.
pub(super) fn encode_span(key: &[u8], held: Held) -> Vec<u8> {
    let mut value = vec![0; 8];
    match held {
        Held::There { window, time_ms, offset } => {
            value.extend([THERE, window.class.number()]);
            value.extend(window.number.0.to_le_bytes());
            value.extend([time_ms, offset].map(u64::to_le_bytes).as_flattened());
        }
        Held::Gone { time_ms, offset, last } => {
            value.push(GONE);
            let numbers = [time_ms, offset, last.seq.0, last.time_ms, last.end];
            value.extend(numbers.map(u64::to_le_bytes).as_flattened());
        }
    }
    seal(key, &mut value);
    value
}

const THERE: u8 = 0;
const GONE: u8 = 1;

pub(super) fn decode_span(key: &[u8], value: &[u8]) -> Option<Span> {
    let mut reader = Reader(key);
    let conversation = ConversationKey(reader.array()?);
    let first = Seq(u64::from_be_bytes(reader.array()?));
    let mut value = Reader(checked(key, value)?);
    let held = match value.u8()? {
        THERE => {
            let class = Class::from_stored(value.u8()?)?;
            let window = ClassWindow { class, number: Window(value.u32()?) };
            Held::There { window, time_ms: value.u64()?, offset: value.u64()? }
        }
        GONE => Held::Gone {
            time_ms: value.u64()?,
            offset: value.u64()?,
            last: Last { seq: Seq(value.u64()?), time_ms: value.u64()?, end: value.u64()? },
        },
        _ => return None,
    };
    (reader.0.is_empty() && value.0.is_empty()).then_some(Span { conversation, first, held })
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

/// A row of `conversations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: ConversationName,
    /// Whether it has events, and not registers alone.
    pub(super) has_events: bool,
}

/// A conversation's value: checksum `u64`, whether it has events `u8`, and its name.
pub(super) fn encode_name(key: &[u8], name: &ConversationName, has_events: bool) -> Vec<u8> {
    let mut value = vec![0; 8];
    value.push(has_events.into());
    value.extend(name.as_str().as_bytes());
    seal(key, &mut value);
    value
}

pub(super) fn decode_name(key: &[u8], value: &[u8]) -> Option<Named> {
    let (has_events, name) = checked(key, value)?.split_first()?;
    let name = ConversationName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some(Named { name, has_events: *has_events != 0 })
}

/// The key of a register's row: conversation 16 bytes, the register's key. So those of a conversation stand
/// in their order.
pub(super) fn register_key(conversation: ConversationKey, key: &[u8]) -> Vec<u8> {
    [&conversation.0, key].concat()
}

/// The conversation of a register's row, or of a span's, whatever its value is.
pub(super) fn conversation_of(row_key: &[u8]) -> Option<ConversationKey> {
    row_key.first_chunk().copied().map(ConversationKey)
}

/// The register's key in the key of its row.
pub(super) fn key_of_register(row_key: &[u8]) -> &[u8] {
    row_key.get(16..).unwrap_or_default()
}

/// A register's value: checksum `u64` and what it holds.
pub(super) fn encode_register(row_key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; 8];
    sealed.extend(value);
    seal(row_key, &mut sealed);
    sealed
}

fn checksum(key: &[u8], content: &[u8]) -> u64 {
    xxh3_64_with_seed(content, xxh3_64(key))
}

pub(super) fn seal(key: &[u8], value: &mut [u8]) {
    if let Some((place, content)) = value.split_first_chunk_mut::<8>() {
        *place = checksum(key, content).to_le_bytes();
    }
}

pub(super) fn checked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, content) = value.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*stored) == checksum(key, content)).then_some(content)
}
