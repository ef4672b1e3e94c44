//! The keys of a key set over time: what is published, and for a while what was.

use serde::Deserialize;

use super::super::LOGGED_KEY_ID_CHARS_MAX;
use super::super::key::Key;

/// Keys of a set that are taken. More than an issuer has that rotates keys, and few enough to try one after
/// the other.
const KEYS_MAX: usize = 64;

/// What a key set is on the wire (RFC 7517, section 5).
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The usable keys of a document, and why others are none.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) keys: Vec<Key>,
    pub(super) refused: Vec<String>,
}

impl Published {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is no key set, or has no usable key: nobody could sign in, which no issuer means to say.
    pub(super) fn read(document: &[u8]) -> Result<Self, String> {
        let Document { keys: elements } =
            serde_json::from_slice(document).map_err(|error| format!("it is no key set: {error}"))?;
        if elements.len() > KEYS_MAX {
            return Err(format!("it has {} keys, and {KEYS_MAX} are the most", elements.len()));
        }
        let (mut keys, mut refused) = (Vec::<Key>::new(), Vec::new());
        for (at, element) in elements.iter().enumerate() {
            match Key::of_jwk(element) {
                Ok(key) if key.id.is_some() && keys.iter().any(|other| other.id == key.id) => {
                    refused.push(format!("{}: another one has its kid", named(at, element)));
                }
                Ok(key) => keys.push(key),
                Err(reason) => refused.push(format!("{}: {reason}", named(at, element))),
            }
        }
        if elements.is_empty() {
            return Err("it has no key".to_owned());
        }
        if keys.is_empty() {
            return Err(format!("it has no usable key; {}", refused.join("; ")));
        }
        Ok(Self { keys, refused })
    }
}

/// A key by its place in the set, and by its kid, which is what its issuer knows it by.
fn named(at: usize, element: &serde_json::Value) -> String {
    match element["kid"].as_str() {
        Some(kid) => {
            format!("key {at} (kid {:?})", kid.chars().take(LOGGED_KEY_ID_CHARS_MAX).collect::<String>())
        }
        None => format!("key {at}"),
    }
}

/// The keys that tokens may be signed with: those of the set as it was read last, and for a while those that
/// were in it.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    present: Vec<Key>,
    /// With when each stops being one, in milliseconds of any one clock.
    former: Vec<(Key, u64)>,
}

impl KeySet {
    /// Takes what is published at `now_ms`. A key that has vanished goes on for `overlap_ms`: tokens that
    /// were signed with it a moment ago are on their way, and not every copy of a set changes at once.
    pub(super) fn replace(&mut self, keys: Vec<Key>, now_ms: u64, overlap_ms: u64) {
        self.former
            .retain(|(former, ends_ms)| *ends_ms > now_ms && !keys.iter().any(|key| is_same(key, former)));
        for key in std::mem::replace(&mut self.present, keys) {
            if !self.present.iter().any(|other| is_same(other, &key)) && overlap_ms > 0 {
                self.former.push((key, now_ms.saturating_add(overlap_ms)));
            }
        }
        // The oldest go first, so that a set that changes at every look is bounded too.
        self.former.drain(..self.former.len().saturating_sub(KEYS_MAX));
    }

    /// All keys that are in force at `now_ms`, those that are published first.
    pub(super) fn keys(&self, now_ms: u64) -> impl Iterator<Item = &Key> {
        let former = self.former.iter().filter(move |(_, ends_ms)| *ends_ms > now_ms).map(|(key, _)| key);
        self.present.iter().chain(former)
    }
}

