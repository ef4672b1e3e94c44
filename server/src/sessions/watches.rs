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

/// Connections that are told at once that a conversation has other members. The lock is held for so many,
/// and others have their turn between.
const SPREAD_AT_ONCE: usize = 256;

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    sessions: HashMap<SessionId, OfSession>,
    watchers: HashMap<UserId, HashSet<SessionId>>,
    watching: HashMap<ConversationName, HashSet<SessionId>>,
    /// How many are watched by all connections of a user, for all of their conversations together.
    of_users: HashMap<UserId, usize>,
    due: BTreeSet<(u64, SessionId)>,
    /// Conversations that are to be reviewed, of which nobody was told yet, and those of which these are to
    /// be told yet. Of neither anything is handed over.
    changed: BTreeSet<ConversationName>,
    spreads: BTreeMap<ConversationName, Vec<SessionId>>,
    /// Connections of which something waits for that. One that began to watch meanwhile has looked at what
    /// has changed already, so no review comes that would go on with it.
    held: BTreeSet<SessionId>,
    /// Grows with each look.
    last_look: u64,
}

#[derive(Debug)]
struct OfSession {
    user: UserId,
    mailbox: Arc<Mailbox>,
    conversations: HashMap<ConversationName, HashSet<UserId>>,
    /// How many these are together.
    count: usize,
    /// Statuses that are not told yet, the latest of each.
    pending: BTreeMap<(ConversationName, UserId), Pending>,
    /// Those of them that a look has found right to tell, as they were before it: no later review holds these
    /// up, or whoever makes changes often enough would keep everything from ever being told.
    judged: BTreeMap<(ConversationName, UserId), (Status, u64)>,
    /// Those who want nothing of its user and are not told as gone yet: when they are, and when they were
    /// last there.
    leaving: BTreeMap<(ConversationName, UserId), (u64, u64)>,
    /// Conversations of which it is to be looked anew who is to be watched, and those of which that is under
    /// way: nothing of these is told until it is known, but for what was handed over or judged before.
    reviews: BTreeSet<ConversationName>,
    under_review: BTreeSet<ConversationName>,
    /// The latest look that is under way of each conversation. The next review of it comes when that is over:
    /// each waits for the disk.
    looks: HashMap<ConversationName, u64>,
    /// When changes may be handed over again.
    next_ms: u64,
}

/// A status that is not told yet.
#[derive(Debug)]
struct Pending {
    status: Status,
    last_seen_ms: u64,
    /// The latest look that had begun by then, of whatever conversation: a later one judges this too.
    look: u64,
}

impl Watches {
    /// The number of no look.
    pub(super) const NO_LOOK: u64 = 0;

    /// A connection of a user begins to look whom of a conversation it may watch; gives the number of the
    /// look.
    pub(super) fn look(
        &mut self,
        session: SessionId,
        user: &UserId,
        mailbox: &Arc<Mailbox>,
        conversation: &ConversationName,
    ) -> u64 {
        self.last_look += 1;
        let number = self.last_look;
        self.watching.entry(conversation.clone()).or_default().insert(session);
        let of_session = self.of_session(session, user, mailbox);
        of_session.conversations.entry(conversation.clone()).or_default();
        of_session.looks.insert(conversation.clone(), number);
        number
    }

    /// Whether a look is under way, and the latest one of its conversation.
    pub(super) fn is_latest(&self, session: SessionId, conversation: &ConversationName, look: u64) -> bool {
        let of_session = self.sessions.get(&session);
        of_session.and_then(|of_session| of_session.looks.get(conversation)) == Some(&look)
    }

    fn of_session(&mut self, session: SessionId, user: &UserId, mailbox: &Arc<Mailbox>) -> &mut OfSession {
        self.sessions.entry(session).or_insert_with(|| OfSession {
            user: user.clone(),
            mailbox: Arc::clone(mailbox),
            conversations: HashMap::new(),
            count: 0,
            pending: BTreeMap::new(),
            judged: BTreeMap::new(),
            leaving: BTreeMap::new(),
            reviews: BTreeSet::new(),
            under_review: BTreeSet::new(),
            looks: HashMap::new(),
            next_ms: 0,
        })
    }

