//! When a system stood still in a round: nothing came of it for so long that no load accounts for it.

use crate::figure::is_the_benchs_own;
use crate::outcome::{Outcome, Round, System};
use crate::unit::number;

/// For how long, in seconds. What is shorter shows in the last percentiles and nowhere else.
const LEAST_S: f64 = 1.0;

/// Acks or deliveries that must have been due in that time: at random, so many are left out by chance once in
/// e^30 times.
const DUE_MIN: f64 = 30.0;

/// A time in which nothing came.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Still {
    /// From the end of the warm-up.
    from_s: f64,
    length_s: f64,
}

/// In which rounds a system stood still, and the longest time of it, in a sentence; `None` where it never
/// did.
pub(crate) fn told(outcome: &Outcome, system: &System) -> Option<String> {
    // People who say nothing for a while let every system stand still.
    if outcome.profile.get("replay").is_some() {
        return None;
    }
    let still: Vec<(usize, Still)> =
        system.rounds.iter().enumerate().filter_map(|(i, round)| Some((i + 1, longest(round)?))).collect();
    let (round, Still { from_s, length_s }) =
        *still.iter().max_by(|(_, a), (_, b)| a.length_s.total_cmp(&b.length_s))?;
    let more = match still.len() - 1 {
        0 => String::new(),
        1 => ", and in another round as well".to_owned(),
        more => format!(", and in {more} other rounds as well"),
    };
    Some(format!(
        "{} stood still: for {} s of round {round}, from {} s on, it acked and delivered nothing{more}; its figures tell of that more \
         than of its speed, and it has to be measured again",
        system.name,
        number(length_s),
        number(from_s)
    ))
}

/// The longest time of what counts in which nothing came, if that is long.
fn longest(round: &Round) -> Option<Still> {
    let is_known = !round.timeline.is_empty() || round.latencies.keys().all(|name| is_the_benchs_own(name));
    if !is_known {
        return None;
    }
    let mut since_s = 0.0;
    let mut longest = Still { from_s: 0.0, length_s: 0.0 };
    let active = round.timeline.iter().filter(|tick| tick.acked + tick.delivered > 0);
    let active = active.map(|tick| (tick.at_s, tick.at_s + tick.length_s));
    for (from_s, to_s) in active.chain([(round.duration_s, round.duration_s)]) {
        let length_s = from_s.min(round.duration_s) - since_s;
        if length_s > longest.length_s {
            longest = Still { from_s: since_s, length_s };
        }
        since_s = to_s.max(since_s);
    }
    let due = round.due.map(|due| due.acks_per_s.max(due.deliveries_per_s) * longest.length_s);
    (longest.length_s >= LEAST_S && due.is_none_or(|due| due >= DUE_MIN)).then_some(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Due;
    use crate::testing::sample;

    /// Of the server alone, with nothing in these seconds of its second round.
    fn still(from_s: f64, to_s: f64) -> Outcome {
        let mut outcome = sample();
        let ticks = outcome.systems[0].rounds[1].timeline.iter_mut();
        for tick in ticks.filter(|tick| tick.at_s >= from_s && tick.at_s < to_s) {
            (tick.acked, tick.delivered) = (0, 0);
        }
        outcome
    }

    fn told_of(outcome: &Outcome) -> Option<String> {
        told(outcome, &outcome.systems[0])
    }

    #[test]
    fn nothing_for_a_while_is_told_with_its_round_and_its_time() {
        assert_eq!(told_of(&sample()), None);
        let told = told_of(&still(4.0, 7.0)).expect("it stood still");
        assert!(
            told.starts_with("quoth stood still: for 3.00 s of round 2, from 4.00 s on, it acked and"),
            "{told}"
        );
        // To the end, from the begin, and all the time.
        for (from_s, to_s, length) in [(15.0, 99.0, "5.00"), (-9.0, 2.0, "2.00"), (-9.0, 99.0, "20.0")] {
            let told = told_of(&still(from_s, to_s)).expect("it stood still");
            assert!(told.contains(&format!("for {length} s of round 2")), "{told}");
        }
        let mut outcome = still(4.0, 7.0);
        outcome.systems[0].rounds[4].timeline.clear();
        outcome.systems[0].rounds[4].latencies.clear();
        let told = told_of(&outcome).expect("it stood still");
        assert!(
            told.contains("for 20.0 s of round 5, from 0 s on") && told.contains("in another round"),
            "{told}"
        );
    }

    #[test]
    fn nothing_to_do_is_no_standstill() {
        let with_due = |per_s| {
            let mut outcome = still(4.0, 7.0);
            outcome.systems[0].rounds[1].due = Some(Due { acks_per_s: per_s, deliveries_per_s: 0.0 });
            told_of(&outcome)
        };
        assert!(with_due(9.0).is_none() && with_due(11.0).is_some());
        let mut outcome = still(4.0, 7.0);
        outcome.profile["replay"] = serde_json::json!({});
        assert_eq!(told_of(&outcome), None);
        // The disk has no timeline.
        let outcome = sample();
        let disk = &outcome.systems[2];
        assert!(disk.name == "append" && told(&outcome, disk).is_none());
    }
}
