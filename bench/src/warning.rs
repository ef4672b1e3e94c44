//! What weakens the figures of a run, in a sentence each.

use crate::figure::Figure;
use crate::lateness::Late;
use crate::outcome::{Outcome, Ratio, Round, Surroundings, System};
use crate::unit::{Scale, number};

/// How much of a processor one of its threads may take.
const BUSY_MAX: f64 = 0.9;

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
    warnings.extend(surroundings(outcome));
    warnings.extend(outcome.ratios.iter().filter(|ratio| ratio.is_below_its_floor()).map(slow_floor));
    warnings.extend(outcome.systems.iter().filter_map(starved));
    warnings.extend(outcome.systems.iter().filter_map(lateness));
    warnings.extend(outcome.systems.iter().filter_map(busy));
    warnings.extend(outcome.systems.iter().filter_map(overrun));
    warnings
}

/// Whoever else works takes from what is measured. Above what a desktop or a quiet server does by the way.
fn surroundings(outcome: &Outcome) -> Vec<String> {
    /// Of all processors together.
    const OTHERS_MAX: f64 = 0.1;
    const STEAL_MAX: f64 = 0.02;
    let Surroundings { load_average_begin, load_average_end, steal, others_cpu } = &outcome.surroundings;
    let average = |average: &Option<f64>| average.map_or_else(|| "–".to_owned(), number);
    let mut told = Vec::new();
    if let Some(others) =
        others_cpu.filter(|others| *others > OTHERS_MAX * outcome.machine.cores.max(1) as f64)
    {
        told.push(format!(
            "other programs kept {} of {} processors busy during the run (load average {} before it, {} at its end): they took from \
             what was measured; a run on a quiet machine is needed",
            number(others),
            outcome.machine.cores,
            average(load_average_begin),
            average(load_average_end),
        ));
    }
    if let Some(steal) = steal.filter(|steal| *steal > STEAL_MAX) {
        told.push(format!(
            "the hypervisor gave {} % of the processors' time to other machines during the run: what was measured had less than \
             this machine has",
            number(steal * 100.0)
        ));
    }
    told
}

/// A run that did much less than was due is of another load.
fn starved(system: &System) -> Option<String> {
    let done = system.done().filter(|_| system.is_starved())?;
    Some(format!(
        "{} got only {} % of what was due done in time: what it took for each message is of another load",
        system.name,
        number(done * 100.0)
    ))
}

/// A server is not faster than its parts.
fn slow_floor(ratio: &Ratio) -> String {
    format!(
        "`{}` is {}: the floor was slower than what stands on it, so the machine was disturbed while it was measured; nothing is \
         judged by it, and a run on a quiet machine is needed",
        ratio.what,
        number(ratio.median)
    )
}

/// A figure that is the bench's own lateness more than anything else tells of the bench.
fn lateness(system: &System) -> Option<String> {
    let Late { quantile, latency, late_us, measured_us } = Late::worst(system).filter(Late::matters)?;
    Some(format!(
        "messages went out late while {} was measured, by more than half of its {latency} {}: {} of {}. The bench's timer or clients \
         were busy or the system took no more, and the figure tells of that more than of the system",
        system.name,
        quantile.name(),
        Scale::of_time(late_us).write(late_us),
        Scale::of_time(measured_us).write(measured_us),
    ))
}

/// Clients that have no time are late with all that they do, and in a closed loop they are what limits it.
fn busy(system: &System) -> Option<String> {
    let share = Figure::Value("clients_cpu_busiest".to_owned()).spread(system)?.median;
    (share > BUSY_MAX).then(|| {
        format!(
            "the bench's clients took all of a processor while {} was measured ({} of it): it may have been them that was measured; \
             --client-threads gives them more",
            system.name,
            number(share)
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::PUBLISH;
    use crate::outcome::Latency;
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
    fn whoever_else_works_is_told() {
        let mut outcome = sample();
        outcome.surroundings.others_cpu = Some(0.19);
        outcome.surroundings.steal = Some(0.019);
        assert_eq!(warnings(&outcome), Vec::<String>::new());
        outcome.surroundings.others_cpu = Some(1.2);
        assert!(
            only(&outcome)
                .contains("kept 1.20 of 2 processors busy during the run (load average 0.120 before")
        );
        outcome.surroundings.others_cpu = None;
        outcome.surroundings.steal = Some(0.13);
        assert!(only(&outcome).contains("gave 13.0 % of the processors' time"));
    }

    #[test]
    fn a_run_that_did_not_do_what_was_due_is_told() {
        let mut outcome = sample();
        for round in &mut outcome.systems[0].rounds {
            round.values.insert("delivered_per_s".to_owned(), 4_500.0 * 0.4);
        }
        assert!(only(&outcome).contains("quoth got only 40.0 % of what was due"));
        for round in &mut outcome.systems[0].rounds {
            round.values.insert("delivered_per_s".to_owned(), 4_500.0);
            round.values.remove("acked_per_s");
        }
        assert!(only(&outcome).contains("quoth got only 0 % of what was due"));
    }

    #[test]
    fn a_floor_that_was_slower_than_what_stands_on_it_is_told() {
        let mut outcome = sample();
        outcome.ratios[0].what = "delivery p50: quoth over (quinn relay + append)".to_owned();
        outcome.ratios[0].median = 0.43;
        assert!(
            only(&outcome).contains("`delivery p50: quoth over (quinn relay + append)` is 0.430: the floor")
        );
    }

    #[test]
    fn lateness_is_warned_about_where_it_is_most_of_a_figure_and_not_before() {
        let mut outcome = sample();
        let late = |outcome: &mut Outcome, part: f64, of: fn(&mut Latency) -> &mut f64| {
            for round in &mut outcome.systems[0].rounds {
                let delivery = *of(round.latencies.get_mut("delivery").unwrap());
                *of(round.latencies.get_mut(PUBLISH).unwrap()) = delivery * part;
            }
        };
        late(&mut outcome, 0.49, |latency| &mut latency.p99_us);
        late(&mut outcome, 0.49, |latency| &mut latency.p50_us);
        assert_eq!(
            warnings(&outcome),
            Vec::<String>::new(),
            "as on any machine that does something else as well"
        );
        late(&mut outcome, 0.51, |latency| &mut latency.p99_us);
        let told = only(&outcome);
        assert!(told.contains("while quoth was measured, by more than half of its delivery p99: "), "{told}");
        late(&mut outcome, 0.6, |latency| &mut latency.p50_us);
        assert!(only(&outcome).contains("half of its delivery p50: "), "the worst of them");
    }

    #[test]
    fn clients_without_time_are_told() {
        let mut outcome = sample();
        for round in &mut outcome.systems[1].rounds {
            round.values.insert("clients_cpu_busiest".to_owned(), 0.93);
        }
        let told = only(&outcome);
        assert!(told.contains("while quinn relay was measured (0.930 of it)"), "{told}");
    }
}
