//! How a client is made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use quoth_protocol::limits::OPEN_CONVERSATIONS_MAX;
use quoth_protocol::{DeviceId, ProducerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustls::RootCertStore;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::{Client, Settings};
use crate::connector::Connector;
use crate::dial::Dialer;
use crate::error::ConnectError;
use crate::link::Core;
use crate::paths::{Paths, ReturnPauses};
use crate::state::{Reason, State};
use crate::token::TokenSource;
use crate::transport::{self, Transport, quic, websocket};

/// Default of [`Builder::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Default of [`Builder::send_timeout`].
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Default of [`Builder::return_pause`].
const RETURN_PAUSE: Duration = Duration::from_secs(10);

/// Settings of a [`Client`] that is to be connected. Needed: a CA and a token or a token provider.
#[derive(Debug)]
pub struct Builder {
    server: String,
    server_name: Option<String>,
    ca: Option<Ca>,
    token: Option<TokenSource>,
    device: Option<String>,
    platform: String,
    client_name: String,
    producer: Option<ProducerId>,
    transport: Transport,
    return_pause: Duration,
    open_conversations_max: u32,
    keep_alive_interval: Duration,
    connect_timeout: Duration,
    failed_attempt: FailedAttempt,
    send_timeout: Duration,
    mark_delivered: bool,
    endpoint: Option<Endpoint>,
    rng_seed: Option<u64>,
}

/// Who is told why an attempt to connect has failed.
struct FailedAttempt(Box<dyn Fn(&Reason) + Send + Sync>);

impl std::fmt::Debug for FailedAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailedAttempt")
    }
}

