//! Who must stay out of a conversation and how others may come in: `/v1/conversations/{conversation}/bans`
//! and `…/invitations`, as an operator looks at them.

use axum::http::Method;
use quoth_core::membership::{Change, ConversationState, Refusal};
use quoth_protocol::membership::Role;
use quoth_protocol::{Code, ConversationName, UserId};
use serde::Serialize;
use serde_json::json;

use super::conversations::{Page, change, get, page, refused};
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use crate::engine::{Caller, Done};

const BANS: &str = "/v1/conversations/{conversation}/bans";
const INVITATIONS: &str = "/v1/conversations/{conversation}/invitations";
const INVITATION: &str = "/v1/conversations/{conversation}/invitations/{hash}";

pub(super) fn operations(operations: Operations) -> Operations {
    let of_one = "End an invitation: that of this hash, as the list of them has it";
    operations
        .add(
            Operation {
                parameters: page("the page begins behind this user"),
                ..get("bans", BANS, "Who is banned, and until when", "Bans")
            },
            bans,
        )
        .add(
            get("invitations", INVITATIONS, "The invitations that hold, without their texts", "Invitations"),
            invitations,
        )
        .add(change("revokeInvitation", Method::DELETE, INVITATION, of_one, None), revoke_invitation)
}

/// A user who is banned.
#[derive(Debug, Serialize)]
struct Ban {
    user: UserId,
    /// `u64::MAX`: for ever.
    until_ms: u64,
}

/// An invitation that holds.
#[derive(Debug, Serialize)]
struct Invitation {
    hash: quoth_protocol::membership::InvitationHash,
    role: Role,
    /// 0: it has no end.
    expires_ms: u64,
    /// `None`: any number.
    uses_left: Option<u32>,
}

async fn bans(call: Call) -> Result<Answer, Problem> {
    let page: Page<UserId> = call.query()?;
    let limit = usize::try_from(page.limit()?).unwrap_or(usize::MAX);
    let mut bans = look(&call, |state, now_ms| {
        let bans = state.bans_after(page.after.as_ref(), now_ms).take(limit.saturating_add(1));
        bans.map(|(user, until_ms)| Ban { user: user.clone(), until_ms }).collect::<Vec<_>>()
    })
    .await?;
    let more = bans.len() > limit;
    bans.truncate(limit);
    Answer::of(&json!({ "bans": bans, "more": more }))
}

async fn invitations(call: Call) -> Result<Answer, Problem> {
    let invitations = look(&call, |state, now_ms| {
        let all = state.invitations(now_ms).map(|(hash, invitation)| Invitation {
            hash: *hash,
            role: invitation.role,
            expires_ms: invitation.expires_ms,
            uses_left: invitation.uses_left,
        });
        all.collect::<Vec<_>>()
    })
    .await?;
    Answer::of(&json!({ "invitations": invitations }))
}

async fn revoke_invitation(call: Call) -> Result<Answer, Problem> {
    let (conversation, hash): (ConversationName, _) = (call.path("conversation")?, call.path("hash")?);
    let caller = Caller::Operator(call.caller()?.name.clone());
    let change = Change::RevokeInvitation { hash };
    match call.app.service.engine.change(caller, &conversation, change).await {
        Ok(Done { conversation, seq, time_ms }) => {
            Answer::of(&json!({ "conversation": conversation, "seq": seq, "time_ms": time_ms }))
        }
        Err(refusal) => Err(refused(&call, refusal, Some(conversation)).await),
    }
}

/// Looks at the conversation of the path as it is now.
async fn look<T>(call: &Call, look: impl FnOnce(&ConversationState, u64) -> T) -> Result<T, Problem> {
    let (name, engine): (ConversationName, _) = (call.path("conversation")?, &call.app.service.engine);
    let now_ms = engine.judged_ms();
    let looked = engine.with_state(&name, |state| state.map(|state| look(state, now_ms))).await;
    match looked {
        Ok(Some(looked)) => Ok(looked),
        Ok(None) => Err(refused(call, Refusal::FORBIDDEN, Some(name)).await),
        Err(error) => {
            tracing::error!(%error, conversation = %name, "what is known of a conversation cannot be read");
            Err(Problem::of(Code::STORE_FAILED, 0, "the store cannot be read: see the server's log"))
        }
    }
}
