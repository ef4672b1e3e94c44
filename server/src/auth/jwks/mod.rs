//! Keys from a key set (RFC 7517) at a URL: read in turn and when a token names a key that is not known,
//! never more often than the least interval allows, and by one task whoever asks.

mod set;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::key::Key;
use crate::outbound::{Client, Limits, Url};
use set::{KeySet, Published};

/// What a key set may cost: sets have some kilobytes, and whoever waits for one is somebody who signs in.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), body_bytes_max: 256 * 1024 };

/// Sign-ins that wait for the keys at once. Each holds its token, of 8 KiB at most.
const WAITERS_MAX: usize = 8_192;

/// The shortest wait of who is told to come again.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Key ids that are remembered to have been looked for. A fleet whose key was withdrawn has one or two; junk
/// has any number, and each takes 256 bytes at most.
const SOUGHT_MAX: usize = 1_024;

/// Where keys are, and how often to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksConfig {
    /// Where the set is.
    pub url: Url,
    /// PEM file of further certificate authorities to trust there.
    pub ca_file: Option<PathBuf>,
    /// How long a set is taken for good.
    pub refresh: Duration,
    /// The least time between two looks, whoever asks; also that after a failed one.
    pub refresh_min: Duration,
    /// How long a key goes on that is no longer in the set.
    pub overlap: Duration,
}

/// The keys. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: JwksConfig,
    client: Client,
    keys: RwLock<KeySet>,
    looks: Mutex<Looks>,
    /// Rings when somebody wants a look.
    wanted: Arc<Notify>,
    /// How many looks have ended.
    ended: watch::Sender<u64>,
    waiters: Arc<Semaphore>,
    begun: Instant,
}

#[derive(Debug)]
struct Looks {
    /// Whether one is under way or about to begin.
    is_pending: bool,
    last: Option<Instant>,
    /// Whether the last one found keys.
    has_succeeded: bool,
    /// Whether any one has.
    has_keys: bool,
    /// Ids of unknown keys that tokens had since the last look ended. Without an id it is empty.
    sought: HashSet<String>,
    /// Those that the last look was for too, in vain as far as they are asked for still.
    missed: HashSet<String>,
}

/// What can be done for a token whose key is not known.
pub(super) enum Ask<F> {
    /// Wait for this, and look again.
    Wait(F),
    /// Nothing: the set was read a moment ago for a token with this key id already, and does not have it.
    Missed,
    /// Nothing: the set was read a moment ago, and may have the key since, but it is too soon for another
    /// look.
    TooSoon,
    /// Nothing: the set cannot be read at the moment.
    Unreadable,
}

impl Jwks {
    /// Keys that nobody looks for before [`Jwks::start`].
    ///
    /// # Errors
    /// When the further certificate authorities cannot be read.
    pub(super) fn new(config: JwksConfig) -> Result<Self, String> {
        let client = Client::new(config.ca_file.as_deref())?;
        let (sought, missed) = (HashSet::new(), HashSet::new());
        let looks =
            Looks { is_pending: true, last: None, has_succeeded: false, has_keys: false, sought, missed };
        Ok(Self(Arc::new(Inner {
            config,
            client,
            keys: RwLock::default(),
            looks: Mutex::new(looks),
            wanted: Arc::default(),
            ended: watch::channel(0).0,
            waiters: Arc::new(Semaphore::new(WAITERS_MAX)),
            begun: Instant::now(),
        })))
    }

    /// Begins to look, in a task of the current runtime, for as long as there are keys to look for.
    pub(super) fn start(&self) {
        tokio::spawn(look_in_turn(Arc::downgrade(&self.0)));
    }

    /// Goes through the keys that are in force, those that are published first, until `visit` gives
    /// something.
    pub(super) fn find<T>(&self, visit: impl FnMut(&Key) -> Option<T>) -> Option<T> {
        self.0.keys.read().keys(self.0.now_ms()).find_map(visit)
    }

    /// Whether the set has been read at any time.
    pub(super) fn has_keys(&self) -> bool {
        self.0.looks.lock().has_keys
    }

    /// Whether the set could be read when somebody last looked.
    pub(super) fn is_readable(&self) -> bool {
        self.0.looks.lock().has_succeeded
    }

