//! How far a command is, on a terminal.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use quoth_store::backup::Bytes;

/// How often it is shown.
const INTERVAL: Duration = Duration::from_millis(100);

/// Width of the bar, in columns.
const WIDTH: u64 = 30;

const MIB: u64 = 1024 * 1024;

/// A line that is written over and over, where the standard error is a terminal.
#[derive(Debug)]
pub(super) struct Bar {
    what: &'static str,
    is_terminal: bool,
    began: Instant,
    shown: Cell<Option<Instant>>,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { what, is_terminal, began: Instant::now(), shown: Cell::new(None) }
    }

    pub(super) fn show(&self, bytes: Bytes) {
        let is_due = self.shown.get().is_none_or(|shown| shown.elapsed() >= INTERVAL);
        if self.is_terminal && (is_due || bytes.done >= bytes.total) {
            self.shown.set(Some(Instant::now()));
            eprint!("\r{}\x1b[K", line(self.what, bytes, self.began.elapsed()));
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if self.shown.get().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(what: &str, Bytes { done, total }: Bytes, elapsed: Duration) -> String {
    let full = (done.saturating_mul(WIDTH)).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|column| if column < full { '#' } else { '.' }).collect();
    let per_s = u128::from(done) * 1_000 / elapsed.as_millis().max(1) / u128::from(MIB);
    format!("{what} [{bar}] {} of {} MiB, {per_s} MiB/s", done / MIB, total / MIB)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bytes, line};

    #[test]
    fn the_bar_is_as_full_as_it_is_far() {
        let at = |done: u64, total: u64| {
            line("copying", Bytes { done: done << 20, total: total << 20 }, Duration::from_secs(2))
        };
        assert_eq!(at(10, 20), "copying [###############...............] 10 of 20 MiB, 5 MiB/s");
        assert_eq!(at(0, 0), "copying [##############################] 0 of 0 MiB, 0 MiB/s");
        assert!(at(30, 20).contains("[##############################]"));
    }
}
