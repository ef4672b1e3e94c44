//! Verifies tokens.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use quoth_core::authorize::{Grant, Pattern};
use quoth_core::session::Identity;
use quoth_protocol::{Code, UserId};

use super::{Claims, KeySpec, LEEWAY_S};
use crate::quic::Verify;

/// Verifies tokens against a list of keys.
pub struct Verifier {
    audience: String,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("audience", &self.audience).field("keys", &self.keys.len()).finish()
    }
}

impl Verifier {
    /// Loads the keys.
    ///
    /// # Errors
    /// The first file that cannot be read or is no key of its algorithm.
    pub fn load(audience: &str, specs: &[KeySpec]) -> Result<Self, String> {
        let keys = specs.iter().map(Key::load).collect::<Result<_, _>>()?;
        Ok(Self { audience: audience.to_owned(), keys })
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        let key = self.keys.iter().find(|key| match &header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => key.algorithm == header.alg,
        })?;
        // The key decides about the algorithm, never the token.
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        // Both are checked here, against the server's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        decode::<Claims>(token, &key.key, &validation).ok().map(|data| data.claims)
    }
}

impl Key {
    fn load(spec: &KeySpec) -> Result<Self, String> {
        let bytes = read(&spec.file)?;
        let key = match spec.algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&bytes),
            Algorithm::ES256 => DecodingKey::from_ec_pem(&bytes),
            _ => Ok(DecodingKey::from_secret(bytes.trim_ascii_end())),
        };
        let (algorithm, file) = (spec.algorithm, spec.file.display());
        let key =
            key.map_err(|error| format!("{file} is no public key for {algorithm:?} in PEM: {error}"))?;
        if spec.algorithm == Algorithm::HS256 && bytes.trim_ascii_end().len() < 32 {
            return Err(format!("{file} is too short for HS256: a secret needs at least 32 bytes"));
        }
        Ok(Self { id: spec.id.clone(), algorithm: spec.algorithm, key })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("the token key {} cannot be read: {error}", file.display()))
}

impl Verify for Verifier {
    fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Code> {
        let claims = self.claims(token).ok_or(Code::TOKEN_REJECTED)?;
        let user = UserId::new(&claims.sub).map_err(|_| Code::TOKEN_REJECTED)?;
        let ends_ms = milliseconds(claims.exp + LEEWAY_S as f64).ok_or(Code::TOKEN_REJECTED)?;
        let begins_ms = match claims.nbf {
            Some(nbf) => milliseconds((nbf - LEEWAY_S as f64).max(0.0)).ok_or(Code::TOKEN_REJECTED)?,
            None => 0,
        };
        if ends_ms <= now_ms {
            return Err(Code::TOKEN_EXPIRED);
        }
        if begins_ms > now_ms {
            return Err(Code::TOKEN_REJECTED);
        }
        let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern::new).collect();
        let (read, write) = (patterns(claims.read), patterns(claims.write));
        let grant = Grant { user, read, write, publish_as: patterns(claims.publish_as) };
        Ok(Identity { grant: Arc::new(grant), expires_ms: ends_ms })
    }
}

/// Whole milliseconds of a time in seconds, if it is one within some thousand years.
fn milliseconds(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..1e12).contains(&seconds).then_some((seconds * 1_000.0) as u64)
}
