//! Windows: the messages of a stretch of time, whose rows lie together.
//!
//! Messages come in the order of time and are kept in the order of conversations, so new tables would overlap with all old
//! ones, and merging them would write every message again and again, the more often the more there are. With the window in
//! front of the key, a table overlaps with those of its window alone, and soon after a window has ended its tables are
//! written no more.
//!
//! A window ends behind the group that fills it, and the checkpoint says which one goes on and how full it is. So which
//! window a group is in depends on the log alone: a group that is applied again after a crash comes to where it was.
//!
//! A **span** is what a window has of a conversation. Rows of `spans` lead from a seq to the window that holds it.

use std::ops::Bound;

use ::fjall::{Guard, Readable as _};
use quoth_protocol::Seq;

use super::engine::Snapshot;
use super::read::StoredRun;
use super::row::{self, Block};
use super::{FjallView, ViewError};
use crate::key::ConversationKey;
use crate::record::Record;

/// Messages of a window, in bytes. A smaller one is merged at less cost, but conversations that are seldom written to have a
/// span for every few messages. With another value, or other [`window_bytes`], a store that was not closed would put groups
/// into other windows than before: the folder's format has to change with it.
pub(super) const WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// What an event counts for in its window, in bytes: about its share of a row.
pub(super) fn window_bytes(record: &Record) -> u64 {
    const FIXED_BYTES: usize = 64;
    (FIXED_BYTES + record.content.len()) as u64
}

/// The number of a window, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Window(pub(super) u32);

impl Window {
    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A row of `spans`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) conversation: ConversationKey,
    /// The first seq of the conversation in the window.
    pub(super) first: Seq,
    pub(super) window: Window,
}

/// Runs of one conversation, in the order of their spans.
type Runs<'a> = Box<dyn Iterator<Item = Result<StoredRun, ViewError>> + 'a>;

impl FjallView {
    /// The span that holds a seq, or the last one before it.
    pub(super) fn span_at(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: ConversationKey,
        seq: Seq,
    ) -> Result<Option<Span>, ViewError> {
        let keys = row::span_key(conversation, Seq::ZERO)..=row::span_key(conversation, seq);
        snapshot.range(&self.engine.spans, keys).next_back().map(|row| self.span(row)).transpose()
    }

    /// The runs of a conversation from the one that holds a seq on, ascending.
    pub(super) fn runs_from<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        conversation: ConversationKey,
        first: Seq,
    ) -> Runs<'a> {
        let key = |seq| row::span_key(conversation, seq);
        let holding = self.span_at(snapshot, conversation, first).transpose();
        let behind = (Bound::Excluded(key(first)), Bound::Included(key(Seq(u64::MAX))));
        let behind = snapshot.range(&self.engine.spans, behind).map(|row| self.span(row));
        Box::new(holding.into_iter().chain(behind).flat_map(move |span| match span {
            Ok(span) => self.runs(snapshot, span, first, Seq(u64::MAX)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }))
    }

    /// The runs of a conversation up to the one that holds a seq, descending. The first ones may be behind it.
    pub(super) fn runs_until<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        conversation: ConversationKey,
        last: Seq,
    ) -> Runs<'a> {
        let keys = row::span_key(conversation, Seq::ZERO)..=row::span_key(conversation, last);
        let spans = snapshot.range(&self.engine.spans, keys).rev();
        Box::new(spans.flat_map(move |row| match self.span(row) {
            Ok(span) => self.runs_back(snapshot, span, Block::of(last).last()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }))
    }

    /// The runs of a span, ascending, that end within these seqs.
    pub(super) fn runs<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        span: Span,
        first: Seq,
        last: Seq,
    ) -> Runs<'a> {
        let key = move |seq| row::run_key(span.window, span.conversation, seq);
        Box::new(snapshot.range(&self.engine.messages, key(first)..=key(last)).map(|row| self.run(row)))
    }

    /// The runs of a span, descending, that end at a seq at the latest.
    pub(super) fn runs_back<'a>(&'a self, snapshot: &'a Snapshot<'_>, span: Span, last: Seq) -> Runs<'a> {
        let key = |seq| row::run_key(span.window, span.conversation, seq);
        let rows = snapshot.range(&self.engine.messages, key(Seq::ZERO)..=key(last));
        Box::new(rows.rev().map(|row| self.run(row)))
    }

    /// A row of `spans`.
    pub(super) fn span(&self, row: Guard) -> Result<Span, ViewError> {
        let (key, value) = self.engine.database("read a span from", row.into_inner())?;
        row::decode_span(&key, &value)
            .ok_or_else(|| self.engine.failed("read a span from", "the row of a span is damaged".to_owned()))
    }
}
