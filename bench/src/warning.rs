//! What weakens the figures of a run, in a sentence each.

use crate::figure::{Figure, Quantile, TIMER};
use crate::outcome::{Outcome, Round, System};
use crate::unit::Scale;

/// How late the bench's timer may be, as a part of what is measured with it.
const LATENESS_MAX: f64 = 0.1;

/// All warnings.
#[must_use]
pub fn warnings(outcome: &Outcome) -> Vec<String> {
    let mut warnings = Vec::new();
    if outcome.build.profile != "release" {
        warnings.push(format!("this is a {} build; its figures mean nothing", outcome.build.profile));
    }
    if matches!(outcome.machine.filesystem.as_str(), "tmpfs" | "ramfs") {
        warnings.push(format!(
            "the data is on {}, which is memory: figures of durable messages mean nothing",
            outcome.machine.filesystem
        ));
    }
    warnings.extend(outcome.systems.iter().filter_map(lateness));
    warnings.extend(outcome.systems.iter().filter_map(overrun));
    warnings
}

/// A latency counts from when a message was due, so each is too great by as much as the timer was late. Like is compared
/// with like: half of the messages suffer the timer's p50 at most, 99 of 100 its p99.
fn lateness(system: &System) -> Option<String> {
    let latency =
        ["delivery", "ack"].into_iter().find(|name| median(system, name, Quantile::P50).is_some())?;
    [Quantile::P50, Quantile::P99].into_iter().find_map(|quantile| {
        let late = median(system, TIMER, quantile)?;
        let measured = median(system, latency, quantile)?;
        (late > measured * LATENESS_MAX).then(|| {
            format!(
                "the bench's own timer was late while {} was measured: its {} is {} beside {} of {latency}",
                system.name,
                quantile.name(),
                Scale::of_time(late).write(late),
                Scale::of_time(measured).write(measured),
            )
        })
    })
}

/// Packets that the machine was too busy to carry are not the profile's losses.
fn overrun(system: &System) -> Option<String> {
    let packets = |round: &Round| round.values.get("network_overrun_packets").copied();
    let packets: f64 = system.rounds.iter().filter_map(packets).sum();
    (packets > 0.0).then(|| {
        format!(
            "the machine was too busy to carry {packets} packets while {} was measured: it was not the profile's network",
            system.name
        )
    })
}

fn median(system: &System, latency: &str, quantile: Quantile) -> Option<f64> {
    Some(Figure::Latency(latency.to_owned(), quantile).spread(system)?.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    fn only(outcome: &Outcome) -> String {
        let warnings = warnings(outcome);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        warnings[0].clone()
    }

    #[test]
    fn a_sound_run_has_none() {
        assert_eq!(warnings(&sample()), Vec::<String>::new());
    }

    #[test]
    fn a_debug_build_and_a_disk_of_memory_are_told() {
        let mut outcome = sample();
        outcome.build.profile = "debug".to_owned();
        assert!(only(&outcome).contains("debug build"));
        let mut outcome = sample();
        outcome.machine.filesystem = "tmpfs".to_owned();
        assert!(only(&outcome).contains("tmpfs"));
    }

    #[test]
    fn a_late_timer_is_told_of_the_system_and_the_quantile() {
        let mut outcome = sample();
        for round in &mut outcome.systems[0].rounds {
            let delivery = round.latencies["delivery"].p99_us;
            round.latencies.get_mut(TIMER).unwrap().p99_us = delivery * 0.11;
        }
        assert!(only(&outcome).contains("while quoth was measured: its p99"), "{}", only(&outcome));
    }
}
