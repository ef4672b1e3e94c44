use super::*;
use crate::testing::sample;

/// Changes a latency of a system in all rounds.
fn scale(outcome: &mut Outcome, system: usize, latency: &str, factor: f64) {
    for round in &mut outcome.systems[system].rounds {
        let Some(latency) = round.latencies.get_mut(latency) else { continue };
        latency.p95_us *= factor;
        latency.p50_us *= factor;
        latency.p99_us *= factor;
        latency.p99_9_us *= factor;
        latency.max_us *= factor;
    }
}

fn set(outcome: &mut Outcome, value: &str, rounds: [f64; 5]) {
    for (round, to) in outcome.systems[0].rounds.iter_mut().zip(rounds) {
        round.values.insert(value.to_owned(), to);
    }
}

fn worse(before: &Outcome, after: &Outcome) -> Vec<String> {
    let comparison = compare(before, after, BOUND).unwrap();
    assert_eq!(comparison.exit_code() == 1, comparison.worse().next().is_some() || comparison.broken);
    comparison.worse().map(|line| format!("{} {}", line.system, line.figure.whole_name())).collect()
}

fn verdict_of(before: &Outcome, after: &Outcome, figure: &str) -> Verdict {
    let comparison = compare(before, after, BOUND).unwrap();
    let line =
        comparison.lines.iter().find(|line| line.system == "quoth" && line.figure.whole_name() == figure);
    line.unwrap().verdict
}

fn warns(before: &Outcome, after: &Outcome, of: &str) -> bool {
    let warnings = compare(before, after, BOUND).unwrap().warnings;
    warnings.iter().any(|warning| warning.contains(of))
}

/// Without floors, so that figures are judged as they are.
fn alone() -> Outcome {
    let mut outcome = sample();
    outcome.systems.retain(|system| system.role == Role::Subject);
    outcome
}

#[test]
fn a_run_is_the_same_as_itself() {
    let comparison = compare(&sample(), &sample(), BOUND).unwrap();
    assert_eq!(comparison.exit_code(), 0);
    let wide = Verdict::Undecided { beyond: false };
    let verdicts: Vec<_> = comparison.lines.iter().map(|line| line.verdict).collect();
    assert!(
        verdicts.iter().all(|verdict| [Verdict::Same, Verdict::Told, wide].contains(verdict)),
        "{verdicts:?}"
    );
    let undecided = verdicts.iter().filter(|verdict| **verdict == wide).count();
    let told = format!("{undecided} of the figures are undecided with medians within the bound");
    assert!(
        matches!(&comparison.warnings[..], [warning] if warning.starts_with(&told)),
        "{:?}",
        comparison.warnings
    );
    assert!(comparison.render(80).ends_with("nothing is worse by more than a factor of 1.10\n"));
}

#[test]
fn a_floor_that_was_slower_than_what_stands_on_it_hides_no_slower_server() {
    let mut before = sample();
    before.ratios[0].what = "delivery p50: quoth over (quinn relay + append)".to_owned();
    before.ratios[0].median = 0.43;
    let mut after = sample();
    scale(&mut after, 0, "delivery", 42.0);
    assert_eq!(worse(&before, &after), ["quoth delivery p50", "quoth delivery p95", "quoth delivery p99"]);
    assert!(warns(&before, &after, "before: `delivery p50: quoth over (quinn relay + append)` is 0.430"));
    // Where the floors have become slower as well, it may be the machine.
    scale(&mut after, 1, "delivery", 42.0);
    scale(&mut after, 2, "ack", 42.0);
    let comparison = compare(&before, &after, BOUND).unwrap();
    assert_eq!(verdict_of(&before, &after, "delivery p50"), Verdict::Undecided { beyond: true });
    assert_eq!(comparison.exit_code(), 3);
    let printed = comparison.render(400);
    assert!(
        printed.contains("\nnothing is certainly worse by more than a factor of 1.10; UNDECIDED:"),
        "{printed}"
    );
    let last = printed.split("UNDECIDED").last().unwrap();
    assert!(last.contains("quoth delivery p50, quoth delivery p95"), "{printed}");
}

