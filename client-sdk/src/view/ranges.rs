//! Ranges of seqs. Pure.

use std::collections::BTreeMap;

use quoth_protocol::Seq;

/// A set of seqs, as ranges of which no two touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// The last seq of each, by its first one.
    ranges: BTreeMap<Seq, Seq>,
}

impl Ranges {
    /// Adds the seqs from `from` up to and including `to`; none when `to` is before `from`.
    pub(super) fn insert(&mut self, mut from: Seq, mut to: Seq) {
        if to < from {
            return;
        }
        // All that touch it or lie in it become one with it.
        while let Some((&first, &last)) = self.ranges.range(..=Seq(to.0.saturating_add(1))).next_back()
            && last.0.saturating_add(1) >= from.0
        {
            self.ranges.remove(&first);
            (from, to) = (from.min(first), to.max(last));
        }
        self.ranges.insert(from, to);
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.end_of(seq).is_some()
    }

    /// The last seq of the range that has this one.
    pub(super) fn end_of(&self, seq: Seq) -> Option<Seq> {
        self.ranges.range(..=seq).next_back().map(|(_, last)| *last).filter(|last| *last >= seq)
    }

    /// Takes a seq out.
    pub(super) fn remove(&mut self, seq: Seq) {
        let Some((&first, &last)) = self.ranges.range(..=seq).next_back().filter(|(_, last)| **last >= seq)
        else {
            return;
        };
        self.ranges.remove(&first);
        self.insert(first, Seq(seq.0.saturating_sub(1)));
        self.insert(seq.next(), last);
    }

    /// Takes all seqs before this one out.
    pub(super) fn forget_before(&mut self, seq: Seq) {
        let end = self.end_of(seq);
        self.ranges = self.ranges.split_off(&seq);
        if let Some(end) = end {
            self.insert(seq, end);
        }
    }

    /// The last seq up to which it has all those behind this one; this one itself, when it has not the next
    /// one.
    pub(super) fn all_behind(&self, seq: Seq) -> Seq {
        self.end_of(seq.next()).unwrap_or(seq)
    }

    /// First and last seq of each, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.ranges.iter().map(|(from, to)| (*from, *to))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_exact_and_never_touch(
            inserted in prop::collection::vec((0_u64..80, 0_u64..6, prop::bool::weighted(0.2)), 0..40),
            begin in 0_u64..90,
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (from, length, removes) in inserted {
                if removes {
                    ranges.remove(Seq(from));
                    model.remove(&from);
                    continue;
                }
                // One in six is empty.
                ranges.insert(Seq(from + 1), Seq(from + length));
                model.extend(from + 1..=from + length);
            }
            if begin < 80 {
                ranges.forget_before(Seq(begin));
                model = model.split_off(&begin);
            }
            let found: Vec<u64> = ranges.iter().flat_map(|(from, to)| from.0..=to.0).collect();
            prop_assert_eq!(&found, &model.iter().copied().collect::<Vec<_>>());
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0), "{:?}", all);
            prop_assert!((0..90).all(|seq| ranges.contains(Seq(seq)) == model.contains(&seq)));
        }
    }
}
