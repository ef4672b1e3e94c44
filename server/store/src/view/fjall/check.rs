//! Checks all rows of the view.

use std::collections::HashMap;

use ::fjall::{Readable, Snapshot};
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::find::{NOT_LAST_IN_BLOCK, ProducerRows};
use super::read::{damaged, hole};
use super::row::{self, Block};
use crate::key::{ConversationKey, ProducerKey};
use crate::record::Record;
use crate::verify::{Progress, Report};
use crate::view::{ProducerState, ViewError};

const PROGRESS_MESSAGES: u64 = 100_000;

/// Look-ups rely on the contrary.
const N_NOT_GROWING: &str = "its n is not above that of its producer's message before";

/// The conversation that a walk over the messages is in.
struct Current {
    key: ConversationKey,
    name: ConversationName,
    last: Seq,
    /// The last message of each producer in the block of `last`.
    producers: HashMap<ProducerKey, ProducerState>,
}

impl FjallView {
    /// One message.
    pub(crate) fn message(
        &self,
        conversation: &ConversationName,
        seq: Seq,
    ) -> Result<Option<Record>, ViewError> {
        let key = row::message_key(ConversationKey::new(conversation), seq);
        let value = self.engine("read a message from", self.messages.get(key))?;
        let decode = |value: ::fjall::UserValue| {
            row::open_message(&key, &value)
                .and_then(|(header, texts)| header.into_record(conversation, seq, texts))
                .map_err(|what| damaged(conversation, seq, what))
        };
        value.map(decode).transpose()
    }

    /// Checks every row's checksum and that every conversation is contiguous from its first message; and, when the view is up
    /// to date, that its producers' rows and names are those of its messages.
    pub(crate) fn check_rows(
        &self,
        is_up_to_date: bool,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) {
        let snapshot = self.database.snapshot();
        let mut current: Option<Current> = None;
        let mut producers = 0;
        for guard in snapshot.iter(&self.messages) {
            let parts = self.engine("read a message from", guard.into_inner());
            let (key, value) = match parts {
                Ok(parts) => parts,
                Err(error) => {
                    report.findings.push(error.into());
                    return;
                }
            };
            report.messages += 1;
            if report.messages.is_multiple_of(PROGRESS_MESSAGES) {
                progress(Progress::View { messages: report.messages });
            }
            let Some((conversation, seq)) = row::split_message_key(&key) else {
                report.findings.push(self.odd_key().into());
                continue;
            };
            let is_known = current.as_ref().is_some_and(|current| current.key == conversation);
            let ended = current.as_mut().filter(|current| !is_known || !current.has_block_of(seq));
            if let Some(ended) = ended {
                producers += self.check_producers(&snapshot, ended, is_up_to_date, report);
            }
            if !is_known {
                current = self.begin(&snapshot, conversation, report);
            }
            if let Some(current) = &mut current {
                check_message(current, seq, &key, &value, report);
            }
        }
        if let Some(ended) = &mut current {
            producers += self.check_producers(&snapshot, ended, is_up_to_date, report);
        }
        if is_up_to_date {
            self.check_counts(&snapshot, producers, report);
        }
        progress(Progress::View { messages: report.messages });
    }

    fn begin(&self, snapshot: &Snapshot, key: ConversationKey, report: &mut Report) -> Option<Current> {
        report.conversations += 1;
        match self.stored_name(snapshot, key) {
            Ok(Some(name)) => Some(Current { key, name, last: Seq::ZERO, producers: HashMap::new() }),
            Ok(None) => {
                let what = format!("the name of conversation {key:?} is missing");
                report.findings.push(ViewError::engine(&self.dir, "read a conversation", what).into());
                None
            }
            Err(error) => {
                report.findings.push(error.into());
                None
            }
        }
    }

    /// Compares the producers' rows of a block with its messages, once these are through; returns how many there are.
    fn check_producers(
        &self,
        snapshot: &Snapshot,
        current: &mut Current,
        is_up_to_date: bool,
        report: &mut Report,
    ) -> u64 {
        let (conversation, block) = (&current.name, Block::of(current.last));
        let mut rows = 0;
        for (producer, expected) in current.producers.drain().filter(|_| is_up_to_date) {
            rows += 1;
            let stored = ProducerRows { view: self, snapshot, conversation, producer };
            match stored.last_in(block) {
                Ok(Some(held)) if held == expected => {}
                Ok(_) => report.findings.push(stored.damaged(NOT_LAST_IN_BLOCK).into()),
                Err(error) => report.findings.push(error.into()),
            }
        }
        rows
    }

    /// Rows of producers and names without a message would not be met by a walk over the messages.
    fn check_counts(&self, snapshot: &Snapshot, producers: u64, report: &mut Report) {
        let counts = [
            ("rows of producers", self.walk_producers(snapshot, report), producers),
            ("conversations", snapshot.iter(&self.conversations).count() as u64, report.conversations),
        ];
        for (rows, held, expected) in counts {
            if held != expected {
                let what = format!("it has {held} {rows}, its messages have {expected}");
                report.findings.push(ViewError::engine(&self.dir, "keep all messages", what).into());
            }
        }
    }

    /// Counts the producers' rows and checks that n grows from block to block. Their checksums are checked already.
    fn walk_producers(&self, snapshot: &Snapshot, report: &mut Report) -> u64 {
        let mut rows = 0;
        let mut before = None;
        for guard in snapshot.iter(&self.producers) {
            rows += 1;
            let Ok((key, value)) = guard.into_inner() else { continue };
            let row = row::split_producer_key(&key).zip(row::decode_producer(&key, &value));
            let Some(((conversation, producer, _), state)) = row else { continue };
            if before.is_some_and(|(c, p, n)| (c, p) == (conversation, producer) && n >= state.n) {
                let what = format!(
                    "the message of producer {producer:?} at seq {} of conversation {conversation:?}: {N_NOT_GROWING}",
                    state.seq
                );
                report.findings.push(ViewError::engine(&self.dir, "keep the order of", what).into());
            }
            before = Some((conversation, producer, state.n));
        }
        rows
    }
}

