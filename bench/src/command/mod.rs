//! `quoth bench`: from arguments to a run and its output.

mod args;
mod flags;
mod order;
mod output;
mod pace;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub use args::{BenchArgs, Connecting, RunningServer};
use args::{BenchCommand, RunArgs};
pub use flags::WrongUsage;
pub use order::misplaced;

pub use crate::untold::lost;

use crate::compare::compare;
use crate::floor::{self, Program};
use crate::html;
use crate::outcome::Outcome;
use crate::profile::reference::{explained, reference};
use crate::profile::{BUILT_IN, Kind, Profile};
use crate::rival;
use crate::run::{Plan, Replay, Running, Subject, run};
use crate::schedule::Line;
use crate::table;
use crate::target::{Place, QuothOptions};
use crate::unit::counted;
use crate::untold;

/// What the command line's other parts do for this one.
pub struct Around<'a> {
    /// Reads what flags and environment say about connecting, which only a run needs.
    pub connecting: &'a dyn Fn() -> anyhow::Result<Connecting>,
    /// Reads the chat logs in a folder: a list of lines for each log.
    pub logs: fn(&Path) -> anyhow::Result<Vec<Vec<Line>>>,
    /// Writes to standard output what the user has asked for.
    pub print: &'a dyn Fn(&str) -> anyhow::Result<()>,
    /// Tells the user something beside that.
    pub note: &'a dyn Fn(&str),
    /// The signal by which the user has asked to leave, as in `SIGINT`.
    pub stopped_by: &'a (dyn Fn() -> Option<&'static str> + Sync),
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").finish_non_exhaustive()
    }
}

/// Runs a floor in this process, if that is what the arguments ask for. The bench starts such processes, and
/// they end with it, so they listen to no signal and read nothing of the user's.
pub fn run_floor(args: &BenchArgs) -> Option<anyhow::Result<()>> {
    match &args.command {
        Some(BenchCommand::Floor(command)) => Some(floor::run(command)),
        _ => None,
    }
}

