//! The messages of a conversation as one user sees them, from whatever has come of it. Pure.

mod message;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::message::MessageState;
use quoth_protocol::retention::Retention;
use quoth_protocol::{ConversationName, Seq, UserId};

pub use self::message::{Edited, Message, ReactionCount};
use self::ranges::Ranges;
use crate::events::ClientEvent;
use crate::history::Page;

/// The messages of a conversation as one user sees them: edited, reacted to and taken back as they are by now.
///
/// It takes the events of a reader ([`View::event`]) and pages of history ([`View::page`]), in whatever order they come, also a page
/// that is older than what a reader has told meanwhile. Whoever was away ends with the same view as who was there. A message stays as
/// it is when events about it may be missing: those between what was read of it and where a reader has begun anew. A page that has it
/// brings it up to date. It holds what it is given until [`View::forget_before`].
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
    /// Seqs of which the events have come, or that they are absent.
    heard: Ranges,
    /// Events about messages that have not come yet, or before which another one may be missing, by the message.
    waiting: BTreeMap<Seq, BTreeMap<Seq, Event>>,
    /// What was absent once does not come back with a page that was read before.
    absent: Ranges,
    hidden: BTreeSet<Seq>,
    /// Messages before this one are forgotten.
    begin: Seq,
    retention: Option<(Seq, Retention)>,
}

impl View {
    /// What the user `me` sees of a conversation: nothing yet. Who that is, [`Client::welcome`](crate::Client::welcome) says.
    #[must_use]
    pub fn new(conversation: ConversationName, me: UserId) -> Self {
        Self {
            conversation,
            me,
            messages: BTreeMap::new(),
            heard: Ranges::default(),
            waiting: BTreeMap::new(),
            absent: Ranges::default(),
            hidden: BTreeSet::new(),
            begin: Seq::ZERO,
            retention: None,
        }
    }

