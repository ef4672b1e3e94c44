//! Signs what the server sends to backends, as the Standard Webhooks specification has it: libraries for many
//! languages verify it.
//!
//! The header `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over `ID.TIMESTAMP.BODY`, where ID
//! is `webhook-id` and TIMESTAMP `webhook-timestamp`, in seconds since 1970. A repeat has the same id, and a
//! timestamp of its own.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt as _;

/// Begins a secret that is written in base64.
const BASE64_PREFIX: &str = "whsec_";

/// Bytes that a secret has at least and at most; the specification asks for 24 to 64, and a text of 32
/// characters or more is as good.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=256;

/// Signs bodies.
#[derive(Debug, Clone)]
pub(crate) struct Signer(hmac::Key);

impl Signer {
    /// A signer with the secret in a file: `whsec_` and base64, or the text itself without white space around
    /// it.
    ///
    /// # Errors
    /// When it cannot be read or has no secret.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let path = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("the secret {path} cannot be read: {error}"))?;
        Self::new(text.trim()).ok_or_else(|| {
            format!(
                "{path} has no secret for hooks: give whsec_ and the base64 of 24 bytes or more, such as \
                 `echo \"whsec_$(openssl rand -base64 32)\"` prints"
            )
        })
    }

    fn new(text: &str) -> Option<Self> {
        let secret = match text.strip_prefix(BASE64_PREFIX) {
            Some(base64) => STANDARD.decode(base64).ok()?,
            None => text.as_bytes().to_vec(),
        };
        SECRET_BYTES.contains(&secret.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The signature of a body that is sent with this id and time.
    pub(crate) fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// A new secret of 256 random bits.
pub(super) fn make_secret() -> String {
    let secret: [u8; 32] = rand::rng().random();
    format!("{BASE64_PREFIX}{}", STANDARD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::{Signer, make_secret};

    #[test]
    fn it_signs_as_the_specification_says() {
        // The example of the specification and of its libraries.
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_and_its_text_may_be_base64() {
        assert!(Signer::new(&make_secret()).is_some());
        assert!(Signer::new(&"s".repeat(32)).is_some());
        for wrong in ["", "short", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, and long enough"] {
            assert!(Signer::new(wrong).is_none(), "{wrong}");
        }
    }
}
