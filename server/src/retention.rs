//! Frees the space of what is absent, from time to time.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::engine::Engine;

/// For so many times as long as it took, nothing is freed again: it takes a twentieth of a processor at most.
const REST: u32 = 19;

/// A task that frees what is absent.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Retention {
    pub(crate) fn start(engine: Engine, interval: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(engine, interval, stopped)) }
    }

    /// Waits until what it does is done, and does no more.
    pub(crate) async fn stop(self) {
        let _ended_by_itself = self.stop.send(());
        let _told = self.task.await;
    }
}

async fn run(engine: Engine, interval: Duration, mut stopped: oneshot::Receiver<()>) {
    let mut wait = interval;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = &mut stopped => return,
        }
        let begun = tokio::time::Instant::now();
        match engine.reclaim().await {
            Ok(reclaimed) if reclaimed.windows > 0 => {
                tracing::info!(
                    windows = reclaimed.windows,
                    bytes = reclaimed.bytes,
                    "freed the space of what is absent"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(error, "the space of what is absent is not freed"),
        }
        wait = interval.max(begun.elapsed() * REST);
    }
}
