use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quoth_core::retention::{Classes, Retention as Policy};
use quoth_protocol::UserId;
use quoth_protocol::frame::Durability;
use quoth_store::testing::{Overridden, ViewOverride, record};
use quoth_store::{
    Erased, FjallView, Keepings, MemoryView, Pacer, Position, Purged, Rewrite, Rewritten, Store, Survey,
    SweepCursor, Swept, View, ViewError,
};

use super::super::{Retention, commit};
use super::{Sweeper, Sweeping};
use crate::config::RetentionConfig;
use crate::engine::{Caller, Engine, Execution, Retain, Step, SystemClock};

const HANG: Duration = Duration::from_secs(60);

/// What a test knows of the sweeps of a view, and has them do.
#[derive(Debug, Default)]
struct Sweeps {
    /// Sweeps of everything go on until they are ended.
    are_endless: AtomicBool,
    begun: AtomicU64,
    /// Those of everything that came to their end.
    done: AtomicU64,
    /// Looks at the first registers.
    looked: AtomicU64,
    purged: AtomicU64,
    /// Purges of everything.
    purged_all: AtomicU64,
    /// What becomes of purges, if not what the view says.
    purges_end: Mutex<Option<Result<Purged, ViewError>>>,
    sweeps_fail: AtomicBool,
    /// So many events were erased.
    erased: AtomicU64,
    /// They go on until they are ended.
    purges_are_endless: AtomicBool,
    /// Those of them that were ended by who paces them.
    purges_ended: AtomicU64,
    /// How often one has asked whether it goes on.
    asked: AtomicU64,
    /// Rewrites for whoever wants all of it.
    rewritten_all: AtomicU64,
    flushed: AtomicU64,
    surveyed: AtomicU64,
    /// Windows seem to be dead and are not.
    rewrites_free_nothing: AtomicBool,
}

struct Told<V>(V, Arc<Sweeps>);

/// Ends them with the test, whatever becomes of that.
struct Ends(Arc<Sweeps>);

impl std::ops::Deref for Ends {
    type Target = Sweeps;

    fn deref(&self) -> &Sweeps {
        &self.0
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.are_endless.store(false, Ordering::SeqCst);
        self.0.purges_are_endless.store(false, Ordering::SeqCst);
    }
}

impl<V: View> ViewOverride for Told<V> {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn sweep(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        if !everything {
            self.1.looked.fetch_add(1, Ordering::SeqCst);
        }
        if everything {
            self.1.begun.fetch_add(1, Ordering::SeqCst);
            if self.1.sweeps_fail.load(Ordering::SeqCst) {
                return Err(failed());
            }
            while self.1.are_endless.load(Ordering::SeqCst) {
                if !pace(4_096) {
                    return Ok(Swept::default());
                }
                std::thread::yield_now();
            }
        }
        let swept = self.0.sweep(everything, cursor, pace)?;
        self.1.done.fetch_add(u64::from(everything && swept.is_done), Ordering::SeqCst);
        Ok(swept)
    }

    fn erased(&self) -> Erased {
        Erased { events: self.1.erased.load(Ordering::SeqCst), ..self.0.erased() }
    }

    fn flush(&self) -> Result<Position, ViewError> {
        self.1.flushed.fetch_add(1, Ordering::SeqCst);
        self.0.flush()
    }

    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        self.1.surveyed.fetch_add(1, Ordering::SeqCst);
        self.0.survey(visit)
    }

    fn purge(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError> {
        self.1.purged_all.fetch_add(u64::from(everything), Ordering::SeqCst);
        self.1.purged.fetch_add(1, Ordering::SeqCst);
        while self.1.purges_are_endless.load(Ordering::SeqCst) {
            if !pace(4_096, &|| true) {
                self.1.purges_ended.fetch_add(1, Ordering::SeqCst);
                return Ok(Purged::Unfinished);
            }
            self.1.asked.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
        }
        let end = self.1.purges_end.lock().clone();
        end.unwrap_or_else(|| self.0.purge(everything, pace))
    }

    fn rewrite(
        &self,
        keepings: &mut Keepings<'_>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Rewritten, ViewError> {
        self.1.rewritten_all.fetch_add(u64::from(rewrite.extent.is_everything()), Ordering::SeqCst);
        if self.1.rewrites_free_nothing.load(Ordering::SeqCst) {
            let (windows, bytes, written_bytes) = (1, 4_096, 4_096);
            let more = Rewritten {
                windows,
                bytes,
                written_bytes,
                is_done: true,
                more: true,
                ..Rewritten::default()
            };
            return Ok(more);
        }
        self.0.rewrite(keepings, rewrite)
    }
}

