//! A user's own log: whom the user has blocked, and which conversations the user is in.
//!
//! Only the blocks are kept as a state, since others are judged by them. The conversations are registers
//! alone, a row for each; readers page through these.

use std::collections::BTreeSet;

use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::BLOCKED_USERS_MAX;
use quoth_protocol::{Code, ConversationName, Seq, UserId};

use super::{ConversationState, Damaged, Refusal};
use crate::inbox;
use crate::messages::hidden_key;
use crate::register::{RegisterChange, decode, encode, key};

/// What the keys of blocked users' registers begin with.
pub const BLOCKED: u8 = b'b';

/// The key of the register that says that a user is blocked.
#[must_use]
pub fn blocked_key(user: &UserId) -> Vec<u8> {
    key(BLOCKED, user.as_str().as_bytes())
}

/// The event by which a user is blocked, as the register with the [key](blocked_key) of it says.
///
/// # Errors
/// When it is none that [`registers`] has made.
pub fn blocked_by(row: &[u8]) -> Result<Seq, Damaged> {
    decode(row)
}

/// What the keys of the registers begin with that name the conversations which the user is in.
pub const CONVERSATION: u8 = b'c';

/// Whom a user has blocked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserState {
    blocked: BTreeSet<UserId>,
    version: Seq,
}

impl UserState {
    /// Whether the user wants nothing of somebody.
    #[must_use]
    pub fn blocks(&self, user: &UserId) -> bool {
        self.blocked.contains(user)
    }

    /// Whom the user has blocked, in the order of their ids' bytes.
    pub fn blocked(&self) -> impl Iterator<Item = &UserId> {
        self.blocked.iter()
    }

    /// How many users the user has blocked.
    #[must_use]
    pub fn blocked_count(&self) -> usize {
        self.blocked.len()
    }

    /// The last event that changed it, as far as it is known: who is unblocked leaves no register behind.
    #[must_use]
    pub const fn version(&self) -> Seq {
        self.version
    }

    /// The event by which the user `me` blocks somebody or does no more; `None` when nothing has to change.
    ///
    /// # Errors
    /// [`Code::INVALID_REQUEST`] for oneself, [`Code::TOO_MANY`] beyond [`BLOCKED_USERS_MAX`].
    pub fn block(&self, me: &UserId, user: &UserId, blocked: bool) -> Result<Option<EventKind>, Refusal> {
        if me == user {
            return Err(Refusal::invalid("nobody can block themselves"));
        }
        if self.blocks(user) == blocked {
            return Ok(None);
        }
        if blocked && self.blocked.len() >= BLOCKED_USERS_MAX {
            return Err(Refusal::new(Code::TOO_MANY, "too many blocked users: unblock others first"));
        }
        Ok(Some(EventKind::Blocked { user: user.clone(), blocked }))
    }

    /// Takes an event of the user's log.
    pub fn apply(&mut self, seq: Seq, kind: &EventKind) {
        if let EventKind::Blocked { user, blocked } = kind {
            if *blocked {
                self.blocked.insert(user.clone());
            } else {
                self.blocked.remove(user);
            }
            self.version = seq;
        }
    }

    /// The state that registers hold whose keys begin with [`BLOCKED`].
    ///
    /// # Errors
    /// When they are none that [`registers`] has made.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        registers: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Damaged> {
        let mut state = Self::default();
        for (key, value) in registers {
            state.blocked.insert(user_of(key.as_ref()).ok_or(Damaged("a key is no blocked user"))?);
            state.version = state.version.max(decode(value.as_ref())?);
        }
        Ok(state)
    }
}

/// The registers that an event of a user's log changes.
#[must_use]
pub fn registers(seq: Seq, kind: &EventKind) -> Vec<RegisterChange> {
    match kind {
        EventKind::Blocked { user, blocked } => {
            vec![(key(BLOCKED, user.as_str().as_bytes()), blocked.then(|| encode(&seq)))]
        }
        EventKind::Belongs { conversation, .. } => {
            vec![(key(CONVERSATION, conversation.as_str().as_bytes()), Some(encode(&seq)))]
        }
        EventKind::BelongsNoMore { conversation, .. } => {
            let mut changes = vec![(key(CONVERSATION, conversation.as_str().as_bytes()), None)];
            changes.extend(inbox::left(conversation));
            changes
        }
        EventKind::InboxSet { conversation, archived, muted_until_ms, pinned } => {
            let (archived, muted_until_ms, pinned) = (*archived, *muted_until_ms, *pinned);
            inbox::Settings { archived, muted_until_ms, pinned }.registers(conversation)
        }
        EventKind::Hidden { conversation, seq: hidden } => {
            vec![(hidden_key(conversation, *hidden), Some(encode(&seq)))]
        }
        EventKind::Message { .. }
        | EventKind::Created { .. }
        | EventKind::Renamed { .. }
        | EventKind::MemberSet { .. }
        | EventKind::MemberGone { .. }
        | EventKind::Muted { .. }
        | EventKind::Banned { .. }
        | EventKind::SlowMode { .. }
        | EventKind::InvitationMade { .. }
        | EventKind::InvitationsRevoked
        | EventKind::Edited { .. }
        | EventKind::Revoked { .. }
        | EventKind::Reacted { .. }
        | EventKind::RetentionSet { .. } => Vec::new(),
    }
}

