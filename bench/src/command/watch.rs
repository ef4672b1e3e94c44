//! The progress line.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::load::Progress;
use crate::run::{Position, Watch};

/// How often the line moves, and how soon a request to leave is seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// Tells on standard error: a line that moves on a terminal, one line for each measurement elsewhere.
pub(super) struct Line<'a> {
    /// What one measurement takes without connecting, in seconds; `None` where nobody knows.
    pub(super) length_s: Option<f64>,
    pub(super) stopped_by: &'a (dyn Fn() -> Option<&'static str> + Sync),
}

impl Watch for Line<'_> {
    fn during<T>(&self, position: Position<'_>, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
        let Position { round, rounds, system, .. } = position;
        let progress = Arc::new(Progress::default());
        let bar = bar();
        if bar.is_hidden() {
            let _nobody_reads = std::io::Write::write_all(
                &mut std::io::stderr().lock(),
                format!("round {round} of {rounds}: {system}\n").as_bytes(),
            );
        }
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let is_done = is_done;
                let started = Instant::now();
                while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(INTERVAL) {
                    progress.is_interrupted.fetch_or((self.stopped_by)().is_some(), Relaxed);
                    bar.set_message(self.line(&position, &progress, started.elapsed()));
                }
                bar.finish_and_clear();
            });
            // Ends the line however the work ends.
            let _done: Sender<()> = done;
            work(&progress)
        })
    }

    fn stopped_by(&self) -> Option<&'static str> {
        (self.stopped_by)()
    }
}

impl Line<'_> {
    fn line(&self, position: &Position<'_>, progress: &Progress, running: Duration) -> String {
        let Position { round, rounds, system, number, of } = position;
        let elapsed_s = progress.elapsed_ms.load(Relaxed) as f64 / 1_000.0;
        let connected = progress.connected.load(Relaxed);
        let doing = match self.length_s {
            _ if progress.is_interrupted.load(Relaxed) => "ending".to_owned(),
            Some(_) if elapsed_s == 0.0 => format!("{connected} clients connected"),
            Some(length_s) => format!("{elapsed_s:.0} of {length_s:.0} s"),
            None => format!("{:.0} s", running.as_secs_f64()),
        };
        format!("round {round} of {rounds}, {number} of {of}: {system}: {doing}")
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
