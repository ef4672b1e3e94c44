//! Slow mode: when somebody may write again. Who has written before this began to watch a conversation is
//! learned from the store, once.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use quoth_protocol::{Code, ConversationName, UserId};

use super::Refusal;

/// Users that are remembered before the first look for those whose interval is over.
const LOOK_AT_USERS: usize = 1_024;

/// Conversations of which it is known who has written before. One more, and all are learned again when they
/// are written to.
const LEARNED_MAX: usize = 10_000;

/// Events of a conversation that are looked at for who has written within the interval: the last ones. Where
/// more than so many have come within it before a restart, those before are forgiven their interval, once.
pub const LOOKED_AT_MAX: usize = 1_000;

/// Who has written when, in the conversations that are in slow mode.
#[derive(Debug, Default)]
pub struct SlowModes {
    /// From when on everything is known here, in milliseconds since 1970.
    since_ms: u64,
    learned: HashSet<ConversationName>,
    /// When each may write again, as the interval was then, and when each has written.
    users: HashMap<(ConversationName, UserId), Written>,
    look_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    at_ms: u64,
    again_ms: u64,
}

impl SlowModes {
    /// Hears of everything that is written from `since_ms` on, in milliseconds since 1970.
    #[must_use]
    pub fn new(since_ms: u64) -> Self {
        Self { since_ms, ..Self::default() }
    }

    /// Between which times messages count at `now_ms` that this has not heard of and is to
    /// [learn](SlowModes::learn) of; `None`: there are none.
    #[must_use]
    pub fn unknown(&self, name: &ConversationName, interval_ms: u32, now_ms: u64) -> Option<Range<u64>> {
        let from_ms = now_ms.saturating_sub(interval_ms.into());
        // What was written in the millisecond in which this began may have been before.
        let until_ms = self.since_ms.saturating_add(1);
        (from_ms < until_ms && !self.learned.contains(name)).then_some(from_ms..until_ms)
    }

    /// Who has written in a conversation, and when, as far as the store says, among the last
    /// [`LOOKED_AT_MAX`] events. What is known to be later stays.
    pub fn learn(
        &mut self,
        name: &ConversationName,
        interval_ms: u32,
        written: impl IntoIterator<Item = (UserId, u64)>,
    ) {
        if self.learned.len() >= LEARNED_MAX {
            self.learned.clear();
        }
        self.learned.insert(name.clone());
        for (user, at_ms) in written {
            let last = Written { at_ms, again_ms: at_ms.saturating_add(interval_ms.into()) };
            let known = self.users.entry((name.clone(), user)).or_insert(last);
            if known.at_ms < at_ms {
                *known = last;
            }
        }
    }

    /// A user writes at `now_ms` who may do so once in `interval_ms`.
    ///
    /// # Errors
    /// [`Code::SLOW_MODE`] with the time that is left, when the last message is not so long ago.
    pub fn take(
        &mut self,
        name: &ConversationName,
        user: &UserId,
        interval_ms: u32,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let again_ms = |at_ms: u64| at_ms.saturating_add(interval_ms.into());
        let key = (name.clone(), user.clone());
        if let Some(written) = self.users.get(&key)
            && again_ms(written.at_ms) > now_ms
            // Otherwise the clock was put back.
            && written.at_ms <= now_ms
        {
            let reason = "this conversation is in slow mode";
            return Err(Refusal::until(Code::SLOW_MODE, reason, again_ms(written.at_ms), now_ms));
        }
        self.users.insert(key, Written { at_ms: now_ms, again_ms: again_ms(now_ms) });
        if self.users.len() > self.look_at.max(LOOK_AT_USERS) {
            self.users.retain(|_, written| written.again_ms > now_ms);
            self.look_at = 2 * self.users.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{Code, ConversationName, UserId};

    use super::{LEARNED_MAX, LOOK_AT_USERS, SlowModes};

    #[test]
    fn each_user_writes_once_in_an_interval() {
        let mut slow = SlowModes::default();
        let [a, b] = ["a", "b"].map(|name| ConversationName::new(name).unwrap());
        let [x, y] = ["x", "y"].map(|name| UserId::new(name).unwrap());
        assert_eq!(slow.take(&a, &x, 1_000, 10_000), Ok(()));
        assert_eq!(slow.take(&a, &y, 1_000, 10_000), Ok(()));
        assert_eq!(slow.take(&b, &x, 1_000, 10_000), Ok(()));
        let refused = slow.take(&a, &x, 1_000, 10_400).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_ms), (Code::SLOW_MODE, 600));
        assert!(slow.take(&a, &x, 1_000, 10_999).is_err(), "a refused one does not begin anew");
        assert_eq!(slow.take(&a, &x, 300, 10_400), Ok(()), "the present interval counts");
        assert_eq!(slow.take(&a, &x, 1_000, 11_400), Ok(()));
        assert_eq!(slow.take(&a, &x, 1_000, 5_000), Ok(()), "a clock may go back");
    }

    #[test]
    fn what_the_store_says_counts_and_what_is_known_to_be_later_stays() {
        let mut slow = SlowModes::new(10_800);
        let room = ConversationName::new("a").unwrap();
        let [x, y] = ["x", "y"].map(|name| UserId::new(name).unwrap());
        assert_eq!(slow.unknown(&room, 1_000, 11_000), Some(10_000..10_801));
        assert_eq!(slow.unknown(&room, 1_000, 11_801), None, "all of the interval is known");
        assert_eq!(slow.take(&room, &y, 1_000, 10_900), Ok(()));
        slow.learn(
            &room,
            1_000,
            [(x.clone(), 9_000), (x.clone(), 10_500), (x.clone(), 9_500), (y.clone(), 10_000)],
        );
        assert_eq!(slow.unknown(&room, 1_000, 11_000), None, "the store is asked once");
        assert_eq!(slow.take(&room, &x, 1_000, 11_000).unwrap_err().retry_after_ms, 500);
        assert_eq!(slow.take(&room, &y, 1_000, 11_000).unwrap_err().retry_after_ms, 900);
        for i in 0..LEARNED_MAX {
            slow.learn(&ConversationName::new(format!("c{i}")).unwrap(), 1_000, []);
        }
        assert!(slow.unknown(&room, 1_000, 11_000).is_some() && slow.learned.len() <= LEARNED_MAX);
    }

    #[test]
    fn whose_interval_is_over_is_forgotten() {
        let (mut slow, room) = (SlowModes::default(), ConversationName::new("a").unwrap());
        for i in 0..10 * LOOK_AT_USERS as u64 {
            let user = UserId::new(format!("u{i}")).unwrap();
            assert_eq!(slow.take(&room, &user, 10, i), Ok(()));
        }
        assert!(slow.users.len() <= LOOK_AT_USERS + 1, "{}", slow.users.len());
    }
}
