//! One connection: its control stream, and the tasks of its other streams.

mod notices;
mod typing;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::authorize::Grant;
use quoth_core::rate::Rate;
use quoth_core::session::{Identity, Input, Output, Session};
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION, Welcome, feature};
use quoth_protocol::limits::{
    CONTROL_STALL_TIMEOUT_MS, FETCHES_AT_ONCE_MAX, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX, HELLO_TIMEOUT_MS,
    TYPING_PER_SECOND_MAX,
};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Action as Wish, Code, UserId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::backlog::{Backlog, WAITING_BYTES_MAX};
use super::counts::Counted;
use super::end::End;
use super::flood::Flood;
use super::frames::{FrameReader, FrameWriter, ReadFailure, WriteFailure};
use super::isolated::isolated;
use super::judged::{Asking, Connecting};
use super::open::OpenConversations;
use super::pace::ConnectionPaces;
use super::transport::{Gone, RecvStream, SendStream, Transport};
use super::{Phase, PhaseReceiver, Service, Verification, Verifying, inbox, requests, stream};
use crate::engine::{Typing, Typings};
use crate::sessions::{Arrival, Attendance, Expected, Refused, Told, Watcher};

/// Priority of the control stream; conversations have 0, pages of history less.
const CONTROL_PRIORITY: i32 = 20;

/// Longest wait for a token's end in one go, so that a jump of the machine's clock is noticed.
const DEADLINE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Characters that are logged of what a client calls itself and its platform.
const LOGGED_CHARS_MAX: usize = 64;

/// What the streams of a signed-in connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) service: Service,
    /// What carries it.
    pub(super) transport: Transport,
    /// Conversations that have a stream.
    pub(super) open: OpenConversations,
    /// Turns of the fetch streams; the others wait.
    pub(super) fetches: Semaphore,
    /// The present grant; it changes with a refreshed token.
    pub(super) grant: watch::Receiver<Arc<Grant>>,
    /// Typing notices for this connection.
    pub(super) typings: Arc<Typings>,
    /// The feature bits in force.
    pub(super) features: u64,
    /// Its place among the sessions.
    pub(super) watcher: Watcher,
    /// What slows the client, if anything does.
    pub(super) paces: Option<Arc<ConnectionPaces>>,
    /// Rows of the user's list, if the client watches it.
    pub(super) inbox: inbox::Watched,
}

/// Runs a connection, whose handshake is complete, until it ends.
pub(crate) async fn run(transport: Transport, service: Service) {
    let _in_any_case = FaultCloses(&transport);
    let session = Session::new(service.engine.now_ms());
    let timeout = Duration::from_millis(HELLO_TIMEOUT_MS);
    let control = tokio::select! {
        biased;
        phase = service.phase.next(false) => Err((phase.end_code(), "the server is going away")),
        accepted = tokio::time::timeout(timeout, transport.accept()) => match accepted {
            Ok(Ok(streams)) => Ok(streams),
            Ok(Err(_)) => return,
            Err(_) => Err((Code::HELLO_TIMEOUT, "no Hello in time")),
        },
    };
    match control {
        Ok((send, recv)) => {
            let mut connection = Connection::new(transport.clone(), send, recv, session, service);
            let end = connection.run().await;
            let before = transport.closed();
            let by_client = transport.closed_by_client().is_some_and(|code| code.action() == Wish::Nothing);
            let is_wanted = connection.end(&end).await
                || by_client
                || matches!(&end, End::Close(code, _) if before.is_none() && code.action() == Wish::Nothing);
            if is_wanted && let Some(attendance) = &mut connection.attendance {
                attendance.is_wanted();
            }
            let (peer, code) = (transport.peer(), end.code());
            let reason = before.as_deref().unwrap_or_else(|| end.reason());
            match &connection.signed_in {
                Some(signed_in) => {
                    let user = signed_in.shared.grant.borrow().user.clone();
                    tracing::info!(%user, %peer, %code, reason, "connection ended");
                }
                None => connection.service.admission.stranger_ended(peer, code, reason),
            }
        }
        Err((code, reason)) => {
            transport.close(code, reason);
            service.admission.stranger_ended(transport.peer(), code, reason);
        }
    }
}

/// Closes a connection whose task panics. Left to the transport, the close would have code 0, and that tells
/// the client that the end was wanted and that it must not come back.
struct FaultCloses<'a>(&'a Transport);

impl Drop for FaultCloses<'_> {
    fn drop(&mut self) {
        if self.0.closed().is_none() {
            self.0.close(Code::INTERNAL, "a fault of the server");
        }
    }
}

