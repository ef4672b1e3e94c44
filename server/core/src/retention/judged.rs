//! The time by which everything is judged and stored. It does not go back with the clock, by a day at most.

/// So much later than the clock may be what is judged by, in milliseconds: a day, as wrong time zones make
/// it.
const SET_BACK_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// The time by which everything is judged and stored when the clock says `now_ms`, where it was judged, or
/// something was stored, at `latest_ms` before; in milliseconds since 1970.
///
/// A clock that is set back brings nothing back. But one that was far ahead must not count for ever either:
/// whatever was stored by then would be kept until it is right again. Which of both is wrong nobody can tell,
/// so more than a day is no setting back, and the clock is right as it is.
#[must_use]
pub const fn judged_ms(latest_ms: u64, now_ms: u64) -> u64 {
    if latest_ms > now_ms && latest_ms - now_ms <= SET_BACK_MAX_MS { latest_ms } else { now_ms }
}

/// That time as it goes on. While the clock is behind it, it goes half as fast: so what is to expire does,
/// late by twice its time at most, and the clock catches up.
///
/// It is one number, which one that is shared keeps as an atomic: take it out with [`JudgedTime::from_origin_ms`]
/// and put it back from [`JudgedTime::origin_ms`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JudgedTime {
    origin_ms: u64,
}

impl JudgedTime {
    /// It is `judged_ms`, in milliseconds since 1970, where `elapsed_ms` have gone by on a clock that nobody
    /// sets.
    #[must_use]
    pub const fn of(judged_ms: u64, elapsed_ms: u64) -> Self {
        Self { origin_ms: judged_ms.saturating_sub(elapsed_ms / 2) }
    }

    /// The one with this origin.
    #[must_use]
    pub const fn from_origin_ms(origin_ms: u64) -> Self {
        Self { origin_ms }
    }

    /// What it would have been when nothing had elapsed, had it been ahead of the clock since then; in
    /// milliseconds since 1970.
    #[must_use]
    pub const fn origin_ms(self) -> u64 {
        self.origin_ms
    }

    /// How far it has gone on by itself, in milliseconds since 1970.
    #[must_use]
    pub const fn latest_ms(self, elapsed_ms: u64) -> u64 {
        self.origin_ms.saturating_add(elapsed_ms / 2)
    }

    /// What it is when the clock says `now_ms`, in milliseconds since 1970.
    #[must_use]
    pub const fn at(self, now_ms: u64, elapsed_ms: u64) -> u64 {
        judged_ms(self.latest_ms(elapsed_ms), now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::JudgedTime;

    const NOW_MS: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600 * 1_000;

    #[test]
    fn while_the_clock_is_behind_it_goes_half_as_fast_until_the_clock_has_caught_up() {
        let elapsed_ms = 5 * HOUR_MS;
        let (mut time, mut judged) = (JudgedTime::of(NOW_MS, elapsed_ms), NOW_MS);
        let set_back_ms = NOW_MS - HOUR_MS;
        for gone_ms in (0..4 * HOUR_MS).step_by(777) {
            let now_ms = set_back_ms + gone_ms;
            let next = time.at(now_ms, elapsed_ms + gone_ms);
            assert!(next >= judged, "it goes back by {} ms", judged - next);
            judged = next;
            time = JudgedTime::of(judged, elapsed_ms + gone_ms);
            let expected = now_ms.max(NOW_MS + gone_ms / 2);
            // Halves are lost where it is put back and taken out.
            assert!(judged.abs_diff(expected) <= 1, "{judged} and not {expected} after {gone_ms} ms");
            assert_eq!(judged > now_ms, gone_ms < 2 * HOUR_MS - 1, "after {gone_ms} ms");
        }
    }
}