    /// A connection, which has looked for it, watches these users, in place of those whom it has watched for
    /// the conversation. With that the look is over.
    pub(super) fn watch(
        &mut self,
        session: SessionId,
        conversation: ConversationName,
        users: HashSet<UserId>,
    ) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        for user in &users {
            self.watchers.entry(user.clone()).or_default().insert(session);
        }
        let look = of_session.looks.remove(&conversation).unwrap_or(Self::NO_LOOK);
        let count = users.len();
        let before = of_session.conversations.insert(conversation.clone(), users).unwrap_or_default();
        recount(&mut self.of_users, of_session, before.len(), count);
        // What has not been told of those who are watched still is told still.
        let users = &of_session.conversations[&conversation];
        of_session.pending.retain(|(of, user), _| *of != conversation || users.contains(user));
        of_session.judge(&conversation, look);
        let due = (of_session.next_ms, session);
        let is_due = of_session.has_to_tell() || !of_session.reviews.is_empty();
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
        let pending = Pending { status, last_seen_ms, look: self.last_look };
        of_session.pending.insert((conversation.clone(), user.clone()), pending);
        self.due.insert((of_session.next_ms.max(now_ms), session));
    }

    /// Somebody who is no longer watched, as a look has found, is to be told to a connection as gone, at
    /// `due_ms` and not before.
    pub(super) fn leaves(
        &mut self,
        session: SessionId,
        conversation: &ConversationName,
        user: &UserId,
        last_seen_ms: u64,
        due_ms: u64,
        now_ms: u64,
    ) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        let key = (conversation.clone(), user.clone());
        if due_ms <= now_ms {
            of_session.judged.insert(key, (Status::Offline, last_seen_ms));
        } else {
            of_session.leaving.insert(key, (due_ms, last_seen_ms));
        }
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

    /// Whoever watches a conversation is to look anew who its members are, which [`Watches::spread`] tells
    /// them.
    pub(super) fn review(&mut self, conversation: ConversationName) {
        if self.watching.contains_key(&conversation) {
            self.changed.insert(conversation);
        }
    }

    /// Tells some of those who are to look anew; says whether all of them know it. A conversation that
    /// changes meanwhile comes again behind all others.
    pub(super) fn spread(&mut self, now_ms: u64) -> bool {
        if self.spreads.is_empty() {
            let watching = &self.watching;
            // Who begins to watch from here on looks at what has changed already.
            let of_changed = std::mem::take(&mut self.changed).into_iter().filter_map(|conversation| {
                let sessions = watching.get(&conversation)?.iter().copied().collect();
                Some((conversation, sessions))
            });
            self.spreads = of_changed.collect();
        }
        let mut left = SPREAD_AT_ONCE;
        while let Some(mut first) = self.spreads.first_entry() {
            let Some(session) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            let conversation = first.key().clone();
            self.review_of(session, &conversation, now_ms);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if self.spreads.is_empty() {
            self.due.extend(std::mem::take(&mut self.held).into_iter().map(|session| (now_ms, session)));
        }
        self.spreads.is_empty() && self.changed.is_empty()
    }

    /// A connection is to look anew whom it may watch.
    pub(super) fn review_all(&mut self, session: SessionId, now_ms: u64) {
        for conversation in self.of(session).cloned().collect::<Vec<_>>() {
            self.review_of(session, &conversation, now_ms);
        }
    }

    fn review_of(&mut self, session: SessionId, conversation: &ConversationName, now_ms: u64) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        if !of_session.conversations.contains_key(conversation) {
            return;
        }
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

    /// How many a connection watches for all of its conversations but one together, and how many all
    /// connections of its user do.
    pub(super) fn counts_beside(
        &self,
        session: SessionId,
        conversation: &ConversationName,
    ) -> (usize, usize) {
        let Some(of_session) = self.sessions.get(&session) else { return (0, 0) };
        let of_conversation = of_session.conversations.get(conversation).map_or(0, HashSet::len);
        let of_user = self.of_users.get(&of_session.user).copied().unwrap_or_default();
        (of_session.count - of_conversation, of_user - of_conversation)
    }

    /// A connection watches a conversation no more.
    pub(super) fn unwatch(&mut self, session: SessionId, conversation: &ConversationName) {
        let Some(of_session) = self.sessions.get_mut(&session) else { return };
        let Some(users) = of_session.conversations.remove(conversation) else { return };
        recount(&mut self.of_users, of_session, users.len(), 0);
        of_session.mailbox.forget(conversation);
        forget(&mut self.watching, conversation, session);
        of_session.pending.retain(|(of, _), _| of != conversation);
        of_session.judged.retain(|(of, _), _| of != conversation);
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
        let Some(mut of_session) = self.sessions.remove(&session) else { return };
        let count = of_session.count;
        recount(&mut self.of_users, &mut of_session, count, 0);
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
                let Change { status, last_seen_ms, .. } = *change;
                of_session.pending.insert(key, Pending { status, last_seen_ms, look: self.last_look });
            }
            self.due.insert((of_session.next_ms.max(now_ms), *session));
        }
    }

    /// When something is to be handed over, in milliseconds since 1970.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The clock was set back to `now_ms`: what was due later by it is due now.
    pub(super) fn set_back(&mut self, now_ms: u64) {
        for of_session in self.sessions.values_mut() {
            of_session.next_ms = of_session.next_ms.min(now_ms);
            for (due_ms, _) in of_session.leaving.values_mut() {
                *due_ms = (*due_ms).min(now_ms);
            }
        }
        let due = std::mem::take(&mut self.due);
        self.due = due.into_iter().map(|(due_ms, session)| (due_ms.min(now_ms), session)).collect();
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
            let (changed, spreads) = (&self.changed, &self.spreads);
            let under_review = std::mem::take(&mut of_session.under_review);
            let is_changing = |of: &ConversationName| changed.contains(of) || spreads.contains_key(of);
            let seen = of_session.told(now_ms, |of| under_review.contains(of) || is_changing(of));
            if of_session.held(now_ms).any(is_changing) {
                self.held.insert(session);
            }
            of_session.under_review = under_review;
            if seen.is_empty() && reviews.is_empty() {
                continue;
            }
            of_session.mailbox.presence(seen, reviews);
            of_session.next_ms = now_ms.saturating_add(PRESENCE_INTERVAL_MS);
        }
    }
}

