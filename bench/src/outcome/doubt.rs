//! When the floor of the disk is none: what was to be the least that it needs had to wait for a processor, or
//! for others at the disk.
//!
//! Three things tell: other programs kept the processors busy during the run; the appending thread's timer
//! came late, which ends with a wake-up as a flush does; and its appends took a few times what the same file
//! took just before the load, in the quietest round. Each alone is enough, since a disturbance may show in
//! one of them only.

use super::{Outcome, Ratio, Surroundings, System, median};
use crate::figure::{Figure, Quantile, TIMER};
use crate::lateness;
use crate::run::APPEND;
use crate::unit::{Scale, number};

/// What half of the quiet probe's appends took at most, in microseconds; a value of each round.
pub const QUIET_P50: &str = "quiet_p50_us";

/// The same, 99 of 100.
pub const QUIET_P99: &str = "quiet_p99_us";

/// How much later than in the median its timer may be at the p99, as a part of the floor's p99. What it is
/// late in the median is what a wake-up takes on this machine, for the server as well.
const LATE_MAX: f64 = 1.0 / 3.0;

/// How many times its quiet probe a floor may be. Up to two are the load's own: what is due during a flush
/// waits for the next.
const QUIET_MAX: f64 = 3.0;

/// The part of all processors that others may keep busy: what a desktop or a quiet server does by the way.
const OTHERS_MAX: f64 = 0.1;

/// The part of the processors' time that the hypervisor may give to others.
const STEAL_MAX: f64 = 0.02;

impl Surroundings {
    /// Processors that others kept busy, where those are more than a run bears that has so many of them.
    #[must_use]
    pub fn crowded_by(&self, cores: usize) -> Option<f64> {
        self.others_cpu.filter(|others| *others > OTHERS_MAX * cores.max(1) as f64)
    }

    /// The part of the time that was stolen, where that is more than a run bears.
    #[must_use]
    pub fn robbed_of(&self) -> Option<f64> {
        self.steal.filter(|steal| *steal > STEAL_MAX)
    }
}

impl Outcome {
    /// Marks the ratios that stand on a doubtful floor of the disk, or on what is the bench's lateness more
    /// than anything else.
    pub fn mark_doubts(&mut self) {
        let doubts: Vec<_> = self.ratios.iter().map(|ratio| self.doubt_of(ratio)).collect();
        for (ratio, doubt) in self.ratios.iter_mut().zip(doubts) {
            ratio.doubt = doubt;
        }
    }

    /// Each ratio is doubted by its own quantile. A rate hangs on what most flushes took.
    fn doubt_of(&self, ratio: &Ratio) -> Option<String> {
        let is_of_last = [" p95", " p99"].iter().any(|quantile| ratio.what.contains(quantile));
        let quantile = if is_of_last { Quantile::P99 } else { Quantile::P50 };
        let disk = self.systems.iter().find(|system| system.name == APPEND && ratio.what.contains(APPEND));
        disk.and_then(|disk| self.doubt(disk, quantile)).or_else(|| lateness::doubt(self, ratio))
    }

    /// Why a floor is doubtful at this quantile, by itself or by what else the machine did; `None` where
    /// nothing speaks against it.
    #[must_use]
    pub fn doubt(&self, floor: &System, quantile: Quantile) -> Option<String> {
        floor.doubt(quantile).or_else(|| self.busy().filter(|_| floor.name == APPEND))
    }

    /// Who else had the processors, where that is more than a run bears: as in
    /// `other programs kept 1.20 of 2 processors busy`.
    #[must_use]
    pub fn busy(&self) -> Option<String> {
        let cores = self.machine.cores;
        let crowded = self.surroundings.crowded_by(cores);
        let crowded = crowded
            .map(|others| format!("other programs kept {} of {cores} processors busy", number(others)));
        let robbed = self.surroundings.robbed_of();
        crowded.or_else(|| {
            robbed.map(|steal| {
                format!("the hypervisor took {} % of the processors' time", number(steal * 100.0))
            })
        })
    }
}

impl System {
    /// Why it is a doubtful floor of the disk at this quantile, by itself; `None` of all others. The p95 and
    /// what lies behind it are held against the p99's, what lies before it against the p50's; who waited with
    /// half of the appends did so with the last of a hundred.
    #[must_use]
    pub fn doubt(&self, quantile: Quantile) -> Option<String> {
        if self.name != APPEND {
            return None;
        }
        let of_half = self.beyond_quiet(Quantile::P50, QUIET_P50);
        if quantile < Quantile::P95 {
            return of_half;
        }
        of_half.or_else(|| self.beyond_quiet(Quantile::P99, QUIET_P99)).or_else(|| self.late())
    }

    fn median_us(&self, latency: &str, quantile: Quantile) -> f64 {
        let figure = Figure::Latency(latency.to_owned(), quantile);
        median(&self.rounds.iter().filter_map(|round| figure.of(round)).collect::<Vec<_>>())
    }

