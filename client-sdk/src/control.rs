//! A connection's control stream: the sign-in, and what both sides tell each other until the connection's end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use quoth_protocol::Code;
use quoth_protocol::codec::encode_datagram;
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION, feature};
use quoth_protocol::limits::DATAGRAM_BYTES_MAX;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::link::{Core, Session, SignedIn};
use crate::liveness::{CHECK_INTERVAL, Liveness};
use crate::renewal::Renewal;
use crate::state::{Reason, State};
use crate::token::TokenSource;
use crate::wire::{FrameReader, FrameWriter, Incoming, StreamEnd, close, incoming};

/// What the server's close may take behind the end of the control stream. Outcome: the client closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server may take to close behind a GoAway: Quoth's own is done within 7 s. Outcome: the client closes.
const GO_AWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Control frames that wait to be written. Outcome: typing notices are dropped.
const CONTROL_FRAMES_MAX: usize = 16;

/// Round trips that a new path gets to answer: enough for a lost PING to be sent again, twice.
const PATH_ROUND_TRIPS: u32 = 3;

/// Bounds of that time. The round trip was measured on the old path: a second is what RFC 9002 waits for an answer of a
/// path that it knows nothing about. What takes longer than the upper bound is slower than connecting again.
const PATH_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const PATH_TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// Why a connection ended, and when to try again.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    pub(crate) reason: Reason,
    /// The server does not want to be asked before this.
    pub(crate) retry_after: Option<Duration>,
    /// The client had just moved to another network.
    pub(crate) moved: bool,
}

impl From<Reason> for SessionEnd {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None, moved: false }
    }
}

impl SessionEnd {
    /// A move to another network has ended it, so that it says nothing about the server: nobody is spared by a wait.
    pub(crate) fn may_retry_at_once(&self) -> bool {
        self.moved && self.may_be_cut_short()
    }

    /// The wait that follows is for a network to come back, which a move may mean.
    pub(crate) fn may_be_cut_short(&self) -> bool {
        self.retry_after.is_none() && self.reason.is_of_the_network()
    }
}

/// The control stream of a connection that is signed in.
pub(crate) struct Control {
    connection: Connection,
    reader: FrameReader,
    writer: FrameWriter,
    core: Arc<Core>,
    /// Frames of the client's other tasks.
    queue: mpsc::Receiver<ClientFrame>,
    drain: Option<Drain>,
    renewal: Renewal,
    move_check: Option<MoveCheck>,
    liveness: Liveness,
    /// When to look at it next.
    liveness_check: Instant,
}

/// The server has said that it is about to close.
struct Drain {
    code: Code,
    since: Instant,
    /// It does not want to be asked before this has passed.
    retry_after: Duration,
}

/// Whether the connection survives a move to another network.
struct MoveCheck {
    deadline: Instant,
    /// PATH_CHALLENGE frames before the move. A server asks every new address to answer one, so a further one says that
    /// the new path carries packets both ways.
    challenges: u64,
}

/// What happened on a control stream.
enum Happened {
    Wrote(Result<(), StreamEnd>),
    Read(Result<Incoming, StreamEnd>),
    Datagram(Bytes),
    Queued(ClientFrame),
    Moved { challenges: u64 },
    MoveCheckDue,
    LivenessCheckDue,
    DrainOver,
    Token(String),
}

