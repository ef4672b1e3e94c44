//! The task of one open conversation: it owns the conversation's stream, its outbox and its reader.
//!
//! `next_input` waits for one thing at a time and everything else is plain code on that input, so nothing
//! here ever waits for the application or for the server while the other one has something to say.

mod ends;
mod probe;
mod reader;
mod stream;

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Event, Open, ServerFrame, Start};
use quoth_protocol::{Code, ConversationName, ProducerId};
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::probe::Probe;
pub(crate) use self::reader::Ready;
use self::reader::{Change, Misplaced, Reader};
use self::stream::{Opening, Slot, StreamInput};
use crate::backoff::Backoff;
use crate::events::{ClientEvent, EventsError};
use crate::kept::ReadFrom;
use crate::link::Link;
use crate::marks::Marks;
use crate::outbox::{Answer, Outbox, Reattached};
use crate::requests::{Receipt, Receiving};
use crate::send::{Ack, MessageId, Numbers, Refusal, SendError, SendOptions, retry_after};
use crate::state::{Reason, printable};
use crate::wire::{Incoming, StreamEnd};

/// Commands that wait for the task. Outcome: callers wait.
pub(crate) const COMMANDS_MAX: usize = 256;

/// Commands taken at once, so that sends made together leave together.
const COMMANDS_BATCH: usize = 64;

/// Who waits for an answer to a publish.
pub(crate) type Waiter = oneshot::Sender<Result<Ack, SendError>>;

/// What the application asks of a conversation.
#[derive(Debug)]
pub(crate) enum Command {
    Send { options: SendOptions, deadline: Instant, waiter: Waiter },
    Resend { n: u64, deadline: Instant, waiter: Waiter },
    Read { from: ReadFrom, ready: Ready },
}

/// One conversation's task.
pub(crate) struct Room {
    name: ConversationName,
    producer: ProducerId,
    numbers: Arc<Numbers>,
    commands: mpsc::Receiver<Command>,
    /// All handles are gone, or the client closes: finish what waits, then end.
    leaving: bool,
    link: watch::Receiver<Link>,
    outbox: Outbox<Waiter>,
    probe: Probe,
    reader: Option<Reader>,
    /// Which store the server has had so far.
    store: Option<u64>,
    receiving: Receiving,
    marks: Marks,
    stream: Slot,
    backoff: Backoff,
    rng: StdRng,
}

/// The one thing that happened.
enum Input {
    Link,
    LinkGone,
    Timer,
    Reader(Change),
    Commands(Vec<Command>),
    Marked,
    Stream(StreamInput),
}

impl Room {
    pub(crate) fn new(
        name: ConversationName,
        (producer, numbers): (ProducerId, Arc<Numbers>),
        commands: mpsc::Receiver<Command>,
        link: watch::Receiver<Link>,
        (receiving, marks): (Receiving, Marks),
        rng: StdRng,
    ) -> Self {
        Self {
            name,
            producer,
            numbers,
            commands,
            leaving: false,
            link,
            outbox: Outbox::new(),
            probe: Probe::default(),
            reader: None,
            store: None,
            receiving,
            marks,
            stream: Slot::Closed { not_before: None, lost_epoch: None },
            backoff: Backoff::default(),
            rng,
        }
    }

    /// Runs until all handles are gone and everything sent has an answer, or until the client has ended. A
    /// predecessor for the same conversation must have closed its stream first.
    pub(crate) async fn run(mut self, predecessor: Option<JoinHandle<()>>) {
        if let Some(predecessor) = predecessor {
            // An error means that it panicked: its stream is gone as well.
            predecessor.await.ok();
        }
        self.see_link();
        loop {
            if let Some(reason) = self.ended() {
                return self.fail(&reason);
            }
            if self.leaving && self.outbox.is_empty() && self.reader.is_none() && !self.marks.waits() {
                break;
            }
            self.advance();
            let input = self.next_input().await;
            self.handle(input);
        }
        if let Slot::Open(stream) = self.stream {
            stream.finish().await;
        }
    }

