//! Verified against keys in files.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256, HS512, RS256};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::{Demands, Rejection, Verifier};
use crate::auth::{Issue, KeySpec, Rights, issue};
use crate::session::{Verification, Verify as _};
use quoth_core::session::Identity;
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
    Verifier::load(demands(None), &specs, None)
}

fn demands(lifetime_max: Option<Duration>) -> Demands {
    Demands { audience: "quoth".to_owned(), lifetime_max, names_freely: false }
}

fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Code> {
    match verifier.verify(token, NOW_S * 1_000) {
        Verification::Ready(verified) => verified,
        Verification::Waits(_) => panic!("there is nothing to wait for"),
    }
}

fn what<'a>(audience: &'a str, user: &'a UserId, expires_s: u64) -> Issue<'a> {
    let rights = Rights::default();
    Issue { audience, user, device: None, rights, token_id: None, issued_s: NOW_S, expires_s }
}

fn token(key: &Path, audience: &str, expires_s: u64) -> String {
    let user = UserId::new("alice").unwrap();
    issue(key, EdDSA, what(audience, &user, expires_s)).unwrap()
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
        assert_eq!(verify(&verifier, &token).unwrap().grant.user.to_string(), "alice");
    }
    assert!(verifier.0.identity(&with_kid(&new_key, "k2"), NOW_S).is_ok());
    assert_eq!(verifier.0.identity(&with_kid(&old_key, "k2"), NOW_S), Err(Rejection::Signature));
}

#[test]
fn a_rejection_has_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let (foreign, _) = ed25519(dir.path(), "foreign");
    let secret = file(dir.path(), "secret", SECRET);
    let verifier = verifier(&[&spec, &format!("k={}", spec.replace("own", "foreign"))]).unwrap();
    let user = UserId::new("alice").unwrap();
    let symmetric = issue(&secret, HS256, what("quoth", &user, NOW_S)).unwrap();
    let unsigned = token(&key, "quoth", NOW_S).rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
    let claims = |claims| with_header(&key, &Header::new(EdDSA), &claims);
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(EdDSA) };
    let critical = with_header(&key, &critical, &json!({"aud": "quoth", "sub": "alice", "exp": NOW_S}));
    let long = "i".repeat(1_000);
    let cases = [
        ("not a token".to_owned(), Rejection::NoToken),
        (critical, Rejection::Critical),
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
            Rejection::NotYet { user: user.clone(), in_s: 10 },
        ),
        (
            claims(json!({"aud": "quoth", "sub": "alice", "exp": NOW_S + 90, "iat": NOW_S + 31})),
            Rejection::IssuedLater { user, in_s: 31 },
        ),
    ];
    for (token, expected) in cases {
        let code = expected.code();
        assert_eq!(verifier.0.identity(&token, NOW_S * 1_000), Err(expected), "{token}");
        assert_eq!(verify(&verifier, &token), Err(code), "{token}");
    }
    let expired = token(&key, "quoth", NOW_S - 40);
    assert_eq!(verify(&verifier, &expired), Err(Code::TOKEN_EXPIRED));
    let fast_clock = claims(json!({"aud": "quoth", "sub": "alice", "exp": NOW_S + 90, "iat": NOW_S + 30}));
    assert!(verify(&verifier, &fast_clock).is_ok());
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
    assert_eq!(verifier.0.identity(&forged, NOW_S), Err(expected));
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
        issue(key, HS256, what("quoth", &user, NOW_S)).unwrap_err();
    }
    issue(&long, ES256, what("quoth", &user, NOW_S)).unwrap_err();
}

