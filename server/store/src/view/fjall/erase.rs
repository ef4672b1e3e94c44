//! Takes out what records erase, and counts what leaves rows that are to be rewritten.

use std::collections::HashMap;

use quoth_protocol::{ConversationName, Seq};

use super::engine::Batch;
use super::run;
use super::tally::Tallies;
use super::window::Piece;
use super::{FjallView, Writing, events};
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

    /// Takes out what records erase. Their rows may have been written by the same group.
    pub(super) fn erase(
        &self,
        tallies: &mut Tallies,
        position: Position,
        records: &[Record],
    ) -> Result<(), ViewError> {
        let at_ms = records.iter().map(|record| record.time_ms).max().unwrap_or_default();
        let mut erased: HashMap<(&ConversationName, Seq), Vec<Seq>> = HashMap::new();
        let snapshot = self.snapshot();
        for record in records {
            let key = ConversationKey::new(&record.conversation);
            for seq in &record.erases {
                if let Some(Piece::Run(run)) = self.pieces_from(&snapshot, key, *seq).next().transpose()? {
                    erased.entry((&record.conversation, run.last)).or_default().push(*seq);
                }
            }
        }
        let mut batch = Batch::default();
        for ((name, last), seqs) in erased {
            let key = ConversationKey::new(name);
            let Some(span) = self.span_at(&snapshot, key, last)? else { continue };
            let Some(window) = span.window() else { continue };
            let Some(Piece::Run(run)) = self.pieces_from(&snapshot, key, last).next().transpose()? else {
                continue;
            };
            let mut messages = run.messages(name)?;
            for message in messages.iter_mut().filter(|message| seqs.contains(&message.seq)) {
                if let Some(tally) = tallies.at(window, position) {
                    tally.erase(at_ms, message.content_bytes());
                }
                *message = message.erased();
            }
            batch.insert(
                self.engine.messages(window.class),
                run.key.clone(),
                run::encode(&run.key, &messages),
            );
        }
        self.engine.write(batch);
        Ok(())
    }
}
