//! A server whose parts fail on demand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use quinn::{Endpoint, TokioRuntime};
use quoth_certs::CertStore;
use quoth_core::authorize::{Grant, Pattern};
use quoth_core::session::Identity;
use quoth_protocol::frame::Durability;
use quoth_protocol::{ALPN, Code, ConversationName, Seq, UserId};
use quoth_server::engine::{Clock as _, Engine, Execution, SystemClock};
use quoth_server::quic::{Limits, PhaseSender, Service, Verify, endpoint_config, serve, server_config};
use quoth_store::{
    Bounds, MemoryView, PageLimit, Position, ProducerKey, ProducerState, Record, Store, View, ViewError,
};
use tempfile::TempDir;

/// A conversation whose bounds cannot be read without a panic.
pub(crate) const FAULTY_CONVERSATION: &str = "faulty";

/// A token whose verification panics.
pub(crate) const FAULTY_TOKEN: &str = "faulty";

/// Every other token is so many milliseconds, counted from its verification.
pub(crate) struct FaultyServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: PathBuf,
    _phase: PhaseSender,
    _dir: TempDir,
}

impl FaultyServer {
    /// Starts on the current runtime and serves until that ends.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let files = quoth_certs::development(dir.path(), &[], now_unix_s)?;
        let certificates = Arc::new(CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path)?);
        let tls = quoth_certs::server_config(certificates, &[ALPN])?;
        let limits = Limits::default();
        let (secret, socket) = ([7; 32], std::net::UdpSocket::bind(("127.0.0.1", 0))?);
        let address = socket.local_addr()?;
        let quic = server_config(tls, &limits, &secret)?;
        let endpoint = Endpoint::new(endpoint_config(&secret), Some(quic), socket, Arc::new(TokioRuntime))?;
        let mut store = Store::memory();
        store.view = Arc::new(FaultyView(MemoryView::new()));
        let execution = Execution::Tasks { flush: Default::default(), read: Default::default() };
        let (engine, _stopper) = Engine::start(store, Durability::Memory, Arc::new(SystemClock), execution);
        let phase = PhaseSender::new();
        let (verify, limits) = (Arc::new(Lifetimes), Arc::new(limits));
        tokio::spawn(serve(endpoint, Service { engine, verify, limits, phase: phase.subscribe() }));
        Ok(Self { address, ca_file: files.ca_pem_path, _phase: phase, _dir: dir })
    }
}

struct Lifetimes;

impl Verify for Lifetimes {
    fn verify(&self, token: &str, _now_ms: u64) -> Result<Identity, Code> {
        assert_ne!(token, FAULTY_TOKEN, "the fault that is wanted");
        let all = || vec![Pattern::new("*")];
        let user = UserId::new("alice").map_err(|_| Code::TOKEN_REJECTED)?;
        let lifetime_ms: u64 = token.parse().map_err(|_| Code::TOKEN_REJECTED)?;
        let grant = Arc::new(Grant { user, read: all(), write: all(), publish_as: vec![] });
        Ok(Identity { grant, expires_ms: SystemClock.unix_ms() + lifetime_ms })
    }
}

#[derive(Debug)]
struct FaultyView(MemoryView);

impl View for FaultyView {
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        self.0.apply(position, records)
    }

    fn applied(&self) -> Position {
        self.0.applied()
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.0.flush()
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        assert_ne!(conversation.as_str(), FAULTY_CONVERSATION, "the fault that is wanted");
        self.0.bounds(conversation)
    }

    fn after(&self, c: &ConversationName, after: Seq, limit: PageLimit) -> Result<Vec<Record>, ViewError> {
        self.0.after(c, after, limit)
    }

    fn before(
        &self,
        c: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, ViewError> {
        self.0.before(c, before, limit)
    }

    fn producer(&self, c: &ConversationName, p: ProducerKey) -> Result<Option<ProducerState>, ViewError> {
        self.0.producer(c, p)
    }

    fn find(&self, c: &ConversationName, p: ProducerKey, n: u64) -> Result<Option<Record>, ViewError> {
        self.0.find(c, p, n)
    }
}
