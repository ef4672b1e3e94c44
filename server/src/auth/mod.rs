//! Tokens: JSON Web Tokens with a strict list of keys, each for one algorithm.

mod claims;
mod issue;
mod jwks;
mod key;
mod rejection;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

pub use issue::{Issue, Rights, issue};
pub use jwks::JwksConfig;
pub use verify::{Demands, Verifier};

/// Seconds by which the clocks of the issuer and of this server may differ.
pub const LEEWAY_S: u64 = 30;

/// Bytes that a token's id (`jti`) may have: a UUID has 36, a SHA-256 in hexadecimal 64. Ids of revoked
/// tokens are kept.
pub const TOKEN_ID_BYTES_MAX: usize = 128;

/// Characters of a key's id that are logged: enough to recognise it, too few to fill a disk.
const LOGGED_KEY_ID_CHARS_MAX: usize = 64;

/// Algorithms that a key may be for.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("RS256", Algorithm::RS256),
    ("HS256", Algorithm::HS256),
];

/// A key that tokens may be signed with: `ALGORITHM:FILE`, or `KEY-ID=ALGORITHM:FILE` when tokens name it by
/// `kid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    /// The `kid` of tokens signed with it.
    pub id: Option<String>,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
    /// PEM file of the public key; for HS256 a file whose bytes, without white space at the end, are the
    /// secret.
    pub file: PathBuf,
}

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected ALGORITHM:FILE or KEY-ID=ALGORITHM:FILE in place of {text:?}");
        let (head, file) = text.split_once(':').ok_or_else(expected)?;
        let (id, name) = head.split_once('=').map_or((None, head), |(id, name)| (Some(id.to_owned()), name));
        if file.is_empty() || id.as_ref().is_some_and(String::is_empty) {
            return Err(expected());
        }
        Ok(Self { id, algorithm: algorithm(name)?, file: PathBuf::from(file) })
    }
}

/// The algorithm of this name.
///
/// # Errors
/// When it is none that a key may be for.
pub fn algorithm(name: &str) -> Result<Algorithm, String> {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, algorithm)| *algorithm)
        .ok_or_else(|| format!("expected EdDSA, ES256, RS256 or HS256 in place of {name:?}"))
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}=")?;
        }
        write!(f, "{:?}:{}", self.algorithm, self.file.display())
    }
}

/// What a token says; `docs/PROTOCOL.md` section 4 has the meanings.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970. A number with a fraction is allowed (RFC 7519, NumericDate).
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    /// As `exp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    publish_as: Vec<String>,
}
