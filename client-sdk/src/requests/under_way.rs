//! Requests of one connection that wait for their answers.

use std::collections::BTreeMap;

use quoth_protocol::frame::ClientFrame;
use quoth_protocol::limits::REQUESTS_UNDER_WAY_MAX;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use tokio::sync::oneshot;

/// Who waits for which answer. Whoever has gone still counts: the server works on the request all the same.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    last_id: u32,
    waiters: BTreeMap<u32, oneshot::Sender<Reply>>,
}

impl UnderWay {
    /// Whether the server reads on behind one more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiters.len() < REQUESTS_UNDER_WAY_MAX
    }

    /// The frame of a request, whose answer goes to `waiter`.
    pub(crate) fn begin(&mut self, request: Request, waiter: oneshot::Sender<Reply>) -> ClientFrame {
        // None of those under way has it: they are few, and the numbers come round once in four billion.
        self.last_id = self.last_id.wrapping_add(1);
        self.waiters.insert(self.last_id, waiter);
        ClientFrame::Request { id: self.last_id, request }
    }

    /// Hands an answer out. The error is the complaint about one to nothing that was asked.
    pub(crate) fn answered(&mut self, id: u32, reply: Reply) -> Result<(), String> {
        let waiter = self
            .waiters
            .remove(&id)
            .ok_or_else(|| format!("a reply to request {id}, of which there is none"))?;
        waiter.send(reply).ok();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_those_who_wait_whatever_their_order() {
        let mut under_way = UnderWay::default();
        let (mut first, mut second) = {
            let mut begin = || {
                let (waiter, answer) = oneshot::channel();
                under_way.begin(Request::Blocked, waiter);
                answer
            };
            (begin(), begin())
        };
        let reply = |text: &str| Reply::Invitation { invitation: text.to_owned() };
        assert_eq!(under_way.answered(2, reply("two")), Ok(()));
        assert_eq!((first.try_recv().ok(), second.try_recv()), (None, Ok(reply("two"))));
        assert_eq!(under_way.answered(1, reply("one")), Ok(()));
        assert!(under_way.answered(1, reply("one")).is_err(), "answered already");
    }

    #[test]
    fn no_more_are_asked_at_once_than_a_server_reads() {
        let mut under_way = UnderWay::default();
        for _ in 0..REQUESTS_UNDER_WAY_MAX {
            assert!(under_way.has_room());
            // Who asks goes at once.
            under_way.begin(Request::Sessions, oneshot::channel().0);
        }
        assert!(!under_way.has_room());
        assert_eq!(under_way.answered(1, Reply::Users { users: vec![] }), Ok(()));
        assert!(under_way.has_room());
    }
}