#[test]
fn a_run_that_starved_is_no_better_for_each_delivery() {
    let (mut before, mut after) = (alone(), alone());
    for (outcome, delivered, cpu_us) in [(&mut before, 4_500.0, 47.0), (&mut after, 1_400.0, 12.0)] {
        set(outcome, "delivered_per_s", [delivered; 5]);
        set(outcome, "cpu_us_per_delivery", [cpu_us; 5]);
        set(outcome, "memory_peak_bytes", [delivered * 1e4; 5]);
    }
    assert_eq!(verdict_of(&before, &after, "cpu/delivery"), Verdict::Starved);
    assert_eq!(verdict_of(&before, &after, "memory peak"), Verdict::Starved);
    assert_eq!(worse(&before, &after), ["quoth delivered/s"]);
    // Nor is the one that got its work done worse for it.
    assert_eq!(verdict_of(&after, &before, "cpu/delivery"), Verdict::Starved);
    assert!(warns(&before, &after, "after: quoth got only 31.1 % of what was due"));
}

#[test]
fn runs_of_different_loads_are_refused() {
    let refused = |change: fn(&mut Outcome)| {
        let mut after = sample();
        change(&mut after);
        compare(&sample(), &after, BOUND).unwrap_err().to_string()
    };
    let told = refused(|o| o.profile["payload"] = 7.into());
    assert!(told.contains("different loads") && told.contains("payload ([40,400]; 7)"), "{told}");
    assert!(refused(|o| o.profile["replay"] = serde_json::json!({ "speed": 5 })).contains("replay (none; "));
    assert!(refused(|o| o.network = Some("lossy".into())).contains("network (loopback; lossy)"));
    let variants = |o: &mut Outcome, members| {
        o.profile["variant"] = serde_json::json!([{ "name": "more", "members": members }]);
    };
    let (mut before, mut after) = (sample(), sample());
    variants(&mut before, 5);
    variants(&mut after, 6);
    assert!(compare(&before, &after, BOUND).unwrap_err().to_string().contains("variant \"more\""));
    assert!(compare(&sample(), &after, BOUND).is_ok(), "one that only one of them has");
}

#[test]
fn a_slower_server_is_worse_in_what_is_judged_alone() {
    let mut after = sample();
    scale(&mut after, 0, "delivery", 1.5);
    assert_eq!(worse(&sample(), &after), ["quoth delivery p50", "quoth delivery p95", "quoth delivery p99"]);
    assert_eq!(verdict_of(&after, &sample(), "delivery p50"), Verdict::Better);
    assert_eq!(verdict_of(&sample(), &after, "delivery max"), Verdict::Told);
    let printed = compare(&sample(), &after, BOUND).unwrap().render(80);
    assert!(
        printed.ends_with("WORSE by more than a factor of 1.10: quoth delivery p50, quoth delivery p95,\n  quoth delivery p99\n"),
        "{printed}"
    );
}

#[test]
fn too_few_rounds_decide_nothing() {
    let cut = |mut outcome: Outcome, rounds| {
        outcome.systems.iter_mut().for_each(|system| system.rounds.truncate(rounds));
        outcome
    };
    let mut slow = sample();
    scale(&mut slow, 0, "delivery", 42.0);
    for (was, is) in [(1, 1), (2, 2), (5, 1), (1, 5)] {
        for after in [&sample(), &slow] {
            let comparison = compare(&cut(sample(), was), &cut(after.clone(), is), BOUND).unwrap();
            assert_eq!((comparison.exit_code(), comparison.worse().count()), (3, 0), "{was} {is}");
            assert_eq!(comparison.too_few, Some((was, is)));
            let told = comparison.conclusion();
            assert!(
                told.starts_with("UNDECIDED: the earlier run has ") && told.ends_with("--rounds 5"),
                "{told}"
            );
            assert_eq!(told.contains("of quoth delivery p50"), after == &slow, "{told}");
            let judged = comparison.lines.iter().filter(|line| line.verdict != Verdict::Told);
            assert!(judged.clone().count() > 5, "something is judged of a server");
            assert!(
                judged.clone().all(|line| matches!(line.verdict, Verdict::Undecided { .. })),
                "{:?}",
                comparison.lines
            );
        }
    }
    assert_eq!(compare(&cut(sample(), 3), &cut(slow.clone(), 3), BOUND).unwrap().exit_code(), 1);
    // A promise is broken by one message.
    let mut broken = cut(sample(), 1);
    broken.systems[0].rounds[0].check.lost = 1;
    let comparison = compare(&cut(sample(), 1), &broken, BOUND).unwrap();
    assert_eq!(comparison.exit_code(), 1);
    assert!(comparison.conclusion().starts_with("FAILED: the later run broke a promise; UNDECIDED: "));
}

