//! Ctrl-C: the first one asks the program to leave, the second one ends it at once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::output::note;

/// Exit code of a program that was interrupted before it had done what it was asked to, as shells have it (128 + SIGINT).
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// How long a program that leaves waits before it says so.
const QUIET_DURATION: Duration = Duration::from_millis(500);

/// How long a program that was asked to leave waits for the acks of what it has sent. Outcome: it says that nobody knows whether that
/// is stored.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the user has asked to leave. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    asked: watch::Receiver<bool>,
}

/// The user has asked to leave before the work was done.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Listens from now on, on a thread of its own: whatever the program is busy with or blocked by, the second Ctrl-C
    /// ends it.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (sender, asked) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut first = Box::pin(tokio::signal::ctrl_c());
        // It is caught from its first poll on, which is here and not at some time in the thread. Where none can be caught, it
        // ends the program as it does by default.
        let at_once = runtime.block_on(async { timeout(Duration::ZERO, &mut first).await.ok() });
        let listen = async move {
            let is_asked = match at_once {
                Some(caught) => caught,
                None => first.await,
            };
            if is_asked.is_ok() {
                sender.send_replace(true);
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(i32::from(EXIT_INTERRUPTED));
                }
            }
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(Self { asked })
    }

    /// Whether the user has asked to leave.
    pub(crate) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until the user asks to leave.
    pub(crate) async fn asked(&self) {
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Does `work` unless the user asks to leave.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(crate) async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            () = self.asked() => Err(Interrupted),
            done = work => Ok(done),
        }
    }

    /// Waits, on the way out, for the acks of `count` messages. Says so when that takes long enough to be noticed. A user
    /// who has asked to leave waits for 10 s at most; any other can cut it short by asking.
    pub(crate) async fn finish(&self, count: usize, acks: impl Future<Output = ()>) {
        let was_asked = *self.asked.borrow();
        let mut acks = std::pin::pin!(acks);
        if timeout(QUIET_DURATION, &mut acks).await.is_ok() {
            return;
        }
        let messages = counted(count, "message");
        let again = if was_asked { " again" } else { "" };
        note(format_args!("waiting for {messages} to be stored; Ctrl-C{again} to leave now"));
        tokio::select! {
            biased;
            () = acks => {}
            () = self.asked(), if !was_asked => {}
            () = sleep(LEAVE_TIMEOUT), if was_asked => {}
        }
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn interrupt() -> (watch::Sender<bool>, Interrupt) {
        let (sender, asked) = watch::channel(false);
        (sender, Interrupt { asked })
    }

    #[tokio::test(start_paused = true)]
    async fn leaving_is_bounded_and_ctrl_c_cuts_it_short() {
        let (sender, interrupt) = interrupt();
        let started = Instant::now();
        interrupt.finish(1, std::future::ready(())).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        // At the end of the input every message gets its answer, unless the user does not want to wait.
        let minute = Duration::from_secs(60);
        interrupt.finish(1, sleep(minute)).await;
        assert_eq!(started.elapsed(), minute);
        let started = Instant::now();
        let press = async {
            sleep(Duration::from_secs(2)).await;
            sender.send_replace(true);
        };
        tokio::join!(press, interrupt.finish(1, std::future::pending()));
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        // After Ctrl-C, the second one ends the program elsewhere.
        let started = Instant::now();
        interrupt.finish(2, std::future::pending()).await;
        assert_eq!(started.elapsed(), QUIET_DURATION + LEAVE_TIMEOUT);
    }

    #[tokio::test]
    async fn work_ends_when_the_user_asks() {
        let (sender, interrupt) = interrupt();
        assert_eq!(interrupt.unless_asked(async { 5 }).await.unwrap(), 5);
        sender.send_replace(true);
        assert!(interrupt.unless_asked(std::future::pending::<()>()).await.is_err());
    }
}
