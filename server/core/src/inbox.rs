//! A user's list of conversations, as registers of the user's own log.
//!
//! | key | holds |
//! |---|---|
//! | `t`, the latest first, conversation | that the conversation was written to at that time: the list's order |
//! | `l`, conversation | that it has too many members for their lists to be moved: it is looked at each time |
//! | `n`, conversation | an [`Entry`]: which of the rows above holds |
//! | `v`, the latest first, conversation | that the user has got or read something there at that time |
//! | `u`, the latest first, conversation | that something else changed there at that time, which moves nothing |
//! | `s`, conversation | [`Settings`] |
//! | `p`, conversation | that it is pinned |
//!
//! An entry is moved at most once in [`MOVE_INTERVAL_MS`], so a row's time is as much behind at most. A row
//! that its entry does not name is over: it is left where it is when nobody knows its key any more, and
//! skipped.

mod stale;

use quoth_protocol::ConversationName;
use serde::{Deserialize, Serialize};

use crate::register::{Damaged, RegisterChange, decode, encode, key};

pub use stale::StaleRows;

/// How often a conversation moves in its members' lists at most, in milliseconds.
pub const MOVE_INTERVAL_MS: u64 = 60_000;

/// Members of a conversation that moves in their lists; with more of them it stands there among those that
/// are looked at each time.
pub const MOVED_MEMBERS_MAX: u32 = 256;

/// What the keys begin with.
pub const MOVED: u8 = b't';
/// See [`MOVED`].
pub const LARGE: u8 = b'l';
/// See [`MOVED`].
pub const READ: u8 = b'v';
/// See [`MOVED`].
pub const CHANGED: u8 = b'u';
/// See [`MOVED`].
pub const PINNED: u8 = b'p';
const ENTRY: u8 = b'n';
/// See [`MOVED`].
pub const SETTINGS: u8 = b's';

/// What the keys begin with, in the server's own log, of conversations that are to be moved and are not yet;
/// so a crash loses no move.
pub const DUE: u8 = b'w';

/// The same of those that are to be said to have changed.
pub const CHANGE_DUE: u8 = b'y';

/// Where a conversation stands in a user's list. All times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was moved last; 0 when it is among those that are looked at each time.
    pub moved_ms: u64,
    /// When the user's cursor was last told of; 0: never.
    pub read_ms: u64,
    /// When it was last said to have changed without a move; 0: never.
    pub changed_ms: u64,
}

/// What a user wants of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether it is out of the way.
    pub archived: bool,
    /// Until when nothing of it is to be shown as news, in milliseconds since 1970; 0: it is.
    pub muted_until_ms: u64,
    /// Whether it comes before all others.
    pub pinned: bool,
}

impl Entry {
    /// The entry that a register holds.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(row: &[u8]) -> Result<Self, Damaged> {
        decode(row)
    }

    /// The registers that put another entry in the place of this one.
    #[must_use]
    pub fn replaced(self, by: Self, conversation: &ConversationName) -> Vec<RegisterChange> {
        self.changed(by, self.stands_large(), conversation)
    }

    /// The registers that put it where there is no entry. An earlier one may have left that it stands among
    /// the large ones, for which whoever reads these asks the entry: to remove that each time would leave a
    /// row that is none for each conversation, and whoever looks for the large ones would look through all of
    /// these.
    #[must_use]
    pub fn placed(self, conversation: &ConversationName) -> Vec<RegisterChange> {
        Self::default().changed(self, false, conversation)
    }

    /// Whether it is among those that are looked at each time.
    #[must_use]
    pub const fn stands_large(self) -> bool {
        self.moved_ms == 0
    }

    fn changed(self, by: Self, is_large: bool, conversation: &ConversationName) -> Vec<RegisterChange> {
        let mut changes = vec![(of(ENTRY, conversation), Some(encode(&by)))];
        let time = |time_ms: u64| (time_ms > 0).then_some(time_ms);
        for (kind, from, to) in [
            (MOVED, self.moved_ms, by.moved_ms),
            (READ, self.read_ms, by.read_ms),
            (CHANGED, self.changed_ms, by.changed_ms),
        ] {
            let (from, to) = (time(from), time(to));
            if from != to {
                changes.extend(from.map(|from_ms| (timed(kind, from_ms, conversation), None)));
                changes.extend(to.map(|to_ms| (timed(kind, to_ms, conversation), Some(Vec::new()))));
            }
        }
        if by.stands_large() {
            changes.push((of(LARGE, conversation), Some(Vec::new())));
        } else if is_large {
            changes.push((of(LARGE, conversation), None));
        }
        changes
    }
}

