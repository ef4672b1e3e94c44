//! One connection: its control stream, and the tasks of its other streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_core::authorize::{Action, Grant, authorize};
use quoth_core::bucket::{Bucket, Pace};
use quoth_core::rate::Rate;
use quoth_core::session::{Identity, Input, Output, Session};
use quoth_protocol::codec::{decode, encode_datagram};
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION, Welcome, feature};
use quoth_protocol::limits::{
    DATAGRAM_BYTES_MAX, FETCHES_AT_ONCE_MAX, FIRST_FRAME_BYTES_MAX, FIRST_FRAME_TIMEOUT_MS, HELLO_TIMEOUT_MS,
    TYPING_PER_SECOND_MAX,
};
use quoth_protocol::{Code, ConversationName, UserId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::counts::Counted;
use super::frames::{FrameReader, FrameWriter, ReadFailure, WriteFailure};
use super::open::OpenConversations;
use super::pace::ConnectionPaces;
use super::transport::{Gone, RecvStream, SendStream, Transport};
use super::{Phase, PhaseReceiver, Service, conversation, fetch};
use crate::engine::{Typing, Typings};

/// Priority of the control stream; conversations have 0, pages of history less.
const CONTROL_PRIORITY: i32 = 20;

/// Bytes that may wait on the control stream before notices are dropped.
const CONTROL_WAITING_BYTES_MAX: usize = 16 * 1024;

/// Longest wait for a token's end in one go, so that a jump of the machine's clock is noticed.
const DEADLINE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the streams of a signed-in connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) service: Service,
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
    /// What slows the client, if anything does.
    pub(super) paces: Option<Arc<ConnectionPaces>>,
}

/// Why a connection ends.
#[derive(Debug)]
struct End(Code, &'static str);

/// Runs a connection, whose handshake is complete, until it ends.
pub(crate) async fn run(transport: Transport, service: Service) {
    let _in_any_case = FaultCloses(&transport);
    let session = Session::new(service.engine.now_ms());
    let timeout = Duration::from_millis(HELLO_TIMEOUT_MS);
    let control = tokio::select! {
        biased;
        phase = service.phase.next(false) => Err(End(phase.end_code(), "the server is going away")),
        accepted = tokio::time::timeout(timeout, transport.accept()) => match accepted {
            Ok(Ok(streams)) => Ok(streams),
            Ok(Err(_)) => return,
            Err(_) => Err(End(Code::HELLO_TIMEOUT, "no Hello in time")),
        },
    };
    match control {
        Ok((send, recv)) => {
            let mut connection = Connection::new(transport.clone(), send, recv, session, service);
            let End(code, reason) = connection.run().await;
            let before = transport.closed();
            // Before the streams are dropped, which finishes them as if all had been said.
            transport.close(code, reason);
            tracing::info!(
                user = connection.signed_in.as_ref().map(|signed_in| signed_in.shared.grant.borrow().user.to_string()),
                peer = %transport.peer(),
                %code,
                reason = before.as_deref().unwrap_or(reason),
                "connection ended"
            );
        }
        Err(End(code, reason)) => transport.close(code, reason),
    }
}

/// Closes a connection whose task panics. Left to the transport, the close would have code 0, and that tells the client that
/// the end was wanted and that it must not come back.
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
    /// Each says whether the client has abandoned it.
    streams: JoinSet<bool>,
    streams_rate: Option<Rate>,
    resets: Flood,
    datagrams: Flood,
    drains: bool,
}

/// What a connection has once its token is accepted.
struct SignedIn {
    shared: Arc<Shared>,
    grant: watch::Sender<Arc<Grant>>,
    typing_rate: Rate,
    /// Among the connections of its user.
    _place: Counted<UserId>,
}

/// Something of which no honest client does much.
struct Flood {
    pace: Option<Pace>,
    bucket: Bucket,
}

