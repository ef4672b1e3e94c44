//! What a user has not read: a function of a conversation's events and of the user's cursor, and nothing
//! else.
//!
//! [`count`] is that function. [`Window`] comes to the same without going through the events each time: it
//! has what the latest ones come to, for all members of the conversation alike.

#[cfg(test)]
mod model;
mod window;

use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::limits::UNREAD_MAX;
use quoth_protocol::{Seq, UserId};

pub use window::{Missing, Window};

/// What decides whether a message is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Its place.
    pub seq: Seq,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it ends by its publisher's wish, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
}

/// A message, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Where and when.
    pub life: Life,
    /// Who wrote it.
    pub sender: UserId,
    /// Whom it mentions.
    pub mentions: Vec<UserId>,
}

/// An edit of a message, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Its own place.
    pub seq: Seq,
    /// That of the message.
    pub of: Seq,
    /// Whom the message mentions from then on.
    pub mentions: Vec<UserId>,
}

/// What a user has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// Messages by others, at most [`UNREAD_MAX`].
    pub messages: u32,
    /// Those among them that mention the user.
    pub mentions: u32,
    /// When the first of these messages is absent, in milliseconds since 1970; `u64::MAX`: none is by time
    /// alone. Until then it is the same as long as no event comes.
    pub until_ms: u64,
}

impl Default for Unread {
    fn default() -> Self {
        Self { messages: 0, mentions: 0, until_ms: u64::MAX }
    }
}

impl Posted {
    /// An event as a message that is counted; `None` for what is none.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match &event.kind {
            EventKind::Message { mentions, expires_ms, .. } => {
                let life = Life { seq: event.seq, time_ms: event.time_ms, expires_ms: *expires_ms };
                Some(Self { life, sender: event.sender.clone(), mentions: mentions.clone() })
            }
            _ => None,
        }
    }
}

impl Edited {
    /// An event as an edit; `None` for what is none.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match &event.kind {
            EventKind::Edited { seq, mentions, .. } => {
                Some(Self { seq: event.seq, of: *seq, mentions: mentions.clone() })
            }
            _ => None,
        }
    }
}

impl Unread {
    /// Takes the next message further back; says whether there may be more to count.
    fn take(&mut self, mentions_me: bool, until_ms: u64) -> bool {
        self.until_ms = self.until_ms.min(until_ms);
        self.messages += 1;
        self.mentions += u32::from(mentions_me);
        self.messages < UNREAD_MAX
    }
}

/// What `me` has not read who has read up to `read`: the latest [`UNREAD_MAX`] messages of others behind that
/// which are not absent. `newest_first` are the conversation's messages, each of them once, with the mentions
/// of its latest edit. `until_ms` says of a message when it will be absent, in milliseconds since 1970, with
/// `u64::MAX` for never; `None`: it is.
pub fn count<'a>(
    newest_first: impl IntoIterator<Item = &'a Posted>,
    read: Seq,
    me: &UserId,
    until_ms: impl Fn(Life) -> Option<u64>,
) -> Unread {
    let mut unread = Unread::default();
    for posted in newest_first {
        if posted.life.seq <= read {
            break;
        }
        if posted.sender == *me {
            continue;
        }
        let Some(until_ms) = until_ms(posted.life) else { continue };
        if !unread.take(posted.mentions.contains(me), until_ms) {
            break;
        }
    }
    unread
}

#[cfg(test)]
mod tests {
    use quoth_protocol::limits::UNREAD_MAX;
    use quoth_protocol::{Seq, UserId};

    use super::{Life, Posted, Unread, count};

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn posted(seq: u64, sender: &str, mentions: &[&str]) -> Posted {
        let mentions = mentions.iter().map(|name| user(name)).collect();
        let life = Life { seq: Seq(seq), time_ms: seq, expires_ms: 0 };
        Posted { life, sender: user(sender), mentions }
    }

    fn for_ever(_: Life) -> Option<u64> {
        Some(u64::MAX)
    }

    fn unread(messages: u32, mentions: u32) -> Unread {
        Unread { messages, mentions, ..Unread::default() }
    }

    #[test]
    fn others_messages_behind_the_cursor_are_unread() {
        let log = [
            posted(6, "bob", &["alice", "bob"]),
            posted(5, "alice", &["alice"]),
            posted(3, "bob", &[]),
            posted(2, "carol", &["alice"]),
        ];
        let of = |me: &str, read: u64| count(&log, Seq(read), &user(me), for_ever);
        assert_eq!(of("alice", 0), unread(3, 2), "one's own are read, whomever they mention");
        assert_eq!(of("alice", 2), unread(2, 1));
        assert_eq!(of("alice", 6), unread(0, 0));
        assert_eq!(of("bob", 0), unread(2, 0));
        assert_eq!(of("dave", 4), unread(2, 0));
        let without = |life: Life| (life.seq != Seq(6)).then_some(u64::MAX);
        let without = count(&log, Seq(0), &user("alice"), without);
        assert_eq!(without, unread(2, 1), "what is absent is nowhere");
    }

    #[test]
    fn what_is_counted_has_an_end() {
        let most = u64::from(UNREAD_MAX);
        let log: Vec<_> = (1..=most + 5).rev().map(|seq| posted(seq, "bob", &["alice"])).collect();
        let of = |read: u64| count(&log, Seq(read), &user("alice"), for_ever);
        assert_eq!(of(0), unread(UNREAD_MAX, UNREAD_MAX));
        assert_eq!(of(6), unread(UNREAD_MAX - 1, UNREAD_MAX - 1));
        let first_mentions = |seq: u64| if seq == 1 { vec!["alice"] } else { vec![] };
        let log: Vec<_> = (1..=most + 5).rev().map(|seq| posted(seq, "bob", &first_mentions(seq))).collect();
        assert_eq!(count(&log, Seq(0), &user("alice"), for_ever), unread(UNREAD_MAX, 0), "too far back");
    }
}
