//! Connections that want to know whether somebody is there. Changes gather for each of them and are handed
//! over at most once in [`PRESENCE_INTERVAL_MS`], the latest of each user only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use quoth_core::login::SessionId;
use quoth_core::presence::Change;
use quoth_protocol::limits::PRESENCE_INTERVAL_MS;
use quoth_protocol::presence::Status;
use quoth_protocol::{ConversationName, UserId};

use super::mailbox::{Mailbox, Seen};

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    sessions: HashMap<SessionId, OfSession>,
    watchers: HashMap<UserId, HashSet<SessionId>>,
    watching: HashMap<ConversationName, HashSet<SessionId>>,
    due: BTreeSet<(u64, SessionId)>,
    /// Grows with each look.
    last_look: u64,
}

#[derive(Debug)]
struct OfSession {
    mailbox: Arc<Mailbox>,
    conversations: HashMap<ConversationName, HashSet<UserId>>,
    pending: BTreeMap<(ConversationName, UserId), (Status, u64)>,
    /// Those who want nothing of its user and are not told as gone yet: when they are, and when they were
    /// last there.
    leaving: BTreeMap<(ConversationName, UserId), (u64, u64)>,
    /// Conversations of which it is to be looked anew who is to be watched, and those of which that is under
    /// way: nothing of these is told until it is known.
    reviews: BTreeSet<ConversationName>,
    under_review: BTreeSet<ConversationName>,
    /// The latest look that is under way of each conversation. The next review of it comes when that is over:
    /// each waits for the disk.
    looks: HashMap<ConversationName, u64>,
    /// When changes may be handed over again.
    next_ms: u64,
}

impl Watches {
    /// The number of no look.
    pub(super) const NO_LOOK: u64 = 0;

    /// A connection begins to look whom of a conversation it may watch; gives the number of the look.
    pub(super) fn look(
        &mut self,
        session: SessionId,
        mailbox: &Arc<Mailbox>,
        conversation: &ConversationName,
    ) -> u64 {
        self.last_look += 1;
        let number = self.last_look;
        self.watching.entry(conversation.clone()).or_default().insert(session);
        let of_session = self.of_session(session, mailbox);
        of_session.conversations.entry(conversation.clone()).or_default();
        of_session.looks.insert(conversation.clone(), number);
        number
    }

    /// Whether a look is under way, and the latest one of its conversation.
    pub(super) fn is_latest(&self, session: SessionId, conversation: &ConversationName, look: u64) -> bool {
        let of_session = self.sessions.get(&session);
        of_session.and_then(|of_session| of_session.looks.get(conversation)) == Some(&look)
    }

    fn of_session(&mut self, session: SessionId, mailbox: &Arc<Mailbox>) -> &mut OfSession {
        self.sessions.entry(session).or_insert_with(|| OfSession {
            mailbox: Arc::clone(mailbox),
            conversations: HashMap::new(),
            pending: BTreeMap::new(),
            leaving: BTreeMap::new(),
            reviews: BTreeSet::new(),
            under_review: BTreeSet::new(),
            looks: HashMap::new(),
            next_ms: 0,
        })
    }

    /// A connection watches these users, in place of those whom it has watched for the conversation. With
    /// that a look at it is over.
    pub(super) fn watch(
        &mut self,
        session: SessionId,
        mailbox: &Arc<Mailbox>,
        conversation: ConversationName,
        users: HashSet<UserId>,
    ) {
        self.watching.entry(conversation.clone()).or_default().insert(session);
        for user in &users {
            self.watchers.entry(user.clone()).or_default().insert(session);
        }
        let of_session = self.of_session(session, mailbox);
        of_session.looks.remove(&conversation);
        let before = of_session.conversations.insert(conversation.clone(), users).unwrap_or_default();
        // What has not been told of those who are watched still is told still.
        let users = &of_session.conversations[&conversation];
        of_session.pending.retain(|(of, user), _| *of != conversation || users.contains(user));
        let due = (of_session.next_ms, session);
        let is_due = !of_session.pending.is_empty() || !of_session.reviews.is_empty();
        // One that has been asked for since these were found is still to come.
        if !of_session.reviews.contains(&conversation) {
            of_session.under_review.remove(&conversation);
        }
        let conversations = &of_session.conversations;
        let is_watched = |user: &UserId| conversations.values().any(|users| users.contains(user));
        let forgotten: Vec<UserId> = before.into_iter().filter(|user| !is_watched(user)).collect();
        for user in &forgotten {
            forget(&mut self.watchers, user, session);
        }
        if is_due {
            self.due.insert(due);
        }
    }

