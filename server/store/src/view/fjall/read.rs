//! Reads of the view.

use std::ops::Bound;

use ::fjall::{Guard, Readable as _, UserKey};
use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::{MESSAGE_BLOCK_BYTES, Snapshot};
use super::row::{self, Named};
use super::run::{self, Message, Senders};
use super::window::{Held, Piece, Span};
use crate::key::ConversationKey;
use crate::record::Record;
use crate::view::{
    Bounds, Last, Latest, Marks, Page, PageLimit, Place, Stretch, Taken, ViewError, VisitEvent,
};

/// A shorter row is copied: a page of rows that lie in as many blocks would keep all of these, of which
/// nobody counts the bytes. Either way that is one allocation.
const COPIED_BYTES: usize = MESSAGE_BLOCK_BYTES as usize / 8;

impl FjallView {
    /// The names of all conversations that have events, ascending by their bytes.
    pub fn conversations(&self) -> Result<Vec<ConversationName>, ViewError> {
        let snapshot = self.snapshot();
        let mut names = Vec::new();
        for guard in snapshot.iter(&self.engine.conversations) {
            let (key, value) = self.engine.database("read the conversations of", guard.into_inner())?;
            let named = row::decode_name(&key, &value);
            let damaged = || self.engine.failed("read the conversations of", "a name is damaged".to_owned());
            let Named { name, has_events } = named.ok_or_else(damaged)?;
            names.extend(has_events.then_some(name));
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(names)
    }

    pub(super) fn read_bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        let key = ConversationKey::new(conversation);
        let snapshot = self.snapshot();
        let span = self.span_at(&snapshot, key, Seq(u64::MAX))?;
        let end = span.map(|span| self.end_of(&snapshot, conversation, span)).transpose()?;
        let head = end.map_or(Seq::ZERO, |last| last.seq);
        self.must_be_named(&snapshot, conversation, key, head)?;
        let floor = match span {
            // It is the only one.
            Some(Span { first: Seq(1), held: Held::There { .. }, .. }) | None => Seq(1),
            Some(_) => self.floor_of_spans(&snapshot, key)?,
        };
        Ok(Bounds { floor, head })
    }

    /// A conversation has a name that says whether there are events.
    fn must_be_named(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        key: ConversationKey,
        head: Seq,
    ) -> Result<(), ViewError> {
        let named = self.read_name(snapshot, conversation, key)?;
        if named.is_some_and(|named| named.has_events) == (head > Seq::ZERO) {
            return Ok(());
        }
        let what = "either the name or the messages are missing";
        Err(ViewError::DamagedConversation { conversation: conversation.clone(), what })
    }

    /// The first seq behind what was reclaimed at the beginning of a conversation.
    fn floor_of_spans(&self, snapshot: &Snapshot<'_>, key: ConversationKey) -> Result<Seq, ViewError> {
        let mut floor = Seq(1);
        for span in self.spans_behind(snapshot, key, Seq::ZERO) {
            match span?.held {
                Held::Gone { last, .. } => floor = last.seq.next(),
                Held::There { .. } => break,
            }
        }
        Ok(floor)
    }

    pub(super) fn read_latest(
        &self,
        conversation: &ConversationName,
        limit: PageLimit,
    ) -> Result<Latest, ViewError> {
        let (key, snapshot) = (ConversationKey::new(conversation), self.snapshot());
        let events = self.read_before_in(&snapshot, conversation, None, limit)?;
        let head = events.to;
        self.must_be_named(&snapshot, conversation, key, head)?;
        // Where the page begins with an event that is the first one of all nothing was reclaimed before it.
        let is_whole = events.records.first().is_some_and(|first| first.seq == Seq(1)) || head == Seq::ZERO;
        let floor = if is_whole { Seq(1) } else { self.floor_of_spans(&snapshot, key)? };
        Ok(Latest { bounds: Bounds { floor, head }, events })
    }

    pub(super) fn read_last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError> {
        self.read_end(&self.snapshot(), conversation, ConversationKey::new(conversation))
    }

    /// See [`View::gone_with`](crate::View::gone_with).
    pub(super) fn read_gone_with(
        &self,
        conversation: &ConversationName,
        seq: Seq,
    ) -> Result<Option<Last>, ViewError> {
        let span = self.span_at(&self.snapshot(), ConversationKey::new(conversation), seq)?;
        Ok(span.and_then(|span| match span.held {
            Held::Gone { last, .. } => Some(last).filter(|last| seq <= last.seq),
            Held::There { .. } => None,
        }))
    }

