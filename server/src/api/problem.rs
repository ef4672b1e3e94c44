//! Refusals as RFC 9457 has them: `application/problem+json` with a code for programs, and a text that says
//! what to do.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use quoth_protocol::{Action, Code};
use serde_json::json;

/// When to try again what was too much at the moment, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) status: StatusCode,
    /// For programs: the name of a code of the protocol in lower case, or one of this API's own.
    pub(super) code: String,
    /// For people.
    pub(super) detail: String,
    pub(super) header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), detail: detail.into(), header: None }
    }

    /// What was sent is not what is wanted.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Too much at the moment.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(RETRY_AFTER_S)
    }

    /// No key, or one that is not known.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        let header = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Self { header: Some(Box::new(header)), ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail) }
    }

    fn retry_after(self, seconds: u32) -> Self {
        Self { header: Some(Box::new((RETRY_AFTER, HeaderValue::from(seconds)))), ..self }
    }

    /// A refusal by one of the protocol's codes.
    pub(super) fn of(code: Code, retry_after_ms: u32, detail: impl Into<String>) -> Self {
        let problem = Self::new(status(code), &code.name().to_ascii_lowercase(), detail);
        match (code.action(), retry_after_ms) {
            (Action::Retry, 0) => problem.retry_after(RETRY_AFTER_S),
            (_, 0) => problem,
            (_, wait_ms) => problem.retry_after(wait_ms.div_ceil(1_000)),
        }
    }

    /// As it stands in an answer.
    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "title": self.status.canonical_reason().unwrap_or("Refused"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        })
    }

    pub(super) fn answer(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(header) = self.header {
            let (name, value) = *header;
            headers.insert(name, value);
        }
        response
    }
}

/// The status that says the same to a client of HTTP.
fn status(code: Code) -> StatusCode {
    match code {
        Code::INTERNAL => StatusCode::INTERNAL_SERVER_ERROR,
        Code::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        Code::STALE_MESSAGE_ID | Code::ALREADY_EXISTS | Code::LAST_OWNER | Code::TOO_MANY => {
            StatusCode::CONFLICT
        }
        Code::NOT_FOUND_MESSAGE => StatusCode::NOT_FOUND,
        Code::INVALID_REQUEST => StatusCode::BAD_REQUEST,
        Code::RATE_LIMITED | Code::SLOW_MODE => StatusCode::TOO_MANY_REQUESTS,
        code if code.action() == Action::Retry => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}
