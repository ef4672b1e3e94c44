//! Whether others are there, as one user may know it.

use quoth_core::authorize::Action;
use quoth_core::membership::{Actor, ConversationState, Refusal};
use quoth_protocol::limits::WATCHED_MEMBERS_MAX;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName, UserId};

use super::Service;
use super::connection::Shared;
use super::requests::{allowed, unreadable};
use crate::sessions::Members;

/// Whether somebody is there for `me`, and when a device was last connected, in milliseconds since 1970. One
/// who has blocked `me` has gone then for `me`, as everybody goes, so a moment later, and has not come back.
pub(super) async fn of(service: &Service, me: &UserId, user: &UserId) -> Result<(Status, u64), Refusal> {
    let now_ms = service.engine.now_ms();
    let (status, last_seen_ms) = service.sessions.status(user, now_ms).await;
    let Some(since_ms) = blocked_since(service, user, me).await? else { return Ok((status, last_seen_ms)) };
    let last_seen_ms = last_seen_ms.min(since_ms);
    let is_gone = service.sessions.leaves_ms(last_seen_ms) <= now_ms;
    Ok((if is_gone { Status::Offline } else { status }, last_seen_ms))
}

/// Watches the members of a conversation for the connection; those who have blocked its user are not there
/// for it.
pub(super) async fn watch(shared: &Shared, name: &ConversationName) -> Result<(), Refusal> {
    let too_many = |code| Refusal::new(code, "this connection watches too many conversations");
    // First, so that no change is missed that comes while it is judged.
    let is_new = shared.watcher.begin(name, shared.service.engine.now_ms()).map_err(too_many)?;
    let members = members(shared, name).await;
    if is_new && members.is_err() {
        shared.watcher.unwatch(name);
    }
    shared.watcher.watch(name, members?, shared.service.engine.now_ms()).map_err(too_many)
}

/// Whom the connection's user may watch of a conversation.
async fn members(shared: &Shared, name: &ConversationName) -> Result<Members, Refusal> {
    let grant = shared.grant.borrow().clone();
    let engine = &shared.service.engine;
    let others = |state: Option<&ConversationState>| {
        let actor = Actor::User(&grant);
        let state = allowed(actor, Action::Members, name, state, engine.now_ms())?;
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

/// Looks anew who is to be watched of a conversation. Without the right to that it is watched no more.
pub(super) async fn review(shared: &Shared, name: &ConversationName) {
    if shared.watcher.is_watching(name) && watch(shared, name).await.is_err() {
        shared.watcher.unwatch(name);
    }
}

async fn blocked_since(service: &Service, user: &UserId, me: &UserId) -> Result<Option<u64>, Refusal> {
    service.engine.blocked_since(user, me).await.map_err(|error| unreadable(&error))
}
