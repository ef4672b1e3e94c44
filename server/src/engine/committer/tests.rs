//! Repeats and what is forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use quoth_core::conversation::{About, Append};
use quoth_core::membership::Rules;
use quoth_core::sequencer::Sequencer;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
use quoth_store::testing::{LogOverride, Overridden};
use quoth_store::{Log, LogError, MemoryLog, MemoryView, Position, Reserve};
use tokio::sync::Semaphore;

use super::{Committer, GROUP_ENCODED_MAX, GROUP_PUBLISHES_MAX, Parts};
use crate::engine::clock::JudgedClock;
use crate::engine::inbox::Inbox;
use crate::engine::mailbox::{Mailbox, NotStored, Outcome};
use crate::engine::publisher::{Prior, Publisher};
use crate::engine::readable::Reading;
use crate::engine::reads::Reads;
use crate::engine::tails::Tails;
use crate::engine::workers::Workers;
use crate::engine::{Access, Execution, PublishRequest, Request, Role, SystemClock};

fn committer() -> Committer {
    committer_on(Arc::new(MemoryLog::new()))
}

fn committer_on(log: Arc<dyn Log>) -> Committer {
    let view = Arc::new(MemoryView::new());
    let parts = Parts {
        log,
        view: Arc::clone(&view) as _,
        applier: None,
        tails: Arc::new(Tails::default()),
        reads: Reads::new(view, None, Execution::Threads),
        judged: Arc::new(JudgedClock::behind(0, Arc::new(SystemClock))),
        workers: Arc::new(Workers::default()),
        released: Arc::new(AtomicU64::new(0)),
        counts: Arc::default(),
        rules: Rules::default(),
        inbox: Arc::new(Inbox::new(Arc::default())),
        reserve: Reserve::none(),
        passes: Arc::default(),
        rosters: Arc::default(),
    };
    Committer::new(parts)
}

fn publisher(room: &str, id: u64) -> Arc<Publisher> {
    let (room, user) = (ConversationName::new(room).unwrap(), UserId::new("ada").unwrap());
    Publisher::new(Access::fixed(room), Role::User, user, ProducerId(id), Mailbox::of_anybody())
}

fn request(publisher: &Arc<Publisher>, n: u64) -> Request {
    request_of(publisher, n, 4)
}

fn request_of(publisher: &Arc<Publisher>, n: u64, bytes: usize) -> Request {
    let sender = publisher.producer.user.clone();
    let (body, about) = (vec![b'x'; bytes].into(), About::default());
    let append = Append { n, sender, origin_time_ms: None, body, about };
    let queued = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let publisher = Arc::clone(publisher);
    let (version, slow_mode_interval_ms, refused_if_new) = (0, 0, None);
    Request::Publish(PublishRequest {
        publisher,
        append,
        version,
        slow_mode_interval_ms,
        refused_if_new,
        queued,
    })
}

async fn commit(
    committer: &mut Committer,
    publisher: &Publisher,
    mut requests: Vec<Request>,
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

/// A log that takes small groups alone, and keeps how large they were.
struct SmallLog {
    inner: MemoryLog,
    max: usize,
    groups: Mutex<Vec<usize>>,
}

impl LogOverride for SmallLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        if group.len() > self.max {
            return Err(LogError::TooLarge { bytes: group.len(), max: self.max as u64 });
        }
        self.groups.lock().push(group.len());
        self.inner.append(group)
    }
}

fn small_log(max: usize) -> Arc<Overridden<SmallLog>> {
    Arc::new(Overridden(SmallLog { inner: MemoryLog::new(), max, groups: Mutex::default() }))
}

/// What waits may come to more than a segment holds.
#[tokio::test]
async fn a_group_ends_when_it_has_enough_bytes() {
    const BODY_BYTES: usize = 64 * 1024;
    let log = small_log(GROUP_ENCODED_MAX + 2 * BODY_BYTES);
    let mut committer = committer_on(Arc::clone(&log) as _);
    let publisher = publisher("room", 1);
    let mut requests: Vec<_> = (1..=100).map(|n| request_of(&publisher, n, BODY_BYTES)).collect();
    let mut outcomes = Vec::new();
    while !requests.is_empty() {
        committer.commit(&mut requests, None).await.unwrap();
        publisher.mailbox.take(&mut outcomes);
    }
    let seqs: Vec<_> = outcomes.iter().map(|outcome| outcome.result.unwrap().seq.0).collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>(), "all of them, in their order");
    let groups = log.0.groups.lock().clone();
    assert!(groups.len() >= 6 && groups.iter().all(|bytes| *bytes < GROUP_ENCODED_MAX + 2 * BODY_BYTES));
}

/// One that no segment could hold is refused for good, what stood beside it for a moment, and nothing fails.
#[tokio::test]
async fn what_comes_to_too_much_is_refused_alone() {
    let mut committer = committer_on(small_log(10_000));
    let publisher = publisher("room", 1);
    let requests = vec![request(&publisher, 1), request_of(&publisher, 2, 20_000)];
    let outcomes = commit(&mut committer, &publisher, requests).await;
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome.result {
            Err(NotStored::Refused(refusal)) => (outcome.n, refusal.code, refusal.retry_after_ms > 0),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, [(1, Code::STORAGE_FULL, true), (2, Code::TOO_LARGE, false)]);
    let requests = vec![request(&publisher, 1), request(&publisher, 3)];
    let outcomes = commit(&mut committer, &publisher, requests).await;
    let seqs: Vec<_> = outcomes.iter().map(|outcome| outcome.result.unwrap().seq).collect();
    assert_eq!(seqs, [Seq(1), Seq(2)], "no seq is lost");
}

/// Publishes to more conversations, by more producers, than the sequencer holds, from streams that were begun
/// at some time or never.
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
            let (_, prior) = Prior::read(&*committer.parts.view, &publisher, Reading::default()).unwrap();
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
