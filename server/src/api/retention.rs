//! `/v1/retention` and how each conversation is kept.

use axum::http::Method;
use quoth_core::membership::Refusal;
use quoth_core::retention::{CLASSES_MAX, Classes, RetentionClass, check_names};
use quoth_protocol::name::Reserved;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, Seq};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversations::refused;
use super::erasure::erasing;
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, given};
use super::problem::Problem;
use crate::engine::{Busy, Caller, Done, Effect, Gone, Looked, Retain, Retained};

const OF_CONVERSATION: &str = "/v1/conversations/{conversation}/retention";
const PREVIEW: &str = "/v1/conversations/{conversation}/retention/preview";
const OF_CLASSES: &str = "/v1/retention/preview";
const RUN: &str = "/v1/retention/run";
const HOLD: &str = "/v1/conversations/{conversation}/hold";
const RELEASE_PREVIEW: &str = "/v1/conversations/{conversation}/hold/preview";

/// What a hold keeps is evidence, and gone for good when it ends: no key that only makes conversations decides that.
const OF_HOLDS: Scope = Scope::Admin;

pub(super) fn operations(operations: Operations) -> Operations {
    let (get, put, of_conversations) = (Method::GET, Method::PUT, Scope::Conversations);
    let set = "Set how long events are kept; what is absent by then stays so";
    let hold = "Keep what is not absent, whatever its retention says";
    let operations = operations
        .add(
            operation(
                "retention",
                get,
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
                Some("Bounds"),
                "Retained",
            ),
            |call| async move {
                let policy = Retain::Policy(call.json::<Bounds>()?.retention()?);
                retain(&call, policy).await
            },
        )
        .add(
            operation(
                "previewRetention",
                Method::POST,
                PREVIEW,
                of_conversations,
                "What setting this would make absent; changes nothing",
                Some("Proposal"),
                "Preview",
            ),
            |call| async move { preview(&call, call.json::<Proposal>()?.retain()?).await },
        )
        .add(
            operation(
                "unsetRetention",
                Method::DELETE,
                OF_CONVERSATION,
                of_conversations,
                "Keep events as its class says again; what is absent by then stays so",
                None,
                "Retained",
            ),
            |call| async move { retain(&call, Retain::Class).await },
        )
        .add(operation("hold", put, HOLD, OF_HOLDS, hold, None, "Retained"), |call| async move {
            retain(&call, Retain::Hold(true)).await
        })
        .add(
            operation("release", Method::DELETE, HOLD, OF_HOLDS, "End a hold", None, "Retained"),
            |call| async move { retain(&call, Retain::Hold(false)).await },
        )
        .add(
            operation(
                "previewRelease",
                Method::POST,
                RELEASE_PREVIEW,
                OF_HOLDS,
                "What ending a hold would make absent; changes nothing",
                None,
                "Preview",
            ),
            |call| async move { preview(&call, Retain::Hold(false)).await },
        );
    of_the_store(operations)
}

/// Of all conversations together.
fn of_the_store(operations: Operations) -> Operations {
    let get =
        |id, path, summary, response| operation(id, Method::GET, path, Scope::Stats, summary, None, response);
    let run = "Have the space of what is absent freed now, all that can be";
    operations
        .add(
            get(
                "retentionPlan",
                "/v1/retention",
                "What is absent, and when its space is freed",
                "RetentionPlan",
            ),
            plan,
        )
        .add(
            operation(
                "previewClasses",
                Method::POST,
                OF_CLASSES,
                // It names conversations by whatever prefix is asked for.
                Scope::Conversations,
                "What retention.classes would make absent if the server were started with them; changes nothing",
                Some("RetentionClasses"),
                "Loss",
            ),
            loss,
        )
        .add(operation("reclaim", Method::POST, RUN, Scope::Admin, run, None, "Run"), |call| async move {
            Answer::of(&json!({ "run": call.app.service.engine.reclaim_soon() }))
        })
        .add(get("reclaims", RUN, "How far that is, and what has become of those before", "Runs"), |call| async move {
            let (running, ended) = call.app.service.engine.passes();
            Answer::of(&json!({ "running": running, "ended": ended }))
        })
}

fn operation(
    id: &'static str,
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    request: Option<&'static str>,
    response: &'static str,
) -> Operation {
    let (scope, parameters) = (Some(scope), Vec::new());
    Operation { id, method, path, scope, summary, parameters, request, response, refusals: &[404] }
}

/// How a conversation is to be kept, by the bounds that are given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    #[serde(default, deserialize_with = "given")]
    age_s: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    count: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    bytes: Option<u64>,
}

impl Bounds {
    fn retention(&self) -> Result<Retention, Problem> {
        let Self { age_s, count, bytes } = *self;
        if age_s.or(count).or(bytes).is_none() {
            return Err(Problem::invalid(
                "the body: give age_s, count or bytes, the others are no bound then; all of them 0 keep everything, and DELETE \
                 lets its class say it",
            ));
        }
        let [age_s, count, bytes] = [age_s, count, bytes].map(Option::unwrap_or_default);
        Ok(Retention { age_s, count, bytes })
    }
}

/// How a conversation would be kept: by bounds, or as its class says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    #[serde(default)]
    by_class: bool,
    #[serde(default, deserialize_with = "given")]
    age_s: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    count: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    bytes: Option<u64>,
}

