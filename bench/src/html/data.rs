//! What the charts are drawn from: the run without what no chart shows, thinned so that a report stays below
//! 300 KB.
//!
//! - A curve keeps a point when it is 0.05 nines or a fiftieth of all messages away from the one kept before:
//!   at most 20 a decade and 50 besides. Its ends are kept.
//! - A timeline of more than [`TICKS_MAX`] ticks has neighbours joined: counts are added, the p50 is the
//!   median, p99 and max are the greatest.
//! - Numbers in lines have four digits, those that are written beside dots seven, so that they read as in the
//!   tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figures::style;
use crate::figure::{self, Figure, Quantile};
use crate::outcome::{Latency, Outcome, System, Tick, median};

/// Ticks of a round at most.
const TICKS_MAX: usize = 120;

/// All of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Data {
    systems: Vec<Shown>,
    /// Names of latencies in the order in which they are shown.
    latencies: Vec<String>,
    /// Figures by round.
    figures: Vec<Strip>,
    /// Ratios by round.
    ratios: Vec<Strip>,
    /// What `rate` counts.
    rate: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Shown {
    name: String,
    /// The class that gives it its colour and its dashes.
    style: String,
    /// By latency: (nines, microseconds), rising. Nines are -log10(1 - quantile); a maximum has as many as
    /// there were messages.
    curves: BTreeMap<String, Vec<(f64, f64)>>,
    rounds: Vec<Timeline>,
}

/// A figure in all rounds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Strip {
    name: String,
    /// How it is written: `time`, `seconds`, `size` or `number`.
    kind: String,
    /// A list for each system, empty for one that lacks it; a single one for a ratio.
    rounds: Vec<Vec<f64>>,
}

/// A round's ticks by column.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Timeline {
    at: Vec<f64>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    rate: Vec<Option<f64>>,
    memory: Vec<Option<f64>>,
    cpu: Vec<Option<f64>>,
}

impl Data {
    /// Of a run.
    pub(super) fn of(outcome: &Outcome) -> Self {
        let mut ticks =
            outcome.systems.iter().flat_map(|system| &system.rounds).flat_map(|round| &round.timeline);
        let is_read = ticks.any(|tick| tick.delivered > 0);
        let shown = |(i, system): (usize, &System)| Shown {
            name: system.name.clone(),
            style: style(outcome, i),
            curves: system.merged.iter().map(|(name, latency)| (name.clone(), curve(latency))).collect(),
            rounds: system.rounds.iter().map(|round| timeline(&round.timeline, is_read)).collect(),
        };
        let ratios = outcome.ratios.iter().map(|ratio| Strip {
            name: if ratio.doubt.is_some() {
                format!("{} (doubtful)", ratio.what)
            } else {
                ratio.what.clone()
            },
            kind: "number".to_owned(),
            rounds: vec![ratio.rounds.iter().copied().map(exact).collect()],
        });
        Self {
            systems: outcome.systems.iter().enumerate().map(shown).collect(),
            latencies: figure::latencies(outcome),
            figures: strips(outcome),
            ratios: ratios.collect(),
            rate: if is_read { "deliveries/s" } else { "acks/s" }.to_owned(),
        }
    }
}

fn strips(outcome: &Outcome) -> Vec<Strip> {
    let latencies = figure::latencies_of_systems(outcome);
    let quantiles = [Quantile::P50, Quantile::P99];
    let latencies =
        latencies.flat_map(|name| quantiles.map(|quantile| Figure::Latency(name.clone(), quantile)));
    let strip = |figure: Figure| Strip {
        name: figure.whole_name(),
        kind: figure.kind().to_owned(),
        rounds: outcome
            .systems
            .iter()
            .map(|system| system.rounds.iter().filter_map(|round| figure.of(round)).map(exact).collect())
            .collect(),
    };
    latencies.chain(figure::values(outcome)).map(strip).collect()
}

fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    const NINES: f64 = 0.05;
    const QUANTILE: f64 = 0.02;
    let least = 1.0 / latency.count.max(1) as f64;
    let nines = |quantile: f64| -(1.0 - quantile).max(least).log10();
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut before = f64::NEG_INFINITY;
    for (i, (quantile, us)) in latency.curve.iter().enumerate() {
        let is_far = quantile - before >= QUANTILE || nines(*quantile) - nines(before.max(0.0)) >= NINES;
        if is_far || i + 1 == latency.curve.len() {
            before = *quantile;
            // Three decimals of a nine are finer than a pixel; adding zero makes -0 plain.
            kept.push(((nines(*quantile) * 1e3).round() / 1e3 + 0.0, rounded(*us)));
        }
    }
    kept
}

fn timeline(ticks: &[Tick], is_read: bool) -> Timeline {
    let mut timeline = Timeline::default();
    for ticks in ticks.chunks(ticks.len().div_ceil(TICKS_MAX).max(1)) {
        let length_s: f64 = ticks.iter().map(|tick| tick.length_s).sum();
        let count: u64 = ticks.iter().map(|tick| if is_read { tick.delivered } else { tick.acked }).sum();
        let all = |of: fn(&Tick) -> Option<f64>| ticks.iter().filter_map(of).collect::<Vec<_>>();
        let greatest = |of| all(of).into_iter().max_by(f64::total_cmp).map(rounded);
        let middle = |of| Some(median(&all(of))).filter(|median| median.is_finite()).map(rounded);
        timeline.at.push(rounded(ticks[0].at_s));
        timeline.p50.push(middle(|tick| tick.p50_us));
        timeline.p99.push(greatest(|tick| tick.p99_us));
        timeline.max.push(greatest(|tick| tick.max_us));
        timeline.rate.push((length_s > 0.0).then(|| rounded(count as f64 / length_s)));
        timeline.memory.push(greatest(|tick| tick.memory_bytes.map(|bytes| bytes as f64)));
        timeline.cpu.push(middle(|tick| tick.cpu));
    }
    timeline
}

/// With four digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// With seven digits.
fn exact(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!(
            [1_234_567.0, 1_234.4, 0.012_345_6, -8.0].map(rounded),
            [1_235_000.0, 1_234.0, 0.012_35, -8.0]
        );
        assert_eq!(serde_json::to_string(&rounded(61_534_714.17)).unwrap(), "61530000.0");
    }

    #[test]
    fn a_curve_keeps_its_ends_and_is_never_far_from_what_it_was() {
        let latency = &sample().systems[0].merged["delivery"];
        let points: Vec<_> = (0..100_000).map(|i| (f64::from(i) / 100_000.0, 100.0 + f64::from(i))).collect();
        let long =
            Latency { count: 100_000, curve: [points, vec![(1.0, 2e5)]].concat(), ..Latency::default() };
        for latency in [latency, &long] {
            let thin = curve(latency);
            assert!(thin.len() <= 150, "{}", thin.len());
            assert_eq!(thin[0].1.to_bits(), rounded(latency.curve[0].1).to_bits());
            let (nines, us) = thin[thin.len() - 1];
            assert!((nines - (latency.count as f64).log10()).abs() < 0.001);
            assert_eq!(us.to_bits(), rounded(latency.curve[latency.curve.len() - 1].1).to_bits());
            assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        }
    }

    #[test]
    fn a_long_timeline_is_joined_without_losing_a_peak_or_a_message() {
        let tick = |i: u64| Tick {
            at_s: i as f64,
            length_s: 1.0,
            delivered: 10,
            p50_us: Some(5.0),
            max_us: (i == 777).then_some(9_000.0),
            ..Tick::default()
        };
        let long = timeline(&(0..1_000).map(tick).collect::<Vec<_>>(), true);
        assert!(long.at.len() <= TICKS_MAX);
        assert!(long.rate.iter().all(|rate| *rate == Some(10.0)));
        assert_eq!(long.max.iter().flatten().collect::<Vec<_>>(), [&9_000.0]);
    }
}
