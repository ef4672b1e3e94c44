//! How conversations are kept: what was set for each, and their classes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quoth_core::membership::Refusal;
use quoth_core::retention::{Classes, End, Keeping, Kept, Marks, Place, Retention};
use quoth_protocol::frame::EventKind;
use quoth_protocol::name::Reserved;
use quoth_protocol::{ConversationName, Seq, codec};
use quoth_store::{Bounds, Class, Dead, Keep, View, ViewError};
use serde_json::{Value, json};

use super::Engine;
use super::changes::{Caller, Done, What, unreadable};
use super::space::Outstanding;
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
    /// what is absent by what held before stays so. The same again changes nothing. It is refused where
    /// nobody has created the conversation and it has no events.
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
    /// The last event. Setting a policy that is another one adds one.
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

fn keeping_in(
    view: &dyn View,
    name: &ConversationName,
    classes: &Classes,
    now_ms: u64,
) -> Result<Keeping, ViewError> {
    Ok(kept_in(view, name)?.keeping(classes.policy(name), now_ms))
}

/// The marks of a conversation that is kept like this.
fn marks_by(view: &dyn View, name: &ConversationName, keeping: Keeping) -> Result<Marks, ViewError> {
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

/// How much of a view is absent, and when its windows go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Bytes of the contents that are kept.
    pub live_bytes: u64,
    /// Bytes of the contents that are absent and take space still; of those with a time to live of their own
    /// about.
    pub expired_bytes: u64,
    /// When the oldest of these was stored, in milliseconds since 1970.
    pub oldest_expired_ms: Option<u64>,
    /// Conversations of which rows are damaged: nothing of them is in these numbers, and nothing is freed.
    pub damaged_conversations: u64,
    /// The windows, by class and number.
    pub windows: Vec<WindowPlan>,
}

/// A window of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPlan {
    /// Its class, as the view counts them.
    pub class: u8,
    /// Its number within the class.
    pub window: u32,
    /// Whether it gets no further events; it goes only then.
    pub is_closed: bool,
    /// Conversations that have events in it.
    pub conversations: u64,
    /// Bytes of the contents.
    pub bytes: u64,
    /// Bytes of those that are absent.
    pub expired_bytes: u64,
    /// When all of it is absent by age, in milliseconds since 1970: it has been since then, or will be.
    /// `None`: that is not to be foreseen.
    pub goes_ms: Option<u64>,
}

impl Overview {
    /// As the server API and the command line tell it.
    #[must_use]
    pub fn to_json(&self, outstanding: &Outstanding) -> Value {
        let windows = self.windows.iter().map(|window| {
            json!({
                "class": window.class, "window": window.window, "closed": window.is_closed,
                "conversations": window.conversations, "bytes": window.bytes, "expired_bytes": window.expired_bytes,
                "goes_ms": window.goes_ms,
            })
        });
        json!({
            "live_bytes": self.live_bytes, "expired_bytes": self.expired_bytes,
            "oldest_expired_ms": self.oldest_expired_ms, "damaged_conversations": self.damaged_conversations,
            "windows": windows.collect::<Vec<_>>(),
            "erased": {
                "events": outstanding.erased.events, "bytes": outstanding.erased.bytes,
                "since_ms": outstanding.erased.since_ms, "gone_by_ms": outstanding.gone_by_ms,
                "log_since_ms": outstanding.log_since_ms,
            },
        })
    }
}

impl WindowPlan {
    /// With what is dead one by one. What is gone already may lie anywhere, also before the marks.
    fn with(self, dead: Dead) -> Self {
        let there = self.bytes.saturating_sub(dead.gone_bytes);
        let before_marks = u128::from(self.expired_bytes) * u128::from(there) / u128::from(self.bytes.max(1));
        let before_marks = u64::try_from(before_marks).unwrap_or(there);
        Self { bytes: there, expired_bytes: before_marks.saturating_add(dead.dead_bytes).min(there), ..self }
    }
}

/// Looks at all that a view has. Absent is what is so by any of these classes; when windows go is told by the
/// last of them.
///
/// # Errors
/// When the view cannot be read.
pub fn overview(view: &dyn View, classes: &[&Classes], now_ms: u64) -> Result<Overview, ViewError> {
    let (mut overview, mut windows) = (Overview::default(), BTreeMap::<_, WindowPlan>::new());
    let damaged = view.survey(&mut |name, spans| {
        let mut keeping = Keeping::for_ever(now_ms);
        let mut floor = Place { seq: Seq(1), ..Place::default() };
        for classes in classes {
            keeping = keeping_in(view, name, classes, now_ms)?;
            let by_class = view.floor(name, marks_by(view, name, keeping)?, floor.seq)?;
            floor = if by_class.seq > floor.seq { by_class } else { floor };
        }
        let age_s = keeping.policy.age_s;
        for span in spans {
            let bytes = span.next.offset.saturating_sub(span.first.offset);
            let is_dead = span.next.seq <= floor.seq;
            let expired_bytes = match floor.offset.saturating_sub(span.first.offset) {
                _ if is_dead => bytes,
                _ if floor.seq <= span.first.seq => 0,
                expired => expired.min(bytes),
            };
            if span.first.seq < floor.seq {
                let oldest = overview.oldest_expired_ms.unwrap_or(u64::MAX);
                overview.oldest_expired_ms = Some(oldest.min(span.first.time_ms));
            }
            let goes_ms = match age_s {
                _ if is_dead => Some(now_ms),
                0 => None,
                age_s => Some(span.next.time_ms.saturating_add(age_s.saturating_mul(1_000))),
            };
            let plan = windows.entry((span.class, span.window)).or_insert_with(|| WindowPlan {
                class: span.class.number(),
                window: span.window,
                is_closed: span.is_closed,
                conversations: 0,
                bytes: 0,
                expired_bytes: 0,
                goes_ms: Some(0),
            });
            plan.conversations += 1;
            plan.bytes += bytes;
            plan.expired_bytes += expired_bytes;
            plan.goes_ms = plan.goes_ms.zip(goes_ms).map(|(a, b)| a.max(b));
        }
        Ok(())
    })?;
    overview.damaged_conversations = damaged;
    overview.windows = windows
        .into_iter()
        .map(|((class, window), plan)| plan.with(view.dead(class, window, now_ms)))
        .collect();
    for WindowPlan { bytes, expired_bytes, .. } in &overview.windows {
        overview.live_bytes += bytes - expired_bytes;
        overview.expired_bytes += expired_bytes;
    }
    Ok(overview)
}
