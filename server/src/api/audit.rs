//! Which key has changed what, and who has come without one: lines of the log with the target `audit`, which
//! a filter can send elsewhere.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::Value;

use super::keys::Caller;
use super::operation::Operation;

/// Characters of a request that are logged.
const REQUEST_CHARS_MAX: usize = 512;

/// Fields with the text of a message.
const TEXTS: [&str; 2] = ["text", "base64"];

/// Between two lines about requests without a good key, at least: who sends many must not fill a disk.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Whether what an operation does is told. What is published has its sender in the conversation, where
/// everybody finds it.
fn is_told(operation: &Operation) -> bool {
    operation.method != Method::GET && !operation.path.starts_with("/v1/publish")
}

/// Tells of a change that was asked for, done or not.
pub(super) fn changed(
    operation: &Operation,
    caller: &Caller,
    uri: &Uri,
    body: &[u8],
    status: StatusCode,
    code: &str,
) {
    if !is_told(operation) {
        return;
    }
    let request = request(body);
    tracing::info!(
        target: "audit",
        key = %caller.name,
        operation = operation.id,
        path = uri.path(),
        request,
        status = status.as_u16(),
        code,
        "a change by the server API"
    );
}

/// A body as it is logged: in one line, not without end, and without what somebody says, which must not
/// outlive its message.
fn request(body: &[u8]) -> String {
    let mut said = serde_json::from_slice::<Value>(body).unwrap_or_default();
    if let Some(fields) = said.as_object_mut() {
        for text in TEXTS {
            fields.remove(text);
        }
    }
    let said = if said.is_null() { String::new() } else { said.to_string() };
    said.chars().take(REQUEST_CHARS_MAX).collect()
}

/// Requests without a good key, told in sum.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    since_told: u64,
    told: Option<Instant>,
}

impl Strangers {
    /// Counts one at `now`, and tells of all since the last line if it is time.
    pub(super) fn count(&self, peer: Option<SocketAddr>, uri: &Uri, now: Instant) {
        let Some(count) = self.due(now) else { return };
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::warn!(
            target: "audit",
            peer,
            path = uri.path(),
            count,
            "requests to the server API without a key of api.keys; the last one is named"
        );
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock();
        counted.since_told += 1;
        if counted.told.is_some_and(|told| now.duration_since(told) < TELL_INTERVAL) {
            return None;
        }
        counted.told = Some(now);
        Some(std::mem::take(&mut counted.since_told))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{REQUEST_CHARS_MAX, Strangers, TELL_INTERVAL, request};

    #[test]
    fn what_was_asked_for_is_one_line_that_ends() {
        assert_eq!(request(b"{\n \"reason\": \"a\\nb\"}"), "{\"reason\":\"a\\nb\"}");
        assert_eq!(request(b"no json\n"), "");
        let edit = br#"{"text": "secret", "base64": "c2VjcmV0", "as": "ada"}"#;
        assert_eq!(request(edit), "{\"as\":\"ada\"}");
        let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(9_000));
        assert_eq!(request(long.as_bytes()).len(), REQUEST_CHARS_MAX);
    }

    #[test]
    fn strangers_are_told_of_in_sum() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.due(start), Some(1));
        assert_eq!([strangers.due(start), strangers.due(start)], [None, None]);
        assert_eq!(strangers.due(start + TELL_INTERVAL), Some(3));
    }
}
