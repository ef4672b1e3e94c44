//! Whether somebody else is asked who may not answer: after some failures in a row nobody waits for that any
//! more, but for one who tries from time to time. What one user asks about may be what is not answered, so no
//! user's questions decide alone that nobody answers.

use quoth_protocol::UserId;

/// Failures in a row after which nobody is asked for a while.
const FAILURES_MAX: usize = 5;

/// How many of these are of one user at most; further ones do not count.
const FAILURES_OF_USER_MAX: usize = 2;

/// How long nobody is asked at first, in milliseconds; doubled with each try that fails.
const PAUSE_MS_MIN: u64 = 1_000;

/// The longest of it, in milliseconds.
const PAUSE_MS_MAX: u64 = 30_000;

/// How much later than others those may try whose questions had no answer, in milliseconds: where anybody
/// else asks, they do not take each try for themselves.
const PRECEDENCE_MS: u64 = 1_000;

/// Counts failures and decides who asks. Begins with asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Whose questions had no answer since one had, the latest last: at most [`FAILURES_MAX`].
    failed: Vec<UserId>,
    /// Set while nobody is asked.
    pause: Option<Pause>,
    /// The number of the pause or of the try in it, whichever is later.
    round: Round,
}

/// When a question was asked: in which pause, or as which try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pause {
    length_ms: u64,
    ends_ms: u64,
}

impl Breaker {
    /// Whether to ask about a user at `now_ms`, in milliseconds since 1970; gives what [`Breaker::failed`]
    /// wants. At a pause's end one may, and the next one not before another pause: so a try whose asker has
    /// gone holds up nothing for longer.
    pub fn asks(&mut self, user: &UserId, now_ms: u64) -> Option<Round> {
        let later_ms = if self.failed.contains(user) { PRECEDENCE_MS } else { 0 };
        match &mut self.pause {
            None => Some(self.round),
            Some(pause) if now_ms >= pause.ends_ms.saturating_add(later_ms) => {
                pause.ends_ms = now_ms.saturating_add(pause.length_ms);
                self.round.0 += 1;
                Some(self.round)
            }
            Some(_) => None,
        }
    }

