//! Which part of a conversation a page of history tells of.
//!
//! A page tells of all seqs between its two ends: by an event, or by a gap where that is absent. So pages
//! that follow one another in either direction meet exactly, whatever becomes absent meanwhile.

use quoth_protocol::Seq;

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Behind this seq.
    After(Seq),
    /// Before this seq.
    Before(Seq),
    /// On both sides of this seq, which is the first one of the later side.
    Around(Seq),
}

/// The seqs of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// They begin behind this one.
    pub after: Seq,
    /// The last one; there are none when it is `after`.
    pub last: Seq,
    /// Whether there are readable ones up to `after`.
    pub more_before: bool,
    /// Whether there are readable ones behind `last`.
    pub more_after: bool,
}

impl Span {
    /// A page of at most `limit` seqs of a conversation that has this floor and this head.
    #[must_use]
    pub fn of(anchor: Anchor, limit: u64, floor: Seq, head: Seq) -> Self {
        let head = head.0;
        let before_floor = floor.0.saturating_sub(1).min(head);
        let readable = |seq: u64| seq.clamp(before_floor, head);
        let (after, last) = match anchor {
            Anchor::After(cursor) => {
                let after = readable(cursor.0);
                (after, readable(after.saturating_add(limit)))
            }
            Anchor::Before(seq) => {
                let last = readable(seq.0.saturating_sub(1));
                (readable(last.saturating_sub(limit)), last)
            }
            Anchor::Around(seq) => {
                let middle = readable(seq.0.saturating_sub(1));
                // What one side has not got is for the other one.
                let before = (limit / 2).min(middle - before_floor);
                let last = readable(middle.saturating_add(limit - before));
                (readable(last.saturating_sub(limit)), last)
            }
        };
        let (more_before, more_after) = (after > before_floor, last < head);
        Self { after: Seq(after), last: Seq(last), more_before, more_after }
    }

    /// With what is before it, of which at most `limit` seqs up to and including `event` are more than a gap;
    /// there is nothing from there on.
    #[must_use]
    pub fn back_to(self, event: Seq, limit: u64, floor: Seq) -> Self {
        let Self { after, more_before, .. } = Self::of(Anchor::Before(event.next()), limit, floor, self.last);
        Self { after: after.min(self.after), more_before, ..self }
    }