#[test]
fn an_rsa_key_signs_if_it_has_2048_bits() {
    let dir = tempfile::tempdir().unwrap();
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let public = file(dir.path(), "rsa.pem", &pem("PUBLIC KEY", public.as_ref()));
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let private = file(dir.path(), "rsa-key.pem", &pem("PRIVATE KEY", private.as_ref()));
    let spec = format!("r=RS256:{}", public.display());
    let user = UserId::new("alice").unwrap();
    let token = issue(&private, RS256, what("quoth", &user, NOW_S)).unwrap();
    let own = verifier(&[&format!("RS256:{}", public.display())]).unwrap();
    assert_eq!(verify(&own, &token).unwrap().grant.user, user);
    let other = issue(&private, RS256, what("quoth", &UserId::new("bob").unwrap(), NOW_S)).unwrap();
    let (said, signature) = (token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(verify(&own, &format!("{said}.{signature}")), Err(Code::TOKEN_REJECTED));
    // The public key is known to everybody: it must be no secret.
    let header = Header { kid: Some("r".to_owned()), ..Header::new(HS256) };
    let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
    let secret = EncodingKey::from_secret(&fs::read(&public).unwrap());
    let forged = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    let expected = Rejection::Algorithm { token: HS256, key: RS256 };
    assert_eq!(verifier(&[&spec]).unwrap().0.identity(&forged, NOW_S), Err(expected));
    let components = RsaPublicKeyComponents { n: vec![0xB5; 128], e: vec![1, 0, 1] };
    let short = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).unwrap();
    let short = file(dir.path(), "short.pem", &pem("PUBLIC KEY", short.as_ref()));
    for (path, reason) in
        [(&short, "no RSA key of 2048 to 8192 bits"), (&private, "is no public key for RS256")]
    {
        let error = verifier(&[&format!("RS256:{}", path.display())]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_claim_of_another_type_is_no_claim() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let verifier = verifier(&[&spec]).unwrap();
    let claims = |name: &str, value: serde_json::Value| {
        let mut claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
        claims[name] = value;
        with_header(&key, &Header::new(EdDSA), &claims)
    };
    let later = (NOW_S + 1_000).to_string();
    for (name, value) in [
        ("exp", json!(later)),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("iat", json!(later)),
        ("iat", json!(-1)),
        ("nbf", json!(later)),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(129))),
        ("device", json!("")),
        ("device", json!(["phone"])),
        ("sub", json!("")),
    ] {
        assert_eq!(
            verify(&verifier, &claims(name, value.clone())),
            Err(Code::TOKEN_REJECTED),
            "{name}: {value}"
        );
    }
    for missing in ["exp", "sub", "aud"] {
        let mut claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
        claims.as_object_mut().unwrap().remove(missing);
        let token = with_header(&key, &Header::new(EdDSA), &claims);
        assert_eq!(verify(&verifier, &token), Err(Code::TOKEN_REJECTED), "{missing}");
    }
    let full = json!({"aud": ["other", "quoth"], "sub": "alice", "exp": NOW_S + 1, "iat": NOW_S, "jti": "t1", "device": "phone"});
    let identity = verify(&verifier, &with_header(&key, &Header::new(EdDSA), &full)).unwrap();
    assert_eq!((identity.issued_ms, identity.token_id.as_deref()), (NOW_S * 1_000, Some("t1")));
    assert_eq!(identity.device.unwrap().as_str(), "phone");
}

#[test]
fn a_token_lives_no_longer_than_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let specs = [spec.parse().unwrap()];
    let verifier = Verifier::load(demands(Some(Duration::from_secs(600))), &specs, None).unwrap();
    let lives = |s: u64| verifier.0.identity(&token(&key, "quoth", NOW_S + s), NOW_S * 1_000);
    assert!(lives(600).is_ok());
    let user = UserId::new("alice").unwrap();
    assert_eq!(lives(601), Err(Rejection::LivesTooLong { user, lives_s: 601, max_s: 600 }));
    let without = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S + 1});
    let without = with_header(&key, &Header::new(EdDSA), &without);
    assert_eq!(verifier.0.identity(&without, NOW_S * 1_000), Err(Rejection::NoIssueTime));
}

#[test]
fn keys_are_read_again_and_a_broken_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ((old_key, spec), (new_key, _)) = (ed25519(dir.path(), "a"), ed25519(dir.path(), "b"));
    let (public, secret) = (dir.path().join("a.pem"), file(dir.path(), "secret", SECRET));
    let verifier = verifier(&[&spec, &format!("HS256:{}", secret.display())]).unwrap();
    let is_good = |key: &Path| verify(&verifier, &token(key, "quoth", NOW_S)).is_ok();
    // What is broken in one file keeps what has changed in another one out, too.
    fs::copy(dir.path().join("b.pem"), &public).unwrap();
    fs::write(&secret, "short").unwrap();
    let error = verifier.reload().unwrap_err();
    assert!(error.contains("needs at least 32 bytes"), "{error}");
    assert_eq!((is_good(&old_key), is_good(&new_key)), (true, false));
    fs::write(&secret, SECRET).unwrap();
    assert_eq!(verifier.reload(), Ok(2));
    assert_eq!((is_good(&old_key), is_good(&new_key)), (false, true));
}

