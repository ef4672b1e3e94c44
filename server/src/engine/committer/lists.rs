//! What a group is to its members' lists: once for each conversation of it, and once a minute for each
//! conversation in the log.

use std::sync::Arc;

use quoth_core::inbox::{CHANGE_DUE, DUE, MOVE_INTERVAL_MS, due_key};
use quoth_protocol::ConversationName;
use quoth_store::{Record, Register};

use super::{Committer, Group};
use crate::engine::inbox::Written;
use crate::engine::notes::notice;
use crate::engine::states::KnownConversation;

impl Committer {
    /// A managed conversation gets a message, which moves it in its members' lists. That it is to move is in
    /// the log with the message, so a crash loses no move.
    pub(super) fn posted(
        &self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
        time_ms: u64,
        group: &mut Group,
    ) {
        let moves_to_ms = known.moves(time_ms, MOVE_INTERVAL_MS).then_some(time_ms);
        self.written(name, Written { known: Arc::clone(known), moves_to_ms, changed_ms: None }, group);
    }

    /// It gets an event that moves it nowhere: those who watch are told.
    pub(super) fn happened(
        &self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
        group: &mut Group,
    ) {
        self.written(name, Written { known: Arc::clone(known), moves_to_ms: None, changed_ms: None }, group);
    }

    /// The same of something by which its row is another one where it is. That is in the log as well: who is
    /// away is told of it later.
    pub(super) fn changed(
        &self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
        time_ms: u64,
        group: &mut Group,
    ) {
        let changed_ms = known.changes(time_ms, MOVE_INTERVAL_MS).then_some(time_ms);
        self.written(name, Written { known: Arc::clone(known), moves_to_ms: None, changed_ms }, group);
    }

    fn written(&self, name: &ConversationName, new: Written, group: &mut Group) {
        for (kind, time_ms) in [(DUE, new.moves_to_ms), (CHANGE_DUE, new.changed_ms)] {
            group.records.extend(time_ms.map(|time_ms| due(kind, name, time_ms)));
        }
        // Positions begin with 1, and the group's is the next one.
        if new.known.writes(self.position.0 + 1) {
            group.written.push((name.clone(), new));
        } else if let Some((_, written)) = group.written.iter_mut().find(|(of, _)| of == name) {
            written.merge(&new);
        }
    }
}

/// A conversation is to move to a time, or to be said to have changed then.
fn due(kind: u8, name: &ConversationName, time_ms: u64) -> Record {
    let value = bytes::Bytes::copy_from_slice(&time_ms.to_be_bytes());
    let register = Register { key: due_key(kind, name).into(), value: Some(value) };
    notice(ConversationName::server(), time_ms, vec![register])
}
