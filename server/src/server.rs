//! Start, drain, stop.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::{Endpoint, TokioRuntime};
use quoth_certs::CertStore;
use quoth_protocol::ALPN;
use quoth_protocol::frame::Durability;
use quoth_store::{Options, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::auth::{KeySpec, Verifier};
use crate::config::Config;
use crate::development::{self, Development};
use crate::engine::{Clock as _, Engine, Execution, Stopper, SystemClock};
use crate::quic::{EndpointSecret, Phase, PhaseSender, Service, endpoint_config, serve, server_config};
use crate::secret::endpoint_secret;
use crate::tickets::TicketKeys;

/// Bytes of the kernel's socket buffers that are asked for: the usual default of 208 KiB drops bursts.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    development: Option<Development>,
    phase: PhaseSender,
    drain_retry_after_ms: u32,
    engine: Engine,
    serving: JoinHandle<()>,
    /// Changes when `serving` ends.
    ended: watch::Receiver<()>,
    stopper: Stopper,
    certificates: Arc<CertStore>,
    tickets: Arc<TicketKeys>,
}

/// Why a server ended by itself, as a sentence.
#[derive(Debug)]
pub struct Failed(pub String);

/// What is made of certificates, keys and secrets.
struct Credentials {
    certificates: Arc<CertStore>,
    tickets: Arc<TicketKeys>,
    secret: EndpointSecret,
    quic: quinn::ServerConfig,
    verifier: Verifier,
}

impl Server {
    /// Binds the socket, opens the store and serves, on the current tokio runtime. Blocks while the store is brought up to
    /// date; what an operator may have got wrong is told before.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn start(config: &Config) -> Result<Self, String> {
        let socket = bind(config.listen)?;
        let address = socket.local_addr().map_err(|error| format!("the socket has no address: {error}"))?;
        let configured = if config.development { None } else { Some(Credentials::configured(config)?) };
        let store = Store::open(store_options(config)).map_err(|error| error.to_string())?;
        let (credentials, development) = match configured {
            Some(credentials) => (credentials, None),
            // Not before the store is ours: another server's files must stay as they are.
            None => {
                let made = development::prepare(config, address, SystemClock.unix_ms() / 1_000)?;
                (Credentials::made(config, &made)?, Some(made))
            }
        };
        let Credentials { certificates, tickets, secret, quic, verifier } = credentials;
        let endpoint = Endpoint::new(endpoint_config(&secret), Some(quic), socket, Arc::new(TokioRuntime))
            .map_err(|error| format!("QUIC cannot be served on {address}: {error}"))?;
        if let Some(made) = &development {
            made.write_client_file()?;
        }
        let (engine, stopper) =
            Engine::start(store, Durability::Stored, Arc::new(SystemClock), Execution::Threads);
        let phase = PhaseSender::new();
        let service = Service {
            engine: engine.clone(),
            verify: Arc::new(verifier),
            limits: Arc::new(config.limits.clone()),
            phase: phase.subscribe(),
        };
        let (serving, ended) = spawn(serve(endpoint, service));
        let drain_retry_after_ms = config.drain_retry_after_ms;
        Ok(Self {
            address,
            development,
            phase,
            drain_retry_after_ms,
            engine,
            serving,
            ended,
            stopper,
            certificates,
            tickets,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What development mode has made.
    #[must_use]
    pub fn development(&self) -> Option<&Development> {
        self.development.as_ref()
    }

    /// What an ack means.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.engine.durability()
    }

    /// Reads the certificate's files again; handshakes from now on use the new one. Returns why no client accepts it at
    /// present, if that is so.
    ///
    /// # Errors
    /// What is wrong with the files; the old certificate stays in force.
    pub fn reload_certificate(&self) -> Result<Option<String>, String> {
        self.certificates.reload().map_err(|error| error.to_string())?;
        Ok(self.certificates.out_of_date(SystemClock.unix_ms() / 1_000))
    }

    /// Takes another key for session tickets when it is time, and drops one that has been replaced for as long. Call it far
    /// more often than that.
    ///
    /// # Errors
    /// When the keys cannot be written; the old ones stay in force.
    pub fn rotate_ticket_keys(&self) -> Result<(), String> {
        self.tickets.rotate(SystemClock.unix_ms() / 1_000)
    }

    /// Waits until the store fails or the listener ends. Dropping the future changes nothing.
    pub async fn failed(&self) -> Failed {
        failed(self.engine.failure(), self.ended.clone()).await
    }

    /// Stops: tells every client to come back later, finishes what was read, closes the store.
    ///
    /// # Errors
    /// Why the store could not be closed, or had failed before.
    pub async fn stop(self) -> Result<(), String> {
        let has_failed = self.engine.failure().borrow().is_some();
        let retry_after_ms = self.drain_retry_after_ms;
        self.phase.set(if has_failed { Phase::Failed } else { Phase::Draining { retry_after_ms } });
        let served = self.serving.await;
        drop(self.engine);
        let stopper = self.stopper;
        let stopped = tokio::task::spawn_blocking(move || stopper.stop()).await;
        served.map_err(|error| format!("the listener failed: {error}"))?;
        stopped.map_err(|error| format!("the store was not closed: {error}"))?
    }
}

fn store_options(config: &Config) -> Options {
    Options {
        segment_bytes: config.log_segment_bytes,
        cache_bytes: config.view_cache_bytes,
        ..Options::new(config.data_dir.join("store"))
    }
}

impl Credentials {
    fn configured(config: &Config) -> Result<Self, String> {
        let file = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
        let (certificate, key) = (file(&config.certificate_file), file(&config.private_key_file));
        Self::load(config, &certificate, &key, &config.token_keys)
    }