/// The registers of a conversation that a user has joined at `time_ms`.
#[must_use]
pub fn joined(conversation: &ConversationName, time_ms: u64, members: u32) -> Vec<RegisterChange> {
    let moved_ms = if members > MOVED_MEMBERS_MAX { 0 } else { time_ms };
    Entry { moved_ms, ..Entry::default() }.placed(conversation)
}

/// The registers of a conversation that a user has left, but for those with a time in their keys, which only
/// [`over`] knows.
#[must_use]
pub fn left(conversation: &ConversationName) -> Vec<RegisterChange> {
    [LARGE, SETTINGS, PINNED].map(|kind| (of(kind, conversation), None)).to_vec()
}

/// The registers that end an entry of a conversation that the user has left.
#[must_use]
pub fn over(entry: Entry, conversation: &ConversationName) -> Vec<RegisterChange> {
    let mut changes = vec![(of(ENTRY, conversation), None)];
    for (kind, time_ms) in [(MOVED, entry.moved_ms), (READ, entry.read_ms), (CHANGED, entry.changed_ms)] {
        if time_ms > 0 {
            changes.push((timed(kind, time_ms, conversation), None));
        }
    }
    changes
}

impl Settings {
    /// The settings that a register holds.
    ///
    /// # Errors
    /// When it holds none.
    pub fn decode(row: &[u8]) -> Result<Self, Damaged> {
        decode(row)
    }

    /// The registers that hold them.
    #[must_use]
    pub fn registers(self, conversation: &ConversationName) -> Vec<RegisterChange> {
        let is_default = self == Self::default();
        vec![
            (of(SETTINGS, conversation), (!is_default).then(|| encode(&self))),
            (of(PINNED, conversation), self.pinned.then(Vec::new)),
        ]
    }
}

/// The key of a conversation's entry.
#[must_use]
pub fn entry_key(conversation: &ConversationName) -> Vec<u8> {
    of(ENTRY, conversation)
}

/// The key of a conversation's settings.
#[must_use]
pub fn settings_key(conversation: &ConversationName) -> Vec<u8> {
    of(SETTINGS, conversation)
}

/// The key of a conversation that is to be moved ([`DUE`]), or said to have changed ([`CHANGE_DUE`]), in the
/// server's own log.
#[must_use]
pub fn due_key(kind: u8, conversation: &ConversationName) -> Vec<u8> {
    of(kind, conversation)
}

/// The key of a row of this kind that stands at a time.
#[must_use]
pub fn timed(kind: u8, time_ms: u64, conversation: &ConversationName) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + conversation.as_str().len());
    key.push(kind);
    // The latest first.
    key.extend((u64::MAX - time_ms).to_be_bytes());
    key.extend(conversation.as_str().as_bytes());
    key
}

/// Time and conversation of a row that stands at a time, by its key.
#[must_use]
pub fn of_timed(key: &[u8]) -> Option<(u64, ConversationName)> {
    let (time, name) = key.get(1..)?.split_at_checked(8)?;
    let time_ms = u64::MAX - u64::from_be_bytes(time.try_into().ok()?);
    Some((time_ms, ConversationName::new(std::str::from_utf8(name).ok()?).ok()?))
}

/// The conversation of a row without a time, by its key.
#[must_use]
pub fn conversation_of(key: &[u8]) -> Option<ConversationName> {
    ConversationName::new(std::str::from_utf8(key.get(1..)?).ok()?).ok()
}

