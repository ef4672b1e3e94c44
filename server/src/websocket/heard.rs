//! Whether the client has answered a close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells the session what its socket sees last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_answered: AtomicBool,
    answered: Notify,
}

impl Heard {
    /// The client has answered a close, so everything before it has come to it as well.
    pub(super) fn set(&self) {
        self.0.is_answered.store(true, Ordering::Release);
        self.0.answered.notify_waiters();
    }

    /// Waits for it. Dropping the future loses nothing.
    pub(crate) async fn wait(&self) {
        let answered = self.0.answered.notified();
        // Behind the beginning of the wait, so that nothing goes unnoticed.
        if !self.0.is_answered.load(Ordering::Acquire) {
            answered.await;
        }
    }
}
