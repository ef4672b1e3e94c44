//! Configuration: a TOML file, then the environment, then flags; later ones win. Every setting is one row of
//! [`SETTINGS`], which also makes the environment names, the documentation and the report of where a value
//! came from.

mod classes;
mod environment;
mod load;
mod ranges;
mod settings;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quoth_core::login::Policy;
use quoth_core::membership::Rules;
use quoth_core::retention::RetentionClass;

pub use load::{Flag, Loaded, Origin, Sources, load};
pub use settings::{Kind, Setting};
pub use table::SETTINGS;

use crate::api::ApiConfig;
use crate::auth::{Demands, JwksConfig, KeySpec, Verifier};
use crate::hooks::HooksConfig;
use crate::http::{HAS_PAGE, Network, WebOrigin};
use crate::outbound::Url;
use crate::session::Limits;
use crate::sessions::SessionsConfig;
use crate::sockets::CAN_STEER;

/// Workers that a server chooses to have at most: behind them stands one committer.
const WORKERS_CHOSEN_MAX: u32 = 16;

/// What is held back of the disk: a segment of the log as they are on a full disk (4 MiB) and the next one,
/// what the view writes at once (some 20 MiB), and what stays of a window beside others (64 MiB at most).
const RESERVE_BYTES: u64 = 128 * 1024 * 1024;

/// In development disks may be small, and windows seldom are full.
const RESERVE_BYTES_DEVELOPMENT: u64 = 32 * 1024 * 1024;

/// Nothing could be freed with less: a segment of the log, and one flush of the view.
const RESERVE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// So often is looked at least, within the time in which it is to be gone, for what was erased.
pub(crate) const ERASURE_LOOKS_MIN: u32 = 10;

/// What the server is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// UDP address for QUIC, and TCP address for WebSocket and HTTP.
    pub listen: SocketAddr,
    /// Network workers, each with a thread; 0 for as many as [`Config::workers`] finds fit.
    pub workers: u32,
    /// Whether it listens for TCP as well.
    pub websocket: bool,
    /// Origins of pages that may connect besides the server's own.
    pub allowed_origins: Vec<WebOrigin>,
    /// Proxies whose `X-Forwarded-For` says who a client is.
    pub trusted_proxies: Vec<Network>,
    /// Whether HTTP and WebSocket are served without TLS, too, as they are in development.
    pub plain_http: bool,
    /// Whether the chat page is served outside of development, too.
    pub demo_page: bool,
    /// Folder of the store, and in development of keys and certificates.
    pub data_dir: PathBuf,
    /// Whether the server makes its own certificate, signing key and tokens. Only on loopback.
    pub development: bool,
    /// What clients are told to wait when the server drains, in milliseconds.
    pub drain_retry_after_ms: u32,
    /// PEM file of the certificate chain.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    pub private_key_file: Option<PathBuf>,
    /// The `aud` that tokens must have.
    pub audience: String,
    /// Keys that tokens may be signed with.
    pub token_keys: Vec<KeySpec>,
    /// Where further ones are.
    pub jwks: Jwks,
    /// How long a token may live from `iat` to `exp`, in seconds; 0 for no limit.
    pub token_lifetime_max_s: u64,
    /// Whether users whose tokens have no `write` may make conversations under any name that is free.
    pub names_freely: bool,
    /// Revocations in force at once.
    pub revocations_max: usize,
    /// Which devices of one user may be signed in together.
    pub login_policy: LoginPolicy,
    /// How many, where the policy is [`LoginPolicy::Newest`].
    pub login_devices_max: usize,
    /// How long a device that has gone is taken for there, in milliseconds.
    pub presence_leave_ms: u64,
    /// Size of a log segment, in bytes.
    pub log_segment_bytes: u64,
    /// Memory for the view's block cache, in bytes.
    pub view_cache_bytes: u64,
    /// Bytes of the disk that are held back for what frees space when it is full; 0 for none.
    pub reserve_bytes: u64,
    /// Connection limits.
    pub limits: Limits,
    /// The server API.
    pub api: ApiConfig,
    /// Hooks and events for backends.
    pub hooks: HooksConfig,
    /// Numbers of managed conversations.
    pub rules: Rules,
    /// How long conversations are kept.
    pub retention: RetentionConfig,
    /// Which log lines are written, as in `info,quoth_server=debug`.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// How long conversations are kept, and when the rest is gone.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// What conversations without a policy of their own are kept by.
    pub classes: Vec<RetentionClass>,
    /// How often space is freed, in seconds. A minute: the youngest class has windows of eight seconds.
    pub interval_s: u64,
    /// How long what was revoked or erased may be on the disk, in seconds. A day.
    pub erasure_max_s: u64,
    /// How fast windows are rewritten, in bytes a second, read and written. 16 MiB: a tenth of what a slow
    /// disk does.
    pub rewrite_bytes_per_s: u64,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let (interval_s, erasure_max_s, rewrite_bytes_per_s) = (60, 86_400, 16 * 1024 * 1024);
        Self { classes: Vec::new(), interval_s, erasure_max_s, rewrite_bytes_per_s }
    }
}

