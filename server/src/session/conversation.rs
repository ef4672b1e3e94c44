//! A conversation stream: publishes and their outcomes, and one cursor that pulls from tail and view.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::authorize::{Action, Grant, authorize};
use quoth_core::conversation::{ConversationStream, Output};
use quoth_core::tail::Next;
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start, feature};
use quoth_protocol::limits::{FRAME_BYTES_MAX, START_LAST_MAX};
use quoth_protocol::{Code, ConversationName, Seq};
use quoth_store::{Bounds, PageLimit, ViewError};
use tokio::sync::watch;

use super::connection::Shared;
use super::frames::{FrameReader, FrameWriter, ReadFailure, WriteFailure};
use super::{Phase, PhaseReceiver};
use crate::engine::{Engine, Mailbox, Outcome, Page, Publisher, RosterWatch, Subscription};

/// What a reader that is behind reads from the view at once.
const VIEW_PAGE: PageLimit = PageLimit { records: 256, bytes: 64 * 1024 };

/// Runs a conversation stream until either side ends it. The error is the code to reset it with.
pub(super) async fn run(
    shared: &Arc<Shared>,
    open: Open,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> Result<(), Code> {
    let grant = shared.grant.borrow().clone();
    let machine = ConversationStream::open(&open, &grant, shared.features & feature::ROSTER != 0)?;
    let _open = OpenGuard::new(shared, &open.conversation)?;
    reader.set_frame_bytes_max(FRAME_BYTES_MAX);
    reader.set_paces(shared.paces.as_ref().map(|paces| paces.stream(Some(&open.conversation))));
    let engine = shared.service.engine.clone();
    let mailbox =
        engine.mailbox(&grant.user, Arc::clone(&shared.typings), shared.features & feature::ROSTER != 0);
    let mut stream = Stream {
        publisher: Publisher::new(
            open.conversation.clone(),
            grant.user.clone(),
            open.producer,
            Arc::clone(&mailbox),
        ),
        mailbox,
        cursor: Cursor {
            state: CursorState::Off,
            subscription: None,
            woken: false,
            roster: None,
            known: Seq::ZERO,
        },
        read: None,
        outcomes: Vec::new(),
        frames: Vec::new(),
        answers: VecDeque::new(),
        client_finished: false,
        drains: false,
        machine,
        engine,
        grant,
    };
    stream.seek(open.from, true);
    stream.run(shared, reader, writer).await
}

/// Keeps the conversation in the connection's set of open ones.
struct OpenGuard<'a>(&'a Shared, ConversationName);

impl<'a> OpenGuard<'a> {
    fn new(shared: &'a Shared, name: &ConversationName) -> Result<Self, Code> {
        shared.open.add(name)?;
        Ok(Self(shared, name.clone()))
    }
}

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.open.remove(&self.1);
    }
}

struct Stream {
    machine: ConversationStream,
    engine: Engine,
    grant: Arc<Grant>,
    publisher: Arc<Publisher>,
    mailbox: Arc<Mailbox>,
    cursor: Cursor,
    /// The read from the view that is under way; at most one.
    read: Option<StoreRead>,
    outcomes: Vec<Outcome>,
    /// Frames on their way from the tail to the writer.
    frames: Vec<Bytes>,
    /// Answers that the writer has, in order: how many end at or before which byte of the stream.
    answers: VecDeque<(u64, usize)>,
    client_finished: bool,
    drains: bool,
}

/// The stream's reader.
struct Cursor {
    state: CursorState,
    /// Held while there is a reader, from before its first read on, so that no event goes unnoticed.
    subscription: Option<Subscription>,
    /// Whether a wake-up has come since the last read from the view began, which may have missed what it is about.
    woken: bool,
    /// Who else reads, if the client wants to know.
    roster: Option<RosterWatch>,
    /// The last event that the client can know of.
    known: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CursorState {
    /// Nothing is delivered.
    Off,
    /// A start is being resolved.
    Starts(Option<Start>),
    /// The last event that was handed to the writer.
    At(Seq),
    /// The view had nothing behind this seq, and no wake-up has come since.
    AtEndOfView(Seq),
}

/// A read from the view.
struct StoreRead(Pin<Box<dyn Future<Output = Result<ReadResult, ViewError>> + Send>>);

enum ReadResult {
    Bounds(Bounds),
    Page(Page),
}

impl StoreRead {
    fn bounds(engine: &Engine, name: &ConversationName) -> Self {
        let (engine, name) = (engine.clone(), name.clone());
        Self(Box::pin(async move { engine.bounds(&name).await.map(ReadResult::Bounds) }))
    }

