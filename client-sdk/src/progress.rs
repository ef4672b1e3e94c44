//! Where a reader stands in its conversation, and what to do with each event that arrives there.

use quoth_protocol::Seq;
use quoth_protocol::frame::Start;

/// A reader's place. It moves only when an event has been handed to the application, so it is also the place
/// to read on from after a disconnect.
#[derive(Debug)]
pub(crate) struct Progress {
    place: Place,
    caught_up: CaughtUp,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Never opened.
    Unopened(Start),
    /// Opened with `Last`: the server chose the place, which is this one or, when retention runs, one behind
    /// it.
    Near(Seq),
    /// Everything up to here has been handed out.
    At(Seq),
}

#[derive(Debug, Clone, Copy)]
enum CaughtUp {
    Unknown,
    When(Seq),
    Told,
}

/// What to do with an event or a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it out, then call [`Progress::advance`].
    Deliver,
    /// The application has it: drop it.
    Skip,
    /// Something is missing before it: the server broke its promise.
    Hole {
        /// The seq that had to come.
        expected: Seq,
    },
    /// No event can have this seq, since none could follow it: the server broke its promise.
    Impossible,
}

impl Progress {
    pub(crate) fn new(start: Start) -> Self {
        Self { place: Place::Unopened(start), caught_up: CaughtUp::Unknown }
    }

    /// Where to read on from.
    pub(crate) fn start(&self) -> Start {
        match self.place {
            Place::Unopened(start) => start,
            Place::Near(seq) | Place::At(seq) => Start::After(seq),
        }
    }

    /// The server reads from here on, and these are the conversation's bounds.
    pub(crate) fn opened(&mut self, head: Seq, floor: Seq) {
        if let Place::Unopened(start) = self.place {
            self.place = match start {
                Start::After(_) | Start::Live => Place::At(after(start, head, floor)),
                Start::Last(_) => Place::Near(after(start, head, floor)),
            };
        }
        if matches!(self.caught_up, CaughtUp::Unknown) {
            self.caught_up = CaughtUp::When(head);
        }
    }

    /// Whether the next seq is known. If it is not, an event says nothing about whether it is the right one.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.place, Place::At(_))
    }

    pub(crate) fn check_event(&self, seq: Seq) -> Verdict {
        self.check(seq, seq)
    }

    pub(crate) fn check_gap(&self, from: Seq, to: Seq) -> Verdict {
        self.check(from, to)
    }

    /// Everything up to `to` has been handed out.
    pub(crate) fn advance(&mut self, to: Seq) {
        self.place = Place::At(to);
    }

    /// The head that was known when reading began, as soon as it has been reached and
    /// [`Progress::told_caught_up`] has not been called.
    pub(crate) fn caught_up(&self) -> Option<Seq> {
        match (self.caught_up, self.place) {
            (CaughtUp::When(head), Place::Near(seq) | Place::At(seq)) if seq >= head => Some(head),
            _ => None,
        }
    }

    pub(crate) fn told_caught_up(&mut self) {
        self.caught_up = CaughtUp::Told;
    }

    fn check(&self, from: Seq, to: Seq) -> Verdict {
        if to == Seq(u64::MAX) {
            return Verdict::Impossible;
        }
        let Place::At(at) = self.place else { return Verdict::Deliver };
        if to <= at {
            return Verdict::Skip;
        }
        let expected = at.next();
        if from <= expected { Verdict::Deliver } else { Verdict::Hole { expected } }
    }
}

