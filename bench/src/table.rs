//! The table at the end of a run, in plain text: every system in one, whether it is the server, a floor or a
//! rival.

use crate::figure::{self, Figure, Quantile, Spread};
use crate::grid::{Cell, Row, grid, plain, wrapped};
use crate::lateness;
use crate::outcome::{Outcome, Role, Surroundings, System};
use crate::promises::{checked, history};
use crate::unit::{self, Scale};
use crate::warning::warnings;

/// The table, in lines of at most so many columns where names allow it; 80 are enough.
#[must_use]
pub fn render(outcome: &Outcome, columns: usize) -> String {
    let mut text = head(outcome, columns);
    text.push('\n');
    text.push_str(&systems(outcome, columns));
    for latency in figure::latencies_of_systems(outcome) {
        let figures = Quantile::ALL.map(|quantile| Figure::Latency(latency.clone(), quantile));
        text.push_str(&block(outcome, &latency, with_heads(&figures), columns));
    }
    text.push_str(&block(outcome, "", with_heads(&figure::values(outcome)), columns));
    text.push_str(&network(outcome).map_or_else(String::new, |told| wrapped(&told, columns, 2)));
    text.push_str(&block(outcome, "the bench's clients", figure::of_clients(outcome), columns));
    text.push_str(&ratios(outcome, columns));
    text.push_str(&checked(outcome, columns));
    text.push('\n');
    if let Some(failure) = &outcome.failure {
        text.push_str(&wrapped(&format!("FAILED: {failure}"), columns, 2));
    }
    text.push_str(&wrapped(&history(outcome), columns, 2));
    text.push_str(&wrapped(&built(outcome), columns, 2));
    text.push_str(&wrapped(&around(outcome), columns, 2));
    if let Some(late) = lateness::told(outcome) {
        text.push_str(&wrapped(&late, columns, 2));
    }
    for warning in warnings(outcome) {
        text.push_str(&wrapped(&format!("warning: {warning}"), columns, 2));
    }
    text
}

fn head(outcome: &Outcome, columns: usize) -> String {
    let machine = &outcome.machine;
    let rounds = outcome.systems.iter().map(|system| system.rounds.len()).max().unwrap_or_default();
    let seconds = outcome.systems.iter().flat_map(|system| &system.rounds).map(|round| round.duration_s);
    let seconds = seconds.max_by(f64::total_cmp).unwrap_or_default();
    let mut text = wrapped(&format!("$ {}", outcome.command_text()), columns, 2);
    text.push_str(&wrapped(&format!("{}: {}", outcome.profile_name, outcome.profile_about), columns, 2));
    let whose = if outcome.server.ran_at.is_some() { "bench" } else { "quoth" };
    text.push_str(&wrapped(
        &format!(
            "{whose} {} ({}) on {}, {} cores, {} memory, {}, {}; {}",
            outcome.build.version,
            outcome.build.profile,
            machine.cpu,
            machine.cores,
            Scale::of_size(machine.memory_bytes as f64).write(machine.memory_bytes as f64),
            filesystem(outcome),
            machine.kernel,
            outcome.network_name(),
        ),
        columns,
        2,
    ));
    if outcome.network.is_some() {
        text.push_str(&wrapped(&format!("network {}", outcome.network_text()), columns, 2));
    }
    if let Some(replay) = outcome.replay_text() {
        text.push_str(&wrapped(&format!("replay of {replay}"), columns, 2));
    }
    if let Some(told) = ran_already(outcome) {
        text.push_str(&wrapped(&told, columns, 2));
    }
    // A load without a length takes as long as it takes.
    let each =
        if seconds > 0.0 { format!(" of {} s", (seconds * 10.0).round() / 10.0) } else { String::new() };
    text.push_str(&match rounds {
        1 => format!("1 round{each}\n"),
        rounds => format!("{rounds} rounds{each}: medians, with the least and the greatest round\n"),
    });
    text
}

/// The file system, and whose it is.
#[must_use]
pub fn filesystem(outcome: &Outcome) -> String {
    let here = &outcome.machine.filesystem;
    match outcome.server.ran_at {
        Some(_) => format!("{here} (here; the server's file system is unknown)"),
        None => here.clone(),
    }
}

