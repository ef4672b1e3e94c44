//! Slow mode: when somebody may write again. It begins anew with the process: a restart forgives one interval.

use std::collections::HashMap;

use quoth_protocol::{Code, ConversationName, UserId};

use super::Refusal;

/// Users that are remembered before the first look for those whose interval is over.
const LOOK_AT_USERS: usize = 1_024;

/// Who has written when, in the conversations that are in slow mode.
#[derive(Debug, Default)]
pub struct SlowModes {
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

    use super::{LOOK_AT_USERS, SlowModes};

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
    fn whose_interval_is_over_is_forgotten() {
        let (mut slow, room) = (SlowModes::default(), ConversationName::new("a").unwrap());
        for i in 0..10 * LOOK_AT_USERS as u64 {
            let user = UserId::new(format!("u{i}")).unwrap();
            assert_eq!(slow.take(&room, &user, 10, i), Ok(()));
        }
        assert!(slow.users.len() <= LOOK_AT_USERS + 1, "{}", slow.users.len());
    }
}
