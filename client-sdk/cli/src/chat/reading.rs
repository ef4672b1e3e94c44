//! That what a chat has shown has been read.

use std::time::Duration;

use quoth_client::{Conversation, RequestError, Seq};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The least time between two marks.
const MARK_INTERVAL: Duration = Duration::from_secs(2);

/// Tells the server how far a chat has come, and not often. Dropping it ends that: what was shown in the last
/// seconds of a chat may then count as unread.
#[derive(Debug)]
pub(super) struct Reading {
    shown: watch::Sender<Seq>,
    task: JoinHandle<()>,
}

impl Reading {
    pub(super) fn of(room: Conversation) -> Self {
        let (shown, last) = watch::channel(Seq::ZERO);
        Self { shown, task: tokio::spawn(tell(room, last)) }
    }

    /// Everything up to this event is on the screen.
    pub(super) fn shown(&self, seq: Seq) {
        self.shown.send_replace(seq);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tell(room: Conversation, mut last: watch::Receiver<Seq>) {
    while last.changed().await.is_ok() {
        let seq = *last.borrow_and_update();
        match room.mark_read(seq).await {
            // Who reads may lack the right to say so, and a server may not know of it.
            Err(RequestError::Refused { .. } | RequestError::Unsupported) => return,
            // What has failed is said again with the next one.
            Ok(_) | Err(_) => sleep(MARK_INTERVAL).await,
        }
    }
}
