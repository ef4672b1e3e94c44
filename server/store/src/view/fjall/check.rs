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
