//! How conversations are kept: what was set for each, and their classes.

use std::sync::Arc;

use bytes::Bytes;
use quoth_core::retention::{Classes, End, Keeping, Kept, Marks, Retention};
use quoth_protocol::ConversationName;
use quoth_store::{Bounds, Class, Keep, View, ViewError};

use super::Engine;
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