    async fn next_input(&mut self) -> Input {
        let wake = self.wake();
        let may_read = self.may_read();
        let Self { commands, link, outbox, reader, marks, stream, leaving, .. } = self;
        let room = outbox.room().min(COMMANDS_BATCH);
        let mut batch = Vec::new();
        // In a fixed order, so that a simulation is repeatable. What may always be ready comes last.
        tokio::select! {
            biased;
            changed = link.changed() => if changed.is_ok() { Input::Link } else { Input::LinkGone },
            () = sleep_until(wake) => Input::Timer,
            change = changed(reader) => Input::Reader(change),
            count = commands.recv_many(&mut batch, room), if room > 0 && !*leaving => {
                *leaving = count == 0;
                Input::Commands(batch)
            }
            () = marks.answered() => Input::Marked,
            input = stream.next(may_read) => Input::Stream(input),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Link => self.see_link(),
            Input::LinkGone => self.fail(&Reason::Closed),
            Input::Timer => {
                self.expire();
                self.mark();
            }
            Input::Reader(Change::Dropped) => self.give_reader_up(),
            Input::Reader(Change::Drained) => {
                if let Some(reader) = &mut self.reader {
                    reader.resume();
                }
            }
            Input::Commands(commands) => commands.into_iter().for_each(|c| self.command(c)),
            Input::Marked => self.mark(),
            Input::Stream(StreamInput::Wrote) => {}
            Input::Stream(StreamInput::Opened(Ok(stream))) => {
                let open =
                    Open { conversation: self.name.clone(), producer: self.producer, from: self.from() };
                self.stream = Slot::Open(Box::new(stream.open(open)));
            }
            Input::Stream(StreamInput::Incoming(Ok(first))) => self.incoming(first),
            Input::Stream(StreamInput::Opened(Err(end)) | StreamInput::Incoming(Err(end))) => self.lost(end),
        }
    }

