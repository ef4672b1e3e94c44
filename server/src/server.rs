//! Start, drain, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quoth_certs::CertStore;
use quoth_protocol::frame::Durability;
use quoth_protocol::{ALPN, UserId};
use quoth_store::{Options, Reserve, Store};
use tokio::sync::watch;

use crate::api::{self, ApiKeySpec, Keys};
use crate::auth::{KeySpec, Verifier};
use crate::config::Config;
use crate::control::Control;
use crate::development::{self, Development};
use crate::engine::{Clock as _, Engine, Execution, Stopper, SystemClock};
use crate::hooks::{Backend, Hooks};
use crate::http::{ALPN_HTTP, Site};
use crate::outbox;
use crate::quic::{EndpointSecret, server_config};
use crate::retention::{self, Retention};
use crate::secret::endpoint_secret;
use crate::session::{Phase, PhaseSender, Service};
use crate::sessions::{Clocks, Sessions, revoked_in, runs_in};
use crate::sockets::{self, Sockets};
use crate::tickets::TicketKeys;
use crate::workers::{Endpoints, Workers};

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    development: Option<Development>,
    phase: PhaseSender,
    drain_retry_after_ms: u32,
    engine: Engine,
    sessions: Sessions,
    workers: Workers,
    api: Option<api::Running>,
    outbox: Option<outbox::Running>,
    retention: Retention,
    control: Option<Control>,
    stopper: Stopper,
    certificates: Arc<CertStore>,
    tickets: Arc<TicketKeys>,
    verifier: Verifier,
    api_keys: Arc<Keys>,
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
    http: rustls::ServerConfig,
    verifier: Verifier,
    api_keys: Arc<Keys>,
}