    fn beyond_quiet(&self, quantile: Quantile, quiet: &str) -> Option<String> {
        let floor_us = self.median_us("ack", quantile);
        let quiet_us = self.rounds.iter().filter_map(|round| round.values.get(quiet).copied());
        let quiet_us = quiet_us.min_by(f64::total_cmp)?;
        (floor_us > quiet_us * QUIET_MAX).then(|| {
            format!(
                "{} of {} is {}, {} times the {} that it took just before its load: it waited for a processor or for others at the \
                 disk",
                quantile.name(),
                self.name,
                told(floor_us),
                number(floor_us / quiet_us),
                told(quiet_us)
            )
        })
    }

    fn late(&self) -> Option<String> {
        let floor_us = self.median_us("ack", Quantile::P99);
        let late_us = self.median_us(TIMER, Quantile::P99);
        // Nothing that is not known is greater.
        (late_us - self.median_us(TIMER, Quantile::P50) > floor_us * LATE_MAX).then(|| {
            format!(
                "p99 of {} is {} while its timer was {} late: it waited for a processor",
                self.name,
                told(floor_us),
                told(late_us)
            )
        })
    }
}

fn told(us: f64) -> String {
    Scale::of_time(us).write(us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;

    /// The disk alone, with its p50 at 872 µs and its p99 at 3.74 ms.
    fn append() -> System {
        sample().systems.swap_remove(2)
    }

    fn with_quiet(quiet_us: [f64; 2]) -> System {
        let mut floor = append();
        for round in &mut floor.rounds {
            round.values.extend([(QUIET_P50.to_owned(), quiet_us[0]), (QUIET_P99.to_owned(), quiet_us[1])]);
        }
        floor
    }

    fn with_late(late_us: [f64; 2]) -> System {
        let mut floor = append();
        for round in &mut floor.rounds {
            let mut timer = round.latencies["ack"].clone();
            (timer.p50_us, timer.p99_us) = (late_us[0], late_us[1]);
            round.latencies.insert(TIMER.to_owned(), timer);
        }
        floor
    }

    fn doubts(floor: &System) -> [bool; 3] {
        [Quantile::P50, Quantile::P95, Quantile::P99].map(|quantile| floor.doubt(quantile).is_some())
    }

    #[test]
    fn a_floor_of_which_nothing_else_is_known_is_taken_as_it_is() {
        assert_eq!(doubts(&append()), [false; 3]);
        assert_eq!(doubts(&with_quiet([600.0, 2_000.0])), [false; 3]);
        // A wake-up that takes as long as the disk does is the machine's own.
        assert_eq!(doubts(&with_late([900.0, 1_300.0])), [false; 3]);
    }

    #[test]
    fn each_quantile_is_held_against_its_own() {
        let floor = with_quiet([800.0, 900.0]);
        assert_eq!(doubts(&floor), [false, true, true]);
        let told = floor.doubt(Quantile::P99).unwrap();
        assert!(told.starts_with("p99 of append is 3.74 ms, 4.15 times the 900 µs"), "{told}");
        // Who waits with half of them waits with the last too, whatever the probe's last took.
        assert_eq!(doubts(&with_quiet([200.0, 90_000.0])), [true; 3]);
        let late = with_late([60.0, 1_400.0]);
        assert_eq!(doubts(&late), [false, true, true]);
        let told = late.doubt(Quantile::P99).unwrap();
        assert!(told.contains("while its timer was 1.40 ms late: it waited for a processor"), "{told}");
    }

    #[test]
    fn the_quietest_round_tells_what_quiet_is() {
        let mut floor = with_quiet([800.0, 3_500.0]);
        floor.rounds[3].values.insert(QUIET_P99.to_owned(), 700.0);
        assert_eq!(doubts(&floor), [false, true, true]);
    }

    #[test]
    fn ratios_are_marked_by_their_own_quantile() {
        let mut outcome = sample();
        let what = [
            "delivery p50: quoth over (quinn relay + append)",
            "delivery p99: quoth over (quinn relay + append)",
        ];
        outcome.ratios[0].what = what[0].to_owned();
        outcome.ratios[1].what = what[1].to_owned();
        outcome.systems[2] = with_quiet([800.0, 900.0]);
        outcome.mark_doubts();
        let marked: Vec<_> = outcome.ratios.iter().map(|ratio| ratio.doubt.is_some()).collect();
        assert_eq!(marked, [false, true, false]);
        outcome.systems[2] = with_quiet([200.0, 900.0]);
        outcome.ratios[2].what = "acks/s: quoth over append".to_owned();
        outcome.mark_doubts();
        assert!(outcome.ratios.iter().all(|ratio| ratio.doubt.is_some()));
    }

    #[test]
    fn a_busy_machine_has_no_floor_of_the_disk() {
        let mut outcome = sample();
        let doubt = |outcome: &Outcome, i: usize| outcome.doubt(&outcome.systems[i], Quantile::P50);
        assert_eq!(doubt(&outcome, 2), None);
        outcome.surroundings.others_cpu = Some(1.2);
        assert_eq!(doubt(&outcome, 2).as_deref(), Some("other programs kept 1.20 of 2 processors busy"));
        assert_eq!(doubt(&outcome, 1), None, "both ends of a network wait alike");
        outcome.surroundings.others_cpu = None;
        outcome.surroundings.steal = Some(0.13);
        assert!(doubt(&outcome, 2).unwrap().contains("took 13.0 %"));
    }
}
