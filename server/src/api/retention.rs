//! `/v1/retention` and how each conversation is kept.

use axum::http::Method;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName};
use serde_json::json;

use super::conversations::refused;
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::{Caller, Done, Retain};

const OF_CONVERSATION: &str = "/v1/conversations/{conversation}/retention";
const HOLD: &str = "/v1/conversations/{conversation}/hold";

pub(super) fn operations(operations: Operations) -> Operations {
    let operation = |id, method, path, scope, summary, request, response| Operation {
        id,
        method,
        path,
        scope: Some(scope),
        summary,
        parameters: Vec::new(),
        request,
        response,
        refusals: &[404],
    };
    let (get, put, of_conversations) = (Method::GET, Method::PUT, Scope::Conversations);
    let set = "Set how long events are kept; what is absent by then stays so";
    let hold = "Keep what is not absent, whatever its retention says";
    let run = "Free the space of what is absent now";
    operations
        .add(
            operation(
                "retention",
                get.clone(),
                OF_CONVERSATION,
                of_conversations,
                "How events are kept",
                None,
                "Kept",
            ),
            kept,
        )
        .add(
            operation(
                "setRetention",
                put.clone(),
                OF_CONVERSATION,
                of_conversations,
                set,
                Some("Retention"),
                "Changed",
            ),
            |call| async move {
                let retention: Retention = call.json()?;
                retain(&call, Retain::Policy(retention)).await
            },
        )
        .add(operation("hold", put, HOLD, of_conversations, hold, None, "Changed"), |call| async move {
            retain(&call, Retain::Hold(true)).await
        })
        .add(
            operation("release", Method::DELETE, HOLD, of_conversations, "End a hold", None, "Changed"),
            |call| async move { retain(&call, Retain::Hold(false)).await },
        )
        .add(
            operation(
                "retentionPlan",
                get,
                "/v1/retention",
                Scope::Stats,
                "What is absent, and when its space is freed",
                None,
                "RetentionPlan",
            ),
            plan,
        )
        .add(
            operation("reclaim", Method::POST, "/v1/retention/run", Scope::Admin, run, None, "Reclaimed"),
            reclaim,
        )
}

fn unreadable(error: &quoth_store::ViewError) -> Problem {
    tracing::error!(%error, "retention cannot be read");
    Problem::of(Code::STORE_FAILED, 0, "the store cannot be read: see the server's log")
}

async fn kept(call: Call) -> Result<Answer, Problem> {
    let (conversation, engine): (ConversationName, _) =
        (call.path("conversation")?, &call.app.service.engine);
    let (kept, of_class) = engine.kept(&conversation).await.map_err(|error| unreadable(&error))?;
    let keeping = engine.keeping(&conversation).await.map_err(|error| unreadable(&error))?;
    let bounds = engine.applied_bounds(&conversation, keeping).await.map_err(|error| unreadable(&error))?;
    Answer::of(&json!({
        "retention": kept.policy.unwrap_or(of_class), "own": kept.policy.is_some(), "hold_ms": kept.hold_ms,
        "head": bounds.head, "floor": bounds.floor,
    }))
}

async fn retain(call: &Call, retain: Retain) -> Result<Answer, Problem> {
    let conversation: ConversationName = call.path("conversation")?;
    let caller = Caller::Operator(call.caller()?.name.clone());
    match call.app.service.engine.retain(caller, &conversation, retain).await {
        Ok(Done { conversation, seq, time_ms }) => {
            Answer::of(&json!({ "conversation": conversation, "seq": seq, "time_ms": time_ms }))
        }
        Err(refusal) => Err(refused(call, refusal, Some(conversation)).await),
    }
}

async fn plan(call: Call) -> Result<Answer, Problem> {
    let engine = &call.app.service.engine;
    let overview = engine.overview().await.map_err(|error| unreadable(&error))?;
    let (stats, outstanding) = (engine.stats(), engine.outstanding());
    let mut told = overview.to_json(&outstanding);
    told["reclaimed_bytes"] = stats.reclaimed_bytes.into();
    told["view_bytes"] = stats.view_bytes.into();
    Answer::of(&told)
}

async fn reclaim(call: Call) -> Result<Answer, Problem> {
    let engine = &call.app.service.engine;
    let reclaimed = engine.reclaim().await;
    // What takes longer than anybody waits.
    engine.reclaim_soon();
    match reclaimed {
        Ok(reclaimed) => Answer::of(&json!({ "windows": reclaimed.windows, "bytes": reclaimed.bytes })),
        Err(error) => {
            tracing::error!(error, "the space of what is absent is not freed");
            Err(Problem::of(Code::STORE_FAILED, 0, "space was not freed: see the server's log"))
        }
    }
}
