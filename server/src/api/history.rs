//! `/v1/conversations/{conversation}/history`: events as JSON.

use axum::http::Method;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::PageLimit;
use serde::Deserialize;
use serde_json::json;

use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, Parameter};
use super::problem::Problem;
use crate::engine::Events;

/// Events of one page.
const EVENTS_MAX: u32 = 1_000;

/// Events of a page when nothing is said.
const EVENTS_DEFAULT: u32 = 100;

/// Bytes of the bodies of one page, but for one event: with escapes some times more of JSON.
const BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) fn operations(operations: Operations) -> Operations {
    let seq = || json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    let parameter = |name, text, schema| Parameter { name, place: "query", text, schema };
    operations.add(
        Operation {
            id: "history",
            method: Method::GET,
            path: "/v1/conversations/{conversation}/history",
            scope: Some(Scope::History),
            summary: "Read a page of events, in ascending order: the last ones when nothing is said",
            parameters: vec![
                parameter("after", "the first events behind this seq", seq()),
                parameter("before", "the last events before this seq", seq()),
                parameter(
                    "limit",
                    "at most so many events",
                    json!({ "type": "integer", "minimum": 1, "maximum": EVENTS_MAX, "default": EVENTS_DEFAULT }),
                ),
            ],
            request: None,
            response: "History",
            refusals: &[],
        },
        history,
    )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u32>,
}

async fn history(call: Call) -> Result<Answer, Problem> {
    let conversation: ConversationName = call.path("conversation")?;
    let Wanted { after, before, limit } = call.query()?;
    let limit = limit.unwrap_or(EVENTS_DEFAULT);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit is from 1 to {EVENTS_MAX}")));
    }
    let limit = PageLimit { records: usize::try_from(limit).unwrap_or(usize::MAX), bytes: BYTES_MAX };
    let engine = &call.app.service.engine;
    let failed = |error: quoth_store::ViewError| {
        tracing::error!(%error, %conversation, "history cannot be read");
        Problem::of(
            quoth_protocol::Code::STORE_FAILED,
            0,
            "the conversation cannot be read: see the server's log",
        )
    };
    let keeping = engine.keeping(&conversation).await.map_err(failed)?;
    let bounds = engine.applied_bounds(&conversation, keeping).await.map_err(failed)?;
    let at = engine.reading(&conversation, keeping);
    let before_floor = bounds.floor.0.saturating_sub(1).min(bounds.head.0);
    let read = match (after, before) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("give after or before, or neither for the last events"));
        }
        (Some(after), None) => {
            engine.reads().events_after(&conversation, Seq(after.max(before_floor)), limit, at).await
        }
        (None, before) => engine.reads().events_before(&conversation, before.map(Seq), limit, at).await,
    };
    let Events { from, to, events } = read.map_err(failed)?;
    let from = from.max(bounds.floor.min(to.next()));
    let more = if after.is_some() { to < bounds.head } else { from.0 > before_floor + 1 };
    Answer::of(&json!({
        "events": events, "from": from, "to": to, "more": more, "head": bounds.head, "floor": bounds.floor,
    }))
}