/// The conversation that a register of a user's log names, by its key.
#[must_use]
pub fn conversation_of(key: &[u8]) -> Option<ConversationName> {
    let name = key.strip_prefix(&[CONVERSATION])?;
    ConversationName::new(std::str::from_utf8(name).ok()?).ok()
}

fn user_of(key: &[u8]) -> Option<UserId> {
    let name = key.strip_prefix(&[BLOCKED])?;
    UserId::new(std::str::from_utf8(name).ok()?).ok()
}

/// What a conversation's event means in the log of a user: whose it is, and the event there. `state` is the
/// one behind the event.
#[must_use]
pub fn echo(
    name: &ConversationName,
    state: &ConversationState,
    kind: &EventKind,
) -> Option<(UserId, EventKind)> {
    match kind {
        EventKind::MemberSet { user, role, .. } => {
            let (conversation, title) = (name.clone(), state.title().to_owned());
            let belongs = EventKind::Belongs { conversation, kind: state.kind(), title, role: *role };
            Some((user.clone(), belongs))
        }
        EventKind::MemberGone { user, cause } => {
            Some((user.clone(), EventKind::BelongsNoMore { conversation: name.clone(), cause: *cause }))
        }
        EventKind::Message { .. }
        | EventKind::Created { .. }
        | EventKind::Renamed { .. }
        | EventKind::Muted { .. }
        | EventKind::Banned { .. }
        | EventKind::SlowMode { .. }
        | EventKind::InvitationMade { .. }
        | EventKind::InvitationsRevoked
        | EventKind::Belongs { .. }
        | EventKind::BelongsNoMore { .. }
        | EventKind::Blocked { .. }
        | EventKind::Edited { .. }
        | EventKind::Revoked { .. }
        | EventKind::Reacted { .. }
        | EventKind::RetentionSet { .. }
        | EventKind::Hidden { .. }
        | EventKind::InboxSet { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quoth_protocol::limits::BLOCKED_USERS_MAX;
    use quoth_protocol::{Code, Seq, UserId};

    use super::{UserState, registers};

    fn user(text: &str) -> UserId {
        UserId::new(text).unwrap()
    }

    #[test]
    fn blocks_are_the_same_from_events_and_from_registers() {
        let (me, mut state, mut rows) = (user("me"), UserState::default(), BTreeMap::new());
        let steps = [("a", true), ("b", true), ("a", false), ("c", true), ("b", true)];
        for (seq, (name, blocked)) in (1..).map(Seq).zip(steps) {
            let Some(event) = state.block(&me, &user(name), blocked).unwrap() else {
                assert_eq!((name, blocked), ("b", true), "only a repeat changes nothing");
                continue;
            };
            state.apply(seq, &event);
            for (key, value) in registers(seq, &event) {
                match value {
                    Some(value) => drop(rows.insert(key, value)),
                    None => drop(rows.remove(&key)),
                }
            }
            assert_eq!(UserState::load(&rows).unwrap().blocked, state.blocked);
        }
        assert!(state.blocks(&user("b")) && state.blocks(&user("c")) && !state.blocks(&user("a")));
    }

    #[test]
    fn nobody_blocks_themselves_or_everybody() {
        let (me, mut state) = (user("me"), UserState::default());
        assert_eq!(state.block(&me, &me, true).unwrap_err().code, Code::INVALID_REQUEST);
        for other in 0..BLOCKED_USERS_MAX {
            let event = state.block(&me, &user(&format!("u{other}")), true).unwrap().unwrap();
            state.apply(Seq(1), &event);
        }
        assert_eq!(state.block(&me, &user("one more"), true).unwrap_err().code, Code::TOO_MANY);
        assert!(state.block(&me, &user("u7"), false).unwrap().is_some());
    }
}
