//! The document that describes the API (OpenAPI 3.1), made from the operations that are served and the
//! schemas here.

use axum::http::Method;
use quoth_protocol::limits::{
    BODY_BYTES_MAX, CONVERSATION_NAME_BYTES_MAX, DEVICE_ID_BYTES_MAX, REACTION_BYTES_MAX, USER_ID_BYTES_MAX,
};
use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas;

/// Refusals that every operation with a key has.
const REFUSALS_WITH_KEY: [u16; 3] = [400, 401, 403];

/// Those of a request with a body.
const REFUSALS_OF_BODY: [u16; 2] = [413, 415];

/// Those of every operation: it takes too long, or the server does not take work.
const REFUSALS: [u16; 2] = [503, 504];

/// What of the document is about one operation.
pub(super) fn operation(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = names_in(operation.path)
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": schema_of_name(name),
                    "description": "percent-encoded; a slash in it is %2F" })
        })
        .collect();
    parameters.extend(operation.parameters.iter().map(|parameter| {
        json!({ "name": parameter.name, "in": parameter.place, "required": false,
                "description": parameter.text, "schema": parameter.schema })
    }));
    let mut responses = Map::new();
    let schema = json!({ "$ref": format!("#/components/schemas/{}", operation.response) });
    let content_type = if operation.response == "Metrics" { "text/plain" } else { "application/json" };
    responses.insert(
        "200".to_owned(),
        json!({ "description": "Done", "content": { content_type: { "schema": schema } } }),
    );
    let mut refusals = [operation.refusals, &REFUSALS].concat();
    if operation.scope.is_some() {
        refusals.extend(REFUSALS_WITH_KEY);
    }
    if operation.request.is_some() {
        refusals.extend(REFUSALS_OF_BODY);
    }
    for status in refusals {
        responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/Problem" }));
    }
    let mut document = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    match operation.scope {
        Some(scope) => {
            document["description"] = json!(match scope {
                super::keys::Scope::Admin => "Scope of the key: `admin`.".to_owned(),
                _ => format!("Scope of the key: `{}` or `admin`.", scope.name()),
            });
            document["security"] = json!([{ "key": [] }]);
        }
        None => document["security"] = json!([]),
    }
    if let Some(request) = operation.request {
        let schema = json!({ "$ref": format!("#/components/schemas/{request}") });
        document["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    debug_assert!(operation.method != Method::GET || operation.request.is_none(), "a GET has no body");
    document
}

/// The names in braces of a path.
fn names_in(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn schema_of_name(name: &str) -> Value {
    let schema = match name {
        "seq" => "Seq",
        "hash" => return json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        "reaction" => {
            return json!({
                "type": "string", "minLength": 1, "maxLength": REACTION_BYTES_MAX,
                "description": format!("1 to {REACTION_BYTES_MAX} bytes of UTF-8 without control characters"),
            });
        }
        "conversation" => "ConversationName",
        "device" => "DeviceId",
        _ => "UserId",
    };
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An identifier: JSON Schema counts characters, the server bytes, and no character has less than one.
pub(super) fn identifier(bytes_max: usize) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": bytes_max,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        "description": format!("1 to {bytes_max} bytes of UTF-8 without control characters"),
    })
}

/// The whole document.
pub(super) fn document(paths: Map<String, Value>) -> Value {
    let mut schemas = schemas::all();
    for (name, bytes_max) in [
        ("ConversationName", CONVERSATION_NAME_BYTES_MAX),
        ("UserId", USER_ID_BYTES_MAX),
        ("DeviceId", DEVICE_ID_BYTES_MAX),
    ] {
        schemas[name] = identifier(bytes_max);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quoth server API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "For backends, never for clients: whoever has a key acts as the operator, past memberships. A message's body has \
                 at most {BODY_BYTES_MAX} bytes. Every refusal is `application/problem+json` with a `code` for programs and a \
                 `detail` that says what to do. A 503 or 504 may be tried again; a publish that is tried again needs the same \
                 `Idempotency-Key`, or it may be stored twice."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "Refused, with the reason and what to do",
                    "content": {
                        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// All `$ref`s below a value.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_that_is_referred_to_is_there_and_every_schema_is_used() {
        let (_, paths) = crate::api::operations().into_parts();
        let document = super::document(paths);
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(
                found.iter().any(|reference| reference.ends_with(&format!("/{name}"))),
                "{name} is not used"
            );
        }
    }
}
