//! Checks all rows of the view.

use std::collections::HashMap;

use ::fjall::Readable as _;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::Snapshot;
use super::find::{NOT_LAST_IN_BLOCK, ProducerRows};
use super::read::{StoredRun, damaged, hole, record};
use super::row::{self, Block, Named};
use super::run::Message;
use super::window::{ClassWindow, Piece};
use crate::class::Class;
use crate::key::{ConversationKey, ProducerKey};
use crate::record::{MessageId, Record};
use crate::verify::{Progress, Report};
use crate::view::{ProducerState, ViewError};

const PROGRESS_MESSAGES: u64 = 100_000;

/// Look-ups rely on the contrary.
const N_NOT_GROWING: &str = "its n is not above that of its producer's message before";

/// Whoever looks for a seq relies on the contrary.
const NOT_FIRST_IN_SPAN: &str = "its window begins with another message";

/// The conversation that a walk over the messages is in.
struct Current {
    key: ConversationKey,
    name: ConversationName,
    last: Seq,
    /// The last message of each producer in the block of `last`.
    producers: HashMap<ProducerKey, ProducerState>,
    /// Of which seqs, that begin in the block, it is not known any more whose they were: first and last.
    bare: Vec<(Seq, Seq)>,
}

/// What the view has at a seq.
#[derive(Debug)]
pub(crate) enum Stored {
    /// An event.
    Record(Box<Record>),
    /// It was erased or reclaimed.
    Absent,
    /// Nothing, which it should have.
    Missing,
}

impl FjallView {
    /// One message.
    pub(crate) fn message(&self, conversation: &ConversationName, seq: Seq) -> Result<Stored, ViewError> {
        let snapshot = self.snapshot();
        let key = ConversationKey::new(conversation);
        let run = match self.pieces_from(&snapshot, key, seq).next().transpose()? {
            Some(Piece::Run(run)) => run,
            Some(Piece::Gone { first, last }) if first.seq <= seq && seq <= last.seq => {
                return Ok(Stored::Absent);
            }
            Some(Piece::Gone { .. }) | None => return Ok(Stored::Missing),
        };
        match run.messages(conversation)?.into_iter().find(|message| message.seq == seq) {
            Some(message) if message.is_absent() => Ok(Stored::Absent),
            Some(message) => record(conversation, message).map(|record| Stored::Record(Box::new(record))),
            None => Ok(Stored::Missing),
        }
    }

    /// Checks every message's checksum and that every conversation is contiguous from its first message; and,
    /// when the view is up to date, that its producers' rows and names are those of its messages.
    pub(crate) fn check_rows(
        &self,
        is_up_to_date: bool,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) {
        let snapshot = self.snapshot();
        let mut current: Option<Current> = None;
        let mut counts = Counts::default();
        for guard in snapshot.iter(&self.engine.spans) {
            let span = match self.span(guard) {
                Ok(span) => span,
                Err(error) => {
                    report.findings.push(error.into());
                    continue;
                }
            };
            if current.as_ref().is_none_or(|current| current.key != span.conversation) {
                if let Some(ended) = &mut current {
                    self.check_producers(&snapshot, ended, is_up_to_date, &mut counts, report);
                }
                current = self.begin(&snapshot, span.conversation, report);
            }
            let mut is_first = true;
            let until = self.spans_behind(&snapshot, span.conversation, span.first).next();
            let until = until.and_then(Result::ok).map_or(u64::MAX, |next| next.first.0.saturating_sub(1));
            for piece in self.pieces(&snapshot, span, span.first, Seq(until)) {
                let run = match piece {
                    Ok(Piece::Run(run)) => run,
                    Ok(Piece::Gone { first, last }) => {
                        is_first = false;
                        let first = first.seq;
                        let Some(current) = &mut current else { continue };
                        if !current.has_block_of(first) {
                            self.check_producers(&snapshot, current, is_up_to_date, &mut counts, report);
                        }
                        if first != current.last.next() || last.seq < first {
                            report
                                .findings
                                .push(hole(&current.name, current.last.next(), Some(first)).into());
                        }
                        current.bare.push((first, last.seq));
                        if !current.has_block_of(last.seq) {
                            self.check_producers(&snapshot, current, is_up_to_date, &mut counts, report);
                        }
                        current.last = last.seq;
                        continue;
                    }
                    Err(error) => {
                        report.findings.push(error.into());
                        break;
                    }
                };
                counts.runs += 1;
                let Some(current) = &mut current else { continue };
                if !current.has_block_of(run.last) {
                    self.check_producers(&snapshot, current, is_up_to_date, &mut counts, report);
                }
                let expected_first = std::mem::take(&mut is_first).then_some(span.first);
                let messages = check_run(current, &run, expected_first, report);
                if (report.messages + messages) / PROGRESS_MESSAGES > report.messages / PROGRESS_MESSAGES {
                    progress(Progress::View { messages: report.messages + messages });
                }
                report.messages += messages;
            }
            if is_first && let Some(current) = &current {
                let what = "its messages in a window are missing";
                let conversation = current.name.clone();
                report.findings.push(ViewError::DamagedConversation { conversation, what }.into());
            }
        }
        if let Some(ended) = &mut current {
            self.check_producers(&snapshot, ended, is_up_to_date, &mut counts, report);
        }
        self.check_registers(&snapshot, report);
        if is_up_to_date {
            self.check_counts(&snapshot, &counts, report);
        }
        progress(Progress::View { messages: report.messages });
    }

