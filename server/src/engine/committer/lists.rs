//! What a group is to its members' lists: once for each conversation of it, and once a minute for each
//! conversation in the log.

use std::sync::Arc;

use quoth_core::inbox::{MOVE_INTERVAL_MS, due_key};
use quoth_protocol::ConversationName;
use quoth_store::{Record, Register};

use super::{Committer, Group};
use crate::engine::inbox::Written;
use crate::engine::notes::notice;
use crate::engine::states::KnownConversation;

impl Committer {
    /// A managed conversation gets an event in this group.
    pub(super) fn written(&self, name: &ConversationName, known: &Arc<KnownConversation>, group: &mut Group) {
        // Positions begin with 1, and the group's is the next one.
        if known.writes(self.position.0 + 1) {
            let written = Written { known: Arc::clone(known), moves_to_ms: None };
            group.written.push((name.clone(), written));
        }
    }

    /// The same of a message, which moves it in its members' lists. That it is to move is in the log with the
    /// message, so a crash loses no move.
    pub(super) fn posted(
        &self,
        name: &ConversationName,
        known: &Arc<KnownConversation>,
        time_ms: u64,
        group: &mut Group,
    ) {
        self.written(name, known, group);
        if !known.moves(time_ms, MOVE_INTERVAL_MS) {
            return;
        }
        group.records.push(due(name, time_ms));
        if let Some((_, written)) = group.written.iter_mut().find(|(of, _)| of == name) {
            written.moves_to_ms = Some(time_ms);
        }
    }
}

/// A conversation is to move to a time.
fn due(name: &ConversationName, time_ms: u64) -> Record {
    let value = bytes::Bytes::copy_from_slice(&time_ms.to_be_bytes());
    let register = Register { key: due_key(name).into(), value: Some(value) };
    notice(ConversationName::server(), time_ms, vec![register])
}
