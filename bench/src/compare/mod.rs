//! Sets one run beside another, and says whether anything has become worse.
//!
//! - **What is judged.** The p50, p95 and p99 of each latency and each single figure that is better one way,
//!   of the servers that both runs measured. All else is told only: a tail of a few messages is luck, floors
//!   and rivals are not what has changed, and what the bench's own clients took is no figure of a server.
//! - **By what.** Machines differ, and one machine differs from day to day. So where both runs have a floor
//!   with the figure, its ratio to that floor, taken within each round, is judged in place of the figure;
//!   where they have none, the figure. A durable message goes through a network and onto a disk: where both
//!   runs have a relay and the disk, a latency's floor is their sum, as in the tables, and a rate's the
//!   slower of them. Sizes in bytes and counts of datagrams are always judged as they are, since they hang on
//!   no machine's speed.
//! - **How.** A figure is `WORSE` or `better` when its median has changed by more than the bound and the
//!   rounds of both runs lie apart, however wide they are. It is the `same` when its median is within the
//!   bound, and each round of either run within the bound of its run's median. Else it is `undecided`: rounds
//!   meet, or are too wide. See [`Verdict`]. Where a ratio is undecided, since its floor's rounds are wide or
//!   the floor was slower than what stands on it, the figure itself decides if its own rounds lie apart and
//!   those of the floor do not.
//! - **How many rounds.** Rounds of equal runs lie apart by chance, and the fewer there are the more often:
//!   of a single round each always. Where that is more often than once in [`CHANCE_MAX`], as with fewer than
//!   three rounds each, nothing that is judged is anything but `undecided`, however far apart: on a quiet
//!   machine a p99 differs by ten between rounds of one server.
//! - **What that means.** Anything worse is a regression. Something undecided whose medians differ by more
//!   than the bound is none and no all-clear either; it has an exit code of its own, and more rounds decide
//!   it. So have runs of too few rounds.
//! - **Busy machines.** Where other programs or other machines had the processors in the run in which a
//!   figure is slower, and no floor of the same rounds tells that from the server, it is undecided too: no
//!   regression, and no all-clear. A busy machine makes nothing faster; but what a server takes for each
//!   message may go either way, and is undecided either way.
//! - **Starved runs.** A run that did not get done what was due is another load: nothing that counts for each
//!   delivery is better.
//! - **Like with like.** Runs of different loads are refused. What else differs, as machines, is told.
//! - **Promises.** A later run that broke one is worse, whatever its figures.

mod load;
mod print;
mod verdict;
mod warn;

pub use verdict::Verdict;

use crate::figure::{self, Better, Figure, Quantile, Spread};
use crate::outcome::{FORMAT, Outcome, Ratio, Role, System};
use crate::run::APPEND;

/// The bound that is meant when none is given: a tenth.
pub const BOUND: f64 = 1.10;

/// Once in so many times at most may rounds of equal runs lie apart by chance.
pub const CHANCE_MAX: u64 = 20;

/// Two runs side by side.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// By how much a figure may be worse, as in 1.10.
    pub bound: f64,
    /// A line for each figure that both runs have.
    pub lines: Vec<Line>,
    /// What makes the runs hard to compare, in a sentence each.
    pub warnings: Vec<String>,
    /// Whether the later run broke a promise.
    pub broken: bool,
    /// The rounds of both runs, where they are too few to judge by.
    pub too_few: Option<(usize, usize)>,
    /// Who else had the processors, of each run in which that was more than it bears: as in
    /// `other programs kept 1.20 of 2 processors busy during the later run`.
    pub busy: Vec<String>,
}

/// A figure of a system in both runs.
#[derive(Debug, Clone)]
pub struct Line {
    /// The system's name.
    pub system: String,
    /// The figure.
    pub figure: Figure,
    /// As it was.
    pub before: Spread,
    /// As it is.
    pub after: Spread,
    /// Its ratio to a floor, where that is judged in its place.
    pub to_floor: Option<ToFloor>,
    /// What follows.
    pub verdict: Verdict,
}

