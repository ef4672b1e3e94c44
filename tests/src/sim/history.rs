//! Writes down what the clients of a simulation see, and stops them at the first broken promise.

use std::collections::BTreeMap;

use quoth_protocol::frame::Event;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::Record;

use crate::history::{Ack, Checker, Content, Entry, MessageId, ReaderId, Step, What};

/// A promise of the server that a client saw broken.
#[derive(Debug, thiserror::Error)]
#[error("broken promise: {0}")]
pub(super) struct Broken(String);

impl Broken {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What a client has left to do in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) to_publish: u64,
    pub(super) unacked: usize,
    pub(super) to_read: u64,
}

/// What all clients of a simulation saw.
#[derive(Debug, Default)]
pub(super) struct History {
    checker: Checker,
    /// Acks that said that the message was stored before.
    pub(super) duplicates: usize,
    /// Where each client is that has connected at all.
    pub(super) progress: BTreeMap<(UserId, ConversationName), Progress>,
}

impl History {
    /// A message goes to the server, for the first time or again.
    pub(super) fn sent(
        &mut self,
        conversation: &ConversationName,
        id: MessageId,
        sender: &UserId,
        body: &[u8],
    ) -> Result<(), Broken> {
        self.take(conversation, What::Sent { id, content: Content::new(sender, body) })
    }

    /// A message was not published after all.
    pub(super) fn not_sent(&mut self, conversation: &ConversationName, id: MessageId) -> Result<(), Broken> {
        self.take(conversation, What::Refused { id, code: Code::CANCELLED })
    }

    pub(super) fn acked(
        &mut self,
        conversation: &ConversationName,
        id: MessageId,
        ack: Ack,
    ) -> Result<(), Broken> {
        self.duplicates += usize::from(ack.duplicate);
        self.take(conversation, What::Acked { id, ack })
    }

    /// A reader stands at a cursor.
    pub(super) fn attached(
        &mut self,
        conversation: &ConversationName,
        reader: ReaderId,
        cursor: Seq,
    ) -> Result<(), Broken> {
        self.take(conversation, What::Attached { reader, cursor })
    }

    pub(super) fn delivered(
        &mut self,
        conversation: &ConversationName,
        reader: ReaderId,
        event: &Event,
    ) -> Result<(), Broken> {
        self.take(conversation, What::Delivered { reader, entry: Entry::of(event) })
    }

    /// Ends the history with everything that the server stored.
    pub(super) fn finish(&mut self, records: &[Record]) -> Result<(), Broken> {
        let mut logs: BTreeMap<&ConversationName, Vec<Entry>> = BTreeMap::new();
        // A notice, as where a reader is, has no place in the conversation.
        for Record { conversation, seq, time_ms, sender, content, .. } in
            records.iter().filter(|record| record.is_event())
        {
            let content = Content::new(sender, content.bytes());
            let entry = Entry { seq: *seq, time_ms: *time_ms, content };
            logs.entry(conversation).or_default().push(entry);
        }
        for (conversation, entries) in logs {
            self.take(conversation, What::Log { floor: Seq(1), entries })?;
        }
        first(&std::mem::take(&mut self.checker).finish())
    }

    fn take(&mut self, conversation: &ConversationName, what: What) -> Result<(), Broken> {
        self.checker.take(&Step { conversation: conversation.clone(), what });
        first(self.checker.violations())
    }
}

fn first(violations: &[crate::history::Violation]) -> Result<(), Broken> {
    violations.first().map_or(Ok(()), |violation| Err(Broken::new(violation.to_string())))
}
