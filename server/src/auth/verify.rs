//! Verifies tokens.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Header, Validation, decode, decode_header};
use parking_lot::RwLock;
use quoth_core::authorize::Grant;
use quoth_core::session::Identity;
use quoth_protocol::{Code, DeviceId, Pattern, UserId};
use tokio::time::Instant;

use super::jwks::{Ask, Jwks, JwksConfig};
use super::key::Key;
use super::rejection::Rejection;
use super::{ALGORITHMS, Claims, KeySpec, LEEWAY_S, LOGGED_KEY_ID_CHARS_MAX, TOKEN_ID_BYTES_MAX, claims};
use crate::session::{Verification, Verify};
use crate::sums::Sums;

/// What tokens must be like besides their signature.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// The `aud` that they must have.
    pub audience: String,
    /// How long they may live from `iat` to `exp`; `None` for no limit, and then `iat` may be missing.
    pub lifetime_max: Option<Duration>,
    /// Whether users whose tokens have no `write` may make conversations under any name that is free.
    pub names_freely: bool,
}

/// Verifies tokens against a list of keys and a key set. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    demands: Demands,
    specs: Vec<KeySpec>,
    /// Of `specs`, as their files were when they were read last.
    keys: RwLock<Arc<[Key]>>,
    jwks: Option<Jwks>,
    /// By the kind of reason: what is in it the sender chooses.
    rejections: Sums<Discriminant<Rejection>>,
}

impl Verifier {
    /// Loads the keys. Those of a key set come once it is [started](Verifier::start).
    ///
    /// # Errors
    /// The first file that cannot be read or is no key of its algorithm, and two keys with one id.
    pub fn load(demands: Demands, specs: &[KeySpec], jwks: Option<JwksConfig>) -> Result<Self, String> {
        let mut ids = HashSet::new();
        if let Some(id) = specs.iter().filter_map(|spec| spec.id.as_ref()).find(|id| !ids.insert(*id)) {
            return Err(format!("two token keys have the id {id:?}: a token's `kid` must name one key"));
        }
        let keys = RwLock::new(keys_of(specs)?);
        let jwks = jwks.map(Jwks::new).transpose()?;
        Ok(Self(Arc::new(Inner { demands, specs: specs.to_vec(), keys, jwks, rejections: Sums::default() })))
    }

    /// Reads the files of the keys again; what is verified from now on is by these. Gives how many keys there
    /// are.
    ///
    /// # Errors
    /// The first file that cannot be read or is no key of its algorithm; all keys stay as they were.
    pub fn reload(&self) -> Result<usize, String> {
        let keys = keys_of(&self.0.specs)?;
        let count = keys.len();
        *self.0.keys.write() = keys;
        Ok(count)
    }

    /// Begins to look for the keys of a key set, on the current tokio runtime.
    pub fn start(&self) {
        if let Some(jwks) = &self.0.jwks {
            jwks.start();
        }
    }
}

fn keys_of(specs: &[KeySpec]) -> Result<Arc<[Key]>, String> {
    specs.iter().map(Key::load).collect()
}

