//! Sets one run beside another, and says whether anything has become worse.
//!
//! - **What is judged.** The p50, p95 and p99 of each latency and each single figure that is better one way, of the servers that
//!   both runs measured. All else is told only: a tail of a few messages is luck, floors and rivals are not what has changed,
//!   and what the bench's own clients took is no figure of a server.
//! - **By what.** Machines differ, and one machine differs from day to day. So where both runs have a floor with the figure,
//!   its ratio to that floor, taken within each round, is judged in place of the figure; where they have none, the figure.
//!   A durable message goes through a network and onto a disk: where both runs have a relay and the disk, a latency's floor
//!   is their sum, as in the tables, and a rate's the slower of them. Sizes in bytes and counts of datagrams are always
//!   judged as they are, since they hang on no machine's speed.
//!   Where a run's floor was slower than what stands on it, the machine was disturbed, and no latency is judged by it.
//! - **Noise.** A difference counts when the rounds of both runs lie apart, or when it is at least as great as the rounds of
//!   either run differ among themselves. Else it is called noise and does not count.
//! - **Promises.** A later run that broke one is worse, whatever its figures.

mod print;
mod warn;

use crate::figure::{self, Better, Figure, Quantile, Spread};
use crate::outcome::{FORMAT, Outcome, Ratio, Role, System};
use crate::run::APPEND;

/// The bound that is meant when none is given: a tenth.
pub const BOUND: f64 = 1.10;

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
}

/// What has become of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is worse, by more than the bound.
    Worse,
    /// It is better, by more than the bound.
    Better,
    /// It is within the bound.
    Same,
    /// It differs by more than the bound, but its rounds differ as much among themselves.
    Noise,
    /// It is not judged.
    Told,
    /// It would be judged by a floor that was slower than what stands on it.
    Disturbed,
}

/// Compares two runs; `bound` is by how much a figure may be worse, 1 or more.
///
/// # Errors
/// When one has another [`FORMAT`], when they share no system, or when the bound is below 1.
pub fn compare(before: &Outcome, after: &Outcome, bound: f64) -> anyhow::Result<Comparison> {
    anyhow::ensure!(bound.is_finite() && bound >= 1.0, "a bound is 1 or more, as 1.10 for a tenth");
    for outcome in [before, after] {
        anyhow::ensure!(outcome.format == FORMAT, "a document has format {}, not {FORMAT}", outcome.format);
    }
    let shared: Vec<_> = shared(before, after).collect();
    anyhow::ensure!(!shared.is_empty(), "the runs have no system in common");
    let figures = figures(after);
    let is_disturbed = [before, after].iter().any(|run| run.ratios.iter().any(Ratio::is_below_its_floor));
    let mut lines = Vec::new();
    for (was, is) in &shared {
        for figure in &figures {
            let (Some(spread_before), Some(spread_after)) = (figure.spread(was), figure.spread(is)) else {
                continue;
            };
            let to_floor = to_floor(figure, (before, was), (after, is));
            let (from, to) = to_floor.as_ref().map_or((spread_before, spread_after), |f| (f.before, f.after));
            let verdict = match judged(is, figure) {
                None => Verdict::Told,
                Some(_) if is_disturbed && to_floor.is_some() && matches!(figure, Figure::Latency(..)) => {
                    Verdict::Disturbed
                }
                Some(better) => verdict(from, to, better, bound),
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
    Ok(Comparison { bound, lines, warnings, broken })
}

impl Comparison {
    /// Figures that have become worse.
    pub fn worse(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.verdict == Verdict::Worse)
    }

    /// For the process: 1 when anything has become worse or a promise was broken, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.broken || self.worse().next().is_some())
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
    })
}

/// A system's ratio to floors, within each round.
fn over(figure: &Figure, system: &System, floors: &[&System]) -> Option<Spread> {
    let rounds = system.rounds.iter().zip(figure.together(floors));
    let ratios = rounds.filter_map(|(round, floor)| Some(figure.of(round)? / floor?));
    Spread::of(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
}

fn verdict(before: Spread, after: Spread, better: Better, bound: f64) -> Verdict {
    let worse_by = match better {
        Better::Less => after.median / before.median,
        Better::More => before.median / after.median,
    };
    let change = match worse_by {
        worse if worse > bound => Verdict::Worse,
        better if better < 1.0 / bound => Verdict::Better,
        _ => return Verdict::Same,
    };
    let difference = (after.median - before.median).abs();
    let is_noise = before.width().max(after.width()) > difference && before.overlaps(after);
    if is_noise { Verdict::Noise } else { change }
}

#[cfg(test)]
mod tests;
