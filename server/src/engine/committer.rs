//! Makes groups of what waits, sequences them, persists each with one flush, and only then lets anything out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quoth_core::sequencer::{Sequenced, Sequencer};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Applier, Log, PageLimit, Position, Record, StoreError, View, ViewError, group};
use tokio::sync::{mpsc, watch};

use super::frame::encode_event;
use super::mailbox::{Mailbox, Outcome, Stored};
use super::reads::Reads;
use super::repeats::Repeats;
use super::tails::Tails;
use super::{Clock, PublishRequest};

/// Messages of one group. A larger group does not flush faster per message (measured flat from 512 on), and the first
/// message of a group waits for its last.
const GROUP_PUBLISHES_MAX: usize = 1_024;

/// Bytes of the bodies of one group, but for the last message.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Whom a group concerns.
#[derive(Debug, Default)]
pub(super) struct Wake {
    /// Mailboxes that got outcomes, each once for each run of publishes in a row.
    pub(super) mailboxes: Vec<Arc<Mailbox>>,
    /// Conversations that got events, likewise.
    pub(super) conversations: Vec<ConversationName>,
}

/// What a committer works with.
pub(super) struct Parts {
    pub(super) log: Arc<dyn Log>,
    pub(super) view: Arc<dyn View>,
    /// `None` when groups are applied to the view at once.
    pub(super) applier: Option<Arc<Applier>>,
    pub(super) tails: Arc<Tails>,
    pub(super) reads: Reads,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wakes: mpsc::UnboundedSender<Wake>,
    /// Position of the last group that was let out.
    pub(super) released: Arc<AtomicU64>,
}

/// The only writer of the log.
pub(super) struct Committer {
    parts: Parts,
    sequencer: Sequencer,
    /// The last group, and the last one when the sequencer began its generation.
    position: Position,
    generation_position: Position,
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
            encoded: Vec::new(),
            runtime: tokio::runtime::Handle::current(),
        }
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
            let stored = match self.sequence(request, now_ms)? {
                Sequenced::Append { seq, time_ms } => {
                    group.records.push(record(request, seq, time_ms));
                    Stored { seq, time_ms, duplicate: false }
                }
                Sequenced::Duplicate { seq, time_ms } => Stored { seq, time_ms, duplicate: true },
                _ => {
                    group.repeats.take(request);
                    continue;
                }
            };
            group.outcomes.push((Arc::clone(&request.mailbox), Outcome { n, result: Ok(stored) }));
        }
        if !group.records.is_empty() {
            self.encoded.clear();
            group::encode(&group.records, &mut self.encoded);
            self.position = self.parts.log.append(&self.encoded)?;
        }
        Ok(group)
    }

    fn sequence(&mut self, request: &PublishRequest, now_ms: u64) -> Result<Sequenced, ViewError> {
        let (name, producer) = (&request.conversation, &request.producer);
        loop {
            match self.sequencer.sequence(name, producer, request.append.n, now_ms) {
                Sequenced::NeedConversation => {
                    let head = self.parts.view.bounds(name)?.head;
                    let last =
                        self.parts.view.before(name, None, PageLimit { records: 1, bytes: usize::MAX })?;
                    let time_ms = last.last().map_or(0, |record| record.time_ms);
                    self.sequencer.load_conversation(name, head, time_ms);
                }
                Sequenced::NeedProducer => {
                    let state = self.parts.view.producer(name, request.producer_key)?;
                    self.sequencer.load_producer(name, producer, state.map(|state| state.n));
                }
                sequenced => return Ok(sequenced),
            }
        }
    }

    /// Lets a group out that is durable: frames into the tails, outcomes into the mailboxes, one wake-up, and the
    /// records to the view.
    fn release(&mut self, group: Group) -> Result<(), ViewError> {
        let applied = self.applied();
        let mut wake = Wake::default();
        for record in &group.records {
            let frame = encode_event(record);
            self.parts.tails.push(&record.conversation, record.seq, frame, self.position.0, applied.0);
            if wake.conversations.last() != Some(&record.conversation) {
                wake.conversations.push(record.conversation.clone());
            }
        }
        self.parts.released.store(self.position.0, Ordering::Release);
        for (mailbox, outcome) in group.outcomes {
            mailbox.put(outcome);
            if !wake.mailboxes.last().is_some_and(|last| Arc::ptr_eq(last, &mailbox)) {
                wake.mailboxes.push(mailbox);
            }
        }
        let _runtime_is_gone = self.parts.wakes.send(wake);
        group.repeats.look_up(&self.parts.reads, self.position, &self.runtime);
        if !group.records.is_empty() {
            match &self.parts.applier {
                Some(applier) => applier.submit(self.position, Arc::from(group.records)),
                None => self.parts.view.apply(self.position, &group.records)?,
            }
        }
        if self.sequencer.is_full() && applied >= self.generation_position {
            self.sequencer.rotate();
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
        conversation: request.conversation.clone(),
        seq,
        time_ms,
        origin_time_ms: request.append.origin_time_ms,
        sender: request.append.sender.clone(),
        producer: request.producer_key,
        n: request.append.n,
        body: request.append.body.clone(),
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

/// Commits on a thread of its own until every engine handle is gone. While one group is flushed the next one gathers
/// in the queue.
pub(super) fn run_thread(
    mut committer: Committer,
    mut queue: mpsc::Receiver<PublishRequest>,
    failed: Arc<watch::Sender<Option<String>>>,
) -> std::thread::JoinHandle<()> {
    let run = move || {
        let mut requests = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            requests.push(first);
            gather(&mut queue, &mut requests);
            let committed = committer.append(&mut requests).and_then(|group| {
                if !group.records.is_empty() {
                    committer.parts.log.flush()?;
                }
                Ok(committer.release(group)?)
            });
            requests.clear();
            if let Err(error) = committed {
                fail(&failed, &error);
                return;
            }
            if failed.borrow().is_some() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("committer".to_owned());
    thread.spawn(run).expect("a thread can be started at start-up")
}

/// Commits in a task, for the simulation.
pub(super) async fn run_task(
    mut committer: Committer,
    mut queue: mpsc::Receiver<PublishRequest>,
    failed: Arc<watch::Sender<Option<String>>>,
    flush: Duration,
) {
    let mut requests = Vec::new();
    while let Some(first) = queue.recv().await {
        requests.push(first);
        gather(&mut queue, &mut requests);
        let group = match committer.append(&mut requests) {
            Ok(group) => group,
            Err(error) => return fail(&failed, &error),
        };
        requests.clear();
        tokio::time::sleep(flush).await;
        let flushed = if group.records.is_empty() { Ok(()) } else { committer.parts.log.flush() };
        let released = flushed.map_err(StoreError::from).and_then(|()| Ok(committer.release(group)?));
        if let Err(error) = released {
            return fail(&failed, &error);
        }
    }
}

fn fail(failed: &watch::Sender<Option<String>>, error: &StoreError) {
    tracing::error!(%error, "the store failed: nothing is acked any more");
    failed.send_replace(Some(error.to_string()));
}
