//! A conversation stream: publishes and their outcomes, and one cursor that pulls from tail and view.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::authorize::{Action, Grant, Reach, Standing};
use quoth_core::conversation::{Append, ConversationStream, Output, Rights};
use quoth_core::membership::{Actor, ConversationState, Refusal};
use quoth_core::receipts::Cursor as Receipt;
use quoth_core::tail::{Next, Wanted};
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start, feature};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::{Bounds, ViewError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Shared;
use super::cursor::{Cursor, CursorState, ReadResult, StoreRead, load, start};
use super::frames::{FrameReader, FrameWriter, ReadFailure, WriteFailure};
use super::judged::{Judged, Messages};
use super::{Phase, PhaseReceiver};
use crate::engine::{
    Access, Engine, Greeting, Mailbox, Outcome, PageParts, Publisher, Role, Stand, is_small,
};
use crate::hooks::{Hook, Judgement};

/// How long who has left has to read up to there before the stream is reset, which may overtake what is on
/// its way; and as many round trips more as it takes to send again what is lost. The protocol says that it is
/// less than a second.
const END_DELAY: Duration = Duration::from_millis(300);
const END_ROUND_TRIPS: u32 = 2;
const END_DELAY_MAX: Duration = Duration::from_millis(900);

/// Runs a conversation stream until either side ends it. The error is the code to reset it with.
pub(super) async fn run(
    shared: &Arc<Shared>,
    open: Open,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> Result<(), Code> {
    let engine = shared.service.engine.clone();
    let user = shared.grant.borrow().user.clone();
    let access = engine.access(&open.conversation, &user).await.map_err(|error| {
        tracing::error!(%error, conversation = %open.conversation, "the conversation cannot be read");
        Code::STORE_FAILED
    })?;
    let grant = shared.grant.borrow().clone();
    let stand = access.stand(Actor::User(&grant));
    let rights = rights_of(&grant, &stand.standing, &engine);
    // Everybody knows who reads their own log.
    let has_roster = shared.features & feature::ROSTER != 0 && !open.conversation.is_me();
    let machine = ConversationStream::open(&open, rights, has_roster)?;
    let _open = OpenGuard::new(shared, &open.conversation, &access)?;
    reader.set_frame_bytes_max(FRAME_BYTES_MAX);
    reader.set_paces(shared.paces.as_ref().map(|paces| paces.stream(Some(&open.conversation))));
    let mailbox = engine.mailbox(&user, Arc::clone(&shared.typings), has_roster);
    let publisher =
        Publisher::new(Arc::clone(&access), Role::User, user, open.producer, Arc::clone(&mailbox));
    let mut stream = Stream {
        publisher,
        mailbox,
        cursor: Cursor {
            state: CursorState::Off,
            subscription: None,
            woken: false,
            roster: None,
            known: Seq::ZERO,
        },
        last: Reach::Whole.last(),
        ends_at: None,
        read: None,
        page: None,
        outcomes: Vec::new(),
        frames: Vec::new(),
        hook: shared.service.hooks.publish.clone(),
        judged: Messages::default(),
        wants_receipts: shared.features & feature::MESSAGES != 0 && !open.conversation.is_me(),
        answers: VecDeque::new(),
        client_finished: false,
        drains: false,
        machine,
        engine,
        access,
        stand,
        grant,
    };
    stream.reach()?;
    stream.seek(open.from, true);
    stream.run(shared, reader, writer).await
}

/// Keeps the conversation in the connection's set of open ones.
struct OpenGuard<'a>(&'a Shared, ConversationName);

impl<'a> OpenGuard<'a> {
    fn new(shared: &'a Shared, name: &ConversationName, access: &Arc<Access>) -> Result<Self, Code> {
        shared.open.add(name, access)?;
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
    access: Arc<Access>,
    /// How the user stands, as of the version that was looked at last.
    stand: Stand,
    publisher: Arc<Publisher>,
    mailbox: Arc<Mailbox>,
    cursor: Cursor,
    /// The last event that the user may read: that by which the user left.
    last: Seq,
    /// When the stream of a user who has left is reset, once everything up to there is written.
    ends_at: Option<Instant>,
    /// The read from the view that is under way; at most one.
    read: Option<StoreRead>,
    /// What it has brought, until all of it has gone to the writer.
    page: Option<PageParts>,
    outcomes: Vec<Outcome>,
    /// Frames on their way from the tail to the writer.
    frames: Vec<Bytes>,
    /// Who is asked before a message is stored, and the messages that are asked about.
    hook: Option<Hook>,
    judged: Messages,
    /// Whether the client is told how far the others are.
    wants_receipts: bool,
    /// Answers that the writer has, in order: how many end at or before which byte of the stream.
    answers: VecDeque<(u64, usize)>,
    client_finished: bool,
    drains: bool,
}

enum Happened {
    Read(Result<Option<ClientFrame>, ReadFailure>),
    Wrote(Result<(), WriteFailure>),
    Loaded(Result<ReadResult, ViewError>),
    Woken,
    Judged(Option<Judged>),
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
            self.follow()?;
            self.deliver(writer)?;
            self.end(shared, writer);
            let ends = self.client_finished || self.drains;
            if ends && self.machine.unanswered() == 0 && writer.is_idle() {
                return Ok(());
            }
            let reads = !ends && self.machine.may_read() && !self.cursor.starts() && self.judged.has_room();
            if reads && let Some(paces) = reader.conversation_paces() {
                paces.set_has_say(self.rights().allow(Action::Publish).is_ok());
            }
            let happened = tokio::select! {
                biased;
                written = writer.write(), if !writer.is_idle() => Happened::Wrote(written),
                () = self.mailbox.woken() => Happened::Woken,
                loaded = load(&mut self.read), if self.read.is_some() => Happened::Loaded(loaded),
                judged = self.judged.next(), if !self.judged.is_empty() => Happened::Judged(judged),
                frame = reader.next(), if reads => Happened::Read(frame),
                granted = &mut regranted => Happened::Granted(granted),
                next = &mut phase => Happened::Phase(next),
                () = at(self.ends_at), if self.ends_at.is_some() => return Err(Code::FORBIDDEN),
            };
            match happened {
                Happened::Wrote(Ok(())) => self.wrote(writer.written_bytes()),
                Happened::Wrote(Err(WriteFailure::Stalled)) => return Err(Code::GOING_AWAY),
                Happened::Wrote(Err(WriteFailure::Gone)) | Happened::Read(Err(ReadFailure::Gone)) => {
                    return Ok(());
                }
                Happened::Read(Ok(Some(frame))) => {
                    self.follow()?;
                    self.take(frame, writer).await?;
                    // Streams do not yield by themselves, and a client may send what needs no answer.
                    tokio::task::consume_budget().await;
                }
                Happened::Read(Ok(None)) => self.client_finished = true,
                Happened::Read(Err(ReadFailure::Broken(code))) => return Err(code),
                Happened::Loaded(loaded) => self.loaded(loaded, writer)?,
                Happened::Woken => self.cursor.wake(),
                Happened::Judged(Some(judged)) => self.judged(shared, judged, writer).await?,
                Happened::Judged(None) => {}
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
        // Of a message that may be stored nothing is said: the client asks again.
        if let Some(code) = self.outcomes.iter().find_map(|outcome| outcome.frame().err()) {
            return Err(code);
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.answer(outcomes.drain(..).filter_map(|outcome| outcome.frame().ok()), writer);
        self.outcomes = outcomes;
        if self.client_finished || self.drains {
            return Ok(());
        }
        self.tell_roster(writer);
        self.tell_receipts(writer);
        while let CursorState::At(cursor) = self.cursor.state {
            if writer.room() == 0 || self.read.is_some() || cursor >= self.last {
                return Ok(());
            }
            // How the user stands was looked at since the page has come.
            if let Some(parts) = &mut self.page {
                match parts.next(cursor, self.last, &self.engine.reading_of(&self.access)) {
                    Some(part) => {
                        self.cursor.state = CursorState::At(part.reached);
                        writer.extend(part.chunks);
                    }
                    None => self.page = None,
                }
                continue;
            }
            let keeping = self.access.keeping(self.engine.judged_ms());
            let wanted = Wanted { cursor, to: self.last, bytes_max: writer.room(), keeping };
            match self.engine.read_tail(self.access.name(), wanted, &mut self.frames) {
                Next::Wait => return Ok(()),
                Next::View { to } => {
                    self.cursor.woken = false;
                    self.read = Some(StoreRead::page(&self.engine, &self.access, cursor, self.last, to));
                }
                Next::Frames(reached) => {
                    // States are out before events are. So who had left before one of these is known to have
                    // by now.
                    self.follow()?;
                    if reached > self.last {
                        // It is read again, up to there.
                        self.frames.clear();
                        continue;
                    }
                    self.cursor.state = CursorState::At(reached);
                    writer.extend(self.frames.drain(..));
                }
            }
        }
        Ok(())
    }

    /// What the user may do, as of the version that was looked at last.
    fn rights(&self) -> Rights<'_> {
        rights_of(&self.grant, &self.stand.standing, &self.engine)
    }

    /// Looks again how the user stands, if anything has changed.
    fn follow(&mut self) -> Result<(), Code> {
        if self.access.version() == self.stand.version {
            return Ok(());
        }
        self.stand = self.access.stand(Actor::User(&self.grant));
        self.reach()
    }

    /// Up to where the stream may read now. One that reads may no longer, if the user has lost that
    /// altogether.
    fn reach(&mut self) -> Result<(), Code> {
        match self.rights().allow(Action::ReadHistory) {
            // Who has come back reads on.
            Ok(reach) if reach.last() != self.last => (self.last, self.ends_at) = (reach.last(), None),
            Ok(_) => {}
            Err(refusal) if self.cursor.subscription.is_some() => return Err(refusal.code),
            Err(_) => {}
        }
        let is_present = self.rights().allow(Action::Roster).is_ok();
        self.engine.set_present(self.access.name(), &self.mailbox, is_present);
        if !is_present {
            self.cursor.roster = None;
        }
        Ok(())
    }

    /// Ends the stream of a reader who has left and has everything up to there.
    fn end(&mut self, shared: &Shared, writer: &FrameWriter) {
        let has_all = match self.cursor.state {
            CursorState::At(cursor) | CursorState::AtEndOfView(cursor) => cursor >= self.last,
            CursorState::Off | CursorState::Starts(_) => false,
        };
        if has_all && writer.is_idle() {
            self.ends_at.get_or_insert_with(|| {
                let delay = END_DELAY + END_ROUND_TRIPS * shared.transport.round_trip();
                Instant::now() + delay.min(END_DELAY_MAX)
            });
        }
    }

    /// Tells who else reads, if that has changed. A client that does not read on is told the latest when it
    /// does.
    fn tell_roster(&mut self, writer: &mut FrameWriter) {
        if !self.cursor.starts()
            && writer.room() > 0
            && let Some(roster) = &mut self.cursor.roster
        {
            writer.extend(roster.take());
        }
    }

    /// Tells how far the others are, where there are few: the latest of each.
    fn tell_receipts(&mut self, writer: &mut FrameWriter) {
        if !self.wants_receipts || self.cursor.starts() || writer.room() == 0 {
            return;
        }
        let receipts = self.mailbox.take_receipts();
        if receipts.is_empty() || self.rights().allow(Action::Receipts).is_err() {
            return;
        }
        let is_told = |state: Option<&ConversationState>, user: &UserId| {
            is_small(state) && state.is_some_and(|state| state.present(user).is_some())
        };
        for (user, Receipt { delivered, read }) in receipts {
            if self.access.with_state(|state| is_told(state, &user)) {
                writer.push(&ServerFrame::Receipt { user, delivered, read });
            }
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
        let rights = rights_of(&self.grant, &self.stand.standing, &self.engine);
        match self.machine.handle(frame, rights) {
            Output::Append(append) => match &self.hook {
                None => {
                    if !self.engine.publish(&self.publisher, append, &self.stand).await {
                        return Err(Code::STORE_FAILED);
                    }
                }
                Some(hook) => {
                    let conversation = self.machine.conversation();
                    self.judged.ask(hook.clone(), conversation, &self.grant.user, append, self.stand);
                }
            },
            Output::Seek(from) => self.seek(from, false),
            Output::Seen(seq) if seq <= self.cursor.known() && self.rights().allow(Action::Mark).is_ok() => {
                self.engine.seen(self.access.name(), &self.mailbox, seq);
            }
            Output::Seen(_) => {}
            Output::Send(frame) => self.answer([frame], writer),
            Output::Reset(code) => return Err(code),
        }
        Ok(())
    }

    async fn publish(&mut self, append: Append, stand: &Stand) -> Result<(), Code> {
        if self.engine.publish(&self.publisher, append, stand).await {
            Ok(())
        } else {
            Err(Code::STORE_FAILED)
        }
    }

    /// Does with a message what its hook has said.
    async fn judged(
        &mut self,
        shared: &Shared,
        judged: Judged,
        writer: &mut FrameWriter,
    ) -> Result<(), Code> {
        let Judged { append, stand, judgement } = judged;
        let allowed = match judgement {
            Judgement::Allow => append,
            Judgement::Change(body) => Append { body, ..append },
            Judgement::Deny(reason) => {
                tracing::debug!(reason, user = %self.grant.user, "a hook has refused a message");
                let (n, code) = (append.n, Code::DENIED);
                self.answer([ServerFrame::Refused { n, code, retry_after_ms: 0, reason }], writer);
                return Ok(());
            }
            // A reset would take the messages behind it with it, and could not say when to come again. It may
            // be one that is stored already, whose ack was lost.
            Judgement::Unavailable { retry_after_ms, reason } => {
                let refusal = Refusal { code: Code::UNAVAILABLE, retry_after_ms, reason };
                let is_alive = self.engine.refuse_new(&self.publisher, append, &stand, refusal).await;
                return if is_alive { Ok(()) } else { Err(Code::STORE_FAILED) };
            }
        };
        // A token that has come meanwhile may no longer allow it.
        let grant = shared.grant.borrow().clone();
        if !Arc::ptr_eq(&grant, &self.grant) {
            self.regrant(grant)?;
        }
        let action = if allowed.sender == self.grant.user {
            Action::Publish
        } else {
            Action::PublishAs(&allowed.sender)
        };
        if let Err(refusal) = self.rights().allow(action) {
            let (n, code, retry_after_ms) = (allowed.n, refusal.code, refusal.retry_after_ms);
            self.answer([ServerFrame::Refused { n, code, retry_after_ms, reason: String::new() }], writer);
            return Ok(());
        }
        self.publish(allowed, &stand).await
    }

    /// Moves the cursor. An Open is answered even when it starts no reader.
    fn seek(&mut self, from: Option<Start>, is_open: bool) {
        self.page = None;
        if from.is_some() {
            let subscription = || self.engine.subscribe(self.access.name(), &self.mailbox);
            self.cursor.subscription.get_or_insert_with(subscription);
        } else {
            self.cursor.subscription = None;
        }
        if self.machine.has_roster() && self.rights().allow(Action::Roster).is_ok() {
            let watch = || self.engine.watch_roster(self.access.name(), &self.grant.user);
            self.cursor.roster.get_or_insert_with(watch);
        } else {
            self.cursor.roster = None;
        }
        if from.is_none() && !is_open {
            self.cursor.state = CursorState::Off;
            return;
        }
        self.cursor.state = CursorState::Starts(from);
        self.mailbox.set_wants_receipts(self.wants_receipts && from.is_some());
        let publishes = is_open && self.rights().allow(Action::Publish).is_ok();
        // A read that is under way goes on when it is dropped, so the next one waits for it.
        if publishes || self.read.is_none() {
            self.read = Some(StoreRead::enter(&self.engine, &self.publisher, publishes, self.greeting(from)));
        }
    }

    /// What the mailbox is told of cursors when a reader starts.
    fn greeting(&self, from: Option<Start>) -> Greeting {
        let sees = |action| self.rights().allow(action).is_ok();
        if from.is_none() {
            Greeting::Nothing
        } else if self.wants_receipts && sees(Action::Receipts) && self.access.with_state(is_small) {
            Greeting::All
        } else if self.machine.has_roster() && sees(Action::Roster) {
            Greeting::Own
        } else {
            Greeting::Nothing
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
                self.follow()?;
                let head = head.min(self.last);
                let floor = floor.min(head.next());
                let store = self.engine.store_id().get();
                self.answer([ServerFrame::Opened { head, floor, store }], writer);
                self.cursor.known = self.cursor.known.max(head);
                self.cursor.state = start(from, head, floor)?;
            }
            (ReadResult::Page(page), CursorState::At(cursor)) => {
                self.follow()?;
                if page.reached > self.last {
                    // The user has left meanwhile: it is read again, up to there.
                    return Ok(());
                }
                self.cursor.state = match page.reached {
                    reached if reached == cursor && !self.cursor.woken => CursorState::AtEndOfView(cursor),
                    reached => CursorState::At(reached),
                };
                writer.extend(page.chunks);
            }
            (ReadResult::Parts(parts), CursorState::At(cursor)) => {
                if !parts.is_nothing(cursor) {
                    self.page = Some(parts);
                } else if !self.cursor.woken {
                    self.cursor.state = CursorState::AtEndOfView(cursor);
                }
            }
            // The cursor was moved meanwhile.
            (ReadResult::Page(_) | ReadResult::Parts(_), CursorState::Starts(from)) => {
                let greeting = self.greeting(from);
                self.read = Some(StoreRead::enter(&self.engine, &self.publisher, false, greeting));
            }
            _ => {}
        }
        Ok(())
    }

    /// A new token may no longer allow what the stream does.
    fn regrant(&mut self, grant: Arc<Grant>) -> Result<(), Code> {
        self.grant = grant;
        self.stand = self.access.stand(Actor::User(&self.grant));
        self.reach()
    }
}

/// What a user may do at the moment, by the time that the committer judges by.
pub(super) fn rights_of<'a>(grant: &'a Grant, standing: &'a Standing, engine: &Engine) -> Rights<'a> {
    // The clock costs more than everything else here.
    let now_ms = if standing.depends_on_time() { engine.judged_ms() } else { 0 };
    Rights { grant, standing, now_ms }
}

/// Waits for another grant. One that never comes is waited for for ever: the connection that gives them is
/// gone, and its streams end with it.
async fn regranted(mut granted: watch::Receiver<Arc<Grant>>) -> watch::Receiver<Arc<Grant>> {
    match granted.changed().await {
        Ok(()) => granted,
        Err(_) => std::future::pending().await,
    }
}

/// Waits until then.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn next_phase(phase: PhaseReceiver, drains: bool) -> (Phase, PhaseReceiver) {
    (phase.next(drains).await, phase)
}
