//! Who asks while an erasure is under way, or as it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use quoth_core::conversation::{About, Append};
use quoth_protocol::Seq;
use quoth_protocol::frame::Durability;
use quoth_store::testing::{Overridden, ViewOverride};
use quoth_store::{MemoryView, PageLimit, Store, Stretch, View, ViewError};

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
        let clock = Arc::new(SystemClock);
        let (engine, stopper) = Engine::start(store, Durability::Memory, clock, Execution::Threads);
        let phase = PhaseSender::new();
        let service = Service::new(engine, Arc::new(Nobody), Limits::default(), phase.subscribe());
        Self { erasures: Erasures::resume(service), phase, stopper }
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
    assert!(!world.ended().await.found, "nobody has heard of the user");
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
    blocks.block(crate::engine::Caller::Operator(user("bob")), user("eve"), true).await.unwrap();
    world.ask().await;
    assert!(world.ended().await.found, "an own log is something");
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

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_one_fails_has_it_tried_again_at_once() {
    let (is_damaged, (read, reads), (go_on, goes_on)) =
        (Arc::new(AtomicBool::new(false)), mpsc::sync_channel(9), mpsc::sync_channel(9));
    let (inner, goes_on) = (MemoryView::new(), Mutex::new(goes_on));
    let view = DamagedView { inner, is_damaged: Arc::clone(&is_damaged), read, goes_on };
    let world = World::start(Overridden(view));
    world.say("damaged").await;
    is_damaged.store(true, Ordering::SeqCst);
    world.ask().await;
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