    /// See [`View::floor`](crate::View::floor). What is gone may lie anywhere: it is judged by where it
    /// begins, since of its other events it is not known where they lay.
    pub(super) fn read_floor(
        &self,
        conversation: &ConversationName,
        marks: Marks,
        hint: Seq,
    ) -> Result<Place, ViewError> {
        let (key, snapshot) = (ConversationKey::new(conversation), self.snapshot());
        let Some(last) = self.read_end(&snapshot, conversation, key)? else {
            return Ok(Place { seq: Seq(1), ..Place::default() });
        };
        // It is behind everything before `from`, and not behind `kept`.
        let mut from = hint.max(Seq(1));
        let mut kept = Place { seq: last.seq.next(), time_ms: last.time_ms, offset: last.end };
        // It most likely is where it was.
        let mut probe = from;
        while from < kept.seq {
            let is_kept = |place: &Place| place.seq >= from && !marks.covers(*place);
            let piece = self.pieces_from(&snapshot, key, probe).next().transpose()?;
            let (begin, end, kept_here) = match piece.ok_or_else(|| hole(conversation, probe, None))? {
                Piece::Gone { first, last } => (first.seq, last.seq, Some(first).filter(is_kept)),
                Piece::Run(run) => {
                    let messages = run.messages(conversation)?;
                    let begin = messages.first().map_or(probe, |first| first.seq);
                    (begin, run.last, messages.iter().map(Message::place).find(is_kept))
                }
            };
            // Damaged rows, which do not have what was asked for, must not keep it here for ever.
            if begin > probe || end < probe {
                return Err(hole(conversation, probe, Some(begin.max(end))));
            }
            match kept_here {
                // What is before it may be kept as well.
                Some(place) if place.seq == begin && begin > from => kept = place,
                Some(place) => return Ok(place),
                None => from = end.next(),
            }
            probe = Seq(from.0.midpoint(kept.seq.0));
        }
        Ok(kept)
    }

    /// What is stored for a conversation's key, if it is this conversation's.
    pub(super) fn read_name(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        key: ConversationKey,
    ) -> Result<Option<Named>, ViewError> {
        let value = snapshot.get(&self.engine.conversations, key.0);
        let Some(value) = self.engine.database("read a conversation from", value)? else {
            return Ok(None);
        };
        let Some(named) = row::decode_name(&key.0, &value) else {
            let what = "its checksum does not match";
            return Err(ViewError::DamagedConversation { conversation: conversation.clone(), what });
        };
        if named.name != *conversation {
            let stored = named.name.to_string();
            return Err(ViewError::KeyCollision { stored, asked: conversation.clone() });
        }
        Ok(Some(named))
    }

