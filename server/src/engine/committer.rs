//! Makes groups of what waits, sequences them, persists each with one flush, and only then lets anything out.

mod change;
mod lists;
mod message;
mod publish;
mod retain;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quoth_core::membership::Rules;
use quoth_core::membership::slow::SlowModes;
use quoth_core::sequencer::{RECENT_MAX, Sequencer};
use quoth_core::tail::Frame;
use quoth_protocol::ConversationName;
use quoth_protocol::codec::Run;
use quoth_store::{Applier, Log, LogError, Position, Record, Reserve, StoreError, View, ViewError, group};
use tokio::sync::{mpsc, oneshot, watch};

use self::change::Changed;
use super::Request;
use super::changes::Answer;
use super::clock::JudgedClock;
use super::drafts::Drafts;
use super::frame::encode_events;
use super::inbox::{Inbox, Own, Written};
use super::mailbox::{Mailbox, Outcome};
use super::notes::notice;
use super::passes::Passes;
use super::publisher::Publisher;
use super::reads::Reads;
use super::repeats::Repeats;
use super::rosters::Rosters;
use super::stats::Counts;
use super::tails::Tails;
use super::workers::{Wake, Workers};

/// Messages of one group. A larger group hardly flushes faster per message, and the first message of a group
/// waits for its last.
const GROUP_PUBLISHES_MAX: usize = 1_024;

// So a repeat within a group is recognised without the view, which does not have the group yet.
const _: () = assert!(GROUP_PUBLISHES_MAX <= RECENT_MAX);

/// Bytes of the bodies of one group, but for the last message.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a group in the log, but for those of its last request. The smallest segment has four times as
/// much.
const GROUP_ENCODED_MAX: usize = 1024 * 1024;

/// How long a group waits for the view, behind which everything was forgotten. Without it a stream ends whose
/// repeat might be a stored message.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// What a committer works with.
pub(super) struct Parts {
    pub(super) log: Arc<dyn Log>,
    pub(super) view: Arc<dyn View>,
    /// `None` when groups are applied to the view at once.
    pub(super) applier: Option<Arc<Applier>>,
    pub(super) tails: Arc<Tails>,
    pub(super) reads: Reads,
    /// By which time everything is decided and stored.
    pub(super) judged: Arc<JudgedClock>,
    pub(super) workers: Arc<Workers>,
    /// Position of the last group that was let out.
    pub(super) released: Arc<AtomicU64>,
    pub(super) counts: Arc<Counts>,
    pub(super) rules: Rules,
    pub(super) inbox: Arc<Inbox>,
    pub(super) reserve: Arc<Reserve>,
    /// Where space is freed.
    pub(super) passes: Arc<Passes>,
    pub(super) rosters: Arc<Rosters>,
}

/// The only writer of the log.
pub(super) struct Committer {
    parts: Parts,
    sequencer: Sequencer,
    drafts: Drafts,
    slow_modes: SlowModes,
    /// Of edits, which have an interval of their own.
    slow_edits: SlowModes,
    /// The last group, the last one when the sequencer began its generation, and when it began the one
    /// before. What the sequencer does not hold was not published to since then.
    position: Position,
    generation_position: Position,
    horizon: Position,
    encoded: Vec<u8>,
    /// The log had no room for the last group.
    log_is_full: bool,
    /// The reserve was not held at the last group.
    is_short: bool,
    /// Everything was forgotten: the view is to have the groups up to here before it is asked.
    remembers_from: Position,
    /// Look-ups of old message ids run here.
    runtime: tokio::runtime::Handle,
}

