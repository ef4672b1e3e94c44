//! `/v1/users/{user}/blocks`: whom a user wants nothing of, for backends that keep such lists or have to end
//! what somebody has asked for.

use axum::http::Method;
use quoth_core::membership::Refusal;
use quoth_protocol::{Code, UserId};
use serde_json::json;

use super::conversations::change;
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::{Caller, Done};

const BLOCKS: &str = "/v1/users/{user}/blocks";
const BLOCK: &str = "/v1/users/{user}/blocks/{whom}";

pub(super) fn operations(operations: Operations) -> Operations {
    let of = |id, method, path, summary, response, refusals| Operation {
        response,
        refusals,
        ..change(id, method, path, summary, None)
    };
    let block = "Block somebody in a user's name";
    operations
        .add(of("blocks", Method::GET, BLOCKS, "Whom a user has blocked", "Blocks", &[]), blocks)
        .add(of("block", Method::PUT, BLOCK, block, "Block", &[409]), |call| set(call, true))
        .add(of("unblock", Method::DELETE, BLOCK, "End a block", "Block", &[]), |call| set(call, false))
}

async fn blocks(call: Call) -> Result<Answer, Problem> {
    let user: UserId = call.path("user")?;
    match call.app.service.engine.blocked_by(&user).await {
        Ok(blocks) => Answer::of(&json!({ "blocks": blocks })),
        Err(error) => {
            tracing::error!(%error, %user, "whom a user has blocked cannot be read");
            Err(Problem::of(Code::STORE_FAILED, 0, "the store cannot be read: see the server's log"))
        }
    }
}

async fn set(call: Call, blocked: bool) -> Result<Answer, Problem> {
    let (user, whom): (UserId, UserId) = (call.path("user")?, call.path("whom")?);
    let caller = Caller::Operator(user.clone());
    match call.app.service.engine.block(caller, whom.clone(), blocked).await {
        Ok(Done { seq, time_ms, .. }) => Answer::of(
            &json!({ "user": user, "whom": whom, "blocked": blocked, "seq": seq, "time_ms": time_ms }),
        ),
        Err(Refusal { code, retry_after_ms, reason }) => Err(Problem::of(code, retry_after_ms, reason)),
    }
}
