//! What a token says of itself, good or not: whose it is, until when, and what it allows. Only the server knows
//! whether that is true. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_client::protocol::Pattern;
use serde::Deserialize;

/// The claims of a token that a client has a use for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Claims {
    /// Whose it is.
    pub(crate) sub: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub(crate) iat: Option<f64>,
    /// When it ends, in seconds since 1970.
    pub(crate) exp: Option<f64>,
    /// The only device that signs in with it; `None`: any.
    pub(crate) device: Option<String>,
    /// Where may be read; `None`: where the bearer's memberships say so.
    pub(crate) read: Option<Vec<String>>,
    /// Where may be written and changed, as `read`.
    pub(crate) write: Option<Vec<String>>,
    /// In whose names may be published.
    pub(crate) publish_as: Option<Vec<String>>,
}

impl Claims {
    /// What a token says; `None` when that cannot be read here.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())?;
        serde_json::from_slice(&claims).ok()
    }

    /// Whether it lets its bearer read a conversation that a membership lets the bearer read.
    pub(crate) fn reads(&self, conversation: &str) -> bool {
        allow(self.read.as_deref(), conversation)
    }

    /// The same of writing and changing.
    pub(crate) fn writes(&self, conversation: &str) -> bool {
        allow(self.write.as_deref(), conversation)
    }
}

fn allow(patterns: Option<&[String]>, conversation: &str) -> bool {
    patterns.is_none_or(|patterns| {
        patterns.iter().any(|pattern| Pattern::new(pattern.as_str()).matches(conversation))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Claims, Engine as _, URL_SAFE_NO_PAD};

    /// A token with this text in its middle.
    pub(crate) fn token(text: &str) -> String {
        format!("head.{}.signature", URL_SAFE_NO_PAD.encode(text))
    }

    /// The claims of such a token.
    pub(crate) fn claims(text: &str) -> Option<Claims> {
        Claims::of(&token(text))
    }

    #[test]
    fn a_token_is_read_without_being_believed() {
        let told = claims(r#"{"sub":"bob","exp":1.5,"device":"lap","aud":["quoth"],"read":["a*"]}"#).unwrap();
        assert_eq!((told.sub.as_deref(), told.exp, told.iat), (Some("bob"), Some(1.5), None));
        assert_eq!((told.device.as_deref(), told.write), (Some("lap"), None));
        for unread in [claims(r#"{"write":7}"#), claims("no claims"), Claims::of("no token"), Claims::of("")]
        {
            assert_eq!(unread, None);
        }
    }

    #[test]
    fn patterns_are_those_of_the_server() {
        for (text, name, expected) in [
            (r#"{"sub":"bob"}"#, "team", true),
            (r#"{"write":[]}"#, "team", false),
            (r#"{"write":["team"]}"#, "team", true),
            (r#"{"write":["team"]}"#, "team/a", false),
            (r#"{"write":["*"],"read":[]}"#, "team", true),
            (r#"{"write":["team/*","x"]}"#, "team/a", true),
            (r#"{"write":["a*b*c"]}"#, "a-b-c", true),
            (r#"{"write":["ab*ba"]}"#, "aba", false),
        ] {
            assert_eq!(claims(text).unwrap().writes(name), expected, "{text} in {name}");
        }
        let reader = claims(r#"{"read":["news-*"],"write":[]}"#).unwrap();
        assert!(reader.reads("news-a") && !reader.reads("team") && !reader.writes("news-a"));
    }
}
