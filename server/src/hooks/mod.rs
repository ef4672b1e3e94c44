//! Hooks: backends that are asked before something happens, and may forbid or change it.
//!
//! | module | has |
//! |---|---|
//! | `settings` | what is configured |
//! | `signature` | what shows a backend that this server asks |
//! | `backend` | what all requests are made with |
//! | `question` | one question and its answer |
//! | `counts` | what has become of questions |
//! | `places` | who may ask at once |

mod backend;
mod counts;
mod places;
mod question;
mod settings;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use parking_lot::Mutex;
use quoth_core::breaker::Breaker;
use quoth_core::rate::Rate;
use quoth_protocol::UserId;
use serde_json::Value;

use crate::engine::{Clock as _, SystemClock};
use crate::outbound::{Client, Failure, Limits, Url};
pub(crate) use backend::Backend;
use counts::Counters;
pub(crate) use counts::Counts;
pub(crate) use places::Place;
use places::Places;
use question::{BODY_BYTES_MAX, Question};
pub(crate) use question::{Judgement, signed};
pub use settings::{HookConfig, HooksConfig, OnFailure};
pub(crate) use signature::Signer;

/// How long a question that holds up nothing behind it waits for a place, as long as most requests may take
/// by default, and when whoever got none may try again, in milliseconds.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);
const PLACE_RETRY_AFTER_MS: u32 = 1_000;

/// For people who are not let do something, since nobody was asked or since there is no answer.
const NO_PLACE: &str = "too much is asked at the moment: try again";
const NO_ANSWER: &str = "what has to allow this does not answer";

/// Lines of the log about questions without an answer, in so many milliseconds of the clock: what one user
/// asks about must not fill a disk.
const LINES_MAX: u32 = 10;
const LINES_WINDOW_MS: u64 = 10_000;

/// What a question about a message is called.
const PUBLISH: &str = "publish";

/// The hooks of a server.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) connect: Option<Hook>,
    pub(crate) join: Option<Hook>,
    pub(crate) publish: Option<Hook>,
}

/// A backend that is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: &'static str,
    uri: Uri,
    client: Client,
    signer: Signer,
    limits: Limits,
    on_failure: OnFailure,
    places: Arc<Places>,
    breaker: Mutex<Breaker>,
    /// Lines of the log about single failures.
    lines: Mutex<Rate>,
    counters: Counters,
}

impl Hooks {
    /// The hooks that are configured, asked of this backend.
    pub(crate) fn new(config: &HooksConfig, backend: &Backend) -> Self {
        let Backend { client, signer } = backend;
        let limits =
            Limits { timeout: Duration::from_millis(config.timeout_ms), body_bytes_max: BODY_BYTES_MAX };
        let hook = |kind, HookConfig { url, on_failure }: &HookConfig| {
            let Some(Url::Http(uri)) = url else { return None };
            Some(Hook(Arc::new(Inner {
                kind,
                uri: uri.clone(),
                client: client.clone(),
                signer: signer.clone(),
                limits,
                on_failure: *on_failure,
                places: Places::new(config.requests_max),
                breaker: Mutex::default(),
                lines: Mutex::new(Rate::new(LINES_MAX, LINES_WINDOW_MS)),
                counters: Counters::default(),
            })))
        };
        Self {
            connect: hook("connect", &config.connect),
            join: hook("join", &config.join),
            publish: hook(PUBLISH, &config.publish),
        }
    }

    /// By kind, what has become of the questions since the start; `None` of a kind that is not configured.
    pub(crate) fn counts(&self) -> [(&'static str, Option<Counts>); 3] {
        let of = |hook: &Option<Hook>| hook.as_ref().map(|hook| hook.0.counters.now());
        [("connect", of(&self.connect)), ("join", of(&self.join)), ("publish", of(&self.publish))]
    }
}

impl Hook {
    /// A place for a question about a user, once there is one.
    pub(crate) async fn place(&self, user: &UserId) -> Place {
        self.0.places.take(user).await
    }

    /// Asks whether a user may do this, once there is a place. That there is none is no failure of the
    /// backend's, so whoever waits for one in vain is to come back, and nothing is let through or counted for
    /// that.
    pub(crate) async fn ask(&self, user: &UserId, data: impl FnOnce() -> Value + Send) -> Judgement {
        match tokio::time::timeout(PLACE_TIMEOUT, self.place(user)).await {
            Ok(place) => self.ask_at(&place, data).await,
            Err(_) => Judgement::Unavailable { retry_after_ms: PLACE_RETRY_AFTER_MS, reason: NO_PLACE },
        }
    }

    /// Asks whether the user whose place this is may do this. Without an answer in time, or while there was
    /// none for a while, what is configured holds. What is asked is made of `data` here and not while
    /// somebody waits for a place: in JSON a message is several times as long. The time to answer begins
    /// here, too.
    pub(crate) async fn ask_at(&self, place: &Place, data: impl FnOnce() -> Value + Send) -> Judgement {
        let (inner, user) = (&*self.0, place.user());
        let now_ms = SystemClock.unix_ms();
        let Some(round) = inner.breaker.lock().asks(user, now_ms) else { return self.without_answer() };
        let answered = tokio::time::timeout(inner.limits.timeout, async {
            let question = Question::new(inner.kind, data(), now_ms);
            let request = signed(&inner.uri, &inner.signer, &question.id, question.time_ms, question.body())?;
            match inner.client.send(request, inner.limits).await {
                Ok(answer) => question::judgement(&answer, inner.kind == PUBLISH),
                // No other answer has a reason to be so large.
                Err(Failure::TooLarge(_)) => Ok(question::too_large()),
                Err(error) => Err(error.to_string()),
            }
        });
        let answered =
            answered.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", inner.limits.timeout)));
        match answered {
            Ok(judgement) => {
                if inner.breaker.lock().answered() {
                    tracing::info!(hook = inner.kind, "the hook answers again");
                }
                inner.counters.answered(&judgement);
                judgement
            }
            Err(error) => {
                let (hook, on_failure) = (inner.kind, inner.on_failure);
                if inner.breaker.lock().failed(user, round, SystemClock.unix_ms()) {
                    tracing::error!(hook, %error, %on_failure, "the hook does not answer: it is asked from time to time only");
                } else if inner.lines.lock().take(now_ms) {
                    tracing::warn!(hook, %user, %error, %on_failure, "the hook gave no answer");
                }
                self.without_answer()
            }
        }
    }

    /// What has become of its questions.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> Counts {
        self.0.counters.now()
    }

    /// One that asks a backend at `uri`, for tests of what waits for it.
    #[cfg(test)]
    pub(crate) fn of(uri: &str, secret_file: &std::path::Path) -> Self {
        let backend =
            Backend { client: Client::new(None).unwrap(), signer: Signer::load(secret_file).unwrap() };
        let publish = HookConfig { url: Some(uri.parse().unwrap()), on_failure: OnFailure::Deny };
        let config = HooksConfig { publish, timeout_ms: 60_000, ..HooksConfig::default() };
        Hooks::new(&config, &backend).publish.unwrap()
    }

    fn without_answer(&self) -> Judgement {
        self.0.counters.unanswered();
        match self.0.on_failure {
            OnFailure::Allow => Judgement::Allow,
            OnFailure::Deny => {
                let wait_ms = self.0.breaker.lock().wait_ms(SystemClock.unix_ms());
                let retry_after_ms = u32::try_from(wait_ms).unwrap_or(u32::MAX);
                Judgement::Unavailable { retry_after_ms, reason: NO_ANSWER }
            }
        }
    }
}
