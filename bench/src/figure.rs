//! A figure of a system: which one it is, what it is over the rounds, and which way it is better.

use std::collections::BTreeSet;

use crate::outcome::{Latency, Outcome, Round, System, median};
use crate::run::APPEND;
use crate::unit::Scale;

/// The latency of the bench's own timer.
pub const TIMER: &str = "timer";

/// From when a message was due until the bench has given it to its connection, without the time in which that
/// took nothing.
pub const PUBLISH: &str = "publish";

/// Single figures that are better one way.
const BETTER: &[(&str, Better)] = &[
    ("acked_per_s", Better::More),
    ("delivered_per_s", Better::More),
    ("deliveries_per_cpu_s", Better::More),
    ("megabytes_per_s", Better::More),
    ("connected_per_s", Better::More),
    ("caught_up_s", Better::Less),
    ("back_s", Better::Less),
    ("restart_s", Better::Less),
    ("cpu_us_per_delivery", Better::Less),
    ("cpu_us_per_ack", Better::Less),
    ("datagrams_per_delivery", Better::Less),
    ("memory_peak_bytes", Better::Less),
    ("memory_grown_bytes", Better::Less),
    ("bytes_per_connection", Better::Less),
];

/// Single figures that are neither better when they are less nor when they are more, and why.
const NEITHER: &[(&str, &str)] = &[
    ("cpu", "whoever gets more done takes more"),
    ("clients_cpu", "it is the bench's own"),
    ("clients_cpu_busiest", "it is the bench's own"),
    ("network_lost_packets", "it is the network's luck"),
    ("network_overrun_packets", "it is the bench's own"),
    ("network_late_p99_us", "it is the bench's own"),
];

