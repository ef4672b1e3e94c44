//! How conversations are kept: what was set for each, and their classes.

use std::sync::Arc;

use bytes::Bytes;
use quoth_core::membership::Refusal;
use quoth_core::retention::{Classes, End, Keeping, Kept, Marks, Place, Retention};
use quoth_protocol::frame::EventKind;
use quoth_protocol::name::Reserved;
use quoth_protocol::{ConversationName, Seq, codec};
use quoth_store::{Bounds, Class, Keep, View, ViewError};

use super::Engine;
use super::changes::{Caller, Done, What, unreadable};
use super::states::KnownKept;

/// How one conversation is kept, as it is set from time to time.
#[derive(Debug, Clone)]
pub(super) struct Keeps {
    pub(super) known: Arc<KnownKept>,
    /// The policy of its class.
    pub(super) of_class: Retention,
}

impl Keeps {
    /// Now, by the judged time in milliseconds since 1970.
    pub(super) fn at(&self, judged_ms: u64) -> Keeping {
        self.known.read().keeping(self.of_class, judged_ms)
    }

    /// With what its events are kept together.
    pub(super) fn class(&self) -> Class {
        Class::of_age_s(self.known.read().policy.unwrap_or(self.of_class).age_s)
    }
}

/// What may be set for a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// How long its events are kept.
    Policy(Retention),
    /// They are kept as its class says.
    Class,
    /// Whether all that is not absent stays, whatever its policy says.
    Hold(bool),
}

impl Engine {
    pub(super) async fn keeps(&self, name: &ConversationName) -> Result<Keeps, ViewError> {
        let (reads, applied) = (&self.inner.reads, self.inner.reads.applied_position().0);
        let known = self.inner.kept.get(name, reads, applied).await?;
        let of_class = self.inner.classes.policy(name);
        Ok(Keeps { known, of_class })
    }

