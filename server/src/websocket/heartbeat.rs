//! When a socket is to be pinged, and when nobody is there: pure, with the times given.

use std::time::Duration;

use tokio::time::Instant;

use crate::stall::Stall;

/// The times of one socket.
#[derive(Debug)]
pub(super) struct Heartbeat {
    idle_timeout: Duration,
    ping_interval: Duration,
    heard: Instant,
    pinged: Instant,
    /// Whether the client takes what waits for it.
    takes: Stall,
    /// Whether it goes on with a message that it has begun.
    sends: Stall,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A ping.
    Ping,
    /// Nothing has come for the idle timeout.
    Silent,
    /// Next to nothing was taken, or came of a message that has begun, for the stall timeout.
    Stalled,
}

impl Heartbeat {
    pub(super) fn new(idle_timeout: Duration, ping_interval: Duration, stall_timeout: Duration) -> Self {
        let now = Instant::now();
        let stall = || Stall::new(stall_timeout);
        Self { idle_timeout, ping_interval, heard: now, pinged: now, takes: stall(), sends: stall() }
    }

    /// Something has come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something waits, and so many bytes were taken since the beginning.
    pub(super) fn waits(&mut self, taken_bytes: u64, now: Instant) {
        self.takes.waits(taken_bytes, now);
    }

    /// Nothing waits.
    pub(super) fn is_idle(&mut self) {
        self.takes.is_idle();
    }

    /// A message has begun and is not whole, and so many bytes have come since the beginning.
    pub(super) fn is_mid_message(&mut self, come_bytes: u64, now: Instant) {
        self.sends.waits(come_bytes, now);
    }

    /// No message is on its way.
    pub(super) fn is_between_messages(&mut self) {
        self.sends.is_idle();
    }

    /// What is due at a time. A ping is due once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.takes.is_over(now) || self.sends.is_over(now) {
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
        let stalled = self.takes.ends().into_iter().chain(self.sends.ends());
        let others = [self.heard + self.idle_timeout, self.pinged + self.ping_interval];
        stalled.chain(others).min().unwrap_or(self.heard)
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
    fn one_that_takes_or_sends_next_to_nothing_is_stalled() {
        type Moves = fn(&mut Heartbeat, u64, Instant);
        type Ends = fn(&mut Heartbeat);
        let moves: [(Moves, Ends); 2] = [
            (Heartbeat::waits, Heartbeat::is_idle),
            (Heartbeat::is_mid_message, Heartbeat::is_between_messages),
        ];
        for (moves, ends) in moves {
            let (mut heartbeat, at) = heartbeat();
            moves(&mut heartbeat, 10, at(0));
            moves(&mut heartbeat, 11, at(9));
            assert_eq!(heartbeat.next(), at(15));
            moves(&mut heartbeat, 2_000, at(14));
            assert_ne!(heartbeat.due(at(28)), Some(Due::Stalled));
            moves(&mut heartbeat, 2_001, at(28));
            assert_eq!(heartbeat.due(at(29)), Some(Due::Stalled));
            ends(&mut heartbeat);
            assert_ne!(heartbeat.due(at(40)), Some(Due::Stalled));
        }
    }
}
