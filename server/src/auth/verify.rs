//! Verifies tokens.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use quoth_core::authorize::{Grant, Pattern};
use quoth_core::session::Identity;
use quoth_protocol::{Code, UserId};

use super::{Claims, KeySpec, LEEWAY_S, hmac_secret};
use crate::session::Verify;

/// Characters of a token's key id that are logged: enough to recognise it, too few to fill a disk.
const LOGGED_KEY_ID_CHARS_MAX: usize = 64;

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
    /// The first file that cannot be read or is no key of its algorithm, and two keys with one id.
    pub fn load(audience: &str, specs: &[KeySpec]) -> Result<Self, String> {
        let mut ids = HashSet::new();
        if let Some(id) = specs.iter().filter_map(|spec| spec.id.as_ref()).find(|id| !ids.insert(*id)) {
            return Err(format!("two token keys have the id {id:?}: a token's `kid` must name one key"));
        }
        let keys = specs.iter().map(Key::load).collect::<Result<_, _>>()?;
        Ok(Self { audience: audience.to_owned(), keys })
    }

    fn identity(&self, token: &str, now_ms: u64) -> Result<Identity, Rejection> {
        let claims = self.claims(token)?;
        let user = UserId::new(&claims.sub).map_err(|error| Rejection::User(error.to_string()))?;
        let ends_ms = milliseconds(claims.exp + LEEWAY_S as f64).ok_or(Rejection::Time("exp"))?;
        let begins_ms = match claims.nbf {
            Some(nbf) => milliseconds((nbf - LEEWAY_S as f64).max(0.0)).ok_or(Rejection::Time("nbf"))?,
            None => 0,
        };
        if ends_ms <= now_ms {
            return Err(Rejection::Expired { user, ago_s: (now_ms - ends_ms) / 1_000 + LEEWAY_S });
        }
        if begins_ms > now_ms {
            return Err(Rejection::NotYet { user, in_s: (begins_ms - now_ms).div_ceil(1_000) });
        }
        let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern::new).collect();
        let (read, write) = (claims.read.map(patterns), claims.write.map(patterns));
        let grant = Grant { user, read, write, publish_as: patterns(claims.publish_as) };
        Ok(Identity { grant: Arc::new(grant), expires_ms: ends_ms })
    }

    /// What the token says, if one of the keys that it may be signed with has signed it for this audience. A key id names
    /// one key; without an id every key of the algorithm is tried, so that keys can be rotated.
    fn claims(&self, token: &str) -> Result<Claims, Rejection> {
        let header = decode_header(token).map_err(|_| Rejection::NoToken)?;
        let is_candidate = |key: &&Key| match &header.kid {
            Some(id) => key.id.as_ref() == Some(id),
            None => key.algorithm == header.alg,
        };
        let mut rejection = match header.kid {
            Some(ref id) => Rejection::UnknownKeyId(id.chars().take(LOGGED_KEY_ID_CHARS_MAX).collect()),
            None => Rejection::NoKey(header.alg),
        };
        for key in self.keys.iter().filter(is_candidate) {
            match decode::<Claims>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(data) => return Ok(data.claims),
                Err(error) => rejection = Rejection::new(&error, header.alg, key.algorithm),
            }
            if !matches!(rejection, Rejection::Signature) {
                break;
            }
        }
        Err(rejection)
    }

    /// What is asked of a token of a key. The key decides about the algorithm, never the token.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        // Both are checked against the server's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

impl Key {
    fn load(spec: &KeySpec) -> Result<Self, String> {
        let (algorithm, file) = (spec.algorithm, spec.file.display());
        let bytes = std::fs::read(&spec.file)
            .map_err(|error| format!("the token key {file} cannot be read: {error}"))?;
        let key = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&bytes),
            Algorithm::ES256 => DecodingKey::from_ec_pem(&bytes),
            _ => Ok(DecodingKey::from_secret(hmac_secret(&spec.file, &bytes)?)),
        };
        let key =
            key.map_err(|_| {
                format!(
                    "{file} is no public key for {algorithm:?} in PEM: if it is the private one, the public half is what \
                     `openssl pkey -in {file} -pubout` prints"
                )
            })?;
        Ok(Self { id: spec.id.clone(), algorithm, key })
    }
}

