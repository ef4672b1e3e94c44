//! Makes groups of what waits, sequences them, persists each with one flush, and only then lets anything out.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quoth_core::sequencer::{RECENT_MAX, Sequenced, Sequencer};
use quoth_protocol::{Code, Seq};
use quoth_store::{Applier, Content, Log, MessageId, Position, Record, StoreError, View, ViewError, group};
use tokio::sync::{mpsc, watch};

use super::frame::encode_events;
use super::mailbox::{Mailbox, Outcome, Stored};
use super::publisher::{Last, Prior, Publisher};
use super::reads::Reads;
use super::repeats::Repeats;
use super::tails::Tails;
use super::workers::{Wake, Workers};
use super::{Clock, PublishRequest};

/// Messages of one group. A larger group hardly flushes faster per message, and the first message of a group waits for its
/// last.
const GROUP_PUBLISHES_MAX: usize = 1_024;

// So a repeat within a group is recognised without the view, which does not have the group yet.
const _: () = assert!(GROUP_PUBLISHES_MAX <= RECENT_MAX);

/// Bytes of the bodies of one group, but for the last message.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// What a committer works with.
pub(super) struct Parts {
    pub(super) log: Arc<dyn Log>,
    pub(super) view: Arc<dyn View>,
    /// `None` when groups are applied to the view at once.
    pub(super) applier: Option<Arc<Applier>>,
    pub(super) tails: Arc<Tails>,
    pub(super) reads: Reads,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) workers: Arc<Workers>,
    /// Position of the last group that was let out.
    pub(super) released: Arc<AtomicU64>,
}

/// The only writer of the log.
pub(super) struct Committer {
    parts: Parts,
    sequencer: Sequencer,
    /// The last group, the last one when the sequencer began its generation, and when it began the one before. What the
    /// sequencer does not hold was not published to since then.
    position: Position,
    generation_position: Position,
    horizon: Position,
    encoded: Vec<u8>,
    /// Look-ups of old message ids run here.
    runtime: tokio::runtime::Handle,
}

