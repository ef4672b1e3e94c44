//! Whether others are there, as one user may know it.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use quoth_core::authorize::Action;
use quoth_core::membership::{Actor, ConversationState, Refusal};
use quoth_protocol::limits::WATCHED_MEMBERS_MAX;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, UserId};

use super::Service;
use super::connection::Shared;
use super::requests::{allowed, unreadable};
use crate::sessions::Members;

/// Users whose blocks are read at once, as far as they are not in memory.
const READS_AT_ONCE: usize = 32;

/// Whether these are there for `me`, and when a device of each was last connected, in milliseconds since
/// 1970; in their order. One who has blocked `me` has gone then for `me`, as everybody goes, so a moment
/// later, and has not come back.
pub(super) async fn of_each(
    service: &Service,
    me: &UserId,
    users: &[&UserId],
) -> Result<Vec<(Status, u64)>, Refusal> {
    let now_ms = service.engine.judged_ms();
    let statuses = service.sessions.statuses_of(users).await;
    let looks: Vec<_> = users.iter().map(|user| blocked_since(service, user, me)).collect();
    let blocks: Vec<Option<u64>> = stream::iter(looks).buffered(READS_AT_ONCE).try_collect().await?;
    let for_me = |((status, last_seen_ms), blocked_since): ((Status, u64), Option<u64>)| match blocked_since {
        Some(since_ms) => {
            let last_seen_ms = last_seen_ms.min(since_ms);
            let is_gone = service.sessions.leaves_ms(last_seen_ms) <= now_ms;
            (if is_gone { Status::Offline } else { status }, last_seen_ms)
        }
        None => (status, last_seen_ms),
    };
    Ok(statuses.into_iter().zip(blocks).map(for_me).collect())
}

/// Watches the members of a conversation for the connection; those who have blocked its user are not there
/// for it. Without the right to that it is watched no more.
pub(super) async fn watch(shared: &Shared, name: &ConversationName) -> Result<(), Refusal> {
    let too_many = |code| Refusal::new(code, "this connection watches too many conversations");
    // First, so that no change is missed that comes while it is judged.
    let look = shared.watcher.look(name).map_err(too_many)?;
    let members = members(shared, name).await?;
    look.found(members).map_err(|code| match code {
        Code::TOO_MANY => Refusal::new(code, "the user watches too many members: watch fewer conversations"),
        _ => Refusal::FORBIDDEN,
    })
}

/// Whom the connection's user may watch of a conversation.
async fn members(shared: &Shared, name: &ConversationName) -> Result<Members, Refusal> {
    let grant = shared.grant.borrow().clone();
    let engine = &shared.service.engine;
    let others = |state: Option<&ConversationState>| {
        let actor = Actor::User(&grant);
        let state = allowed(actor, Action::Members, name, state, engine.judged_ms())?;
        if state.members_count() as usize > WATCHED_MEMBERS_MAX {
            return Err(Refusal::new(Code::TOO_MANY, "it has too many members to watch"));
        }
        let others = state.members_after(None).map(|(user, ..)| user).filter(|user| **user != grant.user);
        Ok(others.cloned().collect::<Vec<UserId>>())
    };
    let others = engine.with_state(name, others).await.map_err(|error| unreadable(&error))??;
    let mut members = Members::default();
    for other in others {
        match blocked_since(&shared.service, &other, &grant.user).await? {
            Some(since_ms) => drop(members.unseen.insert(other, since_ms)),
            None => drop(members.seen.insert(other)),
        }
    }
    Ok(members)
}

/// Looks anew who is to be watched of a conversation.
pub(super) async fn review(shared: &Shared, name: &ConversationName) {
    let Some(look) = shared.watcher.look_anew(name) else { return };
    // Where there is no right to it any more the look is dropped.
    if let Ok(members) = members(shared, name).await {
        let _watched_or_too_many = look.found(members);
    }
}

async fn blocked_since(service: &Service, user: &UserId, me: &UserId) -> Result<Option<u64>, Refusal> {
    service.engine.blocked_since(user, me).await.map_err(|error| unreadable(&error))
}
