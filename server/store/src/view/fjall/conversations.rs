//! Goes through what there is of all conversations. One of which rows are damaged holds up nobody else: it
//! keeps all that it has.

use std::collections::BTreeMap;

use ::fjall::Readable as _;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::{Batch, Snapshot};
use super::reclaim::place;
use super::row;
use super::window::Span;
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{Place, ViewError};

/// A span, and where the event behind its last one lies.
pub(super) type WithNext = (Span, Place);

/// Is told of the spans of a conversation, ascending.
type Visit<'a> = dyn FnMut(&ConversationName, ConversationKey, &[WithNext]) -> Result<(), ViewError> + 'a;

/// Is told of the spans of a conversation of which other rows are damaged.
type VisitDamaged<'a> = dyn FnMut(&[Span]) + 'a;

impl FjallView {
    /// Goes through the spans of all conversations. Those of which rows are damaged are left out, and it says
    /// how many these are.
    pub(super) fn each_conversation(&self, visit: &mut Visit<'_>) -> Result<u64, ViewError> {
        self.each_conversation_or(&mut |_| {}, visit)
    }

    /// The same, and `damaged` is told of those that are left out, also of those that `visit` finds to be
    /// damaged.
    pub(super) fn each_conversation_or(
        &self,
        damaged: &mut VisitDamaged<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<u64, ViewError> {
        let snapshot = self.snapshot();
        let (mut spans, mut count): (Vec<Span>, _) = (Vec::new(), 0);
        let mut one = |spans: &[Span]| {
            let Some(Span { conversation: key, .. }) = spans.first().copied() else { return Ok(()) };
            match self.visit_conversation(&snapshot, key, spans, visit) {
                Err(error) if error.is_damage() => {
                    count += 1;
                    damaged(spans);
                    self.tell_of_damage(key, &error);
                    Ok(())
                }
                other => other,
            }
        };
        for row in snapshot.iter(&self.engine.spans) {
            let span = self.span(row)?;
            if spans.first().is_some_and(|first| first.conversation != span.conversation) {
                one(&spans)?;
                spans.clear();
            }
            spans.push(span);
        }
        one(&spans)?;
        Ok(count)
    }

    /// Tells the operator once that a conversation is damaged.
    pub(super) fn tell_of_damage(&self, key: ConversationKey, error: &ViewError) {
        if self.known_damaged.lock().insert(key) {
            tracing::error!(%error, "a conversation is damaged: nothing of it is freed or erased from the disk");
        }
    }

    /// Adds to a batch the names of conversations that get their first event, or registers, unless they are
    /// there already. One that is damaged is written again.
    pub(super) fn name<'a>(&'a self, records: &[Record], batch: &mut Batch<'a>) -> Result<(), ViewError> {
        let mut begin = BTreeMap::new();
        for record in records {
            let is_first = record.seq == Seq(1);
            if is_first || !record.registers.is_empty() {
                *begin.entry(&record.conversation).or_insert(false) |= is_first;
            }
        }
        for (name, has_first) in begin {
            let key = ConversationKey::new(name);
            let snapshot = self.snapshot();
            let (stored, had_events) = match self.read_name(&snapshot, name, key) {
                Ok(stored) => {
                    let had_events = stored.as_ref().is_some_and(|stored| stored.has_events);
                    (stored, had_events)
                }
                Err(ViewError::DamagedConversation { .. } | ViewError::DamagedBlock { .. }) => {
                    // A row that is damaged is one.
                    let span = self.span_at(&snapshot, key, Seq(u64::MAX));
                    (None, span.map_or_else(|error| error.is_damage(), |span| span.is_some()))
                }
                Err(error) => return Err(error),
            };
            let has_events = has_first || had_events;
            if stored.is_none_or(|stored| stored.has_events != has_events) {
                batch.insert(&self.engine.conversations, key.0, row::encode_name(&key.0, name, has_events));
            }
        }
        Ok(())
    }

    fn visit_conversation(
        &self,
        snapshot: &Snapshot<'_>,
        key: ConversationKey,
        spans: &[Span],
        visit: &mut Visit<'_>,
    ) -> Result<(), ViewError> {
        let named = self
            .stored_name(snapshot, key)?
            .ok_or_else(|| ViewError::DamagedName { key, what: "missing" })?;
        let Some(last) = self.read_end(snapshot, &named.name, key)? else { return Ok(()) };
        let end = Place { seq: last.seq.next(), time_ms: last.time_ms, offset: last.end };
        let nexts = spans.iter().skip(1).map(place).chain([end]);
        let with_next: Vec<_> = spans.iter().copied().zip(nexts).collect();
        visit(&named.name, key, &with_next)
    }
}

