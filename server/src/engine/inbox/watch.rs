//! Who wants to be told of changes in a user's list. A watch costs the same however many conversations the
//! user is in: it has the names of those that have changed and were not told yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quoth_core::authorize::Grant;
use quoth_core::membership::ConversationState;
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::limits::INBOX_ROW_INTERVAL_MS;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::ViewError;
use tokio::sync::Notify;

use super::Inbox;
use super::rows::For;
use crate::engine::Engine;

/// Rows that are made at once.
const BATCH_ROWS_MAX: usize = 32;

/// How long a changed row may wait for a client that takes none, in milliseconds. It is less than
/// [`SLACK_MS`](super::changed::SLACK_MS), so that whoever comes back finds what was not told.
const WAIT_MAX_MS: u64 = 60_000;

/// All watches, by their users.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<BTreeMap<UserId, Vec<Arc<Changed>>>>);

/// What one watch has not told yet.
#[derive(Debug, Default)]
struct Changed {
    /// Conversations by when they changed first, in milliseconds since 1970.
    names: Mutex<BTreeMap<ConversationName, u64>>,
    arrived: Notify,
}

/// Watches a user's list until it is dropped.
#[derive(Debug)]
pub struct InboxWatch {
    inbox: Arc<Inbox>,
    user: UserId,
    changed: Arc<Changed>,
}

/// What a client that has been away is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Up to where the client knows once it is told.
    pub version: u64,
    /// Whether it is told everything that has changed; otherwise that would be too much.
    pub complete: bool,
}

/// What has become of a watch's list.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// Rows that have changed.
    Rows(Vec<InboxRow>),
    /// The client has taken nothing for too long.
    Stalled,
}

impl Changed {
    fn add(&self, name: &ConversationName, now_ms: u64) {
        self.names.lock().entry(name.clone()).or_insert(now_ms);
        self.arrived.notify_one();
    }

    /// The ones that have waited the longest, and since when the first of them has.
    fn take(&self) -> Option<(Vec<ConversationName>, u64)> {
        let mut names = self.names.lock();
        let mut oldest: Vec<_> = names.iter().map(|(name, ms)| (*ms, name.clone())).collect();
        oldest.sort();
        oldest.truncate(BATCH_ROWS_MAX);
        let since_ms = oldest.first()?.0;
        for (_, name) in &oldest {
            names.remove(name);
        }
        if !names.is_empty() {
            self.arrived.notify_one();
        }
        Some((oldest.into_iter().map(|(_, name)| name).collect(), since_ms))
    }
}

impl Watchers {
    /// A conversation has another row for a user.
    pub(super) fn changed(&self, user: &UserId, name: &ConversationName, now_ms: u64) {
        for changed in self.0.lock().get(user).into_iter().flatten() {
            changed.add(name, now_ms);
        }
    }

    /// A conversation has another row for all of its members.
    pub(super) fn changed_for_all(&self, state: &ConversationState, name: &ConversationName, now_ms: u64) {
        let watchers = self.0.lock();
        // Whichever are fewer.
        if watchers.len() < state.members_count() as usize {
            for (_, changed) in watchers.iter().filter(|(user, _)| state.present(user).is_some()) {
                changed.iter().for_each(|changed| changed.add(name, now_ms));
            }
        } else {
            for (user, ..) in state.members_after(None) {
                watchers.get(user).into_iter().flatten().for_each(|changed| changed.add(name, now_ms));
            }
        }
    }
}

impl Engine {
    /// Watches a user's list from now on.
    #[must_use]
    pub fn watch_inbox(&self, user: &UserId) -> InboxWatch {
        let (inbox, changed) = (Arc::clone(&self.inner.inbox), Arc::<Changed>::default());
        inbox.watchers.0.lock().entry(user.clone()).or_default().push(Arc::clone(&changed));
        InboxWatch { inbox, user: user.clone(), changed }
    }
}

impl InboxWatch {
    /// What has changed since a version is to be told too. Whoever has no version is told nothing of before.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn tell_since(&self, engine: &Engine, since: Option<u64>) -> Result<Since, ViewError> {
        let now_ms = engine.now_ms();
        let version = engine.inner.latest.read(now_ms);
        let Some(since) = since else { return Ok(Since { version, complete: true }) };
        let Some(names) = engine.changed_since(&self.user, since).await? else {
            return Ok(Since { version, complete: false });
        };
        names.iter().for_each(|name| self.changed.add(name, now_ms));
        Ok(Since { version, complete: true })
    }

    /// The next rows that have changed, at most every [`INBOX_ROW_INTERVAL_MS`]. `grant` gives the user's
    /// grant at that time. For one task at a time; dropping the future may lose rows.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn next(&self, engine: &Engine, grant: impl Fn() -> Arc<Grant>) -> Result<Batch, ViewError> {
        loop {
            self.changed.arrived.notified().await;
            let Some((names, since_ms)) = self.changed.take() else { continue };
            let now_ms = engine.now_ms();
            if now_ms.saturating_sub(since_ms) > WAIT_MAX_MS {
                return Ok(Batch::Stalled);
            }
            let latest_ms = engine.inner.latest.read(now_ms);
            let to = For { grant: grant(), now_ms: latest_ms, version: latest_ms };
            let rows = engine.rows(names, to).await?;
            if !rows.is_empty() {
                return Ok(Batch::Rows(rows));
            }
        }
    }

    /// What there is to wait between two batches.
    pub const INTERVAL: Duration = Duration::from_millis(INBOX_ROW_INTERVAL_MS);
}

impl Drop for InboxWatch {
    fn drop(&mut self) {
        let mut watchers = self.inbox.watchers.0.lock();
        if let Some(of_user) = watchers.get_mut(&self.user) {
            of_user.retain(|changed| !Arc::ptr_eq(changed, &self.changed));
            if of_user.is_empty() {
                watchers.remove(&self.user);
            }
        }
    }
}
