//! Ctrl-C, and for some commands other signals that end a program: the first one asks it to leave, the second
//! one ends it at once. Where something is lost by that, one that comes right behind the first is taken for
//! the same wish.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::output::note;

/// Exit code of a program that was interrupted with Ctrl-C before it had done what it was asked to.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// How long a program that leaves waits before it says so.
const QUIET_DURATION: Duration = Duration::from_millis(500);

/// How long a program that was asked to leave waits for the acks of what it has sent. Outcome: it says that
/// nobody knows whether that is stored.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long behind the first signal another one says the same: a key that was pressed twice, or a wrapper
/// that passes on what its whole group has got already.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Whether the user has asked to leave. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    /// The exit code of a program that does.
    asked: watch::Receiver<Option<u8>>,
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
    /// Listens for Ctrl-C from now on, on a thread of its own: whatever the program is busy with or blocked
    /// by, the second one ends it.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Self::listen_for(&[SignalKind::interrupt()], Duration::ZERO, |_| {})
    }

    /// The same for the end of the terminal and SIGTERM too, for a program that must not simply end, since it
    /// has started others and has something to lose: the second signal ends it when it comes a second behind
    /// the first or later, with `at_last` before, which is told the signal's name.
    pub(crate) fn listen_for_any_end(at_last: fn(&str)) -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()];
        // Under `nohup` a terminal that ends means nothing.
        let kinds: Vec<_> = kinds.into_iter().filter(|kind| !is_ignored(*kind)).collect();
        Self::listen_for(&kinds, SAME_WISH, at_last)
    }

    fn listen_for(kinds: &[SignalKind], same_wish: Duration, at_last: fn(&str)) -> std::io::Result<Self> {
        let (sender, asked) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // They are caught from here on, and not from some time in the thread on.
        let mut signals = {
            let _in_runtime = runtime.enter();
            kinds.iter().map(|kind| Ok((*kind, signal(*kind)?))).collect::<std::io::Result<Vec<_>>>()?
        };
        let listen = async move {
            let mut next = |context: &mut Context<'_>| poll(&mut signals, context);
            sender.send_replace(Some(exit_code(poll_fn(&mut next).await)));
            let second = exit_code(another(same_wish, next).await);
            at_last(name(second));
            std::process::exit(second.into());
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(Self { asked })
    }

    /// Whether the user has asked to leave.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.borrow().is_some()
    }

    /// What a program that the user has asked to leave exits with, as shells have it: 128 and the signal's
    /// number.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        *self.asked.borrow()
    }

    /// The signal by which the user has asked to leave.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        self.exit_code().map(name)
    }

    /// Waits until the user asks to leave.
    pub(crate) async fn asked(&self) {
        if self.asked.clone().wait_for(Option::is_some).await.is_err() {
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

    /// Waits, on the way out, for the acks of `count` messages. Says so when that takes long enough to be
    /// noticed. A user who has asked to leave waits for 10 s at most; any other can cut it short by asking.
    pub(crate) async fn finish(&self, count: usize, acks: impl Future<Output = ()>) {
        let was_asked = self.is_asked();
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

/// The signal that has come, if any has.
fn poll(signals: &mut [(SignalKind, Signal)], context: &mut Context<'_>) -> Poll<SignalKind> {
    let mut signals = signals.iter_mut();
    let came = signals.find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
    came.map_or(Poll::Pending, Poll::Ready)
}

/// The next signal that does not say the same as one that has come just now.
async fn another<T>(same_wish: Duration, mut next: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let first = Instant::now();
    loop {
        let came = poll_fn(&mut next).await;
        if first.elapsed() >= same_wish {
            return came;
        }
    }
}

/// The signal with which a program has ended that exits with this code.
fn name(exit_code: u8) -> &'static str {
    match exit_code {
        129 => "SIGHUP",
        EXIT_INTERRUPTED => "SIGINT",
        _ => "SIGTERM",
    }
}

fn exit_code(kind: SignalKind) -> u8 {
    u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX)
}

/// Whether this process was started so that the signal does nothing.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, kind)
}

/// The same in what the kernel tells of a process: a bit for each signal, in hex.
fn ignores(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupt() -> (watch::Sender<Option<u8>>, Interrupt) {
        let (sender, asked) = watch::channel(None);
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
            sender.send_replace(Some(EXIT_INTERRUPTED));
        };
        tokio::join!(press, interrupt.finish(1, std::future::pending()));
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        // After Ctrl-C, the second one ends the program elsewhere.
        let started = Instant::now();
        interrupt.finish(2, std::future::pending()).await;
        assert_eq!(started.elapsed(), QUIET_DURATION + LEAVE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_right_behind_the_first_signal_says_the_same() {
        let came_behind = async |same_wish, behind_ms: &'static [u64]| {
            let (sender, mut signals) = tokio::sync::mpsc::unbounded_channel();
            let started = Instant::now();
            tokio::spawn(async move {
                for ms in behind_ms {
                    tokio::time::sleep_until(started + Duration::from_millis(*ms)).await;
                    // Nobody waits any more for what comes behind the one that counts.
                    sender.send(*ms).ok();
                }
            });
            another(same_wish, move |context| signals.poll_recv(context)).await.expect("one of them counts")
        };
        assert_eq!(came_behind(SAME_WISH, &[0, 200, 999, 1_000]).await, 1_000);
        assert_eq!(came_behind(SAME_WISH, &[5_000, 5_001]).await, 5_000);
        assert_eq!(came_behind(Duration::ZERO, &[0]).await, 0);
    }

    #[test]
    fn a_signal_that_is_ignored_stays_so() {
        let status = "Name:\tquoth\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, SignalKind::hangup()) && !ignores(status, SignalKind::interrupt()));
        assert!(!ignores("", SignalKind::hangup()));
        assert_eq!([SignalKind::interrupt(), SignalKind::terminate()].map(exit_code), [130, 143]);
    }

    #[tokio::test]
    async fn work_ends_when_the_user_asks() {
        let (sender, interrupt) = interrupt();
        assert_eq!(interrupt.unless_asked(async { 5 }).await.unwrap(), 5);
        sender.send_replace(Some(EXIT_INTERRUPTED));
        assert!(interrupt.unless_asked(std::future::pending::<()>()).await.is_err());
    }
}
