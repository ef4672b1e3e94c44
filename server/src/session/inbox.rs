//! What users have read, and their lists of conversations, as one connection asks for them and is told of
//! them.

use std::sync::Arc;

use parking_lot::Mutex;
use quoth_core::authorize::{Action, Grant, Place, authorize};
use quoth_core::inbox::Settings;
use quoth_core::membership::{Actor, ConversationState, Refusal};
use quoth_core::receipts::Cursor;
use quoth_protocol::inbox::{HeldRow, InboxRow};
use quoth_protocol::limits::{INBOX_CURSOR_BYTES_MAX, INBOX_PAGE_MAX};
use quoth_protocol::reply::{ReceiptInfo, Reply};
use quoth_protocol::{Code, ConversationName, Seq};
use tokio::sync::{Notify, watch};

use super::connection::Shared;
use super::requests::{allowed, unreadable};
use crate::engine::{Batch, Done, Engine, InboxPage, InboxWatch, Receipts, Since};

/// Rows on their way to a connection, which watches its user's list or does not.
#[derive(Debug, Default)]
pub(super) struct Watched {
    watching: Mutex<Option<Watching>>,
    rows: Arc<Rows>,
}

/// Ends the task that makes rows when it is dropped.
#[derive(Debug)]
struct Watching {
    watch: Arc<InboxWatch>,
    task: tokio::task::AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The rows that the connection has not taken yet.
#[derive(Debug, Default)]
struct Rows {
    waiting: Mutex<Option<Next>>,
    arrived: Notify,
    taken: Notify,
}

/// What a connection gets of a list that it watches.
#[derive(Debug)]
pub(super) enum Next {
    /// Rows that have changed, each with the version up to which the client knows once it has that row.
    Rows(Vec<(u64, InboxRow)>),
    /// Nothing any more: the connection is to be closed with this code.
    End(Code),
}

impl Watched {
    /// What comes next; for ever nothing when the list is not watched. For one task at a time; dropping the
    /// future loses nothing.
    pub(super) async fn next(&self) -> Next {
        loop {
            let waiting = self.rows.waiting.lock().take();
            if let Some(next) = waiting {
                self.rows.taken.notify_one();
                return next;
            }
            self.rows.arrived.notified().await;
        }
    }
}

impl Rows {
    /// Hands something over, and waits until it is taken.
    async fn put(&self, next: Next) {
        *self.waiting.lock() = Some(next);
        self.arrived.notify_one();
        while self.waiting.lock().is_some() {
            self.taken.notified().await;
        }
    }
}

/// Makes rows of what changes, for as long as somebody takes them.
async fn tell(engine: Engine, watch: Arc<InboxWatch>, grant: watch::Receiver<Arc<Grant>>, rows: Arc<Rows>) {
    loop {
        let next = match watch.next(&engine, || Arc::clone(&grant.borrow())).await {
            Ok(Batch::Rows(rows)) => Next::Rows(rows),
            Ok(Batch::Stalled) => Next::End(Code::OVERLOADED),
            Err(error) => {
                tracing::error!(%error, "rows of a list cannot be read");
                Next::End(Code::STORE_FAILED)
            }
        };
        let ends = matches!(next, Next::End(_));
        rows.put(next).await;
        if ends {
            return;
        }
        tokio::time::sleep(InboxWatch::INTERVAL).await;
    }
}

/// Says whether the connection watches its user's list, of which it has these rows.
pub(super) async fn watch(
    shared: &Shared,
    since: Option<u64>,
    watch: bool,
    held: &[HeldRow],
) -> Result<Reply, Refusal> {
    let (engine, watched) = (&shared.service.engine, &shared.inbox);
    let before = watched.watching.lock().take();
    let _of_before = watched.rows.waiting.lock().take();
    if !watch {
        return Ok(Reply::Watching { version: engine.judged_ms(), complete: true });
    }
    let user = shared.grant.borrow().user.clone();
    let watch = Arc::new(engine.watch_inbox(&user));
    // Two parts of an application may watch on one connection.
    if let Some(before) = before {
        watch.take_over(&before.watch);
    }
    watch.hold(held);
    let told = watch.tell_since(engine, since).await.map_err(|error| unreadable(&error))?;
    let Since { version, complete } = told;
    let task = tell(engine.clone(), Arc::clone(&watch), shared.grant.clone(), Arc::clone(&watched.rows));
    *watched.watching.lock() = Some(Watching { watch, task: tokio::spawn(task).abort_handle() });
    Ok(Reply::Watching { version, complete })
}

/// A page of the user's list.
pub(super) async fn page(shared: &Shared, after: Option<&str>, limit: u32) -> Result<Reply, Refusal> {
    let grant = Arc::clone(&shared.grant.borrow());
    let limit = limit.min(INBOX_PAGE_MAX) as usize;
    let no_end = Refusal::invalid("this is no end of a page: go on with what the page before has said");
    if after.is_some_and(|after| after.len() > INBOX_CURSOR_BYTES_MAX) {
        return Err(no_end);
    }
    let page = shared.service.engine.inbox_page(&grant, after, limit).await;
    let InboxPage { rows, next, version } = page.map_err(|error| unreadable(&error))?.ok_or(no_end)?;
    if let Some(Watching { watch, .. }) = &*shared.inbox.watching.lock() {
        watch.give(&rows, version);
    }
    Ok(Reply::Inbox { rows, next, version })
}

/// Says what the user wants of a conversation.
pub(super) async fn set(
    shared: &Shared,
    name: &ConversationName,
    wanted: Settings,
) -> Result<Reply, Refusal> {
    let engine = &shared.service.engine;
    let (grant, now_ms) = (Arc::clone(&shared.grant.borrow()), engine.judged_ms());
    let is_allowed = |state: Option<&ConversationState>| {
        allowed(Actor::User(&grant), Action::Inbox, name, state, now_ms).map(drop)
    };
    engine.with_state(name, is_allowed).await.map_err(|error| unreadable(&error))??;
    // A time that has come already is no time.
    let muted_until_ms = if wanted.muted_until_ms > now_ms { wanted.muted_until_ms } else { 0 };
    let wanted = Settings { muted_until_ms, ..wanted };
    let Done { conversation, seq, time_ms } = engine.set_inbox(&grant, name, wanted).await?;
    Ok(Reply::Done { conversation, seq, time_ms })
}

/// Says how far the user is, and answers how far that has come to.
pub(super) async fn mark(
    shared: &Shared,
    name: &ConversationName,
    delivered: Seq,
    read: Seq,
) -> Result<Reply, Refusal> {
    const FAILED: Refusal = Refusal::new(Code::STORE_FAILED, "the store failed");
    let engine = &shared.service.engine;
    let grant = Arc::clone(&shared.grant.borrow());
    let is_allowed = |state: Option<&ConversationState>| {
        let place = Place { name, state, is_blocked: false };
        authorize(Actor::User(&grant), Action::Mark, place, engine.judged_ms()).map(drop)
    };
    engine.with_state(name, is_allowed).await.map_err(|error| unreadable(&error))??;
    let cursor = Cursor::new(delivered, read);
    let stored = engine.mark(name, &grant.user, cursor).await.map_err(|error| {
        tracing::error!(error, "how far somebody has read cannot be stored");
        FAILED
    })?;
    Ok(Reply::Done { conversation: name.clone(), seq: stored.read, time_ms: 0 })
}

/// To whom a message has come.
pub(super) async fn receipts(shared: &Shared, name: &ConversationName, seq: Seq) -> Result<Reply, Refusal> {
    let engine = &shared.service.engine;
    let grant = Arc::clone(&shared.grant.borrow());
    let access = engine.access(name, &grant.user).await.map_err(|error| unreadable(&error))?;
    let actor = Actor::User(&grant);
    access.stand(actor).standing.allows(actor, Action::Receipts, engine.judged_ms())?;
    let receipts =
        engine.receipts(&grant.user, access.name(), seq).await.map_err(|error| unreadable(&error))?;
    let none = Refusal::new(Code::NOT_FOUND_MESSAGE, "there is no such message");
    let Receipts { delivered, read, users } = receipts.ok_or(none)?;
    let info = |(user, Cursor { delivered, read })| ReceiptInfo { user, delivered, read };
    Ok(Reply::Receipts { delivered, read, users: users.into_iter().map(info).collect() })
}
