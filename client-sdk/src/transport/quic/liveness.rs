//! Finds out that a server has fallen silent long before QUIC's idle timeout does.

use std::time::Duration;

use quinn::ConnectionStats;
use tokio::time::Instant;

/// A server that is there acknowledges what is sent on a stream within a round trip and 25 ms, and QUIC
/// repeats what is not acknowledged several times in this time. So long a silence is a dead server, or a
/// network on which a new connection is the better bet. Only what is sent for the application counts, not
/// keep-alives: a server that stands still for a while must not have all its idle clients at its door.
/// Outcome: the connection is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How often to look.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Whether anything comes from the server.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Datagrams that had come when it was last known to be there.
    received: u64,
    /// STREAM frames, repeats included, that had been sent then.
    sent: u64,
    silent_since: Option<Instant>,
}

impl Liveness {
    /// Looks at a connection; whether its server counts as lost.
    pub(super) fn is_lost(&mut self, stats: &ConnectionStats) -> bool {
        self.is_silent(stats.udp_rx.datagrams, stats.frame_tx.stream, Instant::now())
    }

    fn is_silent(&mut self, received: u64, sent: u64, now: Instant) -> bool {
        if received != self.received {
            *self = Self { received, sent, silent_since: None };
        } else if sent > self.sent {
            let silent_since = *self.silent_since.get_or_insert(now);
            return now.duration_since(silent_since) >= SILENCE_MAX;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_counts_from_what_was_sent_into_it() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        let mut look = |received, sent, seconds| {
            liveness.is_silent(received, sent, start + Duration::from_secs(seconds))
        };
        assert!(!look(1, 1, 0));
        assert!(!look(1, 1, 100), "nothing was sent");
        assert!(!look(1, 2, 101));
        assert!(!look(1, 2, 105));
        assert!(look(1, 3, 106));
        assert!(!look(2, 3, 107), "something came");
        assert!(!look(2, 3, 200));
        assert!(!look(2, 4, 201));
        assert!(look(2, 4, 206));
    }
}
