//! `GET /v1/conversations`: everything that has messages or members, or something set for it beforehand, for whoever looks after the server.

use quoth_protocol::ConversationName;
use serde::Serialize;
use serde_json::json;

use super::conversations::{Page, get, page};
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::Listed;

pub(super) fn operations(operations: Operations) -> Operations {
    let summary = "All conversations, each once, in no order that means anything";
    operations.add(
        Operation {
            parameters: page("the page begins behind this conversation"),
            ..get("conversations", "/v1/conversations", summary, "List")
        },
        list,
    )
}

/// A conversation in the list.
#[derive(Debug, Serialize)]
struct Row<'a> {
    conversation: &'a ConversationName,
    /// `None` for one that nobody has created.
    kind: Option<quoth_protocol::membership::ConversationKind>,
    title: String,
    members: u32,
    /// `null` where rows are damaged.
    head: Option<u64>,
}

impl<'a> Row<'a> {
    fn damaged(conversation: &'a ConversationName) -> Self {
        Self { conversation, kind: None, title: String::new(), members: 0, head: None }
    }
}

async fn list(call: Call) -> Result<Answer, Problem> {
    let page: Page<ConversationName> = call.query()?;
    let limit = usize::try_from(page.limit()?).unwrap_or(usize::MAX);
    let engine = &call.app.service.engine;
    let (listed, more) = engine.list(page.after.as_ref(), limit).await.map_err(|error| unreadable(&error))?;
    let mut rows = Vec::with_capacity(listed.len());
    for Listed { name, head } in &listed {
        let row = engine.with_state(name, |state| Row {
            conversation: name,
            kind: state.map(|state| state.kind()),
            title: state.map(|state| state.title().to_owned()).unwrap_or_default(),
            members: state.map_or(0, |state| state.members_count()),
            head: head.map(|head| head.0),
        });
        rows.push(match row.await {
            Ok(row) => row,
            // It holds up no list.
            Err(error) if error.is_damage() => Row::damaged(name),
            Err(error) => return Err(unreadable(&error)),
        });
    }
    Answer::of(&json!({ "conversations": rows, "more": more }))
}

fn unreadable(error: &quoth_store::ViewError) -> Problem {
    tracing::error!(%error, "the conversations cannot be listed");
    Problem::of(quoth_protocol::Code::STORE_FAILED, 0, "the store cannot be read: see the server's log")
}
