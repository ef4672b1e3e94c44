//! The schemas of bodies and answers. A test sends requests that fit them and finds no answer that does not.

mod retention;

use quoth_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX};
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
    for more in [publish(), conversations(), sessions(), history(), retention::all(), stats()] {
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
            "reply_to": { "description": "the message that it answers", "$ref": "#/components/schemas/Seq" },
            "mentions": mentions(),
            "expires_in_ms": number(u64::MAX, "when it becomes absent, in milliseconds from now; 0: at no time of its own"),
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
        "Edit": with_body(object(&[], json!({
            "text": { "type": "string", "maxLength": BODY_BYTES_MAX, "description": "all that it is to say, as UTF-8" },
            "base64": { "type": "string", "contentEncoding": "base64", "description": "the same, in place of text" },
            "mentions": mentions(),
        }))),
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

fn mentions() -> Value {
    json!({ "type": "array", "maxItems": MENTIONS_MAX, "items": of("UserId"), "description": "whom it mentions" })
}

fn choice(names: &[&str]) -> Value {
    json!({ "enum": names })
}

fn role() -> Value {
    choice(&["reader", "member", "admin", "owner"])
}

fn kind() -> Value {
    choice(&["group", "channel", "direct", "notes"])
}

fn title() -> Value {
    json!({ "type": "string", "description": "at most 256 bytes without control characters; may be empty" })
}

fn number(maximum: u64, text: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": maximum, "description": text })
}

fn permissions() -> Value {
    number(u32::MAX.into(), "bits: READ 1, WRITE 2, INVITE 4, MODERATE 8, MANAGE 16, DELETE_ANY 32")
}

fn conversations() -> Value {
    let (u32_max, u64_max) = (u64::from(u32::MAX), u64::MAX);
    let users = || json!({ "type": "array", "items": of("UserId") });
    json!({
        "Status": { "enum": ["online", "away", "offline"] },
        "Create": object(&["kind", "owner"], json!({
            "conversation": { "$ref": "#/components/schemas/ConversationName", "description": "a free name that is not reserved; without it the server makes one" },
            "kind": kind(),
            "owner": of("UserId"),
            "title": title(),
            "members": users(),
            "open": { "type": "boolean", "default": false },
        })),
        "Rename": object(&["title"], json!({ "title": title() })),
        "SetMember": object(&["role"], json!({ "role": role(), "permissions": permissions() })),
        "Until": object(&[], json!({ "until_ms": number(u64_max, "in milliseconds since 1970, and not passed; without it: for ever") })),
        "SlowMode": object(&["interval_ms"], json!({ "interval_ms": number(u32_max, "one message in so many milliseconds; 0: off") })),
        "Invite": object(&["role"], json!({
            "role": role(),
            "expires_ms": number(u64_max, "in milliseconds since 1970; 0: never"),
            "uses_max": number(u32_max, "how many may join with it; 0: any number"),
        })),
        "Changed": object(&["conversation", "seq", "time_ms"], json!({
            "conversation": of("ConversationName"),
            "seq": { "$ref": "#/components/schemas/Seq", "description": "of the last event that came of it; 0 when nothing had to change" },
            "time_ms": of("TimeMs"),
        })),
        "Blocks": object(&["blocks"], json!({ "blocks": { "type": "array", "items": of("UserId") } })),
        "Block": object(&["user", "whom", "blocked", "seq", "time_ms"], json!({
            "user": of("UserId"),
            "whom": of("UserId"),
            "blocked": { "type": "boolean" },
            "seq": { "$ref": "#/components/schemas/Seq", "description": "of the event in the user's own log; 0 when nothing had to change" },
            "time_ms": of("TimeMs"),
        })),
        "Bans": object(&["bans", "more"], json!({
            "bans": { "type": "array", "items": object(&["user", "until_ms"], json!({
                "user": of("UserId"),
                "until_ms": { "$ref": "#/components/schemas/TimeMs", "description": "18446744073709551615: for ever" },
            })) },
            "more": { "type": "boolean" },
        })),
        "Invitations": object(&["invitations"], json!({
            "invitations": { "type": "array", "items": object(&["hash", "role", "expires_ms", "uses_left"], json!({
                "hash": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "the first 16 bytes of the SHA-256 of its text" },
                "role": role(),
                "expires_ms": { "$ref": "#/components/schemas/TimeMs", "description": "0: it has no end" },
                "uses_left": { "type": ["integer", "null"], "minimum": 1, "description": "how many may still come with it; null: any number" },
            })) },
        })),
        "Invitation": object(&["invitation"], json!({ "invitation": of("Text") })),
        "Conversation": conversation(),
        "Member": member(),
        "Members": object(&["members", "more"], json!({
            "members": { "type": "array", "items": of("Member") },
            "more": { "type": "boolean" },
        })),
        "List": object(&["conversations", "more"], json!({
            "conversations": { "type": "array", "items": of("Listed") },
            "more": { "type": "boolean" },
        })),
        "Listed": object(&["conversation", "kind", "title", "members", "head"], json!({
            "conversation": of("ConversationName"),
            "kind": { "enum": ["group", "channel", "direct", "notes", null], "description": "null for one that nobody has created" },
            "title": of("Text"),
            "members": of("Count"),
            "head": { "type": ["integer", "null"], "minimum": 0, "description": "0 where nothing was ever said and a retention or a hold is set; null where rows of it are damaged" },
        })),
        "Conversations": object(&["conversations", "more"], json!({
            "conversations": { "type": "array", "items": of("Conversation") },
            "more": { "type": "boolean" },
        })),
    })
}

