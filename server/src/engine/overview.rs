//! A look at all that a view has: how much is absent, of which conversations, and when its windows go.

use std::collections::BTreeMap;

use quoth_core::retention::{Classes, Keeping, Kept, Place, RetentionClass};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Class, Dead, View, ViewError};
use serde_json::{Value, json};

use super::retention::{kept_in, marks_by};
use super::space::Outstanding;

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
    /// Conversations with events that are held.
    pub held: u64,
    /// Which these are, and since when, the first of them that it came upon.
    pub holds: Vec<Hold>,
    /// The windows, by class and number.
    pub windows: Vec<WindowPlan>,
    /// The conversations that lose most, those first.
    pub conversations: Vec<ConversationPlan>,
}

/// A conversation of which nothing goes but what is revoked or erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which.
    pub conversation: ConversationName,
    /// Since when, in milliseconds since 1970.
    pub hold_ms: u64,
}

/// What a conversation loses by marks and policies; what goes by a time to live of its own, or was revoked, is
/// in its windows alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPlan {
    /// Which.
    pub conversation: ConversationName,
    /// Its events that are absent and take space still; with rewritten windows about.
    pub events: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// When the first of those that are kept is absent by its age, in milliseconds since 1970; `None`: by age
    /// none is.
    pub next_ms: Option<u64>,
}

/// What classes would make absent that others do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many conversations lose something.
    pub affected: u64,
    /// Events that would be absent, with those among them that are by a time of their own.
    pub events: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Conversations of a class that changes that are held: they lose nothing until that ends, and what then
    /// depends on when it does.
    pub held: u64,
    /// Conversations of one of these classes that have a policy of their own: no class takes anything there.
    pub own: u64,
    /// How many conversations are of each class.
    pub classes: Vec<ClassUse>,
    /// Conversations of which rows are damaged: nothing of them is in these numbers.
    pub damaged_conversations: u64,
    /// The conversations that lose most, those first.
    pub conversations: Vec<ConversationPlan>,
}

/// A class, and how much it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassUse {
    /// The class, as a text.
    pub class: String,
    /// Conversations that are of it.
    pub conversations: u64,
    /// Those among them that have a policy of their own.
    pub own: u64,
}

/// So many conversations a server tells of at once.
pub const TOLD_MAX: usize = 100;

/// Keeps those of many conversations that lose most.
#[derive(Debug)]
struct Most {
    plans: Vec<ConversationPlan>,
    max: usize,
}

impl Most {
    const fn of(max: usize) -> Self {
        Self { plans: Vec::new(), max }
    }

    fn add(&mut self, plan: ConversationPlan) {
        if plan.events == 0 && plan.next_ms.is_none() {
            return;
        }
        self.plans.push(plan);
        if self.plans.len() >= self.max.saturating_mul(2).max(1) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.plans.sort_by(|a, b| {
            let next = |plan: &ConversationPlan| plan.next_ms.unwrap_or(u64::MAX);
            b.bytes
                .cmp(&a.bytes)
                .then(next(a).cmp(&next(b)))
                .then_with(|| a.conversation.cmp(&b.conversation))
        });
        self.plans.truncate(self.max);
    }

    fn into_plans(mut self) -> Vec<ConversationPlan> {
        self.shorten();
        self.plans
    }
}

impl ConversationPlan {
    fn to_json(&self) -> Value {
        let Self { conversation, events, bytes, next_ms } = self;
        json!({ "conversation": conversation, "events": events, "bytes": bytes, "next_ms": next_ms })
    }
}

impl Loss {
    /// As the server API tells it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { affected, events, bytes, held, own, classes, damaged_conversations, conversations } = self;
        let conversations: Vec<_> = conversations.iter().map(ConversationPlan::to_json).collect();
        let of_class = |ClassUse { class, conversations, own }: &ClassUse| json!({ "class": class, "conversations": conversations, "own": own });
        json!({
            "affected": affected, "events": events, "bytes": bytes, "held": held, "own": own,
            "classes": classes.iter().map(of_class).collect::<Vec<_>>(),
            "damaged_conversations": damaged_conversations, "conversations": conversations,
        })
    }
}

