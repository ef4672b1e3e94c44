//! An owner and others in a managed conversation: they join, leave, are removed and banned, write, and come
//! back over lost connections.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{bail, ensure};
use quoth_protocol::code::Action;
use quoth_protocol::frame::{ClientFrame, Open, ServerFrame, Start, feature};
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::club::Club;
use super::history::Broken;
use super::peer::{CONNECT_TIMEOUT, Dial, code_of, is_broken};
use super::plan::CALM_AT_MS;
use crate::wire::{Frames, hello, publish};

type Shared = Rc<RefCell<Club>>;

/// What a request may be refused with.
const NONE: &[Code] = &[];

fn is_calm() -> bool {
    turmoil::sim_elapsed().is_some_and(|now| now >= Duration::from_millis(CALM_AT_MS))
}

/// A connection whose requests are served.
struct Session {
    quic: quinn::Connection,
    control: Frames,
    requests: u32,
}

impl Session {
    /// Connects and signs in, again and again.
    async fn connect(dial: &Dial, rng: &mut StdRng) -> anyhow::Result<Self> {
        loop {
            match timeout(CONNECT_TIMEOUT, Self::try_connect(dial)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) if is_broken(&error) => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
            sleep(Duration::from_millis(rng.random_range(5..250))).await;
        }
    }

    async fn try_connect(dial: &Dial) -> anyhow::Result<Self> {
        let quic = dial.endpoint.connect_with(dial.config.clone(), dial.server, "localhost")?.await?;
        let mut control = Frames::open(&quic).await?;
        let ClientFrame::Hello(mut hello) = hello(&dial.token)? else { bail!("no Hello") };
        hello.features = feature::MEMBERSHIP;
        control.write(&ClientFrame::Hello(hello)).await?;
        match control.next().await? {
            Some(ServerFrame::Welcome(_)) => Ok(Self { quic, control, requests: 0 }),
            other => bail!("not a Welcome: {other:?}"),
        }
    }

    async fn send(&mut self, request: Request) -> anyhow::Result<u32> {
        self.requests += 1;
        let id = self.requests;
        self.control.write(&ClientFrame::Request { id, request }).await?;
        Ok(id)
    }

    /// Asks and waits for the answer.
    async fn ask(&mut self, request: Request, may_be: &[Code]) -> anyhow::Result<Reply> {
        let asked = self.send(request).await?;
        loop {
            match self.control.next().await? {
                Some(ServerFrame::Reply { id, reply }) if id == asked => {
                    check(&reply, may_be)?;
                    return Ok(reply);
                }
                Some(_) => {}
                None => bail!("the control stream has ended"),
            }
        }
    }

    async fn open(&self, conversation: ConversationName, from: Option<Start>) -> anyhow::Result<Frames> {
        let mut frames = Frames::open(&self.quic).await?;
        let producer = ProducerId(1);
        frames.write(&ClientFrame::Open(Open { conversation, producer, from })).await?;
        Ok(frames)
    }

    fn close(&self) {
        self.quic.close(Code::CLOSED.0.into(), b"");
    }
}

fn check(reply: &Reply, may_be: &[Code]) -> anyhow::Result<()> {
    match reply {
        Reply::Done { .. } => Ok(()),
        Reply::Refused { code, .. } if may_be.contains(code) => Ok(()),
        Reply::Refused { code, .. } if code.action() == Action::Retry => bail!("refused with {code}"),
        other => Err(Broken::new(format!("the answer is {other:?}")).into()),
    }
}

/// Makes the conversation, writes in it, and decides who is in it; at the end all are.
///
/// # Errors
/// When the server breaks a promise.
pub(super) async fn owner(
    dial: Dial,
    others: Vec<UserId>,
    club: Shared,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    let mut owner = Owner { others, club, n: 0, unacked: VecDeque::new(), last_n: None };
    loop {
        let mut session = Session::connect(&dial, &mut rng).await?;
        match owner.run(&mut session, &mut rng).await {
            Err(error) if is_broken(&error) => return Err(error),
            Err(_) => session.close(),
            Ok(()) => {
                session.close();
                return Ok(());
            }
        }
    }
}

