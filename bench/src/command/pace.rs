//! How long a run still takes, by what its measurements have taken.

use std::collections::BTreeMap;

use crate::run::Position;

/// What the measurements of a run have taken until now.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Seconds of each, by system.
    taken_s: BTreeMap<String, Vec<f64>>,
}

impl Pace {
    /// A measurement of a system is done.
    pub(super) fn took(&mut self, system: &str, s: f64) {
        self.taken_s.entry(system.to_owned()).or_default().push(s);
    }

    /// Whether a measurement of the system was done before.
    pub(super) fn knows(&self, system: &str) -> bool {
        self.taken_s.contains_key(system)
    }

    /// Seconds that are left of the run, of whose measurement at `position` so many are over. A system takes
    /// what it took on average, or what the others took, or else what the profile plans for each; `None` when
    /// nobody knows any of these.
    pub(super) fn left_s(&self, position: &Position<'_>, over_s: f64, planned_s: Option<f64>) -> Option<f64> {
        let of = |taken: &Vec<f64>| taken.iter().sum::<f64>() / taken.len() as f64;
        let known: Vec<f64> = self.taken_s.values().map(of).collect();
        let others =
            if known.is_empty() { planned_s? } else { known.iter().sum::<f64>() / known.len() as f64 };
        let current = self.taken_s.get(position.system).map_or(others, of);
        let done_in_round = |taken: &&Vec<f64>| taken.len() >= position.round as usize;
        let missing = |systems: usize| systems as f64 * others;
        // Those that are known and come behind this one in the round, and those of which nobody knows
        // anything yet.
        let not_yet = self.taken_s.iter().filter(|(name, _)| *name != position.system);
        let not_yet: Vec<f64> =
            not_yet.map(|(_, taken)| taken).filter(|taken| !done_in_round(taken)).map(of).collect();
        let behind = position.of - position.number;
        let in_round =
            not_yet.iter().take(behind).sum::<f64>() + missing(behind.saturating_sub(not_yet.len()));
        let of_a_round = known.iter().sum::<f64>() + missing(position.of.saturating_sub(known.len()));
        let in_others = of_a_round * f64::from(position.rounds - position.round);
        Some((current - over_s).max(0.0) + in_round + in_others)
    }
}

/// The measurement's number in the run, and of how many.
pub(super) fn measurement(position: &Position<'_>) -> (usize, usize) {
    let before = (position.round as usize - 1) * position.of;
    (before + position.number, position.rounds as usize * position.of)
}

/// As in `40 s`, `3 min 5 s`, `2 h 7 min`.
pub(super) fn told(s: f64) -> String {
    let whole = std::time::Duration::from_secs_f64(s.max(0.0)).as_secs();
    let (h, min, s) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match (h, min) {
        (0, 0) => format!("{s} s"),
        (0, _) => format!("{min} min {s} s"),
        _ => format!("{h} h {min} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(round: u32, number: usize, system: &str) -> Position<'_> {
        Position { round, rounds: 3, number, of: 2, system }
    }

    fn left(pace: &Pace, position: Position<'_>, over_s: f64, planned_s: Option<f64>) -> Option<String> {
        pace.left_s(&position, over_s, planned_s).map(told)
    }

    #[test]
    fn what_is_left_is_told_by_what_was_taken() {
        let mut pace = Pace::default();
        assert_eq!(left(&pace, at(1, 1, "quoth"), 0.0, None), None, "of what nobody knows");
        assert_eq!(left(&pace, at(1, 1, "quoth"), 4.0, Some(6.0)).as_deref(), Some("32 s"), "6 x 6 s - 4 s");
        pace.took("quoth", 10.0);
        // The relay may take what the server took: 5 of 6 are left.
        assert_eq!(left(&pace, at(1, 2, "relay"), 0.0, Some(6.0)).as_deref(), Some("50 s"));
        pace.took("relay", 2.0);
        // The second round begins with the relay: 2 + 10, and 12 in the third.
        assert_eq!(left(&pace, at(2, 1, "relay"), 1.0, Some(6.0)).as_deref(), Some("23 s"));
        pace.took("relay", 2.0);
        assert_eq!(left(&pace, at(2, 2, "quoth"), 0.0, Some(6.0)).as_deref(), Some("22 s"));
        pace.took("quoth", 10.0);
        pace.took("quoth", 10.0);
        assert_eq!(left(&pace, at(3, 2, "relay"), 9.0, None).as_deref(), Some("0 s"), "late, and the last");
    }

    #[test]
    fn a_measurement_has_a_number_in_the_run() {
        assert_eq!(measurement(&at(1, 1, "")), (1, 6));
        assert_eq!(measurement(&at(3, 2, "")), (6, 6));
    }

    #[test]
    fn times_are_told_as_people_do() {
        let s = [0.4, 59.9, 185.0, 7_654.0];
        assert_eq!(s.map(told), ["0 s", "59 s", "3 min 5 s", "2 h 7 min"]);
    }
}