/// Which part of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// Half are at most this.
    P50,
    /// 95 of 100.
    P95,
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
    pub const ALL: [Self; 5] = [Self::P50, Self::P95, Self::P99, Self::P99_9, Self::Max];

    /// As in a table's head.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P99_9 => "p99.9",
            Self::Max => "max",
        }
    }

    /// Whether a few messages decide it.
    #[must_use]
    pub fn is_luck(self) -> bool {
        matches!(self, Self::P99_9 | Self::Max)
    }

    /// What it is, in microseconds.
    #[must_use]
    pub fn of(self, latency: &Latency) -> f64 {
        match self {
            Self::P50 => latency.p50_us,
            Self::P95 => latency.p95_us,
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

    /// In how many of a system's rounds it is.
    #[must_use]
    pub fn rounds(&self, system: &System) -> usize {
        system.rounds.iter().filter(|round| self.of(round).is_some()).count()
    }

    /// The figure of a floor that stands for this one: the disk delivers nothing, and a delivery waits for
    /// what its ack does.
    #[must_use]
    pub fn on(&self, floor: &System) -> Self {
        match self {
            Self::Latency(name, quantile) if floor.name == APPEND && name == "delivery" => {
                Self::Latency("ack".to_owned(), *quantile)
            }
            _ => self.clone(),
        }
    }

    /// What the floors are together that a system stands on: latencies add up, since a message goes through
    /// one behind the other, and the slowest limits a rate. In each round that has it of all of them.
    #[must_use]
    pub fn together(&self, floors: &[&System]) -> Vec<Option<f64>> {
        let rounds = floors.iter().map(|floor| floor.rounds.len()).min().unwrap_or_default();
        let of_round = |i: usize| {
            let values: Vec<f64> =
                floors.iter().map(|floor| self.on(floor).of(&floor.rounds[i])).collect::<Option<_>>()?;
            match self {
                Self::Latency(..) => Some(values.iter().sum()),
                Self::Value(_) => values.into_iter().min_by(f64::total_cmp),
            }
        };
        (0..rounds).map(of_round).collect()
    }

    /// The ratio of two systems within each round that has it of both.
    #[must_use]
    pub fn ratios(&self, upper: &System, lower: &System) -> Vec<f64> {
        let rounds = upper.rounds.iter().zip(&lower.rounds);
        let ratios = rounds.filter_map(|(upper, lower)| Some(self.of(upper)? / self.of(lower)?));
        ratios.filter(|ratio| ratio.is_finite()).collect()
    }

    /// Which way it is better: less of a latency of the system. `None` for what is only told, as how busy the
    /// processors are, and for what is about the bench itself.
    #[must_use]
    pub fn better(&self) -> Option<Better> {
        match self {
            Self::Latency(name, _) => (!is_the_benchs_own(name)).then_some(Better::Less),
            Self::Value(name) => BETTER.iter().find(|(known, _)| known == name).map(|(_, better)| *better),
        }
    }

    /// Why it is only told, where it is better neither way.
    #[must_use]
    pub fn why_told(&self) -> Option<&'static str> {
        match self {
            Self::Latency(name, _) => is_the_benchs_own(name).then_some("it is the bench's own"),
            Self::Value(name) => NEITHER.iter().find(|(known, _)| known == name).map(|(_, why)| *why),
        }
    }

    /// Whether it is bytes, as of memory or of a network.
    #[must_use]
    pub fn is_a_size(&self) -> bool {
        matches!(self, Self::Value(name) if name.split('_').any(|word| word == "bytes" || word == "memory"))
    }

    /// Whether it is what a server took, and not what it got done: of another load it is another.
    #[must_use]
    pub fn is_for_each(&self) -> bool {
        matches!(self, Self::Value(name) if name.contains("cpu") || name.contains("datagrams") || name.contains("memory"))
    }

    /// Whether it hangs on how fast a machine is.
    #[must_use]
    pub fn is_of_the_machine(&self) -> bool {
        !self.is_a_size() && !matches!(self, Self::Value(name) if name == "datagrams_per_delivery")
    }

    /// As in a table's head: `p99`, `acked/s`, `memory peak`.
    #[must_use]
    pub fn head(&self) -> String {
        let name = match self {
            Self::Latency(_, quantile) => return quantile.name().to_owned(),
            Self::Value(name) => name,
        };
        let (what, per) = name.split_once("_per_").map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        if per.is_none() && self.kind() == "seconds" {
            return what.trim_end_matches("_s").replace('_', " ");
        }
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

    /// How it is written: as a `time` in microseconds, as `seconds`, as a `size` in bytes, or as a `number`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency(..) => "time",
            Self::Value(name) if name.split('_').any(|word| word == "us") => "time",
            Self::Value(_) if self.is_a_size() => "size",
            Self::Value(name) if name.ends_with("_s") && !name.contains("_per_") => "seconds",
            Self::Value(_) => "number",
        }
    }

    /// A unit for values near to this one.
    #[must_use]
    pub fn scale(&self, value: f64) -> Scale {
        match self.kind() {
            "time" => Scale::of_time(value),
            "size" => Scale::of_size(value),
            "seconds" => Scale::SECONDS,
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

/// Whether a latency is not a system's.
#[must_use]
pub fn is_the_benchs_own(latency: &str) -> bool {
    matches!(latency, TIMER | PUBLISH)
}

/// The latencies that any system has: deliveries first, then acks, the bench's own last.
#[must_use]
pub fn latencies(outcome: &Outcome) -> Vec<String> {
    let mut names: Vec<_> = names(outcome, |round| round.latencies.keys()).into_iter().collect();
    let order = |name: &String| match name.as_str() {
        "delivery" => 0,
        "ack" => 1,
        PUBLISH => 3,
        TIMER => 4,
        _ => 2,
    };
    names.sort_by_key(order);
    names
}

/// The systems' latencies alone.
pub fn latencies_of_systems(outcome: &Outcome) -> impl Iterator<Item = String> {
    latencies(outcome).into_iter().filter(|name| !is_the_benchs_own(name))
}

/// The single figures that any system has, what comes per second first.
#[must_use]
pub fn values(outcome: &Outcome) -> Vec<Figure> {
    let names = names(outcome, |round| round.values.keys());
    // What the bench's clients took has a place of its own; a quiet probe is there to doubt a floor by.
    let names =
        names.into_iter().filter(|name| !["clients_", "quiet_"].iter().any(|own| name.starts_with(own)));
    let mut figures: Vec<_> = names.map(Figure::Value).collect();
    figures.sort_by_key(|figure| figure.better() != Some(Better::More));
    figures
}

/// What the bench's own clients took and how late they were, each with its head in a table; those that any
/// system has.
#[must_use]
pub fn of_clients(outcome: &Outcome) -> Vec<(&'static str, Figure)> {
    let publish = |quantile| Figure::Latency(PUBLISH.to_owned(), quantile);
    let value = |name: &str| Figure::Value(name.to_owned());
    let mut figures = vec![
        ("cpu", value("clients_cpu")),
        ("busiest thread", value("clients_cpu_busiest")),
        ("late p50", publish(Quantile::P50)),
        ("late p99", publish(Quantile::P99)),
    ];
    figures.retain(|(_, figure)| outcome.systems.iter().any(|system| figure.spread(system).is_some()));
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
    fn a_figure_is_better_one_way_or_it_is_told_why_not() {
        assert_eq!(value("memory_peak_bytes").better(), Some(Better::Less));
        assert_eq!(value("acked_per_s").better(), Some(Better::More));
        assert_eq!((value("cpu").better(), value("cpu").why_told().is_some()), (None, true));
        assert_eq!(Figure::Latency("ack".to_owned(), Quantile::Max).better(), Some(Better::Less));
        assert_eq!(Figure::Latency(PUBLISH.to_owned(), Quantile::Max).better(), None);
        for (name, _) in BETTER {
            assert_eq!(value(name).why_told(), None, "{name}");
        }
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
