//! Changes: decided on what everybody before has changed, stored or not, and out when they are stored.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use quoth_core::inbox::{self, MOVED_MEMBERS_MAX};
use quoth_core::membership::user::{self, echo};
use quoth_core::membership::{
    Actor, Change, Context, ConversationState, Fact, Refusal, RegisterChange, decide,
};
use quoth_core::retention::{Kept, Place};
use quoth_protocol::frame::EventKind;
use quoth_protocol::{Code, ConversationName, Seq, UserId, codec};
use quoth_store::{Class, Content, Record, Register, StoreError, ViewError};

use super::{Committer, Group};
use crate::engine::changes::{ChangeRequest, Done, Heads, What};
use crate::engine::inbox::Own;
use crate::engine::publisher::Last;
use crate::engine::rosters::Statuses;
use crate::engine::states::{KnownConversation, KnownKept, KnownUser, State as _};

use super::message::AlteredMessage;

/// A change of a state that is sequenced.
#[derive(Debug)]
pub(super) enum Changed {
    Conversation { name: ConversationName, known: Arc<KnownConversation>, event: Happened },
    User { known: Arc<KnownUser>, event: Happened },
    Kept { known: Arc<KnownKept>, kept: Kept },
    Message { message: AlteredMessage, event: Happened },
}

/// An event without its log.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) seq: Seq,
    pub(super) time_ms: u64,
    pub(super) sender: UserId,
    pub(super) kind: EventKind,
}

impl Changed {
    /// Lets it out.
    pub(super) fn release(&self, position: u64) {
        match self {
            Self::Conversation { known, event, .. } => known.release(position, |state| {
                let _registers_are_stored = ConversationState::apply(state, event.fact());
                if state.as_ref().is_some_and(|state| state.members_count() <= MOVED_MEMBERS_MAX) {
                    known.set_small(event.seq);
                }
            }),
            Self::User { known, event } => {
                known.release(position, |state| state.apply(event.seq, &event.kind));
            }
            Self::Kept { known, kept } => known.release(position, |state| *state = *kept),
            Self::Message { message, event } => message.release(position, event),
        }
    }
}

impl Changed {
    /// Which event ends with which message: its conversation and seq, and where the message lies.
    pub(super) fn target(&self) -> Option<((&ConversationName, Seq), Place)> {
        match self {
            Self::Message { message, event } if !matches!(event.kind, EventKind::Revoked { .. }) => {
                Some(((message.conversation(), event.seq), message.place()))
            }
            _ => None,
        }
    }

    /// Forgets that it was sequenced: what is out is all there is.
    pub(super) fn take_back(&self) {
        match self {
            Self::Conversation { known, .. } => known.set_sequenced(known.released()),
            Self::User { known, .. } => known.set_sequenced(known.released()),
            Self::Message { message, .. } => message.take_back(),
            Self::Kept { known, .. } => known.set_sequenced(known.released()),
        }
    }
}

/// Tells those who watch others that somebody may see others than before by changes that are out. Here and
/// not where they were asked for: nobody need wait for the answer any more.
pub(super) fn tell(changes: &[Changed], statuses: &dyn Statuses) {
    let (mut conversations, mut users) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        match change {
            Changed::Conversation { name, event, .. } if event.moves_members() => {
                conversations.insert(name);
            }
            Changed::User { event: Happened { kind: EventKind::Blocked { user, .. }, .. }, .. } => {
                users.insert(user);
            }
            Changed::Conversation { .. }
            | Changed::User { .. }
            | Changed::Kept { .. }
            | Changed::Message { .. } => {}
        }
    }
    conversations.into_iter().for_each(|name| statuses.members_changed(name));
    users.into_iter().for_each(|user| statuses.block_changed(user));
}

impl Happened {
    /// Whether it may change who is a member, or what a member may see.
    const fn moves_members(&self) -> bool {
        matches!(
            self.kind,
            EventKind::Created { .. }
                | EventKind::MemberSet { .. }
                | EventKind::MemberGone { .. }
                | EventKind::Banned { .. }
        )
    }

    pub(super) fn fact(&self) -> Fact<'_> {
        Fact { seq: self.seq, time_ms: self.time_ms, sender: &self.sender, kind: &self.kind }
    }
}