    pub(super) fn read_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let (mut page, mut senders) = (Page::new(limit), Senders::default());
        let mut take = |run: &StoredRun, message: Message<'_>| {
            Ok(Took::of(page.take(run.record(conversation, message, &mut senders)?), page.is_full()))
        };
        let (from, to) = self.walk_after(conversation, after, &mut take)?;
        Ok(page.ascending(from, to))
    }

    pub(super) fn visit_events_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
        visit: &mut VisitEvent<'_>,
    ) -> Result<(Seq, Seq), ViewError> {
        let (mut taken, mut senders) = (Taken::nothing(limit), Senders::default());
        self.walk_after(conversation, after, &mut |_, message| {
            if !taken.take(message.content().len()) {
                return Ok(Took::Nothing);
            }
            let event = message.to_event(&mut senders);
            visit(&event.map_err(|what| damaged(conversation, message.seq, what))?);
            Ok(Took::of(true, taken.is_full()))
        })
    }

    /// Gives the messages behind a seq that are not absent, ascending, to who takes them until there is
    /// enough. Gives the first seq that was looked at and the last one that was taken or is absent.
    fn walk_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        take: &mut Take<'_>,
    ) -> Result<(Seq, Seq), ViewError> {
        if after == Seq(u64::MAX) {
            let Stretch { from, to, .. } = Stretch::nothing_behind(after);
            return Ok((from, to));
        }
        let (first, mut to) = (after.next(), after);
        let key = ConversationKey::new(conversation);
        for piece in self.pieces_from(&self.snapshot(), key, first) {
            match piece? {
                Piece::Gone { last, .. } if last.seq <= to => {}
                Piece::Gone { first, .. } if first.seq > to.next() => {
                    return Err(hole(conversation, to.next(), Some(first.seq)));
                }
                Piece::Gone { last, .. } => to = last.seq,
                Piece::Run(run) => {
                    for message in
                        run.messages(conversation)?.into_iter().filter(|message| message.seq > after)
                    {
                        if message.seq != to.next() {
                            return Err(hole(conversation, to.next(), Some(message.seq)));
                        }
                        let took = if message.is_absent() { Took::More } else { take(&run, message)? };
                        match took {
                            Took::Nothing => return Ok((first, to)),
                            Took::Last => return Ok((first, message.seq)),
                            Took::More => to = message.seq,
                        }
                    }
                }
            }
        }
        Ok((first, to))
    }

    pub(super) fn read_before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.read_before_in(&self.snapshot(), conversation, before, limit)
    }

    fn read_before_in(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let key = ConversationKey::new(conversation);
        let until = before.map_or(Seq(u64::MAX), |before| Seq(before.0.saturating_sub(1)));
        // What the page tells of: from before this seq, once the last one is known.
        let mut told: Option<(Seq, Seq)> = None;
        let (mut page, mut senders) = (Page::new(limit), Senders::default());
        let expected_in = |told: Option<(Seq, Seq)>| match (told, before) {
            (Some((from, _)), _) => Ok(Some(Seq(from.0.saturating_sub(1)))),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let last = self.read_end(snapshot, conversation, key)?;
                Ok::<_, ViewError>(last.map(|last| until.min(last.seq)))
            }
        };
        for piece in self.pieces_until(snapshot, key, until) {
            match piece? {
                Piece::Gone { first, last } => {
                    let found = last.seq.min(until);
                    if let Some(expected) = expected_in(told)?.filter(|expected| *expected != found) {
                        return Err(hole(conversation, expected, Some(found)));
                    }
                    told = Some((first.seq, told.map_or(found, |(_, to)| to)));
                }
                Piece::Run(run) => {
                    let messages = run.messages(conversation)?.into_iter().rev();
                    for message in messages.filter(|message| message.seq <= until) {
                        let found = message.seq;
                        if let Some(expected) = expected_in(told)?.filter(|expected| *expected != found) {
                            return Err(hole(conversation, expected, Some(found)));
                        }
                        let (_, to) = told.unwrap_or((found, found));
                        if !message.is_absent()
                            && !page.take(run.record(conversation, message, &mut senders)?)
                        {
                            return Ok(page.descending(found.next(), to));
                        }
                        told = Some((found, to));
                        if page.is_full() {
                            return Ok(page.descending(found, to));
                        }
                    }
                }
            }
        }
        match (expected_in(told)?, told) {
            (Some(missing), _) if missing > Seq::ZERO => Err(hole(conversation, missing, None)),
            (_, Some((from, to))) => Ok(page.descending(from, to)),
            (_, None) => Ok(page.descending(Seq(1), Seq::ZERO)),
        }
    }

    /// What is stored for a conversation's key, whoever's it is.
    pub(super) fn read_conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        const ACTION: &str = "read a conversation from";
        let first = match after {
            Some(after) => Bound::Excluded(ConversationKey::new(after).0),
            None => Bound::Unbounded,
        };
        let snapshot = self.snapshot();
        let mut names = Vec::new();
        for guard in snapshot.range(&self.engine.conversations, (first, Bound::Unbounded)) {
            if names.len() == limit {
                break;
            }
            let (key, value) = self.engine.database(ACTION, guard.into_inner())?;
            // One that is damaged has no name to be asked for by; whoever verifies the view is told of it.
            names.extend(row::decode_name(&key, &value).map(|named| named.name));
        }
        Ok(names)
    }

    pub(super) fn stored_name(
        &self,
        snapshot: &Snapshot<'_>,
        key: ConversationKey,
    ) -> Result<Option<Named>, ViewError> {
        let value = self
            .engine
            .database("read a conversation from", snapshot.get(&self.engine.conversations, key.0))?;
        let decode = |value: ::fjall::UserValue| {
            row::decode_name(&key.0, &value).ok_or(ViewError::DamagedName { key, what: "damaged" })
        };
        value.map(decode).transpose()
    }

    pub(super) fn read_end(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        key: ConversationKey,
    ) -> Result<Option<Last>, ViewError> {
        let span = self.span_at(snapshot, key, Seq(u64::MAX))?;
        span.map(|span| self.end_of(snapshot, conversation, span)).transpose()
    }

    /// The end of a conversation whose last span is given.
    fn end_of(
        &self,
        snapshot: &Snapshot<'_>,
        conversation: &ConversationName,
        span: Span,
    ) -> Result<Last, ViewError> {
        let missing = || {
            let what = "its last messages are missing";
            ViewError::DamagedConversation { conversation: conversation.clone(), what }
        };
        match self.pieces_back(snapshot, span, Seq(u64::MAX)).next().transpose()?.ok_or_else(missing)? {
            Piece::Gone { last, .. } => Ok(last),
            Piece::Run(run) => {
                let last = run.messages(conversation)?.last().map(|message| message.to_last());
                last.ok_or_else(missing)
            }
        }
    }

    /// A row of `messages`, not yet checked.
    pub(super) fn run(&self, row: Guard) -> Result<StoredRun, ViewError> {
        let (key, value) = self.engine.database("read a message from", row.into_inner())?;
        let (_, _, last) = row::split_run_key(&key).ok_or_else(|| self.odd_key())?;
        let value = if value.len() < COPIED_BYTES {
            Bytes::copy_from_slice(&value)
        } else {
            Bytes::from_owner(value)
        };
        Ok(StoredRun { key, last, value })
    }

    pub(super) fn odd_key(&self) -> ViewError {
        ViewError::engine(&self.dir, "read a message from", "a row has a key of another length".to_owned())
    }
}

