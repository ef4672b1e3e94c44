//! When a socket is to be pinged, and when nobody is there: pure, with the times given.

use std::time::Duration;

use tokio::time::Instant;

/// The times of one socket.
#[derive(Debug)]
pub(super) struct Heartbeat {
    idle_timeout: Duration,
    ping_interval: Duration,
    stall_timeout: Duration,
    heard: Instant,
    pinged: Instant,
    /// Since when nothing of what waits was taken, and how much had been before.
    stalled: Option<(Instant, u64)>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// Nothing has come for the idle timeout.
    Silent,
    /// Nothing was taken for the stall timeout.
    Stalled,
}

impl Heartbeat {
    pub(super) fn new(idle_timeout: Duration, ping_interval: Duration, stall_timeout: Duration) -> Self {
        let now = Instant::now();
        Self { idle_timeout, ping_interval, stall_timeout, heard: now, pinged: now, stalled: None }
    }

    /// Something has come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something waits, and so many bytes were taken since the beginning.
    pub(super) fn waits(&mut self, taken_bytes: u64, now: Instant) {
        match self.stalled {
            Some((_, before)) if before == taken_bytes => {}
            _ => self.stalled = Some((now, taken_bytes)),
        }
    }

    /// Nothing waits.
    pub(super) fn is_idle(&mut self) {
        self.stalled = None;
    }

    /// What is due at a time. A ping is due once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.stalled.is_some_and(|(since, _)| now >= since + self.stall_timeout) {
            return Some(Due::Stalled);
        }
        if now >= self.heard + self.idle_timeout {
            return Some(Due::Silent);
        }
        if now >= self.pinged + self.ping_interval {
            self.pinged = now;
            return Some(Due::Ping);
        }
        None
    }

    /// When to ask next, if nothing is heard until then.
    pub(super) fn next(&self) -> Instant {
        let stalled = self.stalled.map(|(since, _)| since + self.stall_timeout);
        let others = [self.heard + self.idle_timeout, self.pinged + self.ping_interval];
        stalled.into_iter().chain(others).min().unwrap_or(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Due, Heartbeat};

    fn heartbeat() -> (Heartbeat, impl Fn(u64) -> Instant) {
        let seconds = Duration::from_secs;
        let heartbeat = Heartbeat::new(seconds(60), seconds(20), seconds(15));
        let start = heartbeat.heard;
        (heartbeat, move |s| start + seconds(s))
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_given_up() {
        let (mut heartbeat, at) = heartbeat();
        assert_eq!(heartbeat.due(at(19)), None);
        for ping in [20, 40] {
            assert_eq!(heartbeat.next(), at(ping));
            assert_eq!(heartbeat.due(at(ping)), Some(Due::Ping));
            assert_eq!(heartbeat.due(at(ping)), None);
        }
        assert_eq!(heartbeat.due(at(60)), Some(Due::Silent));
    }

    #[test]
    fn one_that_answers_is_not() {
        let (mut heartbeat, at) = heartbeat();
        for s in 1..1_000 {
            assert_ne!(heartbeat.due(at(s)), Some(Due::Silent));
            if s % 59 == 0 {
                heartbeat.heard(at(s));
            }
        }
    }

    #[test]
    fn one_that_takes_a_little_is_not_stalled() {
        let (mut heartbeat, at) = heartbeat();
        heartbeat.waits(10, at(0));
        heartbeat.waits(10, at(9));
        assert_eq!(heartbeat.next(), at(15));
        heartbeat.waits(11, at(14));
        assert_ne!(heartbeat.due(at(28)), Some(Due::Stalled));
        assert_eq!(heartbeat.due(at(29)), Some(Due::Stalled));
        heartbeat.is_idle();
        assert_ne!(heartbeat.due(at(40)), Some(Due::Stalled));
    }
}
