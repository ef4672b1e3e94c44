//! A run: rounds in which every system is measured once, one behind the other, and what follows from them.

mod contender;
mod document;
mod links;
mod measure;
pub(crate) mod ratios;
mod running;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

pub use contender::{APPEND, Contender, Subject};
pub use running::Running;

use links::Controls;

use crate::load::{Interrupted, Progress};
use crate::machine;
use crate::outcome::{FORMAT, Failure, Outcome, Role, Round, Server, System};
use crate::profile::Profile;
use crate::record::{latency, merge};
use crate::schedule::Line;
use crate::surroundings::Watched;
use crate::target::Place;
use crate::untold;

/// How long a server that runs already may take to let a first client in. Outcome: there is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be run.
#[derive(Debug)]
pub struct Plan {
    /// The load.
    pub profile: Profile,
    /// Its name.
    pub profile_name: String,
    /// The command, for the report.
    pub command: Vec<String>,
    /// The server that is measured.
    pub subject: Subject,
    /// Other servers that are measured beside it.
    pub rivals: Vec<crate::rival::Kind>,
    /// Where processes run.
    pub place: Place,
    /// Conversations that were had, to be played in place of the profile's messages.
    pub replay: Option<Replay>,
    /// Flags that have changed the load, or the server, that the profile's goals are for, or that leave it
    /// less time.
    pub overrides: Vec<&'static str>,
    /// How long readers wait for what is missing when nothing more is published.
    pub patience: Duration,
    /// Of whatever is random.
    pub seed: u64,
    /// Threads for clients.
    pub threads: usize,
}

/// Conversations that were had.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Where they were found.
    pub folder: PathBuf,
    /// The lines of each.
    pub conversations: Arc<Vec<Vec<Line>>>,
    /// How many times as fast they are played.
    pub speed: f64,
}

/// Which measurement of a run it is.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// The round, from 1.
    pub round: u32,
    /// Of how many.
    pub rounds: u32,
    /// The system's number in the round, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// The system's name.
    pub system: &'a str,
}

