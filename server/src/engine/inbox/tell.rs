//! Telling whoever is there: those who watch lists of what has changed there, and those who read a
//! conversation how far others are.

use std::collections::BTreeMap;
use std::sync::Arc;

use quoth_core::inbox::MOVED_MEMBERS_MAX;
use quoth_core::receipts::{Cursor, Due};
use quoth_protocol::{ConversationName, UserId};

use super::receipts::is_small;
use super::{Inbox, Now, Own, Written};
use crate::engine::Engine;
use crate::engine::mailbox::Mailbox;
use crate::engine::states::{KnownConversation, KnownUser};

/// How often those who watch are told of one conversation that does not move in lists, in milliseconds: of
/// thousands of members each would have a row made for each message.
const LARGE_INTERVAL_MS: u64 = 1_000;

/// When large conversations may be told of again, by a clock that nobody sets, and those that are to be then.
#[derive(Debug, Default)]
pub(super) struct Large(BTreeMap<ConversationName, (u64, Option<Arc<KnownConversation>>)>);

impl Large {
    /// Whether a conversation is told of now; otherwise it is later.
    fn takes(&mut self, name: &ConversationName, known: &Arc<KnownConversation>, elapsed_ms: u64) -> bool {
        match self.0.get_mut(name) {
            Some((next_ms, later)) if *next_ms > elapsed_ms => {
                *later = Some(Arc::clone(known));
                false
            }
            _ => {
                self.0.insert(name.clone(), (elapsed_ms.saturating_add(LARGE_INTERVAL_MS), None));
                true
            }
        }
    }

    /// When one is to be told of; none when none is.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.0.values().filter(|(_, later)| later.is_some()).map(|(next_ms, _)| *next_ms).min()
    }

    /// Those that are due, and forgets those that nothing has happened in.
    fn take(&mut self, elapsed_ms: u64) -> Vec<(ConversationName, Arc<KnownConversation>)> {
        let mut due = Vec::new();
        self.0.retain(|name, (next_ms, later)| {
            if *next_ms <= elapsed_ms {
                due.extend(later.take().map(|known| (name.clone(), known)));
            }
            *next_ms > elapsed_ms
        });
        due
    }
}

/// Tells those who watch lists in which something has changed.
pub(super) fn tell_lists<'a>(
    inbox: &Inbox,
    large: &mut Large,
    written: &BTreeMap<ConversationName, Written>,
    own: impl IntoIterator<Item = &'a Own>,
    now: Now,
) {
    for (name, known) in large.take(now.elapsed_ms) {
        if large.takes(&name, &known, now.elapsed_ms)
            && let Some(state) = &*known.read()
        {
            inbox.watchers.changed_for_all(state, &name, now);
        }
    }
    for (name, Written { known, .. }) in written {
        if let Some(state) = &*known.read()
            && (state.members_count() <= MOVED_MEMBERS_MAX || large.takes(name, known, now.elapsed_ms))
        {
            inbox.watchers.changed_for_all(state, name, now);
        }
    }
    for Own { user, conversation, .. } in own {
        inbox.watchers.changed(user, conversation, now);
    }
}

/// Cursors are stored, which stand in the order of their conversations: they are told to the devices of their
/// users, and to those who read the conversation if they are few.
pub(super) async fn tell_cursors(inbox: &Inbox, engine: &Engine, stored: &[Due], now: Now) {
    for of_one in stored.chunk_by(|one, next| one.conversation == next.conversation) {
        let Some(Due { conversation, .. }) = of_one.first() else { continue };
        for Due { user, .. } in of_one {
            inbox.watchers.changed(user, conversation, now);
        }
        tell_readers(engine, conversation, of_one).await;
        // However many there are, whatever else this worker serves goes on.
        tokio::task::yield_now().await;
    }
}

/// What a conversation's readers are told costs one look at each of them; only among few members it is one
/// for each cursor too.
async fn tell_readers(engine: &Engine, conversation: &ConversationName, cursors: &[Due]) {
    let mut readers = engine.readers(conversation);
    if readers.is_empty() {
        return;
    }
    let of_users: BTreeMap<&UserId, Cursor> = cursors.iter().map(|due| (&due.user, due.cursor)).collect();
    let mut has_seen = false;
    for reader in &readers {
        if let Some(cursor) = of_users.get(reader.user()) {
            has_seen |= reader.set_seen(cursor.read);
        }
    }
    if has_seen {
        engine.inner.rosters.change(conversation);
    }
    // One that cannot be read now is told nothing; what is stored is asked for by whoever comes.
    if !engine.with_state(conversation, is_small).await.unwrap_or(false) {
        return;
    }
    readers.retain(|reader| reader.wants_receipts());
    if readers.is_empty() {
        return;
    }
    let mut known = Vec::with_capacity(cursors.len());
    for due in cursors {
        match engine.user(&due.user).await {
            Ok(user) => known.push((due, user)),
            Err(error) => {
                tracing::error!(%error, user = %due.user, "how far the user has read is not told, since it cannot be read who may know it");
            }
        }
    }
    for reader in &readers {
        put_receipts(reader, &known);
    }
}

/// Tells a reader of the cursors of those who have not blocked the reader's user.
fn put_receipts(reader: &Mailbox, cursors: &[(&Due, Arc<KnownUser>)]) {
    let mut is_told = false;
    for (Due { user, cursor, .. }, blocks) in cursors {
        if !blocks.read().blocks(reader.user()) {
            is_told |= reader.put_receipt(user, *cursor);
        }
    }
    if is_told {
        reader.wake();
    }
}