/// Runs the command.
///
/// # Errors
/// What went wrong, and what to do.
pub fn execute(args: BenchArgs, around: &Around<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(BenchCommand::Floor(command)) => floor::run(&command)?,
        Some(BenchCommand::Profiles { name, reference }) => {
            (around.print)(&profiles(name.as_deref(), reference)?)?;
        }
        Some(BenchCommand::Compare { before, after, bound }) => {
            let comparison = compare(&read(&before)?, &read(&after)?, bound).map_err(wrong)?;
            (around.print)(&comparison.render(columns()))?;
            return Ok(comparison.exit_code().into());
        }
        Some(BenchCommand::Report { found, html }) => {
            let outcome = read(&found)?;
            if output::are_one(&found, &html) {
                let alike = "the report would overwrite the run that it is made of: name another file";
                return Err(wrong(anyhow::anyhow!(alike)));
            }
            output::check(&html).map_err(wrong)?;
            output::write(&html, &html::render(&outcome))?;
        }
        Some(BenchCommand::Versus { against, run }) => {
            let all = || ["nats-core", "jetstream", "mosquitto"].into_iter().filter_map(rival::Kind::named);
            if rival::Kind::ALL.is_empty() {
                return Err(wrong(anyhow::anyhow!(
                    "this build has no rivals: build it with `--features rivals`"
                )));
            }
            let rivals = if against.is_empty() { all().collect() } else { against };
            return measure(*run, rivals, around);
        }
        None => return measure(args.run, Vec::new(), around),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is told of the profiles: a list, one of them, or all keys with what they are.
fn profiles(name: Option<&str>, explains: bool) -> anyhow::Result<String> {
    let Some(name) = name else {
        if explains {
            return reference();
        }
        let width = BUILT_IN.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
        let line = |(name, _): &(&str, &str)| Ok(format!("{name:<width$}{}\n", Profile::find(name)?.about));
        return BUILT_IN.iter().map(line).collect();
    };
    let text = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let unknown =
        || anyhow::anyhow!("there is no built-in profile `{name}`; `quoth bench profiles` lists them");
    let text = text.ok_or_else(|| wrong(unknown()))?;
    if explains { explained(&Profile::parse(&text)?) } else { Ok(text) }
}

/// What was asked for cannot be; nothing was tried.
fn wrong(error: anyhow::Error) -> anyhow::Error {
    WrongUsage::of(&error).into()
}

fn measure(args: RunArgs, rivals: Vec<rival::Kind>, around: &Around<'_>) -> anyhow::Result<ExitCode> {
    let (json, html) = (args.json.clone(), args.html.clone());
    if let (Some(json), Some(html)) = (&json, &html)
        && output::are_one(json, html)
    {
        let alike = "--json and --html name the same file: the report would overwrite the outcome";
        return Err(wrong(anyhow::anyhow!(alike)));
    }
    for path in json.iter().chain(&html) {
        output::check(path).map_err(wrong)?;
    }
    let plan = plan(args, rivals, around);
    let plan = plan.and_then(|plan| crate::run::check(&plan).map(|()| plan).map_err(wrong));
    if let (Err(_), Some(signal)) = (&plan, (around.stopped_by)()) {
        (around.note)(&stopped(signal, None, None));
    }
    let plan = plan?;
    let profile = &plan.profile;
    let length_s =
        matches!(profile.kind, Kind::Open | Kind::Closed).then_some(profile.warm_up_s + profile.duration_s);
    let table = "the table".to_owned();
    let files = [&json, &html].into_iter().flatten().map(|path| path.display().to_string());
    [table.clone()].into_iter().chain(files).for_each(untold::is_to_tell);
    let outcome = run(&plan, &watch::Line::new(length_s, around.stopped_by));
    if let Some(signal) = (around.stopped_by)() {
        (around.note)(&stopped(signal, outcome.as_ref().ok(), json.as_deref()));
    }
    let outcome = outcome?;
    // First, so that a file that cannot be written costs nobody the figures; and nobody may be there to read
    // it.
    let printed = (around.print)(&table::render(&outcome, columns()));
    untold::has_told(&table);
    // Each for itself: one that cannot be written takes no other with it.
    let json = json.map(|path| output::write(&path, &serde_json::to_string(&outcome)?));
    let html = html.map(|path| output::write(&path, &html::render(&outcome)));
    none_failed(json.into_iter().chain(html))?;
    printed?;
    Ok(verdict(&outcome))
}

/// All that went wrong, in one error; nothing where nothing did.
fn none_failed(results: impl Iterator<Item = anyhow::Result<()>>) -> anyhow::Result<()> {
    let told: Vec<String> = results.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    anyhow::ensure!(told.is_empty(), "{}", told.join("; "));
    Ok(())
}

/// What is left of a run that a signal has ended, in a line.
fn stopped(signal: &str, outcome: Option<&Outcome>, json: Option<&Path>) -> String {
    let Some(outcome) = outcome else {
        return format!("stopped by {signal} before anything was measured; nothing is kept");
    };
    let measured: usize = outcome.systems.iter().map(|system| system.rounds.len()).sum();
    let rounds = outcome.failure.as_ref().map(|failure| failure.round - 1);
    let rounds =
        rounds.map_or_else(|| "all rounds".to_owned(), |rounds| counted(rounds as usize, "whole round"));
    let kept = match json {
        Some(path) => format!("kept in {}", path.display()),
        None => "told below and kept nowhere (--json keeps them)".to_owned(),
    };
    format!("stopped by {signal} after {rounds}; {} {kept}", counted(measured, "measurement"))
}

fn verdict(outcome: &Outcome) -> ExitCode {
    if outcome.is_clean() && outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: &Path) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    text.and_then(|text| Outcome::parse(&text).with_context(|| path.display().to_string())).map_err(wrong)
}

/// The width of the terminal, or one that fits into a document.
fn columns() -> usize {
    const ELSEWHERE: usize = 120;
    terminal_size::terminal_size().map_or(ELSEWHERE, |(width, _)| width.0.into())
}

