//! The latest messages of a conversation, as far as they are counted.

use std::collections::{HashMap, VecDeque};

use quoth_protocol::limits::UNREAD_EVENTS_MAX;
use quoth_protocol::{Seq, UserId};

use super::{Edited, Life, Posted, Unread};

/// Messages that a window keeps: all among which any are counted, so that none is read again for who writes
/// there.
const MESSAGES_MAX: usize = UNREAD_EVENTS_MAX as usize;

/// Edits of messages further back that a window keeps before it begins anew.
const EDITS_MAX: usize = MESSAGES_MAX;

/// Users whom a window knows before it begins anew.
const USERS_MAX: usize = 20_000;

/// The messages from some seq on up to the latest one, for all readers of the conversation alike: who wrote
/// them and whom they mention, at about 60 bytes each.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// It has every message behind this one, up to `last`.
    before: Seq,
    last: Seq,
    messages: VecDeque<Message>,
    /// The latest edits behind `before` of messages that are not.
    edits: HashMap<Seq, Mentions>,
    users: Vec<UserId>,
    places: HashMap<UserId, u32>,
}

#[derive(Debug, Clone)]
struct Message {
    life: Life,
    sender: u32,
    mentions: Mentions,
}

#[derive(Debug, Clone)]
struct Mentions {
    /// The edit that says so; zero: the message itself.
    by: Seq,
    users: Box<[u32]>,
}

/// The window does not reach as far back as is asked: it needs the messages before this seq and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub Seq);

impl Window {
    /// A window that has nothing up to and including `last`.
    #[must_use]
    pub fn behind(last: Seq) -> Self {
        Self { before: last, last, ..Self::default() }
    }

    /// The last seq that it knows of.
    #[must_use]
    pub const fn last(&self) -> Seq {
        self.last
    }

    /// How many messages it holds something of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len() + self.edits.len()
    }

    /// Whether it holds nothing of any message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the messages between its end and `last`, ascending. What it knows of already, and what is beyond
    /// `last`, it leaves alone.
    pub fn append(&mut self, last: Seq, posted: impl IntoIterator<Item = Posted>) {
        for posted in posted.into_iter().filter(|posted| posted.life.seq <= last) {
            if posted.life.seq > self.last {
                let message = self.message(&posted);
                self.messages.push_back(message);
                self.last = posted.life.seq;
            }
        }
        self.last = self.last.max(last);
        self.trim();
    }

    /// Takes the messages behind `before` up to its beginning, ascending. It needs the edits there before.
    pub fn prepend(
        &mut self,
        before: Seq,
        posted: impl IntoIterator<Item = Posted, IntoIter: DoubleEndedIterator>,
    ) {
        for posted in posted.into_iter().rev() {
            if posted.life.seq <= self.before && posted.life.seq > before {
                let mut message = self.message(&posted);
                if let Some(mentions) = self.edits.remove(&posted.life.seq) {
                    message.mentions = mentions;
                }
                self.messages.push_front(message);
                self.before = Seq(posted.life.seq.0.saturating_sub(1));
            }
        }
        self.before = self.before.min(before);
    }

    /// Takes an edit, in whatever order: the latest one of a message counts.
    pub fn edit(&mut self, edited: &Edited) {
        let known = match self.messages.binary_search_by_key(&edited.of, |message| message.life.seq) {
            Ok(at) => self.messages.get(at).map(|message| message.mentions.by),
            Err(_) if edited.of <= self.before => self.edits.get(&edited.of).map(|mentions| mentions.by),
            // It is no message, or absent.
            Err(_) => return,
        };
        if known.is_some_and(|by| by >= edited.seq) {
            return;
        }
        let users = edited.mentions.iter().map(|user| self.place(user)).collect();
        let mentions = Mentions { by: edited.seq, users };
        match self.messages.binary_search_by_key(&edited.of, |message| message.life.seq) {
            Ok(at) => self.messages[at].mentions = mentions,
            Err(_) => drop(self.edits.insert(edited.of, mentions)),
        }
    }

    /// A message is absent for good.
    pub fn remove(&mut self, seq: Seq) {
        self.edits.remove(&seq);
        if let Ok(at) = self.messages.binary_search_by_key(&seq, |message| message.life.seq) {
            self.messages.remove(at);
        }
    }

    /// See [`count`](super::count). `floor` is the first seq that may still be there.
    ///
    /// # Errors
    /// When it depends on messages that the window does not have.
    pub fn count(
        &self,
        floor: Seq,
        read: Seq,
        me: &UserId,
        until_ms: impl Fn(Life) -> Option<u64>,
    ) -> Result<Unread, Missing> {
        let me = self.places.get(me).copied();
        let is_me = |place: &u32| me == Some(*place);
        let mut unread = Unread::default();
        for message in self.messages.iter().rev() {
            if message.life.seq <= read || message.life.seq < floor {
                return Ok(unread);
            }
            if is_me(&message.sender) {
                continue;
            }
            let Some(until_ms) = until_ms(message.life) else { continue };
            if !unread.take(message.mentions.users.iter().any(is_me), until_ms) {
                return Ok(unread);
            }
        }
        let reaches = self.before <= read || self.before.next() <= floor;
        if reaches { Ok(unread) } else { Err(Missing(self.before)) }
    }

    fn message(&mut self, posted: &Posted) -> Message {
        let sender = self.place(&posted.sender);
        let users = posted.mentions.iter().map(|user| self.place(user)).collect();
        Message { life: posted.life, sender, mentions: Mentions { by: Seq::ZERO, users } }
    }

    fn place(&mut self, user: &UserId) -> u32 {
        if let Some(place) = self.places.get(user) {
            return *place;
        }
        let place = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
        self.users.push(user.clone());
        self.places.insert(user.clone(), place);
        place
    }

    fn trim(&mut self) {
        if self.users.len() > USERS_MAX || self.edits.len() > EDITS_MAX {
            *self = Self::behind(self.last);
        }
        let before = self.before;
        while self.messages.len() > MESSAGES_MAX {
            if let Some(message) = self.messages.pop_front() {
                self.before = message.life.seq;
                // Its edit may lie behind that, and is not read again then.
                if message.mentions.by > Seq::ZERO {
                    self.edits.insert(message.life.seq, message.mentions);
                }
            }
        }
        if self.before > before {
            self.edits.retain(|_, mentions| mentions.by > self.before);
        }
    }
}
