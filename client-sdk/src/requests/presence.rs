//! Whether the members of a conversation are there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use quoth_protocol::presence::Status;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RequestError;
use super::ask::ask;
use crate::client::Shared;
use crate::link::{Core, Link, Outgoing};

/// Whether a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberPresence {
    /// The best of the member's devices.
    pub status: Status,
    /// When one of them was last connected, in milliseconds since 1970; 0 when none ever was.
    pub last_seen_ms: u64,
}

/// What is known of a conversation's members.
#[derive(Debug, Clone, Default)]
struct Known {
    members: BTreeMap<UserId, MemberPresence>,
    /// Why nothing more is told.
    end: Option<RequestError>,
}

/// The conversations that are watched.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    watched: Mutex<BTreeMap<ConversationName, Weak<Watched>>>,
}

/// A conversation that is watched, for all who do.
struct Watched {
    conversation: ConversationName,
    core: Arc<Core>,
    known: watch::Sender<Known>,
    /// The server has ended it.
    ended: Arc<Notify>,
    /// Watches again on each connection, and asks why when the server has ended it.
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Whether the members of a conversation are there, from
/// [`Client::watch_presence`](crate::Client::watch_presence). It is a handle on the client like any other,
/// which lives as long as it does. Dropping the last one of a conversation ends it.
#[derive(Debug)]
pub struct PresenceWatch {
    watched: Arc<Watched>,
    known: watch::Receiver<Known>,
    /// Without a handle the client would end.
    _client: Arc<Shared>,
}

impl Presences {
    /// A member comes or goes.
    pub(crate) fn tell(&self, conversation: &ConversationName, user: UserId, presence: MemberPresence) {
        let Some(watched) = self.watched().get(conversation).and_then(Weak::upgrade) else { return };
        watched.known.send_modify(|known| {
            known.members.insert(user, presence);
        });
    }

    /// The server tells no more of a conversation. Asked again, it says why, or has another opinion by then.
    pub(crate) fn ended(&self, conversation: &ConversationName) {
        let Some(watched) = self.watched().get(conversation).and_then(Weak::upgrade) else { return };
        watched.known.send_modify(|known| known.members.clear());
        watched.ended.notify_one();
    }

    /// A new connection: what it does not tell of is offline.
    pub(crate) fn forget(&self) {
        let watched: Vec<_> = self.watched().values().filter_map(Weak::upgrade).collect();
        for watched in watched {
            watched.known.send_modify(|known| known.members.clear());
        }
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<ConversationName, Weak<Watched>>> {
        // Nothing panics while it holds the lock; if it did, the map would still be whole.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PresenceWatch {
    /// Watches, and waits until the server has agreed.
    pub(super) async fn new(
        client: Arc<Shared>,
        conversation: ConversationName,
        deadline: Instant,
    ) -> Result<Self, RequestError> {
        let watched = Watched::of(&client.core, &conversation);
        let mut link = client.core.link.subscribe();
        let epoch = watch_once(&mut link, &conversation, deadline).await?;
        watched.keep_watching(epoch, client.settings.send_timeout);
        let known = watched.known.subscribe();
        Ok(Self { watched, known, _client: client })
    }

    /// Which conversation.
    #[must_use]
    pub fn conversation(&self) -> &ConversationName {
        &self.watched.conversation
    }

    /// Who of the other members is known to be there, or to have been since this began. All others are
    /// offline.
    #[must_use]
    pub fn members(&self) -> BTreeMap<UserId, MemberPresence> {
        self.known.borrow().members.clone()
    }

    /// Waits until somebody has come or gone since the last call. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When nothing more is told: the user may not know any longer, or the client is closed.
    pub async fn changed(&mut self) -> Result<(), RequestError> {
        if self.known.borrow().end.is_none() {
            // The sender lives as long as this does.
            self.known.changed().await.ok();
        }
        self.known.borrow_and_update().end.clone().map_or(Ok(()), Err)
    }
}

impl Watched {
    /// The one that is there, unless it has ended, or else a new one.
    fn of(core: &Arc<Core>, conversation: &ConversationName) -> Arc<Self> {
        let mut all = core.presences.watched();
        let found = all.get(conversation).and_then(Weak::upgrade);
        if let Some(found) = found.as_ref().filter(|found| found.known.borrow().end.is_none()) {
            return Arc::clone(found);
        }
        let (known, ended, task) = (watch::Sender::new(Known::default()), Arc::default(), Mutex::new(None));
        let (conversation, core) = (conversation.clone(), Arc::clone(core));
        let watched = Arc::new(Self { conversation: conversation.clone(), core, known, ended, task });
        all.insert(conversation, Arc::downgrade(&watched));
        // Before `found`, which would lock it again if it were the last one.
        drop(all);
        watched
    }

    fn keep_watching(self: &Arc<Self>, epoch: u64, timeout: Duration) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_some() {
            return;
        }
        let (watched, core) = (Arc::downgrade(self), Arc::clone(&self.core));
        let (conversation, ended) = (self.conversation.clone(), Arc::clone(&self.ended));
        *task = Some(tokio::spawn(async move {
            let mut link = core.link.subscribe();
            let error = watch_on(&mut link, &ended, &conversation, epoch, timeout).await;
            if let Some(watched) = watched.upgrade() {
                watched
                    .known
                    .send_modify(|known| *known = Known { members: BTreeMap::new(), end: Some(error) });
            }
        }));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        let mut all = self.core.presences.watched();
        // Somebody may have begun anew by now.
        if all.get(&self.conversation).is_some_and(|watched| watched.strong_count() > 0) {
            return;
        }
        all.remove(&self.conversation);
        let link = self.core.link.borrow();
        if let Some(signed_in) = link.signed_in().and_then(|session| session.signed_in.as_ref()) {
            let request = Request::WatchPresence { conversation: self.conversation.clone(), watch: false };
            // Without room the server goes on telling, and nobody listens.
            signed_in.control.try_send(Outgoing::Request(request, oneshot::channel().0)).ok();
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

/// Watches again on each connection behind that of `epoch`, and when the server has ended it, until that is
/// refused.
async fn watch_on(
    link: &mut watch::Receiver<Link>,
    ended: &Notify,
    conversation: &ConversationName,
    mut epoch: u64,
    timeout: Duration,
) -> RequestError {
    loop {
        let is_next = |link: &Link| {
            link.closed.is_some() || link.signed_in().is_some_and(|session| session.epoch > epoch)
        };
        tokio::select! {
            // The core lives as long as the task.
            _next = link.wait_for(is_next) => {}
            () = ended.notified() => {}
        }
        match watch_once(link, conversation, Instant::now() + timeout).await {
            Ok(on) => epoch = on,
            // The connection was lost again: the next one is waited for.
            Err(RequestError::UnknownOutcome { .. } | RequestError::NotSent { .. })
                if link.borrow().closed.is_none() => {}
            Err(error) => return error,
        }
    }
}

/// Gives the epoch of the session on which the conversation is watched.
async fn watch_once(
    link: &mut watch::Receiver<Link>,
    conversation: &ConversationName,
    deadline: Instant,
) -> Result<u64, RequestError> {
    let request = Request::WatchPresence { conversation: conversation.clone(), watch: true };
    let answer = ask(link, &request, deadline).await?;
    match answer.reply {
        Reply::Done { .. } => Ok(answer.epoch),
        other => Err(RequestError::of(other)),
    }
}