#[derive(Debug)]
enum Ca {
    File(PathBuf),
    Pem(Vec<u8>),
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            server_name: None,
            ca: None,
            token: None,
            device: None,
            platform: std::env::consts::OS.to_owned(),
            client_name: concat!("quoth-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            producer: None,
            transport: Transport::default(),
            return_pause: RETURN_PAUSE,
            open_conversations_max: OPEN_CONVERSATIONS_MAX,
            keep_alive_interval: transport::KEEP_ALIVE_INTERVAL,
            connect_timeout: CONNECT_TIMEOUT,
            failed_attempt: FailedAttempt(Box::new(|_| {})),
            send_timeout: SEND_TIMEOUT,
            mark_delivered: true,
            endpoint: None,
            rng_seed: None,
        }
    }

    /// The certificate authority that has signed the server's certificate, as a PEM file; it alone is
    /// trusted.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Ca::File(path.into()));
        self
    }

    /// The same as the PEM text itself.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Ca::Pem(pem.into()));
        self
    }

    /// The token to sign in with. When the server does not accept it any more, the client is closed: for
    /// anything that runs longer than a token, use [`Builder::token_provider`].
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(TokenSource::Fixed(token.into()));
        self
    }

    /// Where tokens come from: called for each sign-in, and when a token is about to end. An error is treated
    /// as a failed attempt. It may take 30 s.
    #[must_use]
    pub fn token_provider<F, T, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.token = Some(TokenSource::Provider(Arc::new(move || {
            let token = provider();
            Box::pin(async move { token.await.map_err(|e| e.to_string()) })
        })));
        self
    }

    /// Which of the user's devices this is. Default: a random one for each client.
    #[must_use]
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Kind of device, for the server's logs. Default: the operating system's name.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = platform.into();
        self
    }

    /// Name and version of the application, for the server's logs. Default: those of this crate.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// The name that the server's certificate must be for. Default: the host of the server's address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The first half of this client's message ids, for an application that sends messages again after a
    /// restart: it must then number its messages itself ([`SendOptions::n`](crate::SendOptions::n)). No two
    /// clients may use one at the same time. Default: a random one, and the client numbers the messages.
    #[must_use]
    pub fn producer(mut self, producer: ProducerId) -> Self {
        self.producer = Some(producer);
        self
    }

    /// What carries the connection. Default: [`Transport::Auto`].
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// While a WebSocket is in use with [`Transport::Auto`]: how long to wait, a quarter more or less, before
    /// QUIC is tried again. The wait doubles with each try up to 2 min, which is also the most that can be
    /// said here. Default: 10 s.
    #[must_use]
    pub fn return_pause(mut self, pause: Duration) -> Self {
        self.return_pause = pause;
        self
    }

    /// Conversations that are open at once, for which the connection's receive window must have room. The
    /// server has its own limit. Default: 48.
    #[must_use]
    pub fn open_conversations_max(mut self, max: u32) -> Self {
        self.open_conversations_max = max;
        self
    }

    /// How often a packet is sent when there is nothing else to send, from 1 s to 20 s; over a WebSocket, how
    /// long the server may be silent before it is asked whether it is there. A client that only reads learns
    /// by it that its server has crashed and come back; that the server or the network stays away it learns
    /// when three have had no answer (10 s at least). A client that sends learns of both within seconds,
    /// whatever this is.
    ///
    /// With a server whose idle timeout is under three of these intervals it is a third of that timeout.
    ///
    /// Default: 10 s. NATs on the way forget a connection that is silent for 30 s (RFC 9000, 10.1.2), of
    /// which two lost packets are to be survived. Each packet wakes the radio of a phone for seconds, so much
    /// less drains its battery: an application on mains power may choose 2 s.
    #[must_use]
    pub fn keep_alive_interval(mut self, interval: Duration) -> Self {
        self.keep_alive_interval = interval;
        self
    }

    /// How long [`Builder::connect`] tries. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// What is called while [`Builder::connect`] tries, with why an attempt has failed: it tries again then. A
    /// refused token, for one, is known at once, and a provider may have a better one a moment later. Default:
    /// nothing.
    #[must_use]
    pub fn on_failed_attempt(mut self, tell: impl Fn(&Reason) + Send + Sync + 'static) -> Self {
        self.failed_attempt = FailedAttempt(Box::new(tell));
        self
    }

    /// How long a send or a page of history may take, unless the call says otherwise. Default: 30 s.
    #[must_use]
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Whether messages of others that the application has taken from
    /// [`Conversation::events`](crate::Conversation::events) are marked as delivered by themselves, at most
    /// once in 2 s for each conversation. What was taken in the last 2 s before the client ends may not be.
    /// Default: yes.
    #[must_use]
    pub fn mark_delivered(mut self, wanted: bool) -> Self {
        self.mark_delivered = wanted;
        self
    }

    /// Uses this endpoint for QUIC in place of one of its own, for sockets other than the system's.
    /// [`Client::rebind`] is then the caller's business. A WebSocket has the system's sockets all the same:
    /// see [`Builder::transport`].
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Seeds every random choice of the client (producer, device, waits), for a simulation that can be
    /// repeated. Default: from the system.
    #[must_use]
    pub fn rng_seed(mut self, seed: u64) -> Self {
        self.rng_seed = Some(seed);
        self
    }

    /// Connects and signs in, trying again until [`Builder::connect_timeout`]. Must be called inside a tokio
    /// runtime, as must everything else of this crate. Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// Every [`ConnectError`].
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let roots = self.roots()?;
        let token = self.token.ok_or(ConnectError::NoToken)?;
        let host = transport::host(&self.server)?;
        let mut rng = self.rng_seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        let device = self.device.unwrap_or_else(|| format!("{:016x}", rng.random::<u64>()));
        let (shutdown, shutdown_watch) = watch::channel(false);
        let core = Arc::new(Core::new());
        let own_endpoint = self.endpoint.is_none();
        let keep_alive_interval = transport::keep_alive_interval(self.keep_alive_interval);
        let endpoint = match (self.transport, self.endpoint) {
            (Transport::WebSocket, _) => None,
            (Transport::Auto | Transport::Quic, None) => Some(quic::endpoint()?),
            (Transport::Auto | Transport::Quic, given) => given,
        };
        let quic = |endpoint: &Endpoint| {
            let (endpoint, roots) = (endpoint.clone(), roots.clone());
            quic::Dialer::new(endpoint, roots, self.open_conversations_max, keep_alive_interval)
        };
        let websocket = || websocket::Dialer::new(roots.clone(), keep_alive_interval);
        let dialer = Dialer {
            server_name: self.server_name.unwrap_or_else(|| host.to_owned()),
            server: self.server.clone(),
            quic: endpoint.as_ref().map(quic).transpose()?,
            websocket: (self.transport != Transport::Quic).then(websocket).transpose()?,
        };
        let connector = Connector {
            core: Arc::clone(&core),
            dialer,
            paths: Paths::new(self.transport),
            return_pauses: ReturnPauses::new(self.return_pause),
            token,
            device: DeviceId::new(device)?,
            platform: self.platform,
            client_name: self.client_name,
            rng: StdRng::from_rng(&mut rng),
            generation: 0,
            worked: None,
            shutdown: shutdown_watch,
        };
        let settings = Settings {
            producer: self.producer.unwrap_or_else(|| ProducerId(rng.random())),
            producer_is_fixed: self.producer.is_some(),
            send_timeout: self.send_timeout,
            own_endpoint,
            mark_delivered: self.mark_delivered,
        };
        tokio::spawn(connector.run());
        let client = Client::new(core, endpoint, shutdown, settings, rng);
        first_connection(&client, self.server, self.connect_timeout, &self.failed_attempt).await?;
        Ok(client)
    }

    fn roots(&self) -> Result<RootCertStore, ConnectError> {
        match &self.ca {
            None => Err(ConnectError::NoCa),
            Some(Ca::Pem(pem)) => transport::roots(pem),
            Some(Ca::File(path)) => {
                let pem = std::fs::read(path)
                    .map_err(|error| ConnectError::CaFile { path: path.clone(), error })?;
                transport::roots(&pem)
            }
        }
    }
}

async fn first_connection(
    client: &Client,
    server: String,
    limit: Duration,
    failed_attempt: &FailedAttempt,
) -> Result<(), ConnectError> {
    let mut states = client.states();
    let mut last: Option<Reason> = None;
    let settled = async {
        loop {
            match states.borrow_and_update().clone() {
                State::Connected => return Ok(()),
                State::Closed { reason } => return Err(reason),
                State::Disconnected { reason, .. } => {
                    (failed_attempt.0)(&reason);
                    last = Some(reason);
                }
                State::Connecting => {}
            }
            // The client that is held here keeps the sender alive.
            states.changed().await.map_err(|_| Reason::Closed)?;
        }
    };
    match timeout(limit, settled).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(ConnectError::Refused { server, reason }),
        Err(_) => Err(ConnectError::TimedOut { server, timeout: limit, last }),
    }
}
