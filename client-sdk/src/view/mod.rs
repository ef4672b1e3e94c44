//! The messages of a conversation as one user sees them, from whatever has come of it. Pure.

mod kept;
mod message;
mod ranges;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::message::MessageState;
use quoth_protocol::retention::Retention;
use quoth_protocol::{ConversationName, Seq, UserId};

use self::kept::Kept;
pub use self::message::{Edited, Message, ReactionCount};
use self::ranges::Ranges;
use self::waiting::Waiting;
use crate::events::ClientEvent;
use crate::history::Page;

/// The messages of a conversation as one user sees them: edited, reacted to and taken back as they are by
/// now.
///
/// It takes the events of a reader ([`View::event`]) and pages of history ([`View::page`]), in whatever order
/// they come, also a page that is older than what a reader has told meanwhile. Whoever was away ends with the
/// same view as who was there.
///
/// Each message is shown as it was by all events up to its [`version`](Message::version): so it stays as it
/// is when events about it may be missing, which are those between what was read of it and where a reader has
/// begun anew. What comes behind them waits. It is brought up to date by the events that were missing
/// ([`View::told`] says which these are) or by a page that has it. What is absent goes at once.
///
/// It holds what it is given until [`View::forget_before`]. Of edits and reactions whose messages have not
/// come it holds the 10,000 of the latest messages. Those that it lets go of count as not told: they come
/// again with a page that has them, and a page that has their messages makes up for them. Who fills holes
/// begins with the first one, so that the messages come before what is about them.
///
/// ```
/// use quoth_client::{ClientEvent, ConversationName, Event, EventKind, Seq, UserId, View};
///
/// let user = |name: &str| UserId::new(name).unwrap();
/// let event = |seq, sender: &str, kind| {
///     ClientEvent::Event(Event { seq: Seq(seq), time_ms: 0, sender: user(sender), origin_time_ms: None, kind })
/// };
/// let mut view = View::new(ConversationName::new("general").unwrap(), user("alice"));
/// view.event(&event(1, "bob", EventKind::message("helo")));
/// view.event(&event(2, "bob", EventKind::Edited { seq: Seq(1), body: "hello".into(), mentions: vec![] }));
/// view.event(&event(3, "alice", EventKind::Reacted { seq: Seq(1), reaction: "+1".into(), on: true }));
/// let message = view.message(Seq(1)).unwrap();
/// assert_eq!(message.body, "hello");
/// assert!(message.edited.is_some() && message.reactions["+1"].mine);
/// view.event(&event(4, "bob", EventKind::Revoked { seq: Seq(1) }));
/// assert_eq!(view.message(Seq(1)), None);
/// assert_eq!(view.gaps().collect::<Vec<_>>(), [(Seq(1), Seq(2))]);
/// ```
#[derive(Debug, Clone)]
pub struct View {
    conversation: ConversationName,
    me: UserId,
    messages: BTreeMap<Seq, Message>,
    /// When each other event was stored.
    others: BTreeMap<Seq, u64>,
    /// Seqs of which the events have come, or that they are absent.
    heard: Ranges,
    /// The last seq that was heard of.
    head: Seq,
    /// Whether something was heard by which other things that were heard before may be complete now.
    is_joined: bool,
    waiting: Waiting,
    /// What was absent once does not come back with a page that was read before.
    absent: Ranges,
    hidden: BTreeSet<Seq>,
    /// Messages before this one are forgotten.
    begin: Seq,
    kept: Kept,
}

impl View {
    /// What the user `me` sees of a conversation: nothing yet. Who that is,
    /// [`Client::welcome`](crate::Client::welcome) says.
    #[must_use]
    pub fn new(conversation: ConversationName, me: UserId) -> Self {
        Self {
            conversation,
            me,
            messages: BTreeMap::new(),
            others: BTreeMap::new(),
            heard: Ranges::default(),
            head: Seq::ZERO,
            is_joined: false,
            waiting: Waiting::default(),
            absent: Ranges::default(),
            hidden: BTreeSet::new(),
            begin: Seq::ZERO,
            kept: Kept::default(),
        }
    }

