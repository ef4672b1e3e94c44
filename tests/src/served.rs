//! The real engine and listener over a store of the test's choice.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use quinn::{Endpoint, TokioRuntime};
use quoth_certs::CertStore;
use quoth_core::authorize::Grant;
use quoth_core::session::Identity;
use quoth_protocol::frame::Durability;
use quoth_protocol::{ALPN, Code, Pattern, UserId};
use quoth_server::engine::{Engine, Execution, Stopper, SystemClock};
use quoth_server::quic::{Steering, endpoint_config, serve, server_config};
use quoth_server::session::{Limits, Phase, PhaseSender, Service, Verification, Verify};
use quoth_store::Store;
use tempfile::TempDir;

const ENDPOINT_SECRET: [u8; 32] = [7; 32];

/// A running engine that is served over QUIC.
#[derive(Debug)]
pub struct ServedEngine {
    address: SocketAddr,
    ca_file: PathBuf,
    engine: Engine,
    phase: PhaseSender,
    serving: tokio::task::JoinHandle<()>,
    stopper: Stopper,
    _dir: TempDir,
}

impl ServedEngine {
    /// Serves on a free port of loopback until it is stopped, or until the current runtime ends.
    ///
    /// # Errors
    /// When it cannot serve.
    pub fn start(store: Store, verify: impl Verify) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let files = quoth_certs::development(dir.path(), &[], now_unix_s)?;
        let certificates = Arc::new(CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path)?);
        let tls = quoth_certs::server_config(certificates, &[ALPN])?;
        let limits = Limits::default();
        let quic = server_config(tls, &limits, &ENDPOINT_SECRET)?;
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
        let address = socket.local_addr()?;
        let endpoint = Endpoint::new(
            endpoint_config(&ENDPOINT_SECRET, Steering::ALONE),
            Some(quic),
            socket,
            Arc::new(TokioRuntime),
        )?;
        let (engine, stopper) =
            Engine::start(store, Durability::Memory, Arc::new(SystemClock), Execution::Threads);
        let phase = PhaseSender::new();
        let service = Service::new(engine.clone(), Arc::new(verify), limits, phase.subscribe());
        let serving = tokio::spawn(serve(endpoint, None, service));
        Ok(Self { address, ca_file: files.ca_pem_path, engine, phase, serving, stopper, _dir: dir })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its CA.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The engine, for what no client can ask.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Drains and stops it.
    ///
    /// # Errors
    /// When the store has failed or cannot be closed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { engine, phase, serving, stopper, .. } = self;
        phase.set(Phase::Draining { retry_after_ms: 0 });
        serving.await?;
        // It ends when nobody can ask it for anything any more.
        drop(engine);
        tokio::task::spawn_blocking(move || stopper.stop()).await?.map_err(|error| anyhow!(error))
    }
}

/// Takes a user's name for a token that allows everything and never ends.
#[derive(Debug, Clone, Copy)]
pub struct UserNames;

impl Verify for UserNames {
    fn verify(&self, token: &str, _: u64) -> Verification {
        everything(token, u64::MAX).into()
    }
}

/// The identity of a user who may do everything until then, in milliseconds since 1970.
///
/// # Errors
/// [`Code::TOKEN_REJECTED`] when it is no user's name.
pub fn everything(user: &str, expires_ms: u64) -> Result<Identity, Code> {
    let user = UserId::new(user).map_err(|_| Code::TOKEN_REJECTED)?;
    let all = || vec![Pattern::new("*")];
    let grant =
        Grant { user, read: Some(all()), write: Some(all()), publish_as: Vec::new(), names_freely: false };
    Ok(Identity { grant: Arc::new(grant), expires_ms, issued_ms: 0, token_id: None, device: None })
}
