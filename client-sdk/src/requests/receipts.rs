//! How far users have received and read: `docs/PROTOCOL.md`, section 14.

use std::collections::BTreeMap;
use std::sync::Arc;

use quoth_protocol::reply::{ReceiptInfo, Reply};
use quoth_protocol::request::Request;
use quoth_protocol::{Seq, UserId};
use tokio::sync::watch;

use super::RequestError;
use crate::conversation::Conversation;

/// How far a user has received and read a conversation, on any device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The last event that one of the user's devices has received.
    pub delivered: Seq,
    /// The last event that the user has read; never above `delivered`.
    pub read: Seq,
}

/// Who has received and read a message, from [`Conversation::receipts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageReceipts {
    /// How many members besides its sender have received it.
    pub delivered: u32,
    /// How many of these have read it.
    pub read: u32,
    /// Who has received it, in the order of their ids; empty where the conversation has over 100 members.
    pub users: Vec<ReceiptInfo>,
}

/// The receipts of a conversation while it is read, from [`Conversation::watch_receipts`].
#[derive(Debug)]
pub struct ReceiptWatch {
    known: watch::Receiver<BTreeMap<UserId, Receipt>>,
    /// Without a handle the conversation's task would end, and so would the client.
    conversation: Conversation,
}

/// What a conversation's task has been told of receipts.
#[derive(Debug, Clone)]
pub(crate) struct Receiving {
    known: Arc<watch::Sender<BTreeMap<UserId, Receipt>>>,
}

impl Default for Receiving {
    fn default() -> Self {
        Self { known: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }
}

impl Receiving {
    /// Takes a receipt. It only ever moves forward, also where a server tells it again behind a reconnect.
    pub(crate) fn tell(&self, user: UserId, told: Receipt) {
        self.known.send_if_modified(|known| {
            let receipt = known.entry(user).or_default();
            let later = Receipt {
                delivered: receipt.delivered.max(told.delivered),
                read: receipt.read.max(told.read),
            };
            std::mem::replace(receipt, later) != later
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<UserId, Receipt>> {
        self.known.subscribe()
    }
}

impl ReceiptWatch {
    /// The latest receipts, by user. Nothing is told while nobody reads the conversation by
    /// [`Conversation::events`] over this client, nor of conversations with over 100 members.
    #[must_use]
    pub fn receipts(&self) -> BTreeMap<UserId, Receipt> {
        self.known.borrow().clone()
    }

    /// Which conversation.
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Waits until a receipt has changed since the last call, for ever when none does any more. Dropping the
    /// future loses nothing.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Receipts.
impl Conversation {
    /// Says that the user has received and read everything up to this event, on any device; resolves when
    /// that is stored, within a second or so. It only ever moves forward, and one beyond the head counts as
    /// the head. Say it when the user has seen what is shown, at most once in some seconds. Gives how far the
    /// user has read by then.
    ///
    /// # Errors
    /// Every [`RequestError`]; `FORBIDDEN` for who may not read all of the conversation.
    pub async fn mark_read(&self, seq: Seq) -> Result<Seq, RequestError> {
        self.mark(seq, seq).await
    }

    /// Says that one of the user's devices has received everything up to this event; otherwise as
    /// [`Conversation::mark_read`]. [`Conversation::events`] does it by itself for what was taken from it:
    /// this is for what came on another way, as in a notification.
    ///
    /// # Errors
    /// As [`Conversation::mark_read`].
    pub async fn mark_delivered(&self, seq: Seq) -> Result<(), RequestError> {
        self.mark(seq, Seq::ZERO).await.map(drop)
    }

    /// Who has received and read a message, and how many have.
    ///
    /// # Errors
    /// Every [`RequestError`]; `NOT_FOUND_MESSAGE` for one that is absent or none.
    pub async fn receipts(&self, seq: Seq) -> Result<MessageReceipts, RequestError> {
        let request = Request::Receipts { conversation: self.name().clone(), seq };
        expect!(self.shared.ask(request).await?, Reply::Receipts { delivered, read, users } => MessageReceipts {
            delivered,
            read,
            users,
        })
    }

    /// The receipts of the members, as they change, while the conversation is read by
    /// [`Conversation::events`].
    #[must_use]
    pub fn watch_receipts(&self) -> ReceiptWatch {
        ReceiptWatch { known: self.receiving.subscribe(), conversation: self.clone() }
    }

    async fn mark(&self, delivered: Seq, read: Seq) -> Result<Seq, RequestError> {
        let conversation = self.name().clone();
        let done = self.shared.change(Request::Mark { conversation, delivered, read }).await?;
        Ok(done.seq.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_never_goes_back() {
        let (receiving, user) = (Receiving::default(), UserId::new("bob").unwrap());
        let mut watch = receiving.subscribe();
        let told = |delivered, read| {
            receiving.tell(user.clone(), Receipt { delivered: Seq(delivered), read: Seq(read) });
        };
        told(5, 2);
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        told(4, 2);
        assert!(!watch.has_changed().unwrap(), "nothing new");
        told(3, 3);
        assert_eq!(watch.borrow_and_update()[&user], Receipt { delivered: Seq(5), read: Seq(3) });
    }
}
