//! What is known of a window without reading it: how much of it dies by itself and when, and what was erased.
//!
//! A tally is a row of `windows` for each window that has anything to tell. It says up to which group it
//! counts, so a group that is applied again after a crash is counted once. Rows are written with each flush
//! and not with each group.

use std::collections::{BTreeMap, HashMap};

use ::fjall::{Guard, Readable as _};

use super::engine::{Batch, Engine, Snapshot};
use super::row;
use super::window::{ClassWindow, Window};
use crate::bytes_reader::Reader;
use crate::class::Class;
use crate::log::Position;
use crate::view::{Dead, Erased, ViewError};

/// Times at which something of a window dies; with more, the first two become one, at the later of both.
const TIMES_MAX: usize = 64;

/// A time to live is counted as up to so much longer: the eighth part.
const TIME_PARTS: u64 = 8;

/// Stands for the windows of which it is not known which they are, since what leads there is damaged. Nothing
/// is ever freed of them: what was erased there is outstanding until the view is built anew.
pub(super) const UNKNOWN: ClassWindow = ClassWindow { class: Class::REST, number: Window(u32::MAX) };

/// What there is of a window. The default has nothing to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The last group that is counted.
    position: Position,
    /// Bytes of contents by when their time to live is over, in milliseconds since 1970.
    expiring: BTreeMap<u64, u64>,
    /// Bytes of contents that were there and are in no row.
    pub(super) gone_bytes: u64,
    /// Events that were erased and whose contents may be on the disk.
    pub(super) erased: u64,
    /// Bytes of their contents.
    pub(super) erased_bytes: u64,
    /// When the first of them was erased, in milliseconds since 1970.
    pub(super) erased_since_ms: u64,
    /// Whether rows of it may be on the disk to which no span leads: they were moved, or are said to be gone.
    pub(super) is_left: bool,
    /// When something was erased first since then, which may lie there; in milliseconds since 1970, 0:
    /// nothing was.
    left_since_ms: u64,
    /// When something was erased by a clock that was ahead and set back since, which an earlier time hides; in
    /// milliseconds since 1970, 0: nothing was.
    ahead_ms: u64,
    /// Whether its row is another one.
    is_changed: bool,
}

impl Tally {
    /// Counts an event that has a time to live.
    pub(super) fn expires(&mut self, time_ms: u64, expires_ms: u64, bytes: u64) {
        let step = (expires_ms.saturating_sub(time_ms) / TIME_PARTS).max(1_000);
        *self.expiring.entry(expires_ms.div_ceil(step).saturating_mul(step)).or_default() += bytes;
        if self.expiring.len() > TIMES_MAX
            && let Some((_, earliest)) = self.expiring.pop_first()
            && let Some(mut next) = self.expiring.first_entry()
        {
            *next.get_mut() += earliest;
        }
        self.is_changed = true;
    }

    /// Counts an event that was erased at a time.
    pub(super) fn erase(&mut self, time_ms: u64, bytes: u64) {
        if self.erased == 0 {
            self.erased_since_ms = time_ms;
        } else if time_ms < self.erased_since_ms {
            self.ahead_ms = self.ahead_ms.max(self.erased_since_ms);
            self.erased_since_ms = time_ms;
        }
        self.erased += 1;
        self.erased_bytes += bytes;
        self.is_changed = true;
    }

    /// Counts contents that no row has.
    pub(super) fn gone(&mut self, bytes: u64) {
        self.gone_bytes += bytes;
        self.is_changed = true;
    }

    /// Takes note that rows of it are left behind.
    pub(super) const fn leave(&mut self) {
        self.is_changed |= !self.is_left;
        self.is_left = true;
    }

    /// Since when something is to leave the disk that was erased, in milliseconds since 1970.
    pub(super) fn due_since_ms(&self) -> Option<u64> {
        let of_spans = (self.erased > 0).then_some(self.erased_since_ms);
        let of_left = (self.left_since_ms > 0).then_some(self.left_since_ms);
        of_spans.into_iter().chain(of_left).min()
    }

    /// The latest time of those that are known at which something was erased that is to leave the disk, in
    /// milliseconds since 1970.
    pub(super) fn due_until_ms(&self) -> Option<u64> {
        self.due_since_ms().map(|since_ms| {
            let of_spans = if self.erased > 0 { self.erased_since_ms } else { 0 };
            since_ms.max(of_spans).max(self.left_since_ms).max(self.ahead_ms)
        })
    }