/// Ratios to a floor.
#[derive(Debug, Clone)]
pub struct ToFloor {
    /// The floor's name.
    pub floor: String,
    /// As it was.
    pub before: Spread,
    /// As it is.
    pub after: Spread,
    /// The floors themselves, as they were and as they are.
    pub floors: (Spread, Spread),
}

/// Compares two runs; `bound` is by how much a figure may be worse, 1 or more.
///
/// # Errors
/// When one has another [`FORMAT`], when they are of different loads or share no system, or when the bound is
/// below 1.
pub fn compare(before: &Outcome, after: &Outcome, bound: f64) -> anyhow::Result<Comparison> {
    anyhow::ensure!(bound.is_finite() && bound >= 1.0, "a bound is 1 or more, as 1.10 for a tenth");
    for outcome in [before, after] {
        anyhow::ensure!(outcome.format == FORMAT, "a document has format {}, not {FORMAT}", outcome.format);
    }
    load::check_same(before, after)?;
    let shared: Vec<_> = shared(before, after).collect();
    anyhow::ensure!(!shared.is_empty(), "the runs have no system in common");
    let figures = figures(after);
    let (was_busy, is_busy) = (before.busy().is_some(), after.busy().is_some());
    let (mut lines, mut too_few) = (Vec::new(), None);
    for (was, is) in &shared {
        for figure in &figures {
            let (Some(spread_before), Some(spread_after)) = (figure.spread(was), figure.spread(is)) else {
                continue;
            };
            let to_floor = to_floor(figure, (before, was), (after, is));
            let verdict = match (judged(is, figure), &to_floor) {
                (None, _) => Verdict::Told,
                (Some(better), None) => verdict::of_rounds(spread_before, spread_after, better, bound),
                (Some(better), Some(to_floor)) => {
                    let is_disturbed = [before, after].iter().any(|run| is_disturbed(run, figure, to_floor));
                    verdict::on_floors((spread_before, spread_after), to_floor, is_disturbed, better, bound)
                }
            };
            let rounds = (figure.rounds(was), figure.rounds(is));
            let verdict = if verdict != Verdict::Told && !verdict::are_enough(rounds) {
                too_few = Some(rounds);
                let change = judged(is, figure).and_then(|better| {
                    verdict::change(spread_before.median, spread_after.median, better, bound)
                });
                Verdict::Undecided { beyond: change.is_some() }
            } else {
                verdict
            };
            let verdict = match judged(is, figure).filter(|_| verdict::are_enough(rounds)) {
                Some(better) if to_floor.is_none() && figure.is_of_the_machine() => {
                    let way = verdict::change(spread_before.median, spread_after.median, better, bound);
                    // A server that has to wait does more at once, so that what it takes for each may be
                    // less.
                    let either = figure.is_for_each() && (was_busy || is_busy);
                    verdict::without_floor(verdict, way, is_busy || either, was_busy || either)
                }
                _ => verdict,
            };
            let verdict = match verdict {
                Verdict::Better if is.is_starved() && figure.is_for_each() => Verdict::Starved,
                Verdict::Worse if was.is_starved() && figure.is_for_each() => Verdict::Starved,
                verdict => verdict,
            };
            lines.push(Line {
                system: is.name.clone(),
                figure: figure.clone(),
                before: spread_before,
                after: spread_after,
                to_floor,
                verdict,
            });
        }
    }
    let broken = !after.is_clean();
    let warnings = warn::warnings(before, after, &lines);
    let busy = [("earlier", before), ("later", after)].into_iter();
    let busy =
        busy.filter_map(|(which, run)| Some(format!("{} during the {which} run", run.busy()?))).collect();
    Ok(Comparison { bound, lines, warnings, broken, too_few, busy })
}