impl Server {
    /// Binds the sockets, opens the store and serves, on the current tokio runtime and a thread for each
    /// further worker. Blocks while the store is brought up to date; what an operator may have got wrong is
    /// told before.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn start(config: &Config) -> Result<Self, String> {
        let sockets = bind(config)?;
        let address =
            sockets.udp[0].local_addr().map_err(|error| format!("the socket has no address: {error}"))?;
        let api = api::bind(&config.api, config.development, address)?;
        let configured = if config.development { None } else { Some(Credentials::configured(config)?) };
        let mut store = Store::open(store_options(config)?).map_err(|error| error.to_string())?;
        let (log, hold) = (Arc::clone(&store.log), store.hold.take());
        let control =
            store.pinner.take().map(|pinner| Control::start(&config.data_dir, pinner)).transpose()?;
        let (credentials, development) = match configured {
            Some(credentials) => (credentials, None),
            // Not before the store is ours: another server's files must stay as they are.
            None => {
                let api = api.as_ref().map(|api| api.address);
                store.reserve.for_start(|| {
                    let made = development::prepare(config, address, api, SystemClock.unix_ms() / 1_000)?;
                    Ok::<_, String>((Credentials::made(config, &made)?, Some(made)))
                })?
            }
        };
        credentials.rotate_tickets(&store.reserve)?;
        let Credentials { certificates, tickets, secret, quic, http, verifier, api_keys } = credentials;
        let api_tls = http.clone();
        let site = Site::new(config, address, http, development.as_ref());
        let endpoints = Endpoints::open(sockets, &secret, &quic, &config.limits)
            .map_err(|error| format!("QUIC cannot be served on {address}: {error}"))?;
        store.reserve.for_start(|| development.as_ref().map_or(Ok(()), Development::write_client_file))?;
        let backend = store.reserve.for_start(|| Backend::of(config))?;
        let classes = retention::adopted(&store, &config.retention)?;
        let (revoked, runs) = (revoked_in(&*store.view)?, runs_in(&*store.view)?);
        let (engine, stopper) = Engine::start_with(
            store,
            Durability::Stored,
            Arc::new(SystemClock),
            Execution::Threads,
            config.rules,
            classes,
        );
        verifier.start();
        let phase = PhaseSender::new();
        let sessions = Sessions::start(config.sessions(), Arc::new(engine.clone()), Clocks::of(&engine));
        sessions.restore(&revoked, &runs);
        let hooks = backend.as_ref().map(|backend| Hooks::new(&config.hooks, backend)).unwrap_or_default();
        let verify = Arc::new(verifier.clone());
        let service = Service::new(engine.clone(), verify, config.limits.clone(), phase.subscribe())
            .with_hooks(hooks)
            .with_sessions(sessions.clone());
        let outbox = match &backend {
            Some(backend) => {
                let (engine, sessions, phase) = (engine.clone(), sessions.clone(), phase.subscribe());
                let backend = backend.clone();
                outbox::start(config, outbox::Parts { log, hold, engine, sessions, phase, backend })?
            }
            None => None,
        };
        let progress = outbox.as_ref().map(|outbox| Arc::clone(outbox.progress()));
        let store_dir = config.data_dir.join("store");
        let api =
            api::serve(api, &service, Arc::clone(&api_keys), config.api.limits, api_tls, store_dir, progress)
                .map_err(|error| format!("the server API has no thread: {error}"))?;
        Ok(Self {
            address,
            development,
            phase,
            drain_retry_after_ms: config.drain_retry_after_ms,
            retention: Retention::start(engine.clone(), &config.retention),
            engine,
            sessions,
            workers: endpoints.serve(&service, site),
            api,
            outbox,
            control,
            stopper,
            certificates,
            tickets,
            verifier,
            api_keys,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its API listens, if it is served.
    #[must_use]
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(api::Running::address)
    }

    /// How many network workers it has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.count()
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

    /// Who is signed in.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Reads the certificate's files again; handshakes from now on use the new one. Returns why no client
    /// accepts it at present, if that is so.
    ///
    /// # Errors
    /// What is wrong with the files; the old certificate stays in force.
    pub fn reload_certificate(&self) -> Result<Option<String>, String> {
        self.certificates.reload().map_err(|error| error.to_string())?;
        Ok(self.certificates.out_of_date(SystemClock.unix_ms() / 1_000))
    }

    /// Reads the files of `auth.token_keys` again; who signs in or refreshes from now on is judged by these.
    /// Gives how many keys there are.
    ///
    /// # Errors
    /// The first file that cannot be used; all old keys stay in force.
    pub fn reload_token_keys(&self) -> Result<usize, String> {
        self.verifier.reload()
    }

    /// Reads the files of `api.keys` again; requests from now on are judged by these, and those under way end
    /// as they are. Gives the names whose keys are other ones.
    ///
    /// # Errors
    /// The first file that cannot be used; all old keys stay in force.
    pub fn reload_api_keys(&self) -> Result<Vec<UserId>, String> {
        self.api_keys.reload()
    }

    /// Takes another key for session tickets when it is time, and drops one that has been replaced for as
    /// long. Call it far more often than that.
    ///
    /// # Errors
    /// When the keys cannot be written; the old ones stay in force.
    pub fn rotate_ticket_keys(&self) -> Result<(), String> {
        self.tickets.rotate(SystemClock.unix_ms() / 1_000)
    }

    /// Waits until the store fails or a listener ends. Dropping the future changes nothing.
    pub async fn failed(&self) -> Failed {
        failed(self.engine.failure(), self.workers.ended()).await
    }

    /// Stops: tells every client to come back later, finishes what was read, closes the store.
    ///
    /// # Errors
    /// Why the store could not be closed, or had failed before.
    pub async fn stop(self) -> Result<(), String> {
        let has_failed = self.engine.failure().borrow().is_some();
        let retry_after_ms = self.drain_retry_after_ms;
        self.phase.set(if has_failed { Phase::Failed } else { Phase::Draining { retry_after_ms } });
        drop(self.control);
        let served = self.workers.join().await;
        self.retention.stop().await;
        self.sessions.close().await;
        self.engine.settle().await;
        let (api, outbox) = (self.api, self.outbox);
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(api) = api {
                api.join();
            }
            outbox.and_then(outbox::Running::join)
        });
        let hold = ended.await;
        drop(self.engine);
        let stopper = self.stopper;
        let stopped = tokio::task::spawn_blocking(move || stopper.stop()).await;
        // Not before the store has stopped, which frees what of the log nobody holds.
        drop(hold);
        served.map_err(|error| format!("the listener failed: {error}"))?;
        stopped.map_err(|error| format!("the store was not closed: {error}"))?
    }
}

