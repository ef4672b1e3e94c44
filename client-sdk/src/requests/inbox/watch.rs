//! Changes of the inbox, as they come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use quoth_protocol::ConversationName;
use quoth_protocol::inbox::{HeldRow, InboxRow};
use quoth_protocol::limits::INBOX_STALE_MAX;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RequestError;
use crate::client::Shared;
use crate::link::{Core, Link, Outgoing};
use crate::requests::ask::ask;

/// What has changed in the inbox since the application asked the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxChanges {
    /// The latest row of each conversation that has changed, in the order of their names. One that is
    /// [`gone`](InboxRow::gone) is to be taken out.
    pub rows: Vec<InboxRow>,
    /// Too much had changed while there was no connection: not all of it is among the rows. Begin the list
    /// anew ([`InboxList::restart`](super::InboxList::restart)) and ask for the pages again
    /// ([`Client::inbox`](crate::Client::inbox)); what changes meanwhile is told all the same.
    pub incomplete: bool,
}

/// The watches of a client.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    watches: Mutex<Vec<Weak<Watched>>>,
}

/// What one watch has been told and has not handed out.
#[derive(Debug)]
struct Watched {
    told: Mutex<Told>,
    /// Rings when there is something to hand out.
    news: Notify,
}

#[derive(Debug, Default)]
struct Told {
    rows: BTreeMap<ConversationName, InboxRow>,
    /// When the rows go stale that the application has, or is handed: the next connection's server is to know.
    held: BTreeMap<ConversationName, u64>,
    incomplete: bool,
    /// Whether the server has answered on this connection: what comes before is told to another watch.
    has_begun: bool,
    /// Where the next connection goes on: up to where all that has changed has come.
    version: Option<u64>,
    /// The same of what was handed out.
    handed_out: Option<u64>,
    /// Why nothing more is told.
    end: Option<RequestError>,
}

/// Changes of the inbox, from [`Client::watch_inbox`](crate::Client::watch_inbox). A slow application gets
/// the latest row of each conversation and holds nobody up. It is a handle on the client like any other,
/// which lives as long as it does. Dropping it ends the watch.
#[derive(Debug)]
pub struct InboxWatch {
    watched: Arc<Watched>,
    client: Arc<Shared>,
    /// Watches again on each connection.
    task: JoinHandle<()>,
}

impl Inboxes {
    /// A row has changed; with it all up to the version `known` has come.
    pub(crate) fn tell(&self, known: u64, row: &InboxRow) {
        for watched in self.watches().iter().filter_map(Weak::upgrade) {
            let mut told = watched.told();
            if told.has_begun {
                told.version = told.version.max(Some(known));
            }
            told.replace(row);
            let is_later = |known: &InboxRow| known.version <= row.version;
            if told.rows.get(&row.conversation).is_none_or(is_later) {
                told.rows.insert(row.conversation.clone(), row.clone());
            }
            drop(told);
            watched.news.notify_one();
        }
    }