/// A window of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPlan {
    /// With what its events are kept together.
    pub class: Class,
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
                "kept_for": window.class.name(), "window": window.window, "closed": window.is_closed,
                "conversations": window.conversations, "bytes": window.bytes, "expired_bytes": window.expired_bytes,
                "goes_ms": window.goes_ms,
            })
        });
        json!({
            "live_bytes": self.live_bytes, "expired_bytes": self.expired_bytes,
            "oldest_expired_ms": self.oldest_expired_ms, "damaged_conversations": self.damaged_conversations,
            "held": self.held,
            "holds": self.holds.iter().map(|hold| json!({ "conversation": hold.conversation, "hold_ms": hold.hold_ms })).collect::<Vec<_>>(),
            "windows": windows.collect::<Vec<_>>(),
            "conversations": self.conversations.iter().map(ConversationPlan::to_json).collect::<Vec<_>>(),
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

/// From where on a conversation is kept by all of these classes, and how by the last of them.
fn kept_by(
    view: &dyn View,
    name: &ConversationName,
    kept: &Kept,
    classes: &[&Classes],
    now_ms: u64,
) -> Result<(Keeping, Place), ViewError> {
    let mut keeping = Keeping::for_ever(now_ms);
    let mut floor = Place { seq: Seq(1), ..Place::default() };
    for classes in classes {
        keeping = kept.keeping(classes.policy(name), now_ms);
        let by_class = view.floor(name, marks_by(view, name, keeping)?, floor.seq)?;
        floor = if by_class.seq > floor.seq { by_class } else { floor };
    }
    Ok((keeping, floor))
}

/// When an event that is kept is absent by its age.
fn ends_by_age(keeping: Keeping, time_ms: u64) -> Option<u64> {
    let age_ms = keeping.policy.age_s.saturating_mul(1_000);
    (age_ms > 0).then(|| time_ms.saturating_add(age_ms))
}

/// What classes would make absent of a view that others do not, and of which conversations: those that lose
/// most, so many of them.
///
/// # Errors
/// When the view cannot be read.
pub fn loss(
    view: &dyn View,
    former: &Classes,
    classes: &Classes,
    now_ms: u64,
    told_max: usize,
) -> Result<Loss, ViewError> {
    let (mut loss, mut most) = (Loss::default(), Most::of(told_max));
    let unused = |class: &RetentionClass| ClassUse { class: class.to_string(), conversations: 0, own: 0 };
    loss.classes = classes.all().iter().map(unused).collect();
    let damaged = view.survey(&mut |name, spans| {
        let kept = kept_in(view, name)?;
        if let Some(place) = classes.place(name) {
            let (used, own) = (&mut loss.classes[place], u64::from(kept.policy.is_some()));
            used.conversations += 1;
            used.own += own;
            loss.own += own;
        }
        if kept.policy.is_some() || former.policy(name) == classes.policy(name) {
            return Ok(());
        }
        if kept.hold_ms > 0 {
            loss.held += 1;
            return Ok(());
        }
        let (_, before) = kept_by(view, name, &kept, &[former], now_ms)?;
        let (keeping, then) = kept_by(view, name, &kept, &[classes], now_ms)?;
        let events = then.seq.0.saturating_sub(before.seq.0);
        if events == 0 {
            return Ok(());
        }
        let bytes = then.offset.saturating_sub(before.offset);
        loss.affected += 1;
        loss.events += events;
        loss.bytes += bytes;
        let is_some_kept = spans.iter().any(|span| span.next.seq > then.seq);
        let next_ms = ends_by_age(keeping, then.time_ms).filter(|_| is_some_kept);
        most.add(ConversationPlan { conversation: name.clone(), events, bytes, next_ms });
        Ok(())
    })?;
    loss.conversations = most.into_plans();
    loss.damaged_conversations = damaged;
    Ok(loss)
}

/// Looks at all that a view has. Absent is what is so by any of these classes; when windows go is told by the
/// last of them. Of the conversations that lose most so many are told.
///
/// # Errors
/// When the view cannot be read.
pub fn overview(
    view: &dyn View,
    classes: &[&Classes],
    now_ms: u64,
    told_max: usize,
) -> Result<Overview, ViewError> {
    let (mut overview, mut windows) = (Overview::default(), BTreeMap::<_, WindowPlan>::new());
    let mut most = Most::of(told_max);
    let damaged = view.survey(&mut |name, spans| {
        let kept = kept_in(view, name)?;
        let (keeping, floor) = kept_by(view, name, &kept, classes, now_ms)?;
        if kept.hold_ms > 0 {
            overview.held += 1;
            if overview.holds.len() < told_max {
                overview.holds.push(Hold { conversation: name.clone(), hold_ms: kept.hold_ms });
            }
        }
        let mut of_one = ConversationPlan { conversation: name.clone(), events: 0, bytes: 0, next_ms: None };
        for span in spans {
            let bytes = span.next.offset.saturating_sub(span.first.offset);
            let is_dead = span.next.seq <= floor.seq;
            let expired_bytes = match floor.offset.saturating_sub(span.first.offset) {
                _ if is_dead => bytes,
                _ if floor.seq <= span.first.seq => 0,
                expired => expired.min(bytes),
            };
            of_one.bytes += expired_bytes;
            of_one.events += floor.seq.min(span.next.seq).0.saturating_sub(span.first.seq.0);
            if !is_dead {
                let first_ms = if span.first.seq < floor.seq { floor.time_ms } else { span.first.time_ms };
                let next_ms = ends_by_age(keeping, first_ms);
                of_one.next_ms = of_one.next_ms.into_iter().chain(next_ms).min();
            }
            if span.first.seq < floor.seq {
                let oldest = overview.oldest_expired_ms.unwrap_or(u64::MAX);
                overview.oldest_expired_ms = Some(oldest.min(span.first.time_ms));
            }
            let goes_ms = if is_dead { Some(now_ms) } else { ends_by_age(keeping, span.next.time_ms) };
            let plan = windows.entry((span.class, span.window)).or_insert_with(|| WindowPlan {
                class: span.class,
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
        most.add(of_one);
        Ok(())
    })?;
    overview.conversations = most.into_plans();
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
