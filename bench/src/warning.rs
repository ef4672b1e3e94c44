//! What weakens the figures of a run, in a sentence each.

use crate::figure::{Figure, Quantile};
use crate::lateness::Late;
use crate::outcome::{Link, Outcome, Ratio, Role, Round, Surroundings, System};
use crate::standstill;
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
        let whose = if outcome.server.ran_at.is_some() {
            "what the bench itself stores (not the server, whose disk is unknown)"
        } else {
            "the data"
        };
        warnings.push(format!(
            "{whose} is on {}, which is memory: figures of durable messages mean nothing",
            outcome.machine.filesystem
        ));
    }
    warnings.extend(elsewhere(outcome));
    warnings.extend(surroundings(outcome));
    let slow = outcome.ratios.iter().filter(|ratio| ratio.is_below_its_floor());
    warnings.extend(slow.map(|ratio| slow_floor(outcome, ratio)));
    warnings.extend(outcome.systems.iter().filter_map(held_up));
    warnings.extend(outcome.systems.iter().filter_map(|system| standstill::told(outcome, system)));
    warnings.extend(outcome.systems.iter().filter_map(starved));
    warnings.extend(outcome.systems.iter().filter_map(lateness));
    warnings.extend(outcome.systems.iter().filter_map(busy));
    warnings.extend(outcome.systems.iter().filter_map(overrun));
    warnings
}

