//! What a figure has found.

use std::time::Duration;

use quoth_bench::outcome::median;

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
