//! What has become of a figure: the rule, on the figure's rounds alone. Pure.

use super::{CHANCE_MAX, ToFloor};
use crate::figure::{Better, Spread};

/// What has become of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is worse: its median by more than the bound, and no round of the one run is where rounds of the
    /// other are.
    Worse,
    /// It is better, by the same rule.
    Better,
    /// Its median is within the bound, and so is each round of both runs around its own run's median.
    Same,
    /// The rounds do not decide.
    Undecided {
        /// Whether the medians differ by more than the bound, so that it may well be worse.
        beyond: bool,
    },
    /// It is better or worse for each delivery only, of a run that did not get done what was due: another
    /// load.
    Starved,
    /// It has changed by more than the bound, the machine was busy with other things in the run that it is
    /// slower in, and no floor tells that from the server.
    Busy,
    /// It is not judged.
    Told,
}

/// Which way a figure has gone.
pub(super) fn change(from: f64, to: f64, better: Better, bound: f64) -> Option<Verdict> {
    let worse_by = match better {
        Better::Less => to / from,
        Better::More => from / to,
    };
    match worse_by {
        worse if worse > bound => Some(Verdict::Worse),
        better if better < 1.0 / bound => Some(Verdict::Better),
        // Nothing of nothing is no number, and no change.
        _ => None,
    }
}

/// Whether so many rounds before and after lie apart by chance, though nothing has changed, no oftener than
/// once in
/// [`CHANCE_MAX`]: all orders of equal rounds are as likely, and one of them has those before first.
pub(super) fn are_enough((before, after): (usize, usize)) -> bool {
    let (before, after) = (before as u64, after as u64);
    let mut orders = 1_u64;
    for i in 1..=before {
        // Exact, since each is a number of orders itself.
        orders = orders.saturating_mul(after + i) / i;
        if orders >= CHANCE_MAX {
            return after > 0;
        }
    }
    false
}

/// Whether a round lies farther from the run's median than the bound.
fn is_wide(spread: Spread, bound: f64) -> bool {
    spread.greatest > spread.median * bound || spread.least < spread.median / bound
}

/// The verdict on one figure by its own rounds.
pub(super) fn of_rounds(before: Spread, after: Spread, better: Better, bound: f64) -> Verdict {
    match change(before.median, after.median, better, bound) {
        Some(change) if !before.overlaps(after) => change,
        Some(_) => Verdict::Undecided { beyond: true },
        None if is_wide(before, bound) || is_wide(after, bound) => Verdict::Undecided { beyond: false },
        None => Verdict::Same,
    }
}

/// The verdict on a figure that stands on floors: by its ratio to them. A ratio is as wide as its floor's
/// rounds are, and a floor that was disturbed gives none; so where the ratio does not decide, the figure
/// itself does, if its own rounds lie apart, the ratio's medians have gone the same way, and the floors'
/// rounds do not lie apart, which would be another machine.
pub(super) fn on_floors(
    own: (Spread, Spread),
    to_floor: &ToFloor,
    is_disturbed: bool,
    better: Better,
    bound: f64,
) -> Verdict {
    let (before, after) = own;
    let by_itself = of_rounds(before, after, better, bound);
    let by_ratio = of_rounds(to_floor.before, to_floor.after, better, bound);
    if !is_disturbed && !matches!(by_ratio, Verdict::Undecided { .. }) {
        return by_ratio;
    }
    let way = change(to_floor.before.median, to_floor.after.median, better, bound);
    let goes_the_same_way = is_disturbed || way == Some(by_itself);
    let (floor_was, floor_is) = to_floor.floors;
    match by_itself {
        Verdict::Worse | Verdict::Better if goes_the_same_way && floor_was.overlaps(floor_is) => by_itself,
        _ if is_disturbed => {
            Verdict::Undecided { beyond: change(before.median, after.median, better, bound).is_some() }
        }
        _ => by_ratio,
    }
}