    /// How long to wait at `now_ms` before it can be of use to ask again, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        self.pause.map_or(PAUSE_MS_MIN, |pause| pause.ends_ms.saturating_sub(now_ms).max(PAUSE_MS_MIN))
    }

    /// There was an answer. Says whether that ends a time without.
    pub fn answered(&mut self) -> bool {
        self.failed.clear();
        self.pause.take().is_some()
    }

    /// There was none about a user, who asked in `round`, at `now_ms`, in milliseconds since 1970. Says whether
    /// that begins a time without.
    pub fn failed(&mut self, user: &UserId, round: Round, now_ms: u64) -> bool {
        self.count(user);
        let length_ms = match self.pause {
            // Who asked before the pause began, or before the latest try, says nothing new.
            Some(_) if round != self.round => return false,
            Some(pause) => (pause.length_ms * 2).min(PAUSE_MS_MAX),
            None if self.failed.len() < FAILURES_MAX => return false,
            None => PAUSE_MS_MIN,
        };
        let begins = self.pause.is_none();
        self.pause = Some(Pause { length_ms, ends_ms: now_ms.saturating_add(length_ms) });
        self.round.0 += 1;
        begins
    }

    fn count(&mut self, user: &UserId) {
        if self.failed.iter().filter(|failed| *failed == user).count() < FAILURES_OF_USER_MAX {
            if self.failed.len() == FAILURES_MAX {
                self.failed.remove(0);
            }
            self.failed.push(user.clone());
        }
    }

    /// Whether it is asked as usual.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.pause.is_none()
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::UserId;

    use super::{Breaker, FAILURES_MAX, PAUSE_MS_MAX, PAUSE_MS_MIN, PRECEDENCE_MS};

    fn user(n: usize) -> UserId {
        UserId::new(format!("user {n}")).unwrap()
    }

    /// One that several users had no answers for.
    fn broken() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=FAILURES_MAX {
            let asked = breaker.asks(&user(n), 0).expect("nobody has failed often");
            assert!(breaker.is_closed());
            assert_eq!(breaker.failed(&user(n), asked, 0), n == FAILURES_MAX);
        }
        breaker
    }

    #[test]
    fn some_failures_in_a_row_begin_a_pause_and_an_answer_ends_it() {
        let (mut breaker, other) = (broken(), user(0));
        assert!(breaker.asks(&other, PAUSE_MS_MIN - 1).is_none());
        assert!(breaker.asks(&other, PAUSE_MS_MIN).is_some(), "one tries");
        assert!(breaker.asks(&other, PAUSE_MS_MIN).is_none(), "and nobody else");
        assert!(breaker.answered() && breaker.asks(&other, PAUSE_MS_MIN).is_some() && breaker.is_closed());
        assert!(!breaker.answered(), "as usual");
    }

    #[test]
    fn single_failures_begin_none() {
        let mut breaker = Breaker::default();
        for n in 0..100 {
            let asked = breaker.asks(&user(n), 0).expect("it is asked as usual");
            assert!(!breaker.failed(&user(n), asked, 0));
            breaker.answered();
        }
    }

    #[test]
    fn nor_do_those_of_one_or_two_users_however_many_they_are() {
        let mut breaker = Breaker::default();
        for n in 0..100 {
            let asked = breaker.asks(&user(n % 2), 0).expect("it is asked as usual");
            assert!(!breaker.failed(&user(n % 2), asked, 0));
        }
        assert!(breaker.is_closed());
        let asked = breaker.asks(&user(2), 0).unwrap();
        assert!(breaker.failed(&user(2), asked, 0), "a third one has none either");
    }

    #[test]
    fn those_who_asked_before_do_not_lengthen_the_pause() {
        let before = Breaker::default().asks(&user(1), 0).unwrap();
        let mut breaker = broken();
        for now_ms in 0..PAUSE_MS_MIN {
            assert!(!breaker.failed(&user(1), before, now_ms));
        }
        let tries = breaker.asks(&user(0), PAUSE_MS_MIN).expect("one tries");
        assert!(!breaker.failed(&user(1), before, PAUSE_MS_MIN), "nor while somebody tries");
        assert!(!breaker.failed(&user(0), tries, PAUSE_MS_MIN) && breaker.wait_ms(PAUSE_MS_MIN) == 2_000);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut breaker, mut now_ms, mut pauses) = (broken(), 0, Vec::new());
        for n in 0..8 {
            let (other, begun_ms) = (user(100 + n), now_ms);
            let tries = loop {
                match breaker.asks(&other, now_ms) {
                    Some(tries) => break tries,
                    None => now_ms += 1,
                }
            };
            pauses.push(now_ms - begun_ms);
            breaker.failed(&other, tries, now_ms);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(*pauses.last().unwrap(), PAUSE_MS_MAX);
    }

    /// One user's questions alone have no answer. Others are not kept from trying by that, and what they ask
    /// has one.
    #[test]
    fn who_has_no_answer_tries_behind_others() {
        let (mut breaker, failing, other) = (broken(), user(1), user(0));
        assert!(breaker.asks(&failing, PAUSE_MS_MIN + PRECEDENCE_MS - 1).is_none());
        assert!(breaker.asks(&other, PAUSE_MS_MIN + PRECEDENCE_MS - 1).is_some());
        breaker = broken();
        assert!(breaker.asks(&failing, PAUSE_MS_MIN + PRECEDENCE_MS).is_some(), "where nobody else asks");
        assert!(breaker.answered());
    }

    #[test]
    fn who_has_no_answer_is_told_when_the_next_one_may_be() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.wait_ms(0), PAUSE_MS_MIN);
        breaker = broken();
        let tries = breaker.asks(&user(0), PAUSE_MS_MIN).unwrap();
        breaker.failed(&user(0), tries, PAUSE_MS_MIN);
        assert_eq!([PAUSE_MS_MIN, 2_500, 9_000].map(|now_ms| breaker.wait_ms(now_ms)), [2_000, 1_000, 1_000]);
    }

    #[test]
    fn a_try_that_never_ends_is_followed_by_another() {
        let mut breaker = broken();
        assert!(breaker.asks(&user(0), PAUSE_MS_MIN).is_some());
        assert!(breaker.asks(&user(0), 2 * PAUSE_MS_MIN).is_some());
    }
}
