//! What becomes of messages: `docs/PROTOCOL.md`, section 13, says what each request needs.

use bytes::Bytes;
use quoth_protocol::limits::MESSAGES_PAGE_MAX;
use quoth_protocol::message::MessageState;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, Seq, UserId};

use super::{Done, RequestError};
use crate::conversation::Conversation;

/// What messages have come to, from [`Conversation::messages`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageStates {
    /// Those that are there, in the order in which they were asked for, also those without edits and
    /// reactions.
    pub states: Vec<MessageState>,
    /// Those that are absent or no messages, in the same order.
    pub absent: Vec<Seq>,
}

/// How long a conversation is kept from a request on, and what goes by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Where.
    pub conversation: ConversationName,
    /// The event that says so; `None` when nothing had to change, or was to be changed.
    pub seq: Option<Seq>,
    /// When that was stored, in milliseconds since 1970 on the server's clock; 0 when nothing was.
    pub time_ms: u64,
    /// How long events are kept by that.
    pub retention: Retention,
    /// So many events that were there are beyond it. They are gone for everybody, but for what the operator
    /// holds, which nobody is told.
    pub events: u64,
    /// Bytes of what they say.
    pub bytes: u64,
}

/// What becomes of messages.
impl Conversation {
    /// Makes one of the user's messages say something else, and mention exactly these users (at most 50).
    /// Whoever has asked for that text already gets a [`Done`] without a seq.
    ///
    /// # Errors
    /// Every [`RequestError`]; `FORBIDDEN` for another one's message, `NOT_FOUND_MESSAGE` for one that is
    /// absent or none, `TOO_OLD` for one that is older than the server allows, `TOO_LARGE` for a body over
    /// 65,536 bytes.
    pub async fn edit(
        &self,
        seq: Seq,
        body: impl Into<Bytes>,
        mentions: &[UserId],
    ) -> Result<Done, RequestError> {
        let (conversation, body, mentions) = (self.name().clone(), body.into(), mentions.to_vec());
        self.shared.change(Request::Edit { conversation, seq, body, mentions }).await
    }

    /// Takes a message away from everybody: one of the user's, or of others for who may delete any. One that
    /// was taken back before its answer came, over a lost connection, is done as well.
    ///
    /// # Errors
    /// Every [`RequestError`]; `NOT_FOUND_MESSAGE` for one that is absent or none, `TOO_OLD` for one that is
    /// older than the server allows.
    pub async fn revoke(&self, seq: Seq) -> Result<Done, RequestError> {
        let conversation = self.name().clone();
        let request = Request::Revoke { conversation: conversation.clone(), seq };
        let answer = self.shared.answer(request).await?;
        match answer.reply {
            // It was done, by the request before: section 13 of the protocol says so.
            Reply::Refused { code: Code::NOT_FOUND_MESSAGE, .. } if answer.was_repeated => {
                Ok(Done { conversation, seq: None, time_ms: 0 })
            }
            Reply::Done { conversation, seq, time_ms } => {
                Ok(Done { conversation, seq: (seq > Seq::ZERO).then_some(seq), time_ms })
            }
            other => Err(RequestError::of(other)),
        }
    }

    /// Says that the user reacts to a message (`on`), or does no more. A reaction is an emoji or a short
    /// word, at most 32 bytes.
    ///
    /// # Errors
    /// Every [`RequestError`]; `INVALID_REQUEST` for a text that is no reaction, `NOT_FOUND_MESSAGE` for a
    /// message that is absent or none, `TOO_MANY` for one with 50 different reactions.
    pub async fn react(&self, seq: Seq, reaction: impl Into<String>, on: bool) -> Result<Done, RequestError> {
        let (conversation, reaction) = (self.name().clone(), reaction.into());
        self.shared.change(Request::React { conversation, seq, reaction, on }).await
    }

    /// Has a message left out for this user alone, on all devices:
    /// [`EventKind::Hidden`](crate::EventKind::Hidden) in `$me` tells them. The server goes on to deliver it;
    /// a [`View`](crate::View) leaves it out.
    ///
    /// # Errors
    /// Every [`RequestError`]; `NOT_FOUND_MESSAGE` for one that is absent or none.
    pub async fn hide(&self, seq: Seq) -> Result<Done, RequestError> {
        self.shared.change(Request::Hide { conversation: self.name().clone(), seq }).await
    }

    /// What these messages have come to by now. More than 100 are asked for in parts.
    ///
    /// # Errors
    /// Every [`RequestError`].
    pub async fn messages(&self, seqs: &[Seq]) -> Result<MessageStates, RequestError> {
        let mut told = MessageStates::default();
        for seqs in seqs.chunks(MESSAGES_PAGE_MAX) {
            let mut left = seqs.to_vec();
            while !left.is_empty() {
                let (conversation, asked) = (self.name().clone(), left.len());
                let reply = self.shared.ask(Request::Messages { conversation, seqs: left.clone() }).await?;
                let (states, absent, more) =
                    expect!(reply, Reply::Messages { states, absent, more } => (states, absent, more))?;
                left.retain(|seq| !absent.contains(seq) && states.iter().all(|state| state.seq != *seq));
                told.states.extend(states);
                told.absent.extend(absent);
                if !more {
                    break;
                }
                if left.len() == asked {
                    return Err(RequestError::Protocol(
                        "a part of what messages have come to tells of none".into(),
                    ));
                }
            }
        }
        Ok(told)
    }

    /// Says how long the conversation's events are kept from now on; `None`: as the operator's rules say. A
    /// longer one brings nothing back. What holds now, [`Client::describe`](crate::Client::describe) tells, and
    /// what would go, [`Conversation::preview_retention`].
    ///
    /// # Errors
    /// Every [`RequestError`]; it needs the permission to manage.
    pub async fn set_retention(&self, retention: Option<Retention>) -> Result<Retained, RequestError> {
        self.retain(retention, false).await
    }

    /// What [`Conversation::set_retention`] would come to. Nothing is changed.
    ///
    /// # Errors
    /// Every [`RequestError`]; it needs the same permission.
    pub async fn preview_retention(&self, retention: Option<Retention>) -> Result<Retained, RequestError> {
        self.retain(retention, true).await
    }

    async fn retain(&self, retention: Option<Retention>, dry_run: bool) -> Result<Retained, RequestError> {
        let conversation = self.name().clone();
        let reply = self.shared.ask(Request::SetRetention { conversation, retention, dry_run }).await?;
        expect!(reply, Reply::Retained { conversation, seq, time_ms, retention, events, bytes } => {
            let seq = (seq > Seq::ZERO).then_some(seq);
            Retained { conversation, seq, time_ms, retention, events, bytes }
        })
    }
}