/// The cursor that a start stands for, given a conversation's bounds.
fn after(start: Start, head: Seq, floor: Seq) -> Seq {
    match start {
        Start::After(seq) => seq,
        Start::Live => head,
        Start::Last(count) => {
            Seq(head.0.saturating_sub(u64::from(count)).max(floor.0.saturating_sub(1)).min(head.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seq: u64) -> Progress {
        let mut cursor = Progress::new(Start::After(Seq(seq)));
        cursor.opened(Seq(seq), Seq(1));
        cursor
    }

    #[test]
    fn only_the_next_event_is_delivered() {
        let mut cursor = at(5);
        assert_eq!(cursor.check_event(Seq(5)), Verdict::Skip);
        assert_eq!(cursor.check_event(Seq(6)), Verdict::Deliver);
        assert_eq!(cursor.check_event(Seq(7)), Verdict::Hole { expected: Seq(6) });
        cursor.advance(Seq(6));
        assert_eq!(cursor.check_event(Seq(7)), Verdict::Deliver);
        assert_eq!(cursor.start(), Start::After(Seq(6)));
    }

    #[test]
    fn a_gap_moves_the_cursor_behind_it() {
        let mut cursor = at(5);
        assert_eq!(cursor.check_gap(Seq(7), Seq(9)), Verdict::Hole { expected: Seq(6) });
        assert_eq!(cursor.check_gap(Seq(6), Seq(9)), Verdict::Deliver);
        cursor.advance(Seq(9));
        assert_eq!(cursor.check_gap(Seq(6), Seq(9)), Verdict::Skip);
        assert_eq!(cursor.check_event(Seq(10)), Verdict::Deliver);
    }

    #[test]
    fn the_last_number_that_there_is_is_no_seq() {
        let mut near = Progress::new(Start::Last(5));
        near.opened(Seq(9), Seq(1));
        for cursor in [at(5), at(u64::MAX - 1), at(u64::MAX), near] {
            assert_eq!(cursor.check_event(Seq(u64::MAX)), Verdict::Impossible);
            assert_eq!(cursor.check_gap(Seq(6), Seq(u64::MAX)), Verdict::Impossible);
        }
        assert_eq!(at(u64::MAX).check_event(Seq(u64::MAX - 1)), Verdict::Skip);
    }

    #[test]
    fn a_start_that_the_server_chooses_is_kept_for_a_resume() {
        for (start, resume, verdict) in [
            (Start::Live, 100, Verdict::Hole { expected: Seq(101) }),
            (Start::Last(20), 80, Verdict::Deliver),
            (Start::Last(500), 39, Verdict::Deliver),
        ] {
            let mut cursor = Progress::new(start);
            assert_eq!(cursor.start(), start);
            cursor.opened(Seq(100), Seq(40));
            assert_eq!(cursor.start(), Start::After(Seq(resume)));
            assert_eq!(cursor.check_event(Seq(resume + 3)), verdict);
        }
        let mut empty = Progress::new(Start::Last(20));
        empty.opened(Seq(0), Seq(1));
        assert_eq!(empty.start(), Start::After(Seq(0)));
    }

    #[test]
    fn caught_up_is_told_once_at_the_first_head() {
        let mut cursor = Progress::new(Start::After(Seq(3)));
        assert_eq!(cursor.caught_up(), None);
        cursor.opened(Seq(4), Seq(1));
        assert_eq!(cursor.caught_up(), None);
        cursor.advance(Seq(4));
        assert_eq!(cursor.caught_up(), Some(Seq(4)));
        cursor.told_caught_up();
        cursor.opened(Seq(9), Seq(1));
        assert_eq!(cursor.caught_up(), None);
        let mut live = Progress::new(Start::Live);
        live.opened(Seq(9), Seq(1));
        assert_eq!(live.caught_up(), Some(Seq(9)));
    }

    proptest! {
        /// Streams that begin at the cursor and end anywhere, with events taken by retention in between: each
        /// event is handed out once, in order, or told as missing.
        #[test]
        fn resumes_lose_and_repeat_nothing(
            streams in prop::collection::vec((0_u64..20, 0_u64..5), 1..20),
        ) {
            let mut cursor = at(0);
            let mut seen = Vec::new();
            for (delivered, taken) in streams {
                let Start::After(from) = cursor.start() else { unreachable!() };
                cursor.opened(Seq(1_000), Seq(1));
                if taken > 0 {
                    prop_assert_eq!(cursor.check_gap(from.next(), Seq(from.0 + taken)), Verdict::Deliver);
                    seen.extend(from.0 + 1..=from.0 + taken);
                    cursor.advance(Seq(from.0 + taken));
                }
                for seq in from.0 + taken + 1..=from.0 + taken + delivered {
                    prop_assert_eq!(cursor.check_event(Seq(seq)), Verdict::Deliver);
                    let hole = Verdict::Hole { expected: Seq(seq) };
                    prop_assert_eq!(cursor.check_event(Seq(seq + 1)), hole);
                    seen.push(seq);
                    cursor.advance(Seq(seq));
                    prop_assert_eq!(cursor.check_event(Seq(seq)), Verdict::Skip);
                }
            }
            prop_assert_eq!(&seen, &(1..=seen.len() as u64).collect::<Vec<_>>());
        }
    }
}
