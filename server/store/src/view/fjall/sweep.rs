//! Removes the registers of events that have gone.
//!
//! A register of an event ([`OF_EVENT`]) stays for as long as the event's row does, and is of no use behind
//! that: whoever would read it reads the row first. What has gone never comes back.
//!
//! No list says which registers are to be removed, since that would have to be as durable as they are: a
//! group that is applied again sets registers of events that are gone by then, and so may an edit that was on
//! its way. Instead it is looked at what there is. A crash therefore leaves nothing but work for the next
//! sweep, which comes to the same.
//!
//! What has gone lies at the beginning of a conversation, mostly. So of each conversation a few registers are
//! looked at often, and all of them seldom.
//!
//! A sweep goes in pieces, from where the one before has ended ([`SweepCursor`]), however many conversations
//! there are and however many registers one of them has.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use ::fjall::Readable as _;
use quoth_protocol::{ConversationName, Seq};

use super::FjallView;
use super::engine::{Batch, MESSAGE_BLOCK_BYTES, Snapshot};
use super::read::hole;
use super::row;
use super::window::Piece;
use crate::applier::FLUSH_BYTES;
use crate::key::ConversationKey;
use crate::record::{OF_EVENT, event_of};
use crate::view::{Reached, SweepCursor, Swept, ViewError};

const ACTION: &str = "read a register from";

/// Rows that are read with one snapshot, which keeps what is overwritten meanwhile, and removed in one batch.
const PAGE: usize = 1_000;

/// What a look at a conversation counts as at least, in bytes: a block of messages, which is what it may read
/// to know whether one is there.
const LOOK_BYTES: u64 = MESSAGE_BLOCK_BYTES as u64;

/// What a removed row takes in memory besides its key, in bytes, about.
const REMOVED_BYTES: u64 = 64;

/// A sweep under way.
struct Sweep<'a> {
    everything: bool,
    pace: &'a mut dyn FnMut(u64) -> bool,
    swept: Swept,
    /// Bytes of memory that removed rows take until the next flush.
    unflushed: u64,
}

impl FjallView {
    /// See [`View::sweep`](crate::View::sweep).
    pub(super) fn sweep_registers(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        let mut sweep = Sweep { everything, pace, swept: Swept::default(), unflushed: 0 };
        cursor.0 = self.sweep_from(cursor.0.clone(), &mut sweep)?;
        let Sweep { swept, unflushed, .. } = sweep;
        if unflushed > 0 {
            self.flush_all(&mut self.flushed.lock())?;
        }
        Ok(Swept { is_done: cursor.0.is_none(), ..swept })
    }

