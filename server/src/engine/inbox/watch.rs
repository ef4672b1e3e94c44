//! Who wants to be told of changes in a user's list. A watch costs the same however many conversations the
//! user is in: it has the names of those that have changed and were not told yet, and of some whose rows go
//! stale. For all of these it has one timer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quoth_core::authorize::Grant;
use quoth_core::inbox::StaleRows;
use quoth_core::membership::ConversationState;
use quoth_protocol::inbox::{HeldRow, InboxRow};
use quoth_protocol::limits::INBOX_ROW_INTERVAL_MS;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::ViewError;
use tokio::sync::Notify;

use super::rows::For;
use super::{Inbox, Now};
use crate::engine::Engine;

/// Rows that are made at once.
const BATCH_ROWS_MAX: usize = 32;

/// How long a changed row may wait for a client that takes none, in milliseconds. It is less than
/// [`SLACK_MS`](super::changed::SLACK_MS), so that whoever comes back finds what was not told.
const WAIT_MAX_MS: u64 = 60_000;

/// How long after a row was told it is told anew at the earliest because it is stale, in milliseconds: where
/// one message after the other expires each of them would have rows made for all who watch.
const STALE_INTERVAL_MS: u64 = 1_000;

/// How long is waited at most without a look at the clock, which may be set ahead.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// All watches, by their users.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<BTreeMap<UserId, Vec<Arc<Changed>>>>);

/// What one watch has not told yet.
#[derive(Debug, Default)]
struct Changed {
    untold: Mutex<Untold>,
    arrived: Notify,
}

/// Conversations that have changed.
#[derive(Debug, Default)]
struct Untold {
    waiting: BTreeMap<ConversationName, Change>,
    /// Those whose rows are on their way to the connection, which may be lost with it.
    under_way: BTreeMap<ConversationName, Change>,
    /// Rows that the client has and that will have changed by time alone.
    stale: StaleRows,
}

/// The first change of a conversation that is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    /// Since when the client may take it, in milliseconds by a clock that nobody sets.
    waits_since_ms: u64,
    /// When it was made, or before, in milliseconds since 1970.
    made_ms: u64,
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
    /// Up to where the client knows. With what is still to be told it is where that begins.
    pub version: u64,
    /// Whether it is told everything that has changed; otherwise that would be too much.
    pub complete: bool,
}

/// What has become of a watch's list.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// Rows that have changed, each with the version up to which the client knows once it has that row.
    Rows(Vec<(u64, InboxRow)>),
    /// The client has taken nothing for too long.
    Stalled,
}

impl Changed {
    /// A conversation changes now.
    fn add(&self, name: &ConversationName, now: Now) {
        let change = Change { waits_since_ms: now.elapsed_ms, made_ms: now.judged_ms };
        self.add_made([name.clone()], change);
    }

    fn add_made(&self, names: impl IntoIterator<Item = ConversationName>, change: Change) {
        let mut untold = self.untold.lock();
        for name in names {
            untold.add(name, change);
        }
        drop(untold);
        self.arrived.notify_one();
    }

    /// Waits until something may have changed.
    async fn wait(&self, engine: &Engine) {
        let stale_ms = self.untold.lock().stale.first_ms();
        let Some(stale_ms) = stale_ms else { return self.arrived.notified().await };
        // While the clock is behind, that time comes more slowly.
        let wait = Duration::from_millis(stale_ms.saturating_sub(engine.judged_ms()));
        let _sooner_or_not = tokio::time::timeout(wait.min(LOOK_INTERVAL), self.arrived.notified()).await;
    }

    /// Rows that the client has may go stale.
    fn hold<'a>(&self, rows: impl IntoIterator<Item = (&'a ConversationName, u64)>) {
        let mut untold = self.untold.lock();
        rows.into_iter().for_each(|(name, stale_ms)| untold.stale.hold(name, stale_ms));
        drop(untold);
        self.arrived.notify_one();
    }

    /// The ones that have waited the longest, and since when the first of them has. Those of before are told.
    /// What is stale by now has changed.
    fn take(&self, now: Now) -> Option<(Vec<ConversationName>, u64)> {
        let mut untold = self.untold.lock();
        while let Some(name) = untold.stale.take(now.judged_ms) {
            untold.add(name, Change { waits_since_ms: now.elapsed_ms, made_ms: now.judged_ms });
        }
        let mut oldest: Vec<_> =
            untold.waiting.iter().map(|(name, change)| (*change, name.clone())).collect();
        oldest.sort();
        oldest.truncate(BATCH_ROWS_MAX);
        untold.under_way.clear();
        let since_ms = oldest.first()?.0.waits_since_ms;
        for (change, name) in &oldest {
            untold.waiting.remove(name);
            untold.under_way.insert(name.clone(), *change);
        }
        if !untold.waiting.is_empty() {
            self.arrived.notify_one();
        }
        Some((oldest.into_iter().map(|(_, name)| name).collect(), since_ms))
    }
}

impl Untold {
    fn add(&mut self, name: ConversationName, change: Change) {
        self.waiting.entry(name).and_modify(|known| *known = change.min(*known)).or_insert(change);
    }

