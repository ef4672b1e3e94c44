//! The real server on a simulated host, over a store whose log survives a crash as far as it was flushed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use quinn::{Endpoint, TokioRuntime};
use quoth_protocol::frame::Durability;
use quoth_server::engine::{Engine, Execution};
use quoth_server::quic::{Steering, endpoint_config, serve, server_config};
use quoth_server::session::{Limits, Phase, PhaseSender, Service, Verification, Verify};
use quoth_store::{Log as _, LogError, MemoryLog, MemoryView, Position, Record, Store, View as _, group};

use super::clock::SimClock;
use super::plant::Plant;
use super::socket::{Network, Socket};
use super::tls::Certificates;
use crate::served::everything;

/// A simulated server keeps its endpoint's secret over a restart, as the real one does.
const ENDPOINT_SECRET: [u8; 32] = [7; 32];

/// The server's host and port.
pub(super) const HOST: &str = "server";
pub(super) const PORT: u16 = 4433;

/// Silence after which the server drops a connection, in milliseconds.
const IDLE_TIMEOUT_MS: u32 = 1_500;

/// When clients may come back after a drain, in milliseconds.
const DRAIN_RETRY_AFTER_MS: u32 = 50;

/// A machine with the server's disk; the server on it may be started many times. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    network: Network,
    certificates: Certificates,
    execution: Execution,
    plant: Plant,
    log: MemoryLog,
    starts: AtomicU64,
    sign_ins: Arc<AtomicU64>,
    unflushed: AtomicU64,
    clock_ahead: Mutex<Duration>,
    phase: PhaseSender,
}

impl Machine {
    pub(super) fn new(
        seed: u64,
        network: Network,
        certificates: Certificates,
        execution: Execution,
        plant: Plant,
    ) -> Self {
        Self(Arc::new(Inner {
            seed,
            network,
            certificates,
            execution,
            plant,
            log: MemoryLog::new(),
            starts: AtomicU64::new(0),
            sign_ins: Arc::default(),
            unflushed: AtomicU64::new(0),
            clock_ahead: Mutex::default(),
            phase: PhaseSender::new(),
        }))
    }

    /// Serves until it is told to drain.
    ///
    /// # Errors
    /// When the server fails, which nothing in a simulation excuses.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let inner = &*self.0;
        let start = inner.starts.fetch_add(1, Ordering::Relaxed);
        inner.phase.set(Phase::Serving);
        let clock = SimClock::start(*inner.clock_ahead.lock());
        let store = self.open_store()?;
        let (engine, _stopper) = Engine::start(store, Durability::Memory, Arc::new(clock), inner.execution);
        let limits = Limits { idle_timeout_ms: IDLE_TIMEOUT_MS, ..Limits::default() };
        let mut quic = server_config(inner.certificates.server()?, &limits, &ENDPOINT_SECRET)?;
        quic.time_source(Arc::new(clock));
        let mut config = endpoint_config(&ENDPOINT_SECRET, Steering::ALONE);
        config.rng_seed(Some(seed_bytes(inner.seed, start)));
        let socket = Socket::bind(HOST, PORT, &inner.network).await?;
        let endpoint =
            Endpoint::new_with_abstract_socket(config, Some(quic), socket, Arc::new(TokioRuntime))?;
        let mut failure = engine.failure();
        let verify = Arc::new(UserNames { sign_ins: Arc::clone(&inner.sign_ins) });
        let service = Service::new(engine, verify, limits, inner.phase.subscribe());
        tokio::select! {
            biased;
            failed = failure.wait_for(Option::is_some) => {
                let reason = failed.ok().and_then(|reason| reason.clone()).unwrap_or_default();
                bail!("broken promise: the engine failed: {reason}")
            }
            () = serve(endpoint, None, service) => Ok(()),
        }
    }

    /// As [`Store::open`] does it: what was flushed is applied to a view that is rebuilt.
    fn open_store(&self) -> anyhow::Result<Store> {
        let log = self.0.log.reopen();
        let view = MemoryView::new();
        visit(&log, Position(1), |position, records| {
            view.apply(position, &records).map_err(|error| error.to_string())
        })?;
        let mut store = Store::memory();
        store.log = self.0.plant.log(Arc::new(log));
        store.view = self.0.plant.view(Arc::new(view));
        Ok(store)
    }

    /// Tells the server to stop.
    pub(super) fn drain(&self) {
        self.0.phase.set(Phase::Draining { retry_after_ms: DRAIN_RETRY_AFTER_MS });
    }

    /// What a power cut does to the disk.
    pub(super) fn lose_power(&self) {
        let before = self.0.log.next();
        self.0.log.crash();
        self.0.unflushed.fetch_add(before.0 - self.0.log.next().0, Ordering::Relaxed);
    }

    /// By how much the clock of the next start is ahead.
    pub(super) fn set_clock_ahead(&self, ahead: Duration) {
        *self.0.clock_ahead.lock() = ahead;
    }

    pub(super) fn starts(&self) -> u64 {
        self.0.starts.load(Ordering::Relaxed)
    }

    pub(super) fn sign_ins(&self) -> u64 {
        self.0.sign_ins.load(Ordering::Relaxed)
    }

    /// Groups that were lost with the power.
    pub(super) fn unflushed(&self) -> u64 {
        self.0.unflushed.load(Ordering::Relaxed)
    }

    /// Everything that is stored.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn records(&self) -> anyhow::Result<Vec<Record>> {
        let mut all = Vec::new();
        visit(&self.0.log, Position(1), |_, records| {
            all.extend(records);
            Ok(())
        })?;
        Ok(all)
    }

    /// What is stored behind a group, and the last group of it.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn records_behind(&self, group: Position) -> anyhow::Result<(Position, Vec<Record>)> {
        let (mut last, mut all) = (group, Vec::new());
        visit(&self.0.log, group.next(), |position, records| {
            last = position;
            all.extend(records);
            Ok(())
        })?;
        Ok((last, all))
    }
}

/// Visits the groups that are flushed, from this one on.
fn visit(
    log: &MemoryLog,
    from: Position,
    mut take: impl FnMut(Position, Vec<Record>) -> Result<(), String>,
) -> anyhow::Result<()> {
    let visited = log.read(from, &mut |position, bytes| {
        let records = group::decode(bytes).map_err(|error| LogError::Visit(error.to_string()))?;
        take(position, records).map_err(LogError::Visit)
    });
    visited.context("the log cannot be read")
}

/// The seed of an endpoint.
pub(super) fn seed_bytes(seed: u64, which: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&which.to_le_bytes());
    bytes
}

/// A token that the server has a bug with.
pub(super) const PANIC_TOKEN: &str = "panic";

/// Takes a user's name for a token that allows everything and never ends.
#[derive(Debug)]
struct UserNames {
    sign_ins: Arc<AtomicU64>,
}

impl Verify for UserNames {
    fn verify(&self, token: &str, _: u64) -> Verification {
        self.sign_ins.fetch_add(1, Ordering::Relaxed);
        assert_ne!(token, PANIC_TOKEN, "planted");
        everything(token, u64::MAX).into()
    }
}