impl Comparison {
    /// Figures that have become worse.
    pub fn worse(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.verdict == Verdict::Worse)
    }

    /// Figures that are undecided though their medians differ by more than the bound.
    pub fn undecided(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.verdict == Verdict::Undecided { beyond: true })
    }

    /// Figures whose medians differ by more than the bound as a busy machine may have made them.
    pub fn of_a_busy_machine(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.verdict == Verdict::Busy)
    }

    /// For the process: 1 when anything has become worse or a promise was broken, 3 when nothing has and
    /// there were too few rounds to judge by or something is undecided whose medians differ by more than the
    /// bound, be it for a busy machine, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        const EXIT_UNDECIDED: u8 = 3;
        if self.broken || self.worse().next().is_some() {
            1
        } else if self.too_few.is_some() || self.undecided().chain(self.of_a_busy_machine()).next().is_some()
        {
            EXIT_UNDECIDED
        } else {
            0
        }
    }
}

/// Systems of the same name and role.
fn shared<'a>(before: &'a Outcome, after: &'a Outcome) -> impl Iterator<Item = (&'a System, &'a System)> {
    after.systems.iter().filter_map(|is| {
        let was = before.systems.iter().find(|was| was.name == is.name && was.role == is.role)?;
        Some((was, is))
    })
}

/// All figures of a run but the bench's own.
fn figures(outcome: &Outcome) -> Vec<Figure> {
    let latencies = figure::latencies_of_systems(outcome);
    let quantiles = |name: String| Quantile::ALL.map(|quantile| Figure::Latency(name.clone(), quantile));
    latencies.flat_map(quantiles).chain(figure::values(outcome)).collect()
}

/// Which way a figure is better, where it is judged.
fn judged(system: &System, figure: &Figure) -> Option<Better> {
    let is_luck = matches!(figure, Figure::Latency(_, quantile) if quantile.is_luck());
    figure.better().filter(|_| system.role == Role::Subject && !is_luck)
}

/// Whether what a figure stands on in a run was no floor: slower than what stands on it, or held up.
fn is_disturbed(run: &Outcome, figure: &Figure, to_floor: &ToFloor) -> bool {
    let (is_latency, quantile) = match figure {
        Figure::Latency(_, quantile) => (true, *quantile),
        Figure::Value(_) => (false, Quantile::P50),
    };
    let mut floors = run.systems.iter().filter(|s| s.role == Role::Floor && to_floor.floor.contains(&s.name));
    floors.any(|floor| run.doubt(floor, quantile).is_some())
        || is_latency && run.ratios.iter().any(Ratio::is_below_its_floor)
}

fn to_floor(figure: &Figure, before: (&Outcome, &System), after: (&Outcome, &System)) -> Option<ToFloor> {
    if after.1.role != Role::Subject || !figure.is_of_the_machine() {
        return None;
    }
    let has = |floor: &System| figure.on(floor).spread(floor).is_some();
    let floors: Vec<_> =
        shared(before.0, after.0).filter(|(was, is)| is.role == Role::Floor && has(was) && has(is)).collect();
    // Of the relays the first one, which is the one over QUIC.
    let relay = floors.iter().find(|(_, floor)| floor.name != APPEND);
    let disk = floors.iter().find(|(_, floor)| floor.name == APPEND);
    let (was, is): (Vec<_>, Vec<_>) = relay.into_iter().chain(disk).copied().unzip();
    let names: Vec<_> = is.iter().map(|floor| floor.name.as_str()).collect();
    let join = if matches!(figure, Figure::Latency(..)) { " + " } else { " or " };
    Some(ToFloor {
        floor: names.join(join),
        before: over(figure, before.1, &was)?,
        after: over(figure, after.1, &is)?,
        floors: (together(figure, &was)?, together(figure, &is)?),
    })
}

/// What floors are together, over their rounds.
fn together(figure: &Figure, floors: &[&System]) -> Option<Spread> {
    Spread::of(&figure.together(floors).into_iter().flatten().collect::<Vec<_>>())
}

/// A system's ratio to floors, within each round.
fn over(figure: &Figure, system: &System, floors: &[&System]) -> Option<Spread> {
    let rounds = system.rounds.iter().zip(figure.together(floors));
    let ratios = rounds.filter_map(|(round, floor)| Some(figure.of(round)? / floor?));
    Spread::of(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