impl Committer {
    pub(super) fn new(parts: Parts) -> Self {
        let position = Position(parts.released.load(Ordering::Acquire));
        Self {
            parts,
            sequencer: Sequencer::default(),
            position,
            generation_position: position,
            horizon: position,
            encoded: Vec::new(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Commits until every engine handle is gone or the store fails. While one group is flushed the next one gathers in
    /// the queue.
    ///
    /// `flush_time` is added to each flush, for the simulation.
    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<PublishRequest>,
        failed: Arc<watch::Sender<Option<String>>>,
        flush_time: Option<Duration>,
    ) {
        let _guard = PanicGuard(Arc::clone(&failed));
        let mut requests = Vec::new();
        while let Some(first) = queue.recv().await {
            requests.push(first);
            gather(&mut queue, &mut requests);
            let committed = self.commit(&mut requests, flush_time).await;
            requests.clear();
            if let Err(error) = committed {
                tracing::error!(%error, "the store failed: nothing is acked any more");
                failed.send_replace(Some(error.to_string()));
                return;
            }
            if failed.borrow().is_some() {
                return;
            }
        }
    }

    async fn commit(
        &mut self,
        requests: &mut [PublishRequest],
        flush_time: Option<Duration>,
    ) -> Result<(), StoreError> {
        let group = self.append(requests)?;
        if let Some(flush_time) = flush_time {
            tokio::time::sleep(flush_time).await;
        }
        if !group.records.is_empty() {
            self.parts.log.flush()?;
        }
        Ok(self.release(group)?)
    }

    fn applied(&self) -> Position {
        self.parts.applier.as_ref().map_or_else(|| self.parts.view.applied(), |applier| applier.applied())
    }

    /// Sequences a group and appends it to the log. Nothing may leave before [`Committer::release`].
    fn append(&mut self, requests: &mut [PublishRequest]) -> Result<Group, StoreError> {
        let now_ms = self.parts.clock.unix_ms();
        let mut group = Group { records: Vec::with_capacity(requests.len()), ..Group::default() };
        for request in requests {
            let n = request.append.n;
            let result = match self.sequence(&request.publisher, n, now_ms) {
                Ok(Sequenced::Append { seq, time_ms }) => {
                    group.records.push(record(request, seq, time_ms));
                    Ok(Stored { seq, time_ms, duplicate: false })
                }
                Ok(Sequenced::Duplicate { seq, time_ms }) => Ok(Stored { seq, time_ms, duplicate: true }),
                Ok(_) => {
                    group.repeats.take(request);
                    continue;
                }
                Err(error) if concerns_one_conversation(&error) => {
                    tracing::error!(%error, "a conversation takes no messages: its rows are damaged");
                    Err(Code::STORE_FAILED)
                }
                Err(error) => return Err(error.into()),
            };
            group.outcomes.push((Arc::clone(&request.publisher.mailbox), Outcome { n, result }));
        }
        if !group.records.is_empty() {
            self.encoded.clear();
            group::encode(&group.records, &mut self.encoded);
            self.position = self.parts.log.append(&self.encoded)?;
        }
        Ok(group)
    }

    fn sequence(&mut self, publisher: &Publisher, n: u64, now_ms: u64) -> Result<Sequenced, ViewError> {
        let (name, producer) = (&publisher.conversation, &publisher.producer);
        let view = &*self.parts.view;
        // Later publishes are not in it, but then the sequencer holds what they are about.
        let prior = publisher.prior.get().filter(|prior| prior.applied >= self.horizon);
        loop {
            match self.sequencer.sequence(name, producer, n, now_ms) {
                Sequenced::NeedConversation => {
                    let last = match prior {
                        Some(Prior { last, .. }) => *last,
                        None => Last::read(view, name, view.bounds(name)?)?,
                    };
                    self.sequencer.load_conversation(name, last.seq, last.time_ms);
                }
                Sequenced::NeedProducer => {
                    let highest = match prior {
                        Some(Prior { n, .. }) => *n,
                        None => view.producer(name, publisher.key)?.map(|state| state.n),
                    };
                    self.sequencer.load_producer(name, producer, highest);
                }
                sequenced => return Ok(sequenced),
            }
        }
    }

    /// Lets a group out that is durable: frames into the tails, outcomes into the mailboxes, one wake-up to each
    /// worker, and the records to the view.
    fn release(&mut self, group: Group) -> Result<(), ViewError> {
        let applied = self.applied();
        let mut wake = Wake::default();
        let events = group.records.iter().filter(|record| record.is_event());
        let by_conversation = gather_by(events.map(|record| (&record.conversation, record)));
        for (name, records) in by_conversation {
            let frames = encode_events(&records);
            self.parts.tails.push(name, records[0].seq, frames, self.position.0, applied.0);
            wake.conversations.push(name.clone());
        }
        self.parts.released.store(self.position.0, Ordering::Release);
        let by_mailbox = group.outcomes.into_iter().map(|(mailbox, outcome)| (Owner(mailbox), outcome));
        for (Owner(mailbox), outcomes) in gather_by(by_mailbox) {
            mailbox.put(outcomes);
            wake.mailboxes.push(mailbox);
        }
        self.parts.workers.wake(wake);
        group.repeats.look_up(&self.parts.reads, self.position, &self.runtime);
        if !group.records.is_empty() {
            match &self.parts.applier {
                Some(applier) => applier.submit(self.position, Arc::from(group.records)),
                None => self.parts.view.apply(self.position, &group.records)?,
            }
        }
        if self.sequencer.is_full() && applied >= self.generation_position {
            let forgotten = self.sequencer.rotate();
            self.runtime.spawn_blocking(move || drop(forgotten));
            self.horizon = self.generation_position;
            self.generation_position = self.position;
        }
        Ok(())
    }
}

/// A group between its append and its release.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    outcomes: Vec<(Arc<Mailbox>, Outcome)>,
    /// Looked up after the release, since one may repeat a message of the group itself.
    repeats: Repeats,
}

fn record(request: &PublishRequest, seq: Seq, time_ms: u64) -> Record {
    Record {
        conversation: request.publisher.conversation.clone(),
        seq,
        time_ms,
        origin_time_ms: request.append.origin_time_ms,
        sender: request.append.sender.clone(),
        id: Some(MessageId { producer: request.publisher.key, n: request.append.n }),
        content: Content::Message(request.append.body.clone()),
        registers: Vec::new(),
    }
}

/// Takes what waits besides `requests`, up to a group's limits.
fn gather(queue: &mut mpsc::Receiver<PublishRequest>, requests: &mut Vec<PublishRequest>) {
    let mut bytes = 0;
    while requests.len() < GROUP_PUBLISHES_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(request) = queue.try_recv() else { return };
        bytes += request.append.body.len();
        requests.push(request);
    }
}

/// What belongs to the same key together, in the order in which the keys come first: a map's own order is a random one, which
/// no simulation could repeat.
fn gather_by<K: Clone + Eq + Hash, T>(items: impl IntoIterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut places = HashMap::new();
    let mut gathered: Vec<(K, Vec<T>)> = Vec::new();
    for (key, item) in items {
        let place = *places.entry(key.clone()).or_insert_with(|| {
            gathered.push((key, Vec::new()));
            gathered.len() - 1
        });
        gathered[place].1.push(item);
    }
    gathered
}

/// A mailbox as a key: the same one, not an equal one.
#[derive(Clone)]
struct Owner(Arc<Mailbox>);

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Owner {}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Tells a panic, after which nobody commits any more.
struct PanicGuard(Arc<watch::Sender<Option<String>>>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(Some("the committer panicked: its message is in the log".to_owned()));
        }
    }
}

