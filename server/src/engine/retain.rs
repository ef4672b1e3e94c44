//! Says how a conversation is kept, and tells what goes by that: before, if whoever asks wants to know, and
//! behind it.

use std::sync::{Arc, OnceLock};

use quoth_core::authorize::{Action, Place as At, authorize};
use quoth_core::membership::{Actor, ConversationState, Refusal};
use quoth_core::retention::{End, Kept, Marks, Place, Retain, Retention};
use quoth_protocol::frame::EventKind;
use quoth_protocol::name::Reserved;
use quoth_protocol::{Code, ConversationName, Seq, codec};
use quoth_store::{View, ViewError};

use super::Engine;
use super::changes::{Caller, Done, What, unreadable};
use super::retention::Keeps;

/// What became of a change of how a conversation is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// What was stored.
    pub done: Done,
    /// What goes by it.
    pub effect: Effect,
}

/// How a conversation is kept, and where it ended, as a change of that was sequenced: what others have changed or
/// said by the time of the answer is theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) kept: Kept,
    pub(super) end: End,
    /// By which all of it was judged, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

/// How a conversation is kept behind a change, made or thought of, and what goes by that. What has a time to
/// live of its own goes by that one as well, and is counted only as far as it lies before a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// What is set for it.
    pub kept: Kept,
    /// Its policy, which a hold keeps from taking anything.
    pub policy: Retention,
    /// Whether it was kept otherwise before.
    pub changes: bool,
    /// The last event that is stored.
    pub head: Seq,
    /// The floor as it was before.
    pub floor: Place,
    /// As it is then.
    pub floor_then: Place,
    /// As it were then, did the hold end at once; without one the same.
    pub floor_unheld: Place,
}

/// How much goes of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// Events.
    pub events: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

impl Gone {
    const fn between(floor: Place, then: Place) -> Self {
        let events = then.seq.0.saturating_sub(floor.seq.0);
        Self { events, bytes: then.offset.saturating_sub(floor.offset) }
    }
}

impl Effect {
    /// What goes by the change at once.
    #[must_use]
    pub const fn gone(&self) -> Gone {
        Gone::between(self.floor, self.floor_then)
    }

    /// What is there by the hold alone, and goes when that ends.
    #[must_use]
    pub const fn held(&self) -> Gone {
        Gone::between(self.floor_then, self.floor_unheld)
    }

    /// What is beyond the policy by the change, held or not: what members are told, who are told nothing of a
    /// hold, also not by a policy that is set again.
    #[must_use]
    pub const fn beyond(&self) -> Gone {
        match self.changes {
            true => Gone::between(self.floor, self.floor_unheld),
            false => Gone { events: 0, bytes: 0 },
        }
    }
}

impl Engine {
    /// Says how a conversation is kept, and gives what goes by that. The answer comes when it is durable and
    /// everybody is judged by it; what is absent by what held before stays so. The same again changes nothing.
    /// Of a conversation without events it holds from the first one on, and no event says so; what was never
    /// set for one is refused to be taken back.
    ///
    /// # Errors
    /// Why it is refused; [`Code::STORE_FAILED`](quoth_protocol::Code::STORE_FAILED) when it is not known
    /// what becomes of it.
    pub async fn retain(
        &self,
        caller: Caller,
        name: &ConversationName,
        retain: Retain,
    ) -> Result<Retained, Refusal> {
        const UNSETTLED: Refusal = Refusal::new(Code::INTERNAL, "what goes by it is not known");
        is_kept_at_all(name)?;
        let known = self.state(name).await.map_err(|error| unreadable(&error))?;
        let keeps = self.keeps(name).await.map_err(|error| unreadable(&error))?;
        let of_class = keeps.of_class;
        let settled = Arc::new(OnceLock::new());
        let what = What::Retain { name: name.clone(), known, keeps, retain, settled: Arc::clone(&settled) };
        let done = self.ask(caller, what, vec![name.clone()], 0).await?;
        let changes = done.time_ms > 0;
        let Settled { kept, end, now_ms } = settled.get().copied().ok_or(UNSETTLED)?;
        let effect = self.in_view(name, move |view, name| {
            let floor = |marks: Marks, from: Place| view.floor(name, marks, from.seq);
            effect_of((kept, of_class), changes, end, now_ms, floor)
        });
        Ok(Retained { done, effect: effect.await.map_err(|error| unreadable(&error))? })
    }

    /// What [`Engine::retain`] would come to, were it asked now. Nothing is changed.
    ///
    /// # Errors
    /// Why it would be refused; [`Code::STORE_FAILED`](quoth_protocol::Code::STORE_FAILED) when the view
    /// cannot be read.
    pub async fn would_retain(
        &self,
        caller: &Caller,
        name: &ConversationName,
        retain: Retain,
    ) -> Result<Effect, Refusal> {
        is_kept_at_all(name)?;
        let now_ms = self.judged_ms();
        let may = |state: Option<&ConversationState>| may_retain(caller.actor(), name, state, retain, now_ms);
        self.with_state(name, may).await.map_err(|error| unreadable(&error))??;
        let Keeps { known, of_class } = self.keeps(name).await.map_err(|error| unreadable(&error))?;
        let (kept, now_ms) = (*known.read(), self.judged_ms());
        let effect =
            self.in_view(name, move |view, name| thought_of(view, name, of_class, kept, retain, now_ms));
        let effect = effect.await.map_err(|error| unreadable(&error))?;
        may_be_named(name, effect.is_none_or(|effect| effect.head == Seq::ZERO))?;
        // Whoever takes back what was never set has slipped in the name.
        effect.ok_or(Refusal::FORBIDDEN)
    }

