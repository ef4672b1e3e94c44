//! A view whose reads take their time and are counted, and some of whose rows are damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::ViewOverride;
use quoth_store::{Bounds, Found, PageLimit, ProducerKey, ProducerState, Stretch, View, ViewError};

/// Long against the time in which a client's next frame comes.
const READ_TIME: Duration = Duration::from_millis(5);

pub(crate) struct FaultyView {
    inner: Arc<dyn View>,
    now: AtomicUsize,
    most: AtomicUsize,
    damaged: Option<ConversationName>,
}

impl FaultyView {
    pub(crate) fn new(inner: Arc<dyn View>) -> Self {
        Self { inner, now: AtomicUsize::new(0), most: AtomicUsize::new(0), damaged: None }
    }

    /// What is stored about this conversation's producers is damaged.
    pub(crate) fn with_damaged_producers(inner: Arc<dyn View>, damaged: ConversationName) -> Self {
        Self { damaged: Some(damaged), ..Self::new(inner) }
    }

    /// Most reads that were under way at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn slowly<T>(&self, read: impl FnOnce(&dyn View) -> T) -> T {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(READ_TIME);
        let value = read(&*self.inner);
        self.now.fetch_sub(1, Ordering::SeqCst);
        value
    }
}

impl ViewOverride for FaultyView {
    fn inner(&self) -> &dyn View {
        &*self.inner
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        self.slowly(|view| view.bounds(conversation))
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.slowly(|view| view.after(conversation, after, limit))
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.slowly(|view| view.before(conversation, before, limit))
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        if self.damaged.as_ref() == Some(conversation) {
            let conversation = conversation.clone();
            return Err(ViewError::DamagedProducer { conversation, producer, what: "a test wants it so" });
        }
        self.slowly(|view| view.producer(conversation, producer))
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        self.slowly(|view| view.find(conversation, producer, n))
    }
}