    /// What is dead at a time.
    pub(super) fn dead(&self, now_ms: u64) -> Dead {
        let since_ms = self.expiring.range(..=now_ms).next().map(|(expires_ms, _)| *expires_ms);
        let dead_bytes = self.expired_bytes(now_ms).saturating_add(self.erased_bytes);
        Dead { gone_bytes: self.gone_bytes, dead_bytes, since_ms }
    }

    /// Bytes of contents whose time to live is over.
    pub(super) fn expired_bytes(&self, now_ms: u64) -> u64 {
        self.expiring.range(..=now_ms).map(|(_, bytes)| bytes).sum()
    }
}

/// The tallies of a view's windows.
#[derive(Debug, Default)]
pub(super) struct Tallies(HashMap<ClassWindow, Tally>);

impl Tallies {
    /// As they are stored.
    pub(super) fn load(engine: &Engine, snapshot: &Snapshot<'_>) -> Result<Self, ViewError> {
        let rows = snapshot.iter(&engine.windows).map(|row| read(engine, row));
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }

    /// The tally that a group at a position is counted in; `None` when it is counted already.
    pub(super) fn at(&mut self, window: ClassWindow, position: Position) -> Option<&mut Tally> {
        let tally = self.0.entry(window).or_default();
        (tally.position < position).then_some(tally)
    }

    /// Something was erased at a time. What is left of windows may have it too, from before it was moved.
    pub(super) fn erase_left(&mut self, time_ms: u64) {
        let time_ms = time_ms.max(1);
        let is_first = |tally: &&mut Tally| tally.left_since_ms == 0 || time_ms < tally.left_since_ms;
        for tally in self.0.values_mut().filter(|tally| tally.is_left).filter(is_first) {
            tally.ahead_ms = tally.ahead_ms.max(tally.left_since_ms);
            (tally.left_since_ms, tally.is_changed) = (time_ms, true);
        }
    }

    /// The tally that something is counted in that is of no group.
    pub(super) fn of(&mut self, window: ClassWindow) -> &mut Tally {
        self.0.entry(window).or_default()
    }

    pub(super) fn get(&self, window: ClassWindow) -> Option<&Tally> {
        self.0.get(&window)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClassWindow, &Tally)> {
        self.0.iter().map(|(window, tally)| (*window, tally))
    }

    /// What was erased and is on the disk still.
    pub(super) fn erased(&self) -> Erased {
        self.0.values().fold(Erased::default(), |all, tally| Erased {
            events: all.events + tally.erased,
            bytes: all.bytes + tally.erased_bytes,
            since_ms: all.since_ms.into_iter().chain(tally.due_since_ms()).min(),
            until_ms: all.until_ms.max(tally.due_until_ms()),
        })
    }

    /// Adds to a batch the rows that have changed; they count all groups up to `applied`.
    pub(super) fn write<'a>(&mut self, engine: &'a Engine, applied: Position, batch: &mut Batch<'a>) {
        for (window, tally) in self.0.iter_mut().filter(|(_, tally)| tally.is_changed) {
            (tally.is_changed, tally.position) = (false, applied);
            let key = key(*window);
            batch.insert(&engine.windows, key, encode(&key, tally));
        }
    }

    /// Forgets windows that are no more; says whether there was any.
    pub(super) fn remove<'a>(
        &mut self,
        engine: &'a Engine,
        batch: &mut Batch<'a>,
        mut is_no_more: impl FnMut(ClassWindow, &Tally) -> bool,
    ) -> bool {
        let before = self.0.len();
        self.0.retain(|window, tally| {
            let stays = !is_no_more(*window, tally);
            if !stays {
                batch.remove(&engine.windows, key(*window));
            }
            stays
        });
        self.0.len() < before
    }
}

/// Length of the key of a window's row in bytes: class 1, number 4 in big endian.
const KEY_BYTES: usize = 5;

fn key(window: ClassWindow) -> [u8; KEY_BYTES] {
    let mut key = [window.class.number(); KEY_BYTES];
    key[1..].copy_from_slice(&window.number.0.to_be_bytes());
    key
}

