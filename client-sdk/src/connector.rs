//! The task that owns a client's connection: signs in, reads the control stream, and connects again until it may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use quoth_protocol::codec::encode_datagram;
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION, Welcome, feature};
use quoth_protocol::limits::DATAGRAM_BYTES_MAX;
use quoth_protocol::{Action, Code, DeviceId};
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::link::{Core, Session};
use crate::state::{Reason, State};
use crate::token::{TokenFuture, TokenSource};
use crate::wire::{FrameReader, FrameWriter, Incoming, StreamEnd, incoming};

/// From the first packet to `Welcome`. Outcome: the attempt has failed.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a token provider may take. Outcome: the attempt has failed.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Control frames that wait to be written. Outcome: typing notices are dropped.
const CONTROL_FRAMES_MAX: usize = 16;

/// What a connector needs to sign in again and again.
pub(crate) struct Connector {
    pub(crate) core: Arc<Core>,
    pub(crate) endpoint: Endpoint,
    pub(crate) config: ClientConfig,
    pub(crate) server: String,
    pub(crate) server_name: String,
    pub(crate) token: TokenSource,
    pub(crate) device: DeviceId,
    pub(crate) platform: String,
    pub(crate) client_name: String,
    pub(crate) rng: StdRng,
    /// Becomes true when the application has closed the client; ends when it has dropped all of it.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// A connection with its control stream.
struct Control {
    connection: Connection,
    reader: FrameReader,
    writer: FrameWriter,
    welcome: Welcome,
}

/// Why a session ended, and when the server wants to be asked again.
struct SessionEnd {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl From<Reason> for SessionEnd {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }
}

impl Connector {
    /// Runs until the application closes the client or trying again cannot help.
    pub(crate) async fn run(mut self) {
        let mut shutdown = self.shutdown.clone();
        let reason = tokio::select! {
            biased;
            _ = shutdown.wait_for(|closed| *closed) => Reason::Closed,
            reason = self.connect_until_terminal() => reason,
        };
        let connection = self.core.link.borrow().session.as_ref().map(|s| s.connection.clone());
        if let Some(connection) = connection {
            close(&connection, Code::CLOSED, "the client was closed");
        }
        self.core.close(reason);
    }

    async fn connect_until_terminal(&mut self) -> Reason {
        let mut backoff = Backoff::default();
        let mut epoch = 0;
        loop {
            self.core.state.send_replace(State::Connecting);
            let end = match self.sign_in(epoch).await {
                Ok(control) => {
                    epoch += 1;
                    let since = Instant::now();
                    let end = self.serve(control, epoch).await;
                    self.core.link.send_modify(|link| link.session = None);
                    backoff.held_for(since.elapsed());
                    end
                }
                Err(end) => {
                    epoch += 1;
                    end
                }
            };
            tracing::debug!(server = self.server, reason = %end.reason, "disconnected");
            match end.reason.action() {
                Action::Retry => {}
                Action::Reauthenticate if self.token.can_renew() => {}
                Action::Reauthenticate | Action::Nothing | Action::Stop => return end.reason,
            }
            let retry_in = backoff.next_delay(&mut self.rng, end.retry_after);
            self.core.state.send_replace(State::Disconnected { reason: end.reason, retry_in });
            sleep(retry_in).await;
        }
    }

    /// One attempt. Different attempts take different addresses of a server that has several.
    async fn sign_in(&self, attempt: u64) -> Result<Control, SessionEnd> {
        let token = timeout(TOKEN_TIMEOUT, self.token.token()).await.map_err(|_| Reason::TimedOut)?;
        let token = token.map_err(Reason::Token)?;
        let attempt = async {
            let address = self.address(attempt).await?;
            let connecting = self
                .endpoint
                .connect_with(self.config.clone(), address, &self.server_name)
                .map_err(|e| Reason::Transport(e.to_string()))?;
            self.hello(connecting.await.map_err(Reason::from)?, token).await
        };
        timeout(ATTEMPT_TIMEOUT, attempt).await.map_err(|_| Reason::TimedOut)?
    }

    async fn address(&self, attempt: u64) -> Result<SocketAddr, Reason> {
        let unknown = |e: &dyn std::fmt::Display| Reason::Transport(format!("{}: {e}", self.server));
        let mut found =
            tokio::net::lookup_host(&self.server).await.map_err(|e| unknown(&e))?.collect::<Vec<_>>();
        if found.is_empty() {
            return Err(unknown(&"no address"));
        }
        let at = usize::try_from(attempt).unwrap_or_default() % found.len();
        Ok(found.swap_remove(at))
    }

    async fn hello(&self, connection: Connection, token: String) -> Result<Control, SessionEnd> {
        let (send, recv) = connection.open_bi().await.map_err(Reason::from)?;
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
        writer.push(&ClientFrame::Hello(Hello {
            version: VERSION,
            features: feature::DATAGRAMS,
            token,
            device: self.device.clone(),
            platform: self.platform.clone(),
            client: self.client_name.clone(),
        }));
        let answer = async {
            writer.write_all().await?;
            reader.next().await
        };
        match answer.await {
            Ok(Incoming::Frame(ServerFrame::Welcome(welcome))) if welcome.version == VERSION => {
                Ok(Control { connection, reader, writer, welcome })
            }
            Ok(Incoming::Frame(ServerFrame::GoAway { code, retry_after_ms })) => {
                close(&connection, Code::CLOSED, "the server drains");
                let retry_after = Some(Duration::from_millis(retry_after_ms.into()));
                Err(SessionEnd { reason: Reason::Code { code, text: String::new() }, retry_after })
            }
            Ok(other) => Err(broken(&connection, format!("{other:?} in place of Welcome")).into()),
            Err(end) => Err(ended(&connection, end).await.into()),
        }
    }

