//! The committer's own copies of the states that it changes: ahead of what is out by what is not durable yet.
//!
//! What is out follows by the same events once they are durable ([`Known::release`]), so both come to the
//! same.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use quoth_core::membership::ConversationState;
use quoth_core::membership::user::UserState;
use quoth_core::messages::MessageState;
use quoth_core::retention::Kept;
use quoth_protocol::{ConversationName, UserId};

use super::states::{Known, KnownConversation, KnownUser, State};

/// Users that the copies of one kind know of together before some are dropped. A copy costs a pass over its
/// users once, so those of conversations that change again and again are kept.
const USERS_MAX: usize = 200_000;

/// Copies of one kind before some are dropped: each keeps its state in memory.
const COPIES_MAX: usize = 1_000;

/// Copies of one kind.
#[derive(Debug)]
pub(super) struct Copies<S: State> {
    copies: HashMap<S::Key, Copy<S>>,
    /// What the copies have, as each was when it was taken last.
    users: usize,
    /// How often any one was taken.
    taken: u64,
}

#[derive(Debug)]
struct Copy<S> {
    /// Kept in memory, so that what is out stays the same one.
    _known: Arc<Known<S>>,
    state: S,
    users: usize,
    /// When it was taken last, in takings.
    taken: u64,
}

/// Copies of all kinds.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) conversations: Copies<Option<ConversationState>>,
    pub(super) users: Copies<UserState>,
    pub(super) kept: Copies<Kept>,
    pub(super) messages: Copies<MessageState>,
}

impl<S: State> Default for Copies<S> {
    fn default() -> Self {
        Self { copies: HashMap::new(), users: 0, taken: 0 }
    }
}

impl<S: State + Clone> Copies<S>
where
    S::Key: Eq + Hash,
{
    /// A state as it is ahead of what is out, to be changed.
    pub(super) fn get_mut(&mut self, key: &S::Key, known: &Arc<Known<S>>) -> &mut S {
        self.taken += 1;
        let copy = self.copies.entry(key.clone()).or_insert_with(|| {
            let state = known.read().clone();
            Copy { _known: Arc::clone(known), state, users: 0, taken: 0 }
        });
        let users = copy.state.users();
        self.users = self.users - copy.users + users;
        (copy.users, copy.taken) = (users, self.taken);
        &mut copy.state
    }

    /// Looks at a state as it is ahead of what is out.
    pub(super) fn look<T>(&self, key: &S::Key, known: &Known<S>, look: impl FnOnce(&S) -> T) -> T {
        match self.copies.get(key) {
            Some(copy) => look(&copy.state),
            None => look(&known.read()),
        }
    }

    /// Everything that was changed is out: makes room if there are too many, of those that were not taken for
    /// the longest time. The last one stays, however many users it has.
    fn released(&mut self) {
        if self.users <= USERS_MAX && self.copies.len() <= COPIES_MAX {
            return;
        }
        let mut oldest: Vec<(u64, S::Key)> =
            self.copies.iter().map(|(key, copy)| (copy.taken, key.clone())).collect();
        oldest.sort_unstable_by_key(|(taken, _)| *taken);
        oldest.pop();
        for (_, key) in oldest {
            // Some room, so that this is rare.
            if self.users <= USERS_MAX / 4 * 3 && self.copies.len() <= COPIES_MAX / 4 * 3 {
                break;
            }
            self.users -= self.copies.remove(&key).map_or(0, |copy| copy.users);
        }
    }
}

impl Drafts {
    /// A conversation's copy, to be changed.
    pub(super) fn conversation(
        &mut self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
    ) -> &mut Option<ConversationState> {
        self.conversations.get_mut(name, known)
    }

    /// Whether a user has blocked another one.
    pub(super) fn blocks(&self, user: &UserId, known: &KnownUser, other: &UserId) -> bool {
        self.users.look(user, known, |state| state.blocks(other))
    }

    /// Everything that was changed is out.
    pub(super) fn released(&mut self) {
        self.conversations.released();
        self.users.released();
        self.kept.released();
        self.messages.released();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_store::{View, ViewError};

    use super::{COPIES_MAX, Copies, Known, State, USERS_MAX};

    #[derive(Debug, Clone, Default)]
    struct Crowd(usize);

    impl State for Crowd {
        type Key = u32;

        fn load(_: &dyn View, _: &u32) -> Result<Self, ViewError> {
            Ok(Self::default())
        }

        fn version(&self) -> u64 {
            0
        }

        fn users(&self) -> usize {
            self.0
        }
    }

    fn take(copies: &mut Copies<Crowd>, key: u32) -> &mut Crowd {
        copies.get_mut(&key, &Arc::new(Known::loaded(Crowd(1))))
    }

    fn kept(copies: &Copies<Crowd>) -> Vec<u32> {
        let mut kept: Vec<u32> = copies.copies.keys().copied().collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn what_was_not_taken_for_the_longest_time_goes_first_and_alone() {
        let mut copies = Copies::default();
        for key in 0..=u32::try_from(COPIES_MAX).unwrap() {
            take(&mut copies, key);
        }
        take(&mut copies, 0);
        copies.released();
        let kept = kept(&copies);
        assert_eq!(kept.len(), COPIES_MAX / 4 * 3);
        assert!(kept[0] == 0 && kept[1] > 250, "{:?}", &kept[..2]);
    }

    #[test]
    fn one_that_has_grown_over_the_bound_puts_out_the_others_and_stays() {
        let mut copies = Copies::default();
        for key in [1, 2, 3] {
            take(&mut copies, key);
        }
        take(&mut copies, 2).0 = USERS_MAX / 2;
        take(&mut copies, 2);
        copies.released();
        assert_eq!(kept(&copies), [1, 2, 3]);
        take(&mut copies, 2).0 = USERS_MAX + 1;
        take(&mut copies, 2);
        copies.released();
        assert_eq!(kept(&copies), [2]);
        take(&mut copies, 4);
        copies.released();
        assert_eq!((kept(&copies), copies.users), (vec![4], 1), "it is none of these any more");
    }
}
