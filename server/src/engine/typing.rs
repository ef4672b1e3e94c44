//! Typing notices on their way to a connection. Most connections never get one, so an idle queue holds
//! nothing: a channel of tokio's holds 1.5 KB from the beginning.

use std::collections::VecDeque;

use parking_lot::Mutex;
use quoth_protocol::{ConversationName, UserId};
use tokio::sync::Notify;

/// Notices that wait for a connection; more are dropped.
const WAITING_MAX: usize = 16;

/// Somebody types in a conversation.
#[derive(Debug, Clone)]
pub struct Typing {
    /// Where.
    pub conversation: ConversationName,
    /// Who.
    pub user: UserId,
}

/// The notices that wait for one connection.
#[derive(Debug, Default)]
pub struct Typings {
    waiting: Mutex<VecDeque<Typing>>,
    arrived: Notify,
}

impl Typings {
    /// Adds a notice, unless too many wait.
    pub(super) fn push(&self, typing: &Typing) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push_back(typing.clone());
            self.arrived.notify_one();
        }
    }

    /// The next notice. For one task at a time; dropping the future loses nothing.
    pub async fn next(&self) -> Typing {
        loop {
            if let Some(typing) = self.pop() {
                return typing;
            }
            self.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<Typing> {
        let mut waiting = self.waiting.lock();
        let next = waiting.pop_front();
        if waiting.is_empty() {
            waiting.shrink_to_fit();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, UserId};

    use super::{Typing, Typings, WAITING_MAX};

    fn typing(user: usize) -> Typing {
        let conversation = ConversationName::new("general").unwrap();
        Typing { conversation, user: UserId::new(format!("user {user}")).unwrap() }
    }

    #[tokio::test]
    async fn notices_come_in_order_and_the_last_ones_of_too_many_are_dropped() {
        let typings = Typings::default();
        (0..WAITING_MAX + 3).for_each(|user| typings.push(&typing(user)));
        for user in 0..WAITING_MAX {
            assert_eq!(typings.next().await.user, typing(user).user);
        }
        assert!(typings.pop().is_none());
        assert_eq!(typings.waiting.lock().capacity(), 0);
    }

    #[tokio::test]
    async fn a_notice_wakes_the_one_that_waits() {
        let typings = Typings::default();
        let (next, ()) = tokio::join!(typings.next(), async { typings.push(&typing(1)) });
        assert_eq!(next.user, typing(1).user);
    }
}