#[test]
fn a_floor_that_was_held_up_gives_no_ratio() {
    let held_up = |mut outcome: Outcome| {
        scale(&mut outcome, 2, "ack", 9.0);
        for round in &mut outcome.systems[2].rounds {
            round.values.insert(crate::outcome::doubt::QUIET_P50.to_owned(), 800.0);
        }
        outcome
    };
    // Over such a floor a server twice as slow is far better; as the server itself stands, it is worse.
    let mut after = sample();
    scale(&mut after, 0, "delivery", 2.0);
    scale(&mut after, 2, "ack", 9.0);
    assert_eq!(verdict_of(&sample(), &after, "delivery p50"), Verdict::Better);
    let after = held_up(after);
    assert_eq!(verdict_of(&sample(), &after, "delivery p50"), Verdict::Undecided { beyond: true });
    assert!(warns(&sample(), &after, "after: append was held up"));
}

#[test]
fn what_a_busy_machine_may_have_done_is_no_regression() {
    let busy = |mut outcome: Outcome| {
        outcome.surroundings.others_cpu = Some(1.2);
        outcome
    };
    let mut slow = alone();
    scale(&mut slow, 0, "delivery", 1.5);
    assert_eq!(compare(&alone(), &slow, BOUND).unwrap().exit_code(), 1);
    let comparison = compare(&alone(), &busy(slow.clone()), BOUND).unwrap();
    assert_eq!(
        (comparison.exit_code(), verdict_of(&alone(), &busy(slow.clone()), "delivery p50")),
        (3, Verdict::Busy)
    );
    let told = comparison.conclusion();
    for part in [
        "nothing is certainly worse",
        "UNDECIDED: other programs kept 1.20 of 2 processors busy during the later run, and no floor tells that from the server: quoth \
         delivery p50, quoth delivery p95",
        "; measure on a quiet machine, or both runs with floors",
    ] {
        assert!(told.contains(part), "no {part}: {told}");
    }
    assert!(comparison.render(400).contains("undecided"));
    // A busy machine before makes nothing worse now, and memory hangs on no machine's speed.
    assert_eq!(compare(&busy(alone()), &slow, BOUND).unwrap().exit_code(), 1);
    assert_eq!(verdict_of(&busy(slow.clone()), &alone(), "delivery p50"), Verdict::Busy);
    let mut fat = alone();
    set(&mut fat, "memory_peak_bytes", [9e9; 5]);
    assert_eq!(verdict_of(&alone(), &busy(fat), "memory peak"), Verdict::Worse);
    // What it takes for each message may be less where it has to wait.
    let mut waiting = alone();
    set(&mut waiting, "cpu_us_per_delivery", [1.0; 5]);
    assert_eq!(verdict_of(&alone(), &waiting, "cpu/delivery"), Verdict::Better);
    assert_eq!(verdict_of(&alone(), &busy(waiting), "cpu/delivery"), Verdict::Busy);
    // Rounds that meet are of the busy machine too.
    let mut wide = alone();
    set(&mut wide, "back_s", [1.0, 1.0, 9.0, 9.0, 9.0]);
    let mut quick = alone();
    set(&mut quick, "back_s", [1.0; 5]);
    assert_eq!(compare(&quick, &wide, BOUND).unwrap().exit_code(), 3);
    assert_eq!(compare(&quick, &busy(wide), BOUND).unwrap().exit_code(), 3);
    // The hypervisor is as others are.
    slow.surroundings.steal = Some(0.2);
    assert!(compare(&alone(), &slow, BOUND).unwrap().conclusion().contains("the hypervisor took 20.0 %"));
    // Floors tell a slow server from a slow machine.
    let mut slow = sample();
    scale(&mut slow, 0, "delivery", 42.0);
    assert_eq!(compare(&sample(), &busy(slow), BOUND).unwrap().exit_code(), 1);
}

