//! Start, drain, stop.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use quinn::{Endpoint, TokioRuntime};
use quoth_certs::CertStore;
use quoth_protocol::ALPN;
use quoth_protocol::frame::Durability;
use quoth_store::{Options, Store};

use crate::auth::Verifier;
use crate::config::Config;
use crate::development::{self, Development};
use crate::engine::{Clock as _, Engine, Execution, Stopper, SystemClock};
use crate::quic::{Phase, PhaseSender, Service, endpoint_config, serve, server_config};
use crate::secret::endpoint_secret;

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
    serving: tokio::task::JoinHandle<()>,
    stopper: Stopper,
    certificates: Arc<CertStore>,
}

/// Why a server ended by itself.
#[derive(Debug)]
pub struct Failed(pub String);

impl Server {
    /// Opens the store, binds the socket and serves, on the current tokio runtime.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn start(config: &Config) -> Result<Self, String> {
        let socket = bind(config.listen)?;
        let address = socket.local_addr().map_err(|error| format!("the socket has no address: {error}"))?;
        let store = Store::open(store_options(config)).map_err(|error| error.to_string())?;
        let now_s = SystemClock.unix_ms() / 1_000;
        let development = match config.development {
            true => Some(development::prepare(config, address, now_s)?),
            false => None,
        };
        let (certificate_file, private_key_file, token_keys) = credentials(config, development.as_ref());
        let certificates =
            CertStore::open(&certificate_file, &private_key_file).map_err(|error| error.to_string())?;
        let certificates = Arc::new(certificates);
        let tls = quoth_certs::server_config(Arc::clone(&certificates), &[ALPN])
            .map_err(|error| error.to_string())?;
        let secret = endpoint_secret(&config.data_dir)?;
        let quic = server_config(tls, &config.limits, &secret).map_err(|error| error.to_string())?;
        let verifier = Verifier::load(&config.audience, &token_keys)?;
        let endpoint = Endpoint::new(endpoint_config(&secret), Some(quic), socket, Arc::new(TokioRuntime))
            .map_err(|error| format!("QUIC cannot be served on {address}: {error}"))?;
        let (engine, stopper) =
            Engine::start(store, Durability::Stored, Arc::new(SystemClock), Execution::Threads);
        let phase = PhaseSender::new();
        let service = Service {
            engine: engine.clone(),
            verify: Arc::new(verifier),
            limits: Arc::new(config.limits.clone()),
            phase: phase.subscribe(),
        };
        let serving = tokio::spawn(serve(endpoint, service));
        let drain_retry_after_ms = config.drain_retry_after_ms;
        Ok(Self { address, development, phase, drain_retry_after_ms, engine, serving, stopper, certificates })
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

    /// Reads the certificate's files again; handshakes from now on use the new one.
    ///
    /// # Errors
    /// What is wrong with the files; the old certificate stays in force.
    pub fn reload_certificate(&self) -> Result<(), String> {
        self.certificates.reload().map_err(|error| error.to_string())
    }

    /// Waits until the store fails. Dropping the future changes nothing.
    pub async fn failed(&self) -> Failed {
        let mut failure = self.engine.failure();
        match failure.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some(reason)) => Failed(reason),
            _ => std::future::pending().await,
        }
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

fn credentials(
    config: &Config,
    development: Option<&Development>,
) -> (PathBuf, PathBuf, Vec<crate::auth::KeySpec>) {
    let configured = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
    match development {
        Some(made) => {
            (made.certificate_file.clone(), made.private_key_file.clone(), vec![made.token_key.clone()])
        }
        None => (
            configured(&config.certificate_file),
            configured(&config.private_key_file),
            config.token_keys.clone(),
        ),
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
