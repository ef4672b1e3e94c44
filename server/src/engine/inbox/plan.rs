//! What a round comes to: registers to be stored, and what is true once they are. A function of the view and
//! of what is to be done, which changes nothing, so a round whose registers are not stored is planned again.

use std::collections::BTreeMap;

use quoth_core::inbox::{CHANGE_DUE, DUE, due_key};
use quoth_core::receipts::{Cursor, Due, key_of};
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Register, View, ViewError};

use super::entries::Entries;
use super::moves::Move;
use super::receipts::cursor;

/// How often an entry says anew that its user has read something, in milliseconds.
const READ_INTERVAL_MS: u64 = quoth_core::inbox::MOVE_INTERVAL_MS;

/// What is to be done in one round.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// In milliseconds since 1970.
    pub(super) now_ms: u64,
    /// Conversations that are to move in their members' lists, or to be said there to have changed, each once.
    pub(super) moves: Vec<Move>,
    /// Conversations that are in these users' lists no more.
    pub(super) left: Vec<(UserId, ConversationName)>,
    /// Cursors that are to be stored, in the order of their conversations.
    pub(super) cursors: Vec<Marked>,
}

/// A cursor that is to be stored.
#[derive(Debug, Clone)]
pub(super) struct Marked {
    pub(super) due: Due,
    /// As it was stored a moment ago: the view may not have that yet.
    pub(super) recent: Cursor,
}

/// What it comes to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Registers of users' own logs, then of conversations.
    pub(super) notes: Vec<(ConversationName, Vec<Register>)>,
    /// Registers of the server's own log, once all of these are stored: what is due no more.
    pub(super) done: Vec<Register>,
    /// Conversations that all members of a version have among those with too many members, once these are
    /// stored.
    pub(super) large: Vec<(ConversationName, Seq)>,
    /// Cursors that are further than before, in the order of their conversations.
    pub(super) moved: Vec<Due>,
    /// Those that are what they are to be.
    pub(super) known: Vec<Due>,
    /// Those that cannot be stored: what is stored already does not decode.
    pub(super) lost: Vec<Due>,
    /// What does not decode.
    pub(super) damage: Vec<ViewError>,
}

/// Plans a round.
///
/// # Errors
/// When the view cannot be read. Damage of one conversation, or of one user's log, keeps nothing else from
/// being done.
pub(super) fn plan(view: &dyn View, work: &Work) -> Result<Plan, ViewError> {
    let mut plan = Plan::default();
    let mut entries = Entries::of(view);
    for one in &work.moves {
        one.plan(&mut entries, &mut plan)?;
        let done = [DUE, CHANGE_DUE].map(|kind| due_key(kind, &one.conversation));
        plan.done.extend(done.map(|key| Register { key: key.into(), value: None }));
    }
    for (user, conversation) in &work.left {
        plan.unless_damaged(entries.change(user, conversation, |_| None))?;
    }
    let mut of_conversations: BTreeMap<&ConversationName, Vec<Register>> = BTreeMap::new();
    for marked in &work.cursors {
        if let Some(register) = plan.store(view, marked, &mut entries, work.now_ms)? {
            of_conversations.entry(&marked.due.conversation).or_default().push(register);
        }
    }
    // What tells that something has changed comes before what has.
    let of_users = entries.notes().into_iter().map(|(user, notes)| (ConversationName::of_user(&user), notes));
    plan.notes.extend(of_users);
    plan.notes.extend(of_conversations.into_iter().map(|(name, registers)| (name.clone(), registers)));
    Ok(plan)
}

impl Plan {
    /// The value, if nothing that it is made of is damaged.
    pub(super) fn unless_damaged<T>(&mut self, read: Result<T, ViewError>) -> Result<Option<T>, ViewError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.concerns_one_conversation() => {
                self.damage.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The register of a cursor, if it is to be written.
    fn store(
        &mut self,
        view: &dyn View,
        Marked { due, recent }: &Marked,
        entries: &mut Entries<'_>,
        now_ms: u64,
    ) -> Result<Option<Register>, ViewError> {
        let Due { conversation, user, cursor: wanted } = due;
        let Some(stored) = self.unless_damaged(cursor(view, conversation, user))? else {
            self.lost.push(due.clone());
            return Ok(None);
        };
        let stored = stored.merged(*recent);
        let merged = Due { cursor: stored.merged(*wanted), ..due.clone() };
        if stored == merged.cursor {
            self.known.push(merged);
            return Ok(None);
        }
        // Where there is none the conversation is in no list.
        let told = entries.change(user, conversation, |entry| {
            let entry = entry?;
            let is_known = now_ms.saturating_sub(entry.read_ms) < READ_INTERVAL_MS;
            let read_ms = if is_known { entry.read_ms } else { now_ms };
            Some(quoth_core::inbox::Entry { read_ms, ..entry })
        });
        self.unless_damaged(told)?;
        let register = Register { key: key_of(user).into(), value: Some(merged.cursor.encode().into()) };
        self.moved.push(merged);
        Ok(Some(register))
    }
}