/// The verdict on a figure that stands on no floor, whose medians have gone one way, of runs of which some
/// may have gone by a machine that was busy with other things: whether it is one that may be slower, or
/// better, by that alone.
pub(super) fn without_floor(
    verdict: Verdict,
    way: Option<Verdict>,
    may_be_worse: bool,
    may_be_better: bool,
) -> Verdict {
    match (verdict, way) {
        (Verdict::Worse | Verdict::Undecided { beyond: true }, Some(Verdict::Worse)) if may_be_worse => {
            Verdict::Busy
        }
        (Verdict::Better | Verdict::Undecided { beyond: true }, Some(Verdict::Better)) if may_be_better => {
            Verdict::Busy
        }
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(rounds: &[f64]) -> Spread {
        Spread::of(rounds).expect("rounds")
    }

    fn less(before: &[f64], after: &[f64]) -> Verdict {
        of_rounds(spread(before), spread(after), Better::Less, 1.10)
    }

    const BEYOND: Verdict = Verdict::Undecided { beyond: true };
    const WIDE: Verdict = Verdict::Undecided { beyond: false };

    #[test]
    fn rounds_that_lie_apart_decide_however_wide_they_are() {
        assert_eq!(less(&[1.0, 2.0, 9.0], &[40.0, 84.0, 400.0]), Verdict::Worse);
        assert_eq!(less(&[40.0, 84.0, 400.0], &[1.0, 2.0, 9.0]), Verdict::Better);
        assert_eq!(less(&[10.0; 3], &[11.0, 12.0, 40.0]), Verdict::Worse);
        assert_eq!(of_rounds(spread(&[9.0]), spread(&[5.0]), Better::More, 1.10), Verdict::Worse);
    }

    #[test]
    fn three_rounds_each_are_enough_and_fewer_are_not() {
        for too_few in [(1, 1), (2, 2), (1, 5), (5, 1), (2, 4), (0, 9), (9, 0)] {
            assert!(!are_enough(too_few), "{too_few:?}");
        }
        for enough in [(3, 3), (2, 5), (5, 2), (5, 5), (1, 19), (1_000, 1_000)] {
            assert!(are_enough(enough), "{enough:?}");
        }
    }

    #[test]
    fn rounds_that_meet_do_not_decide_however_far_apart_the_medians_are() {
        assert_eq!(less(&[1.0, 1.0, 50.0], &[40.0, 42.0, 44.0]), BEYOND);
        assert_eq!(less(&[40.0, 42.0, 44.0], &[1.0, 1.0, 50.0]), BEYOND);
        assert_eq!(less(&[10.0, 10.0, 14.0], &[14.0, 15.0, 15.0]), BEYOND);
    }

    #[test]
    fn medians_within_the_bound_are_the_same_only_where_rounds_are_too() {
        assert_eq!(less(&[9.8, 10.0, 10.2], &[10.3, 10.5, 10.7]), Verdict::Same);
        assert_eq!(less(&[5.0, 10.0, 20.0], &[10.0, 10.0, 10.0]), WIDE);
        assert_eq!(less(&[10.0, 10.0, 10.0], &[10.0, 10.0, 11.5]), WIDE);
        assert_eq!(less(&[0.0], &[0.0]), Verdict::Same);
        assert_eq!(less(&[0.0], &[3.0]), Verdict::Worse);
    }

    #[test]
    fn what_a_busy_machine_may_have_done_is_undecided_one_way() {
        let (worse, better) = (Some(Verdict::Worse), Some(Verdict::Better));
        for (verdict, way, may_be_worse, may_be_better, told) in [
            (Verdict::Worse, worse, true, false, Verdict::Busy),
            (Verdict::Worse, worse, false, true, Verdict::Worse),
            (Verdict::Better, better, false, true, Verdict::Busy),
            (Verdict::Better, better, true, false, Verdict::Better),
            (BEYOND, worse, true, false, Verdict::Busy),
            (BEYOND, better, true, false, BEYOND),
            (BEYOND, worse, false, true, BEYOND),
            (WIDE, None, true, true, WIDE),
            (Verdict::Same, None, true, true, Verdict::Same),
            (Verdict::Told, worse, true, true, Verdict::Told),
        ] {
            assert_eq!(
                without_floor(verdict, way, may_be_worse, may_be_better),
                told,
                "{verdict:?} {way:?} {may_be_worse} {may_be_better}"
            );
        }
    }

    #[test]
    fn a_floor_whose_rounds_are_wide_hides_nothing() {
        let judged = |floor_was: &[f64], floor_is: &[f64], is_disturbed| {
            let (was, is) = ([1.0, 1.1, 1.2], [42.0, 46.0, 80.0]);
            let over = |rounds: &[f64], floor: &[f64]| {
                spread(&rounds.iter().zip(floor).map(|(a, b)| a / b).collect::<Vec<_>>())
            };
            let to_floor = ToFloor {
                floor: String::new(),
                before: over(&was, floor_was),
                after: over(&is, floor_is),
                floors: (spread(floor_was), spread(floor_is)),
            };
            on_floors((spread(&was), spread(&is)), &to_floor, is_disturbed, Better::Less, 1.10)
        };
        // The ratios meet, since the floor was once slow and once fast.
        assert_eq!(judged(&[0.01, 0.5, 0.5], &[0.5, 0.5, 2.0], false), Verdict::Worse);
        assert_eq!(judged(&[0.5; 3], &[0.5, 0.5, 2.0], true), Verdict::Worse);
        // Here the machine has become slower, as much as the server or not.
        assert_eq!(judged(&[0.5; 3], &[21.0; 3], false), Verdict::Undecided { beyond: false });
        assert_eq!(judged(&[0.5; 3], &[21.0; 3], true), BEYOND);
    }
}