    /// Does what can be done without waiting: opens a stream if one is needed, tells the server whether to
    /// deliver, and sends what waits.
    fn advance(&mut self) {
        let from = self.from();
        let wanted = from.is_some() || !self.outbox.is_empty();
        let link = self.link.borrow();
        match &mut self.stream {
            Slot::Opening(opening) if !wanted => self.stream = opening.cancelled(),
            Slot::Opening(_) => {}
            Slot::Closed { not_before, lost_epoch } => {
                let due = not_before.is_none_or(|at| at <= Instant::now());
                let session = link.usable().filter(|s| lost_epoch.is_none_or(|lost| s.epoch > lost));
                if let Some(session) = session.filter(|_| wanted && due) {
                    self.stream = Slot::Opening(Opening::new(session));
                }
            }
            Slot::Open(stream) => {
                if stream.is_delivering != from.is_some() && stream.is_writable() {
                    stream.read_from(from);
                }
                let Some(session) = link.usable().filter(|s| s.epoch == stream.epoch()) else {
                    return self.probe.reset();
                };
                // Before Welcome only repeats go out: of all else it is known that it was not sent, should
                // the server refuse the sign-in. Where another path may still win they wait as well.
                let may_begin = session.signed_in.is_some();
                while stream.has_room() && session.may_publish() {
                    let Some(publish) = self.outbox.take_next(may_begin) else { break };
                    stream.push(&ClientFrame::Publish(publish));
                }
                if !self.outbox.is_awaiting() || !stream.is_writable() {
                    self.probe.reset();
                } else if self.probe.is_due(Instant::now(), session.connection.round_trip())
                    && stream.has_written_all()
                    && let Some(publish) = self.outbox.repeat_oldest()
                {
                    stream.push(&ClientFrame::Publish(publish));
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Send { options, deadline, waiter } => {
                let n = options.n.unwrap_or_else(|| self.numbers.next());
                self.numbers.used(n);
                self.outbox.push(options.publish(n), deadline, waiter);
            }
            Command::Resend { n, deadline, waiter } => match self.outbox.reattach(n, deadline, waiter) {
                Reattached::Waiting => {}
                Reattached::Settled(waiter, answer) => self.answer(n, answer, [waiter]),
                Reattached::Unknown(waiter) => {
                    // Who has gone does not want the answer, here and below.
                    waiter.send(Err(SendError::UnknownMessage { id: self.id(n) })).ok();
                }
            },
            Command::Read { from, ready } => self.begin_reading(from, ready),
        }
    }

    fn incoming(&mut self, first: Incoming) {
        let mut next = Some(first);
        while let Some(incoming) = next {
            if let Err(end) = self.frame(incoming) {
                return self.lost(end);
            }
            if !self.may_read() {
                return;
            }
            let Slot::Open(stream) = &mut self.stream else { return };
            next = match stream.buffered() {
                Ok(next) => next,
                Err(end) => return self.lost(end),
            };
        }
    }

    fn frame(&mut self, incoming: Incoming) -> Result<(), StreamEnd> {
        let frame = match incoming {
            Incoming::UnknownEvent { seq, time_ms, sender } => {
                return self.deliver(|r| r.event(seq, ClientEvent::Unknown { seq, time_ms, sender }));
            }
            Incoming::Frame(frame) => frame,
        };
        match frame {
            ServerFrame::Opened { head, floor, store } => {
                if let Slot::Open(stream) = &mut self.stream {
                    stream.answered();
                }
                self.see_store(store);
                if let Some(reader) = self.current_reader() {
                    reader.opened(head, floor, store);
                }
                Ok(())
            }
            ServerFrame::Event(event) => {
                self.note_received(&event);
                self.deliver(|r| r.event(event.seq, ClientEvent::Event(event)))
            }
            ServerFrame::Receipt { user, delivered, read } => {
                self.receiving.tell(user, Receipt { delivered, read });
                Ok(())
            }
            ServerFrame::Gap { from, to } => self.deliver(|r| r.gap(from, to)),
            ServerFrame::Ack { n, seq, time_ms, duplicate } => {
                self.settle(n, Ok(Ack { seq, time_ms, duplicate }));
                Ok(())
            }
            ServerFrame::Refused { n, code, retry_after_ms, reason } => {
                let (reason, retry_after) = (printable(&reason), retry_after(retry_after_ms));
                self.settle(n, Err(Refusal { code, reason, retry_after }));
                Ok(())
            }
            other => Err(StreamEnd::Protocol(format!("{other:?} has no place here"))),
        }
    }

    fn settle(&mut self, n: u64, answer: Answer) {
        let (waiters, answer) = self.outbox.answered(n, answer);
        self.probe.reset();
        self.answer(n, answer, waiters);
    }

    fn answer(&self, n: u64, answer: Answer, waiters: impl IntoIterator<Item = Waiter>) {
        for waiter in waiters {
            let refused = |Refusal { code, reason, retry_after }| SendError::Refused {
                id: self.id(n),
                code,
                reason,
                retry_after,
            };
            waiter.send(answer.clone().map_err(refused)).ok();
        }
    }
}

/// Reading.
impl Room {
    /// Where the server should read from, unless it should not. When the reader has enough, the stream is
    /// left unread, which holds the server up; only a stream on which acks are awaited must be read, and then
    /// the server must stop.
    fn from(&self) -> Option<Start> {
        let is_delivering = matches!(&self.stream, Slot::Open(stream) if stream.is_delivering);
        let may_be_left = is_delivering && self.outbox.is_empty();
        self.reader.as_ref().filter(|r| may_be_left || !r.is_paused()).map(Reader::start)
    }

    /// Whether the stream is to be read on.
    fn may_read(&self) -> bool {
        let is_delivering = matches!(&self.stream, Slot::Open(s) if s.is_delivering && s.is_writable());
        !is_delivering || !self.reader.as_ref().is_some_and(Reader::is_paused)
    }

    fn begin_reading(&mut self, from: ReadFrom, ready: Ready) {
        if self.reader.as_ref().is_some_and(Reader::is_dropped) {
            self.give_reader_up();
        }
        if self.reader.is_some() {
            let conversation = self.name.clone();
            ready.send(Err(EventsError::AlreadyReading { conversation })).ok();
            return;
        }
        // Without another word it is of the store that the server has had.
        let store = from.store.or(self.store);
        self.reader = Some(Reader::new(ReadFrom { store, ..from }, ready));
        self.marks.begin();
        // Otherwise what is on its way may be taken for what it goes on with.
        let is_known = matches!(&self.stream, Slot::Open(stream) if stream.opened_at.is_some());
        if let Some(store) = self.store.filter(|_| is_known) {
            self.see_store(store);
        }
    }

    /// The server has this store. What was read of another one goes on nowhere here: the same seqs are other
    /// events.
    fn see_store(&mut self, store: u64) {
        if self.store.replace(store).is_some_and(|before| before != store) {
            self.marks.forget();
        }
        if self.reader.as_mut().is_some_and(|reader| reader.is_of_another(store)) {
            let code = Code::CURSOR_AHEAD;
            self.end_reading(|conversation| EventsError::Refused { conversation, code });
        }
    }

    /// The reader, if the last `Opened` was for it.
    fn current_reader(&mut self) -> Option<&mut Reader> {
        let is_current = matches!(&self.stream, Slot::Open(stream) if stream.is_current());
        self.reader.as_mut().filter(|_| is_current)
    }

    /// The reader, if it can take an event: one that it has asked for, or one that was on its way when the
    /// server was told to stop, as long as it is the next one.
    fn judging_reader(&mut self) -> Option<&mut Reader> {
        let is_current = matches!(&self.stream, Slot::Open(stream) if stream.is_current());
        self.reader.as_mut().filter(|r| is_current || r.is_exact())
    }

    fn deliver(
        &mut self,
        hand_out: impl FnOnce(&mut Reader) -> Result<(), Misplaced>,
    ) -> Result<(), StreamEnd> {
        let Some(reader) = self.judging_reader() else { return Ok(()) };
        hand_out(reader).map_err(|Misplaced { expected, got }| {
            StreamEnd::Protocol(match expected {
                Some(expected) => format!("{expected:?} had to come in place of {got:?}"),
                None => format!("{got:?} has a seq that there cannot be"),
            })
        })
    }

    /// Its application has gone. What is still asked for is not for the reader that may follow.
    fn give_reader_up(&mut self) {
        self.mark_last();
        self.reader = None;
        if let Slot::Open(stream) = &mut self.stream
            && stream.is_delivering
        {
            stream.read_from(None);
        }
    }

    fn end_reading(&mut self, error: impl FnOnce(ConversationName) -> EventsError) {
        self.mark_last();
        if let Some(reader) = self.reader.take() {
            reader.end(error(self.name.clone()));
        }
    }
}

/// That what was read has been received.
impl Room {
    fn note_received(&mut self, event: &Event) {
        if !self.marks.is_curious() || self.reader.is_none() || event.kind.body().is_none() {
            return;
        }
        let link = self.link.borrow();
        let me = link.signed_in().and_then(|session| session.signed_in.as_ref()).map(|s| &s.welcome.user);
        if me != Some(&event.sender) {
            self.marks.received(event.seq, Instant::now());
        }
    }

    fn mark(&mut self) {
        let reader = self.reader.as_ref().map(Reader::taken);
        let link = self.link.borrow();
        let session = link.signed_in().and_then(|session| session.signed_in.as_ref());
        self.marks.mark(&self.name, reader, session, Instant::now());
    }

    /// Nothing more is taken by this reader.
    fn mark_last(&mut self) {
        let Some(reader) = &self.reader else { return };
        let link = self.link.borrow();
        let session = link.signed_in().and_then(|session| session.signed_in.as_ref());
        self.marks.end(&self.name, reader.taken().0, session);
    }
}

/// Helpers.
impl Room {
    fn wake(&self) -> Option<Instant> {
        let reopen = match &self.stream {
            Slot::Closed { not_before, .. } => not_before.filter(|at| *at > Instant::now()),
            Slot::Opening(_) | Slot::Open(_) => None,
        };
        [reopen, self.outbox.next_deadline(), self.probe.due(), self.marks.due()].into_iter().flatten().min()
    }

    fn id(&self, n: u64) -> MessageId {
        MessageId { producer: self.producer, n }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn changed(reader: &mut Option<Reader>) -> Change {
    match reader {
        Some(reader) => reader.changed().await,
        None => std::future::pending().await,
    }
}
