//! What was checked of each system, and what was found, in plain text.

use std::fmt::Write as _;

use crate::grid::{Cell, Row, grid, plain, wrapped};
use crate::outcome::{Check, Outcome, Role, System};
use crate::unit;

/// What a table and a report say of what is counted.
pub const MEANING: &str = "messages: each delivery, or what is read back where nobody reads, by its content, its number and its order, and \
                           that what was acked has come; acks: by their sequence numbers, none left out and none twice; –: not \
                           checked, as acks of rivals, which have no such number";

/// What was checked, system by system; nothing of a load without any of it.
#[must_use]
pub fn checked(outcome: &Outcome, columns: usize) -> String {
    if outcome.systems.iter().all(|system| !is_checked(&system.check())) {
        return String::new();
    }
    let cell = |count| Cell { figure: counted(count), range: String::new() };
    let rows = outcome.systems.iter().map(|system| {
        let check = system.check();
        Row { name: plain(&system.name), cells: vec![cell(check.checked), cell(check.acks)] }
    });
    let heads = ["messages", "acks"].map(str::to_owned);
    let grid = grid("checked", &heads, &rows.collect::<Vec<_>>(), columns);
    format!("\n{grid}{}", wrapped(MEANING, columns, 2))
}

/// How many were checked, or that none was.
#[must_use]
pub fn counted(count: u64) -> String {
    if count > 0 { unit::count(count) } else { "–".to_owned() }
}

fn is_checked(check: &Check) -> bool {
    check.checked + check.acks > 0
}

/// What the history checker has found, in a sentence.
#[must_use]
pub fn history(outcome: &Outcome) -> String {
    let broken = |by_rivals: bool| {
        let systems = outcome.systems.iter().filter(|system| (system.role == Role::Rival) == by_rivals);
        let told: Vec<_> = systems.filter_map(|system| broken(&system.name, &system.check())).collect();
        told.join("; ")
    };
    let (ours, rivals) = (broken(false), broken(true));
    if !ours.is_empty() {
        return format!("FAILED: promises were broken: {ours}");
    }
    let of = |counts: fn(&Check) -> bool| -> String {
        let systems = outcome.systems.iter().filter(|system| counts(&system.check()));
        systems.map(|system: &System| system.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (messages, acks) = (of(|check| check.checked > 0), of(|check| check.acks > 0));
    let parts = [("the messages of", messages), ("the acks of", acks)];
    let parts: Vec<_> = parts.iter().filter(|(_, systems)| !systems.is_empty()).collect();
    let parts: Vec<_> = parts.iter().map(|(what, systems)| format!("{what} {systems}")).collect();
    let kept = if parts.is_empty() {
        "this load has no deliveries to check".to_owned()
    } else {
        format!("{}: nothing lost, duplicated, left out, reordered or altered", parts.join(" and "))
    };
    if rivals.is_empty() { kept } else { format!("{kept}, but by rivals: {rivals}") }
}

fn broken(name: &str, check: &Check) -> Option<String> {
    let counts = [
        (check.lost, "lost"),
        (check.duplicate, "duplicated"),
        (check.gap, "gaps"),
        (check.reorder, "reordered"),
        (check.altered, "altered"),
    ];
    let mut text = String::new();
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "{} {} {what}", if text.is_empty() { "" } else { "," }, unit::count(*count));
    }
    (!check.is_clean()).then(|| format!("{name}:{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn acks_are_not_said_to_be_checked_of_systems_whose_acks_are_not() {
        let outcome = sample();
        let told = history(&outcome);
        let (messages, acks) = told.split_once(" and the acks of ").expect("both");
        assert!(messages.ends_with("quoth, quinn relay, jetstream, mosquitto"), "{told}");
        assert!(acks.starts_with("quoth, quinn relay: nothing lost"), "{told}");
        let table = checked(&outcome, 80);
        let cells = |name: &str| -> Vec<&str> {
            let line = table.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}: {table}")).split_whitespace().collect()
        };
        assert_eq!(cells("quoth"), ["450,000", "50,000"]);
        assert_eq!(cells("append"), ["–", "–"]);
        assert_eq!(cells("jetstream"), ["450,000", "–"]);
    }

    #[test]
    fn a_load_without_deliveries_has_nothing_to_check() {
        let mut outcome = sample();
        for round in outcome.systems.iter_mut().flat_map(|system| &mut system.rounds) {
            round.check = Check::default();
        }
        assert_eq!(checked(&outcome, 80), "");
        assert_eq!(history(&outcome), "this load has no deliveries to check");
    }

    #[test]
    fn a_broken_promise_is_told_with_its_system() {
        let mut outcome = sample();
        outcome.systems[0].rounds[1].check.lost = 2;
        outcome.systems[0].rounds[3].check.lost = 1;
        outcome.systems[1].rounds[0].check.reorder = 1_200;
        let expected = "FAILED: promises were broken: quoth: 3 lost; quinn relay: 1,200 reordered";
        assert_eq!(history(&outcome), expected);
        assert!(crate::table::render(&outcome, 200).contains(expected) && !outcome.is_clean());
    }

    #[test]
    fn what_a_rival_does_is_told_and_no_failure() {
        let mut outcome = sample();
        outcome.systems[4].rounds[0].check.reorder = 1_200;
        let told = history(&outcome);
        assert!(told.ends_with("but by rivals: mosquitto: 1,200 reordered") && outcome.is_clean(), "{told}");
    }
}