/// A set of token keys at a URL.
#[derive(Debug, Clone)]
pub struct Jwks {
    /// Where it is, if there is one.
    pub url: Option<Url>,
    /// PEM file of further certificate authorities to trust there.
    pub ca_file: Option<PathBuf>,
    /// How long it is taken for good, in seconds.
    pub refresh_s: u64,
    /// The least time between two looks at it, in seconds.
    pub refresh_min_s: u64,
    /// How long a key goes on that is no longer in it, in seconds.
    pub overlap_s: u64,
}

impl Default for Jwks {
    fn default() -> Self {
        Self { url: None, ca_file: None, refresh_s: 300, refresh_min_s: 30, overlap_s: 300 }
    }
}

/// The names of the policies for devices of one user; [`Policy`] says what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginPolicy {
    /// `all`
    All,
    /// `one_per_class`
    OnePerClass,
    /// `one_device`
    OneDevice,
    /// `newest`
    Newest,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text in development mode and on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object for each line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], quoth_protocol::DEFAULT_PORT)),
            workers: 0,
            websocket: true,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            plain_http: false,
            demo_page: false,
            data_dir: PathBuf::from("quoth-data"),
            development: false,
            drain_retry_after_ms: 1_000,
            certificate_file: None,
            private_key_file: None,
            audience: "quoth".to_owned(),
            token_keys: Vec::new(),
            jwks: Jwks::default(),
            token_lifetime_max_s: 0,
            names_freely: false,
            revocations_max: 100_000,
            login_policy: LoginPolicy::All,
            login_devices_max: 5,
            presence_leave_ms: 5_000,
            log_segment_bytes: 64 * 1024 * 1024,
            view_cache_bytes: 64 * 1024 * 1024,
            reserve_bytes: RESERVE_BYTES_DEVELOPMENT,
            limits: Limits::default(),
            api: ApiConfig::default(),
            hooks: HooksConfig::default(),
            rules: Rules::default(),
            retention: RetentionConfig::default(),
            log_filter: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

impl Config {
    /// The same with paths that do not depend on the current folder.
    fn with_absolute_paths(mut self) -> Self {
        let files = [&mut self.certificate_file, &mut self.private_key_file, &mut self.jwks.ca_file];
        let files = files.into_iter().chain([&mut self.hooks.secret_file, &mut self.hooks.ca_file]).flatten();
        let keys = self.token_keys.iter_mut().map(|key| &mut key.file);
        let keys = keys.chain(self.api.keys.iter_mut().map(|key| &mut key.file));
        for path in files.chain(keys).chain([&mut self.data_dir]) {
            // Only an empty path has none, and stays what it is.
            *path = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        }
        self
    }