fn conversation() -> Value {
    object(
        &[
            "conversation",
            "kind",
            "title",
            "open",
            "role",
            "permissions",
            "members",
            "muted_until_ms",
            "slow_mode_interval_ms",
            "retention",
            "own_retention",
            "version",
        ],
        json!({
            "conversation": of("ConversationName"),
            "kind": kind(),
            "title": title(),
            "open": { "type": "boolean", "description": "whether anybody may join without an invitation" },
            "role": { "enum": ["reader", "member", "admin", "owner", null], "description": "of the user who was asked for" },
            "permissions": permissions(),
            "members": of("Count"),
            "muted_until_ms": of("TimeMs"),
            "slow_mode_interval_ms": of("Count"),
            "retention": of("Retention"),
            "own_retention": { "type": "boolean", "description": "whether the conversation says so itself; otherwise it is the policy of its class" },
            "version": of("Seq"),
        }),
    )
}

fn earlier_erasures() -> Value {
    let count = |what| json!({ "description": what, "$ref": "#/components/schemas/Count" });
    let time = |what| json!({ "description": what, "$ref": "#/components/schemas/TimeMs" });
    object(
        &["asked_ms", "absent_ms", "messages", "reactions", "memberships"],
        json!({
            "asked_ms": time("when the first of them was asked for"),
            "absent_ms": time("when all that the last of them took was absent"),
            "messages": count("messages that they have made absent"),
            "reactions": count("reactions to others' messages that they have taken back"),
            "memberships": count("memberships that they have ended"),
        }),
    )
}

fn erasure() -> Value {
    let count = |what| json!({ "description": what, "$ref": "#/components/schemas/Count" });
    let time = |what| json!({ "description": what, "$ref": "#/components/schemas/TimeMs" });
    let fields = json!({
        "user": of("UserId"),
        "by": { "description": "the key that has asked for it", "$ref": "#/components/schemas/UserId" },
        "state": {
            "enum": ["under_way", "waiting", "last_owner", "absent", "gone"],
            "description": "waiting: it does not go on for now (waits_for), and is tried again by itself; last_owner: all of it is absent but that the user stays a member where owner_of says, until somebody else is owner there and the erasure is asked for again; absent: nobody gets any of it any more; gone: it is not on the disk either",
        },
        "asked_ms": of("TimeMs"),
        "absent_ms": time("when all of it was absent; 0: it is not"),
        "gone_by_ms": time("when all of it is gone from the disk at the latest; 0: not known, while it is under way"),
        "conversations_looked_at": count("conversations that were looked at, whether or not there was anything of the user"),
        "messages": count("messages that it has made absent"),
        "reactions": count("reactions to others' messages that it has taken back"),
        "memberships": count("memberships that it has ended"),
        "found": { "type": ["boolean", "null"], "description": "whether there was anything of the user; null: not so far, and not all was looked at" },
        "earlier": {
            "oneOf": [of("EarlierErasures"), { "type": "null" }],
            "description": "what earlier erasures of the user have taken; null: there was none, or none that found anything",
        },
        "owner_of": {
            "type": "array", "items": of("ConversationName"),
            "description": "where the user stays a member, as the last owner of others; at most 100",
        },
        "skipped": {
            "type": "array", "items": of("ConversationName"),
            "description": "conversations whose rows are damaged: they are tried again, and it is not done before",
        },
        "waits_for": { "type": ["string", "null"], "description": "why it does not go on for now; null: it does" },
        "stays": { "type": "array", "items": of("Text"), "description": "what no erasure takes, for people" },
    });
    let names: Vec<String> =
        fields.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect();
    object(&names.iter().map(String::as_str).collect::<Vec<_>>(), fields)
}