struct Owner {
    others: Vec<UserId>,
    club: Shared,
    /// The last message's number.
    n: u64,
    unacked: VecDeque<u64>,
    /// The number of the last message of all.
    last_n: Option<u64>,
}

impl Owner {
    async fn run(&mut self, session: &mut Session, rng: &mut StdRng) -> anyhow::Result<()> {
        let known = self.club.borrow().name.clone();
        let club = match known {
            Some(club) => club,
            None => self.create(session).await?,
        };
        let mut stream = session.open(club.clone(), None).await?;
        for n in self.unacked.clone() {
            stream.write(&publish(n, format!("{n}"))).await?;
        }
        while !is_calm() {
            self.act(session, &club, &mut stream, rng).await?;
            let pause = Duration::from_millis(rng.random_range(2..100));
            if let Ok(frame) = timeout(pause, stream.next()).await {
                self.take(frame?)?;
            }
        }
        for user in self.others.clone() {
            let conversation = club.clone();
            session.ask(Request::Ban { conversation, user: user.clone(), until_ms: 0 }, NONE).await?;
            session.ask(set(&club, user), NONE).await?;
        }
        if self.last_n.is_none() {
            self.write(&mut stream).await?;
            self.last_n = Some(self.n);
        }
        while !self.unacked.is_empty() {
            let frame = stream.next().await?;
            self.take(frame)?;
        }
        Ok(())
    }

    /// Makes the conversation. One whose answer is lost is nobody's any more.
    async fn create(&mut self, session: &mut Session) -> anyhow::Result<ConversationName> {
        let create = Request::Create {
            conversation: None,
            kind: ConversationKind::Group,
            title: String::new(),
            members: self.others.clone(),
            open: true,
        };
        let Reply::Done { conversation, .. } = session.ask(create, NONE).await? else { bail!("not done") };
        self.club.borrow_mut().name = Some(conversation.clone());
        Ok(conversation)
    }

    async fn write(&mut self, stream: &mut Frames) -> anyhow::Result<()> {
        self.n += 1;
        self.unacked.push_back(self.n);
        stream.write(&publish(self.n, format!("{}", self.n))).await
    }

    async fn act(
        &mut self,
        session: &mut Session,
        club: &ConversationName,
        stream: &mut Frames,
        rng: &mut StdRng,
    ) -> anyhow::Result<()> {
        let (conversation, user) =
            (club.clone(), self.others[rng.random_range(0..self.others.len())].clone());
        let (request, may_be) = match rng.random_range(0..12) {
            0 | 1 => (Request::Remove { conversation, user }, NONE),
            2 => (Request::Ban { conversation, user, until_ms: u64::MAX }, NONE),
            3 => (Request::Ban { conversation, user, until_ms: 0 }, NONE),
            // Who is banned is not added.
            4 | 5 => (set(club, user), &[Code::INVALID_REQUEST][..]),
            _ => return self.write(stream).await,
        };
        session.ask(request, may_be).await.map(drop)
    }

    fn take(&mut self, frame: Option<ServerFrame>) -> anyhow::Result<()> {
        match frame {
            Some(ServerFrame::Opened { .. }) => Ok(()),
            Some(ServerFrame::Ack { n, seq, .. }) => {
                self.unacked.retain(|unacked| *unacked != n);
                if self.last_n == Some(n) {
                    self.club.borrow_mut().last = Some(seq);
                }
                Ok(())
            }
            Some(other) => Err(Broken::new(format!("the owner is told {other:?}")).into()),
            None => bail!("the server has finished the stream"),
        }
    }
}

fn set(club: &ConversationName, user: UserId) -> Request {
    Request::SetMember { conversation: club.clone(), user, role: Role::Member, permissions: None }
}