/// How a data folder's store is opened, by a server and by whatever else may write to it: what the outbox
/// holds of the log stays.
pub(crate) fn store_options(config: &Config) -> Result<Options, String> {
    Ok(Options {
        segment_bytes: config.log_segment_bytes,
        cache_bytes: config.view_cache_bytes,
        reserve_bytes: config.reserve_bytes,
        hold_from: outbox::hold_from(&config.hooks, &config.data_dir)?,
        ..Options::new(config.data_dir.join("store"))
    })
}

impl Credentials {
    fn configured(config: &Config) -> Result<Self, String> {
        let file = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
        let (certificate, key) = (file(&config.certificate_file), file(&config.private_key_file));
        Self::load(config, &certificate, &key, &config.token_keys, &config.api.keys)
    }

    fn made(config: &Config, made: &Development) -> Result<Self, String> {
        let token_keys = std::slice::from_ref(&made.token_key);
        let api_keys: Vec<_> = config.api.keys.iter().chain([&made.api_key]).cloned().collect();
        Self::load(config, &made.certificate_file, &made.private_key_file, token_keys, &api_keys)
    }

    fn load(
        config: &Config,
        certificate: &Path,
        key: &Path,
        token_keys: &[KeySpec],
        api_keys: &[ApiKeySpec],
    ) -> Result<Self, String> {
        let certificates = CertStore::open(certificate, key).map_err(|error| error.to_string())?;
        let certificates = Arc::new(certificates);
        let tickets = Arc::new(TicketKeys::open(&config.data_dir)?);
        let tls = |alpn: &[u8]| {
            let made = quoth_certs::server_config(Arc::clone(&certificates), &[alpn]);
            let mut tls = made.map_err(|error| error.to_string())?;
            tls.ticketer = Arc::<TicketKeys>::clone(&tickets);
            Ok::<_, String>(tls)
        };
        let verifier = config.verifier(token_keys)?;
        let secret = endpoint_secret(&config.data_dir)?;
        let quic = server_config(tls(ALPN)?, &config.limits, &secret).map_err(|error| error.to_string())?;
        let http = tls(ALPN_HTTP)?;
        let api_keys = Arc::new(Keys::load(api_keys)?);
        Ok(Self { certificates, tickets, secret, quic, http, verifier, api_keys })
    }

    /// Makes the first ticket key, or another one when that is old, which can wait for a disk with room.
    fn rotate_tickets(&self, reserve: &Arc<Reserve>) -> Result<(), String> {
        match reserve.for_start(|| self.tickets.rotate(SystemClock.unix_ms() / 1_000)) {
            Err(error) if self.tickets.has_any() => {
                tracing::warn!(%error, "the key of session tickets stays an old one for now");
                Ok(())
            }
            done => done,
        }
    }
}

/// Binds the sockets. A server that is left to choose makes do with one worker where the kernel has no more.
fn bind(config: &Config) -> Result<Sockets, String> {
    match sockets::bind(config.listen, config.workers(), config.websocket) {
        Err(error) if config.workers == 0 && config.workers() > 1 => {
            let sockets = sockets::bind(config.listen, 1, config.websocket)?;
            tracing::warn!(error, "one network worker only");
            Ok(sockets)
        }
        bound => bound,
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::watch;

    use super::{Failed, failed};

    async fn soon(failed: impl Future<Output = Failed>) -> String {
        tokio::time::timeout(Duration::from_secs(30), failed).await.expect("it is told").0
    }

    #[tokio::test]
    async fn the_end_of_a_worker_is_told_and_so_is_the_stores_failure() {
        let (fail, failure) = watch::channel(None);
        let (runs, ended) = watch::channel(());
        runs.send_replace(());
        assert!(soon(failed(failure.clone(), ended)).await.contains("listener"));
        fail.send_replace(Some("no space".to_owned()));
        assert!(soon(failed(failure, runs.subscribe())).await.contains("no space"));
    }
}
