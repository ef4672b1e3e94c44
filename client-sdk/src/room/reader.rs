//! The reading half of a conversation: a cursor, and a bounded buffer towards the application.

use std::sync::{Arc, OnceLock};

use quoth_protocol::frame::Start;
use quoth_protocol::{Code, Seq};
use tokio::sync::oneshot;

use crate::backoff::FAILURES_BEFORE_TOLD;
use crate::events::{ClientEvent, EventsError, IncomingEvents};
use crate::kept::{Cursor, ReadFrom};
use crate::progress::{Progress, Verdict};
use crate::queue::{self, queue};
use crate::transport::quic::STREAM_WINDOW_BYTES;

/// Events that wait for the application, in bytes: as much as the server may send ahead, so that half of it
/// covers the time that the other half takes to come. Outcome: the stream is not read on; the server holds
/// back what it has, and nothing is sent twice.
const BUFFER_BYTES_MAX: usize = STREAM_WINDOW_BYTES as usize;

/// Reading goes on when the buffer has drained to so much.
const BUFFER_LOW_WATER_BYTES: usize = BUFFER_BYTES_MAX / 2;

/// The same when acks are awaited on the stream: it must then be read on, the server is told to stop, and
/// what was on its way is kept: a window here and what the server has handed to its QUIC. Outcome: events are
/// dropped here and asked for again later.
const BUFFER_BYTES_IN_FLIGHT_MAX: usize = 8 * BUFFER_BYTES_MAX;

/// How the application hears that reading has begun.
pub(crate) type Ready = oneshot::Sender<Result<IncomingEvents, EventsError>>;

/// One reader of a conversation.
#[derive(Debug)]
pub(super) struct Reader {
    progress: Progress,
    /// The store that what it has handed out is of, and where it was to begin.
    store: Option<u64>,
    queue: queue::Sender,
    end: Arc<OnceLock<EventsError>>,
    waiting: Option<(Ready, IncomingEvents)>,
    /// The buffer was full and has not drained yet.
    paused: bool,
    /// Events were dropped: what comes on this stream does not follow on what was handed out.
    has_dropped: bool,
    /// Streams that the server has failed to serve since the last event.
    failures: u32,
}

/// An event that has no place behind those before it.
#[derive(Debug)]
pub(super) struct Misplaced {
    /// What had to come; `None` when the event cannot be anywhere.
    pub(super) expected: Option<Seq>,
    pub(super) got: Box<ClientEvent>,
}

/// What [`Reader::changed`] waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The application has dropped its end.
    Dropped,
    /// There is room again.
    Drained,
}

impl Reader {
    pub(super) fn new(ReadFrom { start, store }: ReadFrom, ready: Ready) -> Self {
        let (queue, receiver) = queue(BUFFER_LOW_WATER_BYTES);
        let end = Arc::new(OnceLock::new());
        let nowhere = Cursor { store: 0, seq: Seq::ZERO };
        let incoming = IncomingEvents { queue: receiver, end: Arc::clone(&end), cursor: nowhere };
        let (progress, waiting) = (Progress::new(start), Some((ready, incoming)));
        Self { progress, store, queue, end, waiting, paused: false, has_dropped: false, failures: 0 }
    }

    /// Where to read on from.
    pub(super) fn start(&self) -> Start {
        self.progress.start()
    }

    /// Whether the application has as much as it may have.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The last event that the application has taken, and whether there are further ones.
    pub(super) fn taken(&self) -> (Seq, bool) {
        self.queue.taken()
    }

    /// Whether the application has gone.
    pub(super) fn is_dropped(&self) -> bool {
        match &self.waiting {
            Some((ready, _)) => ready.is_closed(),
            None => self.queue.is_closed(),
        }
    }

    /// Waits until the application has gone, or has made room after a pause. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Change {
        if let Some((ready, _)) = &mut self.waiting {
            ready.closed().await;
            return Change::Dropped;
        }
        if !self.paused {
            self.queue.closed().await;
            return Change::Dropped;
        }
        tokio::select! {
            biased;
            () = self.queue.closed() => Change::Dropped,
            () = self.queue.drained() => Change::Drained,
        }
    }

    /// The server has this store. Whether it has handed out anything of another one, or was to begin there.
    pub(super) fn is_of_another(&mut self, store: u64) -> bool {
        let is_another = self.store.replace(store).is_some_and(|before| before != store);
        is_another && matches!(self.start(), Start::After(Seq(1..)))
    }

    /// The server reads from [`Reader::start`] on, in this store.
    pub(super) fn opened(&mut self, head: Seq, floor: Seq, store: u64) {
        self.progress.opened(head, floor);
        self.has_dropped = false;
        if let Some((ready, mut incoming)) = self.waiting.take() {
            if let Start::After(seq) = self.start() {
                incoming.cursor = Cursor { store, seq };
            }
            // An application that has gone has dropped the events with it, which `changed` tells.
            ready.send(Ok(incoming)).ok();
        }
        self.tell_caught_up();
    }

    /// Wants events again, after a pause.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether it can judge events that were asked for before a pause.
    pub(super) fn is_exact(&self) -> bool {
        self.progress.is_exact()
    }

    /// Hands out an event with this seq.
    pub(super) fn event(&mut self, seq: Seq, event: ClientEvent) -> Result<(), Misplaced> {
        let verdict = self.progress.check_event(seq);
        self.deliver(verdict, seq, event)
    }

    /// Hands out that events are missing.
    pub(super) fn gap(&mut self, from: Seq, to: Seq) -> Result<(), Misplaced> {
        let verdict = self.progress.check_gap(from, to);
        self.deliver(verdict, to, ClientEvent::Gap { from, to })
    }

    /// The server has failed to serve a stream. Whether that ends a reading that has not begun: one that has
    /// goes on, and its application is told.
    pub(super) fn failed(&mut self, code: Code) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures != FAILURES_BEFORE_TOLD {
            return false;
        }
        if self.waiting.is_none() {
            self.queue.send(ClientEvent::Interrupted { code });
        }
        self.waiting.is_some()
    }

    /// Ends the reading with a reason that the application hears behind the events that it has.
    pub(super) fn end(self, error: EventsError) {
        match self.waiting {
            // The application may have gone, which is an end as well.
            Some((ready, _)) => drop(ready.send(Err(error))),
            None => drop(self.end.set(error)),
        }
    }

    fn deliver(&mut self, verdict: Verdict, to: Seq, event: ClientEvent) -> Result<(), Misplaced> {
        match verdict {
            Verdict::Impossible => Err(Misplaced { expected: None, got: Box::new(event) }),
            Verdict::Hole { .. } if self.has_dropped => Ok(()),
            Verdict::Hole { expected } => Err(Misplaced { expected: Some(expected), got: Box::new(event) }),
            Verdict::Skip => Ok(()),
            Verdict::Deliver if self.queue.bytes() >= BUFFER_BYTES_IN_FLIGHT_MAX => {
                self.has_dropped = true;
                Ok(())
            }
            Verdict::Deliver => {
                self.queue.send(event);
                self.progress.advance(to);
                self.failures = 0;
                self.tell_caught_up();
                self.paused |= self.queue.bytes() >= BUFFER_BYTES_MAX;
                Ok(())
            }
        }
    }

    fn tell_caught_up(&mut self) {
        if let Some(head) = self.progress.caught_up() {
            self.queue.send(ClientEvent::CaughtUp { head });
            self.progress.told_caught_up();
        }
    }
}
