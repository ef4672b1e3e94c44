//! `/v1/conversations/{conversation}/history`: events as JSON.

use axum::http::Method;
use quoth_core::history::{Anchor, Span};
use quoth_core::retention::Gaps;
use quoth_protocol::frame::FetchRange;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::ViewError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, Parameter};
use super::problem::Problem;
use crate::engine::{Engine, Events};

/// Events of one page.
const EVENTS_MAX: u32 = 1_000;

/// Events of a page when nothing is said.
const EVENTS_DEFAULT: u32 = 100;

/// Bytes of the bodies of one page, but for one event: with escapes some times more of JSON.
const BYTES_MAX: usize = 2 * 1024 * 1024;

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
    let page = read(&call.app.service.engine, &conversation, range, limit).await;
    Answer::of(&page.map_err(|error| {
        tracing::error!(%error, %conversation, "history cannot be read");
        let reason = "the conversation cannot be read: see the server's log";
        Problem::of(quoth_protocol::Code::STORE_FAILED, 0, reason)
    })?)
}

async fn read(
    engine: &Engine,
    conversation: &ConversationName,
    range: FetchRange,
    limit: u32,
) -> Result<Value, ViewError> {
    let keeping = engine.keeping(conversation).await?;
    let bounds = engine.applied_bounds(conversation, keeping).await?;
    let anchor = engine.reads().anchor(conversation, range, bounds).await?;
    let Span { after, last, .. } = Span::of(anchor, limit.into(), bounds.floor, bounds.head);
    // Where a page is cut for its bytes, the end goes that is farther away.
    let is_from_the_end = matches!(anchor, Anchor::Before(_));
    let at = engine.reading_for_all(conversation).await?;
    let read = engine.reads().events(conversation, (after, last), BYTES_MAX, is_from_the_end, at).await?;
    let Events { from, to, events } = read;
    let more_before = from > bounds.floor;
    // What lies before the first event that can be read is gone as what lies between two of them is.
    let gone = gone_before(range, bounds.floor).filter(|_| !more_before);
    let (from, to) = gone.map_or((from, to), |(first, last)| (first, to.max(last)));
    let mut told = Gaps::behind(Seq(from.0.saturating_sub(1)));
    let mut gaps: Vec<_> = events.iter().filter_map(|event| told.event(event.seq)).collect();
    gaps.extend(told.until(to));
    let gaps: Vec<_> = gaps.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
    Ok(json!({
        "events": events,
        "gaps": gaps,
        "from": from,
        "to": to,
        "more_before": more_before,
        "more_after": to < bounds.head,
        "head": bounds.head,
        "floor": bounds.floor,
    }))
}

/// First and last seq of what a page that begins with the conversation is asked for and cannot have, since
/// the conversation begins at `floor` by now.
fn gone_before(range: FetchRange, floor: Seq) -> Option<(Seq, Seq)> {
    let from = if let FetchRange::After(cursor) = range { Seq(cursor.0.saturating_add(1)) } else { Seq(1) };
    let end = if let FetchRange::Before(seq) = range { seq.min(floor) } else { floor };
    (from < end).then(|| (from, Seq(end.0 - 1)))
}

#[cfg(test)]
mod tests {
    use quoth_core::membership::Change;
    use quoth_core::retention::Retention;
    use quoth_protocol::UserId;
    use quoth_protocol::frame::Durability;
    use quoth_protocol::membership::ConversationKind;
    use quoth_store::Store;
    use serde_json::json;

    use super::*;
    use crate::engine::{Caller, Execution, Retain, SystemClock};

    #[test]
    fn what_is_gone_is_told_as_far_as_it_was_asked_for() {
        let gone = |range| gone_before(range, Seq(11)).map(|(from, to)| (from.0, to.0));
        for range in [FetchRange::Latest, FetchRange::AfterTime(5), FetchRange::Around(Seq(3))] {
            assert_eq!(gone(range), Some((1, 10)), "{range:?}");
        }
        assert_eq!(gone(FetchRange::After(Seq(4))), Some((5, 10)));
        assert_eq!(gone(FetchRange::After(Seq(10))), None);
        assert_eq!(gone(FetchRange::After(Seq(u64::MAX))), None);
        assert_eq!(gone(FetchRange::Before(Seq(4))), Some((1, 3)));
        assert_eq!(gone(FetchRange::Before(Seq(1))), None);
        assert_eq!(gone_before(FetchRange::Latest, Seq(1)), None);
    }

    #[tokio::test]
    async fn a_page_of_what_is_gone_says_so() {
        let clock = std::sync::Arc::new(SystemClock);
        let (engine, stopper) = Engine::start(Store::memory(), Durability::Memory, clock, Execution::Threads);
        let (name, ops) = (ConversationName::new("room").unwrap(), UserId::new("ops").unwrap());
        let caller = || Caller::Operator(ops.clone());
        let members = vec![UserId::new("bob").unwrap()];
        let create =
            Change::Create { kind: ConversationKind::Group, title: String::new(), members, open: false };
        engine.change(caller(), &name, create).await.unwrap();
        for count in [4, 3, 2] {
            let count = Retention { count, ..Retention::FOR_EVER };
            engine.retain(caller(), &name, Retain::Policy(count)).await.unwrap();
        }
        let page = async |range| read(&engine, &name, range, 10).await.unwrap();
        let all = page(FetchRange::Latest).await;
        let (floor, head) = (all["floor"].as_u64().unwrap(), all["head"].as_u64().unwrap());
        assert!(floor > 2 && floor < head, "{all}");
        let gone = json!([{ "from": 1, "to": floor - 1 }]);
        assert_eq!((&all["gaps"], &all["from"], &all["to"]), (&gone, &json!(1), &json!(head)));
        assert_eq!(all["more_before"], false);
        let early = page(FetchRange::Before(Seq(floor))).await;
        assert_eq!((&early["gaps"], &early["events"]), (&gone, &json!([])));
        assert_eq!(
            (&early["from"], &early["to"], &early["more_after"]),
            (&json!(1), &json!(floor - 1), &json!(true))
        );
        let later = page(FetchRange::After(Seq(floor - 1))).await;
        assert_eq!((&later["gaps"], &later["from"]), (&json!([]), &json!(floor)));
        // One with others before it says nothing of what is before these.
        let last = read(&engine, &name, FetchRange::Latest, 1).await.unwrap();
        assert_eq!((&last["gaps"], &last["from"]), (&json!([]), &json!(head)));
        assert_eq!(last["more_before"], true);
        drop(stopper);
    }
}