#[test]
fn the_bound_is_what_is_given() {
    let mut after = alone();
    scale(&mut after, 0, "ack", 1.2);
    assert_eq!(compare(&alone(), &after, 1.15).unwrap().exit_code(), 1);
    assert_eq!(compare(&alone(), &after, 1.25).unwrap().exit_code(), 0);
    assert!(compare(&alone(), &after, 0.9).is_err());
}

#[test]
fn a_slower_machine_is_no_slower_server() {
    let mut after = sample();
    after
        .systems
        .iter_mut()
        .for_each(|system| system.rounds.iter_mut().for_each(|round| round.values.clear()));
    for system in [0, 1, 3, 4] {
        scale(&mut after, system, "delivery", 2.0);
    }
    (0..5).for_each(|system| scale(&mut after, system, "ack", 2.0));
    assert_eq!(worse(&sample(), &after), Vec::<String>::new());
    let comparison = compare(&sample(), &after, BOUND).unwrap();
    assert_eq!(comparison.lines[0].to_floor.as_ref().unwrap().floor, "quinn relay + append");
    // The same change without a floor.
    let mut after = alone();
    scale(&mut after, 0, "delivery", 2.0);
    assert_eq!(worse(&alone(), &after), ["quoth delivery p50", "quoth delivery p95", "quoth delivery p99"]);
}

#[test]
fn a_faster_floor_tells_of_a_server_that_did_not_follow() {
    let mut after = sample();
    scale(&mut after, 1, "delivery", 0.5);
    scale(&mut after, 2, "ack", 0.5);
    let worse = worse(&sample(), &after);
    for figure in ["delivery p50", "delivery p99", "ack p50", "ack p99"] {
        assert!(worse.contains(&format!("quoth {figure}")), "{figure}: {worse:?}");
    }
}

#[test]
fn a_slower_disk_is_no_slower_server() {
    let mut after = sample();
    let disk_us = after.systems[2].rounds[0].latencies["ack"].p50_us;
    scale(&mut after, 2, "ack", 2.0);
    for latency in ["ack", "delivery"] {
        let was_us = after.systems[0].rounds[0].latencies[latency].p50_us;
        scale(&mut after, 0, latency, (was_us + disk_us) / was_us);
    }
    assert_eq!(worse(&sample(), &after), Vec::<String>::new());
    // Without the disk to compare with they are.
    let without = |mut outcome: Outcome| {
        outcome.systems.remove(2);
        outcome
    };
    assert!(worse(&without(sample()), &without(after)).contains(&"quoth ack p50".to_owned()));
}

#[test]
fn seconds_are_judged() {
    let (mut before, mut after) = (alone(), alone());
    set(&mut before, "back_s", [4.0; 5]);
    set(&mut after, "back_s", [6.0; 5]);
    set(&mut after, "clients_cpu", [0.9; 5]);
    assert_eq!(worse(&before, &after), ["quoth back"]);
    let printed = compare(&before, &after, BOUND).unwrap().render(80);
    assert!(printed.contains("told only: ") && printed.contains("4.00 s"), "{printed}");
}

#[test]
fn a_rate_is_worse_when_it_falls_and_a_size_when_it_grows() {
    let mut after = alone();
    set(&mut after, "acked_per_s", [400.0; 5]);
    set(&mut after, "memory_peak_bytes", [1e9; 5]);
    set(&mut after, "cpu", [9.0; 5]);
    assert_eq!(worse(&alone(), &after), ["quoth acked/s", "quoth memory peak"]);
    assert_eq!(verdict_of(&alone(), &after, "cpu"), Verdict::Told);
    set(&mut after, "acked_per_s", [0.0; 5]);
    assert_eq!(verdict_of(&alone(), &after, "acked/s"), Verdict::Worse);
}

#[test]
fn a_size_is_judged_as_it_is_though_a_floor_has_it_too() {
    let mut after = sample();
    for system in &mut after.systems[..2] {
        for round in &mut system.rounds {
            *round.values.get_mut("memory_peak_bytes").unwrap() *= 2.0;
        }
    }
    assert_eq!(worse(&sample(), &after), ["quoth memory peak"]);
}

