//! Cursors that have moved and are not stored yet, and those that were stored a moment ago.

use std::collections::BTreeMap;

use quoth_protocol::{ConversationName, Seq, UserId};

use super::Cursor;

/// Cursors on their way to the log, at most one record in an interval for each user and conversation. Times
/// are in milliseconds, by a clock that nobody sets.
///
/// What is stored stays known here until the view has it, so that nobody who looks at both finds an older
/// one.
#[derive(Debug)]
pub struct Pending {
    interval_ms: u64,
    users: BTreeMap<(ConversationName, UserId), OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    /// What is to be stored, if anything is.
    wanted: Option<Cursor>,
    /// What was stored last, and in which group of the log.
    stored: Option<(Cursor, u64)>,
    /// When the next one may be stored.
    next_ms: u64,
}

/// A cursor that is to be stored now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Where.
    pub conversation: ConversationName,
    /// Whose.
    pub user: UserId,
    /// How far; what is stored already may be further.
    pub cursor: Cursor,
}

impl Pending {
    /// Nothing yet. A user's cursor of a conversation is stored at most once in `interval_ms`.
    #[must_use]
    pub const fn new(interval_ms: u64) -> Self {
        Self { interval_ms, users: BTreeMap::new() }
    }

    /// A user has got and read so far. Says whether that is anything new, as far as it is known here.
    pub fn mark(&mut self, conversation: &ConversationName, user: &UserId, cursor: Cursor) -> bool {
        let of_user = self.users.entry((conversation.clone(), user.clone())).or_default();
        let known = of_user.wanted.or_else(|| of_user.stored.map(|(cursor, _)| cursor)).unwrap_or_default();
        if known.covers(cursor) {
            return of_user.wanted.is_some();
        }
        of_user.wanted = Some(of_user.wanted.unwrap_or_default().merged(cursor));
        true
    }

    /// The same, to be stored even when it is no news: [`Pending::take`] gives it in any case.
    pub fn want(&mut self, conversation: &ConversationName, user: &UserId, cursor: Cursor) {
        let of_user = self.users.entry((conversation.clone(), user.clone())).or_default();
        of_user.wanted = Some(of_user.wanted.unwrap_or_default().merged(cursor));
    }

