//! One member of one conversation: a task that publishes and a task that takes what comes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::conversation::{Conversation, Publishers};
use crate::check::Checker;
use crate::payload::{Stamp, encode};
use crate::profile::{Payload, Until};
use crate::record::Recorder;
use crate::schedule::{Content, Due};
use crate::system::{Part, Received, Receiver, Sender};

/// What the tasks of one thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) epoch: Instant,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) publishers: Arc<Publishers>,
    /// Whether closed loops are to end.
    pub(super) stopped: Arc<AtomicBool>,
    /// Whether the system acks.
    pub(super) acks: bool,
    /// How long readers wait for what is missing when all publishers are done.
    pub(super) patience: Duration,
}

/// A member's place in the load.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) conversation: Arc<Conversation>,
    pub(super) conversation_index: u32,
    pub(super) part: Part,
    /// The window of its connection.
    pub(super) window: Arc<Semaphore>,
    /// Its number among all publishers; of no meaning for a reader.
    pub(super) publisher: u32,
    /// Whether it never takes what comes.
    pub(super) is_stalled: bool,
}

/// What a publisher has on its way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    due: Mutex<VecDeque<Duration>>,
    /// Those that its messages take of the connection's window.
    places: Mutex<VecDeque<OwnedSemaphorePermit>>,
    /// Whether the last message has been published.
    ended: AtomicBool,
    changed: Notify,
}

/// Where a publisher's messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A schedule.
    Due(mpsc::UnboundedReceiver<Due>),
    /// As many as the window has place for.
    Window { window: usize, until: Until, payload: Payload },
    /// Whenever the connection has place for one more, in turn with its other publishers.
    Turns { window: Arc<Semaphore>, payload: Payload },
}

/// Publishes until the source ends. Gives the sender, since dropping it may end the stream on which its acks
/// come.
pub(super) async fn publish<S: Sender>(
    mut sender: S,
    member: Member,
    source: Source,
    in_flight: Arc<InFlight>,
    shared: Arc<Shared>,
) -> anyhow::Result<S> {
    let mut publisher = Publisher { member, in_flight, shared, n: 0, bodies: Vec::new() };
    match source {
        Source::Due(due) => publisher.on_schedule(&mut sender, due).await?,
        Source::Window { window, until, payload } => {
            publisher.in_window(&mut sender, window, until, &payload).await?;
        }
        Source::Turns { window, payload } => publisher.in_turns(&mut sender, &window, &payload).await?,
    }
    publisher.end();
    Ok(sender)
}

struct Publisher {
    member: Member,
    in_flight: Arc<InFlight>,
    shared: Arc<Shared>,
    n: u64,
    bodies: Vec<Bytes>,
}

impl Publisher {
    async fn on_schedule<S: Sender>(
        &mut self,
        sender: &mut S,
        mut messages: mpsc::UnboundedReceiver<Due>,
    ) -> anyhow::Result<()> {
        const TAKEN_MAX: usize = 1_024;
        let (mut taken, mut due) = (Vec::new(), Vec::new());
        // When the system last took a message that it had let wait.
        let mut taken_from = Duration::ZERO;
        while messages.recv_many(&mut taken, TAKEN_MAX).await > 0 {
            for Due { at, content, .. } in taken.drain(..) {
                due.push(at);
                match content {
                    Content::Bytes(bytes) => self.add(at, bytes, None),
                    Content::Text(text) => self.add(at, 0, Some(&text)),
                }
            }
            self.tell_late(&mut due, taken_from);
            let (sent, has_waited) = waiting(self.send(sender)).await;
            sent?;
            if has_waited {
                taken_from = self.shared.epoch.elapsed();
            }
        }
        Ok(())
    }

    /// Records how late messages are that go out now, of which the system took none before.
    fn tell_late(&self, due: &mut Vec<Duration>, taken_from: Duration) {
        let now = self.shared.epoch.elapsed();
        let mut recorder = self.shared.recorder.lock();
        due.drain(..).for_each(|due| recorder.published(now, due, taken_from));
    }

    async fn in_window<S: Sender>(
        &mut self,
        sender: &mut S,
        window: usize,
        until: Until,
        payload: &Payload,
    ) -> anyhow::Result<()> {
        loop {
            let (conversation, in_flight) =
                (Arc::clone(&self.member.conversation), Arc::clone(&self.in_flight));
            // Before the look, so that what comes between look and wait is not missed.
            let moved = match until {
                Until::Acked => in_flight.changed.notified(),
                Until::Delivered => conversation.moved.notified(),
            };
            if self.shared.stopped.load(Relaxed) {
                return Ok(());
            }
            let on_the_way = match until {
                Until::Acked => in_flight.due.lock().len(),
                Until::Delivered => usize::try_from(conversation.undelivered()).unwrap_or(usize::MAX),
            };
            let free = window.saturating_sub(on_the_way);
            if free == 0 {
                moved.await;
                continue;
            }
            (0..free).for_each(|_| self.add_now(payload));
            self.send(sender).await?;
        }
    }