fn plan(args: RunArgs, rivals: Vec<rival::Kind>, around: &Around<'_>) -> anyhow::Result<Plan> {
    const SPEED: f64 = 20.0;
    const PATIENCE_S: f64 = 20.0;
    let connecting = (around.connecting)().map_err(wrong)?;
    let profile = flags::profile(&args, &connecting).map_err(wrong)?;
    let overrides = flags::overrides(&args, &profile).map_err(wrong)?;
    let replay = match &args.replay {
        Some(folder) => Some(Replay {
            folder: folder.clone(),
            conversations: Arc::new((around.logs)(folder).context("--replay").map_err(wrong)?),
            speed: args.speed.unwrap_or(SPEED),
        }),
        None => None,
    };
    let subject = match connecting.running {
        Some(RunningServer { address, name, ca_file, token }) => {
            Subject::Running(Running { address, name, ca_file, token, pid: args.server_pid })
        }
        None => Subject::Own(QuothOptions {
            settings: args.settings,
            ..match args.server_binary {
                Some(binary) => QuothOptions { binary, settings: Vec::new() },
                None => QuothOptions::beside_this().map_err(wrong)?,
            }
        }),
    };
    if !args.dir.is_dir() {
        return Err(wrong(anyhow::anyhow!("--dir {} is no folder", args.dir.display())));
    }
    let place = match profile.network.as_deref().filter(|name| *name != "loopback") {
        Some(network) => Place::behind(&args.dir, Program::this()?, network, args.seed),
        None => Place::loopback(&args.dir, Program::this()?),
    };
    let place = place.map_err(wrong)?;
    let half = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1);
    Ok(Plan {
        profile,
        profile_name: args.profile,
        command: command(std::env::args_os()),
        subject,
        rivals,
        place,
        replay,
        overrides,
        patience: Duration::from_secs_f64(args.patience.unwrap_or(PATIENCE_S)),
        seed: args.seed,
        threads: args.client_threads.unwrap_or(half),
    })
}

/// The command for reports, which are made to be shown: without the token.
fn command(words: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
    let mut is_secret = false;
    let told = words.map(|word| {
        let word = word.to_string_lossy().into_owned();
        let hides = std::mem::replace(&mut is_secret, word == "--token");
        match word.split_once('=') {
            _ if hides => "***".to_owned(),
            Some(("--token", _)) => "--token=***".to_owned(),
            _ => word,
        }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Bench {
        #[command(flatten)]
        args: BenchArgs,
    }

    /// Where nobody can say which server is meant.
    fn nowhere(line: &str) -> anyhow::Result<ExitCode> {
        let around = Around {
            connecting: &|| anyhow::bail!("no server"),
            logs: |_| Ok(Vec::new()),
            print: &|_| Ok(()),
            note: &|_| {},
            stopped_by: &|| None,
        };
        let Bench { args } = Bench::try_parse_from(["bench"].into_iter().chain(line.split(' ')))?;
        execute(args, &around)
    }

    #[test]
    fn only_a_run_connects() {
        nowhere("profiles").expect("it needs no server");
        assert_eq!(nowhere("latency").expect_err("it needs one").to_string(), "no server");
    }

    #[test]
    fn a_profile_is_listed_beside_what_it_is_for() {
        let listed = profiles(None, false).expect("a list");
        for (line, (name, _)) in listed.lines().zip(BUILT_IN) {
            let (told, about) = line.split_once("  ").expect("two columns");
            assert_eq!((told, about.trim_start()), (*name, &*Profile::find(name).expect("a profile").about));
        }
    }

    #[test]
    fn files_that_cannot_be_written_are_told_before_the_run() {
        for flag in ["--json", "--html"] {
            let error = nowhere(&format!("latency {flag} /no/such/file")).expect_err("it cannot be written");
            assert!(
                error.is::<WrongUsage>() && error.to_string().contains("/no/such/file cannot be written")
            );
        }
    }

    #[test]
    fn a_token_is_in_no_report() {
        let words = ["quoth", "--token", "secret", "bench", "--token=secret", "--token-file", "file"];
        let told = command(words.into_iter().map(Into::into));
        assert_eq!(told, ["quoth", "--token", "***", "bench", "--token=***", "--token-file", "file"]);
    }
}
