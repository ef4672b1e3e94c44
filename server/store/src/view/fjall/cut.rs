//! How what a step moves is cut: into what is gone as a whole, and what stays in rows.

use std::collections::BTreeMap;

use quoth_protocol::Seq;

use super::row::{self, BLOCK_SEQS, SPAN_KEY_BYTES};
use super::run::Message;
use super::window::{ClassWindow, Held, Span};
use crate::key::ConversationKey;
use crate::view::{Keep, Last, Place};

/// So many absent events side by side are a row of `spans`. A block has no more, so each block that has a row
/// has something to read.
const GONE_SEQS_MIN: u64 = BLOCK_SEQS;

/// What becomes of consecutive events: those that are gone as a whole, and those that stay in rows.
pub(super) struct CutPiece<'a> {
    pub(super) is_gone: bool,
    pub(super) messages: Vec<Message<'a>>,
}

/// Cuts consecutive events into those pieces. `is_behind_gone` says whether what is before them is gone,
/// if anything is.
pub(super) fn cut<'a>(messages: &[Message<'a>], keep: &Keep, is_behind_gone: bool) -> Vec<CutPiece<'a>> {
    let is_dead =
        |message: &Message<'_>| message.is_absent() || keep.is_absent(message.place(), message.expires_ms());
    let mut pieces: Vec<CutPiece<'a>> = Vec::new();
    for alike in messages.chunk_by(|a, b| is_dead(a) == is_dead(b)) {
        let is_absent = alike.first().is_some_and(is_dead);
        let is_first = pieces.is_empty() && is_behind_gone;
        let is_gone =
            is_absent && (alike.len() as u64 >= GONE_SEQS_MIN || is_first || alike.len() == messages.len());
        let of_piece = alike.iter().map(|message| if is_absent { message.gone() } else { *message });
        match pieces.last_mut() {
            Some(last) if !last.is_gone && !is_gone => last.messages.extend(of_piece),
            _ => pieces.push(CutPiece { is_gone, messages: of_piece.collect() }),
        }
    }
    pieces
}

/// Rows of `spans` under construction.
pub(super) struct Spans {
    key: ConversationKey,
    /// The span before what comes next.
    last: Option<(Seq, Held)>,
    pub(super) changes: BTreeMap<[u8; SPAN_KEY_BYTES], Option<Held>>,
}

impl Spans {
    pub(super) fn behind(key: ConversationKey, before: Option<Span>) -> Self {
        Self { key, last: before.map(|span| (span.first, span.held)), changes: BTreeMap::new() }
    }

    pub(super) const fn ends_gone(&self) -> bool {
        matches!(self.last, Some((_, Held::Gone { .. })))
    }

    pub(super) fn gone(&mut self, Place { seq, time_ms, offset }: Place, last: Last) {
        match self.last {
            Some((before, Held::Gone { time_ms, offset, .. })) => {
                self.set(before, Held::Gone { time_ms, offset, last });
            }
            _ => self.set(seq, Held::Gone { time_ms, offset, last }),
        }
    }

    pub(super) fn there(&mut self, window: ClassWindow, Place { seq, time_ms, offset }: Place) {
        // Those that go on in the same window are one.
        let goes_on = matches!(self.last, Some((_, Held::There { window: before, .. })) if before == window);
        if !goes_on {
            self.set(seq, Held::There { window, time_ms, offset });
        }
    }

    fn set(&mut self, first: Seq, held: Held) {
        self.changes.insert(row::span_key(self.key, first), Some(held));
        self.last = Some((first, held));
    }
}
