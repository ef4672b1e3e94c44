//! How far users have got and read: a cursor for each user and conversation, which only ever moves forward.
//!
//! A cursor is a register of its conversation. What moves it waits for a moment ([`Pending`]), so that a
//! client that says so with each event costs the log next to nothing.

mod pending;

use std::cmp::Ordering;

use quoth_protocol::{Seq, UserId};
use serde::{Deserialize, Serialize};

pub use pending::{Due, Pending};

use crate::membership::Damaged;
use crate::register::{decode, encode, key};

/// What the keys of cursors' registers begin with; behind it is the user.
pub const CURSOR: u8 = b'c';

/// How far a user is in a conversation, on whichever device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// A device of the user has everything up to here.
    pub delivered: Seq,
    /// The user has read up to here; never beyond `delivered`.
    pub read: Seq,
}

impl Cursor {
    /// That of who has read up to `read`, and of whom a device has what is up to `delivered`: at least what
    /// is read.
    #[must_use]
    pub fn new(delivered: Seq, read: Seq) -> Self {
        Self { delivered: delivered.max(read), read }
    }

    /// The same with nothing beyond `head`, since nobody has what is not there yet.
    #[must_use]
    pub fn within(self, head: Seq) -> Self {
        Self { delivered: self.delivered.min(head), read: self.read.min(head) }
    }

    /// The further one of both in each respect. In whichever order cursors are merged, the same comes of it.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }

    /// Whether `other` says nothing that this one does not.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.merged(other) == self
    }

    /// What its register holds.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The cursor that a register holds.
    ///
    /// # Errors
    /// When it is none that [`Cursor::encode`] has made.
    pub fn decode(row: &[u8]) -> Result<Self, Damaged> {
        let cursor: Self = decode(row)?;
        match cursor.delivered.cmp(&cursor.read) {
            Ordering::Less => Err(Damaged("a cursor has read what it does not have")),
            Ordering::Equal | Ordering::Greater => Ok(cursor),
        }
    }
}

/// The key of a user's register.
#[must_use]
pub fn key_of(user: &UserId) -> Vec<u8> {
    key(CURSOR, user.as_str().as_bytes())
}

/// Whose cursor a register is, by its key.
#[must_use]
pub fn user_of(key: &[u8]) -> Option<UserId> {
    let name = key.strip_prefix(&[CURSOR])?;
    UserId::new(std::str::from_utf8(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{Seq, UserId};

    use super::{Cursor, key_of, user_of};

    fn cursor(delivered: u64, read: u64) -> Cursor {
        Cursor::new(Seq(delivered), Seq(read))
    }

    #[test]
    fn what_is_read_was_delivered() {
        assert_eq!(cursor(3, 5), cursor(5, 5));
        assert_eq!(cursor(9, 7).within(Seq(6)), cursor(6, 6));
        assert_eq!(cursor(9, 4).within(Seq(6)), cursor(6, 4));
    }

    #[test]
    fn cursors_merge_to_the_same_in_any_order() {
        let all = [cursor(3, 1), cursor(2, 2), cursor(7, 0), cursor(5, 5)];
        let merged = |order: &[usize]| order.iter().fold(Cursor::default(), |sum, at| sum.merged(all[*at]));
        assert_eq!(merged(&[0, 1, 2, 3]), cursor(7, 5));
        assert_eq!(merged(&[3, 2, 1, 0]), merged(&[0, 1, 2, 3]));
        assert_eq!(merged(&[2, 0, 3, 1, 2, 2]), merged(&[0, 1, 2, 3]));
        assert!(all.iter().all(|one| merged(&[0, 1, 2, 3]).covers(*one)));
        assert!(!cursor(3, 1).covers(cursor(2, 2)));
    }

    #[test]
    fn a_cursor_comes_back_from_its_register() {
        let (user, cursor) = (UserId::new("bob").unwrap(), cursor(1 << 40, 7));
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        assert_eq!(user_of(&key_of(&user)), Some(user));
        assert!(Cursor::decode(&cursor.encode()[..1]).is_err());
        let impossible = Cursor { delivered: Seq(1), read: Seq(2) };
        assert!(Cursor::decode(&impossible.encode()).is_err());
    }
}
