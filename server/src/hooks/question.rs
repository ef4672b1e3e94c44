//! One question and its answer.

use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{Request, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use quoth_protocol::limits::{BODY_BYTES_MAX as MESSAGE_BYTES_MAX, REASON_BYTES_MAX};
use rand::RngExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Signer;
use crate::outbound::Answer;
use crate::secret::hex;

/// An answer, in bytes: the largest message as JSON, in which a byte can have six characters.
pub(super) const BODY_BYTES_MAX: usize = 6 * MESSAGE_BYTES_MAX + 4 * 1024;

/// What a hook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It may happen.
    Allow,
    /// It may happen with this body in place of its own.
    Change(Bytes),
    /// It may not, for this reason.
    Deny(String),
    /// There is no answer, and that means no.
    Unavailable {
        /// When it may be of use to ask again, in milliseconds from now.
        retry_after_ms: u32,
        /// For people.
        reason: &'static str,
    },
}

/// A question.
pub(super) struct Question {
    pub(super) id: String,
    pub(super) time_ms: u64,
    body: Bytes,
}

impl Question {
    pub(super) fn new(kind: &str, data: Value, time_ms: u64) -> Self {
        let random: [u8; 16] = rand::rng().random();
        let id = format!("hook_{}", hex(&random));
        let body = json!({ "id": id, "type": kind, "time_ms": time_ms, "data": data });
        Self { id, time_ms, body: Bytes::from(body.to_string()) }
    }

    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// A request to a backend with a signed body of JSON.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn signed(
    uri: &Uri,
    signer: &Signer,
    id: &str,
    time_ms: u64,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let timestamp_s = time_ms / 1_000;
    Request::post(uri)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("quoth-server/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp_s)
        .header("webhook-signature", signer.sign(id, timestamp_s, &body))
        .body(Full::new(body))
        .map_err(|error| error.to_string())
}

/// What an answer says.
#[derive(Debug, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Allow {},
    Change { body: Body },
    Deny { reason: Option<String> },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Body {
    Text(String),
    Binary { base64: String },
}

/// What an answer means to a question about a message, which may be changed, or about something else.
///
/// # Errors
/// Why it is none.
pub(super) fn judgement(answer: &Answer, is_message: bool) -> Result<Judgement, String> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NO_CONTENT => return Ok(Judgement::Allow),
        status => return Err(format!("it answered with {status} in place of 200 or 204")),
    }
    let said = serde_json::from_slice(&answer.body).map_err(|error| {
        format!("its answer is none of {{\"result\": \"allow\"}}, {{\"result\": \"change\", \"body\": \"text\"}} and {{\"result\": \"deny\", \"reason\": \"text\"}}: {error}")
    })?;
    Ok(match said {
        Said::Allow {} => Judgement::Allow,
        Said::Deny { reason } => Judgement::Deny(shown(&reason.unwrap_or_default())),
        Said::Change { .. } if !is_message => {
            return Err(
                "its answer is a `change`, and there is no message to change: allow or deny it".to_owned()
            );
        }
        Said::Change { body } => {
            let body = match body {
                Body::Text(text) => Bytes::from(text),
                Body::Binary { base64 } => STANDARD
                    .decode(base64)
                    .map(Bytes::from)
                    .map_err(|error| format!("its base64 is none: {error}"))?,
            };
            if body.len() > MESSAGE_BYTES_MAX { too_large() } else { Judgement::Change(body) }
        }
    })
}

/// What an answer means that would put more in a message's place than a message may have: it must not stand
/// as it is, and sending it again changes nothing.
pub(super) fn too_large() -> Judgement {
    tracing::error!(
        "a hook's `change` is over {MESSAGE_BYTES_MAX} bytes, which no message may have: what it was asked about is refused"
    );
    Judgement::Deny(format!("what is to stand in its place has over {MESSAGE_BYTES_MAX} bytes"))
}

/// What people are shown of a reason.
fn shown(reason: &str) -> String {
    let mut shown = String::new();
    for c in reason.chars().filter(|c| !c.is_control()) {
        if shown.len() + c.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        shown.push(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use bytes::Bytes;

    use super::{Judgement, MESSAGE_BYTES_MAX, REASON_BYTES_MAX, judgement};
    use crate::outbound::Answer;

    fn of(status: StatusCode, body: &str) -> Result<Judgement, String> {
        judgement(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) }, true)
    }

    #[test]
    fn an_answer_says_what_becomes_of_it() {
        let ok = |body| of(StatusCode::OK, body).unwrap();
        assert_eq!(ok(r#"{"result": "allow"}"#), Judgement::Allow);
        assert_eq!(of(StatusCode::NO_CONTENT, ""), Ok(Judgement::Allow));
        assert_eq!(ok(r#"{"result": "change", "body": "b"}"#), Judgement::Change("b".into()));
        assert_eq!(
            ok(r#"{"result": "change", "body": {"base64": "AAE="}}"#),
            Judgement::Change(Bytes::from_static(&[0, 1]))
        );
        assert_eq!(ok("{\"result\": \"deny\", \"reason\": \"no\\u0007\"}"), Judgement::Deny("no".to_owned()));
        assert_eq!(ok(r#"{"result": "deny"}"#), Judgement::Deny(String::new()));
        let long = format!(r#"{{"result": "deny", "reason": "{}"}}"#, "€".repeat(REASON_BYTES_MAX));
        assert_eq!(ok(&long), Judgement::Deny("€".repeat(REASON_BYTES_MAX / 3)));
    }

    #[test]
    fn a_change_over_the_largest_message_is_a_no() {
        let change =
            |bytes: usize| format!("{{\"result\": \"change\", \"body\": \"{}\"}}", "x".repeat(bytes));
        assert!(matches!(of(StatusCode::OK, &change(MESSAGE_BYTES_MAX)), Ok(Judgement::Change(_))));
        let Ok(Judgement::Deny(reason)) = of(StatusCode::OK, &change(MESSAGE_BYTES_MAX + 1)) else {
            panic!("it is asked about again and again")
        };
        assert!(reason.contains("65536"), "{reason}");
    }

    #[test]
    fn only_a_message_is_changed() {
        let of = |body: &'static str| {
            judgement(&Answer { status: StatusCode::OK, body: Bytes::from_static(body.as_bytes()) }, false)
        };
        assert!(of(r#"{"result": "change", "body": "b"}"#).unwrap_err().contains("allow or deny"));
        assert_eq!(of(r#"{"result": "allow"}"#), Ok(Judgement::Allow));
        assert_eq!(of(r#"{"result": "deny"}"#), Ok(Judgement::Deny(String::new())));
    }

    #[test]
    fn what_is_no_answer_is_a_failure_and_never_a_yes() {
        for body in [
            "",
            "null",
            "{}",
            r#"{"result": "yes"}"#,
            r#"{"result": "change"}"#,
            "{\"result\": \"allow\", \"x\": 1}",
        ] {
            of(StatusCode::OK, body).unwrap_err();
        }
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND, StatusCode::NOT_FOUND] {
            assert!(of(status, r#"{"result": "allow"}"#).unwrap_err().contains("200 or 204"));
        }
    }
}