fn of(kind: u8, conversation: &ConversationName) -> Vec<u8> {
    key(kind, conversation.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quoth_protocol::ConversationName;

    use super::{
        CHANGED, Entry, LARGE, MOVED, MOVED_MEMBERS_MAX, READ, RegisterChange, Settings, conversation_of,
        entry_key, joined, left, of_timed, over, settings_key, timed,
    };

    #[derive(Default)]
    struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Rows {
        fn change(&mut self, changes: Vec<RegisterChange>) {
            for (key, value) in changes {
                match value {
                    Some(value) => drop(self.0.insert(key, value)),
                    None => drop(self.0.remove(&key)),
                }
            }
        }

        fn entry(&self, name: &ConversationName) -> Entry {
            Entry::decode(&self.0[&entry_key(name)]).unwrap()
        }

        fn timed(&self, kind: u8) -> Vec<(u64, String)> {
            let of_kind = self.0.keys().filter(|key| key[0] == kind);
            of_kind
                .filter_map(|key| of_timed(key))
                .map(|(time_ms, name)| (time_ms, name.to_string()))
                .collect()
        }
    }

    fn name(name: &str) -> ConversationName {
        ConversationName::new(name).unwrap()
    }

    #[test]
    fn the_latest_come_first_and_each_once() {
        let (mut rows, names) = (Rows::default(), ["a", "b", "c"].map(name));
        for (time_ms, name) in (1_000..).zip(&names) {
            rows.change(joined(name, time_ms, 2));
        }
        for (time_ms, which) in [(70_000, 0), (80_000, 1), (140_000, 0)] {
            let before = rows.entry(&names[which]);
            let by = Entry { moved_ms: time_ms, ..before };
            rows.change(before.replaced(by, &names[which]));
        }
        let order = [(140_000, "a"), (80_000, "b"), (1_002, "c")].map(|(ms, name)| (ms, name.to_owned()));
        assert_eq!(rows.timed(MOVED), order);
        // The same once more changes nothing.
        let before = rows.entry(&names[0]);
        rows.change(before.replaced(before, &names[0]));
        assert_eq!(rows.timed(MOVED), order);
        let read = Entry { read_ms: 141_000, ..before };
        rows.change(before.replaced(read, &names[0]));
        assert_eq!((rows.timed(MOVED), rows.timed(READ)), (order.to_vec(), vec![(141_000, "a".to_owned())]));
        // What has changed is told, and stands where it was.
        let changed = Entry { changed_ms: 150_000, ..read };
        rows.change(read.replaced(changed, &names[0]));
        assert_eq!(
            (rows.timed(MOVED), rows.timed(CHANGED)),
            (order.to_vec(), vec![(150_000, "a".to_owned())])
        );
    }

    #[test]
    fn nothing_is_left_of_a_conversation_that_was_left() {
        let (mut rows, name) = (Rows::default(), name("a"));
        rows.change(joined(&name, 1_000, 2));
        rows.change(Settings { archived: true, muted_until_ms: 7, pinned: true }.registers(&name));
        let before = rows.entry(&name);
        rows.change(before.replaced(Entry { read_ms: 2_000, moved_ms: 3_000, changed_ms: 4_000 }, &name));
        rows.change(left(&name));
        rows.change(over(rows.entry(&name), &name));
        assert!(rows.0.is_empty(), "{:?}", rows.0);
    }

    #[test]
    fn large_conversations_do_not_move() {
        let (mut rows, large, small) = (Rows::default(), name("large"), name("small"));
        rows.change(joined(&large, 1_000, MOVED_MEMBERS_MAX + 1));
        rows.change(joined(&small, 1_000, MOVED_MEMBERS_MAX));
        let large_rows = |rows: &Rows| {
            let of_kind = rows.0.keys().filter(|key| key[0] == LARGE);
            of_kind.filter_map(|key| conversation_of(key)).collect::<Vec<_>>()
        };
        assert_eq!((rows.timed(MOVED).len(), large_rows(&rows)), (1, vec![large.clone()]));
        // What is not there is not removed: that costs those who look for the large ones.
        assert!(joined(&small, 1_000, 2).iter().all(|(key, value)| key[0] != LARGE && value.is_some()));
        // One that has grown.
        let before = rows.entry(&small);
        rows.change(before.replaced(Entry { moved_ms: 0, ..before }, &small));
        assert_eq!((rows.timed(MOVED).len(), large_rows(&rows)), (0, vec![large.clone(), small.clone()]));
        // And one that many have left.
        let before = rows.entry(&small);
        rows.change(before.replaced(Entry { moved_ms: 9, ..before }, &small));
        assert_eq!((rows.timed(MOVED), large_rows(&rows)), (vec![(9, "small".to_owned())], vec![large]));
    }

    #[test]
    fn settings_come_back_and_the_usual_ones_cost_nothing() {
        let (mut rows, name) = (Rows::default(), name("a"));
        let settings = Settings { archived: false, muted_until_ms: u64::MAX, pinned: true };
        rows.change(settings.registers(&name));
        assert_eq!(Settings::decode(&rows.0[&settings_key(&name)]), Ok(settings));
        rows.change(Settings::default().registers(&name));
        assert!(rows.0.is_empty());
        assert_eq!(of_timed(&timed(MOVED, u64::MAX, &name)), Some((u64::MAX, name)));
    }
}
