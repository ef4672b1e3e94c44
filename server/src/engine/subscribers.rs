//! Who reads which conversation now, on one worker.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use quoth_protocol::ConversationName;

use super::mailbox::Mailbox;
use super::rosters::Rosters;

/// The readers of each conversation that has any.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    /// The committer looks while the worker wakes, so that neither waits for the other.
    readers: RwLock<HashMap<ConversationName, Vec<Arc<Mailbox>>>>,
}

/// Keeps a mailbox subscribed; ends the subscription when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    subscribers: Arc<Subscribers>,
    rosters: Arc<Rosters>,
    conversation: ConversationName,
    mailbox: Arc<Mailbox>,
}

impl Subscribers {
    pub(crate) fn add(
        this: &Arc<Self>,
        rosters: &Arc<Rosters>,
        conversation: &ConversationName,
        mailbox: &Arc<Mailbox>,
    ) -> Subscription {
        this.readers.write().entry(conversation.clone()).or_default().push(Arc::clone(mailbox));
        rosters.change(conversation);
        let (rosters, conversation, mailbox) =
            (Arc::clone(rosters), conversation.clone(), Arc::clone(mailbox));
        Subscription { subscribers: Arc::clone(this), rosters, conversation, mailbox }
    }

    pub(crate) fn of(&self, conversation: &ConversationName) -> Vec<Arc<Mailbox>> {
        self.readers.read().get(conversation).cloned().unwrap_or_default()
    }

    pub(crate) fn has(&self, conversation: &ConversationName) -> bool {
        self.readers.read().contains_key(conversation)
    }

    pub(crate) fn wake(&self, conversation: &ConversationName) {
        if let Some(readers) = self.readers.read().get(conversation) {
            readers.iter().for_each(|mailbox| mailbox.wake());
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut readers = self.subscribers.readers.write();
        if let Some(of_conversation) = readers.get_mut(&self.conversation) {
            if let Some(at) = of_conversation.iter().position(|other| Arc::ptr_eq(other, &self.mailbox)) {
                of_conversation.swap_remove(at);
            }
            if of_conversation.is_empty() {
                readers.remove(&self.conversation);
            }
        }
        drop(readers);
        self.rosters.change(&self.conversation);
    }
}
