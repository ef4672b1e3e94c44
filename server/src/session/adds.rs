//! How many users a user adds to conversations and takes out of them, and how many conversations a user makes.

use std::collections::HashSet;

use quoth_core::authorize::Grant;
use quoth_core::membership::{ConversationState, Refusal};
use quoth_protocol::limits::CREATE_MEMBERS_MAX;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};

use super::connection::Shared;
use super::requests::unreadable;

/// Counts what a request adds or takes out, but for tokens with `publish_as`, which speak for many.
///
/// # Errors
/// When it is too much for now.
pub(super) async fn may(shared: &Shared, grant: &Grant, request: &Request) -> Result<(), Refusal> {
    if !grant.publish_as.is_empty() {
        return Ok(());
    }
    let (paces, now_ms) = (&shared.service.paces, shared.service.engine.now_ms());
    if takes_out(shared, &grant.user, request).await? {
        let taken = paces.remove(&grant.user, now_ms);
        return taken.map_err(|wait_ms| {
            too_much(
                wait_ms,
                "you have removed or banned too many users within the last hour: wait, or ask the operator",
            )
        });
    }
    let count = count(shared, &grant.user, request).await?;
    if count == 0 {
        return Ok(());
    }
    paces.add(&grant.user, count, now_ms).map_err(|wait_ms| {
        too_much(wait_ms, "you have added too many users or made too many conversations within the last hour: invite them, or wait")
    })
}

fn too_much(wait_ms: u64, reason: &'static str) -> Refusal {
    let retry_after_ms = u32::try_from(wait_ms).unwrap_or(u32::MAX);
    Refusal { code: Code::RATE_LIMITED, retry_after_ms, reason }
}

/// Whether it takes somebody out of a conversation. For whoever may not know of the conversation it does.
async fn takes_out(shared: &Shared, me: &UserId, request: &Request) -> Result<bool, Refusal> {
    let (Request::Remove { conversation, user } | Request::Ban { conversation, user, until_ms: 1.. }) =
        request
    else {
        return Ok(false);
    };
    let is_out = |state: Option<&ConversationState>| {
        state.is_some_and(|state| state.present(me).is_some() && state.present(user).is_none())
    };
    let known = shared.service.engine.with_state(conversation, is_out).await;
    known.map(|is_out| !is_out).map_err(|error| unreadable(&error))
}

/// One for each user whom it adds, and one for a conversation that it makes.
async fn count(shared: &Shared, me: &UserId, request: &Request) -> Result<u64, Refusal> {
    match request {
        Request::Create { kind: ConversationKind::Direct, members, .. } => match members.as_slice() {
            [other] => {
                is_new(shared, &ConversationName::direct(me, other)).await.map(|is_new| 2 * u64::from(is_new))
            }
            [] | [_, _, ..] => Ok(0),
        },
        Request::Create { kind: ConversationKind::Notes, .. } => {
            is_new(shared, &ConversationName::notes(me)).await.map(u64::from)
        }
        // It will be told so.
        Request::Create { members, .. } if members.len() > CREATE_MEMBERS_MAX => Ok(0),
        Request::Create { members, .. } => {
            let others: HashSet<&UserId> = members.iter().filter(|user| *user != me).collect();
            Ok(others.len() as u64 + 1)
        }
        Request::SetMember { conversation, user, .. } => {
            // Whoever may not know of the conversation is counted as if it were none.
            let is_member = |state: Option<&ConversationState>| {
                state.is_some_and(|state| state.present(me).is_some() && state.present(user).is_some())
            };
            let known = shared.service.engine.with_state(conversation, is_member).await;
            Ok(u64::from(!known.map_err(|error| unreadable(&error))?))
        }
        _ => Ok(0),
    }
}

async fn is_new(shared: &Shared, name: &ConversationName) -> Result<bool, Refusal> {
    let state = shared.service.engine.with_state(name, |state| state.is_none()).await;
    state.map_err(|error| unreadable(&error))
}
