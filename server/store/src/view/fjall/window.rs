//! Windows: the messages of a stretch of time, whose rows lie together.
//!
//! Messages come in the order of time and are kept in the order of conversations, so new tables would overlap
//! with all old ones, and merging them would write every message again and again, the more often the more
//! there are. With the window in front of the key, a table overlaps with those of its window alone, and soon
//! after a window has ended its tables are written no more.
//!
//! A window ends behind the group that fills it, and the checkpoint says which one goes on and how full it
//! is. So which window a group is in depends on the log alone: a group that is applied again after a crash
//! comes to where it was.
//!
//! Each retention class has windows of its own, in a tree of its own: what is kept for about as long goes
//! together, and the front of a tree is what goes first. A class with an age also ends a window behind the
//! group in which an eighth of that age is over; a notice may be that group. So however long it is until all
//! of a window is absent, the log alone says where windows end.
//!
//! A **span** is what a window has of a conversation in a row. Rows of `spans` lead from a seq to the window
//! that holds it, or say that it is gone; together they tell of every seq.

use std::ops::Bound;

use ::fjall::{Guard, Readable as _};
use quoth_protocol::Seq;

use super::engine::Snapshot;
use super::read::StoredRun;
use super::row::{self, Block};
use super::{FjallView, ViewError};
use crate::class::Class;
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{Last, Place};

/// Messages of a window, in bytes. A smaller one is merged at less cost, but conversations that are seldom
/// written to have a span for every few messages. With another value, or other [`window_bytes`], a store that
/// was not closed would put groups into other windows than before: the folder's format has to change with it.
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

/// A window of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct ClassWindow {
    pub(super) class: Class,
    pub(super) number: Window,
}

/// A row of `spans`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) conversation: ConversationKey,
    /// The first seq of the conversation in the window.
    pub(super) first: Seq,
    pub(super) held: Held,
}

/// Where the events of a span are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// In a window. Time and offset are those of the first one.
    There { window: ClassWindow, time_ms: u64, offset: u64 },
    /// They are absent, up to the last one, and not there any more. Time and offset are those of the first
    /// one.
    Gone { time_ms: u64, offset: u64, last: Last },
}

impl Span {
    /// The window that has it, if it is there.
    pub(super) const fn window(&self) -> Option<ClassWindow> {
        match self.held {
            Held::There { window, .. } => Some(window),
            Held::Gone { .. } => None,
        }
    }
}

/// Consecutive seqs of a conversation.
pub(super) enum Piece {
    /// They are in a row.
    Run(StoredRun),
    /// They are absent, all of them: of those in between it is not known where they lay.
    Gone { first: Place, last: Last },
}

/// Pieces of one conversation, in the order of their spans.
type Pieces<'a> = Box<dyn Iterator<Item = Result<Piece, ViewError>> + 'a>;

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

    /// The spans of a conversation behind a seq, ascending.
    pub(super) fn spans_behind<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        conversation: ConversationKey,
        seq: Seq,
    ) -> impl Iterator<Item = Result<Span, ViewError>> + 'a {
        let key = |seq| row::span_key(conversation, seq);
        let behind = (Bound::Excluded(key(seq)), Bound::Included(key(Seq(u64::MAX))));
        snapshot.range(&self.engine.spans, behind).map(|row| self.span(row))
    }

    /// The pieces of a conversation from the one that holds a seq on, ascending.
    pub(super) fn pieces_from<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        conversation: ConversationKey,
        first: Seq,
    ) -> Pieces<'a> {
        let holding = self.span_at(snapshot, conversation, first).transpose();
        let behind = self.spans_behind(snapshot, conversation, first);
        let mut spans = holding.into_iter().chain(behind).peekable();
        // A conversation may come back to a window after it has been in another one, so a span ends where the
        // next one begins.
        let with_ends = std::iter::from_fn(move || {
            let span = spans.next()?;
            let next = spans.peek().and_then(|next| next.as_ref().ok());
            let until = next.map_or(u64::MAX, |next| next.first.0.saturating_sub(1));
            Some(span.map(|span| (span, Seq(until))))
        });
        Box::new(with_ends.flat_map(move |span| match span {
            Ok((span, until)) => self.pieces(snapshot, span, first.max(span.first), until),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }))
    }

    /// The pieces of a conversation up to the one that holds a seq, descending. The first one may reach
    /// behind it.
    pub(super) fn pieces_until<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        conversation: ConversationKey,
        last: Seq,
    ) -> Pieces<'a> {
        let keys = row::span_key(conversation, Seq::ZERO)..=row::span_key(conversation, last);
        let spans = snapshot.range(&self.engine.spans, keys).rev();
        let mut until = Block::of(last).last();
        Box::new(spans.flat_map(move |row| match self.span(row) {
            Ok(span) => {
                let here = until;
                until = Seq(span.first.0.saturating_sub(1));
                self.pieces_back(snapshot, span, here)
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }))
    }

    /// The pieces of a span, ascending, that end within these seqs.
    pub(super) fn pieces<'a>(
        &'a self,
        snapshot: &'a Snapshot<'_>,
        span: Span,
        first: Seq,
        last: Seq,
    ) -> Pieces<'a> {
        match span.held {
            Held::There { window: ClassWindow { class, number }, .. } => {
                let key = move |seq| row::run_key(number, span.conversation, seq);
                let rows = snapshot.range(self.engine.messages(class), key(first)..=key(last));
                Box::new(rows.map(|row| self.run(row).map(Piece::Run)))
            }
            Held::Gone { time_ms, offset, last } => {
                let first = Place { seq: span.first, time_ms, offset };
                Box::new(std::iter::once(Ok(Piece::Gone { first, last })))
            }
        }
    }

    /// The pieces of a span, descending, that end at a seq at the latest.
    pub(super) fn pieces_back<'a>(&'a self, snapshot: &'a Snapshot<'_>, span: Span, last: Seq) -> Pieces<'a> {
        match span.held {
            Held::There { window: ClassWindow { class, number }, .. } if span.first <= last => {
                let key = |seq| row::run_key(number, span.conversation, seq);
                let rows = snapshot.range(self.engine.messages(class), key(span.first)..=key(last));
                Box::new(rows.rev().map(|row| self.run(row).map(Piece::Run)))
            }
            Held::There { .. } => Box::new(std::iter::empty()),
            Held::Gone { time_ms, offset, last } => {
                let first = Place { seq: span.first, time_ms, offset };
                Box::new(std::iter::once(Ok(Piece::Gone { first, last })))
            }
        }
    }

    /// A row of `spans`.
    pub(super) fn span(&self, row: Guard) -> Result<Span, ViewError> {
        let (key, value) = self.engine.database("read a span from", row.into_inner())?;
        row::decode_span(&key, &value).ok_or_else(|| match row::conversation_of(&key) {
            Some(key) => ViewError::DamagedSpan { key },
            None => self.odd_key(),
        })
    }
}