/// Joins, leaves, writes and reads, until it has the last message.
///
/// # Errors
/// When the server breaks a promise.
pub(super) async fn member(dial: Dial, user: UserId, club: Shared, mut rng: StdRng) -> anyhow::Result<()> {
    let mut member = Member { user, club, cursor: Seq::ZERO, n: 0 };
    while !member.is_done() {
        let mut session = Session::connect(&dial, &mut rng).await?;
        let ended = member.run(&mut session, &mut rng).await;
        session.close();
        if let Err(error) = ended
            && is_broken(&error)
        {
            return Err(error);
        }
    }
    Ok(())
}

struct Member {
    user: UserId,
    club: Shared,
    /// The last event that came.
    cursor: Seq,
    /// The last message's number.
    n: u64,
}

impl Member {
    fn is_done(&self) -> bool {
        self.club.borrow().last.is_some_and(|last| self.cursor >= last)
    }

    async fn run(&mut self, session: &mut Session, rng: &mut StdRng) -> anyhow::Result<()> {
        let mut stream: Option<Frames> = None;
        let (mut opens_at, mut acts_at) = (Instant::now(), Instant::now());
        while !self.is_done() {
            tokio::select! {
                biased;
                frame = session.control.next() => match frame? {
                    // Who is banned does not join, and who never was a member does not leave.
                    Some(ServerFrame::Reply { reply, .. }) => check(&reply, &[Code::FORBIDDEN])?,
                    Some(_) => {}
                    None => bail!("the control stream has ended"),
                },
                frame = next(&mut stream) => match frame {
                    Ok(frame) => self.take(frame)?,
                    Err(error) if code_of(&error) == Some(Code::FORBIDDEN) => {
                        self.club.borrow_mut().ends += 1;
                        stream = None;
                        opens_at = Instant::now() + Duration::from_millis(rng.random_range(1..200));
                    }
                    Err(error) => return Err(error),
                },
                () = sleep_until(opens_at), if stream.is_none() => {
                    opens_at = Instant::now() + Duration::from_millis(100);
                    let club = self.club.borrow().name.clone();
                    if let Some(club) = club {
                        stream = Some(session.open(club, Some(Start::After(self.cursor))).await?);
                    }
                }
                () = sleep_until(acts_at) => {
                    acts_at = Instant::now() + Duration::from_millis(rng.random_range(10..300));
                    if !is_calm() {
                        self.act(session, stream.as_mut(), rng).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn act(
        &mut self,
        session: &mut Session,
        stream: Option<&mut Frames>,
        rng: &mut StdRng,
    ) -> anyhow::Result<()> {
        let Some(conversation) = self.club.borrow().name.clone() else { return Ok(()) };
        match (rng.random_range(0..12), stream) {
            (0 | 1, _) => session.send(Request::Leave { conversation }).await.map(drop),
            (2..=5, _) => session.send(Request::Join { conversation, invitation: None }).await.map(drop),
            (6, _) => bail!("it goes and comes back"),
            (_, Some(stream)) => {
                self.n += 1;
                stream.write(&publish(self.n, format!("{} of {}", self.n, self.user))).await
            }
            (_, None) => Ok(()),
        }
    }

    fn take(&mut self, frame: Option<ServerFrame>) -> anyhow::Result<()> {
        match frame {
            Some(ServerFrame::Event(event)) => {
                let expected = self.cursor.next();
                ensure!(event.seq == expected, Broken::new(format!("{} in place of {expected}", event.seq)));
                self.cursor = event.seq;
                self.club.borrow_mut().told(&self.user, event.seq)
            }
            Some(
                ServerFrame::Opened { .. }
                | ServerFrame::Ack { .. }
                | ServerFrame::Refused { code: Code::FORBIDDEN | Code::STALE_MESSAGE_ID, .. },
            ) => Ok(()),
            Some(other) => Err(Broken::new(format!("a member is told {other:?}")).into()),
            None => bail!("the server has finished the stream"),
        }
    }
}

async fn next(stream: &mut Option<Frames>) -> anyhow::Result<Option<ServerFrame>> {
    match stream {
        Some(frames) => frames.next().await,
        None => std::future::pending().await,
    }
}
