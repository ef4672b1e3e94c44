//! Folders with many messages, stored without a server as fast as it goes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quoth_store::testing::record;
use quoth_store::{Applier, Content, Options, Record, Store, group};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::client::BODY_BYTES;

/// What is stored: one message in each conversation in turn, from seq 1 on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Conversations, which are called as [`room`] has it.
    pub(super) conversations: u64,
    /// Messages of all of them together.
    pub(super) messages: u64,
    /// Messages of a group of the log, which is flushed on its own. With no more than there are
    /// conversations, each message is alone in its group, as where people write: rows have several only as
    /// far as the view packs them.
    pub(super) group_records: u64,
}

/// The name of a conversation, by its number from 0 on.
pub(super) fn room(number: u64) -> String {
    format!("room-{number}")
}

impl Stored {
    /// The groups, in their order.
    pub(super) fn groups(self) -> impl Iterator<Item = Vec<Record>> {
        self.groups_with(|_, record| Some(record))
    }

    /// The same with what `adapt` makes of each message, which is given the number of its conversation, and
    /// may leave out whole conversations.
    fn groups_with(self, adapt: impl Fn(u64, Record) -> Option<Record>) -> impl Iterator<Item = Vec<Record>> {
        let (texts, group_records) =
            (Texts::new(), usize::try_from(self.group_records).unwrap_or(usize::MAX));
        let mut records = (0..self.messages).filter_map(move |i| {
            let (number, seq) = (i % self.conversations, i / self.conversations + 1);
            let content = Content::Message(texts.body(i));
            adapt(number, Record { content, ..record(&room(number), seq, seq) })
        });
        std::iter::from_fn(move || {
            let group: Vec<Record> = records.by_ref().take(group_records).collect();
            (!group.is_empty()).then_some(group)
        })
    }

    /// Stores them in a folder, and closes it.
    pub(super) fn fill(self, dir: &Path) -> anyhow::Result<()> {
        self.fill_with(dir, |_, record| Some(record))
    }

    /// The same with what `adapt` makes of each message, which is given the number of its conversation, and
    /// may leave out whole conversations.
    pub(super) fn fill_with(
        self,
        dir: &Path,
        adapt: impl Fn(u64, Record) -> Option<Record>,
    ) -> anyhow::Result<()> {
        let store = Store::open(Options::new(dir))?;
        let on_failure = Box::new(|error| panic!("the view failed: {error}"));
        let applier = Applier::start(Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
        let mut encoded = Vec::new();
        for records in self.groups_with(adapt) {
            encoded.clear();
            group::encode(&records, &mut encoded);
            let position = store.log.append(&encoded)?;
            store.log.flush()?;
            applier.submit(position, records.into());
        }
        applier.stop();
        store.close()?;
        Ok(())
    }
}

/// Bodies that compress about as what people write does: words of a vocabulary, the first ones of which are
/// the most frequent.
struct Texts(Bytes);

impl Texts {
    const BYTES: usize = 1024 * 1024;
    const WORDS: usize = 4_000;

    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let words: Vec<String> = (0..Self::WORDS)
            .map(|_| {
                let letters = rng.random_range(2..10);
                (0..letters).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
            })
            .collect();
        let mut text = String::with_capacity(Self::BYTES + BODY_BYTES);
        while text.len() < Self::BYTES {
            let places = [(); 3].map(|()| rng.random_range(0..Self::WORDS));
            text.push_str(&words[places.into_iter().min().unwrap_or_default()]);
            text.push(' ');
        }
        Self(text.into())
    }

    /// The body of a message, by its number.
    fn body(&self, number: u64) -> Bytes {
        // A prime, so that bodies begin anywhere in the text before one comes again.
        let start = usize::try_from(number.wrapping_mul(7_919) % (Self::BYTES - BODY_BYTES) as u64);
        let start = start.unwrap_or_default();
        self.0.slice(start..start + BODY_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;

    use super::{BODY_BYTES, Stored, room};

    #[test]
    fn conversations_have_messages_in_turn_and_without_a_hole() {
        let stored = Stored { conversations: 3, messages: 10, group_records: 4 };
        let groups: Vec<_> = stored.groups().collect();
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let records = groups.concat();
        for number in 0..3 {
            let of_room = records.iter().filter(|record| record.conversation.as_str() == room(number));
            let seqs: Vec<_> = of_room.map(|record| record.seq).collect();
            assert_eq!(seqs, (1..=seqs.len() as u64).map(Seq).collect::<Vec<_>>());
        }
        assert!(records.iter().all(|record| record.content.len() == BODY_BYTES));
        assert_ne!(records[0].content, records[1].content);
        let without_first: Vec<_> =
            stored.groups_with(|number, record| (number > 0).then_some(record)).flatten().collect();
        assert_eq!(
            without_first,
            records.into_iter().filter(|it| it.conversation.as_str() != room(0)).collect::<Vec<_>>()
        );
    }
}