    /// Sweeps from where another one has ended; says where this one has, if it was not let come to its end.
    fn sweep_from(
        &self,
        reached: Option<Reached>,
        sweep: &mut Sweep<'_>,
    ) -> Result<Option<Reached>, ViewError> {
        let (mut first, mut row) = match reached {
            None => (Bound::Unbounded, None),
            Some((key, None)) => (Bound::Excluded(key), None),
            Some((key, row)) => (Bound::Included(key), row),
        };
        loop {
            let page = self.names_from(first)?;
            for (key, name) in &page {
                let of_events = row::register_key(*key, &[OF_EVENT]);
                let row = row.take().filter(|row| row.starts_with(&key.0)).unwrap_or(of_events);
                let name = name.as_ref().ok_or(ViewError::DamagedName { key: *key, what: "damaged" });
                match name.and_then(|name| self.sweep_conversation(name, *key, row, sweep)) {
                    Err(error) if error.is_damage() => {
                        sweep.swept.damaged += 1;
                        self.tell_of_damage(*key, &error);
                        if !(sweep.pace)(LOOK_BYTES) {
                            return Ok(Some((*key, None)));
                        }
                    }
                    Err(error) => return Err(error),
                    Ok(None) => {}
                    ended => return ended,
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => first = Bound::Excluded(*last),
                _ => return Ok(None),
            }
        }
    }

    /// Whether an event has gone; its registers may be there or not.
    pub(crate) fn is_gone(&self, conversation: &ConversationName, seq: Seq) -> Result<bool, ViewError> {
        let (snapshot, key) = (self.snapshot(), ConversationKey::new(conversation));
        Events { view: self, snapshot: &snapshot, conversation, key, known: None, bytes: 0 }.is_gone(seq)
    }

    /// The next conversations; without a name those of which it is damaged.
    fn names_from(
        &self,
        first: Bound<ConversationKey>,
    ) -> Result<Vec<(ConversationKey, Option<ConversationName>)>, ViewError> {
        const ACTION: &str = "read a conversation from";
        let first = first.map(|key| key.0);
        let snapshot = self.snapshot();
        let mut names = Vec::new();
        for row in snapshot.range(&self.engine.conversations, (first, Bound::Unbounded)).take(PAGE) {
            let (key, value) = self.engine.database(ACTION, row.into_inner())?;
            let name = row::decode_name(&key, &value).map(|named| named.name);
            let key: [u8; 16] = key[..].try_into().map_err(|_| self.odd_key())?;
            names.push((ConversationKey(key), name));
        }
        Ok(names)
    }

    /// Sweeps the rows of a conversation from one on; says where it has ended, if it was not let go on.
    fn sweep_conversation(
        &self,
        name: &ConversationName,
        key: ConversationKey,
        row: Vec<u8>,
        sweep: &mut Sweep<'_>,
    ) -> Result<Option<Reached>, ViewError> {
        let mut from = Some(row);
        while let Some(first) = from {
            let snapshot = self.snapshot();
            let mut events =
                Events { view: self, snapshot: &snapshot, conversation: name, key, known: None, bytes: 0 };
            let page = self.sweep_page(first, &mut events, sweep.everything)?;
            let bytes = page.bytes + events.bytes;
            drop(snapshot);
            if page.removed > 0 {
                self.write_between_groups(page.batch);
                self.has_swept.store(true, Ordering::SeqCst);
            }
            sweep.swept.registers += page.removed;
            sweep.unflushed += page.removed_bytes;
            if sweep.unflushed >= FLUSH_BYTES {
                self.flush_all(&mut self.flushed.lock())?;
                sweep.unflushed = 0;
            }
            from = page.next;
            if !(sweep.pace)(bytes.max(LOOK_BYTES)) {
                return Ok(Some((key, from)));
            }
        }
        Ok(None)
    }

    /// The rows of some registers from a key on, of which those are to be removed whose events have gone.
    fn sweep_page<'a>(
        &'a self,
        first: Vec<u8>,
        events: &mut Events<'_>,
        everything: bool,
    ) -> Result<Page<'a>, ViewError> {
        let of_events = row::register_key(events.key, &[OF_EVENT]);
        let mut page = Page { batch: Batch::default(), removed: 0, removed_bytes: 0, bytes: 0, next: None };
        let (mut next, mut left) = (Some(first), PAGE);
        while left > 0
            && let Some(first) = next.take()
        {
            for row in events.snapshot.range(&self.engine.registers, first..).take(left) {
                let (row_key, value) = self.engine.database(ACTION, row.into_inner())?;
                (left, next) = (left - 1, None);
                if !row_key.starts_with(&of_events) {
                    break;
                }
                page.bytes += (row_key.len() + value.len()) as u64;
                next = Some([&row_key[..], &[0]].concat());
                let Some((kind, seq)) = event_of(row::key_of_register(&row_key)) else { continue };
                if events.is_gone(seq)? {
                    page.removed += 1;
                    page.removed_bytes += row_key.len() as u64 + REMOVED_BYTES;
                    page.batch.remove(&self.engine.registers, row_key);
                } else if !everything {
                    // Whatever of this kind lies behind it is looked at another time.
                    next = kind.checked_add(1).map(|kind| row::register_key(events.key, &[OF_EVENT, kind]));
                    break;
                }
            }
        }
        page.next = next;
        Ok(page)
    }
}

/// Rows of registers that were looked at.
struct Page<'a> {
    batch: Batch<'a>,
    removed: u64,
    removed_bytes: u64,
    bytes: u64,
    /// Where it goes on; `None` at the end.
    next: Option<Vec<u8>>,
}

/// Which events of a conversation have gone.
struct Events<'a> {
    view: &'a FjallView,
    snapshot: &'a Snapshot<'a>,
    conversation: &'a ConversationName,
    key: ConversationKey,
    /// What is known of seqs from one to another: those that have not gone.
    known: Option<(Seq, Seq, Vec<Seq>)>,
    /// Bytes that were read.
    bytes: u64,
}

impl Events<'_> {
    /// One that is not there yet has not gone.
    fn is_gone(&mut self, seq: Seq) -> Result<bool, ViewError> {
        if let Some((first, last, there)) = &self.known
            && (*first..=*last).contains(&seq)
        {
            return Ok(there.binary_search(&seq).is_err());
        }
        let known = match self.view.pieces_from(self.snapshot, self.key, seq).next().transpose()? {
            None => return Ok(false),
            Some(Piece::Gone { last, .. }) if last.seq < seq => return Ok(false),
            Some(Piece::Gone { first, last }) => (first.seq, last.seq, Vec::new()),
            Some(Piece::Run(run)) => {
                self.bytes += run.bytes() as u64;
                let messages = run.messages(self.conversation)?;
                let first = messages.first().map_or(run.last, |first| first.seq);
                // Of one that is bare there is nothing but its place.
                let there = messages.iter().filter(|message| !message.is_bare());
                (first, run.last, there.map(|message| message.seq).collect())
            }
        };
        if !(known.0..=known.1).contains(&seq) {
            return Err(hole(self.conversation, seq, Some(known.0)));
        }
        let is_gone = known.2.binary_search(&seq).is_err();
        self.known = Some(known);
        Ok(is_gone)
    }
}
