//! Checks all rows of the view.

use std::collections::HashMap;

use ::fjall::{Readable, Snapshot};
use quoth_protocol::{ConversationName, Seq};

use super::read::{damaged, hole};
use super::{FjallView, row};
use crate::key::{ConversationKey, ProducerKey};
use crate::record::Record;
use crate::verify::{Progress, Report};
use crate::view::{ProducerState, ViewError};

const PROGRESS_MESSAGES: u64 = 100_000;

/// The conversation that a walk over the messages is in.
struct Current {
    key: ConversationKey,
    name: ConversationName,
    last: Seq,
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
            if current.as_ref().is_none_or(|current| current.key != conversation) {
                producers += self.check_producers(&snapshot, current.take(), is_up_to_date, report);
                current = self.begin(&snapshot, conversation, report);
            }
            if let Some(current) = &mut current {
                check_message(current, seq, &key, &value, report);
            }
        }
        producers += self.check_producers(&snapshot, current, is_up_to_date, report);
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

    /// Compares the producers' rows of a conversation with its messages; returns how many there are.
    fn check_producers(
        &self,
        snapshot: &Snapshot,
        conversation: Option<Current>,
        is_up_to_date: bool,
        report: &mut Report,
    ) -> u64 {
        let Some(Current { name, producers, .. }) = conversation.filter(|_| is_up_to_date) else {
            return 0;
        };
        for (producer, expected) in &producers {
            match self.read_producer(snapshot, &name, *producer) {
                Ok(Some(held)) if held == *expected => {}
                Ok(_) => {
                    let (conversation, producer) = (name.clone(), *producer);
                    let what = "it is not that of the producer's last message";
                    report.findings.push(ViewError::DamagedProducer { conversation, producer, what }.into());
                }
                Err(error) => report.findings.push(error.into()),
            }
        }
        producers.len() as u64
    }

    /// Rows of producers and names without a message would not be met by a walk over the messages.
    fn check_counts(&self, snapshot: &Snapshot, producers: u64, report: &mut Report) {
        let counts = [
            ("producers", snapshot.iter(&self.producers).count() as u64, producers),
            ("conversations", snapshot.iter(&self.conversations).count() as u64, report.conversations),
        ];
        for (rows, held, expected) in counts {
            if held != expected {
                let what = format!("it has {held} {rows}, its messages have {expected}");
                report.findings.push(ViewError::engine(&self.dir, "keep all messages", what).into());
            }
        }
    }
}

fn check_message(current: &mut Current, seq: Seq, key: &[u8], value: &[u8], report: &mut Report) {
    let expected = current.last.next();
    if seq != expected {
        report.findings.push(hole(&current.name, expected, Some(seq)).into());
    }
    current.last = seq;
    let opened = row::open_message(key, value).and_then(|(header, texts)| {
        current.producers.insert(header.producer, ProducerState { n: header.n, seq });
        header.into_record(&current.name, seq, texts).map(|_| ())
    });
    if let Err(what) = opened {
        report.findings.push(damaged(&current.name, seq, what).into());
    }
}

#[cfg(test)]
mod tests {
    use super::{ConversationKey, FjallView, Report, row};
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
        view.messages.remove(row::message_key(key_a, super::Seq(2))).unwrap();
        let found = findings(&view);
        assert!(
            found.len() == 1 && found[0].contains("not that of the producer's last message"),
            "{found:?}"
        );
        // All messages of a conversation.
        view.messages.remove(row::message_key(key_b, b.seq)).unwrap();
        let found = findings(&view);
        assert!(
            found.iter().any(|text| text.contains("it has 2 producers, its messages have 1")),
            "{found:?}"
        );
        assert!(matches!(view.bounds(&b.conversation), Err(ViewError::Engine { .. })));
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
    fn a_row_under_another_key_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let a = record("a", 1, 1);
        let key = |seq| row::message_key(ConversationKey::new(&a.conversation), super::Seq(seq));
        let value = view.messages.get(key(1)).unwrap().unwrap();
        view.messages.insert(key(2), value).unwrap();
        assert!(matches!(view.bounds(&a.conversation), Err(ViewError::DamagedRow { .. })));
        assert_eq!(findings(&view).len(), 2, "the row, and the producer's, whose last message it was");
    }
}
