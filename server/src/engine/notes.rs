//! What the server itself keeps: registers without an event, written as notices.

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Class, Content, Record, Register, View, ViewError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Engine, Request};

/// What a waiting notice takes besides its registers, in bytes; rounded up.
const NOTE_BYTES: usize = 256;

/// What a notice says.
#[derive(Debug)]
struct Note {
    conversation: ConversationName,
    content: Bytes,
    registers: Vec<Register>,
    /// Events of the conversation that are absent from here on.
    erases: Vec<Seq>,
    /// The class whose open window it ends.
    ends: Option<Class>,
    /// Whether it is stored on a full disk too, with the reserve.
    is_urgent: bool,
}

impl Note {
    /// One that sets registers.
    fn of(conversation: ConversationName, registers: Vec<Register>) -> Self {
        let (content, erases) = (Bytes::new(), Vec::new());
        Self { conversation, content, registers, erases, ends: None, is_urgent: false }
    }

    /// The same that frees space, or that an operator waits for.
    fn urgent(self) -> Self {
        Self { is_urgent: true, ..self }
    }
}

/// A notice on its way to the log.
#[derive(Debug)]
pub(super) struct NoteRequest {
    note: Note,
    pub(super) noted: oneshot::Sender<()>,
    /// Its share of what waits.
    queued: OwnedSemaphorePermit,
}

impl NoteRequest {
    /// What it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        self.queued.num_permits()
    }

    /// Whether it is stored on a full disk too, with the reserve.
    pub(super) const fn is_urgent(&self) -> bool {
        self.note.is_urgent
    }

    /// What the log gets, and who is to be told when it is durable.
    pub(super) fn into_record(self, time_ms: u64) -> (Record, oneshot::Sender<()>) {
        let Self { note, noted, queued: _ } = self;
        let Note { conversation, content, registers, erases, ends, is_urgent: _ } = note;
        let record = Record {
            content: Content::Notice(content),
            class: ends.unwrap_or_default(),
            erases,
            ends_window: ends.is_some(),
            ..notice(conversation, time_ms, registers)
        };
        (record, noted)
    }
}

/// What the server itself says of a conversation.
pub(crate) fn notice(conversation: ConversationName, time_ms: u64, registers: Vec<Register>) -> Record {
    Record::notice(conversation, time_ms, UserId::new("$server").expect("an id"), registers)
}

fn failed() -> String {
    "it was not stored: the disk is full, or the store has failed, which the server's log says".to_owned()
}

impl Engine {
    /// Sets registers of a conversation, all of them or none. They are durable when this is ready. On a full
    /// disk too, as far as the reserve goes: what somebody has asked for, and nothing that gathers by itself.
    ///
    /// # Errors
    /// When the disk is full, or the store has failed: it is then not known whether they are stored.
    pub async fn note(&self, conversation: ConversationName, registers: Vec<Register>) -> Result<(), String> {
        let is_noted = self.enqueue(Note::of(conversation, registers).urgent()).await?;
        is_noted.await.map_err(|_| failed())
    }

    /// Ends the open window of a class.
    ///
    /// # Errors
    /// As of [`Engine::note`].
    pub(super) async fn close_window(&self, class: Class) -> Result<(), String> {
        let server = ConversationName::new("$server").expect("a name");
        self.enqueue(Note { ends: Some(class), ..Note::of(server, Vec::new()).urgent() })
            .await?
            .await
            .map_err(|_| failed())
    }

    /// Sets registers with something that those are told who follow the log, where it stands among events in
    /// the order in which all of it happened; not on a full disk. Dropping the future once it was polled
    /// changes nothing.
    ///
    /// # Errors
    /// As of [`Engine::note`].
    pub(crate) async fn notice(
        &self,
        conversation: ConversationName,
        content: Bytes,
        registers: Vec<Register>,
    ) -> Result<(), String> {
        let is_noted = self.enqueue(Note { content, ..Note::of(conversation, registers) }).await?;
        is_noted.await.map_err(|_| failed())
    }

    /// Takes events away without a word to readers, who find a gap in their place. It is done and durable
    /// when this is ready. Nobody must keep a state of what they say: those of a user's own log are told to
    /// that user alone, and of what is absent by its retention nobody does.
    ///
    /// # Errors
    /// As of [`Engine::note`].
    pub(super) async fn take_events(
        &self,
        conversation: ConversationName,
        erases: Vec<Seq>,
    ) -> Result<(), String> {
        let is_noted = self.enqueue(Note { erases, ..Note::of(conversation, Vec::new()).urgent() }).await?;
        is_noted.await.map_err(|_| failed())
    }

    /// Sets registers of many conversations, in this order; not on a full disk. All of it is durable when
    /// this is ready.
    ///
    /// # Errors
    /// As of [`Engine::note`].
    pub(crate) async fn note_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Result<(), String> {
        let mut noted = Vec::with_capacity(notes.len());
        for (conversation, registers) in notes {
            noted.push(self.enqueue(Note::of(conversation, registers)).await?);
        }
        // Each of them: while the disk is full some are refused and others are not.
        for is_noted in noted {
            is_noted.await.map_err(|_| failed())?;
        }
        Ok(())
    }

    async fn enqueue(&self, note: Note) -> Result<oneshot::Receiver<()>, String> {
        let value = |register: &Register| register.value.as_ref().map_or(0, Bytes::len);
        let bytes_of = |register: &Register| NOTE_BYTES + register.key.len() + value(register);
        let bytes = note.registers.iter().map(bytes_of).sum::<usize>() + size_of_val(&*note.erases);
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX);
        let queued = self.inner.queue_bytes.clone().acquire_many_owned(weight).await.map_err(|_| failed())?;
        let (noted, is_noted) = oneshot::channel();
        let request = NoteRequest { note, noted, queued };
        self.inner.queue.send(Request::Note(request)).await.map_err(|_| failed())?;
        Ok(is_noted)
    }

    /// A conversation's register, with everything that was noted by now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn register(
        &self,
        conversation: ConversationName,
        key: Bytes,
    ) -> Result<Option<Bytes>, ViewError> {
        self.inner.reads.applied(self.released()).await;
        self.inner.reads.run(move |view| view.register(&conversation, &key)).await
    }

    /// A conversation's registers whose keys begin with `prefix`, at most `limit`, with everything that was
    /// noted by now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn registers(
        &self,
        conversation: ConversationName,
        prefix: &'static [u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.registers_after(conversation, prefix, None, limit).await
    }

    /// The same, those behind a key or from the first one on, in the order of their keys.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn registers_after(
        &self,
        conversation: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.inner.reads.applied(self.released()).await;
        self.inner.reads.run(move |view| view.registers(&conversation, prefix, after.as_deref(), limit)).await
    }

    /// The registers of several conversations whose keys begin with `prefix`, at most `limit` of each, in the
    /// order of the conversations: all of them with one read. One whose rows are damaged has none.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn registers_of_each(
        &self,
        conversations: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Result<Vec<Vec<(Bytes, Bytes)>>, ViewError> {
        self.inner.reads.applied(self.released()).await;
        let read = move |view: &dyn View| {
            let of_each = conversations.iter().map(|name| match view.registers(name, prefix, None, limit) {
                Err(error) if error.concerns_one_conversation() => {
                    tracing::error!(%error, "registers cannot be read");
                    Ok(Vec::new())
                }
                read => read,
            });
            of_each.collect()
        };
        self.inner.reads.run(read).await
    }
}
