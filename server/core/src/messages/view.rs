//! Messages as one user sees them: what a client comes to, however it has read.

use std::collections::BTreeMap;

use bytes::Bytes;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::message::MessageState;
use quoth_protocol::{Seq, UserId};

use super::Absent;

/// The messages of a conversation, as far as they were read.
///
/// They come as events of a stream, or in pages of history with the states of messages behind them. Both may go on at once: a page
/// says by its head which events its states have in them.
#[derive(Debug, Clone)]
pub struct Messages {
    me: UserId,
    known: BTreeMap<Seq, Message>,
    /// Events about messages that have not come yet.
    waiting: BTreeMap<Seq, BTreeMap<Seq, Event>>,
    /// What was there is not to come back with a page that was read before it went.
    absent: Absent,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who has written it.
    pub sender: UserId,
    /// What it says now.
    pub body: Bytes,
    /// Whom it calls.
    pub mentions: Vec<UserId>,
    /// The message that it answers; it may be absent.
    pub reply_to: Option<Seq>,
    /// The latest edit; `None`: it says what was said at first.
    pub edited: Option<Seq>,
    /// How users have reacted.
    pub reactions: BTreeMap<String, Count>,
    /// All events about it up to this one are in it.
    pub version: Seq,
}

/// How many have reacted in one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub count: u32,
    /// Whether the user is among them.
    pub mine: bool,
}

impl Messages {
    /// What the user `me` sees: nothing yet.
    #[must_use]
    pub fn new(me: UserId) -> Self {
        Self { me, known: BTreeMap::new(), waiting: BTreeMap::new(), absent: Absent::default() }
    }

    /// The messages that are there.
    #[must_use]
    pub const fn all(&self) -> &BTreeMap<Seq, Message> {
        &self.known
    }

    /// Takes the next event of a stream.
    pub fn event(&mut self, event: &Event) {
        self.take(event, None);
    }

    /// Takes a gap, of a stream or of a page.
    pub fn gap(&mut self, from: Seq, to: Seq) {
        self.absent.insert_range(from, to);
        let gone: Vec<Seq> = self.known.range(from..=to).map(|(seq, _)| *seq).collect();
        gone.iter().for_each(|seq| drop(self.known.remove(seq)));
        let gone: Vec<Seq> = self.waiting.range(from..=to).map(|(seq, _)| *seq).collect();
        gone.iter().for_each(|seq| drop(self.waiting.remove(seq)));
    }

    /// Takes a page of history: its events, the states behind them, and its head.
    pub fn page(&mut self, events: &[Event], states: &[MessageState], head: Seq) {
        let states: BTreeMap<Seq, &MessageState> = states.iter().map(|state| (state.seq, state)).collect();
        for event in events {
            self.take(event, Some((states.get(&event.seq).copied(), head)));
        }
    }

    fn take(&mut self, event: &Event, page: Option<(Option<&MessageState>, Seq)>) {
        let about = match &event.kind {
            EventKind::Message { body, reply_to, mentions, .. } => {
                if self.absent.contains(event.seq) {
                    return;
                }
                let said = Message {
                    sender: event.sender.clone(),
                    body: body.clone(),
                    mentions: mentions.clone(),
                    reply_to: *reply_to,
                    edited: None,
                    reactions: BTreeMap::new(),
                    version: event.seq,
                };
                let now = match page {
                    Some((state, head)) => said.with(state, head),
                    None => said,
                };
                let message = self.known.entry(event.seq).or_insert_with(|| now.clone());
                if now.version > message.version {
                    *message = now;
                }
                for later in self.waiting.remove(&event.seq).unwrap_or_default().values() {
                    message.apply(later, &self.me);
                }
                return;
            }
            EventKind::Revoked { seq } => {
                self.gap(*seq, *seq);
                return;
            }
            EventKind::Edited { seq, .. } | EventKind::Reacted { seq, .. } => *seq,
            _ => return,
        };
        match self.known.get_mut(&about) {
            Some(message) => message.apply(event, &self.me),
            None if self.absent.contains(about) => {}
            None => drop(self.waiting.entry(about).or_default().insert(event.seq, event.clone())),
        }
    }
}

impl Message {
    /// Takes an event about it, unless that is in it already.
    fn apply(&mut self, event: &Event, me: &UserId) {
        if event.seq <= self.version {
            return;
        }
        self.version = event.seq;
        match &event.kind {
            EventKind::Edited { body, mentions, .. } => {
                (self.body, self.mentions, self.edited) = (body.clone(), mentions.clone(), Some(event.seq));
            }
            EventKind::Reacted { reaction, on, .. } => {
                let Count { count, mine } = self.reactions.entry(reaction.clone()).or_default();
                *count = if *on { count.saturating_add(1) } else { count.saturating_sub(1) };
                if event.sender == *me {
                    *mine = *on;
                }
                if *count == 0 {
                    self.reactions.remove(reaction);
                }
            }
            _ => {}
        }
    }

    /// What it has come to by the events up to `head`.
    fn with(self, state: Option<&MessageState>, head: Seq) -> Self {
        let mut message = Self { version: head, ..self };
        if let Some(edit) = state.and_then(|state| state.edited.as_ref()) {
            (message.body, message.mentions) = (edit.body.clone(), edit.mentions.clone());
            message.edited = Some(edit.seq);
        }
        let reactions = state.into_iter().flat_map(|state| &state.reactions);
        message.reactions = reactions
            .map(|known| (known.reaction.clone(), Count { count: known.count, mine: known.mine }))
            .collect();
        message
    }
}