fn member() -> Value {
    object(
        &["user", "role", "permissions", "muted_until_ms", "status", "last_seen_ms"],
        json!({
            "user": of("UserId"),
            "role": role(),
            "permissions": permissions(),
            "muted_until_ms": of("TimeMs"),
            "status": of("Status"),
            "last_seen_ms": of("TimeMs"),
        }),
    )
}

fn sessions() -> Value {
    let number = |text: &str| number(u64::MAX, text);
    let reason =
        || json!({ "type": "string", "maxLength": 256, "description": "for people; clients show it" });
    let token_id = || json!({ "type": "string", "minLength": 1, "description": "a token's jti" });
    json!({
        "Session": object(&["device", "platform", "generation", "status", "connected_ms", "last_seen_ms"], json!({
            "device": of("DeviceId"),
            "platform": of("Text"),
            "generation": of("Count"),
            "status": of("Status"),
            "connected_ms": of("TimeMs"),
            "last_seen_ms": of("TimeMs"),
        })),
        "Sessions": object(&["sessions"], json!({ "sessions": { "type": "array", "items": of("Session") } })),
        "Presence": object(&["user", "status", "last_seen_ms", "devices"], json!({
            "user": of("UserId"),
            "status": of("Status"),
            "last_seen_ms": of("TimeMs"),
            "devices": {
                "type": "array",
                "items": object(&["device", "status", "last_seen_ms"], json!({
                    "device": of("DeviceId"),
                    "status": of("Status"),
                    "last_seen_ms": of("TimeMs"),
                })),
            },
        })),
        "Kick": object(&[], json!({ "device": of("DeviceId"), "reason": reason() })),
        "Revoke": object(&[], json!({
            "user": of("UserId"),
            "device": of("DeviceId"),
            "token_id": token_id(),
            "issued_before_ms": number("tokens of the user that were issued before, in milliseconds since 1970; without it: before 30 s from now, by which clocks may differ"),
            "expires_ms": number("the latest `exp` of the tokens that this concerns, in milliseconds since 1970: it is kept 30 s longer, as a token is good for so long, which must not have passed; without it: for ever"),
            "reason": reason(),
        })),
        "Revocations": object(&["revocations", "next"], json!({
            "revocations": { "type": "array", "items": revocation() },
            "next": { "type": ["string", "null"], "description": "what `after` is for the next page; null: there is none" },
        })),
        "Lift": object(&[], json!({ "user": of("UserId"), "device": of("DeviceId"), "token_id": token_id() })),
        "Closed": object(&["closed"], json!({ "closed": of("Count") })),
        "Revoked": object(&["closed", "issued_before_ms", "expires_ms"], json!({
            "closed": of("Count"),
            "issued_before_ms": { "oneOf": [of("TimeMs"), { "type": "null" }], "description": "of a user: tokens that were issued before this are refused; without one in the request it is 30 s from now, since an issuer's clock may be ahead by as much, and later where more was revoked before" },
            "expires_ms": { "$ref": "#/components/schemas/TimeMs", "description": "when it is over by itself, as the list of revocations says it" },
        })),
        "Lifted": object(&["lifted"], json!({ "lifted": { "type": "boolean", "description": "whether there was one" } })),
    })
}

fn revocation() -> Value {
    let or_null = |of: Value| json!({ "oneOf": [of, { "type": "null" }] });
    object(
        &["user", "device", "token_id", "issued_before_ms", "expires_ms", "reason"],
        json!({
            "user": or_null(of("UserId")),
            "device": or_null(of("DeviceId")),
            "token_id": { "type": ["string", "null"] },
            "issued_before_ms": {
                "type": ["integer", "null"], "minimum": 0,
                "description": "tokens of the user that were issued before; null for a single token",
            },
            "expires_ms": { "$ref": "#/components/schemas/TimeMs", "description": "when it is over by itself; 18446744073709551615: never" },
            "reason": of("Text"),
        }),
    )
}

