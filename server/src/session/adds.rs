//! How many users a user adds to conversations, and how many conversations a user makes.

use std::collections::HashSet;

use quoth_core::authorize::Grant;
use quoth_core::membership::{ConversationState, Refusal};
use quoth_protocol::limits::CREATE_MEMBERS_MAX;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};

use super::connection::Shared;
use super::requests::unreadable;

/// Counts what a request adds, but for tokens with `publish_as`, which speak for many.
///
/// # Errors
/// When it is too much for now.
pub(super) async fn may(shared: &Shared, grant: &Grant, request: &Request) -> Result<(), Refusal> {
    if !grant.publish_as.is_empty() {
        return Ok(());
    }
    let count = count(shared, &grant.user, request).await?;
    if count == 0 {
        return Ok(());
    }
    let added = shared.service.paces.add(&grant.user, count, shared.service.engine.now_ms());
    added.map_err(|wait_ms| Refusal {
        code: Code::RATE_LIMITED,
        retry_after_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
        reason: "you have added too many users or made too many conversations within the last hour: invite them, or wait",
    })
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
