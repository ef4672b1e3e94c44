//! Managed conversations: who is in them as what, and what holds there.
//!
//! A conversation's state is what its events come to ([`ConversationState::apply`]), in their order and
//! nothing else. What somebody asks for is a [`Change`]; [`decide`] turns it into the events that make it so,
//! or refuses it. The store keeps the state as registers, which each event's record carries
//! ([`ConversationState::registers`]), so it is there again without reading the events
//! ([`ConversationState::load`]).

mod change;
mod decide;
mod fold;
pub mod registers;
pub mod slow;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod user;

pub use change::{Actor, Change};
pub use decide::{Context, decide};
pub use fold::{Fact, Touched};
pub use registers::{Damaged, PREFIXES, RegisterChange};
pub use state::{ConversationState, Invitation, Member, Present};

use quoth_protocol::Code;

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The code that the client is told.
    pub code: Code,
    /// When it may be tried again, in milliseconds from now; 0 when the code does not depend on time.
    pub retry_after_ms: u32,
    /// Why, for people.
    pub reason: &'static str,
}

impl Refusal {
    /// Not allowed, or no such conversation: nobody can tell the one from the other.
    pub const FORBIDDEN: Self = Self::new(Code::FORBIDDEN, "not allowed, or no such conversation");

    /// What only conversations with members have, asked of one that has none. It tells no more than
    /// reading there would, so only who may read or write there is told.
    pub const UNMANAGED: Self = Self::invalid(
        "this conversation has no members, since nobody has created it: members, roles, a retention that they set and a place \
         in lists are for conversations that were created before anything was said there",
    );

    /// A refusal that does not depend on time.
    #[must_use]
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, retry_after_ms: 0, reason }
    }

    /// What cannot be asked for.
    #[must_use]
    pub const fn invalid(reason: &'static str) -> Self {
        Self::new(Code::INVALID_REQUEST, reason)
    }

    /// A refusal that is over at `until_ms`.
    #[must_use]
    pub fn until(code: Code, reason: &'static str, until_ms: u64, now_ms: u64) -> Self {
        let retry_after_ms = u32::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX);
        Self { code, retry_after_ms, reason }
    }
}

/// Numbers that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Members that a conversation has at most.
    pub members_max: u32,
    /// For how long its sender may edit a message, in milliseconds; 0: for ever.
    pub edit_within_ms: u64,
    /// For how long its sender may revoke a message, in milliseconds; 0: for ever.
    pub revoke_within_ms: u64,
}

/// For how long messages may be edited and revoked by default, in milliseconds: two days, as other messengers
/// do it.
const TWO_DAYS_MS: u64 = 2 * 24 * 60 * 60 * 1_000;

impl Default for Rules {
    fn default() -> Self {
        let members_max = quoth_protocol::limits::MEMBERS_MAX;
        Self { members_max, edit_within_ms: TWO_DAYS_MS, revoke_within_ms: TWO_DAYS_MS }
    }
}
