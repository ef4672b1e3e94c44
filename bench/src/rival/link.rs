//! A connection that members share: one task writes what they publish and hands out what comes, as quinn's
//! does for QUIC.
//!
//! What is published within a turn of the runtime goes out in one write, and one read brings what has come
//! for all.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use super::secure::Secure;
use crate::system::{Part, Received};

/// Bytes that may wait for the socket, as in the bench's QUIC clients; publishers wait beyond it.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that may wait for members, as in the bench's QUIC clients; beyond it the socket is not read, so that
/// TCP's flow control reaches the server.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that one read has room for.
const READ_BYTES: usize = 32 * 1024;

/// A protocol: what members want becomes bytes, and bytes become what comes to members. No IO.
pub(super) trait Dialect: std::fmt::Debug + Send {
    /// What a client says first; the server's answer is confirmed.
    fn hello(&mut self, output: &mut BytesMut);

    /// A new member; says whether the server has to confirm it.
    fn enter(
        &mut self,
        member: usize,
        conversation: &str,
        part: Part,
        output: &mut BytesMut,
    ) -> anyhow::Result<bool>;

    /// A message of a member; says whether there was room for it: if not, it has to wait for acks.
    fn publish(&mut self, member: usize, body: &[u8], output: &mut BytesMut) -> bool;

    /// Takes everything whole from the front of `input`.
    fn take(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
        inboxes: &mut Inboxes,
    ) -> anyhow::Result<()>;

    /// What a client says last.
    fn goodbye(&mut self, output: &mut BytesMut);
}

/// What has come and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    inboxes: Vec<Inbox>,
    held_bytes: usize,
    /// Those that wait for the server's confirmation, which come in the order in which they were asked for.
    unconfirmed: VecDeque<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Inbox {
    received: Vec<Received>,
    bytes: usize,
    wake: Arc<Notify>,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    /// For the task: there is something to write, or room to read.
    work: Notify,
    /// For publishers: there may be room.
    room: Notify,
}

#[derive(Debug)]
struct State {
    dialect: Box<dyn Dialect>,
    output: BytesMut,
    inboxes: Inboxes,
    closing: bool,
    /// Why the connection is gone.
    ended: Option<String>,
}

/// A member's place on the connection.
#[derive(Debug, Clone)]
pub(super) struct Place {
    link: Arc<Link>,
    member: usize,
    wake: Arc<Notify>,
}

impl Inboxes {
    /// A message for a member.
    pub(super) fn message(&mut self, member: usize, body: Bytes) -> anyhow::Result<()> {
        let inbox = self.inboxes.get_mut(member).context("a message for nobody")?;
        inbox.bytes += body.len();
        self.held_bytes += body.len();
        inbox.received.push(Received::Message { seq: None, body });
        inbox.wake.notify_one();
        Ok(())
    }

    /// An ack for a member.
    pub(super) fn ack(&mut self, member: usize) -> anyhow::Result<()> {
        let inbox = self.inboxes.get_mut(member).context("an ack for nobody")?;
        match inbox.received.last_mut() {
            Some(Received::Acks(acks)) => *acks += 1,
            _ => inbox.received.push(Received::Acks(1)),
        }
        inbox.wake.notify_one();
        Ok(())
    }

    /// The server has confirmed what was asked for first.
    pub(super) fn confirm(&mut self) -> anyhow::Result<()> {
        // Whoever asked may have given up.
        let _gone = self.unconfirmed.pop_front().context("a confirmation of nothing")?.send(());
        Ok(())
    }
}

impl Link {
    /// Says hello on a new connection, and waits for the answer.
    ///
    /// # Errors
    /// When the server refuses.
    pub(super) async fn start(
        tcp: TcpStream,
        secure: Secure,
        dialect: Box<dyn Dialect>,
    ) -> anyhow::Result<(Arc<Self>, tokio::task::JoinHandle<()>)> {
        let (sender, confirmed) = oneshot::channel();
        let mut state = State {
            dialect,
            output: BytesMut::new(),
            inboxes: Inboxes::default(),
            closing: false,
            ended: None,
        };
        state.dialect.hello(&mut state.output);
        state.inboxes.unconfirmed.push_back(sender);
        let link = Arc::new(Self { state: Mutex::new(state), work: Notify::new(), room: Notify::new() });
        let task = tokio::spawn({
            let link = Arc::clone(&link);
            async move {
                let ended = link.drive(tcp, secure).await;
                link.end(ended.map_or_else(|error| format!("{error:#}"), |()| "closed".into()));
            }
        });
        link.wait_for(confirmed).await?;
        Ok((link, task))
    }

    /// Seats a member, and waits until the server has confirmed it.
    ///
    /// # Errors
    /// When the conversation cannot be had, or the connection is gone.
    pub(super) async fn enter(self: &Arc<Self>, conversation: &str, part: Part) -> anyhow::Result<Place> {
        let (sender, confirmed) = oneshot::channel();
        let place = {
            let mut state = self.state.lock();
            let State { dialect, output, inboxes, ended, .. } = &mut *state;
            refuse_ended(ended.as_deref())?;
            let member = inboxes.inboxes.len();
            if dialect.enter(member, conversation, part, output)? {
                inboxes.unconfirmed.push_back(sender);
            } else {
                let _is_heard = sender.send(());
            }
            let wake = Arc::<Notify>::default();
            inboxes.inboxes.push(Inbox { wake: Arc::clone(&wake), ..Inbox::default() });
            Place { link: Arc::clone(self), member, wake }
        };
        self.work.notify_one();
        self.wait_for(confirmed).await?;
        Ok(place)
    }

