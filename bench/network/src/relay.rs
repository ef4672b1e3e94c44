//! A thread that carries the packets of one direction from device to device, as its link says.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl;
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, gettid};
use parking_lot::Mutex;
use tun_rs::SyncDevice;

use crate::counters::{DirectionCounters, Latenesses};
use crate::error::NetworkError;
use crate::link::Link;
use crate::namespace::{DEVICE, Namespace};

/// More than the largest packet.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many packets are taken before those that are due get their turn.
const TAKEN_AT_ONCE: usize = 64;

/// How much later than asked the kernel may wake the relay, in nanoseconds; by default it is 50 µs.
const TIMER_SLACK_NS: u64 = 1;

/// The relay of one direction.
#[derive(Debug)]
pub(crate) struct Relay {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
    thread_id: Pid,
}

#[derive(Debug)]
struct Shared {
    link: Mutex<Link>,
    latenesses: Mutex<Latenesses>,
}

/// Where a relay's packets come from and go to.
pub(crate) struct Way {
    /// The sender's namespace.
    pub(crate) namespace: Namespace,
    pub(crate) from: Arc<SyncDevice>,
    pub(crate) to: Arc<SyncDevice>,
    /// Readable when the relay is to end.
    pub(crate) stop: Arc<EventFd>,
}

impl Relay {
    /// Starts one.
    pub(crate) fn start(name: &str, link: Link, way: Way) -> Result<Self, NetworkError> {
        let shared = Arc::new(Shared { link: Mutex::new(link), latenesses: Mutex::new(Latenesses::new()) });
        let (started, starts) = std::sync::mpsc::channel();
        let relayed = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(format!("network-{name}")).spawn(move || {
            // Inside, so that /proc shows the sender's device for this thread.
            way.namespace.enter()?;
            prctl::set_timerslack(TIMER_SLACK_NS)?;
            // The other end waits for it, or is gone with its whole thread.
            let _told = started.send(gettid());
            relayed.run(&way)
        });
        let thread = thread.map_err(NetworkError::set_up("a thread"))?;
        match starts.recv() {
            Ok(thread_id) => {
                put_first(thread_id);
                Ok(Self { shared, thread, thread_id })
            }
            Err(_) => {
                Err(ended(thread).err().unwrap_or_else(|| NetworkError::Relay("at its start".to_owned())))
            }
        }
    }

    /// The link of this direction, whose packets are the relay's only.
    pub(crate) fn with_link(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.shared.link.lock());
    }

    pub(crate) fn counters(&self) -> DirectionCounters {
        let counts = self.shared.link.lock().counts();
        let lateness = self.shared.latenesses.lock().summary();
        DirectionCounters { counts, overrun: self.overrun(), lateness }
    }

    /// What the sender's device dropped; none when the relay has ended.
    fn overrun(&self) -> u64 {
        let path = format!("/proc/self/task/{}/net/dev", self.thread_id);
        std::fs::read_to_string(path).ok().and_then(|text| dropped(&text)).unwrap_or_default()
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> Result<(), NetworkError> {
        ended(self.thread)
    }
}

/// Lets a thread run before all programs under test (SCHED_FIFO): else they make it late by their time
/// slices, some milliseconds, when they take all cores. Where the kernel refuses that, the lateness in the
/// counters tells.
fn put_first(thread_id: Pid) {
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", "1", &thread_id.to_string()]);
    let _or_late = chrt.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn ended(thread: JoinHandle<io::Result<()>>) -> Result<(), NetworkError> {
    match thread.join() {
        Ok(ended) => ended.map_err(|error| NetworkError::Relay(error.to_string())),
        Err(_) => Err(NetworkError::Relay("it panicked".to_owned())),
    }
}

impl Shared {
    fn run(&self, way: &Way) -> io::Result<()> {
        let began = Instant::now();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.let_out(&way.to, began)?;
            // On its own, so that the link is not locked while this waits.
            let next_at = self.link.lock().next_at();
            if wait(way, next_at, began)? == Woken::ToEnd {
                return Ok(());
            }
            for _ in 0..TAKEN_AT_ONCE {
                match way.from.recv(&mut buffer) {
                    Ok(bytes) => {
                        self.link.lock().push(began.elapsed(), buffer[..bytes].to_vec());
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Lets out what is due.
    fn let_out(&self, to: &SyncDevice, began: Instant) -> io::Result<()> {
        loop {
            let Some(departure) = self.link.lock().pop(began.elapsed()) else { return Ok(()) };
            to.send(&departure.packet)?;
            self.latenesses.lock().record(began.elapsed().saturating_sub(departure.due));
        }
    }
}

#[derive(PartialEq)]
enum Woken {
    ToWork,
    ToEnd,
}

/// Waits for a packet, for the time of the next one that is due, or for the end.
fn wait(way: &Way, next_at: Option<Duration>, began: Instant) -> io::Result<Woken> {
    let timeout = next_at.map(|next_at| TimeSpec::from(next_at.saturating_sub(began.elapsed())));
    let mut waited = [way.from.as_fd(), way.stop.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
    match ppoll(&mut waited, timeout, None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(if waited[1].any() == Some(true) { Woken::ToEnd } else { Woken::ToWork })
}

/// What our device has not taken from its namespace's processes, from a text of `/proc/net/dev`.
fn dropped(text: &str) -> Option<u64> {
    let columns = text.lines().find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    // Eight columns of what came in, then bytes, packets and errors of what went out, then what was dropped.
    columns.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::dropped;

    #[test]
    fn what_the_device_dropped_is_found() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo\n    \
                    lo:       0       0    0    0    0     0          0         0        0       0    0    9    0     0\n \
                    quoth:     100       2    0    1    0     0          0         0      300       4    5    6    7     0\n";
        assert_eq!(dropped(text), Some(6));
        assert_eq!(dropped("lo: 1 2"), None);
    }
}
