//! Publishes that have no answer yet: what to send next, what to repeat after a disconnect, and whom an
//! answer is for.
//!
//! The order of the queue is the order on the wire, always: after a disconnect everything is sent again from
//! its front before anything new, as the protocol demands.

use std::collections::VecDeque;

use quoth_protocol::frame::Publish;
use quoth_protocol::limits::IN_FLIGHT_PUBLISHES_MAX;
use tokio::time::Instant;

use crate::send::{Ack, Refusal};

/// Publishes that wait for an answer, sent or not. Outcome: further sends wait for room.
pub(crate) const OUTBOX_MAX: usize = 1_024;

/// Answers that are kept for messages whose caller has been told that the outcome is unknown. Outcome: the
/// oldest is forgotten.
const SETTLED_MAX: usize = 256;

/// How the server answered a publish.
pub(crate) type Answer = Result<Ack, Refusal>;

/// The queue of one conversation. `W` is who waits for an answer.
#[derive(Debug)]
pub(crate) struct Outbox<W> {
    entries: VecDeque<Entry<W>>,
    /// How many entries from the front are on the current stream.
    sent: usize,
    settled: VecDeque<(u64, Answer)>,
    /// No entry's deadline is before this.
    next_deadline: Option<Instant>,
}

#[derive(Debug)]
struct Entry<W> {
    publish: Publish,
    waiters: Vec<W>,
    deadline: Instant,
    /// How many streams it was given to: when to any, it may have been stored.
    streams: u32,
    /// How often it was given to the current stream without an answer to that.
    unanswered: u32,
    /// How the first of those was refused that were.
    refusal: Option<Refusal>,
}

/// A publish whose caller does not wait any longer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired<W> {
    pub(crate) waiters: Vec<W>,
    pub(crate) n: u64,
    /// Whether it may have been stored.
    pub(crate) attempted: bool,
}

/// What [`Outbox::reattach`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reattached<W> {
    /// The publish still waits, and so does the caller now.
    Waiting,
    /// The answer came in the meantime.
    Settled(W, Answer),
    /// No such publish is kept.
    Unknown(W),
}

