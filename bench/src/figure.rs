//! A figure of a system: which one it is, what it is over the rounds, and which way it is better.

use std::collections::BTreeSet;

use crate::outcome::{Latency, Outcome, Round, System, median};
use crate::unit::Scale;

/// The latency of the bench's own timer.
pub const TIMER: &str = "timer";

/// Which part of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// Half are at most this.
    P50,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P99_9,
    /// The greatest.
    Max,
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less.
    Less,
    /// More.
    More,
}

/// A figure that each round may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// Of the latency of this name.
    Latency(String, Quantile),
    /// The single figure of this name.
    Value(String),
}

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Quantile {
    /// All that are shown.
    pub const ALL: [Self; 4] = [Self::P50, Self::P99, Self::P99_9, Self::Max];

    /// As in a table's head.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P99_9 => "p99.9",
            Self::Max => "max",
        }
    }

    /// What it is, in microseconds.
    #[must_use]
    pub fn of(self, latency: &Latency) -> f64 {
        match self {
            Self::P50 => latency.p50_us,
            Self::P99 => latency.p99_us,
            Self::P99_9 => latency.p99_9_us,
            Self::Max => latency.max_us,
        }
    }
}

impl Figure {
    /// What it is in a round.
    #[must_use]
    pub fn of(&self, round: &Round) -> Option<f64> {
        match self {
            Self::Latency(name, quantile) => round.latencies.get(name).map(|latency| quantile.of(latency)),
            Self::Value(name) => round.values.get(name).copied(),
        }
    }

    /// What it is over a system's rounds; `None` when no round has it.
    #[must_use]
    pub fn spread(&self, system: &System) -> Option<Spread> {
        Spread::of(&system.rounds.iter().filter_map(|round| self.of(round)).collect::<Vec<_>>())
    }

    /// The ratio of two systems within each round that has it of both.
    #[must_use]
    pub fn ratios(&self, upper: &System, lower: &System) -> Vec<f64> {
        let rounds = upper.rounds.iter().zip(&lower.rounds);
        let ratios = rounds.filter_map(|(upper, lower)| Some(self.of(upper)? / self.of(lower)?));
        ratios.filter(|ratio| ratio.is_finite()).collect()
    }

    /// Told by the name: latencies, processor time, memory and bytes are better when they are less, and whatever comes per
    /// second when it is more. `None` for anything else, as for how busy the processors are in a load without a schedule.
    #[must_use]
    pub fn better(&self) -> Option<Better> {
        let Self::Value(name) = self else { return Some(Better::Less) };
        let is_a_rate = name.contains("_per_") && name.ends_with("_s");
        let is_a_cost = name.starts_with("cpu_") || self.is_a_size();
        match (is_a_rate, is_a_cost) {
            (true, false) => Some(Better::More),
            (false, true) => Some(Better::Less),
            _ => None,
        }
    }

    /// Whether it is bytes, as of memory or of a network: what does not hang on how fast a machine is.
    #[must_use]
    pub fn is_a_size(&self) -> bool {
        matches!(self, Self::Value(name) if name.split('_').any(|word| word == "bytes" || word == "memory"))
    }

    /// As in a table's head: `p99`, `acked/s`, `memory peak`.
    #[must_use]
    pub fn head(&self) -> String {
        let name = match self {
            Self::Latency(_, quantile) => return quantile.name().to_owned(),
            Self::Value(name) => name,
        };
        let (what, per) = name.split_once("_per_").map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        let what = ["_us", "_bytes"].iter().find_map(|unit| what.strip_suffix(unit)).unwrap_or(what);
        per.map_or_else(|| what.to_owned(), |per| format!("{what}/{per}")).replace('_', " ")
    }

    /// With the latency's name: `delivery p99`, `acked/s`.
    #[must_use]
    pub fn whole_name(&self) -> String {
        match self {
            Self::Latency(name, quantile) => format!("{name} {}", quantile.name()),
            Self::Value(_) => self.head(),
        }
    }

