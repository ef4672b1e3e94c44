//! The engine: conversations without a network. Publishes go in, outcomes come back, and cursors read on.
//!
//! One committer makes groups of what waits, sequences them, persists each with one flush, and only then lets
//! anything out: acks to their mailboxes, frames into the tails, and one wake-up to each worker that is
//! concerned.

mod access;
mod changes;
mod clock;
mod coalesced;
mod committer;
mod drafts;
mod erase;
mod frame;
mod inbox;
mod mailbox;
mod messages;
mod names;
mod notes;
mod outgoing;
mod overview;
mod page;
mod passes;
mod publisher;
mod readable;
mod reads;
mod repeats;
mod retain;
pub(crate) mod retention;
mod rosters;
pub(crate) mod space;
mod states;
mod stats;
mod subscribers;
mod tails;
#[cfg(test)]
mod tests;
mod threads;
mod typing;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quoth_core::conversation::Append;
use quoth_core::membership::user::UserState;
use quoth_core::membership::{ConversationState, Refusal, Rules};
use quoth_core::messages::{Absent, MessageState};
pub use quoth_core::retention::Retain;
use quoth_core::retention::{Classes, Keeping, Kept};
use quoth_core::tail::{Next, Wanted};
use quoth_protocol::frame::Durability;
use quoth_protocol::limits::RECEIPT_MEMBERS_MAX;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::{Applier, Bounds, Log, Position, Store, StoreId, View, ViewError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

pub use access::{Access, Stand};
use changes::ChangeRequest;
pub use changes::{Caller, Done, Listed};
use clock::JudgedClock;
pub use clock::{Clock, SystemClock};
use committer::{Committer, Parts};
pub(crate) use erase::Taken;
pub(crate) use frame::event;
use inbox::Inbox;
pub(crate) use inbox::is_small;
pub use inbox::{Batch, Greeting, InboxPage, InboxWatch, Receipts, Since};
pub use mailbox::{Mailbox, NotStored, Outcome, Stored};
pub(crate) use messages::{States as MessageStates, state_bytes};
pub(crate) use names::name_once;
pub use names::{new_invitation, new_name};
use notes::NoteRequest;
pub(crate) use notes::notice;
pub use overview::{ClassUse, ConversationPlan, Hold, Loss, Overview, TOLD_MAX, WindowPlan, loss, overview};
pub use page::{Page, PageParts};
pub use passes::Pass;
pub(crate) use passes::{ENDED_MAX, Step};
pub use publisher::{Publisher, Role};
pub use readable::Reading;
pub use reads::{Events, Reads};
pub use retain::{Effect, Gone, Retained};
use rosters::Rosters;
pub use rosters::{RosterWatch, Statuses};
use space::Space;
pub use space::{Busy, Looked, Outstanding, outstanding};
pub(crate) use space::{LOOK_REST, Pace, free_log};
use states::States;
use stats::Counts;
pub use stats::Stats;
use subscribers::Subscribers;
pub use subscribers::Subscription;
use tails::Tails;
pub use typing::{Typing, Typings};
use workers::{Worker, Workers};

/// Publishes that wait for the committer. When so many wait, connections are not read further.
const QUEUE_PUBLISHES_MAX: usize = 8_192;

/// Bytes of the publishes that wait for the committer, for their flush or for a look-up. The same outcome.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a waiting publish takes besides its body, in bytes; rounded up.
const PUBLISH_OVERHEAD_BYTES: usize = 256;

/// How the engine runs its blocking work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// A thread for the committer, one for the applier, and the runtime's blocking threads for reads.
    Threads,
    /// Everything in tasks of the current runtime, for a deterministic simulation over stores in memory.
    Tasks {
        /// Simulated time of a flush.
        flush: Duration,
        /// Simulated time of a read from the view.
        read: Duration,
    },
}

/// What waits for the committer.
#[derive(Debug)]
enum Request {
    Publish(PublishRequest),
    Change(Box<ChangeRequest>),
    Note(NoteRequest),
}

impl Request {
    /// About what it adds to a group.
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.append.body.len(),
            Self::Change(change) => change.bytes(),
            Self::Note(note) => note.bytes(),
        }
    }
}

/// A message on its way to the log.
#[derive(Debug)]
pub(crate) struct PublishRequest {
    publisher: Arc<Publisher>,
    append: Append,
    /// The version by which it was let through: the committer looks again when that is not the latest.
    version: u64,
    /// As of that version, the user writes at most once in so many milliseconds; 0: as often as the user
    /// likes.
    slow_mode_interval_ms: u32,
    /// What it is answered if it is new: then only a repeat is acked. `None`: it is stored.
    refused_if_new: Option<Refusal>,
    /// Its share of [`QUEUE_BYTES_MAX`].
    queued: OwnedSemaphorePermit,
}

