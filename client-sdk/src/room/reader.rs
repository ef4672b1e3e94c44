//! The reading half of a conversation: a cursor, and a bounded buffer towards the application.

use std::sync::{Arc, OnceLock};

use quoth_protocol::Seq;
use quoth_protocol::frame::Start;
use tokio::sync::{mpsc, oneshot};

use crate::cursor::{Cursor, Verdict};
use crate::events::{ClientEvent, EVENTS_BUFFER_MAX, EVENTS_LOW_WATER, EventsError, IncomingEvents};

/// How the application hears that reading has begun.
pub(crate) type Ready = oneshot::Sender<Result<IncomingEvents, EventsError>>;

/// One reader of a conversation.
#[derive(Debug)]
pub(super) struct Reader {
    cursor: Cursor,
    queue: mpsc::Sender<ClientEvent>,
    end: Arc<OnceLock<EventsError>>,
    waiting: Option<(Ready, IncomingEvents)>,
    /// The buffer was full: events are dropped here and asked for again later.
    paused: bool,
}

/// An event that has no place behind those before it.
#[derive(Debug)]
pub(super) struct Misplaced {
    /// What had to come; `None` when the event cannot be anywhere.
    pub(super) expected: Option<Seq>,
    pub(super) got: ClientEvent,
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
    pub(super) fn new(start: Start, ready: Ready) -> Self {
        let (queue, receiver) = mpsc::channel(EVENTS_BUFFER_MAX);
        let end = Arc::new(OnceLock::new());
        let incoming = IncomingEvents { queue: receiver, end: Arc::clone(&end) };
        Self { cursor: Cursor::new(start), queue, end, waiting: Some((ready, incoming)), paused: false }
    }

    /// Where to read on from.
    pub(super) fn start(&self) -> Start {
        self.cursor.start()
    }

    /// Whether the server should deliver: not while the buffer is full.
    pub(super) fn wants_events(&self) -> bool {
        !self.paused
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
        match self.queue.reserve_many(EVENTS_BUFFER_MAX - EVENTS_LOW_WATER).await {
            Ok(_) => Change::Drained,
            Err(_) => Change::Dropped,
        }
    }

    /// The server reads from [`Reader::start`] on.
    pub(super) fn opened(&mut self, head: Seq, floor: Seq) {
        self.cursor.opened(head, floor);
        if let Some((ready, incoming)) = self.waiting.take() {
            // An application that has gone has dropped the events with it, which `changed` tells.
            ready.send(Ok(incoming)).ok();
        }
        self.tell_caught_up();
    }

    /// Wants events again, after a pause.
    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.tell_caught_up();
    }

    /// Hands out an event with this seq.
    pub(super) fn event(&mut self, seq: Seq, event: ClientEvent) -> Result<(), Misplaced> {
        let verdict = self.cursor.check_event(seq);
        self.deliver(verdict, seq, event)
    }

    /// Hands out that events are missing.
    pub(super) fn gap(&mut self, from: Seq, to: Seq) -> Result<(), Misplaced> {
        let verdict = self.cursor.check_gap(from, to);
        self.deliver(verdict, to, ClientEvent::Gap { from, to })
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
        if self.paused {
            return Ok(());
        }
        match verdict {
            Verdict::Skip => Ok(()),
            Verdict::Impossible => Err(Misplaced { expected: None, got: event }),
            Verdict::Hole { expected } => Err(Misplaced { expected: Some(expected), got: event }),
            Verdict::Deliver => match self.queue.try_send(event) {
                Ok(()) => {
                    self.cursor.advance(to);
                    self.tell_caught_up();
                    Ok(())
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.paused = true;
                    Ok(())
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            },
        }
    }

    /// When there is no room for it now, it is told when reading goes on.
    fn tell_caught_up(&mut self) {
        if let Some(head) = self.cursor.caught_up()
            && self.queue.try_send(ClientEvent::CaughtUp { head }).is_ok()
        {
            self.cursor.told_caught_up();
        }
    }
}