    /// How long there is no look for whoever comes with a key that is not known; a second at least, since
    /// many come then.
    pub(super) fn wait(&self) -> Duration {
        let last = self.0.looks.lock().last;
        let since = last.map_or(Duration::ZERO, |last| last.elapsed());
        self.0.config.refresh_min.saturating_sub(since).max(WAIT_MIN)
    }

    /// What can be done for a token whose key is not known, by its id of at most 64 characters. All who wait
    /// get the same look.
    pub(super) fn ask(&self, key_id: &str) -> Ask<impl Future<Output = ()> + Send + use<>> {
        // Before the look can end.
        let mut ended = self.0.ended.subscribe();
        {
            let mut looks = self.0.looks.lock();
            if looks.sought.len() < SOUGHT_MAX && !looks.sought.contains(key_id) {
                looks.sought.insert(key_id.to_owned());
            }
            let may_look = looks.last.is_none_or(|last| last.elapsed() >= self.0.config.refresh_min);
            if !looks.is_pending && !may_look {
                return match (looks.has_succeeded, looks.missed.contains(key_id)) {
                    (false, _) => Ask::Unreadable,
                    (true, true) => Ask::Missed,
                    (true, false) => Ask::TooSoon,
                };
            }
            if !looks.is_pending {
                looks.is_pending = true;
                self.0.wanted.notify_one();
            }
        }
        let Ok(place) = Arc::clone(&self.0.waiters).try_acquire_owned() else { return Ask::Unreadable };
        Ask::Wait(async move {
            let _place = place;
            // A look has a limit of its own; this is for a task that is gone.
            let _ended_or_gone = timeout(2 * LIMITS.timeout, ended.changed()).await;
        })
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When to look without being asked.
    fn next_look(&self) -> Instant {
        let looks = self.looks.lock();
        let Some(last) = looks.last else { return Instant::now() };
        last + if looks.has_succeeded { self.config.refresh } else { self.config.refresh_min }
    }

    async fn look(&self) {
        {
            let mut looks = self.looks.lock();
            (looks.is_pending, looks.last) = (true, Some(Instant::now()));
        }
        let read = self.fetch().await.and_then(|document| Published::read(&document));
        let url = &self.config.url;
        let has_succeeded = match read {
            Ok(Published { keys, refused }) => {
                for reason in refused {
                    tracing::warn!(%url, reason, "a key of auth.jwks_url is not taken");
                }
                tracing::debug!(%url, keys = keys.len(), "read the token keys");
                let overlap_ms = u64::try_from(self.config.overlap.as_millis()).unwrap_or(u64::MAX);
                self.keys.write().replace(keys, self.now_ms(), overlap_ms);
                true
            }
            Err(reason) => {
                tracing::warn!(%url, reason, "the token keys cannot be read; those of before stay in force");
                false
            }
        };
        let mut looks = self.looks.lock();
        (looks.is_pending, looks.has_succeeded) = (false, has_succeeded);
        looks.has_keys |= has_succeeded;
        if has_succeeded {
            looks.missed = std::mem::take(&mut looks.sought);
        }
        drop(looks);
        self.ended.send_modify(|ended| *ended += 1);
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        match &self.config.url {
            Url::Http(uri) => {
                let answer = self.client.get(uri, LIMITS).await.map_err(|error| error.to_string())?;
                if answer.status.is_success() {
                    Ok(answer.body.into())
                } else {
                    Err(format!("the answer is {}", answer.status))
                }
            }
            Url::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.map_err(|error| error.to_string())?
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut document = Vec::new();
    let read = file.take(LIMITS.body_bytes_max as u64 + 1).read_to_end(&mut document);
    read.map_err(|error| error.to_string())?;
    if document.len() > LIMITS.body_bytes_max {
        return Err(format!("the file has over {} bytes", LIMITS.body_bytes_max));
    }
    Ok(document)
}

async fn look_in_turn(keys: Weak<Inner>) {
    loop {
        let Some((next, wanted)) = keys.upgrade().map(|inner| (inner.next_look(), Arc::clone(&inner.wanted)))
        else {
            return;
        };
        // Without a hold on the keys, so that they can go.
        tokio::select! {
            () = sleep_until(next) => {}
            () = wanted.notified() => {}
        }
        let Some(inner) = keys.upgrade() else { return };
        inner.look().await;
    }
}