    /// How a conversation is kept now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn keeping(&self, name: &ConversationName) -> Result<Keeping, ViewError> {
        Ok(self.keeps(name).await?.at(self.judged_ms()))
    }

    /// What was set for a conversation, and the policy of its class.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn kept(&self, name: &ConversationName) -> Result<(Kept, Retention), ViewError> {
        let keeps = self.keeps(name).await?;
        let kept = *keeps.known.read();
        Ok((kept, keeps.of_class))
    }

    /// Says how a conversation is kept. The answer comes when that is durable and everybody is judged by it;
    /// what is absent by what held before stays so. The same again changes nothing. Of a conversation without
    /// events it holds from the first one on, and no event says so; what was never set for one is refused to
    /// be taken back.
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`](quoth_protocol::Code::STORE_FAILED) when it is not known
    /// what becomes of it.
    pub async fn retain(
        &self,
        caller: Caller,
        name: &ConversationName,
        retain: Retain,
    ) -> Result<Done, Refusal> {
        if matches!(name.reserved(), Some(Reserved::Server)) || name.is_me() {
            return Err(Refusal::FORBIDDEN);
        }
        let known = self.state(name).await.map_err(|error| unreadable(&error))?;
        let keeps = self.keeps(name).await.map_err(|error| unreadable(&error))?;
        let what = What::Retain { name: name.clone(), known, keeps, retain };
        self.ask(caller, what, vec![name.clone()], 0).await
    }
}

/// What a policy would make absent of a conversation, were it set now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview {
    /// The conversation's floor as it is.
    pub floor: Place,
    /// As it would be.
    pub floor_then: Place,
    /// The last event. Setting a policy that is another one adds one, but before the first event.
    pub head: Seq,
}

impl Engine {
    /// What a policy would make absent of a conversation, were it set now. Under a hold nothing is, until that
    /// ends. Nothing is changed.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn preview(&self, name: &ConversationName, policy: Retention) -> Result<Preview, ViewError> {
        let Keeps { known, of_class } = self.keeps(name).await?;
        let (kept, now_ms, name) = (*known.read(), self.judged_ms(), name.clone());
        self.inner.reads.applied(self.released()).await;
        self.inner.reads.run(move |view| preview_in(view, &name, (kept, of_class), policy, now_ms)).await
    }
}

fn preview_in(
    view: &dyn View,
    name: &ConversationName,
    (kept, of_class): (Kept, Retention),
    policy: Retention,
    now_ms: u64,
) -> Result<Preview, ViewError> {
    let last = view.last(name)?;
    let end = last.map_or(End { seq: Seq::ZERO, bytes: 0 }, |last| End { seq: last.seq, bytes: last.end });
    let (mut then, mut end_then) = (kept, end);
    if then.set_policy(Some(policy), of_class, now_ms, end) {
        // What says so counts as well.
        let said = codec::encode_datagram(&EventKind::RetentionSet { retention: policy });
        end_then = End { seq: end.seq.next(), bytes: end.bytes.saturating_add(said.len() as u64) };
    }
    let floor = |kept: Kept, end: End, from: Seq| {
        view.floor(name, kept.keeping(of_class, now_ms).judge(end).marks, from)
    };
    let before = floor(kept, end, Seq(1))?;
    Ok(Preview { floor: before, floor_then: floor(then, end_then, before.seq)?, head: end.seq })
}

/// From where on a conversation is kept, by what the view has.
pub(crate) fn marks_in(
    view: &dyn View,
    name: &ConversationName,
    classes: &Classes,
    now_ms: u64,
) -> Result<Marks, ViewError> {
    marks_by(view, name, keeping_in(view, name, classes, now_ms)?)
}

/// How a conversation is kept, event by event, by what the view has.
pub(crate) fn keep_in(
    view: &dyn View,
    name: &ConversationName,
    classes: &Classes,
    now_ms: u64,
) -> Result<Keep, ViewError> {
    let keeping = keeping_in(view, name, classes, now_ms)?;
    let age_ms = keeping.policy.age_s.saturating_mul(1_000);
    Ok(Keep { marks: marks_by(view, name, keeping)?, live_ms: keeping.live_ms, age_ms })
}

/// What of a conversation is there by its retention, and not by what was revoked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remains {
    /// The floor and the head.
    pub(super) bounds: Bounds,
    /// How it is kept.
    pub(super) keeping: Keeping,
}

/// What of a conversation is there, by what the view has.
pub(super) fn remains_in(
    view: &dyn View,
    name: &ConversationName,
    classes: &Classes,
    now_ms: u64,
) -> Result<Remains, ViewError> {
    let keeping = keeping_in(view, name, classes, now_ms)?;
    remains_by(view, name, keeping, view.bounds(name)?)
}

/// The same of a conversation that is kept like this and has these bounds in the view.
pub(super) fn remains_by(
    view: &dyn View,
    name: &ConversationName,
    keeping: Keeping,
    mut bounds: Bounds,
) -> Result<Remains, ViewError> {
    let marks = marks_by(view, name, keeping)?;
    if !marks.is_nothing() {
        bounds.floor = view.floor(name, marks, bounds.floor)?.seq;
    }
    Ok(Remains { bounds, keeping })
}

pub(super) fn keeping_in(
    view: &dyn View,
    name: &ConversationName,
    classes: &Classes,
    now_ms: u64,
) -> Result<Keeping, ViewError> {
    Ok(kept_in(view, name)?.keeping(classes.policy(name), now_ms))
}

/// The marks of a conversation that is kept like this.
pub(super) fn marks_by(
    view: &dyn View,
    name: &ConversationName,
    keeping: Keeping,
) -> Result<Marks, ViewError> {
    let last = if keeping.depends_on_end() { view.last(name)? } else { None };
    let end = last.map_or_else(End::default, |last| End { seq: last.seq, bytes: last.end });
    Ok(keeping.judge(end).marks)
}

/// What was set for a conversation, by what the view has.
pub(crate) fn kept_in(view: &dyn View, name: &ConversationName) -> Result<Kept, ViewError> {
    decode_kept(name, view.register(name, Kept::REGISTER)?)
}

/// How a conversation is kept, by its register.
pub(super) fn decode_kept(name: &ConversationName, row: Option<Bytes>) -> Result<Kept, ViewError> {
    let damaged = || ViewError::DamagedConversation {
        conversation: name.clone(),
        what: "its retention does not decode",
    };
    row.map_or(Ok(Kept::default()), |row| Kept::decode(&row).map_err(|_| damaged()))
}
