//! How fast something may go on, with a burst: token buckets.

/// Seconds' worth that a bucket holds when it is full: what may come at once after a rest. A stream's
/// publishes that may wait for their acks (256) then fit into the burst of 100 a second.
pub const BURST_S: u64 = 3;

/// How long a wait may get. It bounds what a jump of the clock can do, and the place of whoever comes last in
/// a queue of many.
pub const WAIT_MAX_MS: u64 = 60_000;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_HOUR: u64 = 3_600 * NS_PER_S;

/// Units in a time in the long run, with a burst at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    units: u64,
    in_ns: u64,
    burst_ns: u64,
}

impl Pace {
    /// So many units per second, with [`BURST_S`] seconds' worth at once; `None` for 0, which is no limit.
    #[must_use]
    pub const fn new(per_second: u64) -> Option<Self> {
        Self::of(per_second, NS_PER_S, BURST_S * NS_PER_S)
    }

    /// So many units per hour, which may all come at once; `None` for 0, which is no limit.
    #[must_use]
    pub const fn per_hour(units: u64) -> Option<Self> {
        Self::of(units, NS_PER_HOUR, NS_PER_HOUR)
    }

    const fn of(units: u64, in_ns: u64, burst_ns: u64) -> Option<Self> {
        if units == 0 { None } else { Some(Self { units, in_ns, burst_ns }) }
    }

    /// How long so many units last, in nanoseconds.
    const fn lasts_ns(self, units: u64) -> u64 {
        units.saturating_mul(self.in_ns) / self.units
    }
}