    /// When the first change was made that a client does not have, with what is under way and without.
    fn first_made_ms(&self) -> (Option<u64>, Option<u64>) {
        let first = |changes: &BTreeMap<_, Change>| changes.values().map(|change| change.made_ms).min();
        let waiting = first(&self.waiting);
        (waiting.into_iter().chain(first(&self.under_way)).min(), waiting)
    }
}

impl Watchers {
    /// A conversation has another row for a user.
    pub(super) fn changed(&self, user: &UserId, name: &ConversationName, now: Now) {
        for changed in self.0.lock().get(user).into_iter().flatten() {
            changed.add(name, now);
        }
    }

    /// A conversation has another row for all of its members.
    pub(super) fn changed_for_all(&self, state: &ConversationState, name: &ConversationName, now: Now) {
        let watchers = self.0.lock();
        // Whichever are fewer.
        if watchers.len() < state.members_count() as usize {
            for (_, changed) in watchers.iter().filter(|(user, _)| state.present(user).is_some()) {
                changed.iter().for_each(|changed| changed.add(name, now));
            }
        } else {
            for (user, ..) in state.members_after(None) {
                watchers.get(user).into_iter().flatten().for_each(|changed| changed.add(name, now));
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
    /// What another watch of the same list has not told is to be told by this one.
    pub fn take_over(&self, other: &Self) {
        let Untold { waiting, under_way, stale } = std::mem::take(&mut *other.changed.untold.lock());
        self.changed.hold(stale.iter());
        let mut untold = self.changed.untold.lock();
        for (name, change) in waiting.into_iter().chain(under_way) {
            untold.add(name, change);
        }
        drop(untold);
        self.changed.arrived.notify_one();
    }

    /// What has changed since a version is to be told too. Whoever has no version is told nothing of before.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn tell_since(&self, engine: &Engine, since: Option<u64>) -> Result<Since, ViewError> {
        let Now { judged_ms: version, elapsed_ms } = Now::of(engine);
        let mut complete = true;
        if let Some(since) = since {
            // By a clock that was far ahead it is behind all that has changed since that was mended.
            let names = match since <= version {
                true => engine.changed_since(&self.user, since).await?,
                false => None,
            };
            complete = names.is_some();
            let change = Change { waits_since_ms: elapsed_ms, made_ms: since.min(version) };
            self.changed.add_made(names.into_iter().flatten(), change);
        }
        let (untold, _) = self.changed.untold.lock().first_made_ms();
        // Who asks for the pages again knows what they say.
        let version = untold.filter(|_| complete).map_or(version, |made_ms| made_ms.min(version));
        Ok(Since { version, complete })
    }

    /// The client has rows of before, which are to be told anew when they go stale.
    pub fn hold(&self, rows: &[HeldRow]) {
        self.changed.hold(rows.iter().map(|row| (&row.conversation, row.stale_ms)));
    }

    /// The client gets these rows otherwise than by this watch, at this time: they are to be told anew when
    /// they go stale.
    pub fn give(&self, rows: &[InboxRow], now_ms: u64) {
        self.changed.hold(rows.iter().map(|row| (&row.conversation, anew_ms(row, now_ms))));
    }

    /// The next rows that have changed, at most every [`INBOX_ROW_INTERVAL_MS`]. `grant` gives the user's
    /// grant at that time. The client has taken those of before. For one task at a time; what is lost with
    /// the future is [taken over](Self::take_over).
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn next(&self, engine: &Engine, grant: impl Fn() -> Arc<Grant>) -> Result<Batch, ViewError> {
        loop {
            self.changed.wait(engine).await;
            let now = Now::of(engine);
            let Some((names, since_ms)) = self.changed.take(now) else { continue };
            let Now { judged_ms: latest_ms, elapsed_ms } = now;
            if elapsed_ms.saturating_sub(since_ms) > WAIT_MAX_MS {
                return Ok(Batch::Stalled);
            }
            let to = For { grant: grant(), now_ms: latest_ms, version: latest_ms };
            let rows = engine.rows(names, to).await?;
            let (before, behind) = {
                let mut untold = self.changed.untold.lock();
                rows.iter().for_each(|row| untold.stale.replace(&row.conversation, anew_ms(row, latest_ms)));
                untold.first_made_ms()
            };
            let known = |made_ms: Option<u64>| made_ms.map_or(latest_ms, |made_ms| made_ms.min(latest_ms));
            // With the last one, the client has all of them.
            let last = rows.len().saturating_sub(1);
            let with_known = |(i, row)| (known(if i == last { behind } else { before }), row);
            let rows: Vec<_> = rows.into_iter().enumerate().map(with_known).collect();
            if !rows.is_empty() {
                return Ok(Batch::Rows(rows));
            }
        }
    }

    /// What there is to wait between two batches.
    pub const INTERVAL: Duration = Duration::from_millis(INBOX_ROW_INTERVAL_MS);
}

/// When a row that is told at a time is to be told anew, in milliseconds since 1970; 0: by time alone it is
/// not.
fn anew_ms(row: &InboxRow, now_ms: u64) -> u64 {
    match row.stale_ms {
        0 => 0,
        stale_ms => stale_ms.max(now_ms.saturating_add(STALE_INTERVAL_MS)),
    }
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