/// A running engine, for streams of one worker. Cheap to clone; it stops when [`Stopper::stop`] is called and
/// the last clone is gone.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    worker: Worker,
}

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Request>,
    queue_bytes: Arc<Semaphore>,
    tails: Arc<Tails>,
    workers: Arc<Workers>,
    rosters: Arc<Rosters>,
    inbox: Arc<Inbox>,
    conversations: States<Option<ConversationState>>,
    users: States<UserState>,
    kept: States<Kept>,
    classes: Arc<Classes>,
    judged: Arc<JudgedClock>,
    /// Held by the one who frees what is absent.
    reclaims: Arc<tokio::sync::Mutex<()>>,
    space: Space,
    absent: States<Absent>,
    messages: States<MessageState>,
    reads: Reads,
    store_id: StoreId,
    durability: Durability,
    clock: Arc<dyn Clock>,
    failure: watch::Receiver<Option<String>>,
    /// Log position of the last group that was let out.
    released: Arc<AtomicU64>,
    counts: Arc<Counts>,
}

/// What ends an engine; see [`Stopper::stop`].
pub struct Stopper {
    committer: Option<std::thread::JoinHandle<()>>,
    /// Shared with the committer only.
    applier: Option<Arc<Applier>>,
    store: Store,
    failure: watch::Receiver<Option<String>>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// Stops an engine whose clones are all gone, in this order: what is queued is committed, the view gets
    /// it and is flushed, the log is closed. Blocks.
    ///
    /// # Errors
    /// What the store could not do; what was acked is in the log even then.
    pub fn stop(self) -> Result<(), String> {
        // A panic of the committer is told as the failure.
        let _panicked = self.committer.map(std::thread::JoinHandle::join);
        if let Some(applier) = self.applier {
            let applier = Arc::into_inner(applier);
            applier.ok_or("the committer still runs, so the store was not closed")?.stop();
        }
        if let Some(failure) = self.failure.borrow().clone() {
            return Err(failure);
        }
        self.store.close().map_err(|error| error.to_string())
    }
}

impl Engine {
    /// Starts an engine on a store. The current tokio runtime is its first worker.
    #[must_use]
    pub fn start(
        store: Store,
        durability: Durability,
        clock: Arc<dyn Clock>,
        execution: Execution,
    ) -> (Self, Stopper) {
        Self::start_with(store, durability, clock, execution, Rules::default(), Classes::default())
    }

    /// The same, with an operator's numbers and retention classes.
    #[must_use]
    pub fn start_with(
        store: Store,
        durability: Durability,
        clock: Arc<dyn Clock>,
        execution: Execution,
        rules: Rules,
        classes: Classes,
    ) -> (Self, Stopper) {
        let (queue, requests) = mpsc::channel(QUEUE_PUBLISHES_MAX);
        let (failed, failure) = watch::channel(None);
        let failed = Arc::new(failed);
        let tails = Arc::new(Tails::default());
        let workers = Arc::new(Workers::default());
        let worker = workers.add();
        let rosters = Arc::<Rosters>::default();
        let (log, view): (Arc<dyn Log>, Arc<dyn View>) = (Arc::clone(&store.log), Arc::clone(&store.view));
        let applier = match execution {
            Execution::Threads => Some(Arc::new(threads::applier(&log, &view, Arc::clone(&failed)))),
            Execution::Tasks { .. } => None,
        };
        let hurry = applier.as_ref().map(|applier| applier.hurry());
        let reads = Reads::new(Arc::clone(&view), hurry, execution);
        let released = Arc::new(AtomicU64::new(log.next().0.saturating_sub(1)));
        let counts = Arc::new(Counts::default());
        let classes = Arc::new(classes);
        let inbox = Arc::new(Inbox::new(Arc::clone(&classes)));
        let judged = Arc::new(JudgedClock::behind(view.stored_ms(), Arc::clone(&clock)));
        let space = Space::new(Arc::clone(&log), Arc::clone(&store.reserve), judged.now_ms());
        let parts = Parts {
            log,
            view,
            applier: applier.clone(),
            tails: Arc::clone(&tails),
            reads: reads.clone(),
            judged: Arc::clone(&judged),
            workers: Arc::clone(&workers),
            released: Arc::clone(&released),
            counts: Arc::clone(&counts),
            rules,
            inbox: Arc::clone(&inbox),
            reserve: Arc::clone(&store.reserve),
            passes: space.passes(),
            rosters: Arc::clone(&rosters),
        };
        let committer = Committer::new(parts);
        let thread = match execution {
            Execution::Threads => Some(threads::committer(committer.run(requests, failed, None))),
            Execution::Tasks { flush, .. } => {
                tokio::spawn(committer.run(requests, failed, Some(flush)));
                None
            }
        };
        let queue_bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        let store_id = store.id;
        let stopper = Stopper { committer: thread, applier, store, failure: failure.clone() };
        let inner = Inner {
            queue,
            queue_bytes,
            tails,
            workers,
            rosters,
            inbox: Arc::clone(&inbox),
            conversations: States::default(),
            users: States::default(),
            kept: States::default(),
            classes,
            judged,
            reclaims: Arc::default(),
            space,
            absent: States::default(),
            messages: States::default(),
            reads,
            store_id,
            durability,
            clock,
            failure,
            released,
            counts,
        };
        let inner = Arc::new(inner);
        tokio::spawn(inbox::keep(inbox, Arc::downgrade(&inner), worker.clone()));
        tokio::spawn(rosters::tell(Arc::clone(&inner.rosters), Arc::downgrade(&inner)));
        (Self { inner, worker }, stopper)
    }

