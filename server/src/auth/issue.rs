//! Issues tokens, for development and for `quoth-server token`.

use std::path::Path;

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use quoth_protocol::{DeviceId, UserId};
use serde::Serialize;

use super::Claims;
use super::key::hmac_secret;

/// What a token is to allow.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// Patterns of conversations that may be read; `None` leaves it to memberships.
    pub read: Option<Vec<String>>,
    /// Patterns of conversations that may be written to; `None` leaves it to memberships.
    pub write: Option<Vec<String>>,
    /// Patterns of users in whose name may be published.
    pub publish_as: Vec<String>,
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Issue<'a> {
    /// The `aud`.
    pub audience: &'a str,
    /// Whom it is for.
    pub user: &'a UserId,
    /// The one device that it is for; `None` for all.
    pub device: Option<&'a DeviceId>,
    /// What it allows.
    pub rights: Rights,
    /// Its id, by which it can be revoked alone.
    pub token_id: Option<String>,
    /// When it begins, in seconds since 1970.
    pub issued_s: u64,
    /// When it ends, in seconds since 1970.
    pub expires_s: u64,
}

/// Why a file has no private key that signs. Of keys of elliptic curves only PKCS#8 is read;
/// `openssl ecparam -genkey` writes SEC1 (RFC 5915).
fn no_key(file: &Path, algorithm: Algorithm, bytes: &[u8], error: &Error) -> String {
    let file = file.display();
    let sec1 = b"-----BEGIN EC PRIVATE KEY-----";
    if bytes.windows(sec1.len()).any(|window| window == sec1) {
        return format!(
            "{file} is in the form SEC1 (BEGIN EC PRIVATE KEY), and PKCS#8 is wanted: `openssl pkcs8 -topk8 -nocrypt -in {file}` prints it"
        );
    }
    format!("{file} is no private key for {algorithm:?} in PEM: {error}{}", bits_wanted(algorithm))
}

/// What is to be said of a key that does not sign, for its size may be why.
const fn bits_wanted(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => {
            "; it needs 2048 bits or more, as `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` makes it"
        }
        _ => "",
    }
}

/// Signs a token.
///
/// # Errors
/// A key file that cannot be read or is no private key of the algorithm, which is one of
/// [`algorithm`](super::algorithm).
pub fn issue(key_file: &Path, algorithm: Algorithm, what: Issue<'_>) -> Result<String, String> {
    #[derive(Serialize)]
    struct Issued<'a> {
        aud: &'a str,
        #[serde(flatten)]
        claims: Claims,
    }
    let file = key_file.display();
    let bytes =
        std::fs::read(key_file).map_err(|error| format!("the signing key {file} cannot be read: {error}"))?;
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&bytes),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&bytes),
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&bytes),
        _ => Ok(EncodingKey::from_secret(hmac_secret(key_file, &bytes)?)),
    };
    let key = key.map_err(|error| no_key(key_file, algorithm, &bytes, &error))?;
    let Rights { read, write, publish_as } = what.rights;
    let claims = Claims {
        sub: what.user.to_string(),
        exp: what.expires_s as f64,
        nbf: None,
        iat: Some(what.issued_s as f64),
        jti: what.token_id,
        device: what.device.map(ToString::to_string),
        read,
        write,
        publish_as,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &Issued { aud: what.audience, claims }, &key)
        .map_err(|error| format!("no token can be signed with {file}: {error}{}", bits_wanted(algorithm)))
}