/// As on a disk without room.
fn failed() -> ViewError {
    let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
    ViewError::Io { action: "write", path: std::path::PathBuf::new(), source: Arc::new(io) }
}

/// An engine over a view with some conversations.
fn engine(view: impl View + 'static, are_endless: bool) -> (Engine, Ends) {
    let sweeps = Arc::new(Sweeps { are_endless: are_endless.into(), ..Sweeps::default() });
    let mut store = Store::memory();
    store.view = Arc::new(Overridden(Told(view, Arc::clone(&sweeps))));
    let rooms: Vec<_> = ["a", "b", "c", "d", "e"].map(|room| record(room, 1, 1)).to_vec();
    commit(&store, &rooms).unwrap();
    let (clock, rules) = (Arc::new(SystemClock), Default::default());
    let (engine, _stopper) =
        Engine::start_with(store, Durability::Memory, clock, Execution::Threads, rules, Classes::default());
    (engine, Ends(sweeps))
}

/// A sweeper whose pieces take so long, and who asks it.
fn sweeper(engine: &Engine, piece: Duration) -> (tokio::task::JoinHandle<()>, Sweeping) {
    let pace = engine.pace(u64::MAX);
    let (mut sweeper, sweeping) = Sweeper::new(engine.clone(), pace, HANG * 60);
    sweeper.piece = piece;
    (tokio::spawn(sweeper.run()), sweeping)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + HANG;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn config(rewrite_bytes_per_s: u64) -> RetentionConfig {
    RetentionConfig { interval_s: 1, rewrite_bytes_per_s, ..RetentionConfig::default() }
}

async fn retain_last(engine: &Engine) {
    let last = Retain::Policy(Policy { count: 1, ..Policy::FOR_EVER });
    let operator = Caller::Operator(UserId::new("ops").unwrap());
    engine.retain(operator, &record("a", 1, 1).conversation, last).await.unwrap();
}

/// Something of it is due ten times as often as the log is, and that is due four times in this.
const ERASURE_MAX_S: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn others_have_space_freed_while_somebody_waits_until_everything_is_swept() {
    let (engine, sweeps) = engine(MemoryView::new(), true);
    let config = RetentionConfig { erasure_max_s: ERASURE_MAX_S, ..config(u64::MAX) };
    let retention = Retention::start(engine.clone(), &config);
    let run = engine.reclaim_soon();
    let is_at = |step| engine.passes().0.is_some_and(|pass| pass.run >= run && pass.step == step);
    until("its step is not told", || is_at(Step::Sweep)).await;
    retain_last(&engine).await;
    let windows = || engine.passes().0.map_or(0, |pass| pass.windows);
    until("what went is not freed", || windows() > 0).await;
    for (what, counted) in [("the log is not freed", &sweeps.flushed), ("nobody looks", &sweeps.surveyed)] {
        let before = counted.load(Ordering::SeqCst);
        until(what, || counted.load(Ordering::SeqCst) > before + 1).await;
    }
    assert!(is_at(Step::Sweep));
    sweeps.are_endless.store(false, Ordering::SeqCst);
    let is_done = || engine.passes().1.iter().any(|pass| pass.run == run && pass.step == Step::Done);
    until("it does not end", is_done).await;
    assert!(sweeps.purged.load(Ordering::SeqCst) >= 1);
    tokio::time::timeout(HANG, retention.stop()).await.unwrap();
}

/// A disk that has become full asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_somebody_waits_for_everything_has_space_freed_at_once_and_a_pass_behind_it() {
    let (engine, sweeps) = engine(MemoryView::new(), true);
    let config = RetentionConfig { interval_s: 3_600, ..RetentionConfig::default() };
    let retention = Retention::start(engine.clone(), &config);
    let run = engine.reclaim_soon();
    let is_at = |step| engine.passes().0.is_some_and(|pass| pass.run >= run && pass.step == step);
    until("its step is not told", || is_at(Step::Sweep)).await;
    let rewritten_all = || sweeps.rewritten_all.load(Ordering::SeqCst);
    let before = rewritten_all();
    retain_last(&engine).await;
    let again = engine.reclaim_soon();
    assert_eq!(again, run + 1);
    let windows = || engine.passes().0.map_or(0, |pass| pass.windows);
    until("what went is not freed", || windows() > 0).await;
    until("it is not all that can be", || rewritten_all() > before).await;
    assert!(is_at(Step::Sweep));
    sweeps.are_endless.store(false, Ordering::SeqCst);
    let is_done = || engine.passes().1.iter().any(|pass| pass.run == again && pass.step == Step::Done);
    until("its own pass does not come", is_done).await;
    tokio::time::timeout(HANG, retention.stop()).await.unwrap();
}