/// Tells how far a run has come.
pub trait Watch {
    /// Does the work of one measurement and watches it.
    fn during<T>(&self, position: Position<'_>, work: impl FnOnce(&Arc<Progress>) -> T) -> T;

    /// The signal by which the user has asked to leave, if so.
    fn stopped_by(&self) -> Option<&'static str>;
}

/// A system's round, with its histograms as they are.
#[derive(Debug, Default)]
pub(crate) struct Measurement {
    pub(crate) round: Round,
    pub(crate) histograms: BTreeMap<String, Histogram<u64>>,
    pub(crate) version: Option<String>,
    /// What an ack means, where the system says so itself.
    pub(crate) durability: Option<String>,
}

/// Whether a run can be: what it needs is there and fits together, and a server that runs already lets a
/// client in. Starts no load.
///
/// # Errors
/// What is missing, or does not go together.
pub fn check(plan: &Plan) -> anyhow::Result<()> {
    contender::line_up(plan)?;
    match &plan.subject {
        Subject::Own(options) => options.check(&plan.place),
        Subject::Running(running) => {
            running.check_process()?;
            running.server().check_answers(plan.profile.shape.transport, ANSWER_TIMEOUT)
        }
    }
}

/// Measures all. A measurement that fails ends the run; what was measured before is kept and told with the
/// failure.
///
/// # Errors
/// When nothing could be measured: a system does not start, goes away or refuses what it is asked. What the
/// history checker finds is no error here.
pub fn run(plan: &Plan, watch: &impl Watch) -> anyhow::Result<Outcome> {
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let contenders = contender::line_up(plan)?;
    let running = match &plan.subject {
        Subject::Running(running) => Some(running),
        Subject::Own(_) => None,
    };
    let binary_sha256 = server_file(&plan.subject).and_then(|file| machine::sha256(&file).ok());
    let pid = running.and_then(|running| running.pid);
    let watched = Watched::begin(pid, running.is_some() && pid.is_none());
    let controls = Controls::find(plan);
    let mut measured: Vec<Vec<Measurement>> = contenders.iter().map(|_| Vec::new()).collect();
    let failure = measure_rounds(plan, watch, &contenders, &controls, &mut measured).err();
    let failure = match failure {
        Some((position, error)) if measured.iter().all(Vec::is_empty) => return Err(error.context(position)),
        Some((position, error)) => {
            Some(Failure { round: position.round, system: position.system, reason: format!("{error:#}") })
        }
        None => None,
    };
    let measured = contenders.iter().zip(measured).filter(|(_, rounds)| !rounds.is_empty());
    let systems: Vec<System> =
        measured.map(|(contender, rounds)| system(contender, &controls, rounds)).collect();
    let mut ratios = ratios::of(&plan.profile, &systems);
    if let Some(reason) = changed(&plan.overrides).or_else(|| plan.profile.goals_of_another_load()) {
        let with_goals = ratios.iter_mut().filter(|ratio| ratio.goal.is_some());
        with_goals.for_each(|ratio| ratio.not_judged = Some(reason.clone()));
    }
    let subject = systems.iter().find(|system| system.role == Role::Subject);
    let version = subject.and_then(|subject| subject.version.clone());
    let server = Server { version, binary_sha256, ran_at: running.map(|running| running.address) };
    let mut outcome = Outcome {
        format: FORMAT,
        command: plan.command.clone(),
        started_unix_ms: u64::try_from(started.as_millis())?,
        machine: machine::describe(plan.place.folder()),
        build: machine::build(),
        server,
        surroundings: watched.end(),
        profile: document::document(plan)?,
        profile_name: plan.profile_name.clone(),
        profile_about: document::about(plan),
        network: plan.place.network_document(),
        systems,
        ratios,
        failure,
    };
    outcome.mark_doubts();
    Ok(outcome)
}

/// The file of the server's program.
fn server_file(subject: &Subject) -> Option<PathBuf> {
    match subject {
        Subject::Own(options) => Some(options.binary.clone()),
        Subject::Running(running) => {
            running.pid.map(|pid| Path::new("/proc").join(pid.to_string()).join("exe"))
        }
    }
}

/// Why nothing is held to a goal: flags have made another load of the one that it is for, or have left it
/// less time.
fn changed(overrides: &[&str]) -> Option<String> {
    let (times, load): (Vec<&str>, Vec<&str>) =
        overrides.iter().copied().partition(|flag| ["--duration", "--warm-up"].contains(flag));
    let told = |flags: &[&str], verb: &str, what: &str| {
        let s = if flags.len() == 1 { "s" } else { "" };
        (!flags.is_empty()).then(|| format!("{} {verb}{s} {what}", flags.join(", ")))
    };
    let told = [
        told(&load, "change", "the load that the goal is for"),
        told(&times, "leave", "less time than the goal is for"),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Where a run has ended before its time.
#[derive(Debug)]
struct Ended {
    round: u32,
    system: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, round {}", self.system, self.round)
    }
}

/// All rounds, each system behind the other.
fn measure_rounds(
    plan: &Plan,
    watch: &impl Watch,
    contenders: &[Contender],
    controls: &Controls,
    measured: &mut [Vec<Measurement>],
) -> Result<(), (Ended, anyhow::Error)> {
    let rounds = plan.profile.rounds;
    for round in 1..=rounds {
        for number in 1..=contenders.len() {
            // Each round begins with another, so that none always follows the same one's writes.
            let index = (number - 1 + round as usize - 1) % contenders.len();
            let contender = &contenders[index];
            let system = contender.name();
            let position = Position { round, rounds, number, of: contenders.len(), system: &system };
            let result = watch.during(position, |progress| {
                progress.go_on()?;
                plan.place.renew(plan.seed.wrapping_add(round.into()))?;
                let mut measured = measure::measure(plan, contender, controls, progress, round.into())?;
                if contender.is_behind_the_network() {
                    add_network(&plan.place, &mut measured.round);
                }
                Ok::<_, anyhow::Error>(measured)
            });
            match result {
                Ok(measurement) => {
                    measured[index].push(measurement);
                    untold::measured();
                }
                Err(error) => return Err((Ended { round, system }, stopped(watch, error))),
            }
        }
    }
    Ok(())
}

/// Why a measurement has failed: what a signal to all processes does to them may be seen before the signal
/// is.
fn stopped(watch: &impl Watch, error: anyhow::Error) -> anyhow::Error {
    const GRACE: Duration = Duration::from_millis(200);
    if watch.stopped_by().is_none() && !error.is::<Interrupted>() {
        std::thread::sleep(GRACE);
    }
    match watch.stopped_by() {
        Some(signal) => anyhow::anyhow!("stopped by {signal}"),
        None => error,
    }
}

/// What the network has taken beside what it was to take: packets that it could not carry itself, and how
/// late it was.
fn add_network(place: &Place, round: &mut Round) {
    let Some(counters) = place.counters() else { return };
    let both = [counters.up, counters.down];
    let overrun: u64 = both.iter().map(|direction| direction.overrun).sum();
    let late_us = both.iter().map(|direction| direction.lateness.p99_us).max().unwrap_or_default();
    let lost: u64 = both.iter().map(|direction| direction.counts.lost).sum();
    let values = [
        ("network_lost_packets", lost),
        ("network_overrun_packets", overrun),
        ("network_late_p99_us", late_us),
    ];
    round.values.extend(values.map(|(name, value)| (name.to_owned(), value as f64)));
}

fn system(contender: &Contender, controls: &Controls, measured: Vec<Measurement>) -> System {
    let names: std::collections::BTreeSet<&String> =
        measured.iter().flat_map(|measurement| measurement.histograms.keys()).collect();
    let merged = names.into_iter().map(|name| {
        let parts = measured.iter().filter_map(|measurement| measurement.histograms.get(name));
        (name.clone(), latency(&merge(parts)))
    });
    System {
        name: contender.name(),
        role: contender.role(),
        durability: measured
            .iter()
            .find_map(|measurement| measurement.durability.clone())
            .unwrap_or_else(|| contender.durability()),
        link: controls.link(contender),
        version: measured.iter().find_map(|measurement| measurement.version.clone()),
        merged: merged.collect(),
        rounds: measured.into_iter().map(|measurement| measurement.round).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn what_has_changed_is_told_apart_from_what_is_only_shorter() {
        assert_eq!(changed(&[]), None);
        assert_eq!(changed(&["--rate"]).as_deref(), Some("--rate changes the load that the goal is for"));
        assert_eq!(
            changed(&["--rate", "--duration", "--warm-up", "--set"]).as_deref(),
            Some(
                "--rate, --set change the load that the goal is for; --duration, --warm-up leave less time than the goal is for"
            )
        );
    }
}