#[test]
fn rounds_that_meet_leave_it_undecided() {
    let (mut before, mut after) = (alone(), alone());
    set(&mut before, "cpu_us_per_delivery", [10.0, 10.0, 10.0, 11.0, 13.0]);
    set(&mut after, "cpu_us_per_delivery", [9.0, 11.0, 12.0, 12.0, 13.0]);
    assert_eq!(verdict_of(&before, &after, "cpu/delivery"), Verdict::Undecided { beyond: true });
    let comparison = compare(&before, &after, BOUND).unwrap();
    assert_eq!((comparison.exit_code(), comparison.worse().count()), (3, 0));
    assert!(comparison.conclusion().ends_with("so more rounds are needed: quoth cpu/delivery"));
}

#[test]
fn a_broken_promise_is_worse_whatever_the_figures() {
    let mut after = sample();
    after.systems[0].rounds[2].check.duplicate = 1;
    let comparison = compare(&sample(), &after, BOUND).unwrap();
    assert_eq!((comparison.exit_code(), comparison.worse().count()), (1, 0));
    assert!(comparison.render(80).ends_with("FAILED: the later run broke a promise\n"));
    assert_eq!(compare(&after, &sample(), BOUND).unwrap().exit_code(), 0);
    assert!(warns(&after, &sample(), "before: quoth broke a promise"));
}

#[test]
fn documents_of_another_format_or_without_a_common_system_are_refused() {
    let mut other = sample();
    other.format += 1;
    assert!(
        compare(&sample(), &other, BOUND)
            .unwrap_err()
            .to_string()
            .contains(&format!("format {}", FORMAT + 1))
    );
    let mut other = sample();
    other.systems.iter_mut().for_each(|system| system.name.push('x'));
    assert!(compare(&sample(), &other, BOUND).unwrap_err().to_string().contains("no system in common"));
}

#[test]
fn whatever_differs_is_told() {
    let differs = |change: fn(&mut Outcome), of: &str| {
        let mut after = sample();
        change(&mut after);
        let warnings = compare(&sample(), &after, BOUND).unwrap().warnings;
        assert!(warns(&sample(), &after, of), "{of}: {warnings:?}");
    };
    differs(|o| o.machine.cpu = "other".to_owned(), "the processor (AMD EPYC 7R32; other)");
    differs(|o| o.machine.cores = 64, "the number of cores");
    differs(|o| o.machine.filesystem = "xfs".to_owned(), "the file system");
    differs(|o| o.profile_name = "fanout".to_owned(), "the profile's name");
    differs(|o| o.profile["seed"] = 7.into(), "seed (1; 7)");
    differs(
        |o| o.profile["server_settings"] = serde_json::json!(["a.b=1"]),
        "server_settings (none; [\"a.b=1\"])",
    );
    differs(
        |o| o.systems[3].rounds[0].check.lost = 1,
        "after: jetstream broke a promise, which fails no run",
    );
    differs(|o| o.systems[0].durability = "memory".to_owned(), "an ack of quoth means something else");
    differs(
        |o| o.server.ran_at = Some(([127, 0, 0, 1], 4433).into()),
        "the server (started by the bench; at 127.0.0.1:4433)",
    );
    differs(|o| o.systems[1].link = None, "spoke otherwise: QUIC with TLS, BBR; no network");
    differs(|o| drop(o.systems.pop()), "only the earlier run has mosquitto");
    differs(|o| o.build.profile = "debug".to_owned(), "after: this is a debug build");
    let forget = |o: &mut Outcome| {
        o.systems[0].rounds.iter_mut().for_each(|round| drop(round.latencies.remove("ack")));
    };
    differs(forget, "the later run has no ack p50 of quoth");
    let elsewhere = |o: &mut Outcome| {
        o.machine.cores = 64;
        o.systems.retain(|system| system.role != Role::Floor);
    };
    differs(elsewhere, "though the machines differ");
}

#[test]
fn the_table_is_as_it_was_seen_to_be_good() {
    let mut after = sample();
    scale(&mut after, 0, "delivery", 1.5);
    scale(&mut after, 0, "ack", 0.7);
    after.machine.kernel = "Linux 6.12.1".to_owned();
    assert_eq!(
        compare(&sample(), &after, BOUND).unwrap().render(80),
        include_str!("../../golden/compare_80.txt")
    );
}
