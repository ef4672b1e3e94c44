//! Events that nobody gets any more, though their rows may still be there.

use std::collections::BTreeMap;

use quoth_protocol::Seq;

use super::registers::{ABSENT, seq_of};
use crate::membership::Damaged;
use crate::register::decode;

/// The absent events of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absent {
    /// First and last one of each range; no two of them touch.
    ranges: BTreeMap<u64, u64>,
    /// The last event that made any absent.
    version: Seq,
}

impl Absent {
    /// The set that registers hold whose keys begin with [`ABSENT`].
    ///
    /// # Errors
    /// When they are none that [`MessageState::apply`](super::MessageState::apply) has made.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        registers: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Damaged> {
        let mut absent = Self::default();
        for (key, value) in registers {
            let seq = seq_of(ABSENT, key.as_ref()).ok_or(Damaged("a key is no absent event"))?;
            absent.insert(seq, decode(value.as_ref())?);
        }
        Ok(absent)
    }

    /// An event is absent from `by` on.
    pub fn insert(&mut self, seq: Seq, by: Seq) {
        self.version = self.version.max(by);
        self.insert_range(seq, seq);
    }

    /// The events from `from` up to and including `to` are absent.
    pub fn insert_range(&mut self, from: Seq, to: Seq) {
        let (mut from, mut to) = (from.0, to.0);
        // All that touch it or lie in it become one.
        while let Some((&first, &last)) = self.ranges.range(..=to.saturating_add(1)).next_back()
            && last.saturating_add(1) >= from
        {
            self.ranges.remove(&first);
            (from, to) = (from.min(first), to.max(last));
        }
        self.ranges.insert(from, to);
    }

    /// Whether an event is absent.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        self.ranges.range(..=seq.0).next_back().is_some_and(|(_, last)| *last >= seq.0)
    }

    /// The ranges of absent events among those from `from` up to and including `to`, ascending and cut to
    /// these.
    pub fn within(&self, from: Seq, to: Seq) -> impl Iterator<Item = (Seq, Seq)> {
        let first = self.ranges.range(..=from.0).next_back().map_or(from.0, |(first, _)| *first);
        let ranges = self.ranges.range(first..).take_while(move |(first, _)| **first <= to.0);
        ranges
            .filter(move |(_, last)| **last >= from.0)
            .map(move |(first, last)| (Seq((*first).max(from.0)), Seq((*last).min(to.0))))
    }

    /// The last event that made any absent; zero when none is.
    #[must_use]
    pub const fn version(&self) -> Seq {
        self.version
    }

    /// How many ranges there are: what it costs.
    #[must_use]
    pub fn ranges_count(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quoth_protocol::Seq;

    use super::Absent;

    #[test]
    fn ranges_are_exact_and_never_touch() {
        let (mut absent, mut model, mut random) = (Absent::default(), BTreeSet::new(), 7_u64);
        for _ in 0..2_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (from, length) = ((random >> 33) % 300, (random >> 50) % 4);
            absent.insert_range(Seq(from), Seq(from + length));
            model.extend(from..=from + length);
            if model.len() > 280 {
                (absent, model) = (Absent::default(), BTreeSet::new());
            }
            let (low, high) = ((random >> 20) % 300, (random >> 10) % 300);
            let found: Vec<u64> =
                absent.within(Seq(low), Seq(high)).flat_map(|(from, to)| from.0..=to.0).collect();
            let expected: Vec<u64> = model.iter().copied().filter(|seq| (low..=high).contains(seq)).collect();
            assert_eq!(found, expected, "{low}..={high}");
            let ranges: Vec<_> = absent.within(Seq(0), Seq(u64::MAX)).collect();
            assert!(ranges.windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0), "{ranges:?}");
            assert!((0..310).all(|seq| absent.contains(Seq(seq)) == model.contains(&seq)));
        }
        absent.insert(Seq(u64::MAX), Seq(9));
        assert!(absent.contains(Seq(u64::MAX)) && absent.version() == Seq(9));
    }
}
