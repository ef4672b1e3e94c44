//! Runtimes that serve connections, and how what they serve is woken.

use std::sync::Arc;

use parking_lot::RwLock;
use quoth_protocol::ConversationName;
use tokio::sync::mpsc;

use super::mailbox::Mailbox;
use super::subscribers::Subscribers;

/// Whom a group concerns.
#[derive(Debug, Default)]
pub(super) struct Wake {
    /// Mailboxes that got outcomes.
    pub(super) mailboxes: Vec<Arc<Mailbox>>,
    /// Conversations that got events.
    pub(super) conversations: Vec<ConversationName>,
}

/// All workers of an engine.
#[derive(Debug, Default)]
pub(super) struct Workers(RwLock<Vec<Channel>>);

/// Leads to one worker.
#[derive(Debug)]
struct Channel {
    subscribers: Arc<Subscribers>,
    wakes: mpsc::UnboundedSender<Wake>,
}

/// One worker, as its own streams see it.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    /// Its place among all workers.
    pub(super) index: usize,
    pub(super) subscribers: Arc<Subscribers>,
}

impl Workers {
    /// Makes the current tokio runtime a worker.
    pub(super) fn add(&self) -> Worker {
        let (wakes, woken) = mpsc::unbounded_channel();
        let subscribers = Arc::new(Subscribers::default());
        tokio::spawn(dispatch(woken, Arc::clone(&subscribers)));
        let mut channels = self.0.write();
        channels.push(Channel { subscribers: Arc::clone(&subscribers), wakes });
        Worker { index: channels.len() - 1, subscribers }
    }

    /// Mailboxes of everybody who reads the conversation, on whatever worker, but for those who may read only
    /// what is past.
    pub(super) fn readers(&self, conversation: &ConversationName) -> Vec<Arc<Mailbox>> {
        let readers = self.0.read();
        let readers = readers.iter().flat_map(|channel| channel.subscribers.of(conversation));
        readers.filter(|mailbox| mailbox.is_present()).collect()
    }

    /// Wakes whom a group concerns: one wake-up goes to each worker that has anybody to wake.
    pub(super) fn wake(&self, group: Wake) {
        let channels = self.0.read();
        if let [only] = channels.as_slice() {
            only.wake(group);
            return;
        }
        for (index, channel) in channels.iter().enumerate() {
            let mailboxes = group.mailboxes.iter().filter(|mailbox| mailbox.worker() == index);
            let conversations = group.conversations.iter().filter(|name| channel.subscribers.has(name));
            let wake = Wake {
                mailboxes: mailboxes.cloned().collect(),
                conversations: conversations.cloned().collect(),
            };
            if !wake.mailboxes.is_empty() || !wake.conversations.is_empty() {
                channel.wake(wake);
            }
        }
    }
}

impl Channel {
    fn wake(&self, wake: Wake) {
        let _runtime_is_gone = self.wakes.send(wake);
    }
}

/// Wakes within the worker's runtime, so that the committer makes one wake-up for each group and not one for
/// each reader.
///
/// All that a group concerns is ready to run before any of it does, and so before quinn sends for a
/// connection what the first of its streams has written: the frames of its other streams share the datagrams.
async fn dispatch(mut woken: mpsc::UnboundedReceiver<Wake>, subscribers: Arc<Subscribers>) {
    while let Some(wake) = woken.recv().await {
        wake.mailboxes.iter().for_each(|mailbox| mailbox.wake());
        wake.conversations.iter().for_each(|conversation| subscribers.wake(conversation));
    }
}