struct Connection {
    transport: Transport,
    service: Service,
    session: Session,
    reader: FrameReader,
    writer: FrameWriter,
    signed_in: Option<SignedIn>,
    /// A token whose key has to be asked for. The control stream is not read meanwhile.
    verifying: Option<Verifying>,
    /// A client that is not signed in yet, when a hook is to be asked about it.
    connecting: Option<Connecting>,
    /// The hook, while it is asked. The control stream is not read either.
    asking: Option<Asking>,
    /// What has said Hello, until it is known who it is.
    arrival: Option<Arrival>,
    /// What may come in, until it is signed in.
    expected: Option<Expected>,
    /// Its other streams, and its requests with their answers.
    streams: JoinSet<Ended>,
    requests_under_way: usize,
    streams_rate: Option<Rate>,
    resets: Flood,
    datagrams: Flood,
    drains: bool,
    /// Its place among the sessions, from the sign-in on. Last: the transport is closed by its end, so that
    /// nothing more is delivered, and what runs beside is told to end, which it does where it waits next.
    attendance: Option<Attendance>,
}

/// What a connection has once its token is accepted.
struct SignedIn {
    shared: Arc<Shared>,
    grant: watch::Sender<Arc<Grant>>,
    typing_rate: Rate,
    /// Among the connections of its user.
    _place: Counted<UserId>,
}

/// What has ended beside the control stream.
enum Ended {
    /// A stream, which the client may have abandoned.
    Stream { is_abandoned: bool },
    /// A request of this number, with its answer.
    Request(u32, Reply),
    /// Something that nobody waits for.
    Task,
}

/// What happened on a connection.
enum Happened {
    Phase(Phase),
    Read(Result<Option<ClientFrame>, ReadFailure>),
    Verified(Result<Identity, Code>),
    Asked(Result<(Identity, Expected), End>),
    Told(Told),
    Wrote(Result<(), WriteFailure>),
    Typing(Typing),
    Rows(inbox::Next),
    Datagram(Result<Bytes, Gone>),
    Stream(Result<(SendStream, RecvStream), Gone>),
    StreamEnded(Result<Ended, tokio::task::JoinError>),
    /// The session's deadline has passed.
    Deadline,
    /// It is time to look at the clock.
    Woken,
}

impl Connection {
    /// Boxed, since a future that had it would have room for it twice.
    fn new(
        transport: Transport,
        send: SendStream,
        recv: RecvStream,
        session: Session,
        service: Service,
    ) -> Box<Self> {
        let reader = FrameReader::new(recv, FIRST_FRAME_BYTES_MAX);
        let mut writer = FrameWriter::new(send);
        writer.set_priority(CONTROL_PRIORITY);
        // Its next token could not come either. What is less may wait until the network is back.
        writer.set_stall_timeout(Duration::from_millis(CONTROL_STALL_TIMEOUT_MS), WAITING_BYTES_MAX);
        let limits = Arc::clone(&service.limits);
        let streams_max = limits.streams_per_second_max;
        Box::new(Self {
            transport,
            service,
            session,
            reader,
            writer,
            signed_in: None,
            verifying: None,
            connecting: None,
            asking: None,
            arrival: None,
            expected: None,
            streams: JoinSet::new(),
            requests_under_way: 0,
            streams_rate: (streams_max > 0).then(|| Rate::new(streams_max, 1_000)),
            resets: Flood::new(limits.resets_per_second_max),
            datagrams: Flood::new(limits.datagrams_per_second_max),
            drains: false,
            attendance: None,
        })
    }

    async fn run(&mut self) -> End {
        let phase = self.service.phase.clone();
        loop {
            if self.drains && self.streams.is_empty() && self.writer.is_idle() {
                self.writer.finish().await;
                return End::Close(Code::GOING_AWAY, "the server is going away");
            }
            let happened = self.happens(&phase).await;
            if let Err(end) = self.take(happened) {
                return end;
            }
            // Streams do not yield by themselves, and a client may send what needs no answer.
            tokio::task::consume_budget().await;
        }
    }

    /// Ends it; says what [`End::perform`] says.
    async fn end(&mut self, end: &End) -> bool {
        end.perform(&self.transport, &mut self.writer, &mut self.streams).await
    }