impl Current {
    /// Whether a seq is in the block that the walk is in.
    fn has_block_of(&self, seq: Seq) -> bool {
        Block::of(self.last) == Block::of(seq)
    }
}

fn check_message(current: &mut Current, seq: Seq, key: &[u8], value: &[u8], report: &mut Report) {
    let expected = current.last.next();
    if seq != expected {
        report.findings.push(hole(&current.name, expected, Some(seq)).into());
    }
    current.last = seq;
    let opened = row::open_message(key, value).and_then(|(header, texts)| {
        let before = current.producers.insert(header.producer, ProducerState { n: header.n, seq });
        header.into_record(&current.name, seq, texts)?;
        if before.is_some_and(|before| before.n >= header.n) { Err(N_NOT_GROWING) } else { Ok(()) }
    });
    if let Err(what) = opened {
        report.findings.push(damaged(&current.name, seq, what).into());
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, ConversationKey, FjallView, ProducerState, Report, Seq, row};
    use crate::log::Position;
    use crate::testing::record;
    use crate::view::{View, ViewError};

    fn view(dir: &std::path::Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap();
        view.apply(Position(1), &[record("a", 1, 1), record("a", 2, 2), record("b", 1, 1)]).unwrap();
        view
    }

    fn findings(view: &FjallView) -> Vec<String> {
        let mut report = Report::default();
        view.check_rows(true, &mut report, &mut |_| {});
        report.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lost_rows_are_found_from_those_that_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        assert_eq!(findings(&view), [""; 0]);
        let (a, b) = (record("a", 1, 1), record("b", 1, 1));
        let (key_a, key_b) = (ConversationKey::new(&a.conversation), ConversationKey::new(&b.conversation));
        // A conversation's head: its producer has stored more than its messages show.
        view.messages.remove(row::message_key(key_a, Seq(2))).unwrap();
        let found = findings(&view);
        assert!(
            found.len() == 1 && found[0].contains("not that of the producer's last message in its block"),
            "{found:?}"
        );
        // All messages of a conversation.
        view.messages.remove(row::message_key(key_b, b.seq)).unwrap();
        let found = findings(&view);
        assert!(
            found.iter().any(|text| text.contains("it has 2 rows of producers, its messages have 1")),
            "{found:?}"
        );
        assert!(matches!(view.bounds(&b.conversation), Err(ViewError::DamagedConversation { .. })));
    }

    #[test]
    fn a_block_whose_row_is_lost_or_another_ones_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let records: Vec<_> = (1..=200).map(|seq| record("a", seq, seq)).collect();
        view.apply(Position(1), &records).unwrap();
        assert_eq!(findings(&view), [""; 0]);
        let (name, producer) = (&records[0].conversation, records[0].producer);
        let key = row::producer_key(ConversationKey::new(name), producer, Block(1));
        let last = ProducerState { n: 127, seq: Seq(127) };
        for wrong in [ProducerState { n: 126, ..last }, ProducerState { seq: Seq(126), ..last }] {
            view.producers.insert(key, row::encode_producer(&key, wrong)).unwrap();
            let found = findings(&view);
            assert!(found.len() == 1 && found[0].contains(super::NOT_LAST_IN_BLOCK), "{found:?}");
            let error = view.find(name, producer, 100).unwrap_err();
            assert!(matches!(error, ViewError::DamagedProducer { .. }), "{error}");
        }
        view.producers.remove(key).unwrap();
        assert_eq!(findings(&view).len(), 2, "the row, and the number of rows");
    }

    #[test]
    fn a_number_that_does_not_grow_is_found() {
        for (seq, n) in [(100, 99), (128, 127)] {
            let dir = tempfile::tempdir().unwrap();
            let view = FjallView::open(dir.path(), 1 << 20).unwrap();
            let mut records: Vec<_> = (1..=128).map(|seq| record("a", seq, seq)).collect();
            records[seq - 1].n = n;
            view.apply(Position(1), &records).unwrap();
            let found = findings(&view);
            assert!(found.len() == 1 && found[0].contains(super::N_NOT_GROWING), "{seq}: {found:?}");
        }
    }

    #[test]
    fn two_names_with_one_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let (a, b) = (record("a", 1, 1), record("b", 1, 1));
        let key = ConversationKey::new(&b.conversation);
        view.conversations.insert(key.0, row::encode_name(&key.0, &a.conversation)).unwrap();
        assert!(matches!(view.bounds(&b.conversation), Err(ViewError::KeyCollision { .. })));
        assert!(matches!(view.apply(Position(2), &[b]), Err(ViewError::KeyCollision { .. })));
    }

    #[test]
    fn a_damaged_name_is_an_error_of_its_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let a = record("a", 1, 1);
        view.conversations.insert(ConversationKey::new(&a.conversation).0, b"no name").unwrap();
        assert!(matches!(view.bounds(&a.conversation), Err(ViewError::DamagedConversation { .. })));
    }

    #[test]
    fn a_row_under_another_key_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let a = record("a", 1, 1);
        let key = |seq| row::message_key(ConversationKey::new(&a.conversation), Seq(seq));
        let value = view.messages.get(key(1)).unwrap().unwrap();
        view.messages.insert(key(2), value).unwrap();
        assert!(matches!(view.bounds(&a.conversation), Err(ViewError::DamagedRow { .. })));
        assert_eq!(findings(&view).len(), 2, "the row, and the producer's, whose last message it was");
    }
}