impl Proposal {
    fn retain(&self) -> Result<Retain, Problem> {
        let Self { by_class, age_s, count, bytes } = *self;
        let bounds = Bounds { age_s, count, bytes };
        match by_class {
            true if age_s.or(count).or(bytes).is_some() => {
                Err(Problem::invalid("the body: give bounds, or by_class, which has its own"))
            }
            true => Ok(Retain::Class),
            false => bounds.retention().map(Retain::Policy),
        }
    }
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
    if bounds.head == Seq::ZERO && !kept.is_set() {
        return Err(nothing_there());
    }
    Answer::of(&json!({
        "retention": kept.policy.unwrap_or(of_class), "own": kept.policy.is_some(), "hold_ms": kept.hold_ms,
        "head": bounds.head, "floor": bounds.floor,
    }))
}

async fn preview(call: &Call, retain: Retain) -> Result<Answer, Problem> {
    let conversation: ConversationName = call.path("conversation")?;
    let caller = Caller::Operator(call.caller()?.name.clone());
    match call.app.service.engine.would_retain(&caller, &conversation, retain).await {
        Ok(effect) => {
            let mut told = told(&effect);
            told["floor"] = json!(effect.floor.seq);
            told["floor_then"] = json!(effect.floor_then.seq);
            Answer::of(&told)
        }
        Err(refusal) => Err(not_retained(call, refusal, conversation).await),
    }
}

/// How a conversation is kept behind a change, and what goes by that.
fn told(effect: &Effect) -> Value {
    let (Effect { kept, policy, head, .. }, gone, held) = (effect, effect.gone(), effect.held());
    let (Gone { events, bytes }, Gone { events: held_events, bytes: held_bytes }) = (gone, held);
    json!({
        "retention": policy, "own": kept.policy.is_some(), "hold_ms": kept.hold_ms, "head": head,
        "events": events, "bytes": bytes, "held_events": held_events, "held_bytes": held_bytes,
    })
}

fn nothing_there() -> Problem {
    Problem::not_found(
        "nothing was ever said in a conversation of this name, nobody has made one, and nothing was set for it: GET /v1/conversations \
         has all there are",
    )
}

async fn retain(call: &Call, retain: Retain) -> Result<Answer, Problem> {
    let conversation: ConversationName = call.path("conversation")?;
    let caller = Caller::Operator(call.caller()?.name.clone());
    match call.app.service.engine.retain(caller, &conversation, retain).await {
        Ok(Retained { done: Done { conversation, seq, time_ms }, effect }) => {
            let mut told = told(&effect);
            told["conversation"] = json!(conversation);
            told["seq"] = json!(seq);
            told["time_ms"] = json!(time_ms);
            Answer::of(&told)
        }
        Err(refusal) => Err(not_retained(call, refusal, conversation).await),
    }
}

/// Why an operator cannot set something for a conversation, or ask what would come of it.
async fn not_retained(call: &Call, refusal: Refusal, conversation: ConversationName) -> Problem {
    // There is no rule by which an operator might not, but for what is the server's own.
    let is_own = conversation.is_me() || conversation.reserved() == Some(Reserved::Server);
    match refusal.code {
        Code::FORBIDDEN if !is_own => nothing_there(),
        _ => refused(call, refusal, Some(conversation)).await,
    }
}

/// All classes that would be configured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    classes: Vec<String>,
}

async fn loss(call: Call) -> Result<Answer, Problem> {
    let Configured { classes } = call.json()?;
    if classes.len() > CLASSES_MAX {
        return Err(Problem::invalid(format!("classes: at most {CLASSES_MAX}")));
    }
    let classes: Result<Vec<RetentionClass>, _> = classes.iter().map(|class| class.parse()).collect();
    let classes = classes.and_then(|classes| check_names(&classes).map(|()| classes));
    let classes = classes.map_err(|error| Problem::invalid(format!("classes: {error}")))?;
    match call.app.service.engine.loss_by(Classes::new(classes)).await.map_err(|error| unreadable(&error))? {
        Ok(loss) => Answer::of(&loss.to_json()),
        Err(Busy { retry_after_ms }) => Err(Problem::of(
            Code::OVERLOADED,
            retry_after_ms,
            "a preview of classes reads all there is, so one at a time does, and such that take long have rests between them",
        )),
    }
}

/// Names are told to who may ask for them elsewhere: whoever measures learns how much goes, not who talks to whom.
async fn plan(call: Call) -> Result<Answer, Problem> {
    let (engine, caller) = (&call.app.service.engine, call.caller()?);
    let Looked { overview, at_ms, .. } = engine.looked().await.map_err(|error| unreadable(&error))?;
    let (stats, outstanding) = (engine.stats(), engine.outstanding());
    let mut told = overview.to_json(&outstanding);
    if let Some(told) = told.as_object_mut().filter(|_| !caller.may(Scope::Conversations)) {
        told.remove("conversations");
        told.remove("holds");
    }
    if caller.may(Scope::Admin) {
        told["erasures"] = json!(erasing(engine).await.map_err(|error| unreadable(&error))?);
    }
    told["looked_ms"] = at_ms.into();
    told["reclaimed_bytes"] = stats.reclaimed_bytes.into();
    told["view_bytes"] = stats.view_bytes.into();
    Answer::of(&told)
}
