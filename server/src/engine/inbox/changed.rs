//! What has changed in a user's list since the user was there last.

use std::collections::BTreeSet;

use bytes::Bytes;
use quoth_core::inbox::{CHANGED, MOVE_INTERVAL_MS, MOVED, READ, of_timed};
use quoth_protocol::frame::EventKind;
use quoth_protocol::limits::INBOX_CHANGES_MAX;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::{PageLimit, View, ViewError};

use super::pages::large_names;
use crate::engine::Engine;
use crate::engine::frame::event;

/// How much older what is told of may be than what the client has, in milliseconds: rows are told at
/// different times, and of those that wait for a client some may get lost with its connection.
pub(super) const SLACK_MS: u64 = 120_000;

/// Registers and events that are read at once.
const PAGE: usize = 256;

impl Engine {
    /// Conversations of a user's list that may have changed since a version; `None` when these are too many.
    pub(super) async fn changed_since(
        &self,
        user: &UserId,
        since: u64,
    ) -> Result<Option<BTreeSet<ConversationName>>, ViewError> {
        let log = ConversationName::of_user(user);
        self.inner.reads.applied(self.released()).await;
        self.inner.reads.run(move |view| changed(view, &log, since.saturating_sub(SLACK_MS))).await
    }
}

fn changed(
    view: &dyn View,
    log: &ConversationName,
    from_ms: u64,
) -> Result<Option<BTreeSet<ConversationName>>, ViewError> {
    let mut names = BTreeSet::new();
    // What stands at a time may have changed for as long again as it is not moved.
    let moved_from_ms = from_ms.saturating_sub(MOVE_INTERVAL_MS);
    for kind in [MOVED, READ, CHANGED] {
        let mut behind: Option<Bytes> = None;
        loop {
            let rows = view.registers(log, &[kind], behind.as_deref(), PAGE)?;
            let recent =
                rows.iter().map_while(|(key, _)| of_timed(key).filter(|(ms, _)| *ms >= moved_from_ms));
            let mut count = 0;
            for (_, name) in recent {
                names.insert(name);
                count += 1;
            }
            if names.len() > INBOX_CHANGES_MAX {
                return Ok(None);
            }
            match rows.last() {
                Some((key, _)) if count == PAGE => behind = Some(key.clone()),
                _ => break,
            }
        }
    }
    names.extend(large_names(view, log)?);
    // Who has come, gone, or wants something else of a conversation has an event of it.
    let mut before = None;
    loop {
        let events = view.before(log, before, PageLimit { records: PAGE, bytes: usize::MAX })?;
        for record in events.iter().rev() {
            if record.time_ms < from_ms {
                return Ok((names.len() <= INBOX_CHANGES_MAX).then_some(names));
            }
            match event(record)?.kind {
                EventKind::Belongs { conversation, .. }
                | EventKind::BelongsNoMore { conversation, .. }
                | EventKind::InboxSet { conversation, .. }
                | EventKind::Hidden { conversation, .. } => {
                    names.insert(conversation);
                }
                _ => {}
            }
        }
        if names.len() > INBOX_CHANGES_MAX {
            return Ok(None);
        }
        match events.first() {
            Some(first) if events.len() == PAGE => before = Some(first.seq),
            _ => return Ok(Some(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use quoth_core::inbox::{Entry, MOVE_INTERVAL_MS, MOVED_MEMBERS_MAX, joined, over};
    use quoth_protocol::{ConversationName, UserId};
    use quoth_store::testing::notice;
    use quoth_store::{MemoryView, Position, Register, View as _};

    use super::changed;

    #[test]
    fn large_ones_are_told_each_time_and_none_that_is_small_by_now() {
        let log = ConversationName::of_user(&UserId::new("alice").unwrap());
        let [room, large] = ["room", "large"].map(|name| ConversationName::new(name).unwrap());
        let view = MemoryView::new();
        let set = |position: u64, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>| {
            let changes = changes.into_iter();
            let registers =
                changes.map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
            let registers: Vec<_> = registers.collect();
            view.apply(Position(position), &[notice(log.as_str(), registers)]).unwrap();
        };
        set(1, joined(&room, 1_000, MOVED_MEMBERS_MAX + 1));
        set(2, joined(&large, 1_000, MOVED_MEMBERS_MAX + 1));
        // It was put among the large ones behind the user's leave.
        set(3, over(Entry::default(), &room));
        set(4, joined(&room, 2_000, 2));
        let told = changed(&view, &log, 2_001 + MOVE_INTERVAL_MS).unwrap().unwrap();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [large]);
    }
}
