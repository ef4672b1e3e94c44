//! The task that owns a client's connection: connects, and connects again until it may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quoth_protocol::frame::{Hello, VERSION};
use quoth_protocol::{Action, DeviceId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::control::Control;
use crate::dial::Dialer;
use crate::link::Core;
use crate::paths::{Failure, Paths, ReturnPauses, together};
use crate::race;
use crate::session_end::SessionEnd;
use crate::state::{Reason, State};
use crate::token::{TOKEN_TIMEOUT, TokenSource};
use crate::transport::{Connection, Path};

/// From the first packet to `Welcome`, on one path. Outcome: the path has failed.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connector needs to sign in again and again.
pub(crate) struct Connector {
    pub(crate) core: Arc<Core>,
    pub(crate) dialer: Dialer,
    pub(crate) paths: Paths,
    pub(crate) return_pauses: ReturnPauses,
    pub(crate) token: TokenSource,
    pub(crate) device: DeviceId,
    pub(crate) platform: String,
    pub(crate) client_name: String,
    pub(crate) rng: StdRng,
    /// Of the latest connection, on whichever paths it is tried and to whichever it is moved: see
    /// [`Hello::generation`].
    pub(crate) generation: u64,
    /// The server's address at the last sign-in, unless an attempt has failed since.
    pub(crate) worked: Option<SocketAddr>,
    /// Becomes true when the application has closed the client; ends when it has dropped all of it.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// What has led to a session.
struct SignedIn {
    control: Control,
    address: SocketAddr,
}

impl Connector {
    /// Runs until the application closes the client or trying again cannot help. Dropping the future ends the
    /// connection.
    pub(crate) async fn run(mut self) {
        let mut shutdown = self.shutdown.clone();
        let reason = tokio::select! {
            biased;
            _ = shutdown.wait_for(|closed| *closed) => Reason::Closed,
            reason = self.connect_until_terminal() => reason,
        };
        self.core.close(reason);
    }

    async fn connect_until_terminal(&mut self) -> Reason {
        let mut backoff = Backoff::default();
        let mut moves = self.core.moves.subscribe();
        let mut attempt = 0;
        loop {
            self.core.state.send_replace(State::Connecting);
            let end = self.connection(attempt, &mut moves, &mut backoff).await;
            attempt += 1;
            tracing::debug!(server = self.dialer.server, reason = %end.reason, "disconnected");
            match end.action {
                Action::Retry => {}
                Action::Reauthenticate if self.token.can_renew() => {}
                Action::Reauthenticate | Action::Nothing | Action::Stop => return end.reason,
            }
            if end.moved {
                self.has_moved();
            }
            let (at_once, may_be_cut_short) = (end.may_retry_at_once(), end.may_be_cut_short());
            let retry_in = match at_once {
                true => Duration::ZERO,
                false => backoff.next_delay(&mut self.rng, end.retry_after),
            };
            self.core.state.send_replace(State::Disconnected { reason: end.reason, retry_in });
            tokio::select! {
                biased;
                Ok(()) = moves.changed(), if may_be_cut_short => self.has_moved(),
                () = sleep(retry_in) => {}
            }
        }
    }

    /// A session, from its first packet to its end, whatever it is moved to in between.
    async fn connection(
        &mut self,
        attempt: u64,
        moves: &mut watch::Receiver<u64>,
        backoff: &mut Backoff,
    ) -> SessionEnd {
        moves.mark_unchanged();
        self.generation = unix_ms().max(self.generation + 1);
        let signed_in = tokio::select! {
            biased;
            signed_in = self.sign_in(attempt) => signed_in,
            // QUIC cannot take a handshake along.
            Ok(()) = moves.changed() => {
                let reason = Reason::Transport("the client has moved to another network".to_owned());
                Err(SessionEnd { moved: true, ..SessionEnd::from(reason) })
            }
        };
        let mut control = match signed_in {
            Ok(control) => control,
            Err(end) => {
                // Unless the server has answered, the path that it had does not lead there any more.
                if !matches!(end.reason, Reason::Code { .. }) {
                    self.paths.forget();
                }
                return end;
            }
        };
        let begun = Instant::now();
        loop {
            let (path, since) = (control.path(), Instant::now());
            tracing::debug!(server = self.dialer.server, ?path, "signed in");
            let rng = self.paths.wants_better(path).then(|| StdRng::from_rng(&mut self.rng));
            let mut pauses = self.return_pauses.clone();
            let better = tokio::select! {
                biased;
                end = control.run(moves) => {
                    // It has led to the server until now.
                    self.paths.led_there(path, Instant::now());
                    backoff.held_for(begun.elapsed());
                    if path == Path::Quic {
                        pauses.held_for(since.elapsed());
                    }
                    self.return_pauses = pauses;
                    return end;
                }
                better = self.back_over_quic(&mut pauses, rng) => better,
            };
            self.return_pauses = pauses;
            // The control stream of before is dropped by now, and its connection is closed: what was open
            // there goes over.
            control = self.keep(better);
        }
    }

    /// Signs in over the first path on which that succeeds.
    async fn sign_in(&mut self, attempt: u64) -> Result<Control, SessionEnd> {
        let worked = self.worked.take();
        let token = self.fresh_token().await?;
        let addresses =
            timeout(ATTEMPT_TIMEOUT, self.dialer.addresses()).await.map_err(|_| Reason::TimedOut)??;
        let addresses = race::ordered(addresses, worked, attempt);
        let paths = self.paths.ordered(Instant::now());
        let has_rivals = paths.len() > 1;
        let over = |path| self.sign_in_over(path, token.clone(), addresses.clone(), has_rivals);
        let signed_in = race::first(paths, over, |failure| failure.is_final).await.map_err(together)?;
        Ok(self.keep(signed_in))
    }

    fn keep(&mut self, SignedIn { control, address }: SignedIn) -> Control {
        self.worked = Some(address);
        self.paths.led_there(control.path(), Instant::now());
        control
    }

    async fn sign_in_over(
        &self,
        path: Path,
        token: String,
        addresses: Vec<SocketAddr>,
        has_rivals: bool,
    ) -> Result<SignedIn, Failure> {
        let signed_in = async {
            let failed = |end| Failure { path, end, is_final: false };
            let (address, connection) = self.dialer.connect(path, addresses).await.map_err(failed)?;
            let refused = |end: SessionEnd| {
                let is_final = matches!(end.reason, Reason::Code { .. });
                Failure { path, end, is_final }
            };
            let control = self.greet(connection, token, has_rivals).await.map_err(refused)?;
            Ok(SignedIn { control, address })
        };
        let late = |_| Failure { path, end: Reason::TimedOut.into(), is_final: false };
        timeout(ATTEMPT_TIMEOUT, signed_in).await.map_err(late)?
    }

    /// What is known of the network is of another one.
    fn has_moved(&mut self) {
        self.paths.forget();
        self.return_pauses.begin_anew();
    }

    /// Tries QUIC with pauses in between until there is a session over it; without the randomness for those
    /// it waits for ever.
    async fn back_over_quic(&self, pauses: &mut ReturnPauses, rng: Option<StdRng>) -> SignedIn {
        let Some(mut rng) = rng else { return std::future::pending().await };
        loop {
            sleep(pauses.next(&mut rng)).await;
            match timeout(ATTEMPT_TIMEOUT, self.try_quic()).await {
                Ok(Ok(signed_in)) => return signed_in,
                Ok(Err(end)) => tracing::debug!(reason = %end.reason, "still no QUIC"),
                Err(_) => tracing::debug!("still no answer over QUIC"),
            }
        }
    }

    async fn try_quic(&self) -> Result<SignedIn, SessionEnd> {
        let addresses = race::ordered(self.dialer.addresses().await?, self.worked, 0);
        let (address, connection) = self.dialer.connect(Path::Quic, addresses).await?;
        // Only here, so that no provider is asked in vain where no UDP gets through.
        let token = self.fresh_token().await?;
        let control = self.greet(connection, token, false).await?;
        Ok(SignedIn { control, address })
    }

    async fn greet(
        &self,
        connection: Connection,
        token: String,
        has_rivals: bool,
    ) -> Result<Control, SessionEnd> {
        let hello = self.hello(connection.path(), token);
        let shared = (Arc::clone(&self.core), self.token.clone());
        Control::sign_in(connection, shared, hello, has_rivals).await
    }

    async fn fresh_token(&self) -> Result<String, Reason> {
        let token = timeout(TOKEN_TIMEOUT, self.token.token()).await.map_err(|_| Reason::TimedOut)?;
        token.map_err(Reason::Token)
    }

    fn hello(&self, path: Path, token: String) -> Hello {
        Hello {
            version: VERSION,
            features: path.features(),
            token,
            device: self.device.clone(),
            generation: self.generation,
            platform: self.platform.clone(),
            client: self.client_name.clone(),
        }
    }
}

fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