impl Inner {
    fn identity(&self, token: &str, now_ms: u64) -> Result<Identity, Rejection> {
        let claims = self.claims(token)?;
        let user = UserId::new(&claims.sub).map_err(|error| Rejection::User(error.to_string()))?;
        let ends_ms = milliseconds(claims.exp + LEEWAY_S as f64).ok_or(Rejection::Time("exp"))?;
        let begins_ms = match claims.nbf {
            Some(nbf) => milliseconds((nbf - LEEWAY_S as f64).max(0.0)).ok_or(Rejection::Time("nbf"))?,
            None => 0,
        };
        let issued_ms = match claims.iat {
            Some(iat) => milliseconds(iat).ok_or(Rejection::Time("iat"))?,
            None => 0,
        };
        if ends_ms <= now_ms {
            return Err(Rejection::Expired { user, ago_s: (now_ms - ends_ms) / 1_000 + LEEWAY_S });
        }
        if begins_ms > now_ms {
            return Err(Rejection::NotYet { user, in_s: (begins_ms - now_ms).div_ceil(1_000) });
        }
        // Else a revocation of what was issued before now, and the longest life, would both be passed by.
        if issued_ms > now_ms.saturating_add(LEEWAY_S * 1_000) {
            return Err(Rejection::IssuedLater { user, in_s: (issued_ms - now_ms).div_ceil(1_000) });
        }
        if let Some(max) = self.demands.lifetime_max {
            if claims.iat.is_none() {
                return Err(Rejection::NoIssueTime);
            }
            // One that ends before it was issued does not live at all.
            let lives_s = ends_ms.saturating_sub(issued_ms.saturating_add(LEEWAY_S * 1_000)) / 1_000;
            if lives_s > max.as_secs() {
                return Err(Rejection::LivesTooLong { user, lives_s, max_s: max.as_secs() });
            }
        }
        let device = claims.device.map(DeviceId::new).transpose();
        let device = device.map_err(|error| Rejection::Device(error.to_string()))?;
        if claims.jti.as_ref().is_some_and(|id| id.len() > TOKEN_ID_BYTES_MAX) {
            return Err(Rejection::TokenId(TOKEN_ID_BYTES_MAX));
        }
        let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern::new).collect();
        let (read, write) = (claims.read.map(patterns), claims.write.map(patterns));
        let (publish_as, names_freely) = (patterns(claims.publish_as), self.demands.names_freely);
        let grant = Grant { user, read, write, publish_as, names_freely };
        Ok(Identity { grant: Arc::new(grant), expires_ms: ends_ms, issued_ms, token_id: claims.jti, device })
    }

    /// What the token says, if one of the keys that it may be signed with has signed it for this audience. A
    /// key id names one key; without an id every key of the algorithm is tried, so that keys can be rotated.
    fn claims(&self, token: &str) -> Result<Claims, Rejection> {
        let header = decode_header(token).map_err(|_| Rejection::NoToken)?;
        // RFC 7515, section 4.1.11: none of what it may name is understood here.
        if header.crit.is_some() {
            return Err(Rejection::Critical);
        }
        // No key that is looked for could be for it.
        if !ALGORITHMS.iter().any(|(_, algorithm)| *algorithm == header.alg) {
            return Err(Rejection::Unsupported(header.alg));
        }
        let mut rejection = match header.kid {
            Some(ref id) => Rejection::UnknownKeyId(id.chars().take(LOGGED_KEY_ID_CHARS_MAX).collect()),
            None => Rejection::NoKey(header.alg),
        };
        let mut tries = |key: &Key| self.tries(token, &header, key, &mut rejection);
        let keys = Arc::clone(&self.keys.read());
        let claims = keys.iter().find_map(&mut tries);
        // A key id of the configuration names its key, whatever the set has.
        let is_configured = header.kid.is_some() && keys.iter().any(|key| key.id == header.kid);
        let claims = match &self.jwks {
            Some(jwks) if claims.is_none() && !is_configured => jwks.find(tries),
            _ => claims,
        };
        claims.unwrap_or(Err(rejection))
    }

    /// What a key makes of a token; `None` when another one may do, with the reason.
    fn tries(
        &self,
        token: &str,
        header: &Header,
        key: &Key,
        rejection: &mut Rejection,
    ) -> Option<Result<Claims, Rejection>> {
        let is_candidate = match &header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => key.algorithm == header.alg,
        };
        if !is_candidate {
            return None;
        }
        match decode::<Claims>(token, &key.key, &self.validation(key)) {
            Ok(data) => Some(Ok(data.claims)),
            Err(error) => match Rejection::new(&error, token, header.alg, key.algorithm) {
                reason @ (Rejection::Signature | Rejection::Algorithm { .. }) => {
                    *rejection = reason;
                    None
                }
                reason => Some(Err(reason)),
            },
        }
    }

    /// What is asked of a token of a key. The key decides about the algorithm, never the token.
    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[&self.demands.audience]);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        // Both are checked against the server's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    /// Tells the operator. The client hears the code only, and the token itself is a secret. Whose it is
    /// said to be helps to find who has sent it; nobody vouches for that.
    fn told(&self, verified: Result<Identity, Rejection>, token: &str) -> Result<Identity, Code> {
        verified.map_err(|reason| {
            let claimed_user = || claims::user(token).unwrap_or_default();
            match self.rejections.due(discriminant(&reason), std::time::Instant::now()) {
                Some(count) => {
                    tracing::info!(%reason, claimed_user = claimed_user(), count, "token rejected");
                }
                None => tracing::debug!(%reason, claimed_user = claimed_user(), "token rejected"),
            }
            reason.code()
        })
    }

    /// The key set, if a look at it may make this rejection good, and the key's id there, if there is one.
    fn jwks_for<'a>(&self, rejection: &'a Rejection) -> Option<(&Jwks, &'a str)> {
        let jwks = self.jwks.as_ref()?;
        match rejection {
            Rejection::UnknownKeyId(id) => Some((jwks, id)),
            Rejection::NoKey(_) => Some((jwks, "")),
            // By one of the configuration's keys, while those of the set have not come yet.
            Rejection::Signature if !jwks.has_keys() => Some((jwks, "")),
            _ => None,
        }
    }
}

impl Verify for Verifier {
    fn retry_after_ms(&self) -> u32 {
        let wait = self.0.jwks.as_ref().map(Jwks::wait).unwrap_or_default();
        u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
    }

    fn verify(&self, token: &str, now_ms: u64) -> Verification {
        let verified = self.0.identity(token, now_ms);
        let asked = match &verified {
            Err(rejection) => self.0.jwks_for(rejection).map(|(jwks, key_id)| jwks.ask(key_id)),
            Ok(_) => None,
        };
        match asked {
            None | Some(Ask::Missed) => Verification::Ready(self.0.told(verified, token)),
            Some(Ask::TooSoon) => {
                Verification::Ready(self.0.told(verified.map_err(Rejection::too_soon), token))
            }
            Some(Ask::Unreadable) => Verification::Ready(self.0.told(Err(Rejection::NoKeySet), token)),
            Some(Ask::Wait(looked)) => {
                let (inner, token, asked) = (Arc::clone(&self.0), token.to_owned(), Instant::now());
                Verification::Waits(Box::pin(async move {
                    looked.await;
                    let waited_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let verified = inner.identity(&token, now_ms.saturating_add(waited_ms));
                    let verified = verified.map_err(|rejection| match inner.jwks_for(&rejection) {
                        Some((jwks, _)) if !jwks.is_readable() => Rejection::NoKeySet,
                        _ => rejection,
                    });
                    inner.told(verified, &token)
                }))
            }
        }
    }
}

/// Whole milliseconds of a time in seconds, if it is one within some thousand years.
fn milliseconds(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..1e12).contains(&seconds).then_some((seconds * 1_000.0) as u64)
}

#[cfg(test)]
mod tests;