    /// Somebody's status is to be told to a connection that watches a conversation.
    pub(super) fn tell(
        &mut self,
        session: SessionId,
        conversation: &ConversationName,
        user: &UserId,
        (status, last_seen_ms): (Status, u64),
        now_ms: u64,
    ) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        of_session.pending.insert((conversation.clone(), user.clone()), (status, last_seen_ms));
        self.due.insert((of_session.next_ms.max(now_ms), session));
    }

    /// Somebody who is no longer watched is to be told to a connection as gone, at `due_ms` and not before.
    pub(super) fn leaves(
        &mut self,
        session: SessionId,
        conversation: &ConversationName,
        user: &UserId,
        last_seen_ms: u64,
        due_ms: u64,
    ) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        of_session.leaving.insert((conversation.clone(), user.clone()), (due_ms, last_seen_ms));
        self.due.insert((of_session.next_ms.max(due_ms), session));
    }

    /// Who of a conversation is to be told to a connection as gone and is not yet, and when they were last
    /// there; from here on nobody is to be any more.
    pub(super) fn take_leaving(
        &mut self,
        session: SessionId,
        conversation: &ConversationName,
    ) -> HashMap<UserId, u64> {
        let Some(of_session) = self.sessions.get_mut(&session) else { return HashMap::new() };
        let (taken, others) = std::mem::take(&mut of_session.leaving)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((of, _), _)| of == conversation);
        of_session.leaving = others;
        taken.into_iter().map(|((_, user), (_, last_seen_ms))| (user, last_seen_ms)).collect()
    }

    /// Whoever watches a conversation is to look anew who its members are.
    pub(super) fn review(&mut self, conversation: &ConversationName, now_ms: u64) {
        for session in self.watching.get(conversation).cloned().unwrap_or_default() {
            self.review_of(session, conversation, now_ms);
        }
    }

    /// A connection is to look anew whom it may watch.
    pub(super) fn review_all(&mut self, session: SessionId, now_ms: u64) {
        for conversation in self.of(session).cloned().collect::<Vec<_>>() {
            self.review_of(session, &conversation, now_ms);
        }
    }

    fn review_of(&mut self, session: SessionId, conversation: &ConversationName, now_ms: u64) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        of_session.reviews.insert(conversation.clone());
        of_session.under_review.insert(conversation.clone());
        self.due.insert((of_session.next_ms.max(now_ms), session));
    }

    /// The conversations that a connection watches.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = &ConversationName> {
        self.sessions.get(&session).into_iter().flat_map(|of_session| of_session.conversations.keys())
    }

    /// Whom a connection watches for a conversation.
    pub(super) fn users(&self, session: SessionId, conversation: &ConversationName) -> HashSet<UserId> {
        let of_session = self.sessions.get(&session);
        of_session
            .and_then(|of_session| of_session.conversations.get(conversation))
            .cloned()
            .unwrap_or_default()
    }

    /// How many a connection watches for all of its conversations together.
    pub(super) fn count(&self, session: SessionId) -> usize {
        let of_session = self.sessions.get(&session);
        of_session.map_or(0, |of_session| of_session.conversations.values().map(HashSet::len).sum())
    }

    /// The same but for one conversation.
    pub(super) fn count_beside(&self, session: SessionId, conversation: &ConversationName) -> usize {
        let of_session = self.sessions.get(&session);
        let of_conversation = of_session.and_then(|of_session| of_session.conversations.get(conversation));
        self.count(session) - of_conversation.map_or(0, HashSet::len)
    }

    /// A connection watches a conversation no more.
    pub(super) fn unwatch(&mut self, session: SessionId, conversation: &ConversationName) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        let Some(users) = of_session.conversations.remove(conversation) else { return };
        forget(&mut self.watching, conversation, session);
        of_session.pending.retain(|(of, _), _| of != conversation);
        of_session.leaving.retain(|(of, _), _| of != conversation);
        of_session.reviews.remove(conversation);
        of_session.under_review.remove(conversation);
        of_session.looks.remove(conversation);
        let conversations = &of_session.conversations;
        let is_watched = |user: &UserId| conversations.values().any(|users| users.contains(user));
        for user in users.iter().filter(|user| !is_watched(user)) {
            forget(&mut self.watchers, user, session);
        }
        if of_session.conversations.is_empty() {
            self.sessions.remove(&session);
        }
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, session: SessionId) {
        let Some(of_session) = self.sessions.remove(&session) else { return };
        for (conversation, users) in &of_session.conversations {
            forget(&mut self.watching, conversation, session);
            users.iter().for_each(|user| forget(&mut self.watchers, user, session));
        }
    }

    /// Somebody's status has changed at `now_ms`.
    pub(super) fn change(&mut self, change: &Change, now_ms: u64) {
        let Some(sessions) = self.watchers.get(&change.user) else { return };
        for session in sessions {
            let Some(of_session) = self.sessions.get_mut(session) else { continue };
            let of_user = of_session.conversations.iter().filter(|(_, users)| users.contains(&change.user));
            for (conversation, _) in of_user {
                let key = (conversation.clone(), change.user.clone());
                of_session.pending.insert(key, (change.status, change.last_seen_ms));
            }
            self.due.insert((of_session.next_ms.max(now_ms), *session));
        }
    }

    /// When something is to be handed over, in milliseconds since 1970.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Hands over what is due at `now_ms`.
    pub(super) fn hand_over(&mut self, now_ms: u64) {
        while self.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            let Some((_, session)) = self.due.pop_first() else { return };
            let Some(of_session) = self.sessions.get_mut(&session) else { continue };
            if of_session.next_ms > now_ms {
                self.due.insert((of_session.next_ms, session));
                continue;
            }
            let (waiting, reviews) = std::mem::take(&mut of_session.reviews)
                .into_iter()
                .partition::<BTreeSet<_>, _>(|of| of_session.looks.contains_key(of));
            of_session.reviews = waiting;
            of_session.goes(now_ms);
            let (held, pending) = std::mem::take(&mut of_session.pending)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|((of, _), _)| of_session.under_review.contains(of));
            of_session.pending = held;
            if pending.is_empty() && reviews.is_empty() {
                continue;
            }
            let seen = |((conversation, user), (status, last_seen_ms))| Seen {
                conversation,
                user,
                status,
                last_seen_ms,
            };
            of_session.mailbox.presence(pending.into_iter().map(seen).collect(), reviews);
            of_session.next_ms = now_ms.saturating_add(PRESENCE_INTERVAL_MS);
        }
    }
}