    /// A session, to its end.
    async fn serve(&self, mut control: Control, epoch: u64) -> SessionEnd {
        let (frames, mut queue) = mpsc::channel(CONTROL_FRAMES_MAX);
        let session = Session {
            connection: control.connection.clone(),
            epoch,
            welcome: Arc::new(control.welcome.clone()),
            control: frames,
            going_away: false,
        };
        self.core.link.send_modify(|link| link.session = Some(session));
        self.core.state.send_replace(State::Connected);
        let mut going_away = None;
        let mut renewal: Option<TokenFuture> = None;
        loop {
            let Control { connection, reader, writer, .. } = &mut control;
            tokio::select! {
                biased;
                wrote = writer.write_some(), if writer.waiting() > 0 => if let Err(end) = wrote {
                    let reason = ended(connection, end).await;
                    return session_end(reason, going_away);
                },
                frame = reader.next() => match frame {
                    Ok(Incoming::Frame(frame)) => match self.control_frame(frame) {
                        Ok(Asked::Nothing) => {}
                        Ok(Asked::Leave(retry_after)) => going_away = Some((Instant::now(), retry_after)),
                        Ok(Asked::Renew) => renewal = self.token.can_renew().then(|| self.token.token()),
                        Err(text) => return session_end(broken(connection, text), going_away),
                    },
                    Ok(Incoming::UnknownEvent { .. }) => {
                        let reason = broken(connection, "an event on the control stream".to_owned());
                        return session_end(reason, going_away);
                    }
                    Err(end) => {
                        let reason = ended(connection, end).await;
                        return session_end(reason, going_away);
                    }
                },
                // An end is told by the control stream as well.
                Ok(datagram) = connection.read_datagram() => self.datagram(&datagram),
                Some(frame) = queue.recv(), if writer.waiting() < CONTROL_FRAMES_MAX => writer.push(&frame),
                token = renewed(&mut renewal) => {
                    renewal = None;
                    match token {
                        Ok(token) => writer.push(&ClientFrame::Refresh { token }),
                        // The server closes with TOKEN_EXPIRED at the token's end, and then a token is asked for again.
                        Err(reason) => tracing::warn!(reason, "no fresh token"),
                    }
                }
            }
        }
    }

    fn control_frame(&self, frame: ServerFrame) -> Result<Asked, String> {
        match frame {
            ServerFrame::GoAway { code, retry_after_ms } => {
                tracing::debug!(%code, retry_after_ms, "the server drains");
                self.core.link.send_modify(|link| {
                    if let Some(session) = &mut link.session {
                        session.going_away = true;
                    }
                });
                Ok(Asked::Leave(Duration::from_millis(retry_after_ms.into())))
            }
            ServerFrame::TokenExpiring { .. } => Ok(Asked::Renew),
            ServerFrame::Typing { conversation, user } => {
                // Without a listener nobody wants to know.
                self.core.typings.send((conversation, user)).ok();
                Ok(Asked::Nothing)
            }
            other => Err(format!("{other:?} on the control stream")),
        }
    }

    fn datagram(&self, datagram: &[u8]) {
        if datagram.len() <= DATAGRAM_BYTES_MAX
            && let Ok(Some(Incoming::Frame(ServerFrame::Typing { conversation, user }))) = incoming(datagram)
        {
            self.core.typings.send((conversation, user)).ok();
        }
    }
}

/// What a control frame asks of the session.
enum Asked {
    Nothing,
    Leave(Duration),
    Renew,
}

/// Sends a typing notice by whatever way there is. One that finds no room is dropped: the next one says the same.
pub(crate) fn send_typing(session: &Session, frame: ClientFrame) {
    if session.welcome.features & feature::DATAGRAMS != 0 {
        let datagram = encode_datagram(&frame);
        if session.connection.max_datagram_size().is_some_and(|max| datagram.len() <= max) {
            session.connection.send_datagram(datagram).ok();
            return;
        }
    }
    session.control.try_send(frame).ok();
}

/// Closes with a code and a text for people.
pub(crate) fn close(connection: &Connection, code: Code, text: &str) {
    connection.close(VarInt::from_u32(code.0), text.as_bytes());
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
            match timeout(ATTEMPT_TIMEOUT, connection.closed()).await {
                Ok(error) => error.into(),
                Err(_) => broken(connection, "the control stream ended before the connection".to_owned()),
            }
        }
    }
}

fn session_end(reason: Reason, going_away: Option<(Instant, Duration)>) -> SessionEnd {
    let retry_after = going_away.map(|(since, duration)| duration.saturating_sub(since.elapsed()));
    SessionEnd { reason, retry_after }
}

async fn renewed(renewal: &mut Option<TokenFuture>) -> Result<String, String> {
    match renewal {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}