/// It would begin anew, and be ended by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_everything_ends_no_purge() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    sweeps.purges_are_endless.store(true, Ordering::SeqCst);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    sweeping.look();
    until("it does not begin", || sweeps.purged.load(Ordering::SeqCst) == 1).await;
    let is_hurried = Arc::clone(&sweeping.is_hurried);
    let everything = tokio::spawn(async move { sweeping.everything().await });
    until("it does not ask", || is_hurried.load(Ordering::SeqCst)).await;
    let asked = sweeps.asked.load(Ordering::SeqCst);
    let is_past = || sweeps.asked.load(Ordering::SeqCst) > asked + 1;
    until("it does not go on", || is_past() || sweeps.purges_ended.load(Ordering::SeqCst) > 0).await;
    assert_eq!(sweeps.purges_ended.load(Ordering::SeqCst), 0);
    sweeps.purges_are_endless.store(false, Ordering::SeqCst);
    tokio::time::timeout(HANG, everything).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_nobody_who_is_paced() {
    // A byte a second.
    let (engine, sweeps) = engine(MemoryView::new(), true);
    let retention = Retention::start(engine.clone(), &config(1));
    until("it does not begin", || sweeps.begun.load(Ordering::SeqCst) > 0).await;
    tokio::time::timeout(HANG, retention.stop()).await.expect("it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_everything_does_not_wait_for_what_is_under_way() {
    let (engine, sweeps) = engine(MemoryView::new(), true);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    sweeping.look();
    until("it does not begin", || sweeps.begun.load(Ordering::SeqCst) == 1).await;
    let everything = tokio::spawn(async move { sweeping.everything().await });
    until("it goes on for ever", || sweeps.begun.load(Ordering::SeqCst) == 2).await;
    sweeps.are_endless.store(false, Ordering::SeqCst);
    tokio::time::timeout(HANG, everything).await.unwrap().unwrap().unwrap();
}

fn fjall(dir: &Path) -> FjallView {
    FjallView::open(dir, 1 << 20).unwrap()
}

/// The shortest pieces, of a conversation each.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_come_to_an_end_and_then_what_is_removed_leaves_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, sweeps) = engine(fjall(dir.path()), false);
    let (task, sweeping) = sweeper(&engine, Duration::ZERO);
    sweeping.look();
    until("it begins anew each time", || sweeps.purged.load(Ordering::SeqCst) == 1).await;
    assert_eq!(sweeps.done.load(Ordering::SeqCst), 1);
    assert!(sweeps.begun.load(Ordering::SeqCst) >= 5);
    // It is not due again, and there is nobody who asks.
    sweeping.look();
    drop(sweeping);
    tokio::time::timeout(HANG, task).await.unwrap().unwrap();
    assert_eq!(sweeps.done.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_seems_to_be_dead_and_is_not_holds_up_nothing_else() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    sweeps.rewrites_free_nothing.store(true, Ordering::SeqCst);
    let retention = Retention::start(engine.clone(), &config(u64::MAX));
    until("it rewrites for ever", || sweeps.looked.load(Ordering::SeqCst) > 1).await;
    tokio::time::timeout(HANG, retention.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_done_when_what_was_removed_has_left_the_disk() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    *sweeps.purges_end.lock() = Some(Ok(Purged::Unfinished));
    sweeping.everything().await.unwrap_err();
    // It is tried again, and then all of it.
    let tried = sweeps.purged_all.load(Ordering::SeqCst);
    *sweeps.purges_end.lock() = None;
    sweeping.look();
    until("it is not tried again", || sweeps.purged_all.load(Ordering::SeqCst) > tried).await;
    sweeping.everything().await.unwrap();
}

/// Whoever finds no room has taken it from others until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_has_failed_is_not_begun_again_with_each_look() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    *sweeps.purges_end.lock() = Some(Err(failed()));
    for look in 1..5 {
        sweeping.look();
        until("it does not look", || sweeps.looked.load(Ordering::SeqCst) >= look).await;
    }
    assert_eq!(sweeps.purged.load(Ordering::SeqCst), 1);
    // Who asks for it has it done.
    *sweeps.purges_end.lock() = None;
    sweeping.everything().await.unwrap();
}

/// A round of all may take longer than what was erased may be on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn registers_are_purged_of_what_was_erased_while_all_are_looked_at() {
    let (engine, sweeps) = engine(MemoryView::new(), true);
    let (_task, sweeping) = sweeper(&engine, Duration::ZERO);
    let purged = || sweeps.purged.load(Ordering::SeqCst);
    sweeping.look();
    until("it does not begin", || sweeps.begun.load(Ordering::SeqCst) > 1).await;
    assert_eq!(purged(), 0, "nothing was erased");
    sweeps.erased.store(1, Ordering::SeqCst);
    *sweeps.purges_end.lock() = Some(Ok(Purged::Unfinished));
    // What holds it up is looked at again with each look.
    for look in 1..4 {
        sweeping.look();
        until("it waits for the round", || purged() == look).await;
        let begun = sweeps.begun.load(Ordering::SeqCst);
        until("the round does not go on", || sweeps.begun.load(Ordering::SeqCst) > begun + 1).await;
        assert_eq!(purged(), look, "nobody has looked");
    }
    assert_eq!(sweeps.done.load(Ordering::SeqCst), 0);
}

