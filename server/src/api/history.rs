//! `/v1/conversations/{conversation}/history`: events as JSON, and what has become of the messages.

use axum::http::Method;
use quoth_protocol::frame::FetchRange;
use quoth_protocol::{ConversationName, Seq};
use serde::Deserialize;
use serde_json::json;

use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, Parameter};
use super::page::{BYTES_MAX, Reader};
use super::problem::Problem;

/// Events of one page.
const EVENTS_MAX: u32 = 1_000;

/// Events of a page when nothing is said.
const EVENTS_DEFAULT: u32 = 100;

pub(super) fn operations(operations: Operations) -> Operations {
    let number = || json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
    let parameter = |name, text, schema| Parameter { name, place: "query", text, schema };
    operations.add(
        Operation {
            id: "history",
            method: Method::GET,
            path: "/v1/conversations/{conversation}/history",
            scope: Some(Scope::History),
            summary: "Read a page of events, in ascending order: the last ones when nothing is said; at most one of the first six parameters",
            parameters: vec![
                parameter("after", "the first events behind this seq", number()),
                parameter("before", "the last events before this seq", number()),
                parameter("around", "events on both sides of this seq, about as many of each", number()),
                parameter("after_time_ms", "the first events of this time or later, in milliseconds since 1970", number()),
                parameter("before_time_ms", "the last events before this time", number()),
                parameter("around_time_ms", "events on both sides of this time", number()),
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
    around: Option<u64>,
    after_time_ms: Option<u64>,
    before_time_ms: Option<u64>,
    around_time_ms: Option<u64>,
    limit: Option<u32>,
}

impl Wanted {
    fn range(&self) -> Result<FetchRange, Problem> {
        let given = [
            self.after.map(|seq| FetchRange::After(Seq(seq))),
            self.before.map(|seq| FetchRange::Before(Seq(seq))),
            self.around.map(|seq| FetchRange::Around(Seq(seq))),
            self.after_time_ms.map(FetchRange::AfterTime),
            self.before_time_ms.map(FetchRange::BeforeTime),
            self.around_time_ms.map(FetchRange::AroundTime),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (None, _) => Ok(FetchRange::Latest),
            (Some(range), None) => Ok(range),
            (Some(_), Some(_)) => Err(Problem::invalid(
                "give one of after, before, around, after_time_ms, before_time_ms and around_time_ms, or none for the last events",
            )),
        }
    }

    fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(EVENTS_DEFAULT);
        let is_good = (1..=EVENTS_MAX).contains(&limit);
        is_good.then_some(limit).ok_or_else(|| Problem::invalid(format!("limit is from 1 to {EVENTS_MAX}")))
    }
}

async fn history(call: Call) -> Result<Answer, Problem> {
    let conversation: ConversationName = call.path("conversation")?;
    let wanted: Wanted = call.query()?;
    let (range, limit) = (wanted.range()?, wanted.limit()?);
    let reader = Reader {
        engine: &call.app.service.engine,
        conversation: &conversation,
        me: &call.caller()?.name,
        bytes_max: BYTES_MAX,
    };
    Answer::of(&reader.page(range, limit).await.map_err(|error| {
        tracing::error!(%error, %conversation, "history cannot be read");
        let reason = "the conversation cannot be read: see the server's log";
        Problem::of(quoth_protocol::Code::STORE_FAILED, 0, reason)
    })?)
}
