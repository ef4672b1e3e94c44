//! The real server within the test's process: real QUIC over loopback and a real store in a folder that goes
//! with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use quoth_protocol::{DeviceId, UserId};
use quoth_server::auth::{Issue, LEEWAY_S, Rights, algorithm, issue};
use quoth_server::config::Config;
use quoth_server::development::signing_key_file;
use quoth_server::engine::{Clock as _, SystemClock};
use quoth_server::server::Server;
use quoth_server::session::Limits;
use quoth_server::sessions::Sessions;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::http::Api;

/// A running server in development mode; stopped when it is dropped.
#[derive(Debug)]
pub struct EmbeddedServer {
    address: SocketAddr,
    ca_file: PathBuf,
    token: String,
    api: Option<Api>,
    sessions: Sessions,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
    dir: Arc<TempDir>,
}

impl EmbeddedServer {
    /// Starts a server with two workers on a free port of loopback.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Limits::default())
    }

    /// The same with these limits.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(limits: Limits) -> anyhow::Result<Self> {
        Self::start_workers(2, limits)
    }

    /// The same with so many workers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_workers(workers: u32, limits: Limits) -> anyhow::Result<Self> {
        Self::start_configured(|config| {
            config.workers = workers;
            config.limits = limits;
        })
    }

    /// The same with two workers and whatever is configured otherwise.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_configured(configure: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        Self::start_in(Arc::new(tempfile::tempdir()?), configure)
    }

    /// The same with the data of one before, which is stopped.
    ///
    /// # Errors
    /// When either does not do as it should.
    pub fn restart_configured(self, configure: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let dir = Arc::clone(&self.dir);
        self.stop()?;
        Self::start_in(dir, configure)
    }

    fn start_in(dir: Arc<TempDir>, configure: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            workers: 2,
            data_dir: dir.path().join("data"),
            development: true,
            // Users of tests have rooms with names, and tokens that leave all else to membership.
            names_freely: true,
            ..Config::default()
        };
        configure(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (started, starts) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(async {
                let server = Server::start(&config)?;
                let made = server.development().ok_or("not in development mode")?;
                let key = std::fs::read_to_string(&made.api_key.file).map_err(|error| error.to_string())?;
                let api = server.api_address().map(|address| Api { address, key });
                let sessions = server.sessions().clone();
                let token = made.token().to_owned();
                let told = (server.address(), made.ca_file.clone(), token, api, sessions);
                started.send(told).map_err(|error| error.to_string())?;
                let _dropped_or_told = stopped.await;
                server.stop().await
            })
        });
        match starts.recv() {
            Ok((address, ca_file, token, api, sessions)) => {
                let (stop, thread) = (Some(stop), Some(thread));
                Ok(Self { address, ca_file, token, api, sessions, stop, thread, dir })
            }
            Err(_) => {
                let ended = thread.join().map_err(|_| anyhow!("the server panicked"))?;
                Err(anyhow!("the server did not start: {ended:?}"))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its CA.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.ca_file.clone()
    }

    /// Its API.
    ///
    /// # Errors
    /// When it has none.
    pub fn api(&self) -> anyhow::Result<Api> {
        self.api.clone().context("the API is off")
    }

    /// Its data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A token of the user `alice`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The server's clock, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        SystemClock.unix_ms()
    }

    /// Who is signed in.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// A token of a user who may do everything, which says this besides and ends in an hour.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token_with(&self, user: &str, change: impl FnOnce(&mut Issue<'_>)) -> anyhow::Result<String> {
        self.token_of(user, None, change)
    }

    /// The same for one device only.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token_for_device(&self, user: &str, device: &DeviceId) -> anyhow::Result<String> {
        self.token_of(user, Some(device), |_| {})
    }

    fn token_of(
        &self,
        user: &str,
        device: Option<&DeviceId>,
        change: impl FnOnce(&mut Issue<'_>),
    ) -> anyhow::Result<String> {
        let everything = || vec!["*".to_owned()];
        let rights = Rights { read: Some(everything()), write: Some(everything()), publish_as: Vec::new() };
        let key = signing_key_file(&self.dir.path().join("data"));
        let (user, audience) = (UserId::new(user)?, Config::default().audience);
        let issued_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut what = Issue {
            audience: &audience,
            user: &user,
            device,
            rights,
            token_id: None,
            issued_s,
            expires_s: issued_s + 3_600,
        };
        change(&mut what);
        issue(&key, algorithm("HS256").map_err(|e| anyhow!(e))?, what).map_err(|error| anyhow!(error))
    }

    /// A token of a user who may do everything, which the server takes until `ends_s`, in seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token_until(&self, user: &str, ends_s: u64) -> anyhow::Result<String> {
        self.token_with(user, |what| (what.issued_s, what.expires_s) = (0, ends_s - LEEWAY_S))
    }

    /// A token that may do everything, also on behalf of users.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn service_token(&self) -> anyhow::Result<String> {
        self.token_with("service", |what| what.rights.publish_as = vec!["*".to_owned()])
    }

    /// Stops it as SIGTERM does.
    ///
    /// # Errors
    /// When it has failed before or on its end.
    pub fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        let thread = self.thread.take().context("taken only here and on drop")?;
        let ended = thread.join().map_err(|_| anyhow!("the server panicked"))?;
        ended.map_err(|error| anyhow!(error))
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _a_failed_test_tells_more = thread.join();
        }
    }
}
