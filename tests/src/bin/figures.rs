//! Prints the table of figures: ratios to what the machine can do, taken in one run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use quoth_tests::figures::{FIGURES, Figure, Plan};

/// Measures the server of target/release from the inside, and prints a table of ratios; `quoth bench`
/// measures what clients see.
#[derive(Debug, Parser)]
struct Arguments {
    /// Figures to measure; all if none is named, `before` only with --before.
    #[arg(value_parser = FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>())]
    figures: Vec<String>,
    /// Rounds of each figure; the table shows their median.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one turn, in seconds.
    #[arg(long, default_value_t = 3)]
    turn_s: u64,
    /// Length of the figures `steady`, `memory` and `expire`, in seconds.
    #[arg(long, default_value_t = 60)]
    long_s: u64,
    /// Messages in the folders of the figures `start` and `last`.
    #[arg(long, default_value_t = 10_000_000)]
    stored_messages: u64,
    /// Messages of the figure `catch-up`.
    #[arg(long, default_value_t = 1_000_000)]
    catch_up_messages: u64,
    /// Messages of the figures `backup` and `expire`.
    #[arg(long, default_value_t = 5_000_000)]
    kept_messages: u64,
    /// Conversations of the figure `inbox`.
    #[arg(long, default_value_t = 10_000)]
    inbox_conversations: u64,
    /// Sessions of the figure `sign-ins`.
    #[arg(long, default_value_t = 5_000)]
    sign_ins: u64,
    /// Length of the flood of the figure `flood` and of the quiet before it, in seconds.
    #[arg(long, default_value_t = 30)]
    flood_s: u64,
    /// Length of each attack of the figure `hostile` and of the quiet before two, in seconds.
    #[arg(long, default_value_t = 1)]
    attack_s: u64,
    /// Folder with the programs `quoth` and `quoth-server` of an earlier build, for the figure `before`.
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
    /// Folder on the disk that is measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        rounds: arguments.rounds,
        turn_s: arguments.turn_s,
        long_s: arguments.long_s,
        stored_messages: arguments.stored_messages,
        catch_up_messages: arguments.catch_up_messages,
        kept_messages: arguments.kept_messages,
        inbox_conversations: arguments.inbox_conversations,
        sign_ins: arguments.sign_ins,
        flood_s: arguments.flood_s,
        attack_s: arguments.attack_s,
        before: arguments.before,
        dir: arguments.dir,
    };
    let chosen: Vec<&Figure> = FIGURES
        .iter()
        .filter(|figure| {
            let is_named = arguments.figures.iter().any(|name| name == figure.name);
            is_named || arguments.figures.is_empty() && figure.is_of_all(&plan)
        })
        .collect();
    let mut reports = Vec::new();
    for figure in chosen {
        let what: Vec<&str> = figure.rows.iter().map(|row| row.what).collect();
        println!("{}: {}", figure.name, what.join("; "));
        reports.push((figure, figure.run(&plan)?));
    }
    println!("\n| figure | goal | median | range | rounds | |\n|---|---|---|---|---|---|");
    let mut all_reached = true;
    for (figure, report) in &reports {
        for (i, row) in figure.rows.iter().enumerate() {
            let (value, (least, most)) = (report.median(i), report.range(i));
            let is_reached = row.goal.is_reached(value);
            all_reached &= is_reached;
            println!(
                "| {} | {} | {value:.2} | {least:.2}-{most:.2} | {} | {} |",
                row.what,
                row.goal,
                report.rounds(),
                if is_reached { "reached" } else { "NOT reached" }
            );
        }
    }
    Ok(if all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
