//! Finds messages by their id.
//!
//! Within a conversation a producer's n only grows with seq. So its rows, one for each block of seqs that it
//! has messages in, grow in n too: a binary search over the blocks leads to the one that can hold an n, and
//! the messages of that block are read. However large the conversation is, a look-up reads few rows.
//!
//! The rows stay when messages are reclaimed, so a repeat of one of these is known for one still; only which
//! of the block's messages it was is not.

use std::ops::Range;

use ::fjall::{Guard, Readable as _};
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::Snapshot;
use super::read::hole;
use super::row::{self, Block};
use super::window::Piece;
use crate::key::{ConversationKey, ProducerKey};
use crate::record::MessageId;
use crate::view::{Found, ProducerState, ViewError};

/// What is wrong with a row that its block's messages contradict.
pub(super) const NOT_LAST_IN_BLOCK: &str = "it is not that of the producer's last message in its block";

/// The rows of one producer in one conversation.
pub(super) struct ProducerRows<'a> {
    pub(super) view: &'a FjallView,
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) conversation: &'a ConversationName,
    pub(super) producer: ProducerKey,
}

impl ProducerRows<'_> {
    /// The producer's last message.
    pub(super) fn last(&self) -> Result<Option<ProducerState>, ViewError> {
        let rows = self.key(Block(0))..=self.key(Block(u64::MAX));
        let last = self.snapshot.range(&self.view.engine.producers, rows).next_back();
        last.map(|row| self.open(row)).transpose()
    }

    /// Its last message in a block.
    pub(super) fn last_in(&self, block: Block) -> Result<Option<ProducerState>, ViewError> {
        let key = self.key(block);
        let value = self
            .view
            .engine
            .database("read a producer from", self.snapshot.get(&self.view.engine.producers, key))?;
        value.map(|value| self.decode(&key, &value)).transpose()
    }

    /// Its message with this n.
    pub(super) fn find(&self, n: u64) -> Result<Option<Found>, ViewError> {
        let Some(mut row) = self.last()?.filter(|last| n <= last.n) else {
            return Ok(None);
        };
        // The first row whose n is not below the wanted one is `row`, or it is in these blocks.
        let mut blocks = Block(0)..Block::of(row.seq);
        while blocks.start < blocks.end {
            let middle = Block(blocks.start.0.midpoint(blocks.end.0));
            match self.first_in(middle..blocks.end)? {
                Some(first) if first.n < n => blocks.start = Block::of(first.seq).next(),
                first => {
                    row = first.unwrap_or(row);
                    blocks.end = middle;
                }
            }
        }
        self.find_before(row, n)
    }

    /// The first row in these blocks.
    fn first_in(&self, blocks: Range<Block>) -> Result<Option<ProducerState>, ViewError> {
        let rows = self.key(blocks.start)..self.key(blocks.end);
        let first = self.snapshot.range(&self.view.engine.producers, rows).next();
        first.map(|row| self.open(row)).transpose()
    }

    /// The message with this n, if it is in the block of the producer's message `last` and not behind that.
    fn find_before(&self, last: ProducerState, n: u64) -> Result<Option<Found>, ViewError> {
        let block = Block::of(last.seq);
        let mut expected = last.seq;
        // The first one that is not before it, and whether one that is gone may be it.
        let (mut later, mut may_be) = (last.seq, None);
        let key = ConversationKey::new(self.conversation);
        for piece in self.view.pieces_until(self.snapshot, key, last.seq) {
            let run = match piece? {
                Piece::Run(run) => run,
                // It may have been there: which one it was is gone.
                Piece::Gone { first, last: gone } if gone.seq >= block.first() => {
                    may_be.get_or_insert(Found { seq: later, time_ms: gone.time_ms });
                    expected = Seq(first.seq.0.saturating_sub(1));
                    continue;
                }
                Piece::Gone { .. } => break,
            };
            if run.last < block.first() {
                break;
            }
            let messages = run.messages(self.conversation)?.into_iter().rev();
            for message in messages.filter(|message| message.seq <= last.seq) {
                if message.seq != expected {
                    return Err(hole(self.conversation, expected, Some(message.seq)));
                }
                if message.is_bare() {
                    may_be.get_or_insert_with(|| Found { seq: later, time_ms: message.place().time_ms });
                } else if message.seq == last.seq && message.id != Some(self.id(last.n)) {
                    return Err(self.damaged(NOT_LAST_IN_BLOCK));
                }
                if let Some(id) = message.id.filter(|id| id.producer == self.producer) {
                    if id.n <= n {
                        let found = Found { seq: message.seq, time_ms: message.time_ms };
                        return Ok(if id.n == n { Some(found) } else { may_be });
                    }
                    (later, may_be) = (message.seq, None);
                }
                expected = Seq(expected.0.saturating_sub(1));
            }
        }
        if expected >= block.first() { Err(hole(self.conversation, expected, None)) } else { Ok(may_be) }
    }

    const fn id(&self, n: u64) -> MessageId {
        MessageId { producer: self.producer, n }
    }

    fn key(&self, block: Block) -> [u8; row::PRODUCER_KEY_BYTES] {
        row::producer_key(ConversationKey::new(self.conversation), self.producer, block)
    }

    fn open(&self, row: Guard) -> Result<ProducerState, ViewError> {
        let (key, value) = self.view.engine.database("read a producer from", row.into_inner())?;
        self.decode(&key, &value)
    }

    fn decode(&self, key: &[u8], value: &[u8]) -> Result<ProducerState, ViewError> {
        row::decode_producer(key, value).ok_or_else(|| self.damaged("its checksum does not match"))
    }

    pub(super) fn damaged(&self, what: &'static str) -> ViewError {
        let (conversation, producer) = (self.conversation.clone(), self.producer);
        ViewError::DamagedProducer { conversation, producer, what }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;

    use super::super::window::Window;
    use super::row::{self, Block};
    use super::{ConversationKey, FjallView};
    use crate::class::Class;
    use crate::testing::{apply_one_by_one, found, record};
    use crate::view::{View, ViewError};

    #[test]
    fn a_hole_in_the_block_of_a_looked_up_message_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let records: Vec<_> = (1..=200).map(|seq| record("a", seq, seq)).collect();
        apply_one_by_one(&view, &records);
        let (name, producer) = (&records[0].conversation, records[0].id.unwrap().producer);
        for seq in [1, 64, 100, 127] {
            let key = row::run_key(Window(0), ConversationKey::new(name), Seq(seq));
            let value = view.engine.messages(Class::default()).get(key).unwrap().unwrap();
            view.engine.messages(Class::default()).remove(key).unwrap();
            let error = view.find(name, producer, seq).unwrap_err();
            assert!(
                matches!(error, ViewError::Hole { expected, .. } if expected == Seq(seq)),
                "{seq}: {error}"
            );
            view.engine.messages(Class::default()).insert(key, value).unwrap();
        }
    }

    #[test]
    fn a_look_up_reads_a_row_for_each_halving_and_the_messages_of_one_block() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let records: Vec<_> = (1..64 * 64).map(|seq| record("a", seq, seq * 3)).collect();
        apply_one_by_one(&view, &records);
        let (name, producer) = (&records[0].conversation, records[0].id.unwrap().producer);
        let (key, block) = (ConversationKey::new(name), Block::of(Seq(700)));
        let (wanted, others): (Vec<_>, Vec<_>) =
            records.iter().partition(|record| Block::of(record.seq) == block);
        for other in others {
            view.engine
                .messages(Class::default())
                .insert(row::run_key(Window(0), key, other.seq), "damaged")
                .unwrap();
        }
        for wanted in wanted {
            let n = wanted.id.unwrap().n;
            assert_eq!(view.find(name, producer, n).unwrap(), Some(found(wanted)));
            assert_eq!(view.find(name, producer, n - 1).unwrap(), None);
        }
        // The rows that a look-up reads are those whose damage it meets.
        let is_read = |number: &u64| {
            let key = row::producer_key(key, producer, Block(*number));
            let value = view.engine.producers.get(key).unwrap().unwrap();
            view.engine.producers.insert(key, "damaged").unwrap();
            let found = view.find(name, producer, 3 * 700);
            view.engine.producers.insert(key, value).unwrap();
            found.is_err()
        };
        let read = (0..64).filter(is_read).count();
        assert!(read <= 8, "{read} of 64 rows were read");
    }
}