    fn begin(engine: &Engine, publisher: &Arc<Publisher>) -> Self {
        let (engine, publisher) = (engine.clone(), Arc::clone(publisher));
        Self(Box::pin(async move { engine.begin(&publisher).await.map(ReadResult::Bounds) }))
    }

    fn page(engine: &Engine, name: &ConversationName, cursor: Seq) -> Self {
        let (reads, name) = (engine.reads().clone(), name.clone());
        Self(Box::pin(async move { reads.after(&name, cursor, VIEW_PAGE).await.map(ReadResult::Page) }))
    }
}

enum Happened {
    Read(Result<Option<ClientFrame>, ReadFailure>),
    Wrote(Result<(), WriteFailure>),
    Loaded(Result<ReadResult, ViewError>),
    Woken,
    Granted(watch::Receiver<Arc<Grant>>),
    Phase((Phase, PhaseReceiver)),
}

impl Stream {
    async fn run(
        &mut self,
        shared: &Shared,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<(), Code> {
        // These two seldom happen: they are waited for once, not anew after each wake-up.
        let mut regranted = pin!(regranted(shared.grant.clone()));
        let mut phase = pin!(next_phase(shared.service.phase.clone(), self.drains));
        loop {
            self.deliver(writer)?;
            let ends = self.client_finished || self.drains;
            if ends && self.machine.unanswered() == 0 && writer.is_idle() {
                return Ok(());
            }
            let reads = !ends && self.machine.may_read() && !self.cursor.starts();
            let happened = tokio::select! {
                biased;
                written = writer.write(), if !writer.is_idle() => Happened::Wrote(written),
                () = self.mailbox.woken() => Happened::Woken,
                loaded = load(&mut self.read), if self.read.is_some() => Happened::Loaded(loaded),
                frame = reader.next(), if reads => Happened::Read(frame),
                granted = &mut regranted => Happened::Granted(granted),
                next = &mut phase => Happened::Phase(next),
            };
            match happened {
                Happened::Wrote(Ok(())) => self.wrote(writer.written_bytes()),
                Happened::Wrote(Err(WriteFailure::Stalled)) => return Err(Code::GOING_AWAY),
                Happened::Wrote(Err(WriteFailure::Gone)) | Happened::Read(Err(ReadFailure::Gone)) => {
                    return Ok(());
                }
                Happened::Read(Ok(Some(frame))) => {
                    self.take(frame, writer).await?;
                    // Streams do not yield by themselves, and a client may send what needs no answer.
                    tokio::task::consume_budget().await;
                }
                Happened::Read(Ok(None)) => self.client_finished = true,
                Happened::Read(Err(ReadFailure::Broken(code))) => return Err(code),
                Happened::Loaded(loaded) => self.loaded(loaded, writer)?,
                Happened::Woken => self.cursor.wake(),
                Happened::Granted(mut granted) => {
                    self.regrant(granted.borrow_and_update().clone())?;
                    regranted.set(self::regranted(granted));
                }
                Happened::Phase((Phase::Failed, _)) => return Err(Code::STORE_FAILED),
                Happened::Phase((_, receiver)) => {
                    self.drains = true;
                    writer.drain();
                    phase.set(next_phase(receiver, self.drains));
                }
            }
        }
    }

    /// Gives the writer what there is for it: outcomes always, events as far as there is room.
    fn deliver(&mut self, writer: &mut FrameWriter) -> Result<(), Code> {
        self.mailbox.take(&mut self.outcomes);
        // What the client shall try again is no refusal: it may be stored.
        let try_again = |outcome: &Outcome| {
            outcome.result.err().filter(|code| code.action() == quoth_protocol::Action::Retry)
        };
        if let Some(code) = self.outcomes.iter().find_map(try_again) {
            return Err(code);
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.answer(outcomes.drain(..).map(Outcome::frame), writer);
        self.outcomes = outcomes;
        if self.client_finished || self.drains {
            return Ok(());
        }
        self.tell_roster(writer);
        while let CursorState::At(cursor) = self.cursor.state {
            if writer.room() == 0 || self.read.is_some() {
                return Ok(());
            }
            match self.engine.read_tail(self.machine.conversation(), cursor, writer.room(), &mut self.frames)
            {
                Next::Wait => return Ok(()),
                Next::View { .. } => {
                    self.cursor.woken = false;
                    self.read = Some(StoreRead::page(&self.engine, self.machine.conversation(), cursor));
                }
                Next::Frames(cursor) => {
                    self.cursor.state = CursorState::At(cursor);
                    writer.extend(self.frames.drain(..));
                }
            }
        }
        Ok(())
    }

    /// Tells who else reads, if that has changed. A client that does not read on is told the latest when it does.
    fn tell_roster(&mut self, writer: &mut FrameWriter) {
        if !self.cursor.starts()
            && writer.room() > 0
            && let Some(roster) = &mut self.cursor.roster
        {
            writer.extend(roster.take());
        }
    }

    fn answer(&mut self, frames: impl IntoIterator<Item = ServerFrame>, writer: &mut FrameWriter) {
        let mut count = 0;
        for frame in frames {
            writer.push(&frame);
            count += 1;
        }
        if count > 0 {
            self.answers.push_back((writer.end(), count));
        }
    }

    /// The stream is written up to a byte: the answers before it are no longer owed.
    fn wrote(&mut self, written_bytes: u64) {
        while let Some((end, count)) = self.answers.front()
            && *end <= written_bytes
        {
            self.machine.answered(*count);
            self.answers.pop_front();
        }
    }

    async fn take(&mut self, frame: ClientFrame, writer: &mut FrameWriter) -> Result<(), Code> {
        match self.machine.handle(frame, &self.grant) {
            Output::Append(append) => {
                if !self.engine.publish(&self.publisher, append).await {
                    return Err(Code::STORE_FAILED);
                }
            }
            Output::Seek(from) => self.seek(from, false),
            Output::Seen(seq) if seq <= self.cursor.known() => {
                self.engine.seen(self.machine.conversation(), &self.mailbox, seq);
            }
            Output::Seen(_) => {}
            Output::Send(frame) => self.answer([frame], writer),
            Output::Reset(code) => return Err(code),
        }
        Ok(())
    }

    /// Moves the cursor. An Open is answered even when it starts no reader.
    fn seek(&mut self, from: Option<Start>, is_open: bool) {
        if from.is_some() {
            let subscription = || self.engine.subscribe(self.machine.conversation(), &self.mailbox);
            self.cursor.subscription.get_or_insert_with(subscription);
        } else {
            self.cursor.subscription = None;
        }
        if self.machine.has_roster() {
            let watch = || self.engine.watch_roster(self.machine.conversation());
            self.cursor.roster.get_or_insert_with(watch);
        } else {
            self.cursor.roster = None;
        }
        if from.is_none() && !is_open {
            self.cursor.state = CursorState::Off;
            return;
        }
        self.cursor.state = CursorState::Starts(from);
        let (engine, name) = (&self.engine, self.machine.conversation());
        if is_open && authorize(&self.grant, Action::Write, name).is_ok() {
            self.read = Some(StoreRead::begin(engine, &self.publisher));
        } else if self.read.is_none() {
            // A read that is under way goes on when it is dropped, so the next one waits for it.
            self.read = Some(StoreRead::bounds(engine, name));
        }
    }

    fn loaded(
        &mut self,
        loaded: Result<ReadResult, ViewError>,
        writer: &mut FrameWriter,
    ) -> Result<(), Code> {
        self.read = None;
        let loaded = loaded.map_err(|error| {
            tracing::error!(%error, conversation = %self.machine.conversation(), "the conversation cannot be read");
            Code::STORE_FAILED
        })?;
        match (loaded, self.cursor.state) {
            (ReadResult::Bounds(Bounds { floor, head }), CursorState::Starts(from)) => {
                self.answer([ServerFrame::Opened { head, floor }], writer);
                self.cursor.known = self.cursor.known.max(head);
                self.cursor.state = start(from, head, floor)?;
            }
            (ReadResult::Page(page), CursorState::At(cursor)) => {
                self.cursor.state = match page.reached {
                    reached if reached == cursor && !self.cursor.woken => CursorState::AtEndOfView(cursor),
                    reached => CursorState::At(reached),
                };
                writer.extend(page.frames);
            }
            // The cursor was moved meanwhile.
            (ReadResult::Page(_), CursorState::Starts(_)) => {
                self.read = Some(StoreRead::bounds(&self.engine, self.machine.conversation()));
            }
            _ => {}
        }
        Ok(())
    }

    /// A new token may no longer allow what the stream does.
    fn regrant(&mut self, grant: Arc<Grant>) -> Result<(), Code> {
        self.grant = grant;
        if self.cursor.subscription.is_none() {
            return Ok(());
        }
        authorize(&self.grant, Action::Read, self.machine.conversation())
    }
}

impl Cursor {
    /// Whether a start is being resolved. No frame is taken meanwhile, so a stream reads one thing at a time from the view.
    fn starts(&self) -> bool {
        matches!(self.state, CursorState::Starts(_))
    }

    /// The last event that the client can know of.
    fn known(&self) -> Seq {
        match self.state {
            CursorState::At(cursor) | CursorState::AtEndOfView(cursor) => self.known.max(cursor),
            CursorState::Off | CursorState::Starts(_) => self.known,
        }
    }

    fn wake(&mut self) {
        self.woken = true;
        if let CursorState::AtEndOfView(cursor) = self.state {
            self.state = CursorState::At(cursor);
        }
    }
}

/// Where a start lies.
fn start(from: Option<Start>, head: Seq, floor: Seq) -> Result<CursorState, Code> {
    let before_floor = floor.0.saturating_sub(1);
    match from {
        None => Ok(CursorState::Off),
        Some(Start::After(cursor)) if cursor > head => Err(Code::CURSOR_AHEAD),
        Some(Start::After(cursor)) => Ok(CursorState::At(cursor)),
        Some(Start::Last(count)) => {
            let cursor = head.0.saturating_sub(count.min(START_LAST_MAX).into());
            Ok(CursorState::At(Seq(cursor.max(before_floor.min(head.0)))))
        }
        Some(Start::Live) => Ok(CursorState::At(head)),
    }
}

/// Waits for another grant. One that never comes is waited for for ever: the connection that gives them is gone, and its
/// streams end with it.
async fn regranted(mut granted: watch::Receiver<Arc<Grant>>) -> watch::Receiver<Arc<Grant>> {
    match granted.changed().await {
        Ok(()) => granted,
        Err(_) => std::future::pending().await,
    }
}

async fn next_phase(phase: PhaseReceiver, drains: bool) -> (Phase, PhaseReceiver) {
    (phase.next(drains).await, phase)
}

async fn load(read: &mut Option<StoreRead>) -> Result<ReadResult, ViewError> {
    match read {
        Some(StoreRead(future)) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::frame::Start;
    use quoth_protocol::limits::START_LAST_MAX;
    use quoth_protocol::{Code, Seq};

    use super::{CursorState, start};

    #[test]
    fn reading_starts_with_so_many_events_at_most() {
        let starts = |from, head, floor| start(Some(from), Seq(head), Seq(floor));
        let (most, head) = (START_LAST_MAX, 3 * u64::from(START_LAST_MAX));
        let first = Ok(CursorState::At(Seq(head - u64::from(most))));
        assert_eq!(starts(Start::Last(most), head, 1), first);
        assert_eq!(starts(Start::Last(u32::MAX), head, 1), first);
        assert_eq!(starts(Start::Last(5), 3, 1), Ok(CursorState::At(Seq::ZERO)));
        assert_eq!(starts(Start::Last(5), 10, 8), Ok(CursorState::At(Seq(7))), "from the floor on");
        assert_eq!(starts(Start::After(Seq(11)), 10, 1), Err(Code::CURSOR_AHEAD));
    }
}