#[cfg(test)]
mod tests {
    use ::fjall::Readable as _;

    use super::super::row;
    use super::{ConversationKey, FjallView};
    use crate::class::Class;
    use crate::log::Position;
    use crate::record::Record;
    use crate::testing::record;
    use crate::view::{Keep, Marks, Rewrite, View, ViewError};

    /// Three conversations in each of some windows, of which everything but the last one's is absent.
    fn view(dir: &std::path::Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap().with_window_bytes(1);
        for seq in 1..=6 {
            let of = |name| {
                let event = record(name, seq, seq);
                let offset = (1..seq).map(|seq| record(name, seq, seq).content.len() as u64);
                Record { offset: offset.sum(), ..event }
            };
            view.apply(Position(seq), &["a", "b", "c"].map(of)).unwrap();
            view.flush().unwrap();
        }
        view
    }

    fn overwrite_last_run(view: &FjallView, of: &Record) {
        let conversation = ConversationKey::new(&of.conversation);
        let messages = view.engine.messages(Class::default());
        let snapshot = view.snapshot();
        let keys = snapshot.iter(messages).map(|row| row.into_inner().unwrap().0);
        let of_it = keys.filter(|key| row::split_run_key(key).is_some_and(|(_, of, _)| of == conversation));
        messages.insert(of_it.last().unwrap(), "damaged").unwrap();
    }

    /// A disk without room, for example: what a failed pass has left is found by the next one.
    #[test]
    fn what_a_failed_reclaim_has_buried_is_freed_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let marks = |seq| Marks { seq: quoth_protocol::Seq(seq), ..Marks::default() };
        view.reclaim(&mut |_| Ok(marks(2))).unwrap();
        let tables = |view: &FjallView| view.snapshot().iter(view.engine.messages(Class::default())).count();
        let before = tables(&view);
        // Nothing is written over a folder.
        let in_the_way = dir.path().join(super::super::checkpoint::NEW_NAME);
        std::fs::create_dir(&in_the_way).unwrap();
        view.reclaim(&mut |_| Ok(marks(5))).unwrap_err();
        std::fs::remove_dir(&in_the_way).unwrap();
        view.reclaim(&mut |_| Ok(marks(5))).unwrap();
        assert!(tables(&view) < before, "{before} rows, and as many behind");
    }

    #[test]
    fn one_damaged_conversation_holds_up_nothing_of_others() {
        for what in ["run", "name", "policy"] {
            let dir = tempfile::tempdir().unwrap();
            let view = view(dir.path());
            let b = record("b", 1, 1);
            match what {
                "run" => overwrite_last_run(&view, &b),
                "name" => {
                    let key = ConversationKey::new(&b.conversation);
                    view.engine.conversations.insert(key.0, "damaged").unwrap();
                }
                _ => {}
            }
            let damaged =
                || ViewError::DamagedConversation { conversation: b.conversation.clone(), what: "" };
            let mut seen = Vec::new();
            let survey = view.survey(&mut |name, _| {
                if *name == b.conversation && what == "policy" {
                    return Err(damaged());
                }
                seen.push(name.to_string());
                Ok(())
            });
            seen.sort();
            assert_eq!((survey.unwrap(), seen), (1, vec!["a".to_owned(), "c".to_owned()]), "{what}");
            let marks = Marks { seq: quoth_protocol::Seq(6), ..Marks::default() };
            let reclaimed = view
                .reclaim(&mut |name| match name.as_str() {
                    "b" if what == "policy" => Err(damaged()),
                    _ => Ok(marks),
                })
                .unwrap();
            assert_eq!((reclaimed.windows, reclaimed.damaged), (0, 1), "{what}: what it has stays");
            let mut rewrite = Rewrite { now_ms: 1, erased_by_ms: 1, pace: &mut |_| true };
            let rewritten = view
                .rewrite(
                    &mut |name| match name.as_str() {
                        "b" if what == "policy" => Err(damaged()),
                        _ => Ok(Keep { marks, ..Keep::default() }),
                    },
                    &mut rewrite,
                )
                .unwrap();
            assert!(rewritten.is_done && rewritten.windows == 0, "{what}: {rewritten:?}");
            let bounds = |name: &str| view.bounds(&record(name, 1, 1).conversation).unwrap();
            assert!(bounds("a").floor.0 > 1 && bounds("c").floor.0 > 1, "{what}: the others are freed");
        }
    }
}
