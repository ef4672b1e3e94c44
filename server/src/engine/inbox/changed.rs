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
    use quoth_core::inbox::MOVE_INTERVAL_MS;

    use super::super::pages::tests::{ENTERED_MS, with_stale_row};
    use super::changed;

    #[test]
    fn large_ones_are_told_each_time_and_none_that_is_small_by_now() {
        let (view, log) = with_stale_row();
        let told = changed(&view, &log, ENTERED_MS + MOVE_INTERVAL_MS + 1).unwrap().unwrap();
        assert_eq!(told.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["large"]);
    }
}
