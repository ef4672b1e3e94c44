//! `/v1/conversations/{conversation}/messages/{seq}` and what is below: what is done to a message that is
//! said, in a user's name or the key's.

use axum::http::{Method, StatusCode};
use quoth_protocol::message::check_reaction;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, Seq, UserId};
use serde::Deserialize;
use serde_json::json;

use super::conversations::{ask, change};
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, Parameter, given};
use super::problem::Problem;
use super::publish::body;

const MESSAGE: &str = "/v1/conversations/{conversation}/messages/{seq}";
const REACTION: &str = "/v1/conversations/{conversation}/messages/{seq}/reactions/{reaction}";

pub(super) fn operations(operations: Operations) -> Operations {
    let done = |id, method, path, scope, summary, request| Operation {
        scope: Some(scope),
        parameters: vec![Parameter {
            name: "user",
            place: "query",
            text: "in whose name; without it the key's",
            schema: json!({ "$ref": "#/components/schemas/UserId" }),
        }],
        refusals: &[404, 409, 413],
        ..change(id, method, path, summary, request)
    };
    let (edit_summary, revoke_summary) = (
        "Make a message of the user say something else",
        "Make a message absent for everybody, whoever has written it",
    );
    let (publish, conversations) = (Scope::Publish, Scope::Conversations);
    operations
        .add(done("edit", Method::PATCH, MESSAGE, publish, edit_summary, Some("Edit")), edit)
        .add(done("revokeMessage", Method::DELETE, MESSAGE, conversations, revoke_summary, None), revoke)
        .add(done("react", Method::PUT, REACTION, publish, "React to a message", None), |call| async move {
            react(&call, true).await
        })
        .add(
            done("unreact", Method::DELETE, REACTION, publish, "Take a reaction back", None),
            |call| async move { react(&call, false).await },
        )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct As {
    user: Option<UserId>,
}

/// Which message, and in whose name.
fn which(call: &Call) -> Result<(ConversationName, Seq, Option<UserId>), Problem> {
    let As { user } = call.query()?;
    let seq = call.path("seq").map(Seq)?;
    Ok((call.path("conversation")?, seq, user))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    #[serde(default, deserialize_with = "given")]
    base64: Option<String>,
    #[serde(default)]
    mentions: Vec<UserId>,
}

async fn edit(call: Call) -> Result<Answer, Problem> {
    let (conversation, seq, user) = which(&call)?;
    let Edit { text, base64, mentions } = call.json()?;
    let body = body(text.as_deref(), base64.as_deref())?;
    let done = ask(&call, user, Request::Edit { conversation, seq, body, mentions }).await;
    done.map_err(|problem| match problem.code.as_str() {
        // The guard says no more, since clients must not learn who has written what they may not read.
        "forbidden" | "not_found" => Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only its sender edits a message: give the sender as `user`, or revoke it",
        ),
        _ => problem,
    })
}

async fn revoke(call: Call) -> Result<Answer, Problem> {
    let (conversation, seq, user) = which(&call)?;
    ask(&call, user, Request::Revoke { conversation, seq }).await
}

async fn react(call: &Call, on: bool) -> Result<Answer, Problem> {
    let (conversation, seq, user) = which(call)?;
    let reaction: String = call.path("reaction")?;
    check_reaction(&reaction).map_err(|error| Problem::invalid(format!("reaction in the path: {error}")))?;
    ask(call, user, Request::React { conversation, seq, reaction, on }).await
}