    /// When something is to be stored next; none when nothing is to be.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let waiting = self.users.values().filter(|of_user| of_user.wanted.is_some());
        waiting.map(|of_user| of_user.next_ms).min()
    }

    /// Takes what is to be stored at `now_ms`, in the order of conversations, and at most so many: those that
    /// might have been stored first. [`Pending::stored`] tells what has become of each.
    pub fn take(&mut self, now_ms: u64, count_max: usize) -> Vec<Due> {
        self.take_due(now_ms, count_max, |of_user| of_user.next_ms <= now_ms)
    }

    /// The same of all that is to be stored, whenever it was to be.
    pub fn take_early(&mut self, now_ms: u64, count_max: usize) -> Vec<Due> {
        self.take_due(now_ms, count_max, |_| true)
    }

    fn take_due(&mut self, now_ms: u64, count_max: usize, is_due: impl Fn(&OfUser) -> bool) -> Vec<Due> {
        let is_due = |of_user: &OfUser| of_user.wanted.is_some() && is_due(of_user);
        let due = self.users.values().filter(|of_user| is_due(of_user));
        let mut times: Vec<u64> = due.map(|of_user| of_user.next_ms).collect();
        // What is before this time is taken, and so many of what is at this time.
        let (end_ms, mut at_end) = if times.len() > count_max {
            let (taken, end_ms, _) = times.select_nth_unstable(count_max);
            (*end_ms, taken.iter().filter(|ms| *ms == end_ms).count())
        } else {
            (u64::MAX, usize::MAX)
        };
        let mut due = Vec::new();
        for ((conversation, user), of_user) in &mut self.users {
            if !is_due(of_user) || of_user.next_ms > end_ms {
                continue;
            }
            if of_user.next_ms == end_ms {
                let Some(left) = at_end.checked_sub(1) else { continue };
                at_end = left;
            }
            if let Some(cursor) = of_user.wanted.take() {
                of_user.next_ms = now_ms.saturating_add(self.interval_ms);
                due.push(Due { conversation: conversation.clone(), user: user.clone(), cursor });
            }
        }
        due
    }

    /// A user's cursor is this one in the log, which has it at `position` or before.
    pub fn stored(&mut self, conversation: &ConversationName, user: &UserId, cursor: Cursor, position: u64) {
        let of_user = self.users.entry((conversation.clone(), user.clone())).or_default();
        let before = of_user.stored.map_or_else(Cursor::default, |(before, _)| before);
        of_user.stored = Some((before.merged(cursor), position));
    }

    /// A user's cursor as it was stored a moment ago; none when the view has what there is.
    #[must_use]
    pub fn recent(&self, conversation: &ConversationName, user: &UserId) -> Option<Cursor> {
        let of_user = self.users.get(&(conversation.clone(), user.clone()))?;
        of_user.stored.map(|(cursor, _)| cursor)
    }

    /// The cursors of a conversation that were stored a moment ago.
    pub fn recent_of(&self, conversation: &ConversationName) -> impl Iterator<Item = (&UserId, Cursor)> {
        // The first id there could be, since none has control characters.
        let first = UserId::new(" ").map(|first| (conversation.clone(), first));
        let from = first.ok().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
        let behind = self.users.range((from, std::ops::Bound::Unbounded));
        let of_conversation = behind.take_while(move |((of, _), _)| of == conversation);
        of_conversation.filter_map(|((_, user), of_user)| of_user.stored.map(|(cursor, _)| (user, cursor)))
    }

    /// Forgets what the view has up to log position `applied` and nothing waits for at `now_ms`.
    pub fn forget(&mut self, applied: u64, now_ms: u64) {
        self.users.retain(|_, of_user| {
            let is_applied = of_user.stored.is_none_or(|(_, position)| position <= applied);
            of_user.wanted.is_some() || of_user.next_ms > now_ms || !is_applied
        });
    }

    /// How many users and conversations are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Nobody has read anything.