/// What was written waits for whoever reads, and is not written once more for that.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_written_once_for_whoever_wants_it() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    *sweeps.purges_end.lock() = Some(Ok(Purged::Written));
    sweeping.everything().await.unwrap_err();
    let purged = sweeps.purged.load(Ordering::SeqCst);
    assert!(purged > 1);
    sweeping.look();
    until("it is not tried again", || sweeps.purged.load(Ordering::SeqCst) > purged).await;
    assert_eq!(sweeps.purged_all.load(Ordering::SeqCst), 1);
}

/// The time until the next one is for one that came to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_all_that_has_failed_is_due_again() {
    let (engine, sweeps) = engine(MemoryView::new(), false);
    let (_task, sweeping) = sweeper(&engine, HANG * 60);
    for look in 1..4 {
        sweeps.sweeps_fail.store(true, Ordering::SeqCst);
        sweeping.look();
        until("it is not due", || sweeps.begun.load(Ordering::SeqCst) == look).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_everything_is_not_told_that_it_is_done_when_the_server_stops() {
    let (engine, _sweeps) = engine(MemoryView::new(), false);
    let (task, sweeping) = sweeper(&engine, HANG * 60);
    task.abort();
    let _aborted = task.await;
    sweeping.everything().await.unwrap_err();
}