/// Whether an error is about the rows of one conversation only.
fn concerns_one_conversation(error: &ViewError) -> bool {
    match error {
        ViewError::DamagedRow { .. }
        | ViewError::DamagedConversation { .. }
        | ViewError::DamagedProducer { .. }
        | ViewError::DamagedRegister { .. }
        | ViewError::Hole { .. }
        | ViewError::KeyCollision { .. } => true,
        ViewError::Io { .. }
        | ViewError::Engine { .. }
        | ViewError::DamagedTable { .. }
        | ViewError::Skipped { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use quoth_core::conversation::Append;
    use quoth_core::sequencer::Sequencer;
    use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
    use quoth_store::{MemoryLog, MemoryView, Position};
    use tokio::sync::Semaphore;

    use super::{Committer, GROUP_PUBLISHES_MAX, Parts};
    use crate::engine::mailbox::{Mailbox, Outcome};
    use crate::engine::publisher::{Prior, Publisher};
    use crate::engine::reads::Reads;
    use crate::engine::tails::Tails;
    use crate::engine::workers::Workers;
    use crate::engine::{Execution, PublishRequest, SystemClock};

    fn committer() -> Committer {
        let view = Arc::new(MemoryView::new());
        let parts = Parts {
            log: Arc::new(MemoryLog::new()),
            view: Arc::clone(&view) as _,
            applier: None,
            tails: Arc::new(Tails::default()),
            reads: Reads::new(view, Execution::Threads),
            clock: Arc::new(SystemClock),
            workers: Arc::new(Workers::default()),
            released: Arc::new(AtomicU64::new(0)),
        };
        Committer::new(parts)
    }

    fn publisher(room: &str, id: u64) -> Arc<Publisher> {
        let (room, user) = (ConversationName::new(room).unwrap(), UserId::new("ada").unwrap());
        Publisher::new(room, user, ProducerId(id), Mailbox::of_anybody())
    }

    fn request(publisher: &Arc<Publisher>, n: u64) -> PublishRequest {
        let sender = publisher.producer.user.clone();
        let append = Append { n, sender, origin_time_ms: None, body: "text".into() };
        let queued = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        PublishRequest { publisher: Arc::clone(publisher), append, queued }
    }

    async fn commit(
        committer: &mut Committer,
        publisher: &Publisher,
        mut requests: Vec<PublishRequest>,
    ) -> Vec<Outcome> {
        committer.commit(&mut requests, None).await.unwrap();
        let mut outcomes = Vec::new();
        publisher.mailbox.take(&mut outcomes);
        outcomes
    }

    #[tokio::test]
    async fn a_repeat_within_a_full_group_is_a_duplicate() {
        let mut committer = committer();
        let publisher = publisher("room", 1);
        let last = GROUP_PUBLISHES_MAX as u64 - 1;
        let requests = (1..=last).chain([1]).map(|n| request(&publisher, n)).collect();
        let outcomes = commit(&mut committer, &publisher, requests).await;
        assert_eq!(outcomes.len(), GROUP_PUBLISHES_MAX);
        let repeat = outcomes.last().unwrap().result.unwrap();
        assert_eq!((repeat.seq, repeat.duplicate), (Seq(1), true));
        assert_eq!(committer.parts.log.next(), Position(2));
    }

    /// Publishes to more conversations, by more producers, than the sequencer holds, from streams that were begun at some
    /// time or never.
    #[tokio::test]
    async fn what_is_forgotten_and_handed_over_stays_exact() {
        const ROOMS: u64 = 7;
        const PRODUCERS: u64 = 3;
        let mut committer = committer();
        committer.sequencer = Sequencer::with_limits(3, 20);
        let mut random = 1_u64;
        let mut any = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut heads, mut numbers) = (HashMap::new(), HashMap::new());
        let mut publishers = HashMap::new();
        let (mut priors, mut stale) = (0, 0);
        for _ in 0..20_000 {
            // Some rooms are busier than others.
            let (room, id) = (any(ROOMS).min(any(ROOMS)), any(PRODUCERS));
            let begins = any(10) == 0;
            let publisher = match publishers.remove(&(room, id)) {
                Some(publisher) if !begins => publisher,
                _ => publisher(&format!("room {room}"), id),
            };
            if begins {
                let (_, prior) = Prior::read(&*committer.parts.view, &publisher).unwrap();
                publisher.prior.set(prior.unwrap()).unwrap();
            }
            if let Some(prior) = publisher.prior.get() {
                priors += 1;
                stale += usize::from(prior.applied < committer.horizon);
            }
            let head: &mut u64 = heads.entry(room).or_default();
            let n: &mut u64 = numbers.entry((room, id)).or_default();
            let is_repeat = *n > 0 && any(5) == 0;
            *n += u64::from(!is_repeat);
            let requests = vec![request(&publisher, *n)];
            let outcomes = commit(&mut committer, &publisher, requests).await;
            match outcomes.first().map(|outcome| outcome.result) {
                Some(Ok(stored)) if !is_repeat => {
                    *head += 1;
                    assert_eq!((stored.seq, stored.duplicate), (Seq(*head), false));
                }
                Some(Ok(stored)) => assert!(stored.duplicate),
                // It is looked up in the view.
                None => assert!(is_repeat),
                Some(Err(code)) => panic!("{code:?} is not {:?}", Code::STALE_MESSAGE_ID),
            }
            publishers.insert((room, id), publisher);
        }
        assert!(priors > 1_000 && stale > 1_000, "{priors} of {stale} were of use");
    }
}
