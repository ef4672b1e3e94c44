//! Why a token is not accepted.

use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::{Error, ErrorKind};
use quoth_protocol::{Code, UserId};

use super::{LEEWAY_S, claims};

/// Why a token is not accepted. No text holds the token or a part of it besides its key id and user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Rejection {
    #[error("it is no JSON Web Token, or one of an unknown algorithm")]
    NoToken,
    #[error("its alg is {0:?}, and keys of tokens are for EdDSA, ES256, RS256 and HS256 only")]
    Unsupported(Algorithm),
    #[error("its header has `crit`, of which nothing is understood here")]
    Critical,
    #[error("its kid is {0:?}, which no key in auth.token_keys or at auth.jwks_url has")]
    UnknownKeyId(String),
    #[error("it has no kid, and no key in auth.token_keys or at auth.jwks_url is for {0:?}")]
    NoKey(Algorithm),
    #[error("its key may be at auth.jwks_url, which cannot be read at the moment")]
    NoKeySet,
    #[error("{0}; it is asked to come back, since auth.jwks_refresh_min_s allows no other look yet")]
    TooSoon(Box<Self>),
    #[error("it says {token:?}, but the key with its kid is for {key:?}")]
    Algorithm { token: Algorithm, key: Algorithm },
    #[error("no key that it may be signed with has made its signature")]
    Signature,
    #[error("its aud is not auth.audience")]
    Audience,
    #[error("it has no {0}")]
    Missing(String),
    #[error("its claims are not as docs/PROTOCOL.md says in section 4: {0}")]
    Claims(String),
    #[error("its sub is no user id: {0}")]
    User(String),
    #[error("its device is no device id: {0}")]
    Device(String),
    #[error("its {0} is no time in seconds since 1970")]
    Time(&'static str),
    #[error("its jti has over {0} bytes")]
    TokenId(usize),
    #[error("it has no iat, which auth.token_lifetime_max_s needs")]
    NoIssueTime,
    #[error("it lives for {lives_s} s, and auth.token_lifetime_max_s is {max_s} (user {user})")]
    LivesTooLong { user: UserId, lives_s: u64, max_s: u64 },
    #[error("it expired {ago_s} s ago (user {user})")]
    Expired { user: UserId, ago_s: u64 },
    #[error("it begins in {in_s} s (user {user})")]
    NotYet { user: UserId, in_s: u64 },
    #[error(
        "its iat is {in_s} s from now, and clocks may differ by {LEEWAY_S} s: set the issuer's (user {user})"
    )]
    IssuedLater { user: UserId, in_s: u64 },
}

impl Rejection {
    /// Why a key of an algorithm does not make `token` good, whose header says `said`.
    pub(super) fn new(error: &Error, token: &str, said: Algorithm, key: Algorithm) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm => Self::Algorithm { token: said, key },
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) => Self::Missing(claim.clone()),
            // Of the payload: only read once the signature is good. The text of the error may quote a claim.
            ErrorKind::Json(error) => Self::Claims(
                claims::wrong(token)
                    .unwrap_or_else(|| format!("line {} column {}", error.line(), error.column())),
            ),
            _ => Self::Signature,
        }
    }

    /// The same of a token whose key may have been published since the last look.
    pub(super) fn too_soon(self) -> Self {
        Self::TooSoon(Box::new(self))
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Expired { .. } => Code::TOKEN_EXPIRED,
            Self::NoKeySet | Self::TooSoon(_) => Code::UNAVAILABLE,
            _ => Code::TOKEN_REJECTED,
        }
    }
}
