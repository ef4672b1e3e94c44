//! What a figure has found.

use std::time::Duration;

use quoth_bench::outcome::median;

/// The values of a figure's rounds, for each of its rows.
#[derive(Debug, Default, Clone)]
pub struct Report {
    rounds: Vec<Vec<f64>>,
}

impl Report {
    /// Takes a round's value, of a figure with one row, and prints what it is made of.
    pub fn round(&mut self, value: f64, note: impl AsRef<str>) {
        self.round_of_rows(&[value], note);
    }

    /// The same with a value for each row.
    pub fn round_of_rows(&mut self, values: &[f64], note: impl AsRef<str>) {
        let texts: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
        println!("  round {}: {}   {}", self.rounds.len() + 1, texts.join(", "), note.as_ref());
        self.rounds.push(values.to_vec());
    }

    /// The rounds' values of a row, counted from 0.
    fn values(&self, row: usize) -> Vec<f64> {
        self.rounds.iter().filter_map(|values| values.get(row).copied()).collect()
    }

    /// The median of the rounds of a row, counted from 0; NaN without rounds.
    #[must_use]
    pub fn median(&self, row: usize) -> f64 {
        median(&self.values(row))
    }

    /// The least and the greatest value of a row.
    #[must_use]
    pub fn range(&self, row: usize) -> (f64, f64) {
        let values = self.values(row);
        let fold = |start, pick: fn(f64, f64) -> f64| values.iter().copied().fold(start, pick);
        (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
    }

    /// How many rounds there were.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }
}

/// Durations, sorted when they are asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Times {
    times: Vec<Duration>,
    is_sorted: bool,
}

impl Times {
    pub(super) fn extend(&mut self, times: impl IntoIterator<Item = Duration>) {
        self.times.extend(times);
        self.is_sorted = false;
    }

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

impl IntoIterator for Times {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.times.into_iter()
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self { times: times.into_iter().collect(), is_sorted: false }
    }
}
