//! Finds out that a server has fallen silent. TCP tells it after many minutes, and a server acknowledges
//! nothing of what it has merely received, so it is asked.

use std::time::Duration;

use tokio::time::Instant;

use super::super::keep_alive;

/// What was sent for the application, and brings no answer of its own, is followed by a question after this
/// time.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// So long a silence behind what was sent for the application is a dead server, or a network on which a new
/// connection is the better bet: as over QUIC. Keep-alives wait for longer: a server that stands still for a
/// while must not have all its idle clients at its door. Outcome: the connection is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How often to look.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    IsThere,
    /// A question is due, once in a silence: TCP repeats it until it is answered.
    Ask,
    IsLost,
}

/// Whether anything comes from the server.
#[derive(Debug)]
pub(super) struct Liveness {
    keep_alive_interval: Duration,
    /// Messages that had come when something came last.
    received: u64,
    heard_at: Instant,
    /// Writes of the application up to then, and when the next one was seen.
    sent: u64,
    sent_at: Option<Instant>,
    has_asked: bool,
}

impl Liveness {
    pub(super) fn new(keep_alive_interval: Duration, now: Instant) -> Self {
        Self { keep_alive_interval, received: 0, heard_at: now, sent: 0, sent_at: None, has_asked: false }
    }

    /// Looks at what has come and was sent.
    pub(super) fn look(&mut self, received: u64, sent: u64, now: Instant) -> Verdict {
        if received != self.received {
            let keep_alive_interval = self.keep_alive_interval;
            *self =
                Self { keep_alive_interval, received, heard_at: now, sent, sent_at: None, has_asked: false };
            return Verdict::IsThere;
        }
        if sent != self.sent {
            self.sent_at.get_or_insert(now);
        }
        let is_over = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        if is_over(self.heard_at, keep_alive::idle_timeout(self.keep_alive_interval))
            || self.sent_at.is_some_and(|at| is_over(at, SILENCE_MAX))
        {
            return Verdict::IsLost;
        }
        let is_due = is_over(self.heard_at, self.keep_alive_interval)
            || self.sent_at.is_some_and(|at| is_over(at, ASK_AFTER));
        if is_due && !std::mem::replace(&mut self.has_asked, true) { Verdict::Ask } else { Verdict::IsThere }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Ask, IsLost, IsThere};
    use super::*;

    /// Looks at each of these moments: (seconds, received, sent).
    fn verdicts(looks: &[(u64, u64, u64)]) -> Vec<Verdict> {
        let (start, interval) = (Instant::now(), Duration::from_secs(10));
        let mut liveness = Liveness::new(interval, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        looks.iter().map(|(seconds, received, sent)| liveness.look(*received, *sent, at(*seconds))).collect()
    }

    #[test]
    fn an_idle_server_is_asked_once_and_has_the_idle_timeout_to_answer() {
        let looks = [(1, 1, 0), (10, 1, 0), (11, 1, 0), (12, 1, 0), (30, 1, 0), (31, 1, 0)];
        assert_eq!(verdicts(&looks), [IsThere, IsThere, Ask, IsThere, IsThere, IsLost]);
        let answered = [(11, 0, 0), (12, 1, 0), (21, 1, 0), (22, 1, 0), (41, 1, 0), (42, 1, 0)];
        assert_eq!(verdicts(&answered), [Ask, IsThere, IsThere, Ask, IsThere, IsLost]);
    }

    #[test]
    fn one_that_was_sent_something_is_asked_and_given_up_soon() {
        let looks = [(1, 1, 1), (2, 1, 2), (3, 1, 2), (6, 1, 3), (7, 1, 3)];
        assert_eq!(verdicts(&looks), [IsThere, IsThere, Ask, IsThere, IsLost]);
        let answered = [(1, 1, 1), (2, 1, 2), (3, 1, 2), (4, 2, 2), (8, 2, 2), (9, 2, 2)];
        assert_eq!(verdicts(&answered), [IsThere, IsThere, Ask, IsThere, IsThere, IsThere]);
    }
}
