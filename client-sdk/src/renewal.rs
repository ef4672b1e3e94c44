//! The renewal of a connection's token.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::token::{TOKEN_TIMEOUT, TokenFuture, TokenSource};

/// From one answer of a token provider to the next question. A provider whose tokens are about to end when
/// they come, or that gives the same one again, would be asked without a pause otherwise.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks for a fresh token until there is one.
pub(crate) struct Renewal {
    source: TokenSource,
    /// The token in force.
    present: String,
    answered_at: Option<Instant>,
    underway: Option<TokenFuture>,
}

impl Renewal {
    pub(crate) fn new(source: TokenSource, present: String) -> Self {
        Self { source, present, answered_at: None, underway: None }
    }

    /// The token is about to end.
    pub(crate) fn begin(&mut self) {
        if self.underway.is_some() || !self.source.can_renew() {
            return;
        }
        let (source, not_before) = (self.source.clone(), self.answered_at.map(|at| at + PAUSE));
        self.underway = Some(Box::pin(async move {
            if let Some(not_before) = not_before {
                sleep_until(not_before).await;
            }
            let late = |_| Err(format!("the provider did not answer within {} s", TOKEN_TIMEOUT.as_secs()));
            timeout(TOKEN_TIMEOUT, source.token()).await.unwrap_or_else(late)
        }));
    }

    /// A fresh token, which is in force from now on. Waits for ever if none is needed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let answer = match &mut self.underway {
                Some(underway) => underway.await,
                None => std::future::pending().await,
            };
            (self.underway, self.answered_at) = (None, Some(Instant::now()));
            match answer {
                Ok(token) if token != self.present => {
                    self.present.clone_from(&token);
                    return token;
                }
                Ok(_) => tracing::warn!("the token provider gave the token that is about to end"),
                Err(reason) => tracing::warn!(reason, "no fresh token"),
            }
            // The server says it once. When nothing has come until the token's end, it closes with
            // TOKEN_EXPIRED, and the next sign-in asks for a token.
            self.begin();
        }
    }
}
