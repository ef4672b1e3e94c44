//! What a control stream's client has not got yet, and so whether it is read on and told of others.

use quoth_protocol::limits::REQUESTS_UNDER_WAY_MAX;

/// Bytes that may wait on a control stream before it is not read on, and before what is of no importance is
/// dropped. Requests that are under way by then are answered all the same.
pub(super) const WAITING_BYTES_MAX: usize = 16 * 1024;

/// What is on its way to the client of a control stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    /// Requests without an answer.
    pub(super) requests_under_way: usize,
    /// Bytes that the client has not taken.
    pub(super) waiting_bytes: usize,
    /// Whether it is being found out who the client is: what it says next may depend on that.
    pub(super) is_judged: bool,
}

impl Backlog {
    /// Whether the next frame is read. Answers that the client does not take hold up its next requests, one
    /// after the other as well as all at once: they wait in the server's memory.
    pub(super) const fn reads(self) -> bool {
        !self.is_judged && self.requests_under_way < REQUESTS_UNDER_WAY_MAX && self.has_room()
    }

    /// Whether it is told of others, which comes behind the answer to the request for it.
    pub(super) const fn tells(self) -> bool {
        self.requests_under_way == 0 && self.has_room()
    }

    /// Whether it is sent what it can do without.
    pub(super) const fn has_room(self) -> bool {
        self.waiting_bytes < WAITING_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{Backlog, REQUESTS_UNDER_WAY_MAX, WAITING_BYTES_MAX};

    #[test]
    fn what_a_client_has_not_taken_holds_it_up() {
        const FULL: usize = REQUESTS_UNDER_WAY_MAX;
        const BYTES: usize = WAITING_BYTES_MAX;
        for (requests_under_way, waiting_bytes, is_judged, reads, tells, has_room) in [
            (0, 0, false, true, true, true),
            (0, BYTES - 1, false, true, true, true),
            (0, BYTES, false, false, false, false),
            (0, usize::MAX, false, false, false, false),
            (1, 0, false, true, false, true),
            (1, BYTES, false, false, false, false),
            (FULL - 1, BYTES - 1, false, true, false, true),
            (FULL, 0, false, false, false, true),
            (0, 0, true, false, true, true),
        ] {
            let backlog = Backlog { requests_under_way, waiting_bytes, is_judged };
            assert_eq!(
                (backlog.reads(), backlog.tells(), backlog.has_room()),
                (reads, tells, has_room),
                "{backlog:?}"
            );
        }
    }
}