/// Whoever else works takes from what is measured.
fn surroundings(outcome: &Outcome) -> Vec<String> {
    let Surroundings { load_average_begin, load_average_end, .. } = &outcome.surroundings;
    let average = |average: &Option<f64>| average.map_or_else(|| "–".to_owned(), number);
    let mut told = Vec::new();
    if let Some(others) = outcome.surroundings.crowded_by(outcome.machine.cores) {
        told.push(format!(
            "other programs kept {} of {} processors busy during the run (load average {} before it, {} at its end): they took from \
             what was measured; a run on a quiet machine is needed",
            number(others),
            outcome.machine.cores,
            average(load_average_begin),
            average(load_average_end),
        ));
    }
    if let Some(steal) = outcome.surroundings.robbed_of() {
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

/// A server is not faster than its parts. Over loopback nothing but a disturbed machine makes it so; over an
/// emulated network losses do too, which congestion controls answer differently.
fn slow_floor(outcome: &Outcome, ratio: &Ratio) -> String {
    let disturbed = "the machine was disturbed while the floor was measured";
    // Of the floors the one that is meant.
    let control = |role: Role| {
        let mut systems = outcome.systems.iter().filter(|s| s.role == role && ratio.what.contains(&s.name));
        systems.find_map(|system| Some((system, system.link.as_ref()?)))
    };
    let cause = match (&outcome.network, control(Role::Subject), control(Role::Floor)) {
        (Some(_), Some((subject, of_subject)), Some((floor, of_floor))) if differ(of_subject, of_floor) => {
            format!(
                "{disturbed}, or its congestion control met the network's losses in another way ({}: {}; {}: {})",
                subject.name,
                of_subject.control(),
                floor.name,
                of_floor.control(),
            )
        }
        _ => disturbed.to_owned(),
    };
    format!(
        "`{}` is {}: the floor was slower than what stands on it, so {cause}; the ratio is not judged, and a run on a quiet machine \
         is needed",
        ratio.what,
        number(ratio.median)
    )
}

/// Whether two ends may answer a loss differently.
fn differ(one: &Link, other: &Link) -> bool {
    one.congestion_control.is_none() || one.congestion_control != other.congestion_control
}

/// A figure that is the bench's own lateness more than anything else tells of the bench.
fn lateness(system: &System) -> Option<String> {
    let Late { quantile, latency, late_us, measured_us } = Late::worst(system).filter(Late::matters)?;
    Some(format!(
        "messages went out late while {} was measured, by more than half of its {latency} {}: {} of {}. The bench's timer or clients \
         were busy, and the figure tells of that more than of the system",
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

/// Floors run here, wherever the server does.
fn elsewhere(outcome: &Outcome) -> Option<String> {
    let at = outcome.server.ran_at.filter(|at| !at.ip().is_loopback())?;
    outcome.systems.iter().any(|system| system.role == Role::Floor).then(|| {
        format!(
            "floors ran on this machine, and the server at {at} on one that is not known: ratios to floors compare two machines if \
             that is another; --no-floors leaves them out"
        )
    })
}

/// A floor that waited is none.
fn held_up(system: &System) -> Option<String> {
    let mut doubts: Vec<_> =
        [Quantile::P50, Quantile::P99].into_iter().filter_map(|quantile| system.doubt(quantile)).collect();
    // One that speaks against the p50 speaks against the p99 too.
    doubts.dedup();
    (!doubts.is_empty()).then(|| {
        format!(
            "{} was held up while it was measured, so ratios that stand on it are doubtful: {}; a run on a quiet machine is needed",
            system.name,
            doubts.join("; ")
        )
    })
}

/// Packets that the machine was too busy to carry are not the profile's losses.
fn overrun(system: &System) -> Option<String> {
    let packets = |round: &Round| round.values.get("network_overrun_packets").copied();
    let packets: f64 = system.rounds.iter().filter_map(packets).sum();
    (packets > 0.0).then(|| {
        format!(
            "the emulated network dropped {packets} packets that its profile does not lose while {} was measured, because this \
             machine was too busy to carry them: its figures are of a worse network; a lower --rate, fewer members or a machine with \
             more processors is needed",
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
    fn congestion_control_is_a_cause_where_there_is_a_network_and_it_differs() {
        let told = |network: Option<&str>, relay: Option<&str>| {
            let mut outcome = sample();
            outcome.ratios[0].what = "delivery p50: quoth over (quinn relay + append)".to_owned();
            outcome.ratios[0].median = 0.43;
            outcome.network = network.map(Into::into);
            let link = outcome.systems[1].link.as_mut().expect("a link");
            link.congestion_control = relay.map(str::to_owned);
            only(&outcome)
        };
        let disturbed = "the machine was disturbed while the floor was measured";
        let differs =
            ", or its congestion control met the network's losses in another way (quoth: BBR; quinn relay: ";
        assert!(told(Some("mobile"), Some("cubic")).contains(&format!("{disturbed}{differs}CUBIC)")));
        assert!(told(Some("mobile"), None).contains(&format!("{differs}congestion control unknown)")));
        for (network, relay) in [(None, Some("cubic")), (Some("mobile"), Some("bbr"))] {
            let told = told(network, relay);
            assert!(told.contains(disturbed) && !told.contains("congestion"), "{told}");
        }
    }

    #[test]
    fn a_floor_that_was_held_up_is_told_with_what_stands_on_it() {
        let mut outcome = sample();
        for round in &mut outcome.systems[2].rounds {
            round.values.insert(crate::outcome::doubt::QUIET_P99.to_owned(), 900.0);
        }
        let told = only(&outcome);
        assert!(
            told.starts_with("append was held up") && told.contains("are doubtful: p99 of append"),
            "{told}"
        );
    }

    #[test]
    fn packets_that_the_machine_dropped_are_told_with_what_to_change() {
        let mut outcome = sample();
        outcome.systems[1].rounds[2].values.insert("network_overrun_packets".to_owned(), 12.0);
        let told = only(&outcome);
        assert!(told.contains("dropped 12 packets") && told.contains("while quinn relay"), "{told}");
        assert!(told.contains("a lower --rate"), "{told}");
    }

    #[test]
    fn a_server_elsewhere_has_floors_of_this_machine() {
        let mut outcome = sample();
        outcome.server.ran_at = Some(([127, 0, 0, 1], 4433).into());
        assert_eq!(warnings(&outcome), Vec::<String>::new());
        outcome.machine.filesystem = "tmpfs".to_owned();
        assert!(only(&outcome).contains("not the server, whose disk is unknown"));
        outcome.machine.filesystem = "ext4".to_owned();
        outcome.server.ran_at = Some(([10, 0, 0, 7], 4433).into());
        assert!(only(&outcome).contains("the server at 10.0.0.7:4433 on one that is not known"));
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