impl Control {
    /// Signs in on a new connection. Its conversations open their streams behind the Hello without waiting for the
    /// answer. Dropping the future leaves the connection in the link: see [`Core::end_session`].
    pub(crate) async fn sign_in(
        connection: Connection,
        (core, token): (Arc<Core>, TokenSource),
        hello: Hello,
        epoch: u64,
    ) -> Result<Self, SessionEnd> {
        let (send, recv) = connection.open_bi().await.map_err(Reason::from)?;
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
        let renewal = Renewal::new(token, hello.token.clone());
        writer.push(&ClientFrame::Hello(hello));
        if let Err(end) = writer.write_all().await {
            return Err(ended(&connection, end).await.into());
        }
        let session = Session { connection: connection.clone(), epoch, signed_in: None, going_away: false };
        core.link.send_modify(|link| link.session = Some(session));
        match reader.next().await {
            Ok(Incoming::Frame(ServerFrame::Welcome(welcome))) if welcome.version == VERSION => {
                let (frames, queue) = mpsc::channel(CONTROL_FRAMES_MAX);
                let signed_in = SignedIn { welcome: Arc::new(welcome), control: frames };
                core.change_session(|session| session.signed_in = Some(signed_in));
                core.state.send_replace(State::Connected);
                Ok(Self {
                    connection,
                    reader,
                    writer,
                    core,
                    queue,
                    drain: None,
                    renewal,
                    move_check: None,
                    liveness: Liveness::default(),
                    liveness_check: Instant::now() + CHECK_INTERVAL,
                })
            }
            Ok(Incoming::Frame(ServerFrame::GoAway { code, retry_after_ms })) => {
                close(&connection, Code::CLOSED, "the server drains");
                let retry_after = Some(Duration::from_millis(retry_after_ms.into()));
                let reason = Reason::Code { code, text: String::new() };
                Err(SessionEnd { reason, retry_after, moved: false })
            }
            Ok(other) => Err(broken(&connection, format!("{other:?} in place of Welcome")).into()),
            Err(end) => Err(ended(&connection, end).await.into()),
        }
    }

    /// Runs until the connection has ended. `moves` tells changes of networks. Dropping the future leaves the connection
    /// in the link: see [`Core::end_session`].
    pub(crate) async fn run(mut self, moves: &mut watch::Receiver<u64>) -> SessionEnd {
        loop {
            let happened = self.next(moves).await;
            if let Err(reason) = self.take(happened).await {
                let left = |drain: Drain| drain.retry_after.saturating_sub(drain.since.elapsed());
                let (retry_after, moved) = (self.drain.map(left), self.move_check.is_some());
                return SessionEnd { reason, retry_after, moved };
            }
        }
    }

    /// The next thing that happens. Cancel-safe.
    async fn next(&mut self, moves: &mut watch::Receiver<u64>) -> Happened {
        let Self { connection, reader, writer, queue, drain, renewal, move_check, liveness_check, .. } = self;
        tokio::select! {
            biased;
            // What the server said last is read before an end of writing is noticed.
            frame = reader.next() => Happened::Read(frame),
            wrote = writer.write_some(), if writer.waiting() > 0 => Happened::Wrote(wrote),
            Ok(()) = moves.changed() => Happened::Moved { challenges: *moves.borrow_and_update() },
            () = due(move_check) => Happened::MoveCheckDue,
            () = sleep_until(*liveness_check) => Happened::LivenessCheckDue,
            () = over(drain) => Happened::DrainOver,
            // An end is told by the control stream as well.
            Ok(datagram) = connection.read_datagram() => Happened::Datagram(datagram),
            Some(frame) = queue.recv(), if writer.waiting() < CONTROL_FRAMES_MAX => Happened::Queued(frame),
            token = renewal.next() => Happened::Token(token),
        }
    }

    async fn take(&mut self, happened: Happened) -> Result<(), Reason> {
        match happened {
            Happened::Wrote(Ok(())) => {}
            Happened::Read(Ok(Incoming::Frame(frame))) => {
                self.frame(frame).map_err(|text| broken(&self.connection, text))?;
            }
            Happened::Read(Ok(Incoming::UnknownEvent { .. })) => {
                return Err(broken(&self.connection, "an event on the control stream".to_owned()));
            }
            Happened::Wrote(Err(end)) | Happened::Read(Err(end)) => {
                return Err(ended(&self.connection, end).await);
            }
            Happened::Datagram(datagram) => self.datagram(&datagram),
            Happened::Queued(frame) => self.writer.push(&frame),
            Happened::Moved { challenges } => {
                let deadline = Instant::now() + path_timeout(self.connection.rtt());
                self.move_check = Some(MoveCheck { deadline, challenges });
            }
            Happened::MoveCheckDue => self.check_move()?,
            Happened::LivenessCheckDue => self.check_liveness()?,
            Happened::DrainOver => {
                close(&self.connection, Code::CLOSED, "the server does not close behind its GoAway");
                let code = self.drain.as_ref().map_or(Code::GOING_AWAY, |drain| drain.code);
                return Err(Reason::Code { code, text: String::new() });
            }
            Happened::Token(token) => self.writer.push(&ClientFrame::Refresh { token }),
        }
        Ok(())
    }

