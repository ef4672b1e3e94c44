//! Hooks: backends that are asked before something happens, and may forbid or change it.
//!
//! | module | has |
//! |---|---|
//! | `settings` | what is configured |
//! | `signature` | what shows a backend that this server asks |
//! | `backend` | what all requests are made with |
//! | `question` | one question and its answer |

mod backend;
mod question;
mod settings;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use parking_lot::Mutex;
use quoth_core::breaker::Breaker;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::engine::{Clock as _, SystemClock};
use crate::outbound::{Client, Limits, Url};
pub(crate) use backend::Backend;
use question::{BODY_BYTES_MAX, Question};
pub(crate) use question::{Judgement, signed};
pub use settings::{HookConfig, HooksConfig, OnFailure};
pub(crate) use signature::Signer;

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
    places: Semaphore,
    breaker: Mutex<Breaker>,
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
                places: Semaphore::new(config.requests_max),
                breaker: Mutex::default(),
            })))
        };
        Self {
            connect: hook("connect", &config.connect),
            join: hook("join", &config.join),
            publish: hook("publish", &config.publish),
        }
    }
}

impl Hook {
    /// Asks whether this may happen. Without an answer in time, or while there was none for a while, what is configured holds.
    pub(crate) async fn ask(&self, data: Value) -> Judgement {
        let inner = &*self.0;
        let now_ms = SystemClock.unix_ms();
        let tries = {
            let mut breaker = inner.breaker.lock();
            if !breaker.asks(now_ms) {
                return self.without_answer();
            }
            !breaker.is_closed()
        };
        let question = Question::new(inner.kind, data, now_ms);
        let answered = tokio::time::timeout(inner.limits.timeout, async {
            let _place = inner.places.acquire().await;
            // It may have become clear meanwhile that nobody answers.
            if !tries && !inner.breaker.lock().is_closed() {
                return Ok(None);
            }
            let request = signed(&inner.uri, &inner.signer, &question.id, question.time_ms, question.body())?;
            let answer = inner.client.send(request, inner.limits).await.map_err(|error| error.to_string())?;
            question::judgement(&answer).map(Some)
        });
        let answered =
            answered.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", inner.limits.timeout)));
        match answered {
            Ok(Some(judgement)) => {
                if inner.breaker.lock().answered() {
                    tracing::info!(hook = inner.kind, "the hook answers again");
                }
                judgement
            }
            Ok(None) => self.without_answer(),
            Err(error) => {
                let (hook, on_failure) = (inner.kind, inner.on_failure);
                if inner.breaker.lock().failed(SystemClock.unix_ms()) {
                    tracing::error!(hook, %error, %on_failure, "the hook does not answer: it is asked from time to time only");
                } else {
                    tracing::warn!(hook, %error, %on_failure, "the hook gave no answer");
                }
                self.without_answer()
            }
        }
    }

    fn without_answer(&self) -> Judgement {
        match self.0.on_failure {
            OnFailure::Allow => Judgement::Allow,
            OnFailure::Deny => Judgement::Unavailable,
        }
    }
}
