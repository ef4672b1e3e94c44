//! What outlives the server: registers of the server's own conversations.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use quoth_protocol::ConversationName;
use quoth_store::Register;

use crate::engine::Engine;

/// A future of either.
pub type Kept<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Registers by their keys, with their values.
pub type Registers = Vec<(Bytes, Bytes)>;

/// Keeps registers, as an engine does.
pub trait Keep: std::fmt::Debug + Send + Sync {
    /// Stores registers of a conversation; they are durable when this is ready. The error is a sentence.
    fn keep(&self, conversation: ConversationName, registers: Vec<Register>) -> Kept<'_, ()>;

    /// Stores registers of many conversations at once; all of them are durable when this is ready. The error
    /// is a sentence.
    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()>;

    /// A conversation's registers whose keys begin with `prefix`, in the order of their keys, behind `after`
    /// or from the first one on, at most `limit`. The error is a sentence.
    fn load(
        &self,
        conversation: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers>;

    /// The same of several conversations, from the first one on: of each in their order, with one read. One
    /// that cannot be read alone has none. The error is a sentence.
    fn load_each(
        &self,
        conversations: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Kept<'_, Vec<Registers>>;
}

impl Keep for Engine {
    fn keep(&self, conversation: ConversationName, registers: Vec<Register>) -> Kept<'_, ()> {
        Box::pin(self.note(conversation, registers))
    }

    fn keep_all(&self, notes: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        Box::pin(self.note_all(notes))
    }

    fn load(
        &self,
        conversation: ConversationName,
        prefix: &'static [u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Kept<'_, Registers> {
        Box::pin(async move {
            self.registers_after(conversation, prefix, after, limit).await.map_err(|error| error.to_string())
        })
    }

    fn load_each(
        &self,
        conversations: Vec<ConversationName>,
        prefix: &'static [u8],
        limit: usize,
    ) -> Kept<'_, Vec<Registers>> {
        Box::pin(async move {
            self.registers_of_each(conversations, prefix, limit).await.map_err(|error| error.to_string())
        })
    }
}

/// Keeps nothing any more, and says so: the store is closed, and whoever is told that something is kept must
/// find it behind a restart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed;

impl Keep for Closed {
    fn keep_all(&self, _: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        Box::pin(async { Err("the server stops".to_owned()) })
    }

    fn keep(&self, _: ConversationName, _: Vec<Register>) -> Kept<'_, ()> {
        Box::pin(async { Err("the server stops".to_owned()) })
    }

    fn load(&self, _: ConversationName, _: &'static [u8], _: Option<Bytes>, _: usize) -> Kept<'_, Registers> {
        Box::pin(async { Err("the server stops".to_owned()) })
    }

    fn load_each(&self, _: Vec<ConversationName>, _: &'static [u8], _: usize) -> Kept<'_, Vec<Registers>> {
        Box::pin(async { Err("the server stops".to_owned()) })
    }
}

/// Keeps nothing: for servers without a store of their own, as tests have.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Keep for Nothing {
    fn keep(&self, _: ConversationName, _: Vec<Register>) -> Kept<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn keep_all(&self, _: Vec<(ConversationName, Vec<Register>)>) -> Kept<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn load(&self, _: ConversationName, _: &'static [u8], _: Option<Bytes>, _: usize) -> Kept<'_, Registers> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn load_each(&self, of: Vec<ConversationName>, _: &'static [u8], _: usize) -> Kept<'_, Vec<Registers>> {
        Box::pin(async move { Ok(vec![Vec::new(); of.len()]) })
    }
}
