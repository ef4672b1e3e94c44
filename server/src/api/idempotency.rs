//! Keys by which a repeated request is known.

use serde_json::json;

use super::operation::{Call, Parameter};
use super::problem::Problem;

/// The header that the draft `draft-ietf-httpapi-idempotency-key-header` has for it.
pub(super) const HEADER: &str = "Idempotency-Key";

/// Characters of a key.
const CHARS_MAX: usize = 255;

/// The header, with what it does.
pub(super) fn parameter(text: &'static str) -> Parameter {
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": CHARS_MAX, "pattern": "^[!-~]+$" });
    Parameter { name: HEADER, place: "header", text, schema }
}

/// The key in the header, if there is one.
pub(super) fn key(call: &Call) -> Result<Option<&str>, Problem> {
    let key = call.header(HEADER)?;
    key.map(|key| check(key).map(|()| key)).transpose()
}

/// Whether this is a key.
pub(super) fn check(key: &str) -> Result<(), Problem> {
    let is_key = (1..=CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_key.then_some(()).ok_or_else(|| {
        Problem::invalid(format!(
            "an idempotency key has 1 to {CHARS_MAX} visible characters of ASCII, such as a UUID"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::{CHARS_MAX, check};

    #[test]
    fn a_key_has_so_many_characters_and_no_more() {
        assert_eq!(check(&"k".repeat(CHARS_MAX)), Ok(()));
        for wrong in [String::new(), "k".repeat(CHARS_MAX + 1), "a b".to_owned(), "\u{e9}".to_owned()] {
            assert!(check(&wrong).unwrap_err().detail.contains("1 to 255 visible characters"), "{wrong}");
        }
    }
}