    /// The application gets these rows as a page.
    pub(crate) fn give(&self, rows: &[InboxRow]) {
        for watched in self.watches().iter().filter_map(Weak::upgrade) {
            let mut told = watched.told();
            // Any of them may be older than what was told.
            for row in rows.iter().filter(|row| row.stale_ms > 0) {
                let known = told.held.entry(row.conversation.clone()).or_insert(row.stale_ms);
                *known = row.stale_ms.min(*known);
            }
        }
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Weak<Watched>>> {
        // Nothing panics while it holds the lock; if it did, the list would still be whole.
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// A row takes the place of the one before.
    fn replace(&mut self, row: &InboxRow) {
        match row.stale_ms {
            0 => drop(self.held.remove(&row.conversation)),
            stale_ms => drop(self.held.insert(row.conversation.clone(), stale_ms)),
        }
    }

    /// What goes stale first of what is held.
    fn held(&self) -> Vec<HeldRow> {
        let held = self.held.iter();
        let mut held: Vec<_> = held
            .map(|(conversation, stale_ms)| HeldRow {
                conversation: conversation.clone(),
                stale_ms: *stale_ms,
            })
            .collect();
        held.sort_by_key(|row| row.stale_ms);
        held.truncate(INBOX_STALE_MAX);
        held
    }
}

impl Watched {
    fn told(&self) -> MutexGuard<'_, Told> {
        // As above.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where no row waits, all that is known is handed out.
    fn hand_out_nothing(&self) {
        let mut told = self.told();
        if told.rows.is_empty() && !told.incomplete {
            told.handed_out = told.version;
        }
    }

    /// The server watches from here on.
    fn began(&self, version: u64, complete: bool) {
        let mut told = self.told();
        // Where another watch has more to be told it is less than what this one knew.
        (told.version, told.has_begun) = (Some(version), true);
        told.incomplete |= !complete;
        if !complete {
            told.held.clear();
        }
        drop(told);
        if !complete {
            self.news.notify_one();
        }
    }
}

impl InboxWatch {
    pub(super) async fn new(
        client: Arc<Shared>,
        (since, mut held): (Option<u64>, BTreeMap<ConversationName, u64>),
        deadline: Instant,
    ) -> Result<Self, RequestError> {
        held.retain(|_, stale_ms| *stale_ms > 0);
        let told = Mutex::new(Told { version: since, handed_out: since, held, ..Told::default() });
        let watched = Arc::new(Watched { told, news: Notify::new() });
        // Before the server is asked, whose rows come right behind its answer.
        client.core.inboxes.watches().push(Arc::downgrade(&watched));
        let mut link = client.core.link.subscribe();
        let epoch = watch_once(&mut link, &watched, deadline).await?;
        watched.hand_out_nothing();
        let (core, timeout) = (Arc::clone(&client.core), client.settings.send_timeout);
        let task = tokio::spawn(watch_on(core, Arc::downgrade(&watched), epoch, timeout));
        Ok(Self { watched, client, task })
    }

    /// What has changed since the last call; waits until something has. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When nothing more is told: the client is closed, or the server does not tell any longer.
    pub async fn changes(&mut self) -> Result<InboxChanges, RequestError> {
        loop {
            {
                let mut told = self.watched.told();
                told.handed_out = told.version;
                if !told.rows.is_empty() || told.incomplete {
                    let incomplete = std::mem::take(&mut told.incomplete);
                    let rows = std::mem::take(&mut told.rows).into_values().collect();
                    return Ok(InboxChanges { rows, incomplete });
                }
                if let Some(end) = &told.end {
                    return Err(end.clone());
                }
            }
            // One that rang before this call is kept for it.
            self.watched.news.notified().await;
        }
    }

    /// Where a watch of a later run may go on: up to there all that has changed was handed out by
    /// [`changes`](Self::changes).
    #[must_use]
    pub fn version(&self) -> u64 {
        // It is known as soon as the server has answered, without which there is no watch.
        self.watched.told().handed_out.unwrap_or_default()
    }
}

impl Drop for InboxWatch {
    fn drop(&mut self) {
        self.task.abort();
        let gone = Arc::as_ptr(&self.watched);
        let mut all = self.client.core.inboxes.watches();
        all.retain(|watched| watched.strong_count() > 0 && watched.as_ptr() != gone);
        let is_last = all.is_empty();
        drop(all);
        let link = self.client.core.link.borrow();
        if is_last && let Some(signed_in) = link.signed_in().and_then(|session| session.signed_in.as_ref()) {
            let request = Request::WatchInbox { since: None, watch: false, held: Vec::new() };
            // Without room the server goes on telling, and nobody listens.
            signed_in.control.try_send(Outgoing::Request(request, oneshot::channel().0)).ok();
        }
    }
}

/// Watches again on each connection behind that of `epoch`, until that is refused.
async fn watch_on(core: Arc<Core>, watched: Weak<Watched>, mut epoch: u64, timeout: Duration) {
    let mut link = core.link.subscribe();
    loop {
        let is_next = |link: &Link| {
            link.closed.is_some() || link.signed_in().is_some_and(|session| session.epoch > epoch)
        };
        // The core lives as long as the task.
        link.wait_for(is_next).await.ok();
        let Some(watched) = watched.upgrade() else { return };
        match watch_once(&mut link, &watched, Instant::now() + timeout).await {
            Ok(on) => epoch = on,
            // The connection was lost again: the next one is waited for.
            Err(RequestError::UnknownOutcome { .. } | RequestError::NotSent { .. })
                if link.borrow().closed.is_none() => {}
            Err(error) => {
                watched.told().end = Some(error);
                watched.news.notify_one();
                return;
            }
        }
    }
}

/// Gives the epoch of the session on which the inbox is watched.
async fn watch_once(
    link: &mut watch::Receiver<Link>,
    watched: &Watched,
    deadline: Instant,
) -> Result<u64, RequestError> {
    let request = {
        let mut told = watched.told();
        told.has_begun = false;
        Request::WatchInbox { since: told.version, watch: true, held: told.held() }
    };
    let answer = ask(link, &request, deadline).await?;
    match answer.reply {
        Reply::Watching { version, complete } => {
            watched.began(version, complete);
            Ok(answer.epoch)
        }
        other => Err(RequestError::of(other)),
    }
}