    async fn happens(&mut self, phase: &PhaseReceiver) -> Happened {
        let now_ms = self.service.engine.now_ms();
        let deadline_ms = self.session.deadline_ms();
        // Before the select, whose first branches a client can keep busy for ever.
        if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            return Happened::Deadline;
        }
        let accepts = self.signed_in.is_some() && !self.drains;
        let exhausted = self.streams_rate.filter(|rate| accepts && !rate.has_left(now_ms));
        let waits_for_rate = exhausted.is_some();
        let wake_ms = [deadline_ms, exhausted.map(|rate| rate.window_end_ms(now_ms))];
        let wait = wake_ms.into_iter().flatten().min().map_or(DEADLINE_WAIT_MAX, |wake_ms| {
            Duration::from_millis(wake_ms.saturating_sub(now_ms)).min(DEADLINE_WAIT_MAX)
        });
        let backlog = self.backlog();
        let (is_signed_in, drains) = (self.signed_in.is_some(), self.drains);
        let (verifies, asks) = (self.verifying.is_some(), self.asking.is_some());
        let typing = async {
            match &self.signed_in {
                Some(signed_in) => signed_in.shared.typings.next().await,
                None => std::future::pending().await,
            }
        };
        let told = async {
            match &self.attendance {
                Some(attendance) => attendance.told(backlog.tells()).await,
                None => std::future::pending().await,
            }
        };
        let rows = async {
            match &self.signed_in {
                Some(signed_in) if backlog.tells() => signed_in.shared.inbox.next().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            phase = phase.next(drains) => Happened::Phase(phase),
            told = told => Happened::Told(told),
            verified = ready(&mut self.verifying), if verifies => Happened::Verified(verified),
            asked = ready(&mut self.asking), if asks => Happened::Asked(asked),
            frame = self.reader.next(), if backlog.reads() => Happened::Read(frame),
            written = self.writer.write(), if !self.writer.is_idle() => Happened::Wrote(written),
            Some(ended) = self.streams.join_next() => Happened::StreamEnded(ended),
            stream = self.transport.accept(), if accepts && !waits_for_rate => Happened::Stream(stream),
            notice = typing => Happened::Typing(notice),
            rows = rows => Happened::Rows(rows),
            datagram = self.transport.read_datagram(), if is_signed_in => Happened::Datagram(datagram),
            () = tokio::time::sleep(wait) => Happened::Woken,
        }
    }

    /// What its client has not got yet.
    fn backlog(&self) -> Backlog {
        Backlog {
            requests_under_way: self.requests_under_way,
            waiting_bytes: self.writer.waiting_bytes(),
            is_judged: self.verifying.is_some() || self.asking.is_some(),
        }
    }