    /// Says goodbye; the task ends when the server has closed the connection.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        let State { dialect, output, closing, .. } = &mut *state;
        dialect.goodbye(output);
        *closing = true;
        drop(state);
        self.work.notify_one();
    }

    async fn wait_for(&self, confirmed: oneshot::Receiver<()>) -> anyhow::Result<()> {
        if confirmed.await.is_err() {
            refuse_ended(self.state.lock().ended.as_deref())?;
        }
        Ok(())
    }

    async fn drive(&self, mut tcp: TcpStream, mut secure: Secure) -> anyhow::Result<()> {
        let (mut from, mut to) = tcp.split();
        let (mut sealed, mut sending) = (BytesMut::new(), BytesMut::new());
        let mut input = BytesMut::new();
        let mut has_ended_writing = false;
        loop {
            if sending.is_empty() {
                let closing = self.take_output(&mut secure, &mut sending)?;
                if closing && sending.is_empty() && !has_ended_writing {
                    to.shutdown().await?;
                    has_ended_writing = true;
                }
            }
            let may_read = self.state.lock().inboxes.held_bytes < HELD_BYTES_MAX;
            sealed.reserve(READ_BYTES);
            tokio::select! {
                biased;
                written = to.write_buf(&mut sending), if !sending.is_empty() => {
                    written?;
                }
                read = from.read_buf(&mut sealed), if may_read => match read {
                    Ok(0) | Err(_) if has_ended_writing => return Ok(()),
                    Ok(0) => bail!("the server has closed the connection"),
                    Ok(_) => {
                        secure.open(&mut sealed, &mut input)?;
                        self.take_input(&mut input)?;
                    }
                    Err(error) => return Err(error.into()),
                },
                () = self.work.notified() => {}
            }
        }
    }

    /// Moves what waits to be written; says whether it is the last.
    fn take_output(&self, secure: &mut Secure, sending: &mut BytesMut) -> anyhow::Result<bool> {
        let mut state = self.state.lock();
        if state.closing && state.output.is_empty() {
            secure.end();
        }
        secure.seal(&mut state.output, sending)?;
        self.room.notify_waiters();
        Ok(state.closing)
    }

    fn take_input(&self, input: &mut BytesMut) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        let State { dialect, output, inboxes, .. } = &mut *state;
        dialect.take(input, output, inboxes)?;
        self.room.notify_waiters();
        Ok(())
    }

    fn end(&self, why: String) {
        let mut state = self.state.lock();
        state.ended = Some(why);
        state.inboxes.unconfirmed.clear();
        for inbox in &state.inboxes.inboxes {
            inbox.wake.notify_one();
        }
        self.room.notify_waiters();
    }
}

impl Place {
    /// Hands over all bodies, once there is room for them.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(super) async fn publish(&self, bodies: &mut Vec<Bytes>) -> anyhow::Result<()> {
        loop {
            // Made before the look, so that room which comes right behind it is not missed.
            let room = self.link.room.notified();
            {
                let mut state = self.link.state.lock();
                let State { dialect, output, ended, .. } = &mut *state;
                refuse_ended(ended.as_deref())?;
                let fits = |body: &&Bytes| {
                    output.len() < OUTPUT_BYTES_MAX && dialect.publish(self.member, body, output)
                };
                let published = bodies.iter().take_while(fits).count();
                bodies.drain(..published);
            }
            self.link.work.notify_one();
            if bodies.is_empty() {
                return Ok(());
            }
            room.await;
        }
    }

    /// Takes everything that is here, or waits until something is. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the connection is gone and everything that came before is taken.
    pub(super) async fn receive(&self, into: &mut Vec<Received>) -> anyhow::Result<()> {
        loop {
            if self.take(into)? {
                return Ok(());
            }
            self.wake.notified().await;
        }
    }

    fn take(&self, into: &mut Vec<Received>) -> anyhow::Result<bool> {
        let mut state = self.link.state.lock();
        let State { inboxes, ended, .. } = &mut *state;
        let inbox = &mut inboxes.inboxes[self.member];
        if inbox.received.is_empty() {
            refuse_ended(ended.as_deref())?;
            return Ok(false);
        }
        into.append(&mut inbox.received);
        let was_full = inboxes.held_bytes >= HELD_BYTES_MAX;
        inboxes.held_bytes -= std::mem::take(&mut inbox.bytes);
        if was_full {
            self.link.work.notify_one();
        }
        Ok(true)
    }
}

fn refuse_ended(ended: Option<&str>) -> anyhow::Result<()> {
    ended.map_or(Ok(()), |why| Err(anyhow::anyhow!("the connection is gone: {why}")))
}