    /// With what is behind it, of which at most `limit` seqs from `event` on are more than a gap; there is
    /// nothing up to there.
    #[must_use]
    pub fn on_to(self, event: Seq, limit: u64, head: Seq) -> Self {
        let before = Seq(event.0.saturating_sub(1));
        let Self { last, more_after, .. } = Self::of(Anchor::After(before), limit, self.after.next(), head);
        Self { last: last.max(self.last), more_after, ..self }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;

    use super::{Anchor, Span};

    const HEAD: Anchor = Anchor::Before(Seq(u64::MAX));

    /// First and last seq, and what there is besides.
    fn page(anchor: Anchor, limit: u64, floor: u64, head: u64) -> (u64, u64, bool, bool) {
        let Span { after, last, more_before, more_after } = Span::of(anchor, limit, Seq(floor), Seq(head));
        assert!(after <= last && last.0 - after.0 <= limit && last.0 <= head);
        assert!(after.0 + 1 >= floor.min(head + 1), "only what is readable");
        (after.0 + 1, last.0, more_before, more_after)
    }

    #[test]
    fn after_goes_on_to_the_head() {
        let after = |seq| Anchor::After(Seq(seq));
        assert_eq!(page(after(0), 3, 1, 10), (1, 3, false, true));
        assert_eq!(page(after(3), 7, 1, 10), (4, 10, true, false));
        assert_eq!(page(after(0), 3, 5, 10), (5, 7, false, true), "from the floor on");
        assert_eq!(page(after(3), 0, 1, 10), (4, 3, true, true));
        for cursor in [10, 11, u64::MAX] {
            assert_eq!(page(after(cursor), 5, 1, 10), (11, 10, true, false));
        }
        assert_eq!(page(after(0), 5, 1, 0), (1, 0, false, false));
        assert_eq!(page(after(3), 5, 11, 10), (11, 10, false, false));
    }

    #[test]
    fn before_goes_back_to_the_floor() {
        let before = |seq| Anchor::Before(Seq(seq));
        assert_eq!(page(HEAD, 3, 1, 10), (8, 10, true, false));
        assert_eq!(page(HEAD, 10, 1, 10), (1, 10, false, false));
        assert_eq!(page(HEAD, 10, 5, 10), (5, 10, false, false));
        assert_eq!(page(HEAD, 0, 1, 10), (11, 10, true, false));
        assert_eq!(page(before(8), 3, 1, 10), (5, 7, true, true));
        assert_eq!(page(before(4), 3, 1, 10), (1, 3, false, true));
        assert_eq!(page(before(1), 5, 1, 10), (1, 0, false, true));
        assert_eq!(page(before(0), 5, 1, 10), (1, 0, false, true));
        assert_eq!(page(before(3), 5, 5, 10), (5, 4, false, true));
        assert_eq!(page(before(9), 5, 1, 0), (1, 0, false, false));
        assert_eq!(page(HEAD, 5, 11, 10), (11, 10, false, false));
    }

    #[test]
    fn around_has_both_sides_and_is_full_where_it_can_be() {
        let around = |seq| Anchor::Around(Seq(seq));
        assert_eq!(page(around(50), 10, 1, 100), (45, 54, true, true));
        assert_eq!(page(around(50), 5, 1, 100), (48, 52, true, true), "the seq itself is in it");
        assert_eq!(page(around(50), 1, 1, 100), (50, 50, true, true));
        assert_eq!(page(around(2), 10, 1, 100), (1, 10, false, true));
        assert_eq!(page(around(99), 10, 1, 100), (91, 100, true, false));
        assert_eq!(page(around(500), 10, 1, 100), (91, 100, true, false));
        assert_eq!(page(around(0), 10, 1, 100), (1, 10, false, true));
        assert_eq!(page(around(3), 10, 50, 100), (50, 59, false, true));
        assert_eq!(page(around(5), 100, 3, 8), (3, 8, false, false));
        assert_eq!(page(around(5), 10, 1, 0), (1, 0, false, false));
        assert_eq!(page(around(50), 0, 1, 100), (50, 49, true, true));
    }

    #[test]
    fn one_with_nothing_in_it_goes_on_to_where_something_is() {
        let ends = |span: Span| (span.after.0 + 1, span.last.0, span.more_before, span.more_after);
        let last = Span::of(HEAD, 10, Seq(1), Seq(100));
        assert_eq!(ends(last), (91, 100, true, false));
        assert_eq!(ends(last.back_to(Seq(50), 10, Seq(1))), (41, 100, true, false));
        assert_eq!(ends(last.back_to(Seq(4), 10, Seq(1))), (1, 100, false, false));
        assert_eq!(ends(last.back_to(Seq(44), 10, Seq(40))), (40, 100, false, false), "not before the floor");
        assert_eq!(ends(last.back_to(Seq(90), 0, Seq(1))), (91, 100, true, false));
        let first = Span::of(Anchor::After(Seq(20)), 10, Seq(1), Seq(100));
        assert_eq!(ends(first), (21, 30, true, true));
        assert_eq!(ends(first.on_to(Seq(50), 10, Seq(100))), (21, 59, true, true));
        assert_eq!(ends(first.on_to(Seq(95), 10, Seq(100))), (21, 100, true, false));
    }

    #[test]
    fn pages_meet_exactly_in_both_directions() {
        for (floor, head, limit) in
            [(1_u64, 100_u64, 7), (30, 100, 10), (100, 100, 3), (101, 100, 3), (1, 1, 1)]
        {
            for start in [0, 1, 29, 50, 100, 101] {
                let (first, last, mut before, mut after) =
                    page(Anchor::Around(Seq(start)), limit, floor, head);
                let (mut low, mut high, mut told) = (first, last, (last + 1).saturating_sub(first));
                while before {
                    let (first, last, more, _) = page(Anchor::Before(Seq(low)), limit, floor, head);
                    assert_eq!(last + 1, low);
                    told += last + 1 - first;
                    (low, before) = (first, more);
                }
                while after {
                    let (first, last, _, more) = page(Anchor::After(Seq(high)), limit, floor, head);
                    assert_eq!(first, high + 1);
                    told += last + 1 - first;
                    (high, after) = (last, more);
                }
                assert_eq!((low, high, told), (floor.min(head + 1), head, head + 1 - floor.min(head + 1)));
            }
        }
    }
}