/// A window's value: checksum, position, bytes that are gone, number of the erased ones, their bytes and
/// since when, whether something is left behind (1) and since when something erased may be in it, a later time
/// that this hides, number of times, and for each of them time and bytes; `u64` each, little endian.
fn encode(key: &[u8], tally: &Tally) -> Vec<u8> {
    let mut value = vec![0; 8];
    let Tally { position, expiring, gone_bytes, erased, erased_bytes, erased_since_ms, .. } = tally;
    let (is_left, count) = (u64::from(tally.is_left), expiring.len() as u64);
    let erased = [*erased, *erased_bytes, *erased_since_ms, is_left, tally.left_since_ms, tally.ahead_ms];
    let head = [position.0, *gone_bytes].into_iter().chain(erased).chain([count]);
    let times = expiring.iter().flat_map(|(time_ms, bytes)| [*time_ms, *bytes]);
    value.extend(head.chain(times).flat_map(u64::to_le_bytes));
    row::seal(key, &mut value);
    value
}

fn decode(key: &[u8], value: &[u8]) -> Option<(ClassWindow, Tally)> {
    let mut reader = Reader(key);
    let class = Class::from_stored(reader.u8()?)?;
    let number = Window(u32::from_be_bytes(reader.array()?));
    let mut value = Reader(row::checked(key, value)?);
    let mut tally = Tally {
        position: Position(value.u64()?),
        gone_bytes: value.u64()?,
        erased: value.u64()?,
        erased_bytes: value.u64()?,
        erased_since_ms: value.u64()?,
        is_left: value.u64()? != 0,
        left_since_ms: value.u64()?,
        ahead_ms: value.u64()?,
        ..Tally::default()
    };
    for _ in 0..value.u64()? {
        tally.expiring.insert(value.u64()?, value.u64()?);
    }
    (reader.0.is_empty() && value.0.is_empty()).then_some((ClassWindow { class, number }, tally))
}

fn read(engine: &Engine, row: Guard) -> Result<(ClassWindow, Tally), ViewError> {
    const ACTION: &str = "read a window from";
    let (key, value) = engine.database(ACTION, row.into_inner())?;
    decode(&key, &value).ok_or_else(|| engine.failed(ACTION, "the row of a window is damaged".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{ClassWindow, Erased, Position, TIMES_MAX, Tallies, Tally, Window, decode, encode, key};
    use crate::class::Class;

    #[test]
    fn nothing_counts_as_dead_before_it_is_and_little_long_after() {
        let mut tally = Tally::default();
        for n in 0..10_000_u64 {
            tally.expires(n * 100, n * 100 + 80_000, 1);
        }
        assert!(tally.expiring.len() <= TIMES_MAX);
        for now_ms in (0..1_200_000).step_by(7_000) {
            let dead = (0..10_000).filter(|n| n * 100 + 80_000 <= now_ms).count() as u64;
            let counted = tally.expired_bytes(now_ms);
            assert!(counted <= dead, "{counted} of {dead} at {now_ms}");
        }
        assert_eq!(tally.expired_bytes(1_100_000), 10_000, "an eighth of the time to live later at most");
    }

    #[test]
    fn a_tally_survives_its_encoding() {
        let window = ClassWindow { class: Class::REST, number: Window(7) };
        let mut tally = Tally { position: Position(9), ..Tally::default() };
        tally.expires(0, 50_000, 3);
        tally.expires(0, 90_000, 4);
        tally.erase(5, 6);
        tally.erase(4, 6);
        tally.gone(8);
        tally.leave();
        tally.left_since_ms = 3;
        let mut tallies = Tallies::default();
        *tallies.of(window) = tally.clone();
        for (left_ms, since_ms, until_ms) in [(9, 3, 5), (2, 2, 5)] {
            tallies.erase_left(left_ms);
            let Erased { since_ms: since, until_ms: until, .. } = tallies.erased();
            assert_eq!((since, until), (Some(since_ms), Some(until_ms)), "the first, and what is behind it");
        }
        let key = key(window);
        let value = encode(&key, &tally);
        tally.is_changed = false;
        assert_eq!((tally.erased, tally.erased_since_ms, tally.ahead_ms), (2, 4, 5));
        assert_eq!(decode(&key, &value), Some((window, tally)));
        assert_eq!(decode(&key, &value[..value.len() - 1]), None);
    }
}
