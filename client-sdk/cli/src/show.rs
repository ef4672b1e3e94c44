//! Events as text for people and as JSON for programs.

use base64::Engine as _;
use quoth_client::{ClientEvent, Event, EventKind};
use serde_json::{Value, json};

/// One line for an event, or none for what is no event of the log.
pub(crate) fn line(event: &ClientEvent, as_json: bool) -> Option<String> {
    match event {
        ClientEvent::Event(event) if as_json => Some(event_json(event).to_string()),
        ClientEvent::Event(event) => Some(text(event)),
        ClientEvent::Gap { from, to } if as_json => {
            Some(json!({"gap": {"from": from.0, "to": to.0}}).to_string())
        }
        ClientEvent::Gap { from, to } => Some(format!("-- {from} to {to} are gone by retention --")),
        ClientEvent::Unknown { seq, time_ms, sender } if as_json => Some(
            json!({"seq": seq.0, "time_ms": time_ms, "sender": sender.as_str(), "unknown": true}).to_string(),
        ),
        ClientEvent::Unknown { seq, sender, .. } => {
            Some(format!("-- {seq} by {sender} is of an unknown kind --"))
        }
        _ => None,
    }
}

fn event_json(event: &Event) -> Value {
    let EventKind::Message { body } = &event.kind;
    let mut value = json!({
        "seq": event.seq.0,
        "time_ms": event.time_ms,
        "sender": event.sender.as_str(),
        "origin_time_ms": event.origin_time_ms,
    });
    match std::str::from_utf8(body) {
        Ok(text) => value["body"] = json!(text),
        Err(_) => value["body_base64"] = json!(base64::engine::general_purpose::STANDARD.encode(body)),
    }
    value
}

fn text(event: &Event) -> String {
    let EventKind::Message { body } = &event.kind;
    let minutes = event.origin_time_ms.unwrap_or(event.time_ms) / 60_000;
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    format!("[{hour:02}:{minute:02}] <{}> {}", event.sender, harmless(&String::from_utf8_lossy(body)))
}

/// Shows control characters, so that no message can command the terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_client::{ClientEvent, Event, EventKind, Seq, UserId};

    use super::line;

    fn event(body: &[u8]) -> ClientEvent {
        ClientEvent::Event(Event {
            seq: Seq(3),
            time_ms: 0,
            sender: UserId::new("bob").unwrap(),
            origin_time_ms: Some(9 * 3_600_000 + 14 * 60_000),
            kind: EventKind::Message { body: Bytes::copy_from_slice(body) },
        })
    }

    #[test]
    fn terminals_are_not_commanded_and_json_is_exact() {
        assert_eq!(line(&event(b"a\x1b[2J"), false).unwrap(), "[09:14] <bob> a\\u{1b}[2J");
        assert!(line(&event(b"a\x1b"), true).unwrap().contains(r#""body":"a\u001b""#));
        assert!(line(&event(&[0xFF]), true).unwrap().contains(r#""body_base64":"/w==""#));
    }
}