/// Whether two keys are one: a set that publishes other bytes under a kid has replaced it.
fn is_same(a: &Key, b: &Key) -> bool {
    use jsonwebtoken::DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
    let is_same_key = match (a.key.kind(), b.key.kind()) {
        (SecretOrDer(a), SecretOrDer(b)) => a == b,
        (RsaModulusExponent { n: a, e: a_e }, RsaModulusExponent { n: b, e: b_e }) => (a, a_e) == (b, b_e),
        _ => false,
    };
    a.id == b.id && a.algorithm == b.algorithm && is_same_key
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use serde_json::{Value, json};

    use super::{KeySet, Published};

    /// An Ed25519 key of which nothing is known but its bytes.
    fn ed25519(kid: &str, x: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x})
    }

    fn published(keys: &[Value]) -> Published {
        Published::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn ids(set: &KeySet, now_ms: u64) -> Vec<String> {
        set.keys(now_ms).map(|key| key.id.clone().unwrap_or_default()).collect()
    }

    const A: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const B: &str = "7XA2zaLK7WmX0BCvVx4rTsHtJjKZBtFqIzWDbJcUOhk";

    #[test]
    fn a_key_that_is_not_taken_is_named_as_its_issuer_knows_it() {
        let set = published(&[
            ed25519("a", A),
            ed25519("a", B),
            json!({"kty": "oct", "kid": "k"}),
            json!({"kty": "oct"}),
        ]);
        let starts = ["key 1 (kid \"a\"): ", "key 2 (kid \"k\"): ", "key 3: "];
        for (told, start) in set.refused.iter().zip(starts) {
            assert!(told.starts_with(start), "{told}");
        }
        assert_eq!(set.refused.len(), starts.len());
    }

    #[test]
    fn a_key_that_vanishes_goes_on_for_the_overlap_and_no_longer() {
        let mut set = KeySet::default();
        set.replace(published(&[ed25519("a", A)]).keys, 0, 100);
        set.replace(published(&[ed25519("b", B)]).keys, 50, 100);
        assert_eq!(ids(&set, 50), ["b", "a"]);
        assert_eq!(ids(&set, 149), ["b", "a"]);
        assert_eq!(ids(&set, 150), ["b"]);
        set.replace(published(&[ed25519("a", A)]).keys, 60, 100);
        assert_eq!(ids(&set, 60), ["a", "b"], "it has come back, and is there once");
        set.replace(published(&[ed25519("a", B)]).keys, 61, 100);
        assert_eq!(
            set.keys(61).filter(|key| key.id.as_deref() == Some("a")).count(),
            2,
            "other bytes under a kid"
        );
        let mut strict = KeySet::default();
        strict.replace(published(&[ed25519("a", A)]).keys, 0, 0);
        strict.replace(published(&[ed25519("b", B)]).keys, 0, 0);
        assert_eq!(ids(&strict, 0), ["b"], "without an overlap it ends at once");
    }

    #[test]
    fn former_keys_are_bounded() {
        let mut set = KeySet::default();
        for n in 0..1_000 {
            set.replace(published(&[ed25519(&n.to_string(), A)]).keys, n, u64::MAX);
        }
        assert_eq!(set.keys(1_000).count(), 65);
        assert_eq!(ids(&set, 1_000)[..2], ["999", "935"]);
    }

    #[test]
    fn a_key_that_is_not_meant_for_it_is_refused_alone() {
        let with = |name: &str, value: Value| {
            let mut key = ed25519("k", A);
            key[name] = value;
            key
        };
        let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": A, "y": B});
        let p384 = json!({"kty": "EC", "crv": "P-384", "kid": "p", "x": A, "y": B});
        let mut p256_as_eddsa = p256.clone();
        p256_as_eddsa["alg"] = json!("EdDSA");
        let mut p256_as_es384 = p256.clone();
        p256_as_es384["alg"] = json!("ES384");
        let short =
            json!({"kty": "RSA", "alg": "RS256", "n": "ALqq".to_owned() + &"q".repeat(168), "e": "AQAB"});
        let mut short_without_alg = short.clone();
        short_without_alg.as_object_mut().unwrap().remove("alg");
        for (key, reason) in [
            (json!({"kty": "oct", "alg": "HS256", "k": A}), "symmetric"),
            (with("d", json!(B)), "private key"),
            (p384, "has no `alg`"),
            (p256_as_eddsa, "no key for its `alg`"),
            (p256_as_es384, "no key for its `alg`"),
            (with("alg", json!("HS256")), "no key for its `alg`"),
            (with("use", json!("enc")), "its `use`"),
            (with("key_ops", json!(["sign"])), "its `key_ops`"),
            (short.clone(), "bits"),
            (short_without_alg, "bits"),
            (json!({"kty": "RSA", "alg": "RS256", "n": "AQAB"}), "it is no key"),
            (json!("text"), "it is no key"),
            (ed25519("good", B), "another one has its kid"),
        ] {
            let read = published(&[ed25519("good", A), key.clone()]);
            assert_eq!(read.keys.len(), 1, "{key}");
            assert!(
                read.refused.len() == 1 && read.refused[0].contains(reason),
                "{:?} for {key}",
                read.refused
            );
        }
        let good = published(&[with("use", json!("sig")), ed25519("b", B)]);
        assert_eq!((good.keys.len(), good.refused.len()), (2, 0));
        assert_eq!(published(&[with("key_ops", json!(["verify"]))]).keys.len(), 1);
    }

    #[test]
    fn a_key_that_does_not_say_its_algorithm_is_for_the_one_of_its_kind() {
        let mut ed25519 = ed25519("e", A);
        ed25519.as_object_mut().unwrap().remove("alg");
        let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": A, "y": B});
        // 256 bytes, odd.
        let modulus = "q".repeat(341) + "Q";
        let rsa = json!({"kty": "RSA", "kid": "r", "n": modulus, "e": "AQAB"});
        let read = published(&[ed25519, p256, rsa]);
        let algorithms: Vec<_> = read.keys.iter().map(|key| key.algorithm).collect();
        assert_eq!(algorithms, [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256], "{:?}", read.refused);
    }

    #[test]
    fn what_has_no_usable_key_is_no_set() {
        for (document, reason) in [
            ("<html>", "no key set"),
            ("{}", "no key set"),
            (r#"{"keys":[]}"#, "it has no key"),
            (r#"{"keys":[{"kty":"oct","k":"AAAA","alg":"HS256"}]}"#, "symmetric"),
        ] {
            let error = Published::read(document.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let many: Vec<Value> = (0..65).map(|n| ed25519(&n.to_string(), A)).collect();
        let error = Published::read(json!({ "keys": many }).to_string().as_bytes()).unwrap_err();
        assert!(error.contains("65 keys"), "{error}");
    }
}
