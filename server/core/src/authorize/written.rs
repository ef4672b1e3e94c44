//! A message that somebody wants to change something of.

use quoth_protocol::membership::Role;
use quoth_protocol::{Code, UserId};

use super::Reach;
use crate::membership::{Actor, Refusal};

/// What is to be known of a message to say who may edit and revoke it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// Who has written it.
    pub sender: &'a UserId,
    /// What the sender is at present; `None` for who is no member, or where there are none.
    pub role: Option<Role>,
    /// Whether its sender still may, by the operator's time.
    pub is_recent: bool,
}

impl Written<'_> {
    /// Whether it is the actor's own: written by the actor, or in a name in which the actor may publish.
    pub(super) fn is_of(&self, actor: Actor<'_>) -> bool {
        match actor {
            Actor::User(grant) => grant.user == *self.sender || grant.publishes_as(self.sender),
            Actor::Operator { sender } => sender == self.sender,
        }
    }

    /// Its sender has so much time.
    pub(super) fn in_time(&self) -> Result<Reach, Refusal> {
        if self.is_recent {
            return Ok(Reach::Whole);
        }
        Err(Refusal::new(
            Code::TOO_OLD,
            "its sender has a while only to edit it or take it away (limits.edit_within_ms and limits.revoke_within_ms of the server); members with delete-any may take it away at any age",
        ))
    }
}