impl Verify for Verifier {
    fn verify(&self, token: &str, now_ms: u64) -> Result<Identity, Code> {
        self.identity(token, now_ms).map_err(|rejection| {
            // For the operator. The client hears the code only, and the token itself is a secret.
            tracing::info!(reason = %rejection, "token rejected");
            rejection.code()
        })
    }
}

/// Why a token is not accepted. No text holds the token or a part of it besides its key id and user.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Rejection {
    #[error("it is no JSON Web Token, or one of an unknown algorithm")]
    NoToken,
    #[error("its kid is {0:?}, which no key in auth.token_keys has")]
    UnknownKeyId(String),
    #[error("it has no kid, and no key in auth.token_keys is for {0:?}")]
    NoKey(Algorithm),
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
    #[error("its {0} is no time in seconds since 1970")]
    Time(&'static str),
    #[error("it expired {ago_s} s ago (user {user})")]
    Expired { user: UserId, ago_s: u64 },
    #[error("it begins in {in_s} s (user {user})")]
    NotYet { user: UserId, in_s: u64 },
}

impl Rejection {
    fn new(error: &Error, token: Algorithm, key: Algorithm) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm => Self::Algorithm { token, key },
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) => Self::Missing(claim.clone()),
            // Of the payload: only read once the signature is good. Its place, since its text may quote a claim.
            ErrorKind::Json(error) => {
                Self::Claims(format!("line {} column {}", error.line(), error.column()))
            }
            _ => Self::Signature,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Expired { .. } => Code::TOKEN_EXPIRED,
            _ => Code::TOKEN_REJECTED,
        }
    }
}

