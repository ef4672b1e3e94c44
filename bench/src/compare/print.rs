//! A comparison as text.

use super::{Comparison, Line, Verdict};
use crate::figure::{Figure, Spread};
use crate::grid::{Cell, Row, grid, plain, wrapped};
use crate::unit::{Scale, number};

impl Verdict {
    /// As in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Better => "better",
            Self::Same => "same",
            Self::Undecided { .. } | Self::Busy => "undecided",
            Self::Starved => "starved",
            Self::Told => "told",
        }
    }
}

impl Comparison {
    /// A table for each system, then what follows, in lines of at most so many columns where names allow it.
    #[must_use]
    pub fn render(&self, columns: usize) -> String {
        let mut text = String::new();
        for lines in self.lines.chunk_by(|a, b| a.system == b.system) {
            let judged = lines.iter().any(|line| line.verdict != Verdict::Told);
            text.push_str(&table(lines, judged, columns));
            text.push('\n');
        }
        let mut floors: Vec<_> =
            self.lines.iter().filter_map(|line| Some(line.to_floor.as_ref()?.floor.as_str())).collect();
        floors.sort_unstable();
        floors.dedup();
        if !floors.is_empty() {
            let note =
                "to floor: how the ratio to a floor of the same round has changed; judged where it stands";
            text.push_str(&wrapped(&format!("{note} ({})", floors.join(", ")), columns, 2));
        }
        text.push_str(&wrapped(&self.told_only(), columns, 2));
        for warning in &self.warnings {
            text.push_str(&wrapped(&format!("warning: {warning}"), columns, 2));
        }
        text.push_str(&wrapped(&self.conclusion(), columns, 2));
        text
    }

    /// What is told and not judged, and why, in a sentence.
    fn told_only(&self) -> String {
        let why = |figure: &Figure| match figure {
            Figure::Latency(_, quantile) if quantile.is_luck() => {
                Some((quantile.name().to_owned(), "a few messages decide them"))
            }
            other => Some((other.whole_name(), other.why_told()?)),
        };
        let mut told: Vec<(String, &str)> = self.lines.iter().filter_map(|line| why(&line.figure)).collect();
        told.push(("floors and rivals".to_owned(), "they are not what has changed"));
        told.push((
            "timer, publish, clients".to_owned(),
            "they are the bench's own, and in each run's table",
        ));
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for (name, why) in told {
            match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => reasons.push((why, vec![name])),
            }
        }
        let reasons: Vec<_> =
            reasons.iter().map(|(why, names)| format!("{}: {why}", names.join(", "))).collect();
        format!("told only: {}", reasons.join("; "))
    }

    /// What follows, in a sentence or two.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let bound = number(self.bound);
        let named = |line: &Line| format!("{} {}", line.system, line.figure.whole_name());
        let worse: Vec<_> = self.worse().map(named).collect();
        let undecided: Vec<_> = self.undecided().map(named).collect();
        let busy: Vec<_> = self.of_a_busy_machine().map(named).collect();
        let decided = if self.broken {
            "FAILED: the later run broke a promise".to_owned()
        } else if self.too_few.is_some() && worse.is_empty() {
            String::new()
        } else if !worse.is_empty() {
            format!("WORSE by more than a factor of {bound}: {}", worse.join(", "))
        } else if undecided.is_empty() && busy.is_empty() {
            format!("nothing is worse by more than a factor of {bound}")
        } else {
            format!("nothing is certainly worse by more than a factor of {bound}")
        };
        if let Some((was, is)) = self.too_few {
            let rounds =
                |count: usize| if count == 1 { "1 round".to_owned() } else { format!("{count} rounds") };
            let beyond = if undecided.is_empty() {
                format!("no median has changed by more than a factor of {bound}")
            } else {
                format!("medians have changed by more than a factor of {bound} of {}", undecided.join(", "))
            };
            let told = format!(
                "UNDECIDED: the earlier run has {}, the later one {}, and rounds of equal servers lie apart as often by chance; {beyond}; \
                 measure both with --rounds 5",
                rounds(was),
                rounds(is)
            );
            return if decided.is_empty() { told } else { format!("{decided}; {told}") };
        }
        let mut told = decided;
        if !undecided.is_empty() {
            told.push_str(&format!(
                "; UNDECIDED: medians differ by more than that and rounds overlap, so more rounds are needed: {}",
                undecided.join(", ")
            ));
        }
        if !busy.is_empty() {
            told.push_str(&format!(
                "; UNDECIDED: {}, and no floor tells that from the server: {}; measure on a quiet machine, or both runs with floors",
                self.busy.join(", "),
                busy.join(", ")
            ));
        }
        told
    }
}

fn table(lines: &[Line], judged: bool, columns: usize) -> String {
    let mut heads = vec!["before", "after", "ratio"];
    if judged {
        heads.extend(["to floor", "verdict"]);
    }
    let heads: Vec<_> = heads.into_iter().map(str::to_owned).collect();
    let rows = lines.iter().map(|line| {
        let mut cells = vec![
            spread(&line.figure, line.before),
            spread(&line.figure, line.after),
            figure(number(line.after.median / line.before.median)),
        ];
        if judged {
            let to_floor = line.to_floor.as_ref();
            cells.push(figure(to_floor.map_or(String::new(), |f| number(f.after.median / f.before.median))));
            cells.push(figure(line.verdict.name().to_owned()));
        }
        Row { name: plain(&line.figure.whole_name()), cells }
    });
    grid(&plain(&lines[0].system), &heads, &rows.collect::<Vec<_>>(), columns)
}

fn spread(of: &Figure, spread: Spread) -> Cell {
    let scale: Scale = of.scale(spread.median);
    Cell { figure: scale.write(spread.median), range: spread.range(scale) }
}

fn figure(figure: String) -> Cell {
    Cell { figure, range: String::new() }
}
