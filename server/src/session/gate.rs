//! Asks a source again only when it has called.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Stands between a task that waits for several things and one of them that is costly to ask: the task's
/// other wake-ups do not reach it.
#[derive(Debug)]
pub(super) struct Gate {
    calls: Arc<Calls>,
    waker: Waker,
}

#[derive(Debug)]
struct Calls {
    has_called: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_called.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Gate {
    /// A gate to a source that was not asked yet.
    pub(super) fn new() -> Self {
        let calls = Arc::new(Calls { has_called: AtomicBool::new(true), task: Mutex::default() });
        let waker = Waker::from(Arc::clone(&calls));
        Self { calls, waker }
    }

    /// Asks the source if it has called since it had nothing. What it has when it is ready may not be all, so
    /// it is asked the next time as well.
    pub(super) fn poll<T>(
        &mut self,
        task: &Context<'_>,
        ask: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut known = self.calls.task.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(task.waker())) {
            *known = Some(task.waker().clone());
        }
        drop(known);
        if !self.calls.has_called.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let answer = ask(&mut Context::from_waker(&self.waker));
        if answer.is_ready() {
            self.calls.has_called.store(true, Ordering::Release);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::Gate;

    #[tokio::test]
    async fn a_source_is_asked_when_it_calls_and_not_otherwise() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let (mut gate, mut asked) = (Gate::new(), 0);
        tokio::spawn(async move {
            for i in 0..3 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                sender.send(i).unwrap();
            }
            std::future::pending::<()>().await;
        });
        for i in 0..3 {
            // The ticks wake the task as well.
            let mut ticks = tokio::time::interval(Duration::from_millis(3));
            let next = loop {
                let next = poll_fn(|task| {
                    gate.poll(task, |task| {
                        asked += 1;
                        receiver.poll_recv(task)
                    })
                });
                tokio::select! {
                    biased;
                    next = next => break next,
                    _ = ticks.tick() => {}
                }
            };
            assert_eq!(next, Some(i));
        }
        assert_eq!(asked, 6, "once without success and once with it for each");
        assert!(
            poll_fn(|task| Poll::Ready(gate.poll(task, |task| receiver.poll_recv(task)))).await.is_pending()
        );
    }
}