impl<W> Outbox<W> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), sent: 0, settled: VecDeque::new(), next_deadline: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many more fit.
    pub(crate) fn room(&self) -> usize {
        OUTBOX_MAX.saturating_sub(self.entries.len())
    }

    /// Queues a publish behind all others. One that waits already under the same number gets a further
    /// waiter.
    pub(crate) fn push(&mut self, publish: Publish, deadline: Instant, waiter: W) {
        self.wake_by(deadline);
        if let Some(entry) = self.entries.iter_mut().find(|e| e.publish.n == publish.n) {
            entry.waiters.push(waiter);
            entry.deadline = entry.deadline.max(deadline);
            return;
        }
        let (waiters, streams, unanswered, refusal) = (vec![waiter], 0, 0, None);
        self.entries.push_back(Entry { publish, waiters, deadline, streams, unanswered, refusal });
    }

    /// Waits again for a publish whose outcome was unknown.
    pub(crate) fn reattach(&mut self, n: u64, deadline: Instant, waiter: W) -> Reattached<W> {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.publish.n == n) {
            entry.waiters.push(waiter);
            entry.deadline = entry.deadline.max(deadline);
            self.wake_by(deadline);
            return Reattached::Waiting;
        }
        match self.settled.iter().find(|(settled, _)| *settled == n) {
            Some((_, answer)) => Reattached::Settled(waiter, answer.clone()),
            None => Reattached::Unknown(waiter),
        }
    }

    /// The next publish for the current stream, unless as many as the server reads wait for an answer.
    /// Without `may_begin` only one that was given to a stream before.
    pub(crate) fn take_next(&mut self, may_begin: bool) -> Option<Publish> {
        if self.sent >= IN_FLIGHT_PUBLISHES_MAX {
            return None;
        }
        let entry = self.entries.get_mut(self.sent).filter(|entry| entry.streams > 0 || may_begin)?;
        entry.streams = entry.streams.saturating_add(1);
        entry.unanswered = 1;
        self.sent += 1;
        Some(entry.publish.clone())
    }

    /// Whether anything on the current stream waits for an answer.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.sent > 0
    }

    /// The publish that has waited longest on the current stream, to be sent there once more.
    pub(crate) fn repeat_oldest(&mut self) -> Option<Publish> {
        let entry = self.entries.front_mut().filter(|_| self.sent > 0)?;
        entry.unanswered = entry.unanswered.saturating_add(1);
        Some(entry.publish.clone())
    }

    /// The server has answered a publish: who waits for that, and how it is settled. Nobody waits when the
    /// answer is to none of ours, is not the last word or when the callers have gone. One that was sent twice
    /// on a stream is stored with the first ack, and refused when all have been: the server may have changed
    /// its mind in between.
    pub(crate) fn answered(&mut self, n: u64, mut answer: Answer) -> (Vec<W>, Answer) {
        let Some(at) = self.entries.iter().take(self.sent).position(|e| e.publish.n == n) else {
            return (Vec::new(), answer);
        };
        if let (Err(refusal), Some(entry)) = (&answer, self.entries.get_mut(at)) {
            let first = entry.refusal.get_or_insert_with(|| refusal.clone()).clone();
            entry.unanswered = entry.unanswered.saturating_sub(1);
            if entry.unanswered > 0 {
                return (Vec::new(), answer);
            }
            answer = Err(first);
        }
        self.sent -= 1;
        let Some(entry) = self.entries.remove(at) else { return (Vec::new(), answer) };
        if entry.waiters.is_empty() {
            if self.settled.len() == SETTLED_MAX {
                self.settled.pop_front();
            }
            self.settled.push_back((n, answer.clone()));
        }
        (entry.waiters, answer)
    }

    /// The stream is gone: everything that has no answer is sent again on the next one.
    pub(crate) fn disconnected(&mut self) {
        self.sent = 0;
        for entry in &mut self.entries {
            (entry.unanswered, entry.refusal) = (0, None);
        }
    }

    /// When to call [`Outbox::expire`] next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Takes the waiters whose deadline has passed. A publish that was never given to a stream leaves the
    /// queue; all others stay until they are answered, since what comes behind them must not overtake them.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Expired<W>> {
        if self.next_deadline.is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        self.next_deadline = None;
        self.entries.retain_mut(|entry| {
            if entry.waiters.is_empty() {
                return true;
            }
            if entry.deadline > now {
                self.next_deadline =
                    Some(self.next_deadline.map_or(entry.deadline, |d| d.min(entry.deadline)));
                return true;
            }
            let waiters = std::mem::take(&mut entry.waiters);
            expired.push(Expired { waiters, n: entry.publish.n, attempted: entry.streams > 0 });
            entry.streams > 0
        });
        expired
    }

    /// Empties the queue, for an end behind which nothing is sent.
    pub(crate) fn fail(&mut self) -> Vec<Expired<W>> {
        self.sent = 0;
        self.next_deadline = None;
        self.entries
            .drain(..)
            .map(|e| Expired { waiters: e.waiters, n: e.publish.n, attempted: e.streams > 0 })
            .collect()
    }

    /// Empties the queue when the server has refused the current stream as a whole: of what it was given
    /// nothing is stored. What was given to streams before it may be.
    pub(crate) fn refuse(&mut self) -> Vec<Expired<W>> {
        for entry in self.entries.iter_mut().take(self.sent) {
            entry.streams = entry.streams.saturating_sub(1);
        }
        self.fail()
    }

    fn wake_by(&mut self, deadline: Instant) {
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |d| d.min(deadline)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use quoth_protocol::{Code, Seq};

    use super::*;

    fn publish(n: u64) -> Publish {
        Publish::new(n, "x")
    }

    fn ack(seq: u64) -> Answer {
        Ok(Ack { seq: Seq(seq), time_ms: 0, duplicate: false })
    }

    fn sent(outbox: &mut Outbox<u64>) -> Vec<u64> {
        std::iter::from_fn(|| outbox.take_next(true)).map(|p| p.n).collect()
    }

    #[test]
    fn a_disconnect_repeats_what_has_no_answer_before_anything_new() {
        let deadline = Instant::now();
        let mut outbox = Outbox::new();
        for n in 1..=3 {
            outbox.push(publish(n), deadline, n);
        }
        assert_eq!(sent(&mut outbox), [1, 2, 3]);
        assert_eq!(outbox.answered(2, ack(1)).0, [2]);
        assert_eq!(outbox.answered(2, ack(1)).0, [] as [u64; 0]);
        outbox.disconnected();
        outbox.push(publish(4), deadline, 4);
        let repeats: Vec<u64> = std::iter::from_fn(|| outbox.take_next(false)).map(|p| p.n).collect();
        assert_eq!(repeats, [1, 3]);
        assert_eq!(sent(&mut outbox), [4]);
    }

    #[test]
    fn a_refused_stream_says_nothing_about_what_streams_before_it_were_given() {
        let mut outbox = Outbox::new();
        outbox.push(publish(1), Instant::now(), 1);
        assert_eq!(sent(&mut outbox), [1]);
        outbox.disconnected();
        outbox.push(publish(2), Instant::now(), 2);
        outbox.push(publish(3), Instant::now(), 3);
        assert_eq!(outbox.take_next(true).map(|p| p.n), Some(1));
        assert_eq!(outbox.take_next(true).map(|p| p.n), Some(2));
        let refused: Vec<(u64, bool)> = outbox.refuse().into_iter().map(|e| (e.n, e.attempted)).collect();
        assert_eq!(refused, [(1, true), (2, false), (3, false)]);
    }

    #[test]
    fn no_more_is_sent_than_the_server_reads() {
        let mut outbox = Outbox::new();
        for n in 1..=IN_FLIGHT_PUBLISHES_MAX as u64 + 2 {
            outbox.push(publish(n), Instant::now(), n);
        }
        assert_eq!(sent(&mut outbox).len(), IN_FLIGHT_PUBLISHES_MAX);
        assert_eq!(outbox.answered(5, Err(Code::FORBIDDEN.into())).0, [5]);
        assert_eq!(sent(&mut outbox), [IN_FLIGHT_PUBLISHES_MAX as u64 + 1]);
    }

    #[test]
    fn what_may_be_stored_stays_in_line_and_its_answer_can_be_fetched() {
        let start = Instant::now();
        let later = start + Duration::from_secs(9);
        let mut outbox = Outbox::new();
        outbox.push(publish(1), start, 1);
        assert_eq!(sent(&mut outbox), [1]);
        outbox.push(publish(2), start, 2);
        outbox.push(publish(3), later, 3);
        let expired = outbox.expire(start);
        let expected =
            [(1, true), (2, false)].map(|(n, attempted)| Expired { waiters: vec![n], n, attempted });
        assert_eq!(expired, expected);
        assert_eq!(outbox.next_deadline(), Some(later));
        outbox.disconnected();
        assert_eq!(sent(&mut outbox), [1, 3]);
        assert_eq!(outbox.reattach(1, later, 10), Reattached::Waiting);
        assert_eq!(outbox.answered(1, ack(7)).0, [10]);
        outbox.expire(later);
        assert_eq!(outbox.answered(3, ack(8)).0, [] as [u64; 0]);
        assert_eq!(outbox.reattach(3, later, 11), Reattached::Settled(11, ack(8)));
        assert_eq!(outbox.reattach(99, later, 12), Reattached::Unknown(12));
    }

    #[test]
    fn a_number_that_waits_already_is_not_queued_twice() {
        let mut outbox = Outbox::new();
        outbox.push(publish(1), Instant::now(), 1);
        outbox.push(publish(1), Instant::now(), 2);
        assert_eq!(sent(&mut outbox), [1]);
        assert_eq!(outbox.answered(1, ack(1)).0, [1, 2]);
    }

    #[test]
    fn of_two_answers_to_one_number_an_ack_counts_and_else_the_first() {
        let (forbidden, stale) = (|| Err(Code::FORBIDDEN.into()), || Err(Code::STALE_MESSAGE_ID.into()));
        let nobody = Vec::<u64>::new();
        let mut outbox = Outbox::new();
        assert_eq!(outbox.repeat_oldest(), None);
        for (n, first, second, told, outcome) in [
            (1, ack(1), ack(2), 1, ack(1)),
            (2, ack(2), forbidden(), 1, ack(2)),
            (3, forbidden(), ack(3), 2, ack(3)),
            (4, forbidden(), stale(), 2, forbidden()),
        ] {
            outbox.push(publish(n), Instant::now(), n);
            assert_eq!(sent(&mut outbox), [n]);
            assert_eq!(outbox.repeat_oldest(), Some(publish(n)));
            let answers = [outbox.answered(n, first), outbox.answered(n, second)];
            assert_eq!(answers[told - 1], (vec![n], outcome));
            assert_eq!(answers[2 - told].0, nobody);
            assert!(!outbox.is_awaiting());
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Send,
        Answer(usize),
        Disconnect,
    }

    proptest! {
        /// Against a server that stores new ids in the order of arrival: it never sees a number that is not
        /// stored below one that is, and stores each once, in order.
        #[test]
        fn a_server_never_sees_a_stale_number(steps in prop::collection::vec(prop_oneof![
            Just(Step::Push), Just(Step::Send), (0_usize..8).prop_map(Step::Answer), Just(Step::Disconnect),
        ], 0..200)) {
            let mut outbox = Outbox::new();
            let (mut stored, mut underway, mut next_n) = (Vec::new(), VecDeque::new(), 1..);
            for step in steps {
                match step {
                    Step::Push => outbox.push(publish(next_n.next().unwrap()), Instant::now(), ()),
                    Step::Send => if let Some(p) = outbox.take_next(true) {
                        if !stored.contains(&p.n) {
                            prop_assert_eq!(p.n, stored.len() as u64 + 1);
                            stored.push(p.n);
                        }
                        underway.push_back(p.n);
                    },
                    Step::Answer(at) => if let Some(n) = underway.remove(at) {
                        prop_assert_eq!(outbox.answered(n, ack(n)).0.len(), 1);
                    },
                    Step::Disconnect => {
                        underway.clear();
                        outbox.disconnected();
                    }
                }
            }
        }
    }
}