#[test]
fn a_claim_of_another_type_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S, "device": ["phone"]});
    let token = with_header(&key, &Header::new(EdDSA), &claims);
    let Err(rejection) = verifier(&[&spec]).unwrap().0.identity(&token, NOW_S) else { panic!("it is taken") };
    let told = rejection.to_string();
    assert!(told.contains("device is a list") && told.contains("must be a text"), "{told}");
}

#[test]
fn a_token_without_its_user_or_its_end_says_which_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let verifier = verifier(&[&spec]).unwrap();
    for (claims, missing) in [
        (json!({"aud": "quoth", "sub": "alice"}), "exp is missing"),
        (json!({"aud": "quoth", "exp": NOW_S}), "sub is missing"),
    ] {
        let token = with_header(&key, &Header::new(EdDSA), &claims);
        let told = verifier.0.identity(&token, NOW_S).unwrap_err().to_string();
        assert!(told.contains(missing), "{told}");
    }
}

#[test]
fn an_algorithm_that_no_key_is_for_is_refused_whatever_key_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let secret = file(dir.path(), "secret", SECRET);
    let verifier = verifier(&[&format!("hmac=HS256:{}", secret.display())]).unwrap();
    for kid in [None, Some("hmac"), Some("else")] {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(HS512) };
        let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_S});
        let token =
            jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        assert_eq!(verifier.0.identity(&token, NOW_S).unwrap_err(), Rejection::Unsupported(HS512), "{kid:?}");
    }
}

#[test]
fn a_key_of_another_curve_is_none_for_es256() {
    let dir = tempfile::tempdir().unwrap();
    let spec = |name: &str, signing: &'static EcdsaSigningAlgorithm| {
        let key = EcdsaKeyPair::generate(signing).unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        format!("ES256:{}", file(dir.path(), name, &pem("PUBLIC KEY", public.as_ref())).display())
    };
    verifier(&[&spec("p256.pem", &ECDSA_P256_SHA256_FIXED_SIGNING)]).unwrap();
    for (name, signing) in
        [("p384.pem", &ECDSA_P384_SHA384_FIXED_SIGNING), ("k256.pem", &ECDSA_P256K1_SHA256_FIXED_SIGNING)]
    {
        let error = verifier(&[&spec(name, signing)]).unwrap_err();
        assert!(error.contains(name) && error.contains("ec_paramgen_curve:P-256"), "{error}");
    }
}

#[test]
fn a_signing_key_in_another_form_says_how_it_is_made_fit() {
    let dir = tempfile::tempdir().unwrap();
    let user = UserId::new("alice").unwrap();
    let sec1 = file(dir.path(), "sec1.pem", &pem("EC PRIVATE KEY", b"nothing"));
    let error = issue(&sec1, ES256, what("quoth", &user, NOW_S)).unwrap_err();
    assert!(error.contains("PKCS#8") && error.contains("openssl pkcs8 -topk8 -nocrypt"), "{error}");
}

#[test]
fn a_token_that_ends_before_it_was_issued_does_not_live_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    let specs = [spec.parse().unwrap()];
    let verifier = Verifier::load(demands(Some(Duration::from_secs(60))), &specs, None).unwrap();
    let of = |exp: u64, iat: u64| {
        let claims = json!({"aud": "quoth", "sub": "alice", "exp": exp, "iat": iat});
        verifier.0.identity(&with_header(&key, &Header::new(EdDSA), &claims), NOW_S * 1_000)
    };
    assert!(of(NOW_S - 10, NOW_S + 20).is_ok(), "within the leeway");
    assert!(of(NOW_S + 60, NOW_S).is_ok());
    assert!(matches!(of(NOW_S + 61, NOW_S), Err(Rejection::LivesTooLong { lives_s: 61, .. })));
}

#[test]
fn what_a_token_is_silent_about_is_named_as_it_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let (key, spec) = ed25519(dir.path(), "own");
    for names_freely in [false, true] {
        let demands = Demands { names_freely, ..demands(None) };
        let verifier = Verifier::load(demands, &[spec.parse().unwrap()], None).unwrap();
        assert_eq!(verify(&verifier, &token(&key, "quoth", NOW_S)).unwrap().grant.names_freely, names_freely);
    }
}
