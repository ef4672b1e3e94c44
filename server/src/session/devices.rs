//! Requests about the user's own devices.

use quoth_core::membership::Refusal;
use quoth_protocol::reply::{Reply, SessionInfo};
use quoth_protocol::{ConversationName, DeviceId};

use super::connection::Shared;
use super::requests::nothing_stored;

/// The user's devices.
pub(super) async fn all(shared: &Shared) -> Vec<SessionInfo> {
    let user = shared.grant.borrow().user.clone();
    shared.service.sessions.session_infos(&user).await
}

/// Ends the connections of another device.
pub(super) fn end(shared: &Shared, device: &DeviceId) -> Result<Reply, Refusal> {
    let own = shared.watcher.device();
    if own.as_ref() == Some(device) {
        return Err(Refusal::invalid("this is the device itself: close its connection"));
    }
    let user = shared.grant.borrow().user.clone();
    let by = own.map_or_else(|| "another device".to_owned(), |own| own.to_string());
    let reason = format!("signed out from {by}");
    shared.service.sessions.kick(&user, Some(device), &reason);
    Ok(nothing_stored(ConversationName::me()))
}