    fn begin(&self, snapshot: &Snapshot<'_>, key: ConversationKey, report: &mut Report) -> Option<Current> {
        report.conversations += 1;
        match self.stored_name(snapshot, key) {
            Ok(Some(Named { name, .. })) => {
                Some(Current { key, name, last: Seq::ZERO, producers: HashMap::new(), bare: Vec::new() })
            }
            Ok(None) => {
                report.findings.push(ViewError::DamagedName { key, what: "missing" }.into());
                None
            }
            Err(error) => {
                report.findings.push(error.into());
                None
            }
        }
    }

    /// Compares the producers' rows of a block with its messages, once these are through, and counts them. A
    /// row may be of a message of which it is not known any more whose it was.
    fn check_producers(
        &self,
        snapshot: &Snapshot<'_>,
        current: &mut Current,
        is_up_to_date: bool,
        counts: &mut Counts,
        report: &mut Report,
    ) {
        let (conversation, block) = (&current.name, Block::of(current.last));
        for (producer, expected) in current.producers.drain().filter(|_| is_up_to_date) {
            let stored = ProducerRows { view: self, snapshot, conversation, producer };
            let is_of_bare = |held: &ProducerState| {
                held.n > expected.n
                    && held.seq > expected.seq
                    && current.bare.iter().any(|(first, last)| (*first..=*last).contains(&held.seq))
            };
            match stored.last_in(block) {
                Ok(Some(held)) if held == expected => counts.producers += 1,
                Ok(Some(held)) if is_of_bare(&held) => {}
                Ok(_) => {
                    counts.producers += 1;
                    report.findings.push(stored.damaged(NOT_LAST_IN_BLOCK).into());
                }
                Err(error) => {
                    counts.producers += 1;
                    report.findings.push(error.into());
                }
            }
        }
        for (first, last) in current.bare.drain(..) {
            counts.add_gone(current.key, first, last);
        }
    }

    /// Rows of producers and names without a message would not be met by a walk over the messages.
    fn check_counts(&self, snapshot: &Snapshot<'_>, counts: &Counts, report: &mut Report) {
        let (with_events, without) = self.count_names(snapshot);
        let counts = [
            ("rows of messages", self.count_runs(snapshot), counts.runs),
            ("rows of producers", self.walk_producers(snapshot, &counts.gone, report), counts.producers),
            ("conversations", with_events, report.conversations),
        ];
        for (rows, held, expected) in counts {
            if held != expected {
                let what = format!("it has {held} {rows}, its messages have {expected}");
                report.findings.push(ViewError::engine(&self.dir, "find all rows of", what).into());
            }
        }
        report.conversations += without;
    }

    /// Counts the conversations that have events, and those that have registers alone.
    fn count_names(&self, snapshot: &Snapshot<'_>) -> (u64, u64) {
        let (mut with_events, mut without) = (0, 0);
        for guard in snapshot.iter(&self.engine.conversations) {
            let named = guard.into_inner().ok().and_then(|(key, value)| row::decode_name(&key, &value));
            let has_events = named.is_none_or(|named| named.has_events);
            *(if has_events { &mut with_events } else { &mut without }) += 1;
        }
        (with_events, without)
    }