impl Committer {
    pub(super) fn new(parts: Parts) -> Self {
        let position = Position(parts.released.load(Ordering::Acquire));
        let slow_modes = SlowModes::new(parts.judged.now_ms());
        Self {
            parts,
            sequencer: Sequencer::default(),
            drafts: Drafts::default(),
            slow_modes,
            slow_edits: SlowModes::default(),
            position,
            generation_position: position,
            horizon: position,
            encoded: Vec::new(),
            log_is_full: false,
            is_short: false,
            remembers_from: Position::ZERO,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Commits until every engine handle is gone or the store fails. While one group is flushed the next one
    /// gathers in the queue.
    ///
    /// `flush_time` is added to each flush, for the simulation.
    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Request>,
        failed: Arc<watch::Sender<Option<String>>>,
        flush_time: Option<Duration>,
    ) {
        let _guard = PanicGuard(Arc::clone(&failed));
        let mut requests = Vec::new();
        while let Some(first) = queue.recv().await {
            requests.push(first);
            gather(&mut queue, &mut requests);
            while !requests.is_empty() {
                let committed = self.commit(&mut requests, flush_time).await;
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
    }

    /// Commits what waits, as far as it goes into one group. What is committed is taken.
    async fn commit(
        &mut self,
        requests: &mut Vec<Request>,
        flush_time: Option<Duration>,
    ) -> Result<(), StoreError> {
        // Everything was forgotten a moment ago, for want of room.
        if self.applied() < self.remembers_from {
            let catches_up = self.parts.reads.applied(self.remembers_from);
            let _is_far_behind = tokio::time::timeout(CATCH_UP_TIMEOUT, catches_up).await;
        }
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

    /// Sequences a group and appends it to the log. Nothing may leave before [`Committer::release`]. Without
    /// room for it the group has refusals alone. What requests come to may be far more than they are, so what
    /// of it is in the group is counted as it is sequenced.
    fn append(&mut self, requests: &mut Vec<Request>) -> Result<Group, StoreError> {
        let now_ms = self.parts.judged.now_ms();
        if self.is_full()? {
            return self.refuse(requests, now_ms);
        }
        let is_short = self.is_short();
        let mut group = Group { records: Vec::with_capacity(requests.len()), ..Group::default() };
        self.encoded.clear();
        group::encode(&[], &mut self.encoded);
        let mut waiting = std::mem::take(requests).into_iter();
        let mut before_last = (0, 0);
        while self.encoded.len() < GROUP_ENCODED_MAX
            && let Some(request) = waiting.next()
        {
            let before = group.records.len();
            before_last = (group.outcomes.len(), group.answers.len());
            match request {
                request if is_short && !request.is_urgent() => {
                    self.refuse_one(request, now_ms, &mut group)?;
                }
                Request::Publish(publish) => match publish.refused_if_new {
                    Some(refusal) => self.refuse_new(publish, refusal, now_ms, &mut group)?,
                    None => self.publish(publish, now_ms, &mut group)?,
                },
                Request::Change(change) => self.change(*change, now_ms, &mut group)?,
                Request::Note(note) => {
                    let (record, noted) = note.into_record(now_ms);
                    group.records.push(record);
                    group.noted.push(noted);
                }
            }
            group::encode_more(&group.records[before..], &mut self.encoded);
        }
        requests.extend(waiting);
        self.date(now_ms, &mut group);
        if !group.records.is_empty() {
            match self.parts.log.append(&self.encoded) {
                Ok(position) => self.position = position,
                Err(error) if error.is_full() => return Ok(self.no_room(group, &error)),
                Err(error @ LogError::TooLarge { .. }) => {
                    return Ok(self.too_large(group, before_last, &error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(group)
    }

    /// Adds when a group was stored if none of its records says so: the time of a conversation goes on behind
    /// its last event, however wrong that was, and others are not to be judged by it.
    fn date(&mut self, now_ms: u64, group: &mut Group) {
        if Record::stored_ms(&group.records).is_some_and(|stored_ms| stored_ms > now_ms) {
            let date = notice(ConversationName::server().clone(), now_ms, Vec::new());
            group::encode_more(std::slice::from_ref(&date), &mut self.encoded);
            group.records.push(date);
        }
    }

    /// Lets a group out that is durable: frames into the tails, outcomes into the mailboxes, one wake-up to
    /// each worker, and the records to the view.
    fn release(&mut self, group: Group) -> Result<(), ViewError> {
        let applied = self.applied();
        // Before the events: who has lost a right must not get what is behind that, and who asks anew after
        // an event is judged by it.
        group.changes.iter().for_each(|change| change.release(self.position.0));
        self.drafts.released();
        let targets: HashMap<_, _> = group.changes.iter().filter_map(Changed::target).collect();
        let mut wake = Wake::default();
        let events = group.records.iter().filter(|record| record.is_event());
        let by_conversation = gather_by(events.map(|record| (&record.conversation, record)));
        for (name, records) in by_conversation {
            let position = self.position.0;
            let runs = encode_events(&records);
            let frames = runs.iter().flat_map(Run::frames).zip(&records);
            let frames = frames.map(|(bytes, record)| {
                let about = targets.get(&(name, record.seq)).copied();
                Frame { about, ..frame(bytes, record, position) }
            });
            self.parts.tails.push(name, records[0].seq, frames, applied.0);
            wake.conversations.push(name.clone());
        }
        for Record { conversation, erases, .. } in &group.records {
            erases.iter().for_each(|seq| self.parts.tails.erase(conversation, *seq, self.position.0));
        }
        self.parts.released.store(self.position.0, Ordering::Release);
        // Behind that: who looks anew for it finds what it is about in what is out.
        if !group.changes.is_empty()
            && let Some(statuses) = self.parts.rosters.statuses()
        {
            change::tell(&group.changes, &*statuses);
        }
        if !group.records.is_empty() {
            self.parts.counts.add_group(group.records.len(), self.encoded.len());
        }
        let outcomes = group.outcomes.into_iter();
        let by_mailbox =
            outcomes.map(|(publisher, outcome)| (Owner(Arc::clone(&publisher.mailbox)), outcome));
        for (Owner(mailbox), outcomes) in gather_by(by_mailbox) {
            mailbox.put(outcomes);
            wake.mailboxes.push(mailbox);
        }
        self.parts.workers.wake(wake);
        self.parts.inbox.written(group.written, group.own);
        for noted in group.noted {
            let _nobody_waits_any_more = noted.send(());
        }
        for (answer, done) in group.answers {
            let _nobody_waits_any_more = answer.send(done);
        }
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
    outcomes: Vec<(Arc<Publisher>, Outcome)>,
    /// Changes of states, which are out with the group.
    changes: Vec<Changed>,
    /// Managed conversations that got events, each once, and what users' own logs got of them.
    written: Vec<(ConversationName, Written)>,
    own: Vec<Own>,
    answers: Vec<Answer>,
    /// Told when the group is durable.
    noted: Vec<oneshot::Sender<()>>,
    /// Looked up after the release, since one may repeat a message of the group itself.
    repeats: Repeats,
}

/// Takes what waits besides `requests`, up to a group's limits.
fn gather(queue: &mut mpsc::Receiver<Request>, requests: &mut Vec<Request>) {
    let mut bytes = 0;
    while requests.len() < GROUP_PUBLISHES_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(request) = queue.try_recv() else { return };
        bytes += request.bytes();
        requests.push(request);
    }
}

/// What belongs to the same key together, in the order in which the keys come first: a map's own order is a
/// random one, which no simulation could repeat.
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

/// An event in its tail.
fn frame(bytes: bytes::Bytes, record: &Record, position: u64) -> Frame {
    let Record { time_ms, expires_ms, offset, .. } = *record;
    Frame { bytes, time_ms, expires_ms, offset, about: None, end: record.end(), position }
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