impl From<Seq> for Cursor {
    fn from(read: Seq) -> Self {
        Self::new(read, read)
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{ConversationName, Seq, UserId};

    use super::{Due, Pending};
    use crate::receipts::Cursor;

    fn room() -> ConversationName {
        ConversationName::new("room").unwrap()
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn read(seq: u64) -> Cursor {
        Cursor::from(Seq(seq))
    }

    fn due(name: &str, seq: u64) -> Due {
        Due { conversation: room(), user: user(name), cursor: read(seq) }
    }

    #[test]
    fn a_cursor_is_stored_at_most_once_in_an_interval_and_the_furthest_counts() {
        let mut pending = Pending::new(1_000);
        assert_eq!(pending.due_ms(), None);
        assert!(pending.mark(&room(), &user("bob"), read(3)));
        assert_eq!(pending.due_ms(), Some(0), "the first one at once");
        assert_eq!(pending.take(5_000, 9), [due("bob", 3)]);
        pending.stored(&room(), &user("bob"), read(3), 7);
        for seq in [9, 4, 12, 11] {
            pending.mark(&room(), &user("bob"), read(seq));
        }
        assert_eq!((pending.take(5_999, 9), pending.due_ms()), (vec![], Some(6_000)));
        assert_eq!(pending.take(6_000, 9), [due("bob", 12)]);
        // One in each second, however often it moves.
        let mut taken = 0;
        for ms in 6_000..16_000 {
            pending.mark(&room(), &user("bob"), read(ms));
            taken += pending.take(ms, 9).len();
        }
        assert_eq!(taken, 9);
        pending.want(&room(), &user("bob"), read(1));
        assert_eq!(pending.take(15_000, 9), []);
        assert_eq!(pending.take_early(15_000, 9).len(), 1, "at the end nothing waits");
    }

    #[test]
    fn so_many_are_taken_at_once_and_those_that_wait_come_first_the_next_time() {
        let mut pending = Pending::new(1_000);
        let names = ["a", "b", "c", "d", "e"];
        let mark = |pending: &mut Pending, seq| {
            assert!(names.iter().all(|name| pending.mark(&room(), &user(name), read(seq))));
        };
        let taken = |due: Vec<Due>| due.into_iter().map(|due| due.user.to_string()).collect::<Vec<_>>();
        mark(&mut pending, 1);
        assert_eq!(taken(pending.take(5_000, 2)), ["a", "b"]);
        mark(&mut pending, 2);
        assert_eq!(pending.due_ms(), Some(0), "the others are due");
        assert_eq!(taken(pending.take(5_100, 2)), ["c", "d"]);
        mark(&mut pending, 3);
        assert_eq!(taken(pending.take(6_200, 4)), ["a", "b", "c", "e"]);
        assert_eq!(taken(pending.take(6_200, 4)), ["d"]);
        mark(&mut pending, 4);
        assert_eq!(taken(pending.take_early(6_300, 3)).len(), 3);
        assert_eq!(taken(pending.take_early(6_300, 3)).len(), 2);
        assert_eq!((taken(pending.take_early(6_300, 0)).len(), pending.due_ms()), (0, None));
    }

    #[test]
    fn what_is_known_is_no_news() {
        let mut pending = Pending::new(1_000);
        pending.mark(&room(), &user("bob"), read(3));
        assert!(pending.mark(&room(), &user("bob"), read(2)), "it waits with the one of before");
        pending.take(0, 9);
        pending.stored(&room(), &user("bob"), read(3), 7);
        assert!(!pending.mark(&room(), &user("bob"), read(3)));
        assert_eq!(pending.take(10_000, 9), []);
        assert!(pending.mark(&room(), &user("bob"), Cursor::new(Seq(4), Seq(1))));
        assert_eq!(pending.take(10_000, 9).len(), 1, "it was delivered further");
    }

    #[test]
    fn of_two_devices_the_furthest_in_each_respect_waits() {
        let mut pending = Pending::new(1_000);
        for (delivered, read) in [(10, 7), (30, 0), (8, 8)] {
            assert!(pending.mark(&room(), &user("bob"), Cursor::new(Seq(delivered), Seq(read))));
        }
        let cursor = Cursor::new(Seq(30), Seq(8));
        assert_eq!(pending.take(0, 9), [Due { conversation: room(), user: user("bob"), cursor }]);
    }

    #[test]
    fn what_is_stored_is_known_until_the_view_has_it() {
        let mut pending = Pending::new(1_000);
        let cursors = |pending: &Pending| {
            pending.recent_of(&room()).map(|(user, cursor)| (user.clone(), cursor)).collect::<Vec<_>>()
        };
        pending.mark(&room(), &user("bob"), read(3));
        pending.mark(&ConversationName::new("roon").unwrap(), &user("bob"), read(5));
        assert_eq!(pending.recent(&room(), &user("bob")), None, "not before it is stored");
        pending.take(0, 9);
        pending.stored(&room(), &user("bob"), read(3), 7);
        pending.stored(&room(), &user("alice"), read(1), 8);
        pending.stored(&room(), &user("bob"), read(2), 9);
        assert_eq!(pending.recent(&room(), &user("bob")), Some(read(3)), "never further back");
        assert_eq!(cursors(&pending), [(user("alice"), read(1)), (user("bob"), read(3))]);
        pending.forget(8, 5_000);
        assert_eq!(cursors(&pending), [(user("bob"), read(3))]);
        pending.forget(9, 999);
        assert_eq!(pending.len(), 1, "the interval is not over");
        pending.forget(9, 1_000);
        assert!(pending.is_empty());
    }
}