fn history() -> Value {
    json!({
        "Event": object(&["seq", "time_ms", "sender", "origin_time_ms", "kind"], json!({
            "seq": of("Seq"),
            "time_ms": of("TimeMs"),
            "sender": of("UserId"),
            "origin_time_ms": { "type": ["integer", "null"] },
            "kind": {
                "oneOf": [{ "type": "object", "minProperties": 1, "maxProperties": 1 }, { "const": "invitations_revoked" }],
                "description": "as section 10 of docs/PROTOCOL.md writes it: {\"message\": {\"body\": \"text\"}}, where a body that is no \
                                text is {\"base64\": \"…\"}",
            },
        })),
        "Erasure": erasure(),
        "EarlierErasures": earlier_erasures(),
        "Gap": object(&["from", "to"], json!({ "from": of("Seq"), "to": of("Seq") })),
        "Edited": object(&["seq", "time_ms", "body", "mentions"], json!({
            "seq": { "description": "the event of the edit", "$ref": "#/components/schemas/Seq" },
            "time_ms": of("TimeMs"),
            "body": {
                "type": ["string", "object"],
                "description": "all that the message says now: as text, or {\"base64\": \"…\"} where it is none",
            },
            "mentions": { "type": "array", "items": of("UserId"), "description": "all whom it mentions now" },
        })),
        "MessageState": object(&["seq", "version", "edited", "reactions"], json!({
            "seq": { "description": "of the message", "$ref": "#/components/schemas/Seq" },
            "version": { "description": "the last event about it: all up to that one are in the state", "$ref": "#/components/schemas/Seq" },
            "edited": { "oneOf": [of("Edited"), { "type": "null" }], "description": "the latest edit; null: it says what its event does" },
            "reactions": {
                "type": "array", "items": of("Reaction"),
                "description": "how many users have reacted with what",
            },
        })),
        "Reaction": object(&["reaction", "count", "mine"], json!({
            "reaction": of("Text"),
            "count": of("Count"),
            "mine": { "type": "boolean", "description": "whether the user of the key's name is among them" },
        })),
        "History": object(&["events", "states", "gaps", "complete", "from", "to", "more_before", "more_after", "head", "floor"], json!({
            "events": { "type": "array", "items": of("Event") },
            "states": {
                "type": "array", "items": of("MessageState"),
                "description": "what has become of the page's messages by now, ascending; what has no state was neither edited nor reacted to",
            },
            "gaps": {
                "type": "array", "items": of("Gap"),
                "description": "seqs of the page whose events are absent: expired, revoked or erased; also before the floor, as far as the page was asked for them",
            },
            "complete": { "type": "boolean", "description": "whether there are no gaps: nothing of the page is absent" },
            "from": { "description": "the first seq that the page tells of", "$ref": "#/components/schemas/Seq" },
            "to": { "description": "the last one; from - 1 when there is none", "$ref": "#/components/schemas/Seq" },
            "more_before": { "type": "boolean", "description": "whether there are readable seqs before from" },
            "more_after": { "type": "boolean", "description": "whether there are readable seqs behind to" },
            "head": of("Seq"),
            "floor": of("Seq"),
        })),
    })
}

fn stats() -> Value {
    let counts = [
        "uptime_ms",
        "sessions",
        "users",
        "revocations",
        "connections",
        "connections_max",
        "publishes",
        "queued_publishes",
        "queued_publishes_max",
        "log_position",
        "store_bytes",
        "view_bytes",
        "reclaimed_windows",
        "reclaimed_bytes",
        "rewritten_bytes",
        "damaged_conversations",
        "erased_bytes",
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
    let answers = ["allowed", "changed", "denied", "unanswered"];
    let mut hook = object(&answers, json!({}));
    for answer in answers {
        hook["properties"][answer] = of("Count");
    }
    hook["type"] = json!(["object", "null"]);
    hook["description"] = json!("what has become of its questions since the start; null when it is not set");
    let kinds = ["connect", "join", "publish"];
    let mut hooks = object(&kinds, json!({}));
    for kind in kinds {
        hooks["properties"][kind] = hook.clone();
    }
    let seen = |text: &str| json!({ "type": ["integer", "null"], "minimum": 0, "description": text });
    let mut properties = json!({
        "version": of("Text"),
        "outbox": outbox,
        "hooks": hooks,
        "live_bytes": seen("of contents that are kept, by the last look for what is absent; null before the first one"),
        "expired_bytes": seen("of contents that are absent and take space still, by that look"),
        "oldest_expired_ms": seen("when the oldest of these was stored, in milliseconds since 1970; null: there is none"),
        "erased_gone_by_ms": seen("when all that was revoked or erased is gone from the disk at the latest, in milliseconds since 1970; null: it is"),
        "storage_full": {
            "type": "boolean",
            "description": "whether messages are refused until the disk has room for store.reserve_bytes again",
        },
    });
    for count in counts {
        properties[count] = of("Count");
    }
    let others = [
        "version",
        "outbox",
        "hooks",
        "live_bytes",
        "expired_bytes",
        "oldest_expired_ms",
        "erased_gone_by_ms",
        "storage_full",
    ];
    json!({
        "Stats": object(&[&others[..], &counts].concat(), properties),
        "Metrics": { "type": "string", "description": "the numbers of Stats in Prometheus' text format" },
    })
}