/// What is not known of a server that ran already, in a sentence.
#[must_use]
pub fn ran_already(outcome: &Outcome) -> Option<String> {
    let at = outcome.server.ran_at?;
    let file = if outcome.server.binary_sha256.is_some() { "" } else { ", its program's file" };
    Some(format!(
        "the server ran already at {at}: its version and what its ack means are what it tells its clients; unknown: its machine, its \
         file system{file}, its settings and its congestion control"
    ))
}

/// What the columns of an emulated network mean, in a sentence, where there are any.
#[must_use]
pub fn network(outcome: &Outcome) -> Option<String> {
    let rounds = outcome.systems.iter().flat_map(|system| &system.rounds);
    let has = rounds.flat_map(|round| round.values.keys()).any(|name| name.starts_with("network_"));
    has.then(|| {
        "network: lost packets are those that its profile loses on purpose; overrun packets those that this machine was too busy to \
         carry, which the profile does not lose: more than 0 of them call for a lower --rate, fewer members or a machine with more \
         processors; late is how much later than due 99 of 100 packets came out, for the same reason"
            .to_owned()
    })
}

/// What each system is, what it speaks, and what an ack of it means.
fn systems(outcome: &Outcome, columns: usize) -> String {
    let names: Vec<_> = outcome.systems.iter().map(named).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default() + 2;
    let lines = outcome.systems.iter().zip(names).map(|(system, name)| {
        let role = if system.role == Role::Floor { "floor; " } else { "" };
        // The name is put before a paragraph whose first line leaves room for it.
        let text = format!("{role}{}; {}", spoken_with(outcome, system), system.durability);
        let text = wrapped(&text, columns.saturating_sub(width), 0);
        let text = text.trim_end().replace('\n', &format!("\n{:width$}", ""));
        format!("{name:<width$}{text}\n")
    });
    lines.collect()
}

/// The same with the settings that the server was given for the run.
#[must_use]
pub fn spoken_with(outcome: &Outcome, system: &System) -> String {
    let settings = outcome.profile.get("server_settings").and_then(serde_json::Value::as_array);
    let settings = settings.filter(|_| system.role == Role::Subject).into_iter().flatten();
    let settings: String = settings.filter_map(|set| Some(format!(", {}", set.as_str()?))).collect();
    spoken(system) + &settings
}

/// What a system speaks with its clients.
#[must_use]
pub fn spoken(system: &System) -> String {
    system.link.as_ref().map_or_else(|| "no network".to_owned(), |link| link.told())
}

fn named(system: &System) -> String {
    plain(
        &system
            .version
            .as_ref()
            .map_or_else(|| system.name.clone(), |version| format!("{} {version}", system.name)),
    )
}

fn with_heads(figures: &[Figure]) -> Vec<(String, Figure)> {
    figures.iter().map(|figure| (figure.head(), figure.clone())).collect()
}

/// Some figures, each with its head, of all systems that have any of them; nothing where there is none.
fn block<H: AsRef<str>>(outcome: &Outcome, title: &str, figures: Vec<(H, Figure)>, columns: usize) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let heads: Vec<_> = figures.iter().map(|(head, _)| plain(head.as_ref())).collect();
    let rows = outcome.systems.iter().filter_map(|system| {
        let spreads: Vec<_> = figures.iter().map(|(_, figure)| figure.spread(system)).collect();
        spreads.iter().any(Option::is_some).then(|| Row {
            name: plain(&system.name),
            cells: figures.iter().zip(spreads).map(|((_, figure), spread)| cell(figure, spread)).collect(),
        })
    });
    format!("\n{}", grid(&plain(title), &heads, &rows.collect::<Vec<_>>(), columns))
}

fn cell(figure: &Figure, spread: Option<Spread>) -> Cell {
    let Some(spread) = spread else { return Cell { figure: "–".to_owned(), range: String::new() } };
    let scale = figure.scale(spread.median);
    Cell { figure: scale.write(spread.median), range: spread.range(scale) }
}

fn ratios(outcome: &Outcome, columns: usize) -> String {
    if outcome.ratios.is_empty() {
        return String::new();
    }
    let rows = outcome.ratios.iter().map(|ratio| {
        let range = Spread::of(&ratio.rounds).map_or(String::new(), |spread| spread.range(Scale::NONE));
        Row {
            name: plain(&ratio.what),
            cells: vec![
                Cell { figure: unit::number(ratio.median), range },
                Cell { figure: ratio.aim(), range: String::new() },
            ],
        }
    });
    let heads = ["median".to_owned(), "better".to_owned()];
    let grid = grid("ratios within a round", &heads, &rows.collect::<Vec<_>>(), columns);
    let why = not_judged(outcome).map_or_else(String::new, |why| wrapped(&why, columns, 2));
    format!("\n{grid}{why}")
}