    /// Counts the rows of messages, but for those of what was reclaimed or is elsewhere by now, which stay
    /// for as long as their table has others.
    fn count_runs(&self, snapshot: &Snapshot<'_>) -> u64 {
        let mut count = 0;
        for class in Class::all() {
            for guard in snapshot.iter(self.engine.messages(class)) {
                let key = guard.into_inner().ok().and_then(|(key, _)| row::split_run_key(&key));
                let is_elsewhere = key.is_some_and(|(number, conversation, last)| {
                    let span = self.span_at(snapshot, conversation, last);
                    span.is_ok_and(|span| {
                        span.is_some_and(|span| span.window() != Some(ClassWindow { class, number }))
                    })
                });
                count += u64::from(!is_elsewhere);
            }
        }
        count
    }

    /// Counts the producers' rows, but for those of what was reclaimed, and checks that n grows from block to
    /// block.
    fn walk_producers(
        &self,
        snapshot: &Snapshot<'_>,
        gone: &HashMap<ConversationKey, Vec<(Seq, Seq)>>,
        report: &mut Report,
    ) -> u64 {
        let mut rows = 0;
        let mut before = None;
        for guard in snapshot.iter(&self.engine.producers) {
            rows += 1;
            let Ok((key, value)) = guard.into_inner() else { continue };
            let row = row::split_producer_key(&key).zip(row::decode_producer(&key, &value));
            let Some(((conversation, producer, _), state)) = row else { continue };
            let gone = gone.get(&conversation).map(Vec::as_slice).unwrap_or_default();
            let at = gone.partition_point(|(_, last)| *last < state.seq);
            rows -= u64::from(gone.get(at).is_some_and(|(first, _)| *first <= state.seq));
            if before.is_some_and(|(c, p, n)| (c, p) == (conversation, producer) && n >= state.n) {
                let what = format!(
                    "the message of producer {producer:?} at seq {} of conversation {conversation:?}: {N_NOT_GROWING}",
                    state.seq
                );
                report.findings.push(ViewError::engine(&self.dir, "find the order of", what).into());
            }
            before = Some((conversation, producer, state.n));
        }
        rows
    }
}

/// Rows that a walk over the spans has met.
#[derive(Default)]
struct Counts {
    runs: u64,
    producers: u64,
    /// What was reclaimed of each conversation, from which seq to which.
    gone: HashMap<ConversationKey, Vec<(Seq, Seq)>>,
}

impl Counts {
    /// Takes note of seqs that are gone; they come in ascending order.
    fn add_gone(&mut self, conversation: ConversationKey, first: Seq, last: Seq) {
        let gone = self.gone.entry(conversation).or_default();
        match gone.last_mut() {
            Some((_, before)) if before.next() == first => *before = last,
            _ => gone.push((first, last)),
        }
    }
}

impl Current {
    /// Whether a seq is in the block that the walk is in.
    fn has_block_of(&self, seq: Seq) -> bool {
        Block::of(self.last) == Block::of(seq)
    }
}

/// Checks a run and returns how many messages it has. `expected_first` is where its span begins, if it is the
/// first of one.
fn check_run(
    current: &mut Current,
    run: &StoredRun,
    expected_first: Option<Seq>,
    report: &mut Report,
) -> u64 {
    let messages = match run.messages(&current.name) {
        Ok(messages) => messages,
        Err(error) => {
            // How many they were is not known, so neither is whether some are missing before them.
            current.last = run.last;
            report.findings.push(error.into());
            return 0;
        }
    };
    let first = messages.first().map(|message| message.seq);
    if expected_first.is_some() && first != expected_first {
        report.findings.push(damaged(&current.name, run.last, NOT_FIRST_IN_SPAN).into());
    }
    for message in &messages {
        check_message(current, *message, report);
    }
    messages.len() as u64
}

fn check_message(current: &mut Current, message: Message<'_>, report: &mut Report) {
    let (seq, expected) = (message.seq, current.last.next());
    if seq != expected {
        report.findings.push(hole(&current.name, expected, Some(seq)).into());
    }
    current.last = seq;
    if message.is_bare() {
        current.bare.push((seq, seq));
    }
    if let Some(MessageId { producer, n }) = message.id
        && let Some(before) = current.producers.insert(producer, ProducerState { n, seq })
        && before.n >= n
    {
        report.findings.push(damaged(&current.name, seq, N_NOT_GROWING).into());
    }
    if !message.is_absent()
        && let Err(error) = record(&current.name, message)
    {
        report.findings.push(error.into());
    }
}

