//! What is done to messages: decided as changes are, on what everybody before has done.

use std::sync::Arc;

use quoth_core::authorize::Standing;
use quoth_core::membership::Actor;
use quoth_core::messages::{self, Alteration, Context, Target, ends_with};
use quoth_core::retention::Place;
use quoth_protocol::frame::EventKind;
use quoth_protocol::{ConversationName, Seq, UserId};

use super::change::{Changed, Failure, Happened};
use super::{Committer, Group};
use crate::engine::access::Access;
use crate::engine::changes::{Done, Heads};
use crate::engine::states::{KnownAbsent, KnownMessage, MessageKey};

/// A message on which something is decided.
#[derive(Debug)]
pub(super) struct AlteredMessage {
    key: MessageKey,
    place: Place,
    known: Arc<KnownMessage>,
    conversation: Arc<KnownAbsent>,
    /// Events of the conversation that are absent once it is altered.
    absent: Vec<Seq>,
}

impl AlteredMessage {
    pub(super) fn new(
        access: &Access,
        conversation: Arc<KnownAbsent>,
        known: Arc<KnownMessage>,
        target: &Target,
    ) -> Self {
        let key = MessageKey { conversation: access.name().clone(), seq: target.seq };
        Self { key, place: target.place(), known, conversation, absent: Vec::new() }
    }

    pub(super) const fn conversation(&self) -> &ConversationName {
        &self.key.conversation
    }

    /// Where the message lies.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Forgets that an event about it was sequenced.
    pub(super) fn take_back(&self) {
        self.known.set_sequenced(self.known.released());
    }

    /// Lets out what an event has come to.
    pub(super) fn release(&self, position: u64, event: &Happened) {
        if !self.absent.is_empty() {
            self.conversation.release(position, |absent| {
                self.absent.iter().for_each(|seq| absent.insert(*seq, event.seq));
            });
        }
        self.known.release(position, |message| {
            let _registers_are_stored = message.apply(self.key.seq, event.fact());
        });
    }
}

impl Committer {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(super) fn alter(
        &mut self,
        actor: Actor<'_>,
        access: &Access,
        mut message: AlteredMessage,
        (target, alteration): (&Target, &Alteration),
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let name = access.name();
        let rules = &self.parts.rules;
        let decided = self.sequenced_place(access, actor.user(), |place| {
            let standing = Standing::new(actor, place);
            let context = Context { now_ms, rules, standing: &standing, state: place.state };
            let decided = self.drafts.messages.look(&message.key, &message.known, |state| {
                messages::decide(actor, alteration, Some((target, state)), context)
            });
            decided.map(|kind| kind.map(|kind| (kind, standing.slow_mode_interval_ms())))
        })??;
        let Some((kind, interval_ms)) = decided else {
            return Ok(Done { conversation: name.clone(), seq: Seq::ZERO, time_ms: 0 });
        };
        // Beside the messages, so that what was just said can be put right; what is said in another one's
        // name is nobody's turn.
        if interval_ms > 0 && matches!(kind, EventKind::Edited { .. }) && target.sender == *actor.user() {
            self.slow_edits.take(name, actor.user(), interval_ms, now_ms)?;
        }
        self.head(name, heads)?;
        let (seq, time_ms) = self.next(name, now_ms)?;
        let is_in_rows = matches!(kind, EventKind::Edited { .. } | EventKind::Revoked { .. });
        let event = Happened { seq, time_ms, sender: actor.user().clone(), kind };
        let state = self.drafts.messages.get_mut(&message.key, &message.known);
        let altered = state.apply(target.seq, event.fact());
        message.known.set_sequenced(seq.0);
        message.absent.clone_from(&altered.absent);
        let erases = altered.absent;
        self.push(name, &event, altered.registers, access.class(), group);
        if let Some(record) = group.records.last_mut() {
            record.erases = erases;
            // What is said of a message ends with it.
            if ends_with(record.content.bytes()).is_some() {
                record.expires_ms = target.expires_ms;
            }
        }
        group.changes.push(Changed::Message { message, event });
        if let Some(known) = access.managed() {
            match is_in_rows {
                true => self.changed(name, known, time_ms, group),
                false => self.happened(name, known, group),
            }
        }
        Ok(Done { conversation: name.clone(), seq, time_ms })
    }

    /// Writes into a user's own log that the user wants to see a message no more.
    pub(super) fn hide(
        &mut self,
        me: &UserId,
        conversation: ConversationName,
        seq: Seq,
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        self.own(me, EventKind::Hidden { conversation, seq }, heads, now_ms, group)
    }
}