impl OfSession {
    /// What was pending when a look began that is over is right to tell.
    fn judge(&mut self, conversation: &ConversationName, look: u64) {
        let (judged, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((of, _), pending)| of == conversation && pending.look < look);
        self.pending = pending;
        self.judged.extend(judged.into_iter().map(|(of, pending)| (of, pending.status_and_time())));
    }

    fn has_to_tell(&self) -> bool {
        !self.pending.is_empty() || !self.judged.is_empty()
    }

    /// Takes what is told at `now_ms`: all but what waits for a review. Those who are to be told as gone by
    /// then are told with all else.
    fn told(&mut self, now_ms: u64, waits: impl Fn(&ConversationName) -> bool) -> Vec<Seen> {
        let (gone, leaving) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((of, _), (due_ms, _))| *due_ms <= now_ms && !waits(of));
        let (held, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((of, _), _)| waits(of));
        (self.leaving, self.pending) = (leaving, held);
        let mut told = std::mem::take(&mut self.judged);
        told.extend(pending.into_iter().map(|(of, pending)| (of, pending.status_and_time())));
        told.extend(gone.into_iter().map(|(of, (_, last_seen_ms))| (of, (Status::Offline, last_seen_ms))));
        let seen = |((conversation, user), (status, last_seen_ms))| Seen {
            conversation,
            user,
            status,
            last_seen_ms,
        };
        told.into_iter().map(seen).collect()
    }

    /// The conversations of which something is to be told at `now_ms` and waits.
    fn held(&self, now_ms: u64) -> impl Iterator<Item = &ConversationName> {
        let leaving = self.leaving.iter().filter(move |(_, (due_ms, _))| *due_ms <= now_ms);
        self.pending.keys().chain(leaving.map(|(of, _)| of)).map(|(conversation, _)| conversation)
    }
}

impl Pending {
    const fn status_and_time(&self) -> (Status, u64) {
        (self.status, self.last_seen_ms)
    }
}

/// A connection watches so many for a conversation, and not as many as before.
fn recount(of_users: &mut HashMap<UserId, usize>, of_session: &mut OfSession, before: usize, count: usize) {
    of_session.count = of_session.count - before + count;
    let of_user = of_users.entry(of_session.user.clone()).or_default();
    *of_user = *of_user - before + count;
    if *of_user == 0 {
        of_users.remove(&of_session.user);
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
mod tests;
