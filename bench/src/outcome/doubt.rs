//! When a floor is none: what was to be the least that the disk needs had to wait for a processor, or for others at the disk.
//!
//! A flush ends with a wake-up, as a timer does, so a thread whose timer is late by as much as its flushes take has measured how
//! busy the processors were. And a flush takes a few times as long when somebody else uses the disk. Both show against what the
//! same file took just before its own load began, in the quietest round.

use super::{System, median};
use crate::figure::{Figure, Quantile, TIMER};
use crate::unit::{Scale, number};

/// What the floor's own quiet probe took, half of it at most, in microseconds: of each round's values.
pub const QUIET_P50: &str = "quiet_p50_us";

/// The same, 99 of 100.
pub const QUIET_P99: &str = "quiet_p99_us";

/// How late its timer may be, as a part of the floor.
const LATE_MAX: f64 = 0.5;

/// How many times its quiet probe a floor may be. Up to two are the load's own: what is due during a flush waits for the next.
const QUIET_MAX: f64 = 3.0;

impl System {
    /// Why it is a doubtful floor at this quantile; `None` where nothing speaks against it, and for systems that nothing is known
    /// of. Behind the p99 the p99 speaks, before it the p50.
    #[must_use]
    pub fn doubt(&self, quantile: Quantile) -> Option<String> {
        let (quantile, quiet) =
            if quantile < Quantile::P95 { (Quantile::P50, QUIET_P50) } else { (Quantile::P99, QUIET_P99) };
        let rounds = |latency: &str| -> Vec<f64> {
            let figure = Figure::Latency(latency.to_owned(), quantile);
            self.rounds.iter().filter_map(|round| figure.of(round)).collect()
        };
        let (floor_us, late_us) = (median(&rounds("ack")), median(&rounds(TIMER)));
        let quiet_us = self.rounds.iter().filter_map(|round| round.values.get(quiet).copied());
        let quiet_us = quiet_us.min_by(f64::total_cmp).unwrap_or(f64::NAN);
        let told = |us: f64| Scale::of_time(us).write(us);
        let head = format!("{} of {} is {}", quantile.name(), self.name, told(floor_us));
        // Nothing that is not known is greater.
        if late_us > floor_us * LATE_MAX {
            return Some(format!(
                "{head} while its timer was {} late: it waited for a processor",
                told(late_us)
            ));
        }
        (floor_us > quiet_us * QUIET_MAX).then(|| {
            format!(
                "{head}, {} times the {} that it took just before its load: it waited for a processor or for others at the disk",
                number(floor_us / quiet_us),
                told(quiet_us)
            )
        })
    }
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
        assert_eq!(doubts(&with_late([60.0, 400.0])), [false; 3]);
    }

    #[test]
    fn each_quantile_is_held_against_its_own() {
        let floor = with_quiet([800.0, 900.0]);
        assert_eq!(doubts(&floor), [false, true, true]);
        let told = floor.doubt(Quantile::P99).unwrap();
        assert!(told.starts_with("p99 of append is 3.74 ms, 4.15 times the 900 µs"), "{told}");
        assert_eq!(doubts(&with_quiet([200.0, 2_000.0])), [true, false, false]);
        assert_eq!(doubts(&with_late([60.0, 2_500.0])), [false, true, true]);
        let told = with_late([600.0, 400.0]).doubt(Quantile::P50).unwrap();
        assert!(told.contains("while its timer was 600 µs late: it waited for a processor"), "{told}");
    }

    #[test]
    fn the_quietest_round_tells_what_quiet_is() {
        let mut floor = with_quiet([800.0, 3_500.0]);
        floor.rounds[3].values.insert(QUIET_P99.to_owned(), 700.0);
        assert_eq!(doubts(&floor), [false, true, true]);
    }
}
