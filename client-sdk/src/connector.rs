//! The task that owns a client's connection: connects, and connects again until it may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint};
use quinn_proto::TokenMemoryCache;
use quoth_protocol::frame::{Hello, VERSION, feature};
use quoth_protocol::{Action, Code, DeviceId};
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::control::{Control, SessionEnd};
use crate::idle_timeout;
use crate::link::Core;
use crate::race;
use crate::state::{Reason, State};
use crate::token::{TOKEN_TIMEOUT, TokenSource};
use crate::transport::{self, KeepAliveInterval};
use crate::wire::close;

/// From the first packet to `Welcome`. Outcome: the attempt has failed.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connector needs to sign in again and again.
pub(crate) struct Connector {
    pub(crate) core: Arc<Core>,
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Arc<idle_timeout::Listening>,
    /// By which the server knows the client's address again: without one, a server under load asks for it first, which costs a
    /// round trip.
    pub(crate) address_tokens: Arc<TokenMemoryCache>,
    pub(crate) open_conversations_max: u32,
    /// With which a connection is begun; at most what the application has chosen.
    pub(crate) keep_alive_interval: KeepAliveInterval,
    pub(crate) server: String,
    pub(crate) server_name: String,
    pub(crate) token: TokenSource,
    pub(crate) device: DeviceId,
    pub(crate) platform: String,
    pub(crate) client_name: String,
    pub(crate) rng: StdRng,
    /// The server's address at the last sign-in, unless an attempt has failed since.
    pub(crate) worked: Option<SocketAddr>,
    /// Becomes true when the application has closed the client; ends when it has dropped all of it.
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Connector {
    /// Runs until the application closes the client or trying again cannot help. Dropping the future ends the connection
    /// when the client's handles are dropped as well.
    pub(crate) async fn run(mut self) {
        let mut shutdown = self.shutdown.clone();
        let reason = tokio::select! {
            biased;
            _ = shutdown.wait_for(|closed| *closed) => Reason::Closed,
            reason = self.connect_until_terminal() => reason,
        };
        self.core.end_session("the client was closed");
        self.core.close(reason);
    }

    async fn connect_until_terminal(&mut self) -> Reason {
        let mut backoff = Backoff::default();
        let mut moves = self.core.moves.subscribe();
        let mut epoch = 0;
        loop {
            self.core.state.send_replace(State::Connecting);
            let end = self.connection(epoch, &mut moves, &mut backoff).await;
            epoch += 1;
            tracing::debug!(server = self.server, reason = %end.reason, "disconnected");
            match end.reason.action() {
                Action::Retry => {}
                Action::Reauthenticate if self.token.can_renew() => {}
                Action::Reauthenticate | Action::Nothing | Action::Stop => return end.reason,
            }
            let (at_once, may_be_cut_short) = (end.may_retry_at_once(), end.may_be_cut_short());
            let retry_in = match at_once {
                true => Duration::ZERO,
                false => backoff.next_delay(&mut self.rng, end.retry_after),
            };
            self.core.state.send_replace(State::Disconnected { reason: end.reason, retry_in });
            tokio::select! {
                biased;
                Ok(()) = moves.changed(), if may_be_cut_short => {}
                () = sleep(retry_in) => {}
            }
        }
    }

    /// A connection, from its first packet to its end.
    async fn connection(
        &mut self,
        epoch: u64,
        moves: &mut watch::Receiver<u64>,
        backoff: &mut Backoff,
    ) -> SessionEnd {
        moves.mark_unchanged();
        let signed_in = tokio::select! {
            biased;
            signed_in = self.sign_in(epoch) => signed_in,
            // QUIC cannot take a handshake along.
            Ok(()) = moves.changed() => {
                let reason = Reason::Transport("the client has moved to another network".to_owned());
                Err(SessionEnd { moved: true, ..SessionEnd::from(reason) })
            }
        };
        let end = match signed_in {
            Ok(control) => {
                let since = Instant::now();
                let end = control.run(moves).await;
                backoff.held_for(since.elapsed());
                end
            }
            Err(end) => end,
        };
        self.core.end_session("the connection was given up");
        end
    }

    /// Connects and signs in.
    async fn sign_in(&mut self, epoch: u64) -> Result<Control, SessionEnd> {
        let worked = self.worked.take();
        let token = timeout(TOKEN_TIMEOUT, self.token.token()).await.map_err(|_| Reason::TimedOut)?;
        let hello = self.hello(token.map_err(Reason::Token)?);
        let attempt = async {
            let addresses = race::ordered(self.addresses().await?, worked, epoch);
            let (address, connection) = self.connect(addresses).await?;
            let shared = (Arc::clone(&self.core), self.token.clone());
            Ok((address, Control::sign_in(connection, shared, hello, epoch).await?))
        };
        let signed_in: Result<_, SessionEnd> =
            timeout(ATTEMPT_TIMEOUT, attempt).await.map_err(|_| Reason::TimedOut)?;
        let (address, control) = signed_in?;
        self.worked = Some(address);
        Ok(control)
    }

    fn hello(&self, token: String) -> Hello {
        Hello {
            version: VERSION,
            features: feature::DATAGRAMS,
            token,
            device: self.device.clone(),
            platform: self.platform.clone(),
            client: self.client_name.clone(),
        }
    }

    /// A connection to one of the server's addresses.
    async fn connect(&self, addresses: Vec<SocketAddr>) -> Result<(SocketAddr, Connection), Reason> {
        let connect = |address| async move { Ok((address, self.lasting(address).await?)) };
        let no_address = || Err(Reason::NoAddress("its name resolves to none".to_owned()));
        race::first(addresses, connect).await.unwrap_or_else(no_address)
    }

    /// A connection that lasts while nobody says anything. Only the handshake tells what that takes, and quinn's keep-alives
    /// are set before it: a connection whose keep-alives prove too rare is given up for another, and the next ones begin with
    /// the right interval.
    async fn lasting(&self, address: SocketAddr) -> Result<Connection, Reason> {
        let begun_with = self.keep_alive_interval.get();
        let connection = self.handshake(address, begun_with).await?;
        let interval = transport::keep_alive_interval_for(&connection);
        if interval >= begun_with {
            return Ok(connection);
        }
        self.keep_alive_interval.set(interval);
        close(&connection, Code::CLOSED, "the keep-alives would be too rare");
        self.handshake(address, interval).await
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        keep_alive_interval: Duration,
    ) -> Result<Connection, Reason> {
        let tls = Arc::clone(&self.tls);
        let mut config = transport::client_config(tls, self.open_conversations_max, keep_alive_interval);
        config.token_store(Arc::<TokenMemoryCache>::clone(&self.address_tokens));
        let connecting = self.endpoint.connect_with(config, address, &self.server_name);
        Ok(connecting.map_err(|e| Reason::Transport(e.to_string()))?.await?)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Reason> {
        let found = tokio::net::lookup_host(&self.server).await;
        Ok(found.map_err(|e| Reason::NoAddress(e.to_string()))?.collect())
    }
}