/// What is found in a view as it is.
#[cfg(test)]
pub(super) fn findings(view: &FjallView) -> Vec<String> {
    let mut report = Report::default();
    view.check_rows(true, &mut report, &mut |_| {});
    report.findings.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::window::{Held, Window};
    use super::findings;
    use super::{Block, Class, ClassWindow, ConversationKey, FjallView, ProducerState, Seq, row};
    use crate::log::Position;
    use crate::testing::{apply_one_by_one, record};
    use crate::view::{View, ViewError};

    fn view(dir: &std::path::Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap();
        apply_one_by_one(&view, &[record("a", 1, 1), record("a", 2, 2), record("b", 1, 1)]);
        view
    }

    #[test]
    fn lost_rows_are_found_from_those_that_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        assert_eq!(findings(&view), [""; 0]);
        let (a, b) = (record("a", 1, 1), record("b", 1, 1));
        let (key_a, key_b) = (ConversationKey::new(&a.conversation), ConversationKey::new(&b.conversation));
        // A conversation's head: its producer has stored more than its messages show.
        view.engine.messages(Class::default()).remove(row::run_key(Window(0), key_a, Seq(2))).unwrap();
        let found = findings(&view);
        assert!(
            found.len() == 1 && found[0].contains("not that of the producer's last message in its block"),
            "{found:?}"
        );
        // All messages of a conversation.
        view.engine.messages(Class::default()).remove(row::run_key(Window(0), key_b, b.seq)).unwrap();
        let found = findings(&view);
        assert!(
            found.iter().any(|text| text.contains("it has 2 rows of producers, its messages have 1")),
            "{found:?}"
        );
        assert!(matches!(view.bounds(&b.conversation), Err(ViewError::DamagedConversation { .. })));
    }

    #[test]
    fn a_lost_or_damaged_run_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let records: Vec<_> = (1..=60).map(|seq| record("a", seq, seq)).collect();
        for (position, group) in (1..).map(Position).zip(records.chunks(20)) {
            view.apply(position, group).unwrap();
        }
        let key = row::run_key(Window(0), ConversationKey::new(&records[0].conversation), Seq(40));
        view.engine.messages(Class::default()).insert(key, b"damaged").unwrap();
        let found = findings(&view);
        assert!(found.len() == 1 && found[0].contains("seq 40 is damaged"), "{found:?}");
        view.engine.messages(Class::default()).remove(key).unwrap();
        let found = findings(&view);
        assert!(found.len() == 1 && found[0].contains("seq 21 is missing"), "{found:?}");
    }

    #[test]
    fn a_lost_damaged_or_wrong_span_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(1);
        let records: Vec<_> = (1..=60).map(|seq| record("a", seq, seq)).collect();
        for (position, group) in (1..).map(Position).zip(records.chunks(20)) {
            view.apply(position, group).unwrap();
            view.flush().unwrap();
        }
        assert_eq!(findings(&view), [""; 0]);
        let conversation = ConversationKey::new(&records[0].conversation);
        let key = |first| row::span_key(conversation, Seq(first));
        let spans = &view.engine.spans;
        let value = spans.get(key(21)).unwrap().unwrap();
        spans.insert(key(21), b"damaged").unwrap();
        let found = findings(&view);
        assert!(found.iter().any(|text| text.contains("row that leads to events")), "{found:?}");
        assert!(
            view.after(&records[0].conversation, Seq(30), crate::PageLimit { records: 9, bytes: 999 })
                .is_err()
        );
        spans.remove(key(21)).unwrap();
        let found = findings(&view);
        assert!(found.iter().any(|text| text.contains("seq 21 is missing")), "{found:?}");
        let window = ClassWindow { class: Class::default(), number: Window(1) };
        let held = Held::There { window, time_ms: 0, offset: 0 };
        spans.insert(key(22), row::encode_span(&key(22), held)).unwrap();
        let found = findings(&view);
        assert!(
            found.iter().any(|text| text.contains("its window begins with another message")),
            "{found:?}"
        );
        spans.remove(key(22)).unwrap();
        spans.insert(key(21), value).unwrap();
        assert_eq!(findings(&view), [""; 0]);
    }

    /// A producer's row may be of a message that is gone, or of one behind others that are.
    #[test]
    fn what_is_gone_in_the_middle_of_a_block_is_no_damage() {
        for gone in [21..=40, 41..=60, 41..=100] {
            let dir = tempfile::tempdir().unwrap();
            let view = FjallView::open(dir.path(), 1 << 20).unwrap().with_window_bytes(1);
            let mut records: Vec<_> = (1..=120).map(|seq| record("a", seq, seq)).collect();
            // Another producer, with messages before what is gone and in it.
            for seq in [15, 30, 50] {
                let id = records[seq].id.as_mut().unwrap();
                id.producer = crate::key::ProducerKey([7; 16]);
            }
            for (position, group) in (1..).map(Position).zip(records.chunks(20)) {
                view.apply(position, group).unwrap();
                view.flush().unwrap();
            }
            assert_eq!(findings(&view), [""; 0]);
            let key = ConversationKey::new(&records[0].conversation);
            let mut windows = std::collections::BTreeSet::new();
            for (span, _) in records.chunks(20).zip(0..) {
                let first = span[0].seq;
                if gone.contains(&first.0) {
                    let held = view.span_at(&view.snapshot(), key, first).unwrap().unwrap();
                    windows.extend(held.window());
                }
            }
            view.bury(&windows).unwrap();
            assert!(!windows.is_empty() && view.span_at(&view.snapshot(), key, Seq(41)).unwrap().is_some());
            assert_eq!(findings(&view), [""; 0], "{gone:?}");
        }
    }

    #[test]
    fn a_block_whose_row_is_lost_or_another_ones_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let records: Vec<_> = (1..=200).map(|seq| record("a", seq, seq)).collect();
        view.apply(Position(1), &records).unwrap();
        assert_eq!(findings(&view), [""; 0]);
        let (name, producer) = (&records[0].conversation, records[0].id.unwrap().producer);
        let key = row::producer_key(ConversationKey::new(name), producer, Block(1));
        let last = ProducerState { n: 127, seq: Seq(127) };
        for wrong in [ProducerState { n: 126, ..last }, ProducerState { seq: Seq(126), ..last }] {
            view.engine.producers.insert(key, row::encode_producer(&key, wrong)).unwrap();
            let found = findings(&view);
            assert!(found.len() == 1 && found[0].contains(super::NOT_LAST_IN_BLOCK), "{found:?}");
            let error = view.find(name, producer, 100).unwrap_err();
            assert!(matches!(error, ViewError::DamagedProducer { .. }), "{error}");
        }
        view.engine.producers.remove(key).unwrap();
        assert_eq!(findings(&view).len(), 2, "the row, and the number of rows");
    }

    #[test]
    fn a_number_that_does_not_grow_is_found() {
        for (seq, n) in [(100, 99), (128, 127)] {
            let dir = tempfile::tempdir().unwrap();
            let view = FjallView::open(dir.path(), 1 << 20).unwrap();
            let mut records: Vec<_> = (1..=128).map(|seq| record("a", seq, seq)).collect();
            records[seq - 1].id.as_mut().unwrap().n = n;
            view.apply(Position(1), &records).unwrap();
            let found = findings(&view);
            assert!(found.len() == 1 && found[0].contains(super::N_NOT_GROWING), "{seq}: {found:?}");
        }
    }

    #[test]
    fn two_names_with_one_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let (a, b) = (record("a", 1, 1), record("b", 1, 1));
        let key = ConversationKey::new(&b.conversation);
        view.engine.conversations.insert(key.0, row::encode_name(&key.0, &a.conversation, true)).unwrap();
        assert!(matches!(view.bounds(&b.conversation), Err(ViewError::KeyCollision { .. })));
        assert!(matches!(view.apply(Position(4), &[b]), Err(ViewError::KeyCollision { .. })));
    }

    #[test]
    fn a_damaged_name_is_an_error_of_its_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let a = record("a", 1, 1);
        view.engine.conversations.insert(ConversationKey::new(&a.conversation).0, b"no name").unwrap();
        assert!(matches!(view.bounds(&a.conversation), Err(ViewError::DamagedConversation { .. })));
    }

    #[test]
    fn a_row_under_another_key_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let a = record("a", 1, 1);
        let key = |seq| row::run_key(Window(0), ConversationKey::new(&a.conversation), Seq(seq));
        let value = view.engine.messages(Class::default()).get(key(1)).unwrap().unwrap();
        view.engine.messages(Class::default()).insert(key(2), value).unwrap();
        assert!(matches!(view.bounds(&a.conversation), Err(ViewError::DamagedRow { .. })));
        assert_eq!(findings(&view).len(), 2, "the row, and the producer's, whose last message it was");
    }
}
