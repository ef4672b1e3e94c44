//! Keys that tokens may be signed with, each for one algorithm.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{PublicEncryptingKey, PublicKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

use super::KeySpec;

/// Bytes that an HS256 secret needs: those of its hash (RFC 7518, section 3.2).
const HMAC_SECRET_BYTES_MIN: usize = 32;

/// Bits that an RSA key needs (RFC 7518, section 3.3), and bits that it may have: the work for a signature
/// grows with their square.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    /// The `kid` of tokens signed with it.
    pub(super) id: Option<String>,
    /// The one algorithm that it is for.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for Key {
    /// Without the key, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// The key in a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no key of its algorithm.
    pub(super) fn load(spec: &KeySpec) -> Result<Self, String> {
        let (algorithm, file) = (spec.algorithm, spec.file.display());
        let bytes = std::fs::read(&spec.file)
            .map_err(|error| format!("the token key {file} cannot be read: {error}"))?;
        let no_key = || {
            format!(
                "{file} is no public key for {algorithm:?} in PEM: if it is the private one, the public half is what \
                 `openssl pkey -in {file} -pubout` prints"
            )
        };
        let key = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&bytes).map_err(|_| no_key())?,
            Algorithm::ES256 => {
                let key = DecodingKey::from_ec_pem(&bytes).map_err(|_| no_key())?;
                if !is_fit_ec(&key) {
                    return Err(format!(
                        "{file} is a key of another curve than P-256, and ES256 signs with that one only: make one with \
                         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
                    ));
                }
                key
            }
            Algorithm::RS256 => {
                let key = DecodingKey::from_rsa_pem(&bytes).map_err(|_| no_key())?;
                if !is_fit_rsa(&key) {
                    return Err(format!("{}, or {}", no_key(), rsa_expected()));
                }
                key
            }
            _ => DecodingKey::from_secret(hmac_secret(&spec.file, &bytes)?),
        };
        Ok(Self { id: spec.id.clone(), algorithm, key })
    }

    /// The key in an element of a key set (RFC 7517).
    ///
    /// # Errors
    /// Why tokens may not be signed with it: whoever can write the set must not be able to make one key do
    /// for another, so each is for one algorithm.
    pub(super) fn of_jwk(jwk: &serde_json::Value) -> Result<Self, String> {
        if jwk["kty"] == "oct" {
            return Err("it is a symmetric key, which no set that others can read may have".to_owned());
        }
        if jwk.get("d").is_some() {
            return Err(
                "it is a private key: replace it, since whoever reads the set can sign tokens".to_owned()
            );
        }
        let jwk: Jwk =
            serde_json::from_value(jwk.clone()).map_err(|error| format!("it is no key: {error}"))?;
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return Err("its `use` is not `sig`".to_owned());
        }
        if common
            .key_operations
            .as_ref()
            .is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
        {
            return Err("its `key_ops` have no `verify`".to_owned());
        }
        // `alg` is optional (RFC 7517, section 4.4). Without it a key is for the one algorithm that is
        // allowed for its kind, which is no other one than with it: an RSA key never does for HS256 or PS256.
        let algorithm = match (common.key_algorithm, &jwk.algorithm) {
            (Some(KeyAlgorithm::EdDSA) | None, AlgorithmParameters::OctetKeyPair(pair))
                if pair.curve == EllipticCurve::Ed25519 =>
            {
                Algorithm::EdDSA
            }
            (Some(KeyAlgorithm::ES256) | None, AlgorithmParameters::EllipticCurve(key))
                if key.curve == EllipticCurve::P256 =>
            {
                Algorithm::ES256
            }
            (Some(KeyAlgorithm::RS256) | None, AlgorithmParameters::RSA(RSAKeyParameters { .. })) => {
                Algorithm::RS256
            }
            (None, _) => {
                return Err("it is no key of Ed25519, P-256 or RSA, and has no `alg`".to_owned());
            }
            (Some(algorithm), _) => {
                return Err(format!(
                    "it is no key for its `alg`, or {algorithm:?} is none of EdDSA, ES256 and RS256"
                ));
            }
        };
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| format!("it is no key: {error}"))?;
        if algorithm == Algorithm::RS256 && !is_fit_rsa(&key) {
            return Err(rsa_expected());
        }
        Ok(Self { id: common.key_id.clone(), algorithm, key })
    }
}

fn rsa_expected() -> String {
    format!("it is no RSA key of {} to {} bits", RSA_BITS.start(), RSA_BITS.end())
}

/// Whether a key of an elliptic curve is a point of P-256: what reads PEM takes one of any curve.
fn is_fit_ec(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
        DecodingKeyKind::RsaModulusExponent { .. } => false,
    }
}

/// Whether it is an RSA key of a size that signs.
fn is_fit_rsa(key: &DecodingKey) -> bool {
    let public = match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => PublicKey::from_der(der).ok(),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
            parsed.ok().and_then(|parsed| PublicKey::from_der(parsed.as_ref()).ok())
        }
    };
    let der = public.and_then(|public| AsDer::<PublicKeyX509Der<'_>>::as_der(&public).ok());
    // Of an encrypting key the size can be asked; both are the same key.
    let sized = der.and_then(|der| PublicEncryptingKey::from_der(der.as_ref()).ok());
    sized.is_some_and(|key| RSA_BITS.contains(&key.key_size_bits()))
}

/// The HS256 secret in a file: its bytes without white space at the end.
///
/// # Errors
/// When it is too short, or a PEM file: a public key is known to everybody, who could then sign tokens.
pub(super) fn hmac_secret<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let (secret, file) = (bytes.trim_ascii_end(), file.display());
    let pem = b"-----BEGIN ";
    if secret.windows(pem.len()).any(|window| window == pem) {
        return Err(format!(
            "{file} is a PEM file and no HS256 secret: give its algorithm, EdDSA, ES256 or RS256"
        ));
    }
    if secret.len() < HMAC_SECRET_BYTES_MIN {
        return Err(format!(
            "{file} is too short for HS256: a secret needs at least {HMAC_SECRET_BYTES_MIN} bytes"
        ));
    }
    Ok(secret)
}
