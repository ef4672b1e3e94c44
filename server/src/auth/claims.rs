//! What a token says, read for whoever looks for a mistake in it: nothing here is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Characters of a user that are logged: as many as an id may have, too few to fill a disk.
const USER_CHARS_MAX: usize = 64;

/// Whose a token says to be. Whoever has sent it can write what they like there.
pub(super) fn user(token: &str) -> Option<String> {
    let claims = payload(token)?;
    claims["sub"].as_str().map(|user| user.chars().take(USER_CHARS_MAX).collect())
}

/// Which claim is not of its type, and of which it is to be, or which one is missing that each token has.
pub(super) fn wrong(token: &str) -> Option<String> {
    let claims = payload(token)?;
    let Some(claims) = claims.as_object() else { return Some("they are no JSON object".to_owned()) };
    let expected = |name: &str, value: &Value| {
        let is_texts = || value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string));
        match name {
            "sub" => (!value.is_string()).then_some("a text"),
            "exp" => (!value.is_number()).then_some("a number of seconds since 1970"),
            "nbf" | "iat" => {
                (!value.is_number() && !value.is_null()).then_some("a number of seconds since 1970")
            }
            "jti" | "device" => (!value.is_string() && !value.is_null()).then_some("a text"),
            "read" | "write" => (!is_texts() && !value.is_null()).then_some("a list of texts"),
            "publish_as" => (!is_texts()).then_some("a list of texts"),
            "aud" => (!value.is_string() && !is_texts()).then_some("a text or a list of texts"),
            _ => None,
        }
    };
    let mistyped = claims.iter().find_map(|(name, value)| {
        let expected = expected(name, value)?;
        Some(format!("{name} is {}, and must be {expected}", kind(value)))
    });
    // Without one of these it is no token here, whatever else it says.
    let missing = || ["exp", "sub"].into_iter().find(|name| !claims.contains_key(*name));
    mistyped.or_else(|| missing().map(|name| format!("{name} is missing")))
}

/// What a value is, without the value: claims may be secrets.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list of something else",
        Value::Object(_) => "an object",
    }
}

fn payload(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::{user, wrong};

    fn token(claims: &Value) -> String {
        format!("e30.{}.AAAA", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn whose_a_token_is_said_to_be_is_told_in_bounds() {
        assert_eq!(user(&token(&json!({ "sub": "alice" }))).as_deref(), Some("alice"));
        assert_eq!(user(&token(&json!({ "sub": "x".repeat(9_000) }))).map(|user| user.len()), Some(64));
        for nothing in ["", "a.b.c", "a", &token(&json!({ "sub": 7 })), &token(&json!([]))] {
            assert_eq!(user(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_claim_of_another_type_is_named_and_not_quoted() {
        let good = json!({
            "sub": "a", "aud": ["q"], "exp": 1.5, "nbf": null, "iat": 1, "jti": "j", "device": "d", "read": ["*"], "publish_as": [],
            "else": {},
        });
        assert_eq!(wrong(&token(&good)), None);
        for (name, value) in [
            ("exp", json!("soon")),
            ("iat", json!("soon")),
            ("nbf", json!([])),
            ("jti", json!(7)),
            ("device", json!(["soon"])),
            ("read", json!("soon")),
            ("write", json!([1])),
            ("publish_as", json!(null)),
            ("aud", json!({ "soon": 1 })),
            ("sub", json!(true)),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            let told = wrong(&token(&claims)).unwrap();
            assert!(told.starts_with(&format!("{name} is ")) && !told.contains("soon"), "{told}");
        }
        assert!(wrong(&token(&json!([]))).is_some());
        for name in ["exp", "sub"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(wrong(&token(&claims)), Some(format!("{name} is missing")));
        }
    }
}