/// A bucket that fills by itself. All that it has to know is when it will be full, so it is one number, which
/// one that is shared keeps as an atomic: take it out with [`Bucket::from_full_at_ns`] and put it back from
/// [`Bucket::full_at_ns`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// A full one.
    pub const FULL: Self = Self { full_at_ns: 0 };

    /// The one that is full at this time, in nanoseconds since 1970.
    #[must_use]
    pub const fn from_full_at_ns(full_at_ns: u64) -> Self {
        Self { full_at_ns }
    }

    /// When it is full if nothing more is taken, in nanoseconds since 1970.
    #[must_use]
    pub const fn full_at_ns(self) -> u64 {
        self.full_at_ns
    }

    /// Whether it is full at `now_ms`, in milliseconds since 1970. Such a one need not be kept.
    #[must_use]
    pub const fn is_full(self, now_ms: u64) -> bool {
        self.full_at_ns <= now_ms.saturating_mul(NS_PER_MS)
    }

    /// Takes units in any case at `now_ms`, in milliseconds since 1970, and says how long their owner has to
    /// wait for them, in milliseconds, rounded up: who comes first has the shorter wait, so a shared bucket
    /// is a fair queue. The wait is at most [`WAIT_MAX_MS`].
    #[must_use]
    pub fn reserve(&mut self, pace: Pace, units: u64, now_ms: u64) -> u64 {
        let now_ns = now_ms.saturating_mul(NS_PER_MS);
        let at_most_ns = now_ns.saturating_add(pace.burst_ns + WAIT_MAX_MS * NS_PER_MS);
        let begins_ns = self.full_at_ns.max(now_ns);
        self.full_at_ns = begins_ns.saturating_add(pace.lasts_ns(units)).min(at_most_ns);
        self.full_at_ns.saturating_sub(now_ns.saturating_add(pace.burst_ns)).div_ceil(NS_PER_MS)
    }

    /// Takes units at `now_ms`, in milliseconds since 1970, if they are there. What is more than a full
    /// bucket holds is there when it is full.
    ///
    /// # Errors
    /// In how many milliseconds they will be, rounded up, if nobody takes others before. Nothing was taken.
    pub fn take(&mut self, pace: Pace, units: u64, now_ms: u64) -> Result<(), u64> {
        let until_ns = now_ms.saturating_mul(NS_PER_MS).saturating_add(pace.burst_ns);
        // Beyond what it holds it is by the clock, which was put back.
        let begins_ns = self.full_at_ns.clamp(until_ns - pace.burst_ns, until_ns);
        let full_at_ns = begins_ns.saturating_add(pace.lasts_ns(units).min(pace.burst_ns));
        if full_at_ns > until_ns {
            return Err((full_at_ns - until_ns).div_ceil(NS_PER_MS));
        }
        self.full_at_ns = full_at_ns;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST_S, Bucket, Pace, WAIT_MAX_MS};

    const NOW_MS: u64 = 1_790_000_000_000;

    fn pace(per_second: u64) -> Pace {
        Pace::new(per_second).unwrap()
    }

    #[test]
    fn a_burst_is_free_and_then_each_waits_for_its_place() {
        let mut bucket = Bucket::FULL;
        let waits: Vec<_> = (0..33).map(|_| bucket.reserve(pace(10), 1, NOW_MS)).collect();
        assert!(waits[..30].iter().all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[30..], [100, 200, 300]);
        assert_eq!(bucket.reserve(pace(10), 1, NOW_MS + 400), 0, "their places are over");
        assert_eq!(Pace::new(0), None);
    }

    #[test]
    fn it_fills_again_and_is_full_after_the_burst() {
        let mut bucket = Bucket::FULL;
        assert!(bucket.is_full(0) && bucket.is_full(NOW_MS));
        assert_eq!(bucket.reserve(pace(1_000), 1_000 * BURST_S, NOW_MS), 0);
        assert!(!bucket.is_full(NOW_MS + 1_000 * BURST_S - 1) && bucket.is_full(NOW_MS + 1_000 * BURST_S));
        assert_eq!(bucket.reserve(pace(1_000), 500, NOW_MS + 500), 0, "what has filled meanwhile");
        assert_eq!(bucket.reserve(pace(1_000), 1, NOW_MS + 500), 1);
    }

    #[test]
    fn in_the_long_run_it_is_the_rate_whatever_comes() {
        let (mut bucket, mut now_ms, mut units) = (Bucket::FULL, NOW_MS, 0);
        while now_ms < NOW_MS + 60_000 {
            let some = 1 + units % 7;
            now_ms += bucket.reserve(pace(333), some, now_ms);
            units += some;
        }
        let expected = 333 * (60 + BURST_S);
        assert!(units.abs_diff(expected) <= 7 + 333 / 10, "{units} instead of {expected}");
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut bucket = Bucket::FULL;
        let taken = (0..1_000).filter(|_| bucket.take(pace(5), 1, NOW_MS).is_ok()).count();
        assert_eq!(taken, 15);
        assert_eq!(bucket.take(pace(5), 1, NOW_MS + 199), Err(1));
        assert_eq!(bucket.take(pace(5), 1, NOW_MS + 200), Ok(()));
    }

    #[test]
    fn an_hours_worth_may_come_at_once_and_then_it_is_the_rate() {
        let (mut bucket, pace) = (Bucket::FULL, Pace::per_hour(100).unwrap());
        assert_eq!(
            [60, 30, 20].map(|units| bucket.take(pace, units, NOW_MS)),
            [Ok(()), Ok(()), Err(360_000)]
        );
        assert_eq!(bucket.take(pace, 10, NOW_MS), Ok(()), "what was not taken is there");
        assert_eq!(bucket.take(pace, 1, NOW_MS + 36_000), Ok(()));
        let full_ms = NOW_MS + 36_000 + 3_600_000;
        assert!(bucket.take(pace, 1_000, full_ms - 1).is_err());
        assert_eq!(bucket.take(pace, 1_000, full_ms), Ok(()), "all that it holds");
        assert_eq!(bucket.take(pace, 1, NOW_MS), Err(36_000), "a clock may go back");
    }

    #[test]
    fn a_clock_that_goes_back_costs_no_more_than_the_longest_wait() {
        let mut bucket = Bucket::FULL;
        assert_eq!(bucket.reserve(pace(10), 1, NOW_MS), 0);
        let back_ms = NOW_MS - 3_600_000;
        assert_eq!(bucket.reserve(pace(10), 1, back_ms), WAIT_MAX_MS);
        assert_eq!(bucket.reserve(pace(10), u64::MAX, NOW_MS), WAIT_MAX_MS, "nor does any number");
        assert_eq!(Bucket::from_full_at_ns(bucket.full_at_ns()), bucket);
    }
}
