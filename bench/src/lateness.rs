//! How late the bench itself was. A latency counts from when a message was due, so each is too great by as much as the bench was late to
//! publish it. Like is compared with like: half of the messages suffer the p50 of the lateness at most, 99 of 100 its p99.

use crate::figure::{Figure, PUBLISH, Quantile};
use crate::outcome::{Outcome, System};
use crate::unit::number;

/// From which part of a measured percentile on the lateness matters: then the figure is the bench's more than the system's. Below it
/// the lateness is told and nothing more, since no machine's timer rings on time.
const MATTERS_FROM: f64 = 0.5;

/// The lateness of the bench beside a percentile of a system.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) quantile: Quantile,
    /// The latency that it is a part of: `delivery`, or `ack` where nobody reads.
    pub(crate) latency: &'static str,
    pub(crate) late_us: f64,
    pub(crate) measured_us: f64,
}

impl Late {
    /// Where it is the greatest part of what was measured: of the p50, the p95 and the p99, since a few messages decide the rest. `None`
    /// where nothing was due.
    pub(crate) fn worst(system: &System) -> Option<Self> {
        let latency =
            ["delivery", "ack"].into_iter().find(|name| median(system, name, Quantile::P50).is_some())?;
        let of = |quantile| {
            let (late_us, measured_us) =
                (median(system, PUBLISH, quantile)?, median(system, latency, quantile)?);
            (measured_us > 0.0).then_some(Self { quantile, latency, late_us, measured_us })
        };
        let all = [Quantile::P50, Quantile::P95, Quantile::P99].into_iter().filter_map(of);
        all.max_by(|a, b| a.part().total_cmp(&b.part()))
    }

    /// Which part it is of what was measured.
    fn part(&self) -> f64 {
        self.late_us / self.measured_us
    }

    /// Whether the figure is the bench's more than the system's.
    pub(crate) fn matters(&self) -> bool {
        self.part() > MATTERS_FROM
    }
}

/// How much of what was measured is lateness, in a sentence; `None` of a load in which nothing is due.
pub(crate) fn told(outcome: &Outcome) -> Option<String> {
    let of = |system: &System| {
        let late = Late::worst(system)?;
        let percent = number(late.part() * 100.0);
        Some(format!("{percent} % of {}'s {}", system.name, late.quantile.name()))
    };
    let parts: Vec<String> = outcome.systems.iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| format!("late: a part of each latency, at most {}", parts.join(", ")))
}

fn median(system: &System, latency: &str, quantile: Quantile) -> Option<f64> {
    Some(Figure::Latency(latency.to_owned(), quantile).spread(system)?.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn lateness_is_told_of_each_system_as_a_part_of_what_was_measured() {
        let mut outcome = sample();
        outcome.systems.truncate(3);
        for system in &mut outcome.systems {
            for round in &mut system.rounds {
                let Some(delivery) = round.latencies.get("delivery").cloned() else { continue };
                let late = round.latencies.get_mut(PUBLISH).expect("it published");
                (late.p50_us, late.p95_us, late.p99_us) =
                    (delivery.p50_us * 0.01, delivery.p95_us * 0.12, delivery.p99_us * 0.1);
            }
        }
        // The disk publishes nothing.
        assert_eq!(
            told(&outcome).expect("it published"),
            "late: a part of each latency, at most 12.0 % of quoth's p95, 12.0 % of quinn relay's p95"
        );
        outcome.systems.retain(|system| system.name == "append");
        assert_eq!(told(&outcome), None);
    }
}
