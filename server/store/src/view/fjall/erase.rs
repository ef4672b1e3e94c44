//! Takes out what records erase, and counts what leaves rows that are to be rewritten.

use std::collections::HashMap;

use ::fjall::UserKey;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::{Batch, Snapshot};
use super::grouped::events;
use super::run;
use super::tally::{Tallies, UNKNOWN};
use super::window::{ClassWindow, Piece};
use super::writing::Writing;
use crate::key::ConversationKey;
use crate::log::Position;
use crate::record::Record;
use crate::view::ViewError;

impl FjallView {
    /// Counts those of a group that have a time to live.
    pub(super) fn tally(writing: &mut Writing, position: Position, records: &[Record]) {
        for record in events(records).filter(|record| record.expires_ms != 0) {
            let window = writing.window(record.class);
            if let Some(tally) = writing.tallies.at(window, position) {
                tally.expires(record.time_ms, record.expires_ms, record.content.len() as u64);
            }
        }
    }

    /// Takes out what records erase. Their rows may have been written by the same group. What cannot be taken
    /// out, since rows are damaged, is counted as what is on the disk still.
    pub(super) fn erase(
        &self,
        tallies: &mut Tallies,
        position: Position,
        records: &[Record],
    ) -> Result<(), ViewError> {
        let at_ms = Record::stored_ms(records).unwrap_or_default();
        let (snapshot, Found { rows, mut damaged }) = self.find_erased(records)?;
        let mut batch = Batch::default();
        for ((name, last), seqs) in rows {
            match self.erased_run(&snapshot, name, last, &seqs) {
                Ok(Some(Erased { window, key, value, bytes })) => {
                    if let Some(tally) = tallies.at(window, position) {
                        bytes.into_iter().for_each(|bytes| tally.erase(at_ms, bytes));
                    }
                    batch.insert(self.engine.messages(window.class), key, value);
                }
                Ok(None) => {}
                Err(error) if error.is_damage() => damaged.push((ConversationKey::new(name), seqs, error)),
                Err(error) => return Err(error),
            }
        }
        for (key, seqs, error) in damaged {
            self.tell_of_damage(key, &error);
            for seq in seqs {
                let span = self.span_at(&snapshot, key, seq).ok().flatten();
                let window = span.and_then(|span| span.window()).unwrap_or(UNKNOWN);
                if let Some(tally) = tallies.at(window, position) {
                    tally.erase(at_ms, 0);
                }
            }
        }
        tallies.erase_left(at_ms);
        self.engine.write(batch);
        Ok(())
    }

    /// The rows of what records erase, none of which is being packed, and what they were found in.
    fn find_erased<'r>(&self, records: &'r [Record]) -> Result<(Snapshot<'_>, Found<'r>), ViewError> {
        loop {
            // What is packed from here on was set apart before, since no group is applied meanwhile.
            let packing = self.engine.packing();
            let (snapshot, mut found) = (self.snapshot(), Found::default());
            let mut is_packed = false;
            for record in records {
                let (name, key) = (&record.conversation, ConversationKey::new(&record.conversation));
                for seq in &record.erases {
                    match self.pieces_from(&snapshot, key, *seq).next().transpose() {
                        Ok(Some(Piece::Run(run))) => {
                            is_packed |= packing.as_ref().is_some_and(|packing| packing.has(&run.key));
                            found.rows.entry((name, run.last)).or_default().push(*seq);
                        }
                        Ok(_) => {}
                        Err(error) if error.is_damage() => found.damaged.push((key, vec![*seq], error)),
                        Err(error) => return Err(error),
                    }
                }
            }
            match packing.filter(|_| is_packed) {
                Some(packing) => packing.wait(),
                None => return Ok((snapshot, found)),
            }
        }
    }

    /// A run without what is erased of it.
    fn erased_run(
        &self,
        snapshot: &Snapshot<'_>,
        name: &ConversationName,
        last: Seq,
        seqs: &[Seq],
    ) -> Result<Option<Erased>, ViewError> {
        let key = ConversationKey::new(name);
        let Some(span) = self.span_at(snapshot, key, last)? else { return Ok(None) };
        let Some(window) = span.window() else { return Ok(None) };
        let Some(Piece::Run(run)) = self.pieces_from(snapshot, key, last).next().transpose()? else {
            return Ok(None);
        };
        let (mut messages, mut bytes) = (run.messages(name)?, Vec::new());
        for message in messages.iter_mut().filter(|message| seqs.contains(&message.seq)) {
            bytes.push(message.content_bytes());
            *message = message.erased();
        }
        // A row that takes the place of another one has something absent: it is not packed by that.
        if bytes.is_empty() {
            return Ok(None);
        }
        let value = run::encode(&run.key, &messages);
        Ok(Some(Erased { window, value, bytes, key: run.key }))
    }
}