/// Whole milliseconds of a time in seconds, if it is one within some thousand years.
fn milliseconds(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..1e12).contains(&seconds).then_some((seconds * 1_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256};
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::{Rejection, Verifier};
    use crate::auth::{KeySpec, Rights, issue};
    use crate::session::Verify as _;
    use quoth_protocol::{Code, UserId};

    const NOW_S: u64 = 1_700_000_000;
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A new Ed25519 key pair: the file of the private key and the text of a specification of the public one.
    fn ed25519(dir: &Path, name: &str) -> (PathBuf, String) {
        let key = Ed25519KeyPair::generate().unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let public = file(dir, &format!("{name}.pem"), &pem("PUBLIC KEY", public.as_ref()));
        let private = pem("PRIVATE KEY", key.to_pkcs8().unwrap().as_ref());
        (file(dir, &format!("{name}-key.pem"), &private), format!("EdDSA:{}", public.display()))
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = base64::prelude::BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    fn verifier(specs: &[&str]) -> Result<Verifier, String> {
        let specs: Vec<KeySpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        Verifier::load("quoth", &specs)
    }

    fn token(key: &Path, audience: &str, expires_s: u64) -> String {
        let user = UserId::new("alice").unwrap();
        issue(key, EdDSA, audience, &user, Rights::default(), expires_s).unwrap()
    }

    fn with_header(key: &Path, header: &Header, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_ed_pem(&fs::read(key).unwrap()).unwrap();
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    fn with_kid(key: &Path, kid: &str) -> String {
        let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
        with_header(key, &Header { kid: Some(kid.to_owned()), ..Header::new(EdDSA) }, &claims)
    }

    #[test]
    fn without_a_key_id_every_key_of_the_algorithm_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let ((old_key, old), (new_key, new)) = (ed25519(dir.path(), "old"), ed25519(dir.path(), "new"));
        let verifier = verifier(&[&old, &format!("k2={new}")]).unwrap();
        for key in [&old_key, &new_key] {
            let token = token(key, "quoth", NOW_S);
            assert_eq!(verifier.verify(&token, NOW_S * 1_000).unwrap().grant.user.to_string(), "alice");
        }
        assert!(verifier.identity(&with_kid(&new_key, "k2"), NOW_S).is_ok());
        assert_eq!(verifier.identity(&with_kid(&old_key, "k2"), NOW_S), Err(Rejection::Signature));
    }

    #[test]
    fn a_rejection_has_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (key, spec) = ed25519(dir.path(), "own");
        let (foreign, _) = ed25519(dir.path(), "foreign");
        let secret = file(dir.path(), "secret", SECRET);
        let verifier = verifier(&[&spec, &format!("k={}", spec.replace("own", "foreign"))]).unwrap();
        let user = UserId::new("alice").unwrap();
        let symmetric = issue(&secret, HS256, "quoth", &user, Rights::default(), NOW_S).unwrap();
        let unsigned = token(&key, "quoth", NOW_S).rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
        let claims = |claims| with_header(&key, &Header::new(EdDSA), &claims);
        let long = "i".repeat(1_000);
        let cases = [
            ("not a token".to_owned(), Rejection::NoToken),
            (with_kid(&key, "gone"), Rejection::UnknownKeyId("gone".to_owned())),
            (with_kid(&key, &long), Rejection::UnknownKeyId(long[..64].to_owned())),
            (symmetric, Rejection::NoKey(HS256)),
            (with_kid(&key, "k"), Rejection::Signature),
            (unsigned, Rejection::Signature),
            (token(&foreign, "other", NOW_S), Rejection::Audience),
            (claims(json!({"sub": "alice", "exp": NOW_S})), Rejection::Missing("aud".to_owned())),
            (claims(json!({"aud": "quoth", "sub": "alice", "exp": 1e18})), Rejection::Time("exp")),
            (token(&key, "quoth", NOW_S - 40), Rejection::Expired { user: user.clone(), ago_s: 40 }),
            (
                claims(json!({"aud": "quoth", "sub": "alice", "exp": NOW_S, "nbf": NOW_S + 40})),
                Rejection::NotYet { user, in_s: 10 },
            ),
        ];
        for (token, expected) in cases {
            let code = expected.code();
            assert_eq!(verifier.identity(&token, NOW_S * 1_000), Err(expected), "{token}");
            assert_eq!(verifier.verify(&token, NOW_S * 1_000), Err(code), "{token}");
        }
        let expired = token(&key, "quoth", NOW_S - 40);
        assert_eq!(verifier.verify(&expired, NOW_S * 1_000), Err(Code::TOKEN_EXPIRED));
    }

    #[test]
    fn an_algorithm_of_the_token_never_replaces_that_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let (_, spec) = ed25519(dir.path(), "public");
        let public = fs::read(dir.path().join("public.pem")).unwrap();
        let header = Header { kid: Some("k".to_owned()), ..Header::new(HS256) };
        let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
        let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&public)).unwrap();
        let verifier = verifier(&[&format!("k={spec}")]).unwrap();
        let expected = Rejection::Algorithm { token: HS256, key: EdDSA };
        assert_eq!(verifier.identity(&forged, NOW_S), Err(expected));
    }

    #[test]
    fn a_key_that_is_not_what_it_says_is_refused_at_load() {
        let dir = tempfile::tempdir().unwrap();
        let (private, spec) = ed25519(dir.path(), "a");
        let short = file(dir.path(), "short", &format!("{}   \n", &SECRET[..31]));
        let long = file(dir.path(), "long", &format!("{SECRET}\n"));
        let above = file(dir.path(), "above", &format!("# ours\n{}", fs::read_to_string(&private).unwrap()));
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p256: PublicKeyX509Der<'_> = p256.public_key().as_der().unwrap();
        let p256 = file(dir.path(), "p256.pem", &pem("PUBLIC KEY", p256.as_ref()));
        for (specs, reason) in [
            (vec![spec.replace("EdDSA", "HS256")], "is a PEM file and no HS256 secret"),
            (vec![format!("HS256:{}", above.display())], "is a PEM file and no HS256 secret"),
            (vec![format!("HS256:{}", short.display())], "needs at least 32 bytes"),
            (vec![format!("EdDSA:{}", p256.display())], "is no public key for EdDSA"),
            (vec![format!("EdDSA:{}", private.display())], "is no public key for EdDSA"),
            (vec![format!("k={spec}"), format!("k=HS256:{}", long.display())], "two token keys have the id"),
        ] {
            let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
            let error = verifier(&specs).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        verifier(&[&format!("HS256:{}", long.display()), &format!("ES256:{}", p256.display())]).unwrap();
        for broken in ["=EdDSA:x.pem", "EdDSA:", "HS384:x", "x.pem"] {
            broken.parse::<KeySpec>().unwrap_err();
        }
        let user = UserId::new("alice").unwrap();
        for key in [&private, &short] {
            issue(key, HS256, "quoth", &user, Rights::default(), NOW_S).unwrap_err();
        }
        issue(&long, ES256, "quoth", &user, Rights::default(), NOW_S).unwrap_err();
    }
}