/// Why a change is not made.
pub(super) enum Failure {
    Refused(Refusal),
    View(ViewError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}

impl Committer {
    /// Decides a change and sequences what comes of it into a group. A refusal too is told with the group,
    /// since it may be by what is not durable yet.
    pub(super) fn change(
        &mut self,
        request: ChangeRequest,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let ChangeRequest { caller, what, heads, answer, queued: _queued } = request;
        let before = group.records.len();
        let done = match what {
            What::Conversation { name, known, change, keeps, added } => self.change_conversation(
                caller.actor(),
                (&name, &known, keeps.class()),
                &change,
                &added,
                &heads,
                now_ms,
                group,
            ),
            What::Retain { name, known, keeps, retain, settled } => {
                let set = (retain, &*settled);
                self.retain(caller.actor(), (&name, &known), &keeps, set, &heads, now_ms, group)
            }
            What::Own { me, kind } => self.own(&me, kind, &heads, now_ms, group),
            What::Block { me, known, user, blocked } => {
                self.block(caller.actor(), (&me, &known), (&user, blocked), &heads, now_ms, group)
            }
            What::Message { access, absent, known, target, alteration } => {
                let message = AlteredMessage::new(&access, absent, known, &target);
                self.alter(caller.actor(), &access, message, (&target, &alteration), &heads, now_ms, group)
            }
            What::Hide { conversation, seq } => {
                self.hide(caller.actor().user(), conversation, seq, &heads, now_ms, group)
            }
        };
        let done = match done {
            Ok(done) => Ok(done),
            Err(Failure::Refused(refusal)) => Err(refusal),
            // Heads are loaded before anything is sequenced.
            Err(Failure::View(error))
                if error.concerns_one_conversation() && group.records.len() == before =>
            {
                tracing::error!(%error, "a change cannot be made: rows are damaged");
                Err(Refusal::new(Code::STORE_FAILED, "what is stored of this is damaged"))
            }
            Err(Failure::View(error)) => return Err(error.into()),
        };
        group.answers.push((answer, done));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn change_conversation(
        &mut self,
        actor: Actor<'_>,
        (name, known, class): (&ConversationName, &Arc<KnownConversation>, Class),
        change: &Change,
        added: &[(UserId, Arc<KnownUser>)],
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let is_empty = self.head(name, heads)? == Seq::ZERO;
        let me = actor.user();
        let is_user = matches!(actor, Actor::User(_));
        let has_blocked =
            |(user, known): &&(UserId, Arc<KnownUser>)| is_user && self.drafts.blocks(user, known, me);
        let blockers: HashSet<UserId> =
            added.iter().filter(has_blocked).map(|(user, _)| user.clone()).collect();
        let context = Context { now_ms, rules: &self.parts.rules, name, is_empty, blockers: &blockers };
        let state = self.drafts.conversation(name, known);
        let events = decide(state.as_ref(), actor, change, context)?;
        for user in change.concerned().chain([me]) {
            if !events.is_empty() {
                self.head(&ConversationName::of_user(user), heads)?;
            }
        }
        let mut done = Done { conversation: name.clone(), seq: Seq::ZERO, time_ms: 0 };
        for kind in events {
            let (seq, time_ms) = self.next(name, now_ms)?;
            let event = Happened { seq, time_ms, sender: me.clone(), kind };
            let state = self.drafts.conversation(name, known);
            let touched = ConversationState::apply(state, event.fact());
            let version = state.version();
            let state = state.as_ref().expect("an event has a state behind it");
            let registers = state.registers(&touched);
            let echo = echo(name, state, &event.kind);
            known.set_sequenced(version);
            let members = state.members_count();
            let is_in_rows = matches!(event.kind, EventKind::Renamed { .. });
            let is_new = matches!(event.kind, EventKind::MemberSet { previous: None, .. });
            self.push(name, &event, registers, class, group);
            group.changes.push(Changed::Conversation { name: name.clone(), known: Arc::clone(known), event });
            match is_in_rows {
                true => self.changed(name, known, time_ms, group),
                false => self.happened(name, known, group),
            }
            (done.seq, done.time_ms) = (seq, time_ms);
            if let Some((user, kind)) = echo {
                let log = ConversationName::of_user(&user);
                let (seq, time_ms) = self.next(&log, now_ms)?;
                let mut registers = user::registers(seq, &kind);
                if is_new {
                    registers.extend(inbox::joined(name, time_ms, members));
                }
                let has_left = matches!(kind, EventKind::BelongsNoMore { .. });
                group.own.push(Own { user, conversation: name.clone(), has_left });
                let event = Happened { seq, time_ms, sender: me.clone(), kind };
                self.push(&log, &event, registers, Class::default(), group);
            }
        }
        Ok(done)
    }

    fn block(
        &mut self,
        actor: Actor<'_>,
        (me, known): (&UserId, &Arc<KnownUser>),
        (user, blocked): (&UserId, bool),
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let log = ConversationName::of_user(me);
        let conversation = ConversationName::me();
        let event = self.drafts.users.get_mut(me, known).block(me, user, blocked)?;
        let Some(kind) = event else { return Ok(Done { conversation, seq: Seq::ZERO, time_ms: 0 }) };
        self.head(&log, heads)?;
        let (seq, time_ms) = self.next(&log, now_ms)?;
        let state = self.drafts.users.get_mut(me, known);
        state.apply(seq, &kind);
        known.set_sequenced(state.version().0);
        let event = Happened { seq, time_ms, sender: actor.user().clone(), kind };
        self.push(&log, &event, user::registers(seq, &event.kind), Class::default(), group);
        group.changes.push(Changed::User { known: Arc::clone(known), event });
        Ok(Done { conversation, seq, time_ms })
    }

    /// Takes an event into a group.
    pub(super) fn push(
        &mut self,
        log: &ConversationName,
        event: &Happened,
        registers: Vec<RegisterChange>,
        class: Class,
        group: &mut Group,
    ) {
        let mut record = record(log, event, registers, class);
        record.offset = self.sequencer.extend(log, record.content.len() as u64);
        group.records.push(record);
    }

    /// Takes an event of a user's own log into a group.
    pub(super) fn own(
        &mut self,
        me: &UserId,
        kind: EventKind,
        heads: &Heads,
        now_ms: u64,
        group: &mut Group,
    ) -> Result<Done, Failure> {
        let log = ConversationName::of_user(me);
        self.head(&log, heads)?;
        let (seq, time_ms) = self.next(&log, now_ms)?;
        if let EventKind::InboxSet { conversation, .. } | EventKind::Hidden { conversation, .. } = &kind {
            let (user, conversation) = (me.clone(), conversation.clone());
            group.own.push(Own { user, conversation, has_left: false });
        }
        let event = Happened { seq, time_ms, sender: me.clone(), kind };
        self.push(&log, &event, user::registers(seq, &event.kind), Class::default(), group);
        Ok(Done { conversation: ConversationName::me(), seq, time_ms })
    }

    /// The last seq of a log, which is loaded by that.
    pub(super) fn head(&mut self, name: &ConversationName, heads: &Heads) -> Result<Seq, ViewError> {
        loop {
            if let Some(head) = self.sequencer.head(name) {
                return Ok(head);
            }
            // As with a publisher's: what is later is in the sequencer.
            let last = heads.lasts.get(name).filter(|_| heads.applied >= self.horizon);
            let last = match last {
                Some(last) => *last,
                None => Last::read(&*self.parts.view, name)?,
            };
            self.sequencer.load_conversation(name, last.seq, last.time_ms, last.end);
        }
    }

    /// The place of the next event in a log.
    pub(super) fn next(&mut self, name: &ConversationName, now_ms: u64) -> Result<(Seq, u64), ViewError> {
        let nothing = Heads { applied: quoth_store::Position(0), lasts: std::collections::HashMap::new() };
        self.head(name, &nothing)?;
        Ok(self.sequencer.append(name, now_ms).expect("it was loaded a moment ago"))
    }
}

/// An event as a record, but for its offset.
fn record(log: &ConversationName, event: &Happened, registers: Vec<RegisterChange>, class: Class) -> Record {
    let registers =
        registers.into_iter().map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
    // Without a length in front, as datagrams are.
    let content = Content::Change(codec::encode_datagram(&event.kind));
    let Happened { seq, time_ms, sender, .. } = event;
    let record = Record::event(log.clone(), *seq, *time_ms, sender.clone(), content);
    Record { class, registers: registers.collect(), ..record }
}
