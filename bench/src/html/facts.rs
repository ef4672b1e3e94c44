//! The parts of the page that tell what was measured, on what, and what was found.

use super::escape::text;
use crate::outcome::{Outcome, Role};
use crate::promises::counted;
use crate::table::{around, filesystem, ran_already, spoken_with};
use crate::unit::{Scale, count};

/// The run in a line.
pub(super) fn summary(outcome: &Outcome) -> String {
    let rounds = outcome.systems.iter().map(|system| system.rounds.len()).max().unwrap_or_default();
    let seconds = outcome.systems.iter().flat_map(|system| &system.rounds).map(|round| round.duration_s);
    let seconds = seconds.max_by(f64::total_cmp).unwrap_or_default().round();
    let each = if seconds > 0.0 { format!(" of {seconds} s") } else { String::new() };
    let items = [
        match (outcome.server.ran_at, &outcome.server.version) {
            (Some(at), Some(version)) => format!("quoth {version}, as it tells, at {at}"),
            (Some(at), None) => format!("quoth at {at}"),
            (None, _) => format!("quoth {}", outcome.build.version),
        },
        format!("{rounds} round{}{each}", if rounds == 1 { "" } else { "s" }),
        format!("{}, {} cores", outcome.machine.cpu, outcome.machine.cores),
        outcome.network_name(),
    ];
    items.map(|item| format!("<li>{}</li>", text(&item))).concat()
}

/// What the history checker has counted.
pub(super) fn promises(outcome: &Outcome) -> String {
    let rows = outcome.systems.iter().map(|system| (system, system.check()));
    let rows = rows.map(|(system, check)| {
        let broken = [check.lost, check.duplicate, check.gap, check.reorder, check.altered];
        let cells = broken.map(|broken| {
            let class = if broken > 0 { " class=\"bad\"" } else { "" };
            let is_checked = check.checked + check.acks + broken > 0;
            format!("<td{class}>{}</td>", if is_checked { count(broken) } else { counted(0) })
        });
        let (name, acks, checked) = (text(&system.name), counted(check.acks), counted(check.checked));
        format!("<tr><th scope=\"row\">{name}</th><td>{acks}</td><td>{checked}</td>{}</tr>\n", cells.concat())
    });
    rows.collect()
}

/// Each system, what it speaks, and what an ack of it means.
pub(super) fn systems(outcome: &Outcome) -> String {
    let rows = outcome.systems.iter().map(|system| {
        let role = match system.role {
            Role::Subject => "subject",
            Role::Floor => "floor",
            Role::Rival => "rival",
        };
        let version = system.version.as_deref().unwrap_or_default();
        format!(
            "<tr><th scope=\"row\">{} <span class=\"version\">{}</span></th><td>{role}</td><td>{}</td><td>{}</td></tr>\n",
            text(&system.name),
            text(version),
            text(&spoken_with(outcome, system)),
            text(&system.durability)
        )
    });
    rows.collect()
}

/// The machine, the build and the network.
pub(super) fn setup(outcome: &Outcome) -> String {
    let machine = &outcome.machine;
    let memory = machine.memory_bytes as f64;
    let version = outcome.server.version.clone().unwrap_or_else(|| "unknown".to_owned());
    let server = match ran_already(outcome) {
        Some(told) => format!("{version}; {told}"),
        None => version,
    };
    let facts = [
        ("Processor", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("Memory", Scale::of_size(memory).write(memory)),
        ("Kernel", machine.kernel.clone()),
        ("System", machine.system.clone()),
        ("File system", filesystem(outcome)),
        ("Server", server),
        (
            "Server's file, SHA-256",
            outcome.server.binary_sha256.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("Bench", format!("{}, {}", outcome.build.version, outcome.build.profile)),
        ("Machine's other work", around(outcome).trim_start_matches("machine: ").to_owned()),
        ("Network", outcome.network_text()),
        ("Clients", outcome.transport().told().to_owned()),
        (
            "Profile",
            match outcome.replay_text() {
                Some(replay) => format!("{}; replay of {replay}", outcome.profile_name),
                None => outcome.profile_name.clone(),
            },
        ),
    ];
    facts.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", text(&value))).concat()
}
