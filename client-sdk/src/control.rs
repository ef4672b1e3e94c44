//! A connection's control stream: the sign-in, and what both sides tell each other until the connection's
//! end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quoth_protocol::codec::encode_datagram;
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION, feature};
use quoth_protocol::limits::DATAGRAM_BYTES_MAX;
use quoth_protocol::{Action, Code, UserId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::link::{Core, Outgoing, Place, Session, SignedIn};
use crate::renewal::Renewal;
use crate::requests::{MemberPresence, UnderWay};
use crate::session_end::SessionEnd;
use crate::state::{Reason, State, printable};
use crate::token::TokenSource;
use crate::transport::{Connection, Path, Silence};
use crate::wire::{FrameReader, FrameWriter, Incoming, StreamEnd, incoming};

/// What the server's close may take behind the end of the control stream. Outcome: the client closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server may take to close behind a GoAway: Quoth's own is done within 7 s. Outcome: the client
/// closes.
const GO_AWAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Control frames that wait to be written. Outcome: typing notices are dropped.
const CONTROL_FRAMES_MAX: usize = 16;

/// Round trips that a new path gets to answer: enough for a lost PING to be sent again, twice.
const PATH_ROUND_TRIPS: u32 = 3;

/// Bounds of that time. The round trip was measured on the old path: a second is what RFC 9002 waits for an
/// answer of a path that it knows nothing about. What takes longer than the upper bound is slower than
/// connecting again.
const PATH_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const PATH_TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// The control stream of a connection that is signed in.
pub(crate) struct Control {
    connection: Connection,
    /// Who has signed in.
    user: UserId,
    reader: FrameReader,
    writer: FrameWriter,
    core: Arc<Core>,
    place: Place,
    /// Feature `MEMBERSHIP` is in force.
    has_membership: bool,
    /// Frames of the client's other tasks.
    queue: mpsc::Receiver<Outgoing>,
    under_way: UnderWay,
    /// Whether anybody sits here, as far as the server is to know.
    away: watch::Receiver<bool>,
    drain: Option<Drain>,
    renewal: Renewal,
    move_check: Option<MoveCheck>,
    silence: Silence,
}

/// The server has said that it is about to close.
struct Drain {
    code: Code,
    since: Instant,
    /// It does not want to be asked before this has passed.
    retry_after: Duration,
    /// Why, for people.
    reason: String,
}

/// Whether the connection survives a move to another network.
struct MoveCheck {
    deadline: Instant,
    /// PATH_CHALLENGE frames before the move. A server asks every new address to answer one, so a further one
    /// says that the new path carries packets both ways.
    challenges: u64,
}

/// What happened on a control stream.
enum Happened {
    Wrote(Result<(), StreamEnd>),
    Read(Result<Incoming, StreamEnd>),
    Datagram(Bytes),
    Queued(Outgoing),
    /// Whether anybody sits here is another thing now.
    Away(bool),
    Moved {
        challenges: u64,
    },
    MoveCheckDue,
    FellSilent,
    DrainOver,
    Token(String),
}

impl Control {
    /// Signs in on a new connection. Its conversations open their streams behind the Hello without waiting
    /// for the answer, unless there is a session already, in whose place this one comes with the answer.
    /// Dropping the future ends the connection.
    pub(crate) async fn sign_in(
        connection: Connection,
        (core, token): (Arc<Core>, TokenSource),
        hello: Hello,
        has_rivals: bool,
    ) -> Result<Self, SessionEnd> {
        let (send, recv) = connection.open().await?;
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
        let renewal = Renewal::new(token, hello.token.clone());
        writer.push(&ClientFrame::Hello(hello));
        if let Err(end) = writer.write_all().await {
            return Err(ended(&connection, end).await.into());
        }
        let mut place = Place::behind_hello(Arc::clone(&core), connection.clone(), has_rivals);
        match reader.next().await {
            Ok(Incoming::Frame(ServerFrame::Welcome(welcome))) if welcome.version == VERSION => {
                let (frames, queue) = mpsc::channel(CONTROL_FRAMES_MAX);
                connection.signed_in(&welcome);
                core.presences.forget();
                let has_membership = welcome.features & feature::MEMBERSHIP != 0;
                let mut away = core.away.subscribe();
                // Whoever has just come counts as being here.
                if *away.borrow() {
                    away.mark_changed();
                }
                let user = welcome.user.clone();
                place.signed_in(SignedIn { welcome: Arc::new(welcome), control: frames });
                core.state.send_replace(State::Connected);
                let silence = connection.silence();
                let (drain, move_check) = (None, None);
                Ok(Self {
                    connection,
                    user,
                    reader,
                    writer,
                    core,
                    place,
                    has_membership,
                    queue,
                    under_way: UnderWay::default(),
                    away,
                    drain,
                    renewal,
                    move_check,
                    silence,
                })
            }
            Ok(Incoming::Frame(ServerFrame::GoAway { code, retry_after_ms, reason })) => {
                connection.close(Code::CLOSED, "the server drains");
                let retry_after = Some(Duration::from_millis(retry_after_ms.into()));
                let reason = Reason::Code { code, text: printable(&reason) };
                Err(SessionEnd { retry_after, ..SessionEnd::from(reason) })
            }
            Ok(other) => Err(broken(&connection, format!("{other:?} in place of Welcome")).into()),
            Err(end) => Err(ended(&connection, end).await.into()),
        }
    }

    /// The path that it runs over.
    pub(crate) fn path(&self) -> Path {
        self.connection.path()
    }

    /// Runs until the connection has ended. `moves` tells changes of networks. Dropping the future ends the
    /// connection.
    pub(crate) async fn run(mut self, moves: &mut watch::Receiver<u64>) -> SessionEnd {
        loop {
            let happened = self.next(moves).await;
            if let Err(reason) = self.take(happened).await {
                let left = |drain: &Drain| drain.retry_after.saturating_sub(drain.since.elapsed());
                let (retry_after, moved) = (self.drain.as_ref().map(left), self.move_check.is_some());
                return SessionEnd { retry_after, moved, ..SessionEnd::from(self.told(reason)) };
            }
        }
    }

    /// The next thing that happens. Cancel-safe.
    async fn next(&mut self, moves: &mut watch::Receiver<u64>) -> Happened {
        let Self { connection, reader, writer, queue, under_way, drain, renewal, move_check, .. } = self;
        let (silence, away) = (&mut self.silence, &mut self.away);
        let has_room = writer.waiting() < CONTROL_FRAMES_MAX;
        tokio::select! {
            biased;
            // What the server said last is read before an end of writing is noticed.
            frame = reader.next() => Happened::Read(frame),
            wrote = writer.write_some(), if writer.waiting() > 0 => Happened::Wrote(wrote),
            Ok(()) = moves.changed() => Happened::Moved { challenges: *moves.borrow_and_update() },
            () = due(move_check) => Happened::MoveCheckDue,
            () = silence.as_mut() => Happened::FellSilent,
            () = over(drain) => Happened::DrainOver,
            // An end is told by the control stream as well.
            Some(datagram) = connection.read_datagram() => Happened::Datagram(datagram),
            Ok(()) = away.changed(), if has_room => Happened::Away(*away.borrow_and_update()),
            Some(outgoing) = queue.recv(), if has_room && under_way.has_room() => Happened::Queued(outgoing),
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
            Happened::Queued(Outgoing::Typing(frame)) => self.writer.push(&frame),
            Happened::Queued(Outgoing::Request(request, waiter)) => {
                self.writer.push(&self.under_way.begin(request, waiter));
            }
            Happened::Away(away) if self.has_membership => self.writer.push(&ClientFrame::Status { away }),
            Happened::Away(_) => {}
            Happened::Moved { challenges } => {
                let deadline = Instant::now() + path_timeout(self.connection.round_trip());
                self.move_check = Some(MoveCheck { deadline, challenges });
                if self.connection.path_challenges().is_none() {
                    return Err(self.give_up("the client has moved"));
                }
            }
            Happened::MoveCheckDue => self.check_move()?,
            Happened::FellSilent => return Err(self.give_up("the server has fallen silent")),
            Happened::DrainOver => {
                self.connection.close(Code::CLOSED, "the server does not close behind its GoAway");
                let code = self.drain.as_ref().map_or(Code::GOING_AWAY, |drain| drain.code);
                return Err(Reason::Code { code, text: String::new() });
            }
            Happened::Token(token) => self.writer.push(&ClientFrame::Refresh { token }),
        }
        Ok(())
    }

    fn frame(&mut self, frame: ServerFrame) -> Result<(), String> {
        match frame {
            ServerFrame::GoAway { code, retry_after_ms, reason } => {
                tracing::debug!(%code, retry_after_ms, reason, "the server is about to close");
                self.place.going_away();
                let retry_after = Duration::from_millis(retry_after_ms.into());
                let (since, reason) = (Instant::now(), printable(&reason));
                self.drain = Some(Drain { code, since, retry_after, reason });
            }
            ServerFrame::TokenExpiring { .. } => self.renewal.begin(),
            ServerFrame::Typing { conversation, user } => {
                // Without a listener nobody wants to know.
                self.core.typings.send((conversation, user)).ok();
            }
            ServerFrame::Reply { id, reply } => self.under_way.answered(id, reply)?,
            ServerFrame::Presence { conversation, user, .. } if user == self.user => {
                self.core.presences.ended(&conversation);
            }
            ServerFrame::Presence { conversation, user, status, last_seen_ms } => {
                self.core.presences.tell(&conversation, user, MemberPresence { status, last_seen_ms });
            }
            ServerFrame::InboxRow { known, row } => self.core.inboxes.tell(known, &row),
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

    /// Gives the connection up when its new path has not answered: QUIC itself would find out by the idle
    /// timeout.
    fn check_move(&mut self) -> Result<(), Reason> {
        let challenges = self.connection.path_challenges().unwrap_or_default();
        if self.move_check.as_ref().is_some_and(|check| challenges <= check.challenges) {
            return Err(self.give_up("the client has moved"));
        }
        self.move_check = None;
        Ok(())
    }

    /// Why the connection has ended, given how. What the server has said before counts unless it only drains,
    /// and then its reason for people still does.
    fn told(&self, reason: Reason) -> Reason {
        let Some(drain) = &self.drain else { return reason };
        let is_told = matches!(reason, Reason::Code { code, .. } if code == drain.code);
        match drain.code.action() {
            Action::Retry if !is_told || drain.reason.is_empty() => reason,
            _ => Reason::Code { code: drain.code, text: drain.reason.clone() },
        }
    }

    fn give_up(&self, why: &str) -> Reason {
        self.connection.close(Code::CLOSED, why);
        Reason::TimedOut
    }
}

/// Sends a typing notice by whatever way there is. One that finds no room is dropped: the next one says the
/// same.
pub(crate) fn send_typing(session: &Session, frame: ClientFrame) {
    let Some(SignedIn { welcome, control }) = &session.signed_in else { return };
    let has_datagrams = welcome.features & feature::DATAGRAMS != 0;
    if has_datagrams && session.connection.send_datagram(encode_datagram(&frame)) {
        return;
    }
    control.try_send(Outgoing::Typing(frame)).ok();
}

fn broken(connection: &Connection, text: String) -> Reason {
    connection.close(Code::PROTOCOL, "the server broke the protocol");
    Reason::Protocol(text)
}

/// Why the connection ends, given how its control stream ended: whatever that was, the connection is closed
/// behind it.
async fn ended(connection: &Connection, end: StreamEnd) -> Reason {
    match end {
        StreamEnd::ConnectionLost(reason) => reason,
        StreamEnd::Protocol(text) => broken(connection, text),
        // The close that says why is right behind.
        StreamEnd::Finished | StreamEnd::Reset(_) => {
            match timeout(CLOSE_TIMEOUT, connection.closed()).await {
                Ok(reason) => reason,
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
