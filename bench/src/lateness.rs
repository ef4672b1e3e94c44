//! How late the bench itself was. A latency counts from when a message was due, so each is too great by as
//! much as the bench was late to publish it. Like is compared with like: half of the messages suffer the p50
//! of the lateness at most, 99 of 100 its p99.

use crate::figure::{Figure, PUBLISH, Quantile};
use crate::outcome::{Outcome, Ratio, System};
use crate::run::APPEND;
use crate::unit::{Scale, number};

/// From which part of a measured percentile on the lateness matters: then the figure is the bench's more than
/// the system's. Below it the lateness is told and nothing more, since no machine's timer rings on time.
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
    /// Where it is the greatest part of what was measured: of the p50, the p95 and the p99, since a few
    /// messages decide the rest. `None` where nothing was due.
    pub(crate) fn worst(system: &System) -> Option<Self> {
        let latency =
            ["delivery", "ack"].into_iter().find(|name| median(system, name, Quantile::P50).is_some())?;
        let of = |quantile| Self::of(system, latency, quantile);
        let all = [Quantile::P50, Quantile::P95, Quantile::P99].into_iter().filter_map(of);
        all.max_by(|a, b| a.part().total_cmp(&b.part()))
    }

    /// Beside this percentile of this latency.
    fn of(system: &System, latency: &'static str, quantile: Quantile) -> Option<Self> {
        let (late_us, measured_us) = (median(system, PUBLISH, quantile)?, median(system, latency, quantile)?);
        (measured_us > 0.0).then_some(Self { quantile, latency, late_us, measured_us })
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

/// Why a ratio of deliveries is doubtful, where what it stands on was the bench's lateness more than anything
/// else: what stands on it was as late, so that the ratio is nearer to 1 than what it is to tell.
pub(crate) fn doubt(outcome: &Outcome, ratio: &Ratio) -> Option<String> {
    let (quantile, systems) = ratio.what.strip_prefix("delivery ")?.split_once(": ")?;
    let quantile = Quantile::ALL.into_iter().find(|known| known.name() == quantile)?;
    let (_, below) = systems.rsplit_once(" over ")?;
    let alone = below.strip_prefix('(').and_then(|floors| floors.strip_suffix(&format!(" + {APPEND})")));
    let named = |name: &str| outcome.systems.iter().find(|system| system.name == name);
    let disk_us = match alone {
        Some(_) => median(named(APPEND)?, "ack", quantile)?,
        None => 0.0,
    };
    let late = Late::of(named(alone.unwrap_or(below))?, "delivery", quantile)?;
    let late = Late { measured_us: late.measured_us + disk_us, ..late };
    late.matters().then(|| {
        let told = |us| Scale::of_time(us).write(us);
        let (late_us, measured_us) = (told(late.late_us), told(late.measured_us));
        format!("{late_us} of {measured_us}, the {} of {below}, are the bench's lateness", quantile.name())
    })
}

/// Whether a percentile of a system's deliveries or acks is the bench's lateness more than anything else.
pub(crate) fn is_most_of(system: &System, figure: &Figure) -> bool {
    let Figure::Latency(name, quantile) = figure else { return false };
    let latency = ["delivery", "ack"].into_iter().find(|known| known == name);
    latency.and_then(|latency| Late::of(system, latency, *quantile)).is_some_and(|late| late.matters())
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

    #[test]
    fn a_ratio_that_stands_on_lateness_is_doubtful() {
        let mut outcome = sample();
        let what = [
            "delivery p50: quoth over quinn relay",
            "delivery p99: quoth over quinn relay",
            "delivery p50: quoth over (quinn relay + append)",
            "delivery p50: jetstream over quoth",
            "acks/s: quoth over quinn relay",
        ];
        let like = outcome.ratios[0].clone();
        outcome.ratios = what.map(|what| Ratio { what: what.to_owned(), ..like.clone() }).to_vec();
        let doubts = |outcome: &Outcome| -> Vec<bool> {
            outcome.ratios.iter().map(|ratio| doubt(outcome, ratio).is_some()).collect()
        };
        assert_eq!(doubts(&outcome), [false; 5]);
        let late = |outcome: &mut Outcome, us: f64| {
            for round in &mut outcome.systems[1].rounds {
                round.latencies.get_mut(PUBLISH).expect("it published").p50_us = us;
            }
        };
        // The relay takes 268 us, and the disk 872 us besides.
        late(&mut outcome, 200.0);
        assert_eq!(doubts(&outcome), [true, false, false, false, false]);
        let told = doubt(&outcome, &outcome.ratios[0]).expect("it is late");
        assert!(
            told.starts_with("200 µs of ")
                && told.ends_with("the p50 of quinn relay, are the bench's lateness"),
            "{told}"
        );
        assert!(is_most_of(&outcome.systems[1], &Figure::Latency("delivery".to_owned(), Quantile::P50)));
        assert!(!is_most_of(&outcome.systems[1], &Figure::Latency("delivery".to_owned(), Quantile::P99)));
        late(&mut outcome, 800.0);
        assert_eq!(doubts(&outcome), [true, false, true, false, false]);
        outcome.mark_doubts();
        let marked: Vec<_> = outcome.ratios.iter().map(|ratio| ratio.doubt.is_some()).collect();
        assert_eq!(marked, doubts(&outcome));
    }
}
