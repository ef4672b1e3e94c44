//! The latest messages of a conversation, as far as they are counted.

use std::collections::{HashMap, VecDeque};

use quoth_protocol::limits::UNREAD_MAX;
use quoth_protocol::{Seq, UserId};

use super::{Life, Posted, Unread};

/// Messages that a window keeps: more than are counted, since a reader's own are among them.
const MESSAGES_MAX: usize = 2 * UNREAD_MAX as usize;

/// Users whom a window knows before it begins anew.
const USERS_MAX: usize = 20_000;

/// The messages from some seq on up to the latest one, for all readers of the conversation alike: who wrote them and whom they mention,
/// at about 60 bytes each.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// It has every message behind this one, up to `last`.
    before: Seq,
    last: Seq,
    messages: VecDeque<Message>,
    users: Vec<UserId>,
    places: HashMap<UserId, u32>,
}

#[derive(Debug, Clone)]
struct Message {
    life: Life,
    sender: u32,
    mentions: Box<[u32]>,
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

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes the messages between its end and `last`, ascending. What it knows of already, and what is beyond `last`, it leaves alone.
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

    /// Takes the messages behind `before` up to its beginning, ascending.
    pub fn prepend(
        &mut self,
        before: Seq,
        posted: impl IntoIterator<Item = Posted, IntoIter: DoubleEndedIterator>,
    ) {
        for posted in posted.into_iter().rev() {
            if posted.life.seq <= self.before && posted.life.seq > before {
                let message = self.message(&posted);
                self.messages.push_front(message);
                self.before = Seq(posted.life.seq.0.saturating_sub(1));
            }
        }
        self.before = self.before.min(before);
    }

    /// A message is absent for good.
    pub fn remove(&mut self, seq: Seq) {
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
        is_absent: impl Fn(Life) -> bool,
    ) -> Result<Unread, Missing> {
        let me = self.places.get(me).copied();
        let is_me = |place: &u32| me == Some(*place);
        let mut unread = Unread::default();
        for message in self.messages.iter().rev() {
            if message.life.seq <= read || message.life.seq < floor {
                return Ok(unread);
            }
            if is_me(&message.sender) || is_absent(message.life) {
                continue;
            }
            if !unread.take(message.mentions.iter().any(is_me)) {
                return Ok(unread);
            }
        }
        let reaches = self.before <= read || self.before.next() <= floor;
        if reaches { Ok(unread) } else { Err(Missing(self.before)) }
    }

    fn message(&mut self, posted: &Posted) -> Message {
        let sender = self.place(&posted.sender);
        let mentions = posted.mentions.iter().map(|user| self.place(user)).collect();
        Message { life: posted.life, sender, mentions }
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
        if self.users.len() > USERS_MAX {
            *self = Self::behind(self.last);
        }
        while self.messages.len() > MESSAGES_MAX {
            if let Some(message) = self.messages.pop_front() {
                self.before = message.life.seq;
            }
        }
    }
}