    async fn in_turns<S: Sender>(
        &mut self,
        sender: &mut S,
        window: &Arc<Semaphore>,
        payload: &Payload,
    ) -> anyhow::Result<()> {
        loop {
            // Whoever has waited longest is next.
            let place = Arc::clone(window).acquire_owned().await?;
            if self.shared.stopped.load(Relaxed) {
                return Ok(());
            }
            self.in_flight.places.lock().push_back(place);
            self.add_now(payload);
            self.send(sender).await?;
        }
    }

    /// A message of a closed loop, which is due when it is made.
    fn add_now(&mut self, payload: &Payload) {
        /// Spreads the numbers over all sizes (Knuth's multiplicative hash).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let bytes = payload.bytes(self.n.wrapping_mul(SPREAD) >> 32);
        self.add(self.shared.epoch.elapsed(), bytes, None);
    }

    fn add(&mut self, due: Duration, bytes: usize, text: Option<&[u8]>) {
        let stamp = Stamp { publisher: self.member.publisher, n: self.n, due };
        self.n += 1;
        self.bodies.push(encode(stamp, bytes, text));
        if self.shared.acks {
            self.in_flight.due.lock().push_back(due);
        }
    }

    async fn send<S: Sender>(&mut self, sender: &mut S) -> anyhow::Result<()> {
        let count = self.bodies.len() as u64;
        self.member.conversation.published(count);
        sender.publish(&mut self.bodies).await?;
        if !self.shared.acks {
            self.member.conversation.acked(self.member.publisher, count);
        }
        Ok(())
    }

    fn end(&self) {
        self.in_flight.ended.store(true, Relaxed);
        if !self.shared.acks || self.in_flight.due.lock().is_empty() {
            self.in_flight.end_once(&self.shared.publishers);
        }
    }
}

/// Does something, and tells whether it had to wait for somebody.
async fn waiting<F: Future>(work: F) -> (F::Output, bool) {
    let mut work = pin!(work);
    let mut has_waited = false;
    let output = poll_fn(|task| {
        let polled = work.as_mut().poll(task);
        has_waited |= polled.is_pending();
        polled
    });
    (output.await, has_waited)
}

impl InFlight {
    /// Takes acks, and tells when each of the messages was due.
    fn acked(&self, count: u64, tell: impl FnMut(Duration)) {
        let mut due = self.due.lock();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(due.len());
        due.drain(..count).for_each(tell);
        drop(due);
        let mut places = self.places.lock();
        let taken = count.min(places.len());
        places.drain(..taken);
        drop(places);
        self.changed.notify_one();
    }

    /// Says that the publisher is done, if it is.
    fn end_if_done(&self, publishers: &Publishers) {
        if self.ended.load(Relaxed) && self.due.lock().is_empty() {
            self.end_once(publishers);
        }
    }

    fn end_once(&self, publishers: &Publishers) {
        if self.ended.swap(false, Relaxed) {
            publishers.one_is_done();
        }
    }
}

/// Takes what comes until all publishers are done and nothing is missing, or patience ends; gives what was
/// seen.
pub(super) async fn receive<R: Receiver>(
    mut receiver: R,
    member: Member,
    in_flight: Arc<InFlight>,
    shared: Arc<Shared>,
) -> anyhow::Result<Checker> {
    let mut checker = Checker::new(member.conversation.publishers());
    let mut all_done = shared.publishers.all_done();
    let mut taken = Vec::new();
    if member.is_stalled {
        let _never_fails = all_done.wait_for(|done| *done).await;
        return Ok(checker);
    }
    let mut deadline = Instant::now();
    let mut was_done = false;
    loop {
        let is_done = *all_done.borrow();
        if is_done && (!member.part.reads() || checker.came() >= member.conversation.expected()) {
            return Ok(checker);
        }
        if is_done && !was_done {
            deadline = Instant::now() + shared.patience;
            was_done = true;
        }
        tokio::select! {
            biased;
            received = receiver.receive(&mut taken) => received?,
            _ = all_done.changed(), if !is_done => continue,
            () = tokio::time::sleep_until(deadline.into()), if is_done => return Ok(checker),
        }
        take(&mut taken, &member, &in_flight, &shared, &mut checker);
    }
}

fn take(
    taken: &mut Vec<Received>,
    member: &Member,
    in_flight: &InFlight,
    shared: &Shared,
    checker: &mut Checker,
) {
    let now = shared.epoch.elapsed();
    let (mut acked, mut delivered, mut seqs) = (0, 0, Vec::new());
    let mut recorder = shared.recorder.lock();
    for received in taken.drain(..) {
        match received {
            Received::Acks(count) => {
                acked += count;
                in_flight.acked(count, |due| recorder.acked(now, due));
            }
            Received::Seq(seq) => seqs.push(seq),
            Received::Message { seq, body } => {
                delivered += 1;
                if let Some(stamp) = checker.take(seq, &body) {
                    recorder.delivered(now, stamp.due);
                }
            }
        }
    }
    drop(recorder);
    if !seqs.is_empty() {
        member.conversation.take_seqs(&seqs);
    }
    if acked > 0 {
        member.conversation.acked(member.publisher, acked);
        in_flight.end_if_done(&shared.publishers);
    }
    if delivered > 0 {
        member.conversation.delivered(delivered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_known() {
        assert_eq!(waiting(async { 5 }).await, (5, false));
        assert_eq!(waiting(tokio::task::yield_now()).await, ((), true));
    }
}