    /// How it is written: as a `time` in microseconds, as a `size` in bytes, or as a `number`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency(..) => "time",
            Self::Value(name) if name.split('_').any(|word| word == "us") => "time",
            Self::Value(_) if self.is_a_size() => "size",
            Self::Value(_) => "number",
        }
    }

    /// A unit for values near to this one.
    #[must_use]
    pub fn scale(&self, value: f64) -> Scale {
        match self.kind() {
            "time" => Scale::of_time(value),
            "size" => Scale::of_size(value),
            _ => Scale::NONE,
        }
    }
}

impl Spread {
    /// Over these; `None` without any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let greatest = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median: median(values), least, greatest })
    }

    /// From the least to the greatest.
    #[must_use]
    pub fn width(self) -> f64 {
        self.greatest - self.least
    }

    /// Whether a value may be in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.least <= other.greatest && other.least <= self.greatest
    }

    /// As in `301–330`, in this unit; empty when there is only one value.
    #[must_use]
    pub fn range(self, scale: Scale) -> String {
        if self.width() > 0.0 {
            format!("{}–{}", scale.number(self.least), scale.number(self.greatest))
        } else {
            String::new()
        }
    }
}

/// The latencies that any system has: deliveries first, then acks, the bench's own timer last.
#[must_use]
pub fn latencies(outcome: &Outcome) -> Vec<String> {
    let mut names: Vec<_> = names(outcome, |round| round.latencies.keys()).into_iter().collect();
    let order = |name: &String| match name.as_str() {
        "delivery" => 0,
        "ack" => 1,
        TIMER => 3,
        _ => 2,
    };
    names.sort_by_key(order);
    names
}

/// The single figures that any system has, what comes per second first.
#[must_use]
pub fn values(outcome: &Outcome) -> Vec<Figure> {
    let names = names(outcome, |round| round.values.keys());
    let mut figures: Vec<_> = names.into_iter().map(Figure::Value).collect();
    figures.sort_by_key(|figure| figure.better() != Some(Better::More));
    figures
}

fn names<'a, I: Iterator<Item = &'a String>>(
    outcome: &'a Outcome,
    of: impl Fn(&'a Round) -> I,
) -> BTreeSet<String> {
    outcome.systems.iter().flat_map(|system| &system.rounds).flat_map(of).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Figure {
        Figure::Value(name.to_owned())
    }

    #[test]
    fn the_name_tells_which_way_is_better() {
        for less in ["cpu_us_per_delivery", "memory_peak_bytes", "bytes_per_connection"] {
            assert_eq!(value(less).better(), Some(Better::Less), "{less}");
        }
        for more in ["acked_per_s", "deliveries_per_cpu_s"] {
            assert_eq!(value(more).better(), Some(Better::More), "{more}");
        }
        for unknown in ["cpu", "datagrams_per_delivery", "bytes_per_s"] {
            assert_eq!(value(unknown).better(), None, "{unknown}");
        }
        assert_eq!(Figure::Latency("ack".to_owned(), Quantile::Max).better(), Some(Better::Less));
    }

    #[test]
    fn a_head_is_short() {
        let names =
            ["acked_per_s", "cpu_us_per_delivery", "memory_peak_bytes", "bytes_per_connection", "cpu"];
        let heads = ["acked/s", "cpu/delivery", "memory peak", "bytes/connection", "cpu"];
        assert_eq!(names.map(|name| value(name).head()), heads);
    }

    #[test]
    fn ranges_overlap_where_they_touch() {
        let spread = |least, greatest| Spread { median: least, least, greatest };
        assert!(spread(1.0, 2.0).overlaps(spread(2.0, 3.0)));
        assert!(!spread(1.0, 2.0).overlaps(spread(2.1, 3.0)));
        assert!(spread(1.0, 4.0).overlaps(spread(2.0, 3.0)));
    }
}
