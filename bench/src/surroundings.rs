//! What the machine does beside a run: whoever else works takes from what is measured.

use std::fs::read_to_string;
use std::time::Instant;

use crate::outcome::Surroundings;

/// `USER_HZ`, which Linux has fixed at 100 for what it tells in /proc.
const TICKS_PER_SECOND: f64 = 100.0;

/// A look at the machine at the begin of a run.
#[derive(Debug)]
pub struct Watched {
    at: Instant,
    load_average: Option<f64>,
    before: Option<Ticks>,
    /// A server that runs already, whose time is not others'.
    server: Option<u32>,
    /// Whether there is one whose process is not known.
    is_blind: bool,
}

/// Processor time up to now, in ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    all: f64,
    stolen: f64,
    /// Of programs' own code. What the kernel does for a disk and a network is done by threads and interrupts
    /// of its own, and nothing says for whom: with a flush for each message it takes more than all programs.
    programs: f64,
    /// The part of that of this process, its children that have ended, and a server that runs already.
    ours: f64,
}

impl Watched {
    /// Begins. `server` is the process of a server that runs already, where it is known.
    #[must_use]
    pub fn begin(server: Option<u32>, is_blind: bool) -> Self {
        Self { at: Instant::now(), load_average: load_average(), before: ticks(server), server, is_blind }
    }

    /// What the machine has done since then. All children have ended.
    #[must_use]
    pub fn end(self) -> Surroundings {
        let between = self.before.zip(ticks(self.server));
        let elapsed_s = self.at.elapsed().as_secs_f64();
        Surroundings {
            load_average_begin: self.load_average,
            load_average_end: load_average(),
            steal: between.and_then(|(was, is)| is.steal_since(was)),
            others_cpu: between.filter(|_| !self.is_blind).map(|(was, is)| is.others_since(was, elapsed_s)),
        }
    }
}

impl Ticks {
    /// The part of all processor time that was stolen.
    fn steal_since(self, was: Self) -> Option<f64> {
        let all = self.all - was.all;
        (all > 0.0).then(|| (self.stolen - was.stolen) / all)
    }

    /// Processors that others have kept busy. What we took is counted in whole ticks of each process, and so
    /// may be a few more.
    fn others_since(self, was: Self, elapsed_s: f64) -> f64 {
        let others = (self.programs - was.programs) - (self.ours - was.ours);
        (others / TICKS_PER_SECOND / elapsed_s).max(0.0)
    }
}

fn load_average() -> Option<f64> {
    read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn ticks(server: Option<u32>) -> Option<Ticks> {
    let stat = read_to_string("/proc/stat").ok()?;
    let (own, of_children) = of_process(&read_to_string("/proc/self/stat").ok()?)?;
    let server = server.and_then(|pid| of_process(&read_to_string(format!("/proc/{pid}/stat")).ok()?));
    of_machine(&stat, own + of_children + server.map_or(0.0, |(own, _)| own))
}

/// From the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are in
/// user and nice.
fn of_machine(stat: &str, ours: f64) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<f64> = line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, stolen] = fields.try_into().ok()?;
    let programs = user + nice;
    Some(Ticks { all: programs + system + idle + iowait + irq + softirq + stolen, stolen, programs, ours })
}

/// What a process has spent in its own code, and its children that were waited for in theirs: `utime` and
/// `cutime`.
fn of_process(stat: &str) -> Option<(f64, f64)> {
    let mut times = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
    Some((times.next()?.parse().ok()?, times.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let stat = "cpu  100 5 50 800 10 3 2 30 7 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        let told = of_machine(stat, 60.0).unwrap();
        assert_eq!(told, Ticks { all: 1_000.0, stolen: 30.0, programs: 105.0, ours: 60.0 });
        let process = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 31 4 20 5 0 0\n";
        assert_eq!(of_process(process), Some((31.0, 20.0)));
        assert_eq!((of_machine("", 0.0), of_process("")), (None, None));
    }

    #[test]
    fn our_own_work_is_not_that_of_others() {
        let was = Ticks { all: 1_000.0, stolen: 10.0, programs: 400.0, ours: 50.0 };
        let is = Ticks { all: 1_400.0, stolen: 30.0, programs: 650.0, ours: 200.0 };
        // In two seconds others have had one, and we one and a half.
        assert_eq!(is.others_since(was, 2.0).to_bits(), 0.5_f64.to_bits());
        assert_eq!(is.steal_since(was).map(f64::to_bits), Some(0.05_f64.to_bits()));
        assert_eq!(was.steal_since(was), None);
    }

    #[test]
    fn this_machine_tells_all_of_it() {
        let watched = Watched::begin(None, false);
        // A tick is a hundredth of a second; without one nothing can be stolen.
        while ticks(None).map(|ticks| ticks.all) == watched.before.map(|ticks| ticks.all) {}
        let told = watched.end();
        assert!(told.load_average_begin.is_some() && told.load_average_end.is_some(), "{told:?}");
        assert!(
            told.others_cpu.is_some() && told.steal.is_some_and(|steal| (0.0..=1.0).contains(&steal)),
            "{told:?}"
        );
        assert_eq!(
            Watched::begin(None, true).end().others_cpu,
            None,
            "of a server whose process is not known"
        );
    }
}
