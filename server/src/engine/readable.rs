//! Whether somebody may have an event now: the one place that says so of what the view has.

use std::sync::Arc;

use quoth_core::messages::{Target, ends_with};
use quoth_core::retention::{Classes, End, Judge, Keeping, Place};
use quoth_protocol::frame::EventKind;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{
    Bounds, PageLimit, Record, StoredContent, StoredEvent, Stretch, View, ViewError, VisitEvent,
};

use super::frame::event;
use super::retention::kept_in;
use super::states::KnownAbsent;
use super::tails::Ahead;

/// By what a read is judged: taken before it begins.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// How the conversation is kept.
    pub(super) keeping: Keeping,
    /// What the view may not have yet.
    pub(super) ahead: Ahead,
    /// What was revoked; `None` where nothing ever is.
    pub(super) absent: Option<Arc<KnownAbsent>>,
}

impl Reading {
    /// By what a view is judged that has all there is, by these classes.
    pub(crate) fn in_view(
        view: &dyn View,
        name: &ConversationName,
        classes: &Classes,
        now_ms: u64,
    ) -> Result<Self, ViewError> {
        // What was revoked has no row there.
        let keeping = kept_in(view, name)?.keeping(classes.policy(name), now_ms);
        Ok(Self { keeping, ..Self::default() })
    }

    /// A judge of what the view has.
    pub(crate) fn judged(&self, view: &dyn View, name: &ConversationName) -> Result<Judged<'_>, ViewError> {
        Ok(self.by(self.rule(view, name)?))
    }

    /// By what a judge says so.
    pub(super) fn rule(&self, view: &dyn View, name: &ConversationName) -> Result<Rule, ViewError> {
        let judge = self.judge(view, name)?;
        let floor =
            if judge.marks.is_nothing() { Seq(1) } else { view.floor(name, judge.marks, Seq::ZERO)?.seq };
        Ok(Rule { judge, floor })
    }

    /// A judge by what was found before.
    pub(super) const fn by(&self, rule: Rule) -> Judged<'_> {
        Judged { reading: self, rule }
    }

    /// Whether marks may take anything of the conversation.
    pub(crate) fn may_take(&self) -> bool {
        self.keeping.may_take()
    }

    /// By what a conversation is judged that no marks take anything of.
    pub(super) fn rule_without_marks(&self) -> Rule {
        Rule { judge: self.keeping.judge(self.ahead.end), floor: Seq(1) }
    }

    /// Whether an event was revoked, by now.
    pub(super) fn is_revoked(&self, seq: Seq) -> bool {
        self.ahead.erased.contains(&seq)
            || self.absent.as_ref().is_some_and(|absent| absent.read().contains(seq))
    }

    /// What never changes of a message; `None` when there is none at this place, or nobody is to have it any
    /// more.
    pub(super) fn target(
        &self,
        view: &dyn View,
        name: &ConversationName,
        seq: Seq,
    ) -> Result<Option<Target>, ViewError> {
        self.judged(view, name)?.target(view, name, seq)
    }

    /// The judge, by the end of the conversation that is the latest.
    fn judge(&self, view: &dyn View, name: &ConversationName) -> Result<Judge, ViewError> {
        let mut end = self.ahead.end;
        if self.keeping.depends_on_end() {
            let last = view.last(name)?.map(|last| End { seq: last.seq, bytes: last.end });
            end = last.filter(|last| last.seq > end.seq).unwrap_or(end);
        }
        Ok(self.keeping.judge(end))
    }

    /// The floor, and the head of the view.
    pub(super) fn bounds(&self, view: &dyn View, name: &ConversationName) -> Result<Bounds, ViewError> {
        let bounds = view.bounds(name)?;
        let judge = self.judge(view, name)?;
        if judge.marks.is_nothing() {
            return Ok(bounds);
        }
        Ok(Bounds { floor: view.floor(name, judge.marks, bounds.floor)?.seq, ..bounds })
    }

    /// `visit` is told of the first events behind a seq that are not absent, up to `to`. Where all of a page
    /// are absent it reads on, for a few pages: whoever wants what is behind these asks again. Gives the last
    /// seq that it tells of.
    pub(super) fn after(
        &self,
        view: &dyn View,
        name: &ConversationName,
        (after, to): (Seq, Seq),
        limit: PageLimit,
        visit: &mut VisitEvent<'_>,
    ) -> Result<Seq, ViewError> {
        let judged = self.judged(view, name)?;
        // What lies before the floor need not be read.
        let mut reached = after.max(Seq(judged.rule.floor.0.saturating_sub(1)).min(to));
        for _ in 0..PAGES_MAX {
            let records = usize::try_from(to.0.saturating_sub(reached.0)).unwrap_or(usize::MAX);
            if records == 0 {
                break;
            }
            let limit = PageLimit { records: limit.records.min(records), ..limit };
            let mut is_any_there = false;
            let last = visit_behind(view, name, reached, limit, &mut |event| {
                if event.seq <= to && !judged.is_absent_by(&Facts::of(event)) {
                    is_any_there = true;
                    visit(event);
                }
            })?;
            let is_enough = is_any_there || last == reached;
            reached = last.min(to);
            if is_enough {
                break;
            }
        }
        Ok(reached)
    }

    /// The same in the other direction: the last events before a seq, behind `after`.
    pub(super) fn before(
        &self,
        view: &dyn View,
        name: &ConversationName,
        before: Seq,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let judged = self.judged(view, name)?;
        let (mut reached, floor) = (before, judged.rule.floor.max(after.next()));
        let mut to = None;
        for _ in 0..PAGES_MAX {
            let Stretch { from, to: last, mut records } = view.before(name, Some(reached), limit)?;
            let to = *to.get_or_insert(last);
            records.retain(|record| !judged.is_absent(record));
            if !records.is_empty() || from <= floor || from >= reached {
                return Ok(Stretch { from, to, records });
            }
            reached = from;
        }
        Ok(Stretch { from: reached, to: to.unwrap_or_default(), records: Vec::new() })
    }

    /// The last event before a seq that is not absent; where there is none, or none in so many looks, the seq
    /// that was looked at last.
    pub(super) fn last_before(
        &self,
        view: &dyn View,
        name: &ConversationName,
        before: Seq,
    ) -> Result<Seq, ViewError> {
        let (judged, mut at) = (self.judged(view, name)?, before);
        for _ in 0..LOOKS_MAX {
            let stretch = view.before(name, Some(at), LOOK)?;
            if let Some(found) = stretch.iter().rev().find(|record| !judged.is_absent(record)) {
                return Ok(found.seq);
            }
            at = at.min(stretch.from);
            if at <= judged.rule.floor {
                break;
            }
        }
        Ok(at)
    }

    /// The same in the other direction.
    pub(super) fn first_behind(
        &self,
        view: &dyn View,
        name: &ConversationName,
        after: Seq,
    ) -> Result<Seq, ViewError> {
        let (judged, mut at) = (self.judged(view, name)?, after);
        for _ in 0..LOOKS_MAX {
            let mut found = None;
            let last = visit_behind(view, name, at, LOOK, &mut |event| {
                if found.is_none() && !judged.is_absent_by(&Facts::of(event)) {
                    found = Some(event.seq);
                }
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
            if last <= at {
                break;
            }
            at = last;
        }
        Ok(at)
    }
}

/// Of how many events it is looked at once whether they are absent, and how often for one page: 65,536 of
/// them take some tens of milliseconds off the runtime's threads.
const LOOK: PageLimit = PageLimit { records: 256, bytes: usize::MAX };
const LOOKS_MAX: usize = 256;

/// Pages that are read at once of which everything is absent. A read off the runtime's threads is not to be
/// stopped; one of many parts ends with whoever waits for it.
const PAGES_MAX: usize = 8;

/// What of a conversation is absent, but for what was revoked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    judge: Judge,
    /// What lies before it is absent by the marks.
    pub(super) floor: Seq,
}