    /// The same engine for streams of another worker, which the current tokio runtime becomes.
    #[must_use]
    pub fn for_another_worker(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), worker: self.inner.workers.add() }
    }

    /// An empty mailbox of a user's stream on this worker, whose connection takes typing notices there.
    /// `wants_roster` says whether it is woken when the roster of a conversation that it is subscribed to has
    /// changed.
    #[must_use]
    pub fn mailbox(&self, user: &UserId, typings: Arc<Typings>, wants_roster: bool) -> Arc<Mailbox> {
        Mailbox::new(self.worker.index, user.clone(), typings, wants_roster)
    }

    /// Wakes the mailbox at each new event of the conversation, until the subscription is dropped. To miss
    /// nothing, subscribe first and read then.
    #[must_use]
    pub fn subscribe(&self, conversation: &ConversationName, mailbox: &Arc<Mailbox>) -> Subscription {
        Subscribers::add(&self.worker.subscribers, &self.inner.rosters, conversation, mailbox)
    }

    /// Watches who reads the conversation, as far as this user may know it.
    #[must_use]
    pub fn watch_roster(&self, conversation: &ConversationName, user: &UserId) -> RosterWatch {
        Rosters::watch(&self.inner.rosters, conversation, user)
    }

    /// Says whether the user of a mailbox is to be seen by those who read the conversation, and told who
    /// types there; at first so.
    pub fn set_present(&self, conversation: &ConversationName, mailbox: &Mailbox, is_present: bool) {
        if mailbox.set_present(is_present) {
            self.inner.rosters.change(conversation);
        }
    }

    /// Mailboxes of everybody who reads the conversation and is to be seen there.
    #[must_use]
    pub fn readers(&self, conversation: &ConversationName) -> Vec<Arc<Mailbox>> {
        self.inner.workers.readers(conversation)
    }

    /// Reads recent frames behind a cursor; see [`Tail::read`](quoth_core::tail::Tail::read). A conversation
    /// without a tail has everything in the view.
    pub fn read_tail(&self, name: &ConversationName, wanted: Wanted, out: &mut Vec<Bytes>) -> Next {
        self.inner.tails.read(name, wanted, out).unwrap_or(Next::View { to: None })
    }

    /// By what a read of a conversation is judged from now on.
    #[must_use]
    pub fn reading(&self, name: &ConversationName, keeping: Keeping) -> Reading {
        Reading { keeping, ahead: self.inner.tails.ahead(name), absent: None }
    }

    /// The same by what is known of the conversation now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn reading_for_all(&self, name: &ConversationName) -> Result<Reading, ViewError> {
        let (absent, keeping) = (Some(self.absent(name).await?), self.keeping(name).await?);
        Ok(Reading { absent, ..self.reading(name, keeping) })
    }

    /// The same for whoever has access to it, by now.
    #[must_use]
    pub fn reading_of(&self, access: &Access) -> Reading {
        let absent = access.absent().cloned();
        Reading { absent, ..self.reading(access.name(), access.keeping(self.judged_ms())) }
    }

    /// A conversation's floor and its head: at least all that has been acked.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn bounds(&self, name: &ConversationName, keeping: Keeping) -> Result<Bounds, ViewError> {
        // Before the view's bounds: what goes from the tail in between is in the view.
        let at = self.reading(name, keeping);
        let bounds = self.inner.reads.bounds(name, at.clone()).await?;
        Ok(self.with_tail(name, keeping, &at, bounds))
    }

    /// A conversation's floor and its head for the stream of a publisher, whose mailbox is told of cursors.
    /// If it `publishes`, what else the committer will want to know of it is read on the way.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn enter(
        &self,
        publisher: &Arc<Publisher>,
        publishes: bool,
        greeting: Greeting,
    ) -> Result<Bounds, ViewError> {
        let at = self.reading_of(&publisher.access);
        let (inbox, of) = (Arc::clone(&self.inner.inbox), Arc::clone(publisher));
        let members: Vec<UserId> = match publisher.access.managed() {
            Some(known) if greeting == Greeting::All => {
                let present = |state: &ConversationState| {
                    state
                        .members_after(None)
                        .map(|(user, ..)| user.clone())
                        .take(RECEIPT_MEMBERS_MAX)
                        .collect()
                };
                known.read().as_ref().map(present).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let greet =
            move |view: &dyn View| inbox.greet(view, &of.conversation, &of.mailbox, greeting, &members);
        let bounds = self.inner.reads.enter(publisher, publishes, at.clone(), greet).await?;
        if greeting != Greeting::Nothing {
            self.inner.rosters.change(&publisher.conversation);
        }
        Ok(self.with_tail(&publisher.conversation, at.keeping, &at, bounds))
    }

    /// The bounds of a conversation that has these in the view.
    fn with_tail(&self, name: &ConversationName, keeping: Keeping, at: &Reading, bounds: Bounds) -> Bounds {
        let Bounds { mut floor, head } = bounds;
        let tail_head = at.ahead.end.seq;
        if floor > head && tail_head > head {
            floor = self.inner.tails.floor(name, floor, keeping).unwrap_or(floor);
        }
        Bounds { floor, head: head.max(tail_head) }
    }

    /// A conversation's floor and head in the view, once it has everything that has been acked by now.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn applied_bounds(
        &self,
        name: &ConversationName,
        keeping: Keeping,
    ) -> Result<Bounds, ViewError> {
        let at = self.reading(name, keeping);
        self.inner.reads.bounds_at(name, self.released(), at).await
    }

    /// The last group that was let out.
    fn released(&self) -> Position {
        Position(self.inner.released.load(Ordering::Acquire))
    }

    /// Reads from the view, which may be behind the tails.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.inner.reads
    }

    /// How much there is of what.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let queue = &self.inner.queue;
        let (reclaimed_windows, reclaimed_bytes) = self.inner.counts.reclaimed();
        Stats {
            stored: self.inner.counts.stored(),
            queued: queue.max_capacity() - queue.capacity(),
            queued_max: queue.max_capacity(),
            position: self.inner.released.load(Ordering::Acquire),
            log_bytes: self.inner.counts.log_bytes(),
            reclaimed_windows,
            reclaimed_bytes,
            rewritten_bytes: self.inner.counts.rewritten_bytes(),
            view_bytes: self.inner.reads.view().disk_bytes(),
            damaged_conversations: self.inner.counts.damaged_conversations(),
            seen: self.inner.space.seen(),
            is_short: self.is_short(),
        }
    }

    /// Waits until a group was stored since the last call: for the one who follows the log.
    pub(crate) async fn followed(&self) {
        self.inner.counts.followed().await;
    }

    /// Which store it is on.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.inner.store_id
    }

    /// What an ack means.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.unix_ms()
    }

    /// The same as what is stored has it, and by which that is judged: it does not go back with the clock.
    #[must_use]
    pub fn judged_ms(&self) -> u64 {
        self.inner.judged.now_ms()
    }

    /// Milliseconds since some time, by a clock that nobody sets: for what is done once in an interval.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.inner.clock.elapsed_ms()
    }

    /// Where it gets the time from.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Where [`Engine::judged_ms`] comes from.
    #[must_use]
    pub fn judged_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.judged) as _
    }

    /// Tells everybody who reads the conversation, but for the connection whose notices these are and for
    /// those whom the user has blocked, that the user types.
    pub async fn typing(&self, typing: &Typing, except: &Arc<Typings>) {
        let known = match self.user(&typing.user).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "who types is not told, since it cannot be read who may know it");
                return;
            }
        };
        for mailbox in self.readers(&typing.conversation) {
            if !known.read().blocks(mailbox.user()) {
                mailbox.typing(typing, except);
            }
        }
    }

    /// Rosters tell from now on what these say of the users.
    pub fn set_statuses(&self, statuses: Arc<dyn Statuses>) {
        self.inner.rosters.set_statuses(statuses);
    }

    /// Who reads the conversation is to be told again: something of a reader is another than before.
    pub fn roster_changed(&self, conversation: &ConversationName) {
        self.inner.rosters.change(conversation);
    }

    /// Tells why the store failed, once it has: nothing is acked any more and the server must stop.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.inner.failure.clone()
    }
}