    /// Takes the next event of a reader of the conversation. Events must come in the order of the reader.
    pub fn event(&mut self, event: &ClientEvent) {
        self.one(event, None);
        self.settle_all();
    }

    /// Takes a page of the conversation's history.
    pub fn page(&mut self, page: &Page) {
        let states: BTreeMap<Seq, &MessageState> =
            page.states.iter().map(|state| (state.seq, state)).collect();
        for event in &page.events {
            let seq = if let ClientEvent::Event(event) = event { event.seq } else { Seq::ZERO };
            self.one(event, Some((states.get(&seq).copied(), page.head)));
        }
        self.gap(Seq(1), Seq(page.floor.0.saturating_sub(1)));
        self.hear(page.from, page.to);
        self.head = self.head.max(page.head);
        // Messages may have come, or be of a later time.
        self.is_joined = true;
        self.settle_all();
    }

    /// Takes an event of the user's own log, `$me`: what the user has hidden on any device is left out.
    pub fn own_event(&mut self, event: &ClientEvent) {
        if let ClientEvent::Event(Event { kind: EventKind::Hidden { conversation, seq }, .. }) = event
            && *conversation == self.conversation
        {
            self.hidden.insert(*seq);
        }
    }

    /// Takes away what has expired, and does not take it again: by its own time, and by the age and the
    /// number of what is kept where each event has come since that was set. Gives when something expires
    /// next, as far as that depends on the time. The server says nothing when something expires, and goes on
    /// to deliver it where its operator holds the conversation. Times are in milliseconds since 1970 on the
    /// server's clock. A reader should have caught up, since a longer retention may have been set meanwhile.
    pub fn expire(&mut self, now_ms: u64) -> Option<u64> {
        let has_expired = |message: &&Message| (1..=now_ms).contains(&message.expires_ms);
        let gone: Vec<Seq> = self.messages.values().filter(has_expired).map(|message| message.seq).collect();
        gone.into_iter().for_each(|seq| self.gap(seq, seq));
        let next_by_age = self.expire_by_retention(now_ms);
        self.settle_all();
        let by_themselves = self.messages.values().map(|message| message.expires_ms);
        by_themselves.filter(|at_ms| *at_ms > 0).chain(next_by_age).min()
    }

    /// Forgets all that is known of what is before this seq, and takes no more of it.
    pub fn forget_before(&mut self, seq: Seq) {
        self.begin = self.begin.max(seq);
        let seq = self.begin;
        self.messages = self.messages.split_off(&seq);
        self.others = self.others.split_off(&seq);
        self.waiting.remove_messages(Seq::ZERO, Seq(seq.0.saturating_sub(1)));
        self.hidden = self.hidden.split_off(&seq);
        self.heard.forget_before(seq);
        self.absent.forget_before(seq);
        self.kept.forget_before(seq);
    }

