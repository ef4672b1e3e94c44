//! The progress line.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::pace::{Pace, measurement, told};
use crate::load::Progress;
use crate::run::{Position, Watch};
use crate::unit::count;

/// How often the line moves, and how soon a request to leave is seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// Tells on standard error: a line that moves on a terminal, one line for each measurement elsewhere.
pub(super) struct Line<'a> {
    /// What one measurement takes without connecting, in seconds; `None` where nobody knows.
    length_s: Option<f64>,
    stopped_by: &'a (dyn Fn() -> Option<&'static str> + Sync),
    begun: Instant,
    pace: Mutex<Pace>,
}

impl Watch for Line<'_> {
    fn during<T>(&self, position: Position<'_>, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
        let progress = Arc::new(Progress::default());
        let bar = bar();
        if bar.is_hidden() {
            let told = format!("{}\n", self.line(&position, None, Duration::ZERO));
            let _nobody_reads = std::io::Write::write_all(&mut std::io::stderr().lock(), told.as_bytes());
        }
        let (done, is_done) = channel();
        let started = Instant::now();
        let worked = std::thread::scope(|scope| {
            scope.spawn(|| {
                let is_done = is_done;
                while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(INTERVAL) {
                    progress.is_interrupted.fetch_or((self.stopped_by)().is_some(), Relaxed);
                    bar.set_message(self.line(&position, Some(&progress), started.elapsed()));
                }
                bar.finish_and_clear();
            });
            // Ends the line however the work ends.
            let _done: Sender<()> = done;
            work(&progress)
        });
        self.pace.lock().took(position.system, started.elapsed().as_secs_f64());
        worked
    }

    fn stopped_by(&self) -> Option<&'static str> {
        (self.stopped_by)()
    }
}

impl<'a> Line<'a> {
    /// For a run that begins now, of which each measurement takes `length_s` and the time to connect, if
    /// anybody knows.
    pub(super) fn new(
        length_s: Option<f64>,
        stopped_by: &'a (dyn Fn() -> Option<&'static str> + Sync),
    ) -> Self {
        Self { length_s, stopped_by, begun: Instant::now(), pace: Mutex::new(Pace::default()) }
    }

    /// Which measurement it is, what is done in it, how long the run has taken and how long it will take.
    fn line(&self, position: &Position<'_>, progress: Option<&Progress>, over: Duration) -> String {
        let Position { round, rounds, system, .. } = position;
        let (number, of) = measurement(position);
        let doing = progress.map_or_else(String::new, |progress| format!(": {}", self.doing(progress, over)));
        let gone = told(self.begun.elapsed().as_secs_f64());
        let pace = self.pace.lock();
        // What the profile plans is the load alone, without what it takes to begin it.
        let played_s = progress.map_or(0.0, |progress| progress.elapsed_ms.load(Relaxed) as f64 / 1_000.0);
        let over_s = if played_s > 0.0 && !pace.knows(system) { played_s } else { over.as_secs_f64() };
        let left = pace.left_s(position, over_s, self.length_s);
        let is_ending = progress.is_some_and(|progress| progress.is_interrupted.load(Relaxed));
        let left = left.filter(|_| !is_ending);
        let left = left.map_or_else(String::new, |left_s| format!(", about {} left", told(left_s)));
        format!("measurement {number} of {of}, round {round} of {rounds}, {system}{doing}; {gone} gone{left}")
    }

    fn doing(&self, progress: &Progress, over: Duration) -> String {
        let elapsed_s = progress.elapsed_ms.load(Relaxed) as f64 / 1_000.0;
        let (done, to_do) = (progress.done.load(Relaxed), progress.to_do.load(Relaxed));
        match self.length_s {
            _ if progress.is_interrupted.load(Relaxed) => "ending".to_owned(),
            Some(length_s) if elapsed_s > 0.0 => format!("{elapsed_s:.0} of {length_s:.0} s"),
            _ if to_do > 0 => format!("{} of {}", count(done), count(to_do)),
            _ => told(over.as_secs_f64()),
        }
    }
}

fn bar() -> ProgressBar {
    let is_terminal = std::io::stderr().is_terminal();
    let target =
        if is_terminal { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("{spinner} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a run that has taken no time, however busy the machine is: it is to begin.
    fn line(length_s: Option<f64>) -> Line<'static> {
        Line { begun: Instant::now() + Duration::from_secs(3_600), ..Line::new(length_s, &|| None) }
    }

    #[test]
    fn each_measurement_is_told_with_how_many_there_are() {
        let line = line(None);
        let at = |number, system| Position { round: 2, rounds: 5, number, of: 3, system };
        let progress = Progress::default();
        progress.to_do.store(1_200, Relaxed);
        progress.done.store(37, Relaxed);
        let of = |position, progress| line.line(&position, progress, Duration::from_secs(7));
        assert_eq!(of(at(2, "quoth"), None), "measurement 5 of 15, round 2 of 5, quoth; 0 s gone");
        let told = of(at(2, "quoth"), Some(&progress));
        assert_eq!(told, "measurement 5 of 15, round 2 of 5, quoth: 37 of 1,200; 0 s gone");
        line.pace.lock().took("quoth", 10.0);
        let told = of(at(3, "relay"), Some(&progress));
        assert!(told.ends_with("relay: 37 of 1,200; 0 s gone, about 1 min 33 s left"), "{told}");
        progress.to_do.store(0, Relaxed);
        assert!(of(at(3, "relay"), Some(&progress)).contains("relay: 7 s; 0 s gone"));
        // Who has asked to leave is not told how long it would have taken.
        progress.is_interrupted.store(true, Relaxed);
        assert!(of(at(3, "relay"), Some(&progress)).ends_with("relay: ending; 0 s gone"));
    }

    #[test]
    fn what_a_profile_plans_begins_with_the_load() {
        let line = line(Some(6.0));
        let position = Position { round: 1, rounds: 1, number: 1, of: 1, system: "quoth" };
        let progress = Progress::default();
        progress.elapsed_ms.store(1_000, Relaxed);
        let of = || line.line(&position, Some(&progress), Duration::from_secs(4));
        assert!(of().ends_with("quoth: 1 of 6 s; 0 s gone, about 5 s left"), "{}", of());
        // By then it is known how long all of it takes.
        line.pace.lock().took("quoth", 9.0);
        assert!(of().ends_with("about 5 s left"), "{}", of());
        progress.elapsed_ms.store(3_000, Relaxed);
        assert!(of().ends_with("quoth: 3 of 6 s; 0 s gone, about 5 s left"), "{}", of());
    }
}