    /// Looks at what there is of a conversation, with everything that was answered by now.
    async fn in_view<T: Send + 'static>(
        &self,
        name: &ConversationName,
        look: impl FnOnce(&dyn View, &ConversationName) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let name = name.clone();
        self.inner.reads.applied(self.released()).await;
        self.inner.reads.run(move |view| look(view, &name)).await
    }
}

/// Whether anything may be set for a log: those of users and of the server are kept as they are.
fn is_kept_at_all(name: &ConversationName) -> Result<(), Refusal> {
    let is_own = name.is_me() || name.reserved() == Some(Reserved::Server);
    if is_own { Err(Refusal::FORBIDDEN) } else { Ok(()) }
}

/// Whether somebody may set this for a conversation. Holds are the operator's.
pub(super) fn may_retain(
    actor: Actor<'_>,
    name: &ConversationName,
    state: Option<&ConversationState>,
    retain: Retain,
    now_ms: u64,
) -> Result<(), Refusal> {
    match (actor, retain) {
        (Actor::Operator { .. }, _) => Ok(()),
        (Actor::User(_), Retain::Hold(_)) => Err(Refusal::FORBIDDEN),
        (Actor::User(_), Retain::Policy(_) | Retain::Class) => {
            authorize(actor, Action::Retain, At { name, state, is_blocked: false }, now_ms).map(drop)
        }
    }
}

/// Whether anything may be set for a name, beforehand if it is unused.
pub(super) fn may_be_named(name: &ConversationName, is_unused: bool) -> Result<(), Refusal> {
    match is_unused {
        true if !name.may_come() => Err(IMPOSSIBLE),
        true if name.as_str().contains('*') => Err(PATTERN),
        _ => Ok(()),
    }
}

/// Why nothing is set beforehand for some names.
const IMPOSSIBLE: Refusal = Refusal::invalid(
    "no conversation of this name is there, and none will be: direct/ has 32 hexadecimal digits behind it, notes/ a user's id, and a \
     name that begins with group/ or channel/ is made by the server when the conversation is created",
);

/// A name may have any character, but who sets something for `team-*` before there is such a conversation means others.
const PATTERN: Refusal = Refusal::invalid(
    "no conversation has this name, and it is not taken for a pattern: what is set beforehand is for one name; patterns are in the \
     classes of the configuration, `retention.classes`",
);

/// What would come of a change; `None` when it takes back what was never set for a name without events.
fn thought_of(
    view: &dyn View,
    name: &ConversationName,
    of_class: Retention,
    kept: Kept,
    retain: Retain,
    now_ms: u64,
) -> Result<Option<Effect>, ViewError> {
    let end = end_in(view, name)?;
    let (mut then, mut end_then, mut said) = (kept, end, None);
    let changes = then.set(retain, of_class, now_ms, end);
    if end.seq == Seq::ZERO && !changes && !then.is_set() {
        return Ok(None);
    }
    if let Some(retention) = retain.told(of_class).filter(|_| changes && end.seq > Seq::ZERO) {
        // What says so counts as well, and may be beyond the bounds itself.
        let bytes = codec::encode_datagram(&EventKind::RetentionSet { retention }).len() as u64;
        end_then = End { seq: end.seq.next(), bytes: end.bytes.saturating_add(bytes) };
        said = Some(Place { seq: end_then.seq, time_ms: now_ms, offset: end.bytes });
    }
    let floor = |marks: Marks, from: Place| {
        let found = view.floor(name, marks, from.seq)?;
        Ok(match said {
            Some(said) if found.seq >= said.seq && marks.covers(said) => {
                Place { seq: said.seq.next(), offset: end_then.bytes, ..said }
            }
            _ => found,
        })
    };
    let effect = effect_of((then, of_class), changes, end_then, now_ms, floor)?;
    Ok(Some(Effect { head: end.seq, ..effect }))
}

/// What comes of a change by which a conversation with this end is kept like this: its marks are those that it
/// had before. `floor` finds the first event that these leave, from a place on.
fn effect_of(
    (kept, of_class): (Kept, Retention),
    changes: bool,
    end: End,
    now_ms: u64,
    floor: impl Fn(Marks, Place) -> Result<Place, ViewError>,
) -> Result<Effect, ViewError> {
    let judged = |kept: &Kept| kept.keeping(of_class, now_ms).judge(end).marks;
    let before = floor(kept.marks, Place { seq: Seq(1), ..Place::default() })?;
    let floor_then = floor(judged(&kept), before)?;
    let floor_unheld = match kept.hold_ms {
        0 => floor_then,
        _ => floor(judged(&Kept { hold_ms: 0, ..kept }), floor_then)?,
    };
    Ok(Effect {
        kept,
        policy: kept.policy.unwrap_or(of_class),
        changes,
        head: end.seq,
        floor: if changes { before } else { floor_then },
        floor_then,
        floor_unheld,
    })
}

fn end_in(view: &dyn View, name: &ConversationName) -> Result<End, ViewError> {
    let last = view.last(name)?;
    Ok(last.map_or_else(End::default, |last| End { seq: last.seq, bytes: last.end }))
}