    /// What verifies tokens that are signed with these keys or with one of the key set's.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub(crate) fn verifier(&self, token_keys: &[KeySpec]) -> Result<Verifier, String> {
        let lifetime_max =
            (self.token_lifetime_max_s > 0).then(|| Duration::from_secs(self.token_lifetime_max_s));
        let demands =
            Demands { audience: self.audience.clone(), lifetime_max, names_freely: self.names_freely };
        let jwks = self.jwks.url.clone().map(|url| JwksConfig {
            url,
            ca_file: self.jwks.ca_file.clone(),
            refresh: Duration::from_secs(self.jwks.refresh_s),
            refresh_min: Duration::from_secs(self.jwks.refresh_min_s),
            overlap: Duration::from_secs(self.jwks.overlap_s),
        });
        Verifier::load(demands, token_keys, jwks)
    }

    /// How the devices of a user get along.
    pub(crate) fn sessions(&self) -> SessionsConfig {
        let policy = match self.login_policy {
            LoginPolicy::All => Policy::All,
            LoginPolicy::OnePerClass => Policy::OnePerClass,
            LoginPolicy::OneDevice => Policy::OneDevice,
            LoginPolicy::Newest => Policy::Newest { devices_max: self.login_devices_max },
        };
        let lifetime_max_ms = self.token_lifetime_max_s.saturating_mul(1_000);
        SessionsConfig {
            policy,
            leave_ms: self.presence_leave_ms,
            revocations_max: self.revocations_max,
            token_lifetime_max_ms: (lifetime_max_ms > 0).then_some(lifetime_max_ms),
        }
    }

    /// Network workers of the server: as configured, or one for each core that this process may use, and at
    /// most
    /// 16. One where the kernel cannot steer.
    #[must_use]
    pub fn workers(&self) -> u32 {
        if self.workers > 0 {
            return self.workers;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let chosen = u32::try_from(cores).unwrap_or(u32::MAX).min(WORKERS_CHOSEN_MAX);
        if CAN_STEER { chosen } else { 1 }
    }

    /// Whether anybody could sign in.
    fn has_keys(&self) -> bool {
        !self.token_keys.is_empty() || self.jwks.url.is_some()
    }

    /// What of it concerns the space that is held back and freed.
    fn space_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.reserve_bytes > 0 && self.reserve_bytes < RESERVE_BYTES_MIN {
            problems.push(format!(
                "store.reserve_bytes is {}, with which nothing could be freed on a full disk: set it to {RESERVE_BYTES_MIN} at least, \
                 or to 0 for none",
                self.reserve_bytes
            ));
        }
        let RetentionConfig { interval_s, erasure_max_s, .. } = self.retention;
        let looks = u64::from(ERASURE_LOOKS_MIN);
        if interval_s.saturating_mul(looks) > erasure_max_s {
            problems.push(format!(
                "retention.interval_s is {interval_s}, and retention.erasure_max_s is {erasure_max_s}: for what was erased to be gone in \
                 that time it is to be looked for {looks} times meanwhile; set retention.interval_s to {} at most, or \
                 retention.erasure_max_s to {} at least",
                (erasure_max_s / looks).max(1),
                interval_s.saturating_mul(looks)
            ));
        }
        problems
    }

    /// Checks what no single setting can: that the settings fit together. Each problem names its mend.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.workers > 1 && !CAN_STEER {
            problems.push(format!(
                "server.workers is {}, but only Linux can hand packets to the worker that has their connection: set \
                 server.workers to 1",
                self.workers
            ));
        }
        if self.demo_page && !self.websocket {
            problems.push(
                "server.demo_page is true, but the chat page needs server.websocket: set that to true as well"
                    .to_owned(),
            );
        }
        if self.demo_page && !HAS_PAGE {
            problems.push(
                "server.demo_page is true, but this program was built without the chat page: build it in client-sdk/web with \
                 `npm run build`, and then this program again"
                    .to_owned(),
            );
        }
        problems.extend(self.space_problems());
        problems.extend(self.api.problems(self.development));
        problems.extend(self.hooks.problems(self.development, self.log_segment_bytes));
        if self.jwks.refresh_min_s > self.jwks.refresh_s {
            problems.push(format!(
                "auth.jwks_refresh_min_s is {}, and auth.jwks_refresh_s is {}: the least time between two looks at the keys must not be \
                 the longer one",
                self.jwks.refresh_min_s, self.jwks.refresh_s
            ));
        }
        if self.development {
            if !self.listen.ip().is_loopback() {
                problems.push(format!(
                    "server.listen is {}, but development mode (its keys and tokens are made by itself) serves \
                     loopback only: set server.listen to 127.0.0.1:{}, or server.development to false and give \
                     tls.certificate_file, tls.private_key_file and auth.token_keys",
                    self.listen,
                    self.listen.port()
                ));
            }
            let configured = [
                ("tls.certificate_file", self.certificate_file.is_some()),
                ("tls.private_key_file", self.private_key_file.is_some()),
                ("auth.token_keys", !self.token_keys.is_empty()),
            ];
            for (key, _) in configured.iter().filter(|(_, is_set)| *is_set) {
                problems.push(format!(
                    "{key} is set, but development mode makes its own and would not use it: set server.development to \
                     false, or take {key} out"
                ));
            }
            return problems;
        }
        if self.certificate_file.is_none() && self.private_key_file.is_none() && !self.has_keys() {
            problems.push(
                "server.development is false, as it is by default with a configuration file, and nothing that takes its \
                 place is set: give tls.certificate_file, tls.private_key_file and auth.token_keys, or set \
                 server.development to true for a server on loopback that makes its own"
                    .to_owned(),
            );
            return problems;
        }
        for (key, file) in [
            ("tls.certificate_file", &self.certificate_file),
            ("tls.private_key_file", &self.private_key_file),
        ] {
            if file.is_none() {
                problems.push(format!("{key} is not set: give the path of a PEM file"));
            }
        }
        if !self.has_keys() {
            problems.push(
                "auth.token_keys is empty and there is no auth.jwks_url, so nobody could sign in: give at least one key, as in \
                 [\"EdDSA:/etc/quoth/token-public-key.pem\"], or the URL of a key set"
                    .to_owned(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, WORKERS_CHOSEN_MAX};

    #[test]
    fn there_is_a_worker_for_each_core_unless_their_number_is_set() {
        let workers = |workers| Config { workers, ..Config::default() }.workers();
        assert_eq!([1, 2, 32].map(workers), [1, 2, 32]);
        assert!((1..=WORKERS_CHOSEN_MAX).contains(&workers(0)));
    }

    #[test]
    fn what_does_not_fit_together_is_a_problem_that_names_its_mend() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config { development: true, ..Config::default() };
            change(&mut config);
            config.problems().join("; ")
        };
        let told = with(|config| config.retention.erasure_max_s = 100);
        assert!(told.contains("set retention.interval_s to 10 at most"), "{told}");
        assert!(told.contains("retention.erasure_max_s to 600 at least"), "{told}");
        assert_eq!(with(|config| config.retention.erasure_max_s = 600), "");
        let told = with(|config| config.reserve_bytes = 4_096);
        assert!(told.contains("set it to 8388608 at least, or to 0"), "{told}");
        assert_eq!(with(|config| config.reserve_bytes = 0), "");
    }

    #[test]
    fn what_development_mode_would_not_use_is_a_problem() {
        let development = Config { development: true, ..Config::default() };
        assert_eq!(development.problems(), Vec::<String>::new());
        let configured = Config {
            certificate_file: Some("chain.pem".into()),
            private_key_file: Some("key.pem".into()),
            token_keys: vec!["EdDSA:public.pem".parse().unwrap()],
            ..development
        };
        let problems = configured.problems();
        for (problem, key) in
            problems.iter().zip(["tls.certificate_file", "tls.private_key_file", "auth.token_keys"])
        {
            assert!(problem.starts_with(&format!("{key} is set, but development mode")), "{problem}");
        }
        assert_eq!(problems.len(), 3);
        assert_eq!(Config { development: false, ..configured }.problems(), Vec::<String>::new());
        let bare = Config::default().problems();
        assert!(bare.len() == 1 && bare[0].contains("set server.development to true"), "{bare:?}");
    }
}