/// What became of a message that a walk has come to.
enum Took {
    /// It is too much.
    Nothing,
    /// It was taken, and nothing more is wanted.
    Last,
    /// It was taken.
    More,
}

impl Took {
    const fn of(is_taken: bool, is_full: bool) -> Self {
        match (is_taken, is_full) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Last,
            (true, false) => Self::More,
        }
    }
}

/// Takes messages of runs.
type Take<'a> = dyn FnMut(&StoredRun, Message<'_>) -> Result<Took, ViewError> + 'a;

/// A row of `messages`.
pub(super) struct StoredRun {
    pub(super) key: UserKey,
    /// The seq of its last message.
    pub(super) last: Seq,
    /// Unless it is short, a part of its block in the cache, as the engine gives it, and so are the contents of
    /// its records: nothing is copied, since those who read pages soon let go of them. Whoever keeps a record
    /// for long copies its content, or would keep a whole block.
    value: Bytes,
}

impl StoredRun {
    /// Length of the row in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// Its messages, ascending. `conversation` is for the error.
    pub(super) fn messages(&self, conversation: &ConversationName) -> Result<Vec<Message<'_>>, ViewError> {
        run::open(&self.key, self.last, &self.value).map_err(|what| damaged(conversation, self.last, what))
    }

    /// One of these as a record.
    pub(super) fn record(
        &self,
        conversation: &ConversationName,
        message: Message<'_>,
        senders: &mut Senders,
    ) -> Result<Record, ViewError> {
        let record = message.to_record(conversation, &self.value, senders);
        record.map_err(|what| damaged(conversation, message.seq, what))
    }
}

pub(super) fn damaged(conversation: &ConversationName, seq: Seq, what: &'static str) -> ViewError {
    ViewError::DamagedRow { conversation: conversation.clone(), seq, what }
}

pub(super) fn hole(conversation: &ConversationName, expected: Seq, found: Option<Seq>) -> ViewError {
    ViewError::Hole { conversation: conversation.clone(), expected, found }
}

#[cfg(test)]
mod tests {
    use ::fjall::Readable as _;

    use super::COPIED_BYTES;
    use crate::class::Class;
    use crate::log::Position;
    use crate::record::{Content, Record};
    use crate::testing::record;
    use crate::view::View as _;
    use crate::view::fjall::FjallView;

    #[test]
    fn a_short_row_keeps_no_block_and_a_long_one_is_not_copied() {
        for (bytes, is_shared) in [(30, false), (COPIED_BYTES, true)] {
            let dir = tempfile::tempdir().unwrap();
            let view = FjallView::open(dir.path(), 1 << 20).unwrap();
            let content = Content::Message(vec![b'x'; bytes].into());
            view.apply(Position(1), &[Record { content, ..record("a", 1, 1) }]).unwrap();
            view.flush().unwrap();
            let snapshot = view.snapshot();
            let row = || snapshot.iter(view.engine.messages(Class::default())).next().unwrap();
            let (_, in_block) = row().into_inner().unwrap();
            let run = view.run(row()).unwrap();
            assert_eq!(run.value, in_block[..]);
            assert_eq!(run.value.as_ptr() == in_block.as_ptr(), is_shared, "{bytes} bytes");
        }
    }
}