/// Why nothing is held to goals, where nothing is.
#[must_use]
pub fn not_judged(outcome: &Outcome) -> Option<String> {
    let why = outcome.ratios.iter().find_map(|ratio| ratio.not_judged.as_ref())?;
    Some(format!("not judged: {why}"))
}

/// What was measured by what, so that it can be found again.
#[must_use]
pub fn built(outcome: &Outcome) -> String {
    const HASH_DIGITS: usize = 16;
    let version = outcome.server.version.as_deref().unwrap_or("of an unknown version");
    // The whole of it is in the document and in the report.
    let hash = |hash: &String| format!(", sha256 {}…", hash.get(..HASH_DIGITS).unwrap_or(hash));
    let hash = outcome.server.binary_sha256.as_ref().map_or_else(String::new, hash);
    let hash = match outcome.server.ran_at {
        Some(_) if hash.is_empty() => " as it tells, its file unknown (--server-pid finds it)".to_owned(),
        Some(_) => format!(" as it tells{hash}"),
        None => hash,
    };
    format!("built: server {version}{hash}; bench {} ({})", outcome.build.version, outcome.build.profile)
}

/// What else the machine did, in a sentence.
#[must_use]
pub fn around(outcome: &Outcome) -> String {
    let Surroundings { load_average_begin, load_average_end, steal, others_cpu } = &outcome.surroundings;
    let told = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), unit::number);
    format!(
        "machine: load average {} before, {} at the end; other programs kept {} processors busy; stolen: {} %",
        told(*load_average_begin),
        told(*load_average_end),
        told(*others_cpu),
        told(steal.map(|steal| steal * 100.0))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    #[test]
    fn the_table_is_as_it_was_seen_to_be_good() {
        assert_eq!(render(&sample(), 80), include_str!("../golden/table_80.txt"));
        assert_eq!(render(&sample(), 120), include_str!("../golden/table_120.txt"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [80, 100, 120, 200] {
            let table = render(&sample(), columns);
            let widest = table.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{widest:?} of {columns}\n{table}");
        }
    }

    #[test]
    fn each_system_is_told_with_its_encryption_and_its_durability() {
        let table = render(&sample(), 200);
        for (name, rest) in [
            ("quoth 0.1.0+9a3e5f5c01de", "QUIC with TLS, BBR; stored: flushed to disk before the ack"),
            ("quinn relay", "floor; QUIC with TLS, BBR; none: nothing is stored"),
            ("append", "floor; no network; stored: fdatasync of each message"),
            (
                "jetstream 2.10.22",
                "NATS over TCP without TLS, CUBIC; sync_interval always: flushed to disk before the ack",
            ),
        ] {
            let is_it = |line: &&str| line.starts_with(name) && !line.contains("EPYC");
            let line = table.lines().find(is_it).unwrap();
            assert_eq!(line[name.len()..].trim_start(), rest);
        }
    }

    #[test]
    fn the_servers_settings_stand_beside_it() {
        let mut outcome = sample();
        outcome.profile["server_settings"] = serde_json::json!(["server.workers=2"]);
        let table = render(&outcome, 200);
        assert!(table.contains("  QUIC with TLS, BBR, server.workers=2; stored: "), "{table}");
        assert!(table.contains("floor; QUIC with TLS, BBR; none"), "{table}");
    }

    #[test]
    fn of_a_server_that_ran_already_only_what_is_known_is_told() {
        let mut outcome = sample();
        let own = render(&outcome, 200);
        assert!(
            own.contains("\nquoth 0.1.0+9a3e5f5c01de (release) on AMD EPYC") && own.contains("sha256 3f9a")
        );
        assert!(!own.contains("unknown"), "{own}");
        outcome.server.ran_at = Some(([10, 0, 0, 7], 4433).into());
        let with_process = render(&outcome, 400);
        assert!(with_process.contains("built: server 0.1.0+9a3e5f5c01de as it tells, sha256 3f9a"));
        outcome.server.binary_sha256 = None;
        let table = render(&outcome, 400);
        for told in [
            "\nbench 0.1.0+9a3e5f5c01de (release) on AMD EPYC",
            "ext4 (here; the server's file system is unknown)",
            "; whatever network leads to 10.0.0.7\n",
            "the server ran already at 10.0.0.7:4433",
            "unknown: its machine, its file system, its program's file, its settings",
            "built: server 0.1.0+9a3e5f5c01de as it tells, its file unknown",
        ] {
            assert!(table.contains(told), "no {told}: {table}");
        }
        assert!(!table.contains("loopback") && !table.contains("sha256"), "{table}");
    }

    #[test]
    fn what_an_emulated_network_did_is_explained_where_there_is_one() {
        let mut outcome = sample();
        assert_eq!(network(&outcome), None);
        for round in &mut outcome.systems[0].rounds {
            round.values.insert("network_overrun_packets".to_owned(), 0.0);
        }
        let table = render(&outcome, 400);
        let told = "overrun packets those that this machine was too busy to carry";
        assert!(table.contains(told) && table.contains("call for a lower --rate"), "{table}");
        assert!(!table.contains("warning"), "{table}");
    }

    #[test]
    fn a_doubtful_ratio_is_marked_where_it_stands() {
        let mut outcome = sample();
        outcome.ratios[0].doubt = Some("it waited".to_owned());
        assert!(render(&outcome, 80).contains("less, doubtful\n"));
    }

    #[test]
    fn a_network_and_a_replay_are_told_with_their_numbers() {
        let mut outcome = sample();
        let head = |outcome: &Outcome| head(outcome, 200);
        assert!(head(&outcome).contains("; loopback\n5 rounds"), "{}", head(&outcome));
        let direction = serde_json::json!({ "delay_ms": 35.0, "jitter_ms": 10.0, "loss_percent": 0.5, "rate_kbit_s": 5_000.0 });
        outcome.network = Some(serde_json::json!({ "name": "mobile", "up": direction, "down": direction }));
        outcome.profile["replay"] =
            serde_json::json!({ "folder": "logs", "speed": 20.0, "conversations": 2, "lines": 31_207 });
        let told = "; mobile\nnetwork mobile: delay 35 ms, jitter 10 ms, loss 0.5 %, rate 5,000 kbit/s\nreplay of 31,207 lines in 2 logs \
                    of logs, 20 times as fast as they were said\n5 rounds";
        assert!(head(&outcome).contains(told), "{}", head(&outcome));
    }

    #[test]
    fn a_single_round_has_no_range() {
        let mut outcome = sample();
        outcome.systems.iter_mut().for_each(|system| system.rounds.truncate(1));
        outcome.ratios.iter_mut().for_each(|ratio| ratio.rounds.truncate(1));
        let table = render(&outcome, 80);
        let has_range =
            table.split('–').rev().skip(1).any(|before| before.ends_with(|c: char| c.is_ascii_digit()));
        assert!(table.contains("1 round of 20 s\n") && !has_range, "{table}");
    }

    #[test]
    fn a_run_that_ended_early_says_where_and_why() {
        let mut outcome = sample();
        let (system, reason) = ("quinn relay".to_owned(), "the relay ended (signal 9)".to_owned());
        outcome.failure = Some(crate::outcome::Failure { round: 3, system, reason });
        let told =
            "FAILED: the relay ended (signal 9) during round 3 of quinn relay, and the run ended there\n";
        assert!(render(&outcome, 200).contains(told));
    }

    #[test]
    fn warnings_end_the_table() {
        let mut outcome = sample();
        outcome.build.profile = "debug".to_owned();
        assert!(render(&outcome, 80).ends_with("warning: this is a debug build; its figures mean nothing\n"));
    }

    #[test]
    fn goals_of_another_load_are_not_judged_and_it_is_told_why() {
        let mut outcome = sample();
        outcome.ratios[0].goal = Some(crate::outcome::Goal::AtMost(1.0));
        assert!(render(&outcome, 200).contains("<= 1: NOT reached") && not_judged(&outcome).is_none());
        outcome.ratios[0].not_judged = Some("--rate changes the load that the goal is for".to_owned());
        let table = render(&outcome, 200);
        assert!(table.contains("<= 1: not judged\n") && !table.contains("reached"), "{table}");
        assert!(table.contains("\nnot judged: --rate changes the load that the goal is for\n"), "{table}");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let mut outcome = sample();
        outcome.systems[0].name = "quo\u{1b}[2Jth".to_owned();
        outcome.ratios[0].what = "a\rb".to_owned();
        let table = render(&outcome, 80);
        assert!(table.chars().all(|character| character == '\n' || !character.is_control()), "{table}");
    }
}
