//! The schemas of bodies and answers. A test sends requests that fit them and finds no answer that does not.

use quoth_protocol::limits::BODY_BYTES_MAX;
use serde_json::{Value, json};

/// All of them, by their names.
pub(super) fn all() -> Value {
    let mut schemas = json!({
        "Problem": object(&["title", "status", "code", "detail"], json!({
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "for programs" },
            "detail": { "type": "string", "description": "for people: the reason and what to do" },
        })),
        "Seq": { "type": "integer", "minimum": 0 },
        "TimeMs": { "type": "integer", "minimum": 0, "description": "milliseconds since 1970" },
        "Count": { "type": "integer", "minimum": 0 },
        "Text": { "type": "string" },
        "Document": { "type": "object" },
        "Health": object(&["status"], json!({ "status": { "const": "serving" } })),
    });
    for more in [publish(), history(), stats()] {
        if let (Value::Object(all), Value::Object(more)) = (&mut schemas, more) {
            all.extend(more);
        }
    }
    schemas
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn publish() -> Value {
    let message = |required: &[&str], more: Value| {
        let mut properties = json!({
            "text": { "type": "string", "maxLength": BODY_BYTES_MAX, "description": "the body, as UTF-8" },
            "base64": { "type": "string", "contentEncoding": "base64", "description": "the body, in place of text" },
            "publish_as": { "description": "the sender; without it the key's name", "$ref": "#/components/schemas/UserId" },
            "origin_time_ms": {
                "type": "integer", "minimum": 0, "maximum": u64::MAX,
                "description": "when it was first said, for imports, in milliseconds since 1970; only with publish_as",
            },
            "idempotency_key": {
                "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$",
                "description": "see the header Idempotency-Key",
            },
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut properties, more) {
            all.extend(more);
        }
        let mut schema = object(required, properties);
        schema["dependentRequired"] = json!({ "origin_time_ms": ["publish_as"] });
        schema
    };
    let with_body = |mut schema: Value| {
        schema["oneOf"] = json!([{ "required": ["text"] }, { "required": ["base64"] }]);
        schema
    };
    let conversations =
        || json!({ "type": "array", "minItems": 1, "maxItems": 1_000, "items": of("ConversationName") });
    let many = json!({ "conversation": of("ConversationName"), "conversations": conversations() });
    let mut of_batch = message(&[], many);
    of_batch["allOf"] = json!([
        { "oneOf": [{ "required": ["text"] }, { "required": ["base64"] }] },
        { "oneOf": [{ "required": ["conversation"] }, { "required": ["conversations"] }] },
    ]);
    json!({
        "Publish": with_body(message(&["conversation"], json!({ "conversation": of("ConversationName") }))),
        "Broadcast": with_body(message(&["conversations"], json!({ "conversations": conversations() }))),
        "Batch": object(&["messages"], json!({
            "messages": { "type": "array", "minItems": 1, "maxItems": 1_000, "items": of_batch },
        })),
        "Stored": object(&["conversation", "seq", "time_ms", "duplicate"], json!({
            "conversation": of("ConversationName"),
            "seq": of("Seq"),
            "time_ms": of("TimeMs"),
            "duplicate": { "type": "boolean", "description": "whether an earlier request with the same key stored it" },
        })),
        "Refused": object(&["conversation", "problem"], json!({
            "conversation": of("ConversationName"),
            "problem": of("Problem"),
        })),
        "Results": object(&["stored", "refused", "results"], json!({
            "stored": of("Count"),
            "refused": of("Count"),
            "results": {
                "type": "array",
                "description": "one for each message and conversation, in their order",
                "items": { "oneOf": [of("Stored"), of("Refused")] },
            },
        })),
    })
}

fn history() -> Value {
    json!({
        "Event": object(&["seq", "time_ms", "sender", "origin_time_ms", "kind"], json!({
            "seq": of("Seq"),
            "time_ms": of("TimeMs"),
            "sender": of("UserId"),
            "origin_time_ms": { "type": ["integer", "null"] },
            "kind": {
                "type": "object", "minProperties": 1, "maxProperties": 1,
                "description": "as section 10 of docs/PROTOCOL.md writes it: {\"message\": {\"body\": \"text\"}}, where a body that is no \
                                text is {\"base64\": \"…\"}",
            },
        })),
        "History": object(&["events", "more", "head", "floor"], json!({
            "events": { "type": "array", "items": of("Event") },
            "more": { "type": "boolean", "description": "whether there are further events in the page's direction" },
            "head": of("Seq"),
            "floor": of("Seq"),
        })),
    })
}

fn stats() -> Value {
    let counts = [
        "uptime_ms",
        "connections",
        "connections_max",
        "publishes",
        "queued_publishes",
        "queued_publishes_max",
        "log_position",
        "store_bytes",
    ];
    let mut outbox = object(
        &["delivered", "backlog_bytes", "failing"],
        json!({
            "delivered": of("Count"),
            "backlog_bytes": of("Count"),
            "failing": { "type": ["string", "null"], "description": "why the last batch was not taken" },
        }),
    );
    outbox["type"] = json!(["object", "null"]);
    outbox["description"] = json!("null when hooks.events_url is not set");
    let mut properties = json!({ "version": of("Text"), "outbox": outbox });
    for count in counts {
        properties[count] = of("Count");
    }
    json!({ "Stats": object(&[&["version", "outbox"][..], &counts].concat(), properties) })
}