    fn made(config: &Config, made: &Development) -> Result<Self, String> {
        let token_keys = std::slice::from_ref(&made.token_key);
        Self::load(config, &made.certificate_file, &made.private_key_file, token_keys)
    }

    fn load(config: &Config, certificate: &Path, key: &Path, token_keys: &[KeySpec]) -> Result<Self, String> {
        let certificates = CertStore::open(certificate, key).map_err(|error| error.to_string())?;
        let certificates = Arc::new(certificates);
        let mut tls = quoth_certs::server_config(Arc::clone(&certificates), &[ALPN])
            .map_err(|error| error.to_string())?;
        let tickets = Arc::new(TicketKeys::open(&config.data_dir, SystemClock.unix_ms() / 1_000)?);
        tls.ticketer = Arc::<TicketKeys>::clone(&tickets);
        let verifier = Verifier::load(&config.audience, token_keys)?;
        let secret = endpoint_secret(&config.data_dir)?;
        let quic = server_config(tls, &config.limits, &secret).map_err(|error| error.to_string())?;
        Ok(Self { certificates, tickets, secret, quic, verifier })
    }
}

/// Spawns a task; what it returns besides changes when the task has ended, however that came.
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> (JoinHandle<()>, watch::Receiver<()>) {
    let (runs, ended) = watch::channel(());
    let task = async move {
        let _runs = runs;
        task.await;
    };
    (tokio::spawn(task), ended)
}

async fn failed(mut failure: watch::Receiver<Option<String>>, mut ended: watch::Receiver<()>) -> Failed {
    tokio::select! {
        biased;
        Ok(reason) = failure.wait_for(Option::is_some) => {
            let reason = reason.clone().unwrap_or_default();
            Failed(format!("the store failed, nothing more was acked: {reason}"))
        }
        _ = ended.changed() => Failed("the listener has ended, for a reason that is in the log".to_owned()),
    }
}

/// Binds the UDP socket with large kernel buffers.
fn bind(address: SocketAddr) -> Result<UdpSocket, String> {
    let explain = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{address} is in use, perhaps by another quoth-server: stop it, or give another address with --listen"
        ),
        _ => format!("{address} cannot be bound: {error}"),
    };
    let socket = UdpSocket::bind(address).map_err(explain)?;
    let options = socket2::SockRef::from(&socket);
    // The kernel gives what it allows; less only drops more in a burst.
    let _less_is_enough = options.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _less_is_enough = options.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if let Ok(got) = options.recv_buffer_size()
        && got < SOCKET_BUFFER_BYTES
    {
        tracing::debug!(
            bytes = got,
            wanted = SOCKET_BUFFER_BYTES,
            "small receive buffer: raise net.core.rmem_max"
        );
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::{Failed, failed, spawn};

    async fn soon(failed: impl Future<Output = Failed>) -> String {
        tokio::time::timeout(Duration::from_secs(30), failed).await.expect("it is told").0
    }

    #[tokio::test]
    async fn whatever_ends_the_listener_is_told_and_so_is_the_stores_failure() {
        let (fail, failure) = watch::channel(None);
        let (_returned, ended) = spawn(async {});
        assert!(soon(failed(failure.clone(), ended)).await.contains("listener"));
        let (_panicked, ended) = spawn(async { panic!("a mistake, for a test") });
        assert!(soon(failed(failure.clone(), ended)).await.contains("listener"));
        let (_runs, ended) = spawn(std::future::pending());
        fail.send_replace(Some("no space".to_owned()));
        assert!(soon(failed(failure, ended)).await.contains("no space"));
    }
}