    /// Takes the next event of a reader of the conversation. Events must come in the order of the reader.
    pub fn event(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::Event(event) => {
                self.take(event, None);
                self.heard.insert(event.seq, event.seq);
                about(event).into_iter().for_each(|seq| self.settle(seq));
            }
            ClientEvent::Gap { from, to } => {
                self.heard.insert(*from, *to);
                self.gap(*from, *to);
            }
            ClientEvent::Unknown { seq, .. } => self.heard.insert(*seq, *seq),
            ClientEvent::Interrupted { .. } | ClientEvent::CaughtUp { .. } => {}
        }
    }

    /// Takes a page of the conversation's history.
    pub fn page(&mut self, page: &Page) {
        let states: BTreeMap<Seq, &MessageState> =
            page.states.iter().map(|state| (state.seq, state)).collect();
        for event in &page.events {
            match event {
                ClientEvent::Event(event) => {
                    self.take(event, Some((states.get(&event.seq).copied(), page.head)));
                }
                other => self.event(other),
            }
        }
        let before_floor = Seq(page.floor.0.saturating_sub(1));
        self.gap(Seq(1), before_floor);
        self.heard.insert(Seq(1), before_floor);
        self.heard.insert(page.from, page.to);
        let waiting: Vec<Seq> = self.waiting.keys().copied().collect();
        waiting.into_iter().for_each(|seq| self.settle(seq));
    }

    /// Takes an event of the user's own log, `$me`: what the user has hidden on any device is left out.
    pub fn own_event(&mut self, event: &ClientEvent) {
        if let ClientEvent::Event(Event { kind: EventKind::Hidden { conversation, seq }, .. }) = event
            && *conversation == self.conversation
        {
            self.hidden.insert(*seq);
        }
    }

    /// Takes away what has expired by its own time, and does not take it again. The server says nothing when that happens, and goes on
    /// to deliver it where its operator holds the conversation. Times are in milliseconds since 1970 on the server's clock.
    pub fn expire(&mut self, now_ms: u64) {
        let has_expired = |message: &&Message| (1..=now_ms).contains(&message.expires_ms);
        let gone: Vec<Seq> = self.messages.values().filter(has_expired).map(|message| message.seq).collect();
        gone.into_iter().for_each(|seq| self.gap(seq, seq));
    }

    /// Forgets all that is known of messages before this one, and takes no more of them.
    pub fn forget_before(&mut self, seq: Seq) {
        self.begin = self.begin.max(seq);
        self.messages = self.messages.split_off(&seq);
        self.waiting = self.waiting.split_off(&seq);
        self.hidden = self.hidden.split_off(&seq);
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

    /// First and last seq of each range that is known to be absent, ascending; no two of them touch, wherever pages have met.
    pub fn gaps(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.absent.iter()
    }

    /// Messages of others behind `read`, hidden ones among them, as far as they have come: what the server counts as unread, without
    /// its limit of 1,000.
    #[must_use]
    pub fn unread(&self, read: Seq) -> usize {
        self.of_others_behind(read).count()
    }

    /// Those of [`View::unread`] that mention the user.
    #[must_use]
    pub fn mentions(&self, read: Seq) -> usize {
        self.of_others_behind(read).filter(|message| message.mentions.contains(&self.me)).count()
    }

    /// How long the conversation's events are kept, by the latest event that has come which says so; `None`: none has come. Then
    /// [`Client::describe`](crate::Client::describe) knows what holds.
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        self.retention.map(|(_, retention)| retention)
    }

    fn of_others_behind(&self, read: Seq) -> impl Iterator<Item = &Message> {
        self.messages.range(read.next()..).map(|(_, message)| message).filter(|m| m.sender != self.me)
    }

    fn gap(&mut self, from: Seq, to: Seq) {
        if to < from {
            return;
        }
        self.absent.insert(from, to);
        let gone: Vec<Seq> = self.messages.range(from..=to).map(|(seq, _)| *seq).collect();
        gone.iter().for_each(|seq| drop(self.messages.remove(seq)));
        let gone: Vec<Seq> = self.waiting.range(from..=to).map(|(seq, _)| *seq).collect();
        gone.iter().for_each(|seq| drop(self.waiting.remove(seq)));
    }

    /// Takes an event of a reader, or of a page with the message's state there and the page's head. What it changes of messages waits
    /// until [`View::settle`].
    fn take(&mut self, event: &Event, page: Option<(Option<&MessageState>, Seq)>) {
        match &event.kind {
            EventKind::Message { .. } => self.take_message(event, page),
            EventKind::Revoked { seq } => self.revoke(*seq),
            EventKind::Edited { seq, .. } | EventKind::Reacted { seq, .. }
                if *seq >= self.begin && !self.absent.contains(*seq) =>
            {
                self.waiting.entry(*seq).or_default().insert(event.seq, event.clone());
            }
            EventKind::RetentionSet { retention }
                if self.retention.is_none_or(|(seq, _)| seq < event.seq) =>
            {
                self.retention = Some((event.seq, *retention));
            }
            _ => {}
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
        // What a reader has told meanwhile is later than the page, or the page is later than what is here.
        if self.messages.get(&seq).is_none_or(|known| self.known_up_to(known) < now.version) {
            let edit = |message: &Message| message.edited.map(|edited| edited.seq);
            let now_edit = edit(&now);
            let before = self.messages.insert(seq, now).as_ref().and_then(edit);
            before.filter(|_| before < now_edit).into_iter().for_each(|edit| self.absent.insert(edit, edit));
        }
    }

    /// All events about a message up to this one are in it, or there are none.
    fn known_up_to(&self, message: &Message) -> Seq {
        self.heard.end_of(message.version.next()).unwrap_or(message.version)
    }

    /// Takes what waits about a message, as far as nothing can be missing before it.
    fn settle(&mut self, seq: Seq) {
        let Some(message) = self.messages.get_mut(&seq) else { return };
        let Some(mut waiting) = self.waiting.remove(&seq) else { return };
        let known_up_to = self.heard.end_of(message.version.next()).unwrap_or(message.version);
        let later = waiting.split_off(&known_up_to.next());
        for event in waiting.into_values() {
            // Its text was taken back.
            if let Some(replaced) = message.apply(&event, &self.me) {
                self.absent.insert(replaced, replaced);
            }
        }
        if !later.is_empty() {
            self.waiting.insert(seq, later);
        }
    }

    /// A message and its latest edit are absent.
    fn revoke(&mut self, seq: Seq) {
        let edit = self.messages.get(&seq).and_then(|message| message.edited).map(|edited| edited.seq);
        let waiting = self.waiting.get(&seq).into_iter().flat_map(BTreeMap::values);
        let is_edit = |event: &&Event| matches!(event.kind, EventKind::Edited { .. });
        let edits: Vec<Seq> = waiting.filter(is_edit).map(|event| event.seq).chain(edit).collect();
        edits.into_iter().for_each(|edit| self.absent.insert(edit, edit));
        self.gap(seq, seq);
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