/// By what of it an event is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) place: Place,
    expires_ms: u64,
    /// The message with which it ends.
    about: Option<Seq>,
}

impl Facts {
    pub(super) fn of(event: &StoredEvent<'_>) -> Self {
        let StoredEvent { seq, time_ms, offset, expires_ms, content, .. } = *event;
        let about = match content {
            StoredContent::Kind(kind) => ends_with(kind),
            StoredContent::Message(_) => None,
        };
        Self { place: Place { seq, time_ms, offset }, expires_ms, about }
    }
}

/// Says of each event of a conversation whether it is absent.
pub(crate) struct Judged<'a> {
    reading: &'a Reading,
    rule: Rule,
}

impl Judged<'_> {
    pub(crate) fn is_absent(&self, record: &Record) -> bool {
        let facts = Facts::of(&StoredEvent::of(record));
        // What a notice says is no kind of event.
        self.is_absent_by(&Facts { about: facts.about.filter(|_| record.is_event()), ..facts })
    }

    /// The same by what it is judged by.
    pub(super) fn is_absent_by(&self, Facts { place, expires_ms, about }: &Facts) -> bool {
        self.rule.judge.is_absent(*place, *expires_ms)
            || self.reading.is_revoked(place.seq)
            || about.is_some_and(|message| message < self.rule.floor)
    }

    /// As [`Reading::target`].
    pub(super) fn target(
        &self,
        view: &dyn View,
        name: &ConversationName,
        seq: Seq,
    ) -> Result<Option<Target>, ViewError> {
        let Some(before) = seq.0.checked_sub(1).map(Seq) else { return Ok(None) };
        let Bounds { floor, head } = view.bounds(name)?;
        if seq < floor || seq > head {
            return Ok(None);
        }
        let records = view.after(name, before, PageLimit { records: 1, bytes: usize::MAX })?;
        let found = records.first().filter(|record| record.seq == seq && !self.is_absent(record));
        let Some(record) = found else { return Ok(None) };
        let event = event(record)?;
        let is_message = matches!(event.kind, EventKind::Message { .. });
        let (offset, expires_ms) = (record.offset, record.expires_ms);
        Ok(is_message.then_some(Target {
            seq,
            sender: event.sender,
            time_ms: event.time_ms,
            offset,
            expires_ms,
        }))
    }
}

/// `visit` is told of what a view has behind a seq; gives the last one that it tells of. A view that tells of
/// something else would be taken for one that tells that what lies between is absent, or be asked for ever.
pub(super) fn visit_behind(
    view: &dyn View,
    conversation: &ConversationName,
    after: Seq,
    limit: PageLimit,
    visit: &mut VisitEvent<'_>,
) -> Result<Seq, ViewError> {
    let (from, to) = view.visit_after(conversation, after, limit, visit)?;
    if from == after.next() {
        return Ok(to);
    }
    let (conversation, expected, found) = (conversation.clone(), after.next(), Some(from));
    Err(ViewError::Hole { conversation, expected, found })
}
