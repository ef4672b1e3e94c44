//! Messages: whether they still may, and their places.

use std::ops::Range;
use std::sync::Arc;

use quoth_core::authorize::{Action, Grant, Place, Reach, Standing};
use quoth_core::conversation::{About, Append};
use quoth_core::membership::slow::LOOKED_AT_MAX;
use quoth_core::membership::{Actor, Refusal};
use quoth_core::sequencer::{Judged, Sequenced};
use quoth_protocol::frame::EventKind;
use quoth_protocol::{Code, ConversationName, Seq, UserId, codec};
use quoth_store::{Content, MessageId, PageLimit, Record, StoreError, View, ViewError};

use super::{Committer, Group};
use crate::engine::PublishRequest;
use crate::engine::access::Access;
use crate::engine::mailbox::{NotStored, Outcome, Stored};
use crate::engine::publisher::{Last, Prior, Publisher, Role};

/// Bytes of messages that are read to learn who has written: the committer waits for it.
const WRITTEN_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Committer {
    /// Sequences a message into a group, or takes its outcome.
    pub(super) fn publish(
        &mut self,
        mut request: PublishRequest,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let n = request.append.n;
        let result = match self.sequence(&request, now_ms) {
            Ok(Ok(Sequenced::Append { seq, time_ms })) => {
                let mut record = record(&mut request, seq, time_ms);
                let bytes = record.content.len() as u64;
                record.offset = self.sequencer.extend(&record.conversation, bytes);
                group.records.push(record);
                if let Some(known) = request.publisher.access.managed() {
                    self.posted(&request.publisher.conversation, known, time_ms, group);
                }
                Ok(Stored { seq, time_ms, duplicate: false })
            }
            Ok(Ok(Sequenced::Duplicate { seq, time_ms })) => Ok(Stored { seq, time_ms, duplicate: true }),
            Ok(Ok(_)) => {
                group.repeats.take(&mut request);
                return Ok(());
            }
            Ok(Err(refusal)) => Err(NotStored::Refused(refusal)),
            Err(error) if error.concerns_one_conversation() => {
                tracing::error!(%error, "a conversation takes no messages: its rows are damaged");
                Err(NotStored::Unknown(Code::STORE_FAILED))
            }
            Err(error) => return Err(error.into()),
        };
        group.outcomes.push((Arc::clone(&request.publisher), Outcome { n, result }));
        Ok(())
    }

    /// The order of the checks is the protocol's: the rights, then the id. Slow mode comes last, since a
    /// repeat is no message more.
    fn sequence(
        &mut self,
        request: &PublishRequest,
        now_ms: u64,
    ) -> Result<Result<Sequenced, Refusal>, ViewError> {
        let (publisher, n) = (&*request.publisher, request.append.n);
        let interval_ms = if publisher.access.sequenced() == request.version {
            request.slow_mode_interval_ms
        } else {
            match self.stand_again(publisher, now_ms) {
                Ok(standing) => standing.slow_mode_interval_ms(),
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        // What somebody publishes in the name of others is nobody's own turn.
        let is_own = request.append.sender == publisher.producer.user;
        if interval_ms > 0 && is_own && self.is_new(publisher, n)? {
            let (name, user) = (&publisher.conversation, &publisher.producer.user);
            if let Some(times_ms) = self.slow_modes.unknown(name, interval_ms, now_ms) {
                let written = written(&*self.parts.view, name, &times_ms)?;
                self.slow_modes.learn(name, interval_ms, written);
            }
            if let Err(refusal) = self.slow_modes.take(name, user, interval_ms, now_ms) {
                return Ok(Err(refusal));
            }
        }
        let (name, producer) = (&publisher.conversation, &publisher.producer);
        loop {
            match self.sequencer.sequence(name, producer, n, now_ms) {
                Sequenced::NeedConversation => self.load_conversation(publisher)?,
                Sequenced::NeedProducer => self.load_producer(publisher)?,
                sequenced => return Ok(Ok(sequenced)),
            }
        }
    }

    /// How a publisher stands by what is sequenced, which is ahead of what the stream has looked at. What the
    /// token says was looked at there and is not about versions.
    fn stand_again(&self, publisher: &Publisher, now_ms: u64) -> Result<Standing, Refusal> {
        let user = &publisher.producer.user;
        self.sequenced_place(&publisher.access, user, |place| {
            let grant = Grant::of_membership(user.clone());
            let actor = match publisher.role {
                Role::User => Actor::User(&grant),
                Role::Operator => Actor::Operator { sender: user },
            };
            let standing = Standing::new(actor, place);
            standing.allows(actor, Action::Publish, now_ms).map(|_: Reach| standing)
        })?
    }

    /// Looks at a conversation by what is sequenced, as the place where a user wants to do something.
    pub(super) fn sequenced_place<T>(
        &self,
        access: &Access,
        user: &UserId,
        look: impl FnOnce(Place<'_>) -> T,
    ) -> Result<T, Refusal> {
        let (conversation, other) = access.known().ok_or(Refusal::FORBIDDEN)?;
        let name = access.name();
        Ok(self.drafts.conversations.look(name, conversation, |state| {
            let other_user = state.as_ref().and_then(|state| state.other(user));
            let is_blocked = match (other_user, other) {
                (Some(other_user), Some(other)) => self.drafts.blocks(other_user, other, user),
                (Some(_), None) => Access::KNOWS_NOT,
                (None, _) => false,
            };
            look(Place { name, state: state.as_ref(), is_blocked })
        }))
    }

    pub(super) fn is_new(&mut self, publisher: &Publisher, n: u64) -> Result<bool, ViewError> {
        loop {
            match self.sequencer.judge(&publisher.conversation, &publisher.producer, n) {
                Judged::NeedConversation => self.load_conversation(publisher)?,
                Judged::NeedProducer => self.load_producer(publisher)?,
                Judged::New => return Ok(true),
                Judged::Known => return Ok(false),
            }
        }
    }

    /// Later publishes are not in it, but then the sequencer holds what they are about.
    fn prior<'a>(&self, publisher: &'a Publisher) -> Option<&'a Prior> {
        publisher.prior.get().filter(|prior| prior.applied >= self.horizon)
    }

    fn load_conversation(&mut self, publisher: &Publisher) -> Result<(), ViewError> {
        let name = &publisher.conversation;
        let last = match self.prior(publisher) {
            Some(Prior { last, .. }) => *last,
            None => Last::read(&*self.parts.view, name)?,
        };
        self.sequencer.load_conversation(name, last.seq, last.time_ms, last.end);
        Ok(())
    }

    fn load_producer(&mut self, publisher: &Publisher) -> Result<(), ViewError> {
        let (name, producer) = (&publisher.conversation, &publisher.producer);
        let highest = match self.prior(publisher) {
            Some(Prior { n, .. }) => *n,
            None => self.parts.view.producer(name, publisher.key)?.map(|state| state.n),
        };
        self.sequencer.load_producer(name, producer, highest);
        Ok(())
    }
}

/// Who has written in a conversation within these times, and when, by the last [`LOOKED_AT_MAX`] events that
/// are there. Once for a conversation in slow mode and a process: it reads no more than a page of history
/// does.
fn written(
    view: &dyn View,
    name: &ConversationName,
    times_ms: &Range<u64>,
) -> Result<Vec<(UserId, u64)>, ViewError> {
    let limit = PageLimit { records: LOOKED_AT_MAX, bytes: WRITTEN_BYTES_MAX };
    let last = view.before(name, None, limit)?;
    // An edit or another event of the user is no message, and what a backend publishes in the user's name is
    // not the user's.
    let is_by_user = |record: &Record| record.id.is_some_and(|id| !id.producer.is_of_operator());
    let messages = last.iter().filter(|record| is_by_user(record) && times_ms.contains(&record.time_ms));
    Ok(messages.map(|record| (record.sender.clone(), record.time_ms)).collect())
}

/// The message, but for its offset.
fn record(request: &mut PublishRequest, seq: Seq, time_ms: u64) -> Record {
    let expires_in_ms = request.append.about.expires_in_ms;
    let expires_ms = if expires_in_ms == 0 { 0 } else { time_ms.saturating_add(expires_in_ms) };
    let content = content(&mut request.append, expires_ms);
    let PublishRequest { publisher, append, .. } = request;
    let (name, sender) = (publisher.conversation.clone(), append.sender.clone());
    Record {
        origin_time_ms: append.origin_time_ms,
        id: Some(MessageId { producer: publisher.key, n: append.n }),
        expires_ms,
        class: publisher.access.class(),
        ..Record::event(name, seq, time_ms, sender, content)
    }
}

/// Most messages are nothing but a body.
fn content(append: &mut Append, expires_ms: u64) -> Content {
    let body = std::mem::take(&mut append.body);
    if append.about == About::default() {
        return Content::Message(body);
    }
    let About { reply_to, mentions, .. } = std::mem::take(&mut append.about);
    Content::Change(codec::encode_datagram(&EventKind::Message { body, reply_to, mentions, expires_ms }))
}