/// What records erase.
#[derive(Default)]
struct Found<'r> {
    /// By conversation and the last seq of their row.
    rows: HashMap<(&'r ConversationName, Seq), Vec<Seq>>,
    /// What cannot be found, and why not.
    damaged: Vec<(ConversationKey, Vec<Seq>, ViewError)>,
}

/// The row of a run without what was erased of it.
struct Erased {
    window: ClassWindow,
    key: UserKey,
    value: Vec<u8>,
    /// How long the contents were.
    bytes: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ::fjall::Readable as _;

    use super::super::row;
    use super::super::window::Window;
    use super::{ConversationKey, FjallView, Position, Record, Seq};
    use crate::class::Class;
    use crate::record::Content;
    use crate::testing::{contents, record, set};
    use crate::view::{Erased, Extent, Keep, Rewrite, View};

    const MARK: &[u8] = b"the text of an edit";

    /// Two groups with an event of each of two conversations: the second one of `a` is marked.
    fn stored(dir: &Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap();
        for seq in 1..=2 {
            let mut group = ["a", "b"].map(|name| record(name, seq, seq));
            if seq == 2 {
                group[0].content = Content::Message(MARK.into());
            }
            view.apply(Position(seq), &group).unwrap();
            view.flush().unwrap();
        }
        view
    }

    /// Flips a bit of the mark, wherever it stands in a table.
    fn flip(dir: &Path) {
        let is_mark = |bytes: &[u8]| bytes.windows(MARK.len()).position(|window| window == MARK);
        let mut flipped = 0;
        for (path, mut bytes) in contents(dir) {
            if let Some(at) = is_mark(&bytes) {
                bytes[at] ^= 1;
                fs::write(path, bytes).unwrap();
                flipped += 1;
            }
        }
        assert_eq!(flipped, 1);
    }

    /// An edit erases the one before, and the row of that is damaged: the store has to open all the same.
    #[test]
    fn what_cannot_be_erased_stops_nothing_and_stays_outstanding() {
        for what in ["block", "run"] {
            let dir = tempfile::tempdir().unwrap();
            let mut view = stored(dir.path());
            let (a, b) = (record("a", 3, 3), record("b", 3, 3));
            if what == "block" {
                drop(view);
                flip(dir.path());
                view = FjallView::open(dir.path(), 1 << 20).unwrap();
            } else {
                let key = row::run_key(Window(0), ConversationKey::new(&a.conversation), Seq(2));
                view.engine.messages(Class::default()).insert(key, "damaged").unwrap();
            }
            let edits = [a, b].map(|edit| Record { erases: vec![Seq(1), Seq(2)], ..edit });
            view.apply(Position(3), &edits).unwrap_or_else(|error| panic!("{what}: {error}"));
            // A block is not read for what is beside it alone.
            for (name, seq) in [("a", 1), ("b", 1), ("b", 2)].iter().filter(|_| what == "run") {
                let of = record(name, *seq, *seq).conversation;
                let run = row::run_key(Window(0), ConversationKey::new(&of), Seq(*seq));
                let row = view.snapshot().get(view.engine.messages(Class::default()), run).unwrap().unwrap();
                assert!(!row.windows(7).any(|part| part == b"message"), "{name} {seq}");
            }
            let Erased { events, since_ms, .. } = view.erased();
            assert_eq!((events, since_ms), (4, Some(edits[0].time_ms)), "{what}");
            // It was not flushed, so it comes again.
            drop(view);
            let view = FjallView::open(dir.path(), 1 << 20).unwrap();
            view.apply(Position(3), &edits).unwrap();
            view.flush().unwrap();
            drop(view);
            let view = FjallView::open(dir.path(), 1 << 20).unwrap();
            assert_eq!(view.erased().events, 4, "{what}");
            if what == "block" {
                let mut rewrite = Rewrite {
                    now_ms: 0,
                    erased_by_ms: u64::MAX,
                    extent: Extent::Worthwhile,
                    pace: &mut |_| true,
                };
                view.rewrite(&mut |_| Ok(Keep::default()), &mut rewrite).unwrap();
                assert!(view.erased().events > 0, "what is damaged is there");
            }
        }
    }

    #[test]
    fn a_damaged_name_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let view = stored(dir.path());
        let (a, b) = (record("a", 3, 3), record("b", 3, 3));
        let key = ConversationKey::new(&a.conversation);
        view.engine.conversations.insert(key.0, "damaged").unwrap();
        view.bounds(&a.conversation).unwrap_err();
        let registers = vec![set("key", "value")];
        view.apply(Position(3), &[Record { registers, ..a.clone() }, b]).unwrap();
        assert_eq!(view.bounds(&a.conversation).unwrap().head, Seq(3));
        assert_eq!(view.register(&a.conversation, b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }
}
