//! What becomes of messages once they are said: edits, reactions, and what nobody is to have any more.
//!
//! The state of a message is what the events about it come to ([`MessageState::apply`]). What somebody asks
//! for is an [`Alteration`]; [`decide`] turns it into the event that makes it so, or refuses it. The store
//! keeps the states as registers of the conversation, so they are there without the events. Clients come to
//! the same, by the events alone or by pages of history and the states behind them.

mod about;
mod absent;
mod decide;
mod registers;
mod state;
#[cfg(test)]
mod tests;

pub use about::ends_with;
pub use absent::Absent;
pub use decide::{Alteration, Context, Target, decide};
pub use registers::{
    ABSENT, HIDDEN, OF_EVENT, REACTION, SUMMARY, Summary, absent_key, decode_edit, edit_key, hidden_key,
    hidden_of, hidden_prefix, reacted, reaction_key, reactions_prefix, seq_of, summary_key,
};
pub use state::{Altered, MessageState, REMOVED_REACTIONS_MAX};
