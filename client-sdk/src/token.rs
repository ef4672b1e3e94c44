//! Where a client's tokens come from.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a token provider may take. Outcome: the attempt to sign in, or to renew a token, has failed.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A future of a token, or of the text of why there is none.
pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// One token for good, or a function that gets a fresh one.
#[derive(Clone)]
pub(crate) enum TokenSource {
    Fixed(String),
    Provider(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl TokenSource {
    /// Whether asking again can give another token.
    pub(crate) fn can_renew(&self) -> bool {
        matches!(self, Self::Provider(_))
    }

    /// A token for the next sign-in.
    pub(crate) fn token(&self) -> TokenFuture {
        match self {
            Self::Fixed(token) => {
                let token = token.clone();
                Box::pin(async move { Ok(token) })
            }
            Self::Provider(provider) => provider(),
        }
    }
}

impl std::fmt::Debug for TokenSource {
    /// Leaves the token out, so that no log line can hold it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Provider(_) => "Provider",
        })
    }
}