impl OfSession {
    /// Those who are to be told as gone at `now_ms` are told with all else, but for what waits for a review.
    fn goes(&mut self, now_ms: u64) {
        let under_review = &self.under_review;
        let (gone, leaving) = std::mem::take(&mut self.leaving).into_iter().partition::<BTreeMap<_, _>, _>(
            |((of, _), (due_ms, _))| *due_ms <= now_ms && !under_review.contains(of),
        );
        self.leaving = leaving;
        let gone = gone.into_iter().map(|(of, (_, last_seen_ms))| (of, (Status::Offline, last_seen_ms)));
        self.pending.extend(gone);
    }
}

fn forget<K: Eq + Hash>(watchers: &mut HashMap<K, HashSet<SessionId>>, of: &K, session: SessionId) {
    if let Some(sessions) = watchers.get_mut(of) {
        sessions.remove(&session);
        if sessions.is_empty() {
            watchers.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    use quoth_core::login::SessionId;
    use quoth_core::presence::Change;
    use quoth_protocol::presence::Status;
    use quoth_protocol::{ConversationName, UserId};

    use super::{PRESENCE_INTERVAL_MS, Watches};
    use crate::sessions::mailbox::{Mailbox, Told};

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn name(name: &str) -> ConversationName {
        ConversationName::new(name).unwrap()
    }

    fn change(of: &str, status: Status, at_ms: u64) -> Change {
        Change { user: user(of), status, last_seen_ms: at_ms }
    }

    fn users(ids: &[&str]) -> HashSet<UserId> {
        ids.iter().map(|id| user(id)).collect()
    }

    async fn told(mailbox: &Mailbox) -> Vec<(String, String, Status)> {
        let Told::Presence(seen) = mailbox.next(true).await else { panic!("no presence") };
        seen.into_iter()
            .map(|seen| (seen.conversation.to_string(), seen.user.to_string(), seen.status))
            .collect()
    }

    #[tokio::test]
    async fn changes_gather_and_the_latest_counts() {
        let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
        let session = SessionId(1);
        watches.watch(session, &mailbox, name("a"), users(&["bob", "eve"]));
        watches.watch(session, &mailbox, name("b"), users(&["bob"]));
        watches.change(&change("bob", Status::Online, 10), 10);
        watches.change(&change("nobody", Status::Online, 10), 10);
        assert_eq!(watches.due_ms(), Some(10), "the first one comes at once");
        watches.hand_over(10);
        let online =
            |conversation: &str, user: &str| (conversation.to_owned(), user.to_owned(), Status::Online);
        assert_eq!(told(&mailbox).await, [online("a", "bob"), online("b", "bob")]);
        for (status, at_ms) in [(Status::Away, 11), (Status::Offline, 12), (Status::Away, 13)] {
            watches.change(&change("bob", status, at_ms), at_ms);
        }
        watches.hand_over(10 + PRESENCE_INTERVAL_MS - 1);
        assert!(mailbox.take(true).is_none());
        watches.unwatch(session, &name("b"));
        watches.hand_over(10 + PRESENCE_INTERVAL_MS);
        assert_eq!(told(&mailbox).await, [("a".to_owned(), "bob".to_owned(), Status::Away)]);
        watches.gone(session);
        watches.change(&change("bob", Status::Online, 9_000), 9_000);
        watches.hand_over(u64::MAX);
        assert!(mailbox.take(true).is_none() && watches.watchers.is_empty() && watches.sessions.is_empty());
    }

    #[tokio::test]
    async fn who_leaves_is_told_as_gone_when_the_time_has_come() {
        let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
        let session = SessionId(1);
        watches.watch(session, &mailbox, name("a"), users(&["eve"]));
        watches.change(&change("eve", Status::Online, 9), 9);
        watches.hand_over(9);
        assert_eq!(told(&mailbox).await.len(), 1);
        watches.leaves(session, &name("a"), &user("bob"), 5, 20);
        watches.change(&change("bob", Status::Away, 10), 10);
        watches.hand_over(9 + PRESENCE_INTERVAL_MS - 1);
        assert!(mailbox.take(true).is_none(), "not sooner than anything else");
        // While it is found out anew who is watched, it waits as all else does.
        watches.review(&name("a"), 10);
        watches.hand_over(9 + PRESENCE_INTERVAL_MS);
        assert!(matches!(mailbox.take(true), Some(Told::Review(_))) && mailbox.take(true).is_none());
        watches.watch(session, &mailbox, name("a"), users(&["eve"]));
        assert!(watches.take_leaving(session, &name("b")).is_empty());
        assert_eq!(watches.take_leaving(session, &name("a")), HashMap::from([(user("bob"), 5)]));
        watches.leaves(session, &name("a"), &user("bob"), 5, 3_000);
        watches.hand_over(2_999);
        assert!(mailbox.take(true).is_none());
        watches.hand_over(3_000);
        assert_eq!(told(&mailbox).await, [("a".to_owned(), "bob".to_owned(), Status::Offline)]);
        watches.leaves(session, &name("a"), &user("bob"), 5, 5_000);
        watches.unwatch(session, &name("a"));
        watches.hand_over(u64::MAX);
        assert!(mailbox.take(true).is_none());
    }

    #[test]
    fn who_is_watched_for_two_conversations_is_watched_for_the_other_one() {
        let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
        watches.watch(SessionId(1), &mailbox, name("a"), users(&["bob"]));
        watches.watch(SessionId(1), &mailbox, name("b"), users(&["bob"]));
        watches.unwatch(SessionId(1), &name("a"));
        watches.change(&change("bob", Status::Online, 1), 1);
        watches.hand_over(1);
        assert!(mailbox.take(true).is_some());
        watches.watch(SessionId(1), &mailbox, name("b"), HashSet::new());
        assert!(watches.watchers.is_empty() && watches.of(SessionId(1)).count() == 1);
    }

    #[test]
    fn of_two_looks_the_later_one_counts_and_reviews_wait_for_it() {
        let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
        let session = SessionId(1);
        let first = watches.look(session, &mailbox, &name("a"));
        watches.review(&name("a"), 1);
        watches.hand_over(1);
        assert!(mailbox.take(true).is_none(), "one is under way");
        let second = watches.look(session, &mailbox, &name("a"));
        let is_latest = |watches: &Watches, look| watches.is_latest(session, &name("a"), look);
        assert!(!is_latest(&watches, first) && is_latest(&watches, second));
        watches.watch(session, &mailbox, name("a"), users(&["bob"]));
        assert!(!is_latest(&watches, second), "it is over");
        watches.hand_over(1);
        assert!(matches!(mailbox.take(true), Some(Told::Review(_))), "it has waited");
        let third = watches.look(session, &mailbox, &name("a"));
        watches.unwatch(session, &name("a"));
        assert!(!is_latest(&watches, third) && watches.sessions.is_empty() && watches.watchers.is_empty());
        let fourth = watches.look(session, &mailbox, &name("a"));
        assert!(!is_latest(&watches, third) && is_latest(&watches, fourth), "it is another one");
    }

    #[test]
    fn a_review_that_is_asked_for_while_another_one_is_under_way_comes_too() {
        let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
        let is_review = |told: Option<Told>| matches!(told, Some(Told::Review(_)));
        watches.watch(SessionId(1), &mailbox, name("a"), users(&["bob", "eve"]));
        watches.review(&name("a"), 1);
        watches.hand_over(1);
        assert!(is_review(mailbox.take(true)));
        // While the members are found, one of them leaves.
        watches.review(&name("a"), 2);
        watches.watch(SessionId(1), &mailbox, name("a"), users(&["bob", "eve"]));
        watches.change(&change("eve", Status::Online, 3), 3);
        watches.hand_over(1 + PRESENCE_INTERVAL_MS);
        assert!(is_review(mailbox.take(true)));
        assert!(mailbox.take(true).is_none(), "nothing is told before it is known of whom");
        watches.watch(SessionId(1), &mailbox, name("a"), users(&["bob"]));
        watches.hand_over(u64::MAX);
        assert!(mailbox.take(true).is_none() && !watches.watchers.contains_key(&user("eve")));
    }
}
