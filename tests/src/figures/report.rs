//! What a figure has found.

use std::time::Duration;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
}

impl Goal {
    /// Whether a value reaches it.
    #[must_use]
    pub fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// The values of a figure's rounds, and what they are made of.
#[derive(Debug, Default, Clone)]
pub struct Report {
    values: Vec<f64>,
    notes: Vec<String>,
}

impl Report {
    /// Takes a round's value and prints what it is made of.
    pub fn round(&mut self, value: f64, note: impl Into<String>) {
        let note = note.into();
        println!("  round {}: {value:.3}   {note}", self.values.len() + 1);
        self.values.push(value);
        self.notes.push(note);
    }

    /// The rounds' median; NaN without rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    /// The least and the greatest value.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        let fold = |start, pick: fn(f64, f64) -> f64| self.values.iter().copied().fold(start, pick);
        (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
    }

    /// How many rounds there were.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.values.len()
    }
}

/// Durations, sorted when they are asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Times {
    times: Vec<Duration>,
    is_sorted: bool,
}

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        self.times.push(time);
        self.is_sorted = false;
    }

    /// A quantile in milliseconds, 1.0 for the longest; NaN of none.
    pub(super) fn ms(&mut self, quantile: f64) -> f64 {
        if !self.is_sorted {
            self.times.sort_unstable();
            self.is_sorted = true;
        }
        let last = self.times.len().saturating_sub(1);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index within the list"
        )]
        let index = (quantile * last as f64).round() as usize;
        self.times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self { times: times.into_iter().collect(), is_sorted: false }
    }
}

/// The middle value, or the mean of the two in the middle; NaN of none.
#[must_use]
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, median};

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }

    #[test]
    fn a_goal_has_a_side() {
        assert!(Goal::AtMost(1.0).is_reached(1.0) && !Goal::AtMost(1.0).is_reached(1.1));
        assert!(Goal::AtLeast(1.0).is_reached(1.0) && !Goal::AtLeast(1.0).is_reached(0.9));
        assert!(!Goal::AtLeast(1.0).is_reached(f64::NAN) && !Goal::AtMost(1.0).is_reached(f64::NAN));
    }
}