impl Flood {
    fn new(per_second_max: u32) -> Self {
        Self { pace: Pace::new(per_second_max.into()), bucket: Bucket::FULL }
    }

    /// Whether one more is too many.
    fn is_over(&mut self, now_ms: u64) -> bool {
        self.pace.is_some_and(|pace| !self.bucket.take(pace, now_ms))
    }
}

/// What happened on a connection.
enum Happened {
    Phase(Phase),
    Read(Result<Option<ClientFrame>, ReadFailure>),
    Wrote(Result<(), WriteFailure>),
    Typing(Typing),
    Datagram(Result<Bytes, Gone>),
    Stream(Result<(SendStream, RecvStream), Gone>),
    StreamEnded(Result<bool, tokio::task::JoinError>),
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
        let writer = FrameWriter::new(send);
        writer.set_priority(CONTROL_PRIORITY);
        let limits = Arc::clone(&service.limits);
        let streams_max = limits.streams_per_second_max;
        Box::new(Self {
            transport,
            service,
            session,
            reader,
            writer,
            signed_in: None,
            streams: JoinSet::new(),
            streams_rate: (streams_max > 0).then(|| Rate::new(streams_max, 1_000)),
            resets: Flood::new(limits.resets_per_second_max),
            datagrams: Flood::new(limits.datagrams_per_second_max),
            drains: false,
        })
    }

    async fn run(&mut self) -> End {
        let phase = self.service.phase.clone();
        loop {
            if self.drains && self.streams.is_empty() && self.writer.is_idle() {
                self.writer.finish().await;
                return End(Code::GOING_AWAY, "the server is going away");
            }
            let happened = self.happens(&phase).await;
            if let Err(end) = self.take(happened) {
                return end;
            }
            // Streams do not yield by themselves, and a client may send what needs no answer.
            tokio::task::consume_budget().await;
        }
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
        let (is_signed_in, drains) = (self.signed_in.is_some(), self.drains);
        let typing = async {
            match &self.signed_in {
                Some(signed_in) => signed_in.shared.typings.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            phase = phase.next(drains) => Happened::Phase(phase),
            frame = self.reader.next() => Happened::Read(frame),
            written = self.writer.write(), if !self.writer.is_idle() => Happened::Wrote(written),
            Some(ended) = self.streams.join_next() => Happened::StreamEnded(ended),
            stream = self.transport.accept(), if accepts && !waits_for_rate => Happened::Stream(stream),
            notice = typing => Happened::Typing(notice),
            datagram = self.transport.read_datagram(), if is_signed_in => Happened::Datagram(datagram),
            () = tokio::time::sleep(wait) => Happened::Woken,
        }
    }

    fn take(&mut self, happened: Happened) -> Result<(), End> {
        const GONE: End = End(Code::CLOSED, "the client is gone");
        match happened {
            Happened::Phase(Phase::Failed) => Err(End(Code::STORE_FAILED, "the store has failed")),
            Happened::Phase(Phase::Serving) => Ok(()),
            Happened::Phase(Phase::Draining { retry_after_ms }) => {
                self.drains = true;
                self.writer.push(&ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms });
                self.writer.drain();
                Ok(())
            }
            Happened::Read(Ok(Some(frame))) => self.input(Input::Frame(frame)),
            Happened::Read(Ok(None)) => Err(End(Code::CLOSED, "the client has finished its control stream")),
            Happened::Read(Err(ReadFailure::Broken(code))) => Err(End(code, "a control frame is broken")),
            Happened::Wrote(Err(WriteFailure::Stalled)) => {
                Err(End(Code::GOING_AWAY, "the server is going away and the client does not read"))
            }
            Happened::Read(Err(ReadFailure::Gone)) | Happened::Wrote(Err(WriteFailure::Gone)) => Err(GONE),
            Happened::Stream(Err(_)) | Happened::Datagram(Err(_)) => Err(GONE),
            Happened::Wrote(Ok(())) | Happened::Woken => Ok(()),
            Happened::Typing(notice) => {
                self.tell_typing(notice);
                Ok(())
            }
            Happened::Datagram(Ok(datagram)) => self.datagram(&datagram),
            Happened::Stream(Ok((send, recv))) => {
                if let Some(rate) = &mut self.streams_rate {
                    rate.take(self.service.engine.now_ms());
                }
                if let Some(signed_in) = &self.signed_in {
                    self.streams.spawn(stream(Arc::clone(&signed_in.shared), send, recv));
                }
                Ok(())
            }
            Happened::StreamEnded(Ok(is_abandoned)) => {
                if is_abandoned && self.resets.is_over(self.service.engine.now_ms()) {
                    return Err(End(Code::RATE_LIMITED, "too many streams were reset"));
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

    /// Feeds the session and performs what it wants.
    fn input(&mut self, input: Input) -> Result<(), End> {
        let now_ms = self.service.engine.now_ms();
        match self.session.handle(input, now_ms) {
            None => Ok(()),
            Some(Output::Verify(token)) => {
                let verified = self.service.verify.verify(&token, now_ms);
                self.input(Input::Verified(verified))
            }
            Some(Output::Welcome { identity, hello }) => self.welcome(&identity, &hello, now_ms),
            Some(Output::Replace(identity)) => {
                if let Some(signed_in) = &self.signed_in {
                    signed_in.grant.send_replace(identity.grant);
                }
                Ok(())
            }
            Some(Output::Send(frame)) => {
                self.writer.push(&frame);
                Ok(())
            }
            Some(Output::Typing(conversation)) => {
                self.typing(conversation, now_ms);
                Ok(())
            }
            Some(Output::Close(code, reason)) => Err(End(code, reason)),
        }
    }

    fn welcome(&mut self, identity: &Identity, hello: &Hello, now_ms: u64) -> Result<(), End> {
        let is_service = !identity.grant.publish_as.is_empty();
        let place = self.service.admission.of_user(&identity.grant.user, is_service);
        let place = place.ok_or(End(Code::OVERLOADED, "the user has too many connections"))?;
        let paces = ConnectionPaces::new(
            &self.service.limits,
            &self.service.paces,
            &self.service.engine,
            &identity.grant,
        );
        self.reader.set_paces(paces.as_ref().map(|paces| paces.stream(None)));
        let open_conversations_max = self.service.limits.open_conversations_max_of(is_service);
        let datagrams = if self.transport.has_datagrams() { feature::DATAGRAMS } else { 0 };
        let features = hello.features & (datagrams | feature::ROSTER);
        self.transport.raise_limits(open_conversations_max);
        let (grant, granted) = watch::channel(Arc::clone(&identity.grant));
        let shared = Shared {
            service: self.service.clone(),
            open: OpenConversations::new(open_conversations_max),
            fetches: Semaphore::new(FETCHES_AT_ONCE_MAX as usize),
            grant: granted,
            typings: Arc::default(),
            features,
            paces,
        };
        self.signed_in = Some(SignedIn {
            shared: Arc::new(shared),
            grant,
            typing_rate: Rate::new(TYPING_PER_SECOND_MAX, 1_000),
            _place: place,
        });
        tracing::info!(
            user = %identity.grant.user, device = %hello.device, client = hello.client, platform = hello.platform,
            peer = %self.transport.peer(), "signed in"
        );
        self.writer.push(&ServerFrame::Welcome(Welcome {
            version: VERSION,
            features,
            user: identity.grant.user.clone(),
            durability: self.service.engine.durability(),
            time_ms: now_ms,
            open_conversations_max,
            server: concat!("quoth-server/", env!("QUOTH_VERSION")).to_owned(),
        }));
        Ok(())
    }

    fn datagram(&mut self, datagram: &[u8]) -> Result<(), End> {
        if self.datagrams.is_over(self.service.engine.now_ms()) {
            return Err(End(Code::RATE_LIMITED, "too many datagrams"));
        }
        match decode(datagram) {
            _ if datagram.len() > DATAGRAM_BYTES_MAX => Ok(()),
            Ok(frame @ ClientFrame::Typing { .. }) => self.input(Input::Frame(frame)),
            Ok(_) | Err(_) => Err(End(Code::PROTOCOL, "a datagram is no typing notice")),
        }
    }

    /// Passes on that this connection's user types.
    fn typing(&mut self, conversation: ConversationName, now_ms: u64) {
        let Some(signed_in) = &mut self.signed_in else { return };
        let is_in_time = signed_in.typing_rate.take(now_ms);
        let shared = &signed_in.shared;
        let grant = Arc::clone(&shared.grant.borrow());
        if !is_in_time
            || !shared.open.contains(&conversation)
            || authorize(&grant, Action::Write, &conversation).is_err()
        {
            return;
        }
        let notice = Typing { conversation, user: grant.user.clone() };
        for mailbox in self.service.engine.readers(&notice.conversation) {
            mailbox.typing(&notice, &shared.typings);
        }
    }

    /// Tells this connection's client that somebody types.
    fn tell_typing(&mut self, notice: Typing) {
        let frame = ServerFrame::Typing { conversation: notice.conversation, user: notice.user };
        let features = self.signed_in.as_ref().map_or(0, |signed_in| signed_in.shared.features);
        if features & feature::DATAGRAMS != 0 && self.transport.send_datagram(encode_datagram(&frame)) {
            return;
        }
        if self.writer.waiting_bytes() < CONTROL_WAITING_BYTES_MAX {
            self.writer.push(&frame);
        }
    }
}

/// Runs a stream besides the control stream until either side ends it. Says whether the client has abandoned it: reset its side, or
/// wanted no more of the server's.
async fn stream(shared: Arc<Shared>, send: SendStream, recv: RecvStream) -> bool {
    let mut reader = FrameReader::new(recv, FIRST_FRAME_BYTES_MAX);
    let mut writer = FrameWriter::new(send);
    match serve(&shared, &mut reader, &mut writer).await {
        Ok(()) => writer.finish().await,
        Err(code) => {
            writer.reset(code);
            reader.stop(code);
        }
    }
    reader.is_reset() || writer.is_stopped()
}

/// Serves a stream: its first frame says what it is. The error is the code to reset it with.
async fn serve(shared: &Arc<Shared>, reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<(), Code> {
    let phase = shared.service.phase.clone();
    let timeout = Duration::from_millis(FIRST_FRAME_TIMEOUT_MS);
    let first = tokio::select! {
        biased;
        phase = phase.next(false) => return Err(phase.end_code()),
        first = tokio::time::timeout(timeout, reader.next()) => first.map_err(|_| Code::HELLO_TIMEOUT)?,
    };
    match first {
        Ok(Some(ClientFrame::Open(open))) => conversation::run(shared, open, reader, writer).await,
        Ok(Some(ClientFrame::Fetch(request))) => tokio::select! {
            biased;
            phase = phase.next(false) => Err(phase.end_code()),
            code = broken_behind_fetch(reader) => Err(code),
            served = fetch::run(shared, request, writer) => served,
        },
        Ok(Some(_)) => Err(Code::PROTOCOL),
        Err(ReadFailure::Broken(code)) => Err(code),
        Ok(None) | Err(ReadFailure::Gone) => Ok(()),
    }
}

/// Waits until the client sends something behind its Fetch, where nothing has a place, and gives the code to reset the
/// stream with.
async fn broken_behind_fetch(reader: &mut FrameReader) -> Code {
    match reader.next().await {
        Ok(Some(_)) => Code::PROTOCOL,
        Err(ReadFailure::Broken(code)) => code,
        Ok(None) | Err(ReadFailure::Gone) => std::future::pending().await,
    }
}
