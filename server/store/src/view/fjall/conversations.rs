//! Goes through what there is of all conversations. One of which rows are damaged holds up nobody else: it
//! keeps all that it has.

use std::collections::BTreeMap;

use ::fjall::Readable as _;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::{Batch, Snapshot};
use super::reclaim::place;
use super::row;
use super::window::{ClassWindow, Span, Window};
use crate::class::Class;
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{Place, ViewError};

/// A span, and where the event behind its last one lies.
pub(super) type WithNext = (Span, Place);

/// Is told of the spans of a conversation, ascending.
type Visit<'a> = dyn FnMut(&ConversationName, ConversationKey, &[WithNext]) -> Result<(), ViewError> + 'a;

/// A conversation of which rows are damaged.
pub(super) struct Damaged<'a> {
    pub(super) key: ConversationKey,
    /// Its spans, as far as their rows can be read.
    pub(super) spans: &'a [Span],
    /// Whether these are all of them.
    pub(super) is_whole: bool,
}

/// Is told of damaged conversations.
type VisitDamaged<'a> = dyn FnMut(Damaged<'_>) + 'a;

/// The rows of spans of one conversation.
struct Rows {
    key: ConversationKey,
    spans: Vec<Span>,
    /// Whether none of them was damaged.
    is_whole: bool,
}

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
        let (mut current, mut count): (Option<Rows>, _) = (None, 0);
        let mut one = |rows: Rows| {
            let Rows { key, spans, is_whole } = rows;
            let visited = match is_whole {
                true => self.visit_conversation(&snapshot, key, &spans, visit),
                false => Err(ViewError::DamagedSpan { key }),
            };
            match visited {
                Err(error) if error.is_damage() => {
                    count += 1;
                    damaged(Damaged { key, spans: &spans, is_whole });
                    self.tell_of_damage(key, &error);
                    Ok(())
                }
                other => other,
            }
        };
        for row in snapshot.iter(&self.engine.spans) {
            let (key, span) = match self.span(row) {
                Ok(span) => (span.conversation, Some(span)),
                Err(ViewError::DamagedSpan { key }) => (key, None),
                Err(error) => return Err(error),
            };
            if let Some(ended) = current.take_if(|rows| rows.key != key) {
                one(ended)?;
            }
            let rows = current.get_or_insert_with(|| Rows { key, spans: Vec::new(), is_whole: true });
            rows.is_whole &= span.is_some();
            rows.spans.extend(span);
        }
        current.map_or(Ok(()), one)?;
        Ok(count)
    }

    /// Tells the operator once that a conversation is damaged.
    pub(super) fn tell_of_damage(&self, key: ConversationKey, error: &ViewError) {
        if self.known_damaged.lock().insert(key) {
            tracing::error!(%error, "a conversation is damaged: nothing of it is freed or erased from the disk");
        }
    }

    /// The windows that have rows of a conversation, whether a span leads to them or not.
    pub(super) fn windows_of(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: ConversationKey,
    ) -> Result<Vec<ClassWindow>, ViewError> {
        let mut windows = Vec::new();
        for class in Class::all() {
            let mut at = Window(0);
            loop {
                let first = row::run_key(at, conversation, Seq::ZERO);
                let Some(row) = snapshot.range(self.engine.messages(class), first..).next() else { break };
                let (key, _) = self.engine.database("read a message from", row.into_inner())?;
                let (number, of, _) = row::split_run_key(&key).ok_or_else(|| self.odd_key())?;
                if number == at {
                    windows.extend((of == conversation).then_some(ClassWindow { class, number }));
                    at = at.next();
                } else {
                    at = number;
                }
            }
        }
        Ok(windows)
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
    use crate::testing::{record, set_of};
    use crate::view::{Extent, Keep, Marks, Rewrite, SweepCursor, View, ViewError};

    /// Three conversations in each of some windows, of which everything but the last one's is absent.
    fn view(dir: &std::path::Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap().with_window_bytes(1);
        for seq in 1..=6 {
            let of = |name| {
                let event = record(name, seq, seq);
                let offset = (1..seq).map(|seq| record(name, seq, seq).content.len() as u64);
                Record { offset: offset.sum(), registers: vec![set_of(b'e', seq, "")], ..event }
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

    /// The rows of spans of a conversation: all of them, or the last one.
    fn overwrite_span(view: &FjallView, of: &Record, all: bool) {
        let conversation = ConversationKey::new(&of.conversation);
        let snapshot = view.snapshot();
        let keys = snapshot.iter(&view.engine.spans).map(|row| row.into_inner().unwrap().0);
        let of_it: Vec<_> = keys.filter(|key| row::conversation_of(key) == Some(conversation)).collect();
        let from = if all { 0 } else { of_it.len() - 1 };
        of_it.into_iter().skip(from).for_each(|key| view.engine.spans.insert(key, "damaged").unwrap());
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
        for what in ["run", "name", "policy", "span", "last span"] {
            let dir = tempfile::tempdir().unwrap();
            let view = view(dir.path());
            let b = record("b", 1, 1);
            match what {
                "run" => overwrite_last_run(&view, &b),
                "name" => {
                    let key = ConversationKey::new(&b.conversation);
                    view.engine.conversations.insert(key.0, "damaged").unwrap();
                }
                "span" | "last span" => overwrite_span(&view, &b, what == "span"),
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
            let mut rewrite =
                Rewrite { now_ms: 1, erased_by_ms: 1, extent: Extent::Worthwhile, pace: &mut |_| true };
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
            let rows = view.windows_of(&view.snapshot(), ConversationKey::new(&b.conversation)).unwrap();
            assert_eq!(rows.len(), 6, "{what}: nothing of it is freed");
            let swept = view.sweep(true, &mut SweepCursor::default(), &mut |_| true).unwrap();
            assert_eq!((swept.damaged, swept.is_done), (u64::from(what != "policy"), true), "{what}");
            for name in ["a", "c"] {
                let left = view.registers(&record(name, 1, 1).conversation, b"@e", None, 9).unwrap();
                assert!(left.len() < 6, "{what}: {left:?}");
            }
            let bounds = |name: &str| view.bounds(&record(name, 1, 1).conversation).unwrap();
            assert!(bounds("a").floor.0 > 1 && bounds("c").floor.0 > 1, "{what}: the others are freed");
        }
    }
}
