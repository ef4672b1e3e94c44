//! Who asks while an erasure is under way, or as it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use quoth_core::conversation::{About, Append};
use quoth_protocol::Seq;
use quoth_protocol::frame::Durability;
use quoth_store::testing::{LogOverride, Overridden, ViewOverride};
use quoth_store::{
    Log, LogError, MemoryLog, MemoryView, PageLimit, Position, Store, Stretch, View, ViewError,
};

use super::super::erasing::Earlier;
use super::super::poster::{Post, Poster};
use super::*;
use crate::engine::{Execution, Stopper, SystemClock};
use crate::session::{Limits, PhaseSender, Verification, Verify};

const PATIENCE: Duration = Duration::from_secs(30);

struct Nobody;

impl Verify for Nobody {
    fn verify(&self, _: &str, _: u64) -> Verification {
        Err(Code::TOKEN_REJECTED).into()
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

struct World {
    erasures: Erasures,
    phase: PhaseSender,
    stopper: Stopper,
}

impl World {
    fn start(view: impl View + 'static) -> Self {
        let mut store = Store::memory();
        store.view = Arc::new(view);
        Self::of(store, Erasures::resume)
    }

    fn of(store: Store, begin: impl FnOnce(Service) -> Erasures) -> Self {
        let clock = Arc::new(SystemClock);
        let (engine, stopper) = Engine::start(store, Durability::Memory, clock, Execution::Threads);
        let phase = PhaseSender::new();
        let service = Service::new(engine, Arc::new(Nobody), Limits::default(), phase.subscribe());
        Self { erasures: begin(service), phase, stopper }
    }

    async fn say(&self, conversation: &str) {
        let (conversation, sender) = (ConversationName::new(conversation).unwrap(), user("bob"));
        let append =
            Append { n: 0, sender, origin_time_ms: None, body: "text".into(), about: About::default() };
        let poster = Poster::new(self.erasures.service.engine.clone());
        let post = Post { conversation, append, once: None };
        poster.post(&user("ops"), post).await.unwrap().outcome().await.unwrap();
    }

    async fn ask(&self) -> Erasure {
        self.ask_as("ops").await
    }

    async fn ask_as(&self, by: &str) -> Erasure {
        self.erasures.ask(&user("bob"), &user(by)).await.unwrap()
    }

    /// Waits until nothing is to be done.
    async fn ended(&self) -> Erasure {
        let ended = async {
            loop {
                match self.erasures.progress(&user("bob")).await.unwrap() {
                    Some(erasure) if erasure.done_ms > 0 => return erasure,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends")
    }

    fn stop(self) {
        drop((self.erasures, self.phase, self.stopper));
    }
}

#[tokio::test]
async fn who_asks_as_one_ends_is_told_of_that_one_or_begins_another() {
    let world = World::start(MemoryView::new());
    for asks in 0..400_usize {
        for _ in 0..asks % 20 {
            assert_eq!(world.ask().await.done_ms, 0, "what was asked for is under way");
        }
        world.ask().await;
        world.ended().await;
    }
    world.stop();
}

#[tokio::test]
async fn of_two_who_ask_at_once_one_begins_it() {
    let world = World::start(MemoryView::new());
    let (one, other) = tokio::join!(world.ask_as("ops"), world.ask_as("eve"));
    assert_eq!(one.by, other.by);
    assert_eq!(world.ended().await.by, one.by);
    world.stop();
}

#[tokio::test]
async fn what_an_erasure_has_left_is_nothing_for_the_next_one() {
    let world = World::start(MemoryView::new());
    assert!(!world.ask().await.found);
    let never = world.ended().await;
    assert!(!never.found, "nobody has heard of the user");
    // Not before all was looked at.
    let found =
        |erasure: &Erasure| told(&world.erasures.service.engine, &user("bob"), erasure)["found"].clone();
    let begun = Erasure::begun(1, user("ops"));
    assert_eq!((found(&begun), found(&never)), (json!(null), json!(false)));
    assert_eq!(found(&Erasure { found: true, ..begun }), json!(true));
    world.ask().await;
    assert!(!world.ended().await.found, "nor has anybody since");
    world.say("room").await;
    let blocks = world.erasures.service.engine.clone();
    blocks.block(crate::engine::Caller::Operator(user("bob")), user("eve"), true).await.unwrap();
    world.ask().await;
    assert!(world.ended().await.found);
    world.ask().await;
    let again = world.ended().await;
    assert_eq!((again.found, again.messages), (false, 0), "{again:?}");
    assert_eq!(again.earlier.as_ref().map(|earlier| earlier.messages), Some(1), "and what went is told on");
    blocks.block(crate::engine::Caller::Operator(user("bob")), user("eve"), true).await.unwrap();
    world.ask().await;
    assert!(world.ended().await.found, "an own log is something");
    world.stop();
}

#[tokio::test]
async fn what_erasures_have_taken_is_told_by_each_that_follows() {
    let world = World::start(MemoryView::new());
    world.ask().await;
    assert_eq!(world.ended().await.earlier, None);
    world.ask().await;
    assert_eq!(world.ended().await.earlier, None, "one that has found nothing has taken nothing");
    let mut firsts = Vec::new();
    for conversations in [&["a", "b"][..], &["a", "b", "c"]] {
        for name in conversations {
            world.say(name).await;
        }
        world.ask().await;
        firsts.push(world.ended().await);
    }
    world.ask().await;
    let last = world.ended().await;
    assert_eq!(firsts.iter().map(|erasure| erasure.messages).collect::<Vec<_>>(), [2, 3]);
    let earlier = Earlier {
        asked_ms: firsts[0].asked_ms,
        absent_ms: firsts[1].done_ms,
        messages: 5,
        reactions: 0,
        memberships: 0,
    };
    assert_eq!((last.messages, last.earlier.as_ref()), (0, Some(&earlier)));
    let told = told(&world.erasures.service.engine, &user("bob"), &last);
    assert_eq!((&told["found"], &told["earlier"]["messages"]), (&json!(false), &json!(5)));
    world.stop();
}

/// A view in which a conversation is damaged for a time, and each read of it says so and waits for a word.
struct DamagedView {
    inner: MemoryView,
    is_damaged: Arc<AtomicBool>,
    read: mpsc::SyncSender<()>,
    goes_on: Mutex<mpsc::Receiver<()>>,
}

impl ViewOverride for DamagedView {
    fn inner(&self) -> &dyn View {
        &self.inner
    }

    fn after(&self, name: &ConversationName, after: Seq, limit: PageLimit) -> Result<Stretch, ViewError> {
        if self.is_damaged.load(Ordering::SeqCst) && name.as_str() == "damaged" {
            let what = "damaged for a test";
            self.read.send(()).unwrap();
            self.goes_on.lock().recv().unwrap();
            return Err(ViewError::DamagedRow { conversation: name.clone(), seq: after.next(), what });
        }
        self.inner.after(name, after, limit)
    }
}

/// An erasure that was asked for where a conversation is damaged.
struct Damaged {
    world: World,
    is_damaged: Arc<AtomicBool>,
    /// Each read of the conversation.
    reads: mpsc::Receiver<()>,
    /// Lets one of them go on.
    go_on: mpsc::SyncSender<()>,
}

impl Damaged {
    async fn asked() -> Self {
        let (is_damaged, (read, reads), (go_on, goes_on)) =
            (Arc::new(AtomicBool::new(false)), mpsc::sync_channel(9), mpsc::sync_channel(9));
        let (inner, goes_on) = (MemoryView::new(), Mutex::new(goes_on));
        let view = DamagedView { inner, is_damaged: Arc::clone(&is_damaged), read, goes_on };
        let world = World::start(Overridden(view));
        world.say("damaged").await;
        is_damaged.store(true, Ordering::SeqCst);
        world.ask().await;
        Self { world, is_damaged, reads, go_on }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_one_fails_has_it_tried_again_at_once() {
    let Damaged { world, is_damaged, reads, go_on } = Damaged::asked().await;
    let is_read = || tokio::task::block_in_place(|| reads.recv_timeout(PATIENCE)).unwrap();
    // It is skipped, and looked at once more before the erasure waits.
    is_read();
    go_on.send(()).unwrap();
    is_read();
    is_damaged.store(false, Ordering::SeqCst);
    world.ask().await;
    go_on.send(()).unwrap();
    let erased = world.ended().await;
    assert_eq!((erased.messages, erased.skipped), (1, vec![]), "and not after a minute");
    world.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_waits_for_nothing() {
    let Damaged { world, is_damaged, reads, go_on } = Damaged::asked().await;
    let is_read = || tokio::task::block_in_place(|| reads.recv_timeout(PATIENCE)).unwrap();
    for _ in 0..2 {
        is_read();
        go_on.send(()).unwrap();
    }
    let waits_for = async || world.erasures.progress(&user("bob")).await.unwrap().unwrap().waits_for;
    let waits = async {
        while waits_for().await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it waits");
    assert_eq!(world.ask().await.waits_for, None, "as whoever asks is told");
    is_read();
    assert_eq!(waits_for().await, None, "and everybody else");
    is_damaged.store(false, Ordering::SeqCst);
    go_on.send(()).unwrap();
    world.stop();
}

/// A log whose first group says that it is there and waits for a word.
struct WaitingLog {
    inner: MemoryLog,
    first: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl LogOverride for WaitingLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        if let Some((is_there, goes_on)) = self.first.lock().take() {
            is_there.send(()).unwrap();
            goes_on.recv().unwrap();
        }
        self.inner.append(group)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_done_also_when_whoever_asked_for_it_has_gone() {
    let ((is_there, there), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    let log = WaitingLog { inner: MemoryLog::new(), first: Mutex::new(Some((is_there, goes_on))) };
    let mut store = Store::memory();
    store.log = Arc::new(Overridden(log));
    let world = World::of(store, Erasures::resume);
    let erasures = world.erasures.clone();
    let asks = tokio::spawn(async move { erasures.ask(&user("bob"), &user("ops")).await });
    tokio::task::block_in_place(|| there.recv_timeout(PATIENCE)).expect("it is to be stored");
    asks.abort();
    assert!(asks.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    world.ended().await;
    world.stop();
}

/// A view in which single registers cannot be read for a time.
struct UnreadableView {
    inner: MemoryView,
    is_unreadable: Arc<AtomicBool>,
}

impl ViewOverride for UnreadableView {
    fn inner(&self) -> &dyn View {
        &self.inner
    }

    fn register(&self, name: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if self.is_unreadable.load(Ordering::SeqCst) && key.starts_with(PREFIX) {
            let what = "unreadable for a test";
            return Err(ViewError::DamagedConversation { conversation: name.clone(), what });
        }
        self.inner.register(name, key)
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_at_the_start_is_looked_for_again() {
    let is_unreadable = Arc::new(AtomicBool::new(true));
    let view = UnreadableView { inner: MemoryView::new(), is_unreadable: Arc::clone(&is_unreadable) };
    let mut store = Store::memory();
    store.view = Arc::new(Overridden(view));
    let world = World::of(store, Erasures::new);
    let (engine, bob) = (&world.erasures.service.engine, user("bob"));
    let work = Work { engine, user: &bob, tell: &|_| {} };
    work.note(&Erasure::begun(1, user("ops"))).await.unwrap();
    assert!(world.erasures.begin_stored().await.is_err(), "it is tried again then");
    is_unreadable.store(false, Ordering::SeqCst);
    world.erasures.begin_stored().await.unwrap();
    assert_eq!(world.ended().await.by, user("ops"));
    assert_eq!(erasing(engine).await.unwrap(), []);
    world.stop();
}
