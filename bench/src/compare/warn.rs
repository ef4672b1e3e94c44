//! What makes two runs hard to compare.

use super::load::differing_method;
use super::{Line, Verdict, figures, judged, shared};
use crate::outcome::{Outcome, Role};

/// All warnings, of the runs themselves first.
pub(super) fn warnings(before: &Outcome, after: &Outcome, lines: &[Line]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (which, outcome) in [("before", before), ("after", after)] {
        for system in outcome.systems.iter().filter(|system| !system.check().is_clean()) {
            let follows =
                if system.role == Role::Rival { "which fails no run" } else { "so its run has failed" };
            warnings.push(format!("{which}: {} broke a promise, {follows}", system.name));
        }
        warnings.extend(outcome.failure.iter().map(|failure| format!("{which}: {failure}")));
        warnings
            .extend(crate::warning::warnings(outcome).iter().map(|warning| format!("{which}: {warning}")));
    }
    let differing = differing(before, after);
    if !differing.is_empty() {
        warnings.push(format!("the runs differ in {}", differing.join(", ")));
    }
    let has_machines = before.machine != after.machine;
    if has_machines && lines.iter().any(|line| line.to_floor.is_none() && is_of_the_machine(line)) {
        warnings.push(
            "figures without a floor in both runs are judged as they are, though the machines differ"
                .to_owned(),
        );
    }
    for (was, is) in shared(before, after) {
        if was.durability != is.durability {
            warnings.push(format!(
                "an ack of {} means something else: {}; {}",
                is.name, was.durability, is.durability
            ));
        }
        let gone = figures(before).into_iter().filter(|figure| judged(was, figure).is_some());
        let gone = gone.filter(|figure| figure.spread(was).is_some() && figure.spread(is).is_none());
        warnings.extend(
            gone.map(|figure| format!("the later run has no {} of {}", figure.whole_name(), is.name)),
        );
    }
    for (which, this, other) in [("earlier", before, after), ("later", after, before)] {
        let alone = this.systems.iter().filter(|system| !other.systems.iter().any(|s| s.name == system.name));
        warnings.extend(alone.map(|system| format!("only the {which} run has {}", system.name)));
    }
    for (was, is) in shared(before, after).filter(|(was, is)| was.link != is.link) {
        let told = crate::table::spoken;
        warnings.push(format!("the clients of {} spoke otherwise: {}; {}", is.name, told(was), told(is)));
    }
    let wide = lines.iter().filter(|line| line.verdict == Verdict::Undecided { beyond: false }).count();
    if wide > 0 {
        warnings.push(format!(
            "{wide} of the figures are undecided with medians within the bound: single rounds lie farther from their run's \
             median than that, so a change as great as the bound would not be seen; more rounds tell"
        ));
    }
    warnings
}

/// Whether a line is judged and hangs on how fast the machine is.
fn is_of_the_machine(line: &Line) -> bool {
    line.verdict != Verdict::Told && line.figure.is_of_the_machine()
}

/// What the runs were played on and what was played, where that differs.
fn differing(before: &Outcome, after: &Outcome) -> Vec<String> {
    let (was, is) = (&before.machine, &after.machine);
    let texts = [
        ("the processor", &was.cpu, &is.cpu),
        ("the kernel", &was.kernel, &is.kernel),
        ("the distribution", &was.system, &is.system),
        ("the file system", &was.filesystem, &is.filesystem),
        ("the build", &before.build.profile, &after.build.profile),
        ("the profile's name", &before.profile_name, &after.profile_name),
    ];
    let texts = texts.iter().filter(|(_, was, is)| was != is);
    let whose = |outcome: &Outcome| {
        outcome.server.ran_at.map_or_else(|| "started by the bench".to_owned(), |at| format!("at {at}"))
    };
    let mut differing: Vec<_> = texts.map(|(what, was, is)| format!("{what} ({was}; {is})")).collect();
    if whose(before) != whose(after) {
        differing.push(format!("the server ({}; {})", whose(before), whose(after)));
    }
    for (what, differs) in
        [("the number of cores", was.cores != is.cores), ("memory", was.memory_bytes != is.memory_bytes)]
    {
        if differs {
            differing.push(what.to_owned());
        }
    }
    differing.extend(differing_method(before, after));
    differing
}
