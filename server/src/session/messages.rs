//! Requests about messages that are said.

use quoth_core::membership::Refusal;
use quoth_core::messages::Alteration;
use quoth_protocol::limits::MESSAGES_PAGE_MAX;
use quoth_protocol::reply::Reply;
use quoth_protocol::{Code, ConversationName, Seq};

use super::requests::done;
use crate::engine::{Caller, Engine, MessageStates};

/// Does something to a message.
pub(super) async fn alter(
    engine: &Engine,
    caller: Caller,
    conversation: &ConversationName,
    seq: Seq,
    alteration: Alteration,
) -> Result<Reply, Refusal> {
    let mut stored = engine.alter(caller, conversation, seq, alteration).await?;
    // By the name that the client has for it.
    stored.conversation = conversation.clone();
    Ok(done(stored))
}

/// Tells what messages have come to.
pub(super) async fn states(
    engine: &Engine,
    caller: &Caller,
    conversation: &ConversationName,
    seqs: Vec<Seq>,
) -> Result<Reply, Refusal> {
    if seqs.len() > MESSAGES_PAGE_MAX {
        return Err(Refusal::new(Code::TOO_MANY, "ask for at most 100 messages at once"));
    }
    let MessageStates { states, absent, more } = engine.message_states(caller, conversation, seqs).await?;
    Ok(Reply::Messages { states, absent, more })
}