    /// The messages in their order, without those that the user has hidden.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.values().filter(|message| !self.hidden.contains(&message.seq))
    }

    /// A message, unless it is hidden, absent or has not come.
    #[must_use]
    pub fn message(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(&seq).filter(|_| !self.hidden.contains(&seq))
    }

    /// First and last seq of each range that is known to be absent, ascending; no two of them touch, wherever
    /// pages have met.
    pub fn gaps(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.absent.iter()
    }

    /// First and last seq of each range that is known, by events or as absent; ascending, and no two of them
    /// touch. Between two of them there is more to fetch.
    pub fn told(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.heard.iter()
    }

    /// Messages of others behind `read`, without those that the user has hidden, as far as they have come:
    /// what the server counts as unread, without its limit of 1,000.
    #[must_use]
    pub fn unread(&self, read: Seq) -> usize {
        self.of_others_behind(read).count()
    }

    /// Those of [`View::unread`] that mention the user.
    #[must_use]
    pub fn mentions(&self, read: Seq) -> usize {
        self.of_others_behind(read).filter(|message| message.mentions.contains(&self.me)).count()
    }

    /// How long the conversation's events are kept, by the latest event that has come which says so; `None`:
    /// none has come. Then [`Client::describe`](crate::Client::describe) knows what holds.
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        self.kept.latest()
    }

    fn of_others_behind(&self, read: Seq) -> impl Iterator<Item = &Message> {
        let behind = self.messages.range(read.next()..).map(|(_, message)| message);
        behind.filter(|message| message.sender != self.me && !self.hidden.contains(&message.seq))
    }

    /// Takes an event of a reader, or of a page with the message's state there and the page's head. What it
    /// changes of messages waits until [`View::settle_all`].
    fn one(&mut self, event: &ClientEvent, page: Option<(Option<&MessageState>, Seq)>) {
        match event {
            ClientEvent::Event(event) => {
                if page.is_none() && matches!(event.kind, EventKind::RetentionSet { .. }) {
                    // What the one before has come to stays so.
                    self.expire_by_retention(event.time_ms);
                }
                self.kept.event(event);
                self.take(event, page);
                self.hear(event.seq, event.seq);
                if !self.is_joined && page.is_none() {
                    about(event).into_iter().for_each(|seq| self.settle(seq));
                }
            }
            ClientEvent::Gap { from, to } => self.gap(*from, *to),
            ClientEvent::Unknown { seq, time_ms, .. } => {
                self.kept.seen(*seq);
                self.other(*seq, *time_ms);
                self.hear(*seq, *seq);
            }
            ClientEvent::CaughtUp { head } => self.head = self.head.max(*head),
            ClientEvent::Interrupted { .. } => {}
        }
    }

    fn hear(&mut self, from: Seq, to: Seq) {
        let from = from.max(self.begin);
        if to < from || self.heard.end_of(from).is_some_and(|end| end >= to) {
            return;
        }
        self.heard.insert(from, to);
        self.head = self.head.max(to);
        self.is_joined |= from < to || self.heard.end_of(to).is_some_and(|end| end > to);
    }

    fn gap(&mut self, from: Seq, to: Seq) {
        let from = from.max(self.begin);
        if to < from {
            return;
        }
        self.absent.insert(from, to);
        self.hear(from, to);
        let gone: Vec<Seq> = self.messages.range(from..=to).map(|(seq, _)| *seq).collect();
        gone.iter().for_each(|seq| drop(self.messages.remove(seq)));
        let gone: Vec<Seq> = self.others.range(from..=to).map(|(seq, _)| *seq).collect();
        for seq in gone {
            self.others.remove(&seq);
        }
        self.waiting.remove_messages(from, to);
    }

    fn take(&mut self, event: &Event, page: Option<(Option<&MessageState>, Seq)>) {
        if let EventKind::Message { .. } = event.kind {
            self.take_message(event, page);
            return;
        }
        self.other(event.seq, event.time_ms);
        match event.kind {
            EventKind::Revoked { seq } => self.revoke(seq),
            EventKind::Edited { seq, .. } | EventKind::Reacted { seq, .. }
                if seq >= self.begin && !self.absent.contains(seq) && !self.absent.contains(event.seq) =>
            {
                let is_edit = matches!(event.kind, EventKind::Edited { .. });
                if !is_edit || self.is_latest_edit(seq, event.seq) {
                    self.waiting.insert(seq, event.clone());
                }
            }
            _ => {}
        }
    }

    fn other(&mut self, seq: Seq, time_ms: u64) {
        if seq >= self.begin && !self.absent.contains(seq) {
            self.others.insert(seq, time_ms);
        }
    }

    fn take_message(&mut self, event: &Event, page: Option<(Option<&MessageState>, Seq)>) {
        let seq = event.seq;
        if seq < self.begin || self.absent.contains(seq) {
            return;
        }
        let Some(published) = Message::published(event) else { return };
        let now = match page {
            Some((state, head)) => published.with(state, head),
            None => published,
        };
        if let Some(edited) = now.edited {
            self.is_latest_edit(seq, edited.seq);
        }
        // What a reader has told meanwhile is later than the page, or the page is later than what is here.
        if self.messages.get(&seq).is_none_or(|known| self.heard.all_behind(known.version) < now.version) {
            self.messages.insert(seq, now);
        }
    }

    /// All edits of a message but the latest one are absent: whether `edit` is that.
    fn is_latest_edit(&mut self, of: Seq, edit: Seq) -> bool {
        let shown = self.messages.get(&of).and_then(|message| message.edited).map(|edited| edited.seq);
        let edits: Vec<Seq> = self.waiting.edits(of).chain(shown).chain([edit]).collect();
        let latest = edits.iter().copied().max();
        for earlier in edits.into_iter().filter(|edit| Some(*edit) != latest) {
            self.waiting.remove(of, earlier);
            self.gap(earlier, earlier);
        }
        Some(edit) == latest
    }

    /// Takes what waits, as far as nothing can be missing before it, and lets go of some when it is too much.
    fn settle_all(&mut self) {
        if std::mem::take(&mut self.is_joined) {
            self.waiting.messages().into_iter().for_each(|seq| self.settle(seq));
        }
        if self.waiting.is_over() {
            // What is complete does not depend any more on what is let go of.
            for message in self.messages.values_mut() {
                message.version = self.heard.all_behind(message.version);
            }
            self.waiting.shed().into_iter().for_each(|seq| self.heard.remove(seq));
        }
    }

    fn settle(&mut self, seq: Seq) {
        let Some(message) = self.messages.get_mut(&seq) else { return };
        for event in self.waiting.take(seq, self.heard.all_behind(message.version)).into_values() {
            message.apply(event, &self.me);
        }
    }

    /// A message and its edits are absent.
    fn revoke(&mut self, seq: Seq) {
        let shown = self.messages.get(&seq).and_then(|message| message.edited).map(|edited| edited.seq);
        let edits: Vec<Seq> = self.waiting.edits(seq).chain(shown).collect();
        edits.into_iter().chain([seq]).for_each(|gone| self.gap(gone, gone));
    }

    /// Takes away what the retention in force lets expire; gives when age does so next.
    fn expire_by_retention(&mut self, now_ms: u64) -> Option<u64> {
        let retention = self.kept.in_force_at(self.head)?;
        if retention.count > 0 {
            self.gap(Seq(1), Seq(self.head.0.saturating_sub(retention.count)));
        }
        let age_ms = retention.age_s.saturating_mul(1_000);
        if age_ms == 0 {
            return None;
        }
        let messages = self.messages.values().map(|message| (message.seq, message.time_ms));
        let others = self.others.iter().map(|(seq, time_ms)| (*seq, *time_ms));
        let ends = messages.chain(others).map(|(seq, time_ms)| (seq, time_ms.saturating_add(age_ms)));
        let (gone, left): (Vec<_>, Vec<_>) = ends.partition(|(_, at_ms)| *at_ms <= now_ms);
        // Times only grow, so with each of them everything before it has expired.
        if let Some(last) = gone.into_iter().map(|(seq, _)| seq).max() {
            self.gap(Seq(1), last);
        }
        left.into_iter().map(|(_, at_ms)| at_ms).min()
    }
}

/// The message that an event is about.
fn about(event: &Event) -> Option<Seq> {
    match &event.kind {
        EventKind::Message { .. } => Some(event.seq),
        EventKind::Edited { seq, .. } | EventKind::Reacted { seq, .. } => Some(*seq),
        _ => None,
    }
}
