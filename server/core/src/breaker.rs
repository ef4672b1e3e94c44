//! Whether somebody else is asked who may not answer: after some failures in a row nobody waits for that any
//! more, but for one who tries from time to time.

/// Failures in a row after which nobody is asked for a while.
const FAILURES_MAX: u32 = 5;

/// How long nobody is asked at first, in milliseconds; doubled with each try that fails.
const PAUSE_MS_MIN: u64 = 1_000;

/// The longest of it, in milliseconds.
const PAUSE_MS_MAX: u64 = 30_000;

/// Counts failures and decides who asks. Begins with asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    /// Set while nobody is asked.
    pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    length_ms: u64,
    ends_ms: u64,
    /// Whether somebody tries. The others who have no answer asked before the pause began.
    is_tried: bool,
}

impl Breaker {
    /// Whether to ask at `now_ms`, in milliseconds since 1970. During a pause's end one may, and the next one
    /// not before another pause: so a try whose asker has gone holds up nothing for longer.
    pub fn asks(&mut self, now_ms: u64) -> bool {
        match &mut self.pause {
            None => true,
            Some(pause) if now_ms >= pause.ends_ms => {
                pause.ends_ms = now_ms.saturating_add(pause.length_ms);
                pause.is_tried = true;
                true
            }
            Some(_) => false,
        }
    }

    /// How long to wait at `now_ms` before it can be of use to ask again, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        self.pause.map_or(PAUSE_MS_MIN, |pause| pause.ends_ms.saturating_sub(now_ms).max(PAUSE_MS_MIN))
    }

    /// There was an answer. Says whether that ends a time without.
    pub fn answered(&mut self) -> bool {
        self.failures = 0;
        self.pause.take().is_some()
    }

    /// There was none at `now_ms`, in milliseconds since 1970. Says whether that begins a time without.
    pub fn failed(&mut self, now_ms: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        let length_ms = match self.pause {
            Some(Pause { is_tried: false, .. }) => return false,
            Some(pause) => (pause.length_ms * 2).min(PAUSE_MS_MAX),
            None if self.failures < FAILURES_MAX => return false,
            None => PAUSE_MS_MIN,
        };
        let begins = self.pause.is_none();
        self.pause = Some(Pause { length_ms, ends_ms: now_ms.saturating_add(length_ms), is_tried: false });
        begins
    }

    /// Whether it is asked as usual.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.pause.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, FAILURES_MAX, PAUSE_MS_MAX, PAUSE_MS_MIN};

    fn broken() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=FAILURES_MAX {
            assert!(breaker.asks(0) && breaker.is_closed());
            assert_eq!(breaker.failed(0), n == FAILURES_MAX);
        }
        breaker
    }

    #[test]
    fn some_failures_in_a_row_begin_a_pause_and_an_answer_ends_it() {
        let mut breaker = broken();
        assert!(!breaker.asks(PAUSE_MS_MIN - 1));
        assert!(breaker.asks(PAUSE_MS_MIN), "one tries");
        assert!(!breaker.asks(PAUSE_MS_MIN), "and nobody else");
        assert!(breaker.answered() && breaker.asks(PAUSE_MS_MIN) && breaker.is_closed());
        assert!(!breaker.answered(), "as usual");
    }

    #[test]
    fn single_failures_begin_none() {
        let mut breaker = Breaker::default();
        for now_ms in 0..100 {
            assert!(!breaker.failed(now_ms));
            breaker.answered();
            assert!(breaker.asks(now_ms));
        }
    }

    #[test]
    fn those_who_asked_before_do_not_lengthen_the_pause() {
        let mut breaker = broken();
        for now_ms in 0..PAUSE_MS_MIN {
            assert!(!breaker.failed(now_ms));
        }
        assert!(breaker.asks(PAUSE_MS_MIN));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut breaker, mut now_ms, mut pauses) = (broken(), 0, Vec::new());
        for _ in 0..8 {
            let begun_ms = now_ms;
            while !breaker.asks(now_ms) {
                now_ms += 1;
            }
            pauses.push(now_ms - begun_ms);
            breaker.failed(now_ms);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(*pauses.last().unwrap(), PAUSE_MS_MAX);
    }

    #[test]
    fn who_has_no_answer_is_told_when_the_next_one_may_be() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.wait_ms(0), PAUSE_MS_MIN);
        breaker = broken();
        assert!(breaker.asks(PAUSE_MS_MIN));
        breaker.failed(PAUSE_MS_MIN);
        assert_eq!([PAUSE_MS_MIN, 2_500, 9_000].map(|now_ms| breaker.wait_ms(now_ms)), [2_000, 1_000, 1_000]);
    }

    #[test]
    fn a_try_that_never_ends_is_followed_by_another() {
        let mut breaker = broken();
        assert!(breaker.asks(PAUSE_MS_MIN));
        assert!(breaker.asks(2 * PAUSE_MS_MIN));
    }
}
