//! How long events are kept, and the freeing of their space.

use quoth_core::retention::CLASSES_MAX;
use serde_json::{Value, json};

use super::super::erasure::ERASING_MAX;
use super::{number, object, of};
use crate::engine::{ENDED_MAX, Step, TOLD_MAX};
use quoth_store::Class;

#[expect(clippy::too_many_lines, reason = "a table of shapes")]
pub(super) fn all() -> Value {
    let u64_max = u64::MAX;
    let bytes = || number(u64_max, "in bytes of contents");
    let time = |text: &str| json!({ "type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX, "description": text });
    json!({
        "Retention": object(&["age_s", "count", "bytes"], json!({
            "age_s": number(u64_max, "events that are younger than this, in seconds; 0: of any age"),
            "count": number(u64_max, "so many of the last events; 0: any number"),
            "bytes": number(u64_max, "the last events, of up to so many bytes together; 0: of any number of bytes"),
        })),
        "Bounds": {
            "type": "object",
            "description": "each that is given; one that is not is no bound",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
                "age_s": number(u64_max, "events that are younger than this, in seconds; 0: of any age"),
                "count": number(u64_max, "so many of the last events, of whichever kind; 0: any number"),
                "bytes": number(u64_max, "the last events, of up to so many bytes of contents together; 0: of any number of bytes"),
            },
        },
        "Kept": object(&["retention", "own", "hold_ms", "head", "floor"], json!({
            "retention": of("Retention"),
            "own": { "type": "boolean", "description": "whether it was set for this conversation, and is not that of its class" },
            "hold_ms": number(u64_max, "since when all that was not absent is held, in milliseconds since 1970; 0: there is no hold"),
            "head": of("Seq"),
            "floor": of("Seq"),
        })),
        "Proposal": proposal(),
        "Retained": retained(json!({
            "conversation": of("ConversationName"),
            "seq": { "$ref": "#/components/schemas/Seq", "description": "of the event that says so; 0 when none does: nothing had to change, or it is a hold, or nothing was said there yet" },
            "time_ms": { "$ref": "#/components/schemas/TimeMs", "description": "0 when nothing had to change" },
        })),
        "Preview": retained(json!({
            "floor": { "$ref": "#/components/schemas/Seq", "description": "as it is" },
            "floor_then": { "$ref": "#/components/schemas/Seq", "description": "as it would be" },
        })),
        "RetentionClasses": {
            "type": "object",
            "required": ["classes"],
            "additionalProperties": false,
            "properties": { "classes": {
                "type": "array",
                "items": { "type": "string", "minLength": 1 },
                "maxItems": CLASSES_MAX,
                "description": "all of them, as retention.classes has them: teams:team-*:age_s=2592000",
            } },
        },
        "Loss": object(&["affected", "events", "bytes", "held", "own", "classes", "damaged_conversations", "conversations"], json!({
            "affected": number(u64_max, "conversations that would lose something"),
            "events": number(u64_max, "that would be absent and are not by the classes that hold"),
            "bytes": bytes(),
            "held": number(u64_max, "conversations of these classes that are held: they lose nothing until that ends, and what then is not known here"),
            "own": number(u64_max, "conversations of these classes that have a policy of their own: no class takes anything there"),
            "classes": { "type": "array", "items": of("ClassUse"), "maxItems": CLASSES_MAX, "description": "how many conversations are of each class, in the order in which they were given" },
            "damaged_conversations": number(u64_max, "of which rows are damaged, and nothing is in these numbers"),
            "conversations": conversations(""),
        })),
        "ClassUse": object(&["class", "conversations", "own"], json!({
            "class": of("Text"),
            "conversations": number(u64_max, "that are of it: it fits their names, and no class before it does"),
            "own": number(u64_max, "those among them that have a policy of their own"),
        })),
        "Hold": object(&["conversation", "hold_ms"], json!({
            "conversation": of("ConversationName"),
            "hold_ms": number(u64_max, "since when all that was not absent is held, in milliseconds since 1970"),
        })),
        "ConversationPlan": object(&["conversation", "events", "bytes", "next_ms"], json!({
            "conversation": of("ConversationName"),
            "events": number(u64_max, "that are, or would be, absent by how the conversation is kept; in a plan those that take space still, about"),
            "bytes": bytes(),
            "next_ms": time("when the first of those that are kept is absent by its age, in milliseconds since 1970; null: by age none is"),
        })),
        "RetentionPlan": object(
            &[
                "live_bytes",
                "expired_bytes",
                "oldest_expired_ms",
                "damaged_conversations",
                "reclaimed_bytes",
                "view_bytes",
                "held",
                "windows",
                "erased",
                "looked_ms",
            ],
            json!({
                "looked_ms": { "$ref": "#/components/schemas/TimeMs", "description": "when all was looked at, in milliseconds since 1970: a large store not anew for each request" },
                "live_bytes": bytes(),
                "expired_bytes": number(u64_max, "of contents that are absent and take space still, in bytes"),
                "oldest_expired_ms": time("when the oldest of these was stored, in milliseconds since 1970"),
                "damaged_conversations": number(u64_max, "of which rows are damaged, and nothing is in these numbers"),
                "reclaimed_bytes": number(u64_max, "of the disk that were freed since the start"),
                "view_bytes": number(u64_max, "of the disk that the view takes"),
                "held": number(u64_max, "conversations with events that are held: nothing goes there until that ends"),
                "holds": { "type": "array", "items": of("Hold"), "maxItems": TOLD_MAX, "description": "for keys with the scope conversations alone: which these are, the first of them that were come upon" },
                "windows": { "type": "array", "items": of("Window") },
                "conversations": conversations("for keys with the scope conversations alone: "),
                "erased": of("Outstanding"),
                "erasures": { "type": "array", "items": of("UserId"), "maxItems": ERASING_MAX, "description": "for keys with the scope admin alone: users whose erasure was asked for and is not done, or waits for another owner (`last_owner`), the first of them" },
            }),
        ),
        "Outstanding": outstanding(),
        "Window": object(
            &["kept_for", "window", "closed", "conversations", "bytes", "expired_bytes", "goes_ms"],
            json!({
                "kept_for": { "enum": Class::all().map(Class::name).collect::<Vec<_>>(), "description": "for how long, at most, what lies in it is kept; no_age: without a bound by age; rewritten: what stayed of others" },
                "window": number(u64::from(u32::MAX), "its number among those that are kept for as long"),
                "closed": { "type": "boolean", "description": "whether it gets no further events; it goes only then" },
                "conversations": number(u64_max, "that have events in it"),
                "bytes": bytes(),
                "expired_bytes": bytes(),
                "goes_ms": time("when all of it is absent by age, in milliseconds since 1970; null: that is not to be foreseen"),
            }),
        ),
        "Run": object(&["run"], json!({
            "run": number(u64_max, "the number of the pass that frees it, since the start: GET says how far it is"),
        })),
        "Runs": object(&["running", "ended"], json!({
            "running": running(),
            "ended": {
                "type": "array", "items": of("Pass"), "maxItems": ENDED_MAX,
                "description": "those that somebody has asked for and that have ended, the last one first: who waits for one looks for its number (`run`)",
            },
        })),
        "Pass": pass(),
    })
}

fn conversations(whom: &str) -> Value {
    json!({
        "type": "array", "items": of("ConversationPlan"), "maxItems": TOLD_MAX,
        "description": format!("{whom}those that lose most, these first; what goes by a time to live of its own, or was revoked, is in the windows alone"),
    })
}

fn outstanding() -> Value {
    let u64_max = u64::MAX;
    let time = |text: &str| json!({ "type": ["integer", "null"], "minimum": 0, "maximum": u64_max, "description": text });
    object(
        &["events", "bytes", "since_ms", "gone_by_ms", "log_since_ms"],
        json!({
            "events": number(u64_max, "that were revoked or erased and may be on the disk still"),
            "bytes": number(u64_max, "in bytes of contents"),
            "since_ms": time("when the first of them was erased, in milliseconds since 1970; null: there is none"),
            "gone_by_ms": time("when all of them are gone at the latest, in milliseconds since 1970; null: they are"),
            "log_since_ms": number(u64_max, "since when the log has contents, in milliseconds since 1970; 0: since before the start"),
        }),
    )
}

fn running() -> Value {
    let mut running = pass();
    running["type"] = json!(["object", "null"]);
    running["description"] = json!("the pass that is under way; null: there is none");
    running
}

fn pass() -> Value {
    let (count, time) = (|| of("Count"), || of("TimeMs"));
    object(
        &["run", "step", "begun_ms", "ended_ms", "windows", "bytes", "moved_bytes", "error"],
        json!({
            "run": count(),
            "step": { "enum": Step::ALL },
            "begun_ms": time(),
            "ended_ms": { "type": ["integer", "null"], "minimum": 0, "description": "null: it is under way" },
            "windows": count(),
            "bytes": { "$ref": "#/components/schemas/Count", "description": "of the disk that it has freed" },
            "moved_bytes": { "$ref": "#/components/schemas/Count", "description": "of rows that were read and written for it" },
            "error": { "type": ["string", "null"], "description": "what it could not do, all of it" },
        }),
    )
}

/// Bounds, or that there are to be none but those of its class.
fn proposal() -> Value {
    let bound = || number(u64::MAX, "as of Bounds");
    json!({
        "type": "object",
        "description": "bounds, or by_class alone",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "age_s": bound(),
            "count": bound(),
            "bytes": bound(),
            "by_class": { "type": "boolean", "description": "as its class says, which has its own bounds" },
        },
    })
}

/// How a conversation is kept behind a change, made or thought of, and what goes by that.
fn retained(mut others: Value) -> Value {
    let u64_max = u64::MAX;
    let mut fields = json!({
        "retention": of("Retention"),
        "own": { "type": "boolean", "description": "whether it is set for this conversation, and is not that of its class" },
        "hold_ms": number(u64_max, "since when all that was not absent is held, in milliseconds since 1970; 0: there is no hold. Under one nothing goes until it ends"),
        "head": { "$ref": "#/components/schemas/Seq", "description": "the last event; 0: what is set holds from the first one on" },
        "events": number(u64_max, "that go by it at once, with those among them that are absent already; what has a time to live of its own is not counted where it goes by that alone"),
        "bytes": number(u64_max, "of their contents"),
        "held_events": number(u64_max, "that are there by the hold alone and go when it ends, as of now; 0 without one"),
        "held_bytes": number(u64_max, "of their contents"),
    });
    let all = fields.as_object_mut().expect("a few lines up");
    all.append(others.as_object_mut().expect("fields are"));
    let names: Vec<_> = all.keys().cloned().collect();
    object(&names.iter().map(String::as_str).collect::<Vec<_>>(), fields)
}