    fn frame(&mut self, frame: ServerFrame) -> Result<(), String> {
        match frame {
            ServerFrame::GoAway { code, retry_after_ms } => {
                tracing::debug!(%code, retry_after_ms, "the server drains");
                self.core.change_session(|session| session.going_away = true);
                let retry_after = Duration::from_millis(retry_after_ms.into());
                self.drain = Some(Drain { code, since: Instant::now(), retry_after });
            }
            ServerFrame::TokenExpiring { .. } => self.renewal.begin(),
            ServerFrame::Typing { conversation, user } => {
                // Without a listener nobody wants to know.
                self.core.typings.send((conversation, user)).ok();
            }
            other => return Err(format!("{other:?} on the control stream")),
        }
        Ok(())
    }

    fn datagram(&self, datagram: &[u8]) {
        if datagram.len() <= DATAGRAM_BYTES_MAX
            && let Ok(Some(Incoming::Frame(ServerFrame::Typing { conversation, user }))) = incoming(datagram)
        {
            self.core.typings.send((conversation, user)).ok();
        }
    }

    /// Gives the connection up when its new path has not answered: QUIC itself would find out by the idle timeout.
    fn check_move(&mut self) -> Result<(), Reason> {
        let challenges = self.connection.stats().frame_rx.path_challenge;
        if self.move_check.as_ref().is_some_and(|check| challenges <= check.challenges) {
            close(&self.connection, Code::CLOSED, "the client has moved");
            return Err(Reason::TimedOut);
        }
        self.move_check = None;
        Ok(())
    }

    /// Gives the connection up when its server has fallen silent.
    fn check_liveness(&mut self) -> Result<(), Reason> {
        if self.liveness.is_lost(&self.connection.stats()) {
            close(&self.connection, Code::CLOSED, "the server has fallen silent");
            return Err(Reason::TimedOut);
        }
        self.liveness_check = Instant::now() + CHECK_INTERVAL;
        Ok(())
    }
}

/// Sends a typing notice by whatever way there is. One that finds no room is dropped: the next one says the same.
pub(crate) fn send_typing(session: &Session, frame: ClientFrame) {
    let Some(SignedIn { welcome, control }) = &session.signed_in else { return };
    if welcome.features & feature::DATAGRAMS != 0 {
        let datagram = encode_datagram(&frame);
        if session.connection.max_datagram_size().is_some_and(|max| datagram.len() <= max) {
            session.connection.send_datagram(datagram).ok();
            return;
        }
    }
    control.try_send(frame).ok();
}

fn broken(connection: &Connection, text: String) -> Reason {
    close(connection, Code::PROTOCOL, "the server broke the protocol");
    Reason::Protocol(text)
}

/// Why the connection ends, given how its control stream ended: whatever that was, the connection is closed behind it.
async fn ended(connection: &Connection, end: StreamEnd) -> Reason {
    match end {
        StreamEnd::ConnectionLost(reason) => reason,
        StreamEnd::Protocol(text) => broken(connection, text),
        // The close that says why is right behind.
        StreamEnd::Finished | StreamEnd::Reset(_) => {
            match timeout(CLOSE_TIMEOUT, connection.closed()).await {
                Ok(error) => error.into(),
                Err(_) => broken(connection, "the control stream ended before the connection".to_owned()),
            }
        }
    }
}

/// How long a new path may take to answer, given the old one's round trip.
fn path_timeout(round_trip: Duration) -> Duration {
    (round_trip * PATH_ROUND_TRIPS).clamp(PATH_TIMEOUT_MIN, PATH_TIMEOUT_MAX)
}

async fn over(drain: &Option<Drain>) {
    match drain {
        Some(drain) => sleep_until(drain.since + GO_AWAY_TIMEOUT).await,
        None => std::future::pending().await,
    }
}

async fn due(check: &Option<MoveCheck>) {
    match check {
        Some(check) => sleep_until(check.deadline).await,
        None => std::future::pending().await,
    }
}