    fn take(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::Phase(Phase::Failed) => Err(End::Close(Code::STORE_FAILED, "the store has failed")),
            Happened::Phase(Phase::Serving) => Ok(()),
            Happened::Phase(Phase::Draining { retry_after_ms }) => {
                self.drains = true;
                self.writer.push(&ServerFrame::GoAway {
                    code: Code::GOING_AWAY,
                    retry_after_ms,
                    reason: String::new(),
                });
                self.writer.drain();
                Ok(())
            }
            Happened::Read(Ok(Some(frame))) => self.input(Input::Frame(frame)),
            Happened::Verified(verified) => {
                self.verifying = None;
                self.verified(verified)
            }
            Happened::Asked(asked) => {
                self.asking = None;
                let (identity, expected) = asked?;
                self.expected = Some(expected);
                self.input(Input::Verified(Ok(identity)))
            }
            Happened::Told(told) => self.told(told),
            Happened::Read(Ok(None)) => {
                Err(End::Close(Code::CLOSED, "the client has finished its control stream"))
            }
            Happened::Read(Err(ReadFailure::Broken(code))) => {
                Err(End::Close(code, "a control frame is broken"))
            }
            Happened::Wrote(Err(WriteFailure::Stalled)) if self.drains => {
                Err(End::Close(Code::GOING_AWAY, "the server is going away and the client does not read"))
            }
            Happened::Wrote(Err(WriteFailure::Stalled)) => {
                Err(End::Close(Code::OVERLOADED, "the client does not take its answers"))
            }
            Happened::Read(Err(ReadFailure::Gone))
            | Happened::Wrote(Err(WriteFailure::Gone))
            | Happened::Stream(Err(_))
            | Happened::Datagram(Err(_)) => Err(End::Gone),
            Happened::Wrote(Ok(())) | Happened::Woken => Ok(()),
            Happened::Typing(notice) => {
                self.tell_typing(notice);
                Ok(())
            }
            Happened::Rows(next) => self.tell_rows(next),
            Happened::Datagram(Ok(datagram)) => self.datagram(&datagram),
            Happened::Stream(Ok((send, recv))) => {
                self.serve(send, recv);
                Ok(())
            }
            Happened::StreamEnded(Ok(Ended::Task)) => Ok(()),
            Happened::StreamEnded(Ok(Ended::Request(id, reply))) => {
                self.requests_under_way -= 1;
                self.writer.push(&ServerFrame::Reply { id, reply });
                Ok(())
            }
            Happened::StreamEnded(Ok(Ended::Stream { is_abandoned })) => {
                if is_abandoned && self.resets.is_over(self.service.engine.now_ms()) {
                    return Err(End::Close(Code::RATE_LIMITED, "too many streams were reset"));
                }
                Ok(())
            }
            Happened::StreamEnded(Err(error)) => {
                if error.is_panic() {
                    tracing::error!(%error, "a stream's task panicked");
                }
                Ok(())
            }
            Happened::Deadline => self.input(Input::Deadline),
        }
    }

    /// Goes on with a token's verification: a client that would be signed in by it is asked about first,
    /// where a hook wants that.
    fn verified(&mut self, verified: Result<Identity, Code>) -> Result<(), End> {
        match (self.connecting.take(), self.arrival.take(), verified) {
            (Some(connecting), Some(arrival), Ok(identity)) => {
                self.asking = Some(connecting.ask(identity, arrival));
                Ok(())
            }
            (_, _, Err(Code::UNAVAILABLE)) => {
                let (code, retry_after_ms) = (Code::UNAVAILABLE, self.service.verify.retry_after_ms());
                Err(End::Later {
                    code,
                    retry_after_ms,
                    reason: "the keys of tokens cannot be had at the moment",
                })
            }
            (_, arrival, verified) => {
                if let (Some(arrival), Ok(identity)) = (arrival, &verified) {
                    self.expected = Some(arrival.expect(&identity.grant.user));
                }
                self.input(Input::Verified(verified))
            }
        }
    }

    /// Feeds the session and performs what it wants.
    fn input(&mut self, input: Input) -> Result<(), End> {
        if let (Input::Frame(ClientFrame::Hello(hello)), None) = (&input, &self.signed_in) {
            let hook = self.service.hooks.connect.as_ref();
            self.connecting = hook.map(|hook| Connecting::new(hook, hello, self.transport.peer()));
            self.arrival = Some(self.service.sessions.arrives(&hello.device));
        }
        let now_ms = self.service.engine.now_ms();
        match self.session.handle(input, now_ms) {
            None => Ok(()),
            Some(Output::Verify(token)) => match self.service.verified(&token, self.transport.peer(), now_ms)
            {
                Verification::Ready(verified) => self.verified(verified),
                Verification::Waits(verifying) => {
                    self.verifying = Some(verifying);
                    Ok(())
                }
            },
            Some(Output::Welcome { identity, hello }) => {
                // Before a place among the sessions, for which other devices of the user may have to go.
                let place = self.place(&identity, &hello)?;
                let watcher = self.attend(&identity, &hello, now_ms)?;
                self.welcome(&identity, &hello, (watcher, place));
                Ok(())
            }
            Some(Output::Away(away)) => {
                if let Some(attendance) = &self.attendance {
                    attendance.set_away(away);
                }
                Ok(())
            }
            Some(Output::Replace(identity)) => {
                if let Some(attendance) = &self.attendance {
                    attendance.refresh(&identity, now_ms).map_err(End::Goodbye)?;
                }
                if let Some(signed_in) = &self.signed_in {
                    signed_in.grant.send_replace(identity.grant);
                }
                Ok(())
            }
            Some(Output::Send(frame)) => {
                self.writer.push(&frame);
                Ok(())
            }
            Some(Output::Request { id, request }) => {
                self.request(id, request);
                Ok(())
            }
            Some(Output::Typing(conversation)) => {
                self.typing(conversation, now_ms);
                Ok(())
            }
            Some(Output::Close(code, reason)) => Err(End::Close(code, reason)),
        }
    }

    /// Takes a place among the connections of its user: the one of a connection of the same device whose
    /// place it takes, where no other one is left. That may be one that is lost, which nobody has noticed
    /// yet.
    fn place(&self, identity: &Identity, hello: &Hello) -> Result<Counted<UserId>, End> {
        let (admission, user) = (&self.service.admission, &identity.grant.user);
        let is_service = !identity.grant.publish_as.is_empty();
        let replaced = || self.service.sessions.replaces(user, hello).then(|| admission.of_replaced(user));
        let place = admission.of_user(user, is_service).or_else(replaced);
        place.ok_or(End::Close(Code::OVERLOADED, "the user has too many connections"))
    }

    /// Takes a place among the sessions.
    fn attend(&mut self, identity: &Identity, hello: &Hello, now_ms: u64) -> Result<Watcher, End> {
        let expected = self.expected.take();
        match self.service.sessions.sign_in(identity, hello, expected.as_ref(), now_ms) {
            Ok(attendance) => Ok(self.attendance.insert(attendance).watcher()),
            Err(refused) => {
                let Refused { goodbye, attendance } = *refused;
                self.attendance = attendance;
                Err(End::Goodbye(goodbye))
            }
        }
    }

    fn welcome(&mut self, identity: &Identity, hello: &Hello, (watcher, place): (Watcher, Counted<UserId>)) {
        let is_service = !identity.grant.publish_as.is_empty();
        let paces = ConnectionPaces::new(
            &self.service.limits,
            &self.service.paces,
            &self.service.engine,
            &identity.grant,
        );
        self.reader.set_paces(paces.as_ref().map(|paces| paces.stream(None)));
        let open_conversations_max = self.service.limits.open_conversations_max_of(is_service);
        let datagrams = if self.transport.has_datagrams() { feature::DATAGRAMS } else { 0 };
        let features =
            hello.features & (datagrams | feature::ROSTER | feature::MEMBERSHIP | feature::MESSAGES);
        if features & feature::MESSAGES != 0 {
            // An edit has a message's body.
            self.reader.set_frame_bytes_max(FRAME_BYTES_MAX);
        }
        self.transport.raise_limits(open_conversations_max);
        let (grant, granted) = watch::channel(Arc::clone(&identity.grant));
        let shared = Shared {
            service: self.service.clone(),
            transport: self.transport.clone(),
            open: OpenConversations::new(open_conversations_max),
            fetches: Semaphore::new(FETCHES_AT_ONCE_MAX as usize),
            grant: granted,
            typings: Arc::default(),
            features,
            watcher,
            paces,
            inbox: inbox::Watched::default(),
        };
        self.signed_in = Some(SignedIn {
            shared: Arc::new(shared),
            grant,
            typing_rate: Rate::new(TYPING_PER_SECOND_MAX, 1_000),
            _place: place,
        });
        tracing::info!(
            user = %identity.grant.user, device = %hello.device, client = cut(&hello.client),
            platform = cut(&hello.platform), peer = %self.transport.peer(), "signed in"
        );
        self.writer.push(&ServerFrame::Welcome(Welcome {
            version: VERSION,
            features,
            user: identity.grant.user.clone(),
            durability: self.service.engine.durability(),
            // What a client compares with it, ends of messages and of mutes, is of the same time.
            time_ms: self.service.engine.judged_ms(),
            open_conversations_max,
            server: concat!("quoth-server/", env!("QUOTH_VERSION")).to_owned(),
        }));
    }

    /// Serves a stream beside everything else.
    fn serve(&mut self, send: SendStream, recv: RecvStream) {
        if let Some(rate) = &mut self.streams_rate {
            rate.take(self.service.engine.now_ms());
        }
        let Some(signed_in) = &self.signed_in else { return };
        let shared = Arc::clone(&signed_in.shared);
        self.streams
            .spawn(async move { Ended::Stream { is_abandoned: stream::run(shared, send, recv).await } });
    }

    /// Serves a request beside everything else.
    fn request(&mut self, id: u32, request: Request) {
        let Some(signed_in) = &self.signed_in else { return };
        let shared = Arc::clone(&signed_in.shared);
        let limit = Duration::from_millis(self.service.limits.request_timeout_ms);
        self.requests_under_way += 1;
        self.streams.spawn(async move {
            // One that panics is answered too.
            let served = isolated(async move {
                let served = tokio::time::timeout(limit, requests::serve(&shared, request)).await;
                served.unwrap_or_else(|_| requests::timed_out())
            });
            let reply = served.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a request's task failed");
                requests::fault()
            });
            Ended::Request(id, reply)
        });
    }
}

/// Waits for what is there to be waited for.
async fn ready<F: Future + Unpin>(waits: &mut Option<F>) -> F::Output {
    match waits {
        Some(waits) => waits.await,
        None => std::future::pending().await,
    }
}

/// What is logged of a text that a client has chosen.
fn cut(text: &str) -> &str {
    text.char_indices().nth(LOGGED_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}
