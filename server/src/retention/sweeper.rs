//! Removes what is kept beside events that have gone, beside whatever else frees space: that never waits for
//! it, however much there is to look at.
//!
//! It goes in pieces, the first registers of all conversations and all registers in turns. Where a sweep of
//! all is stands in memory alone. A start begins it anew: what was removed is not there any more, so what was
//! looked at before costs its reading once more and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quoth_store::{Pacer, SweepCursor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::engine::{Engine, Pace, Step};

/// How long one piece takes at most.
const PIECE: Duration = Duration::from_secs(10);

/// How long is waited after a purge that has failed.
const PURGE_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How often at once a purge is tried for whoever waits for it. Each waits for reads itself.
const PURGES_MAX: u32 = 4;

/// Why who waits for everything is not told that it is done.
const STOPS: &str = "the server stops";

/// What it is asked for.
enum Ask {
    /// To look at the first registers, and at all of them if that is due.
    Look,
    /// To look at all of them from the beginning, and to take all that is removed from the disk.
    Everything(oneshot::Sender<Result<(), String>>),
}

/// For who asks it.
#[derive(Clone)]
pub(super) struct Sweeping {
    asks: mpsc::Sender<Ask>,
    is_hurried: Arc<AtomicBool>,
}

impl Sweeping {
    /// Has the first registers of all conversations looked at, and all of them if that is due.
    pub(super) fn look(&self) {
        // One that waits is as good.
        let _waits = self.asks.try_send(Ask::Look);
    }

    /// Looks at everything, and takes all that is removed from the disk.
    ///
    /// # Errors
    /// Why the store could not do it, or why it is not done yet.
    pub(super) async fn everything(&self) -> Result<(), String> {
        self.is_hurried.store(true, Ordering::Relaxed);
        let (done, is_done) = oneshot::channel();
        // Where nobody takes it, the server stops.
        let _is_asked = self.asks.send(Ask::Everything(done)).await;
        is_done.await.unwrap_or(Ok(()))
    }
}

/// Sweeps, piece by piece.
pub(super) struct Sweeper {
    engine: Engine,
    pace: Arc<Pace>,
    asks: mpsc::Receiver<Ask>,
    /// Somebody waits for everything: what is under way ends early.
    is_hurried: Arc<AtomicBool>,
    /// Between the beginnings of two sweeps of all.
    interval: Duration,
    /// How long one piece takes at most, about.
    piece: Duration,
    all_due: Instant,
    first: Round,
    all: Round,
    /// What is removed may be on the disk.
    to_purge: Option<ToPurge>,
}

/// A purge that is to be made.
#[derive(Clone, Copy)]
struct ToPurge {
    /// Somebody has asked for everything.
    everything: bool,
    /// Not before.
    due: Instant,
}

/// One sweep through all conversations, if it is under way.
#[derive(Default)]
struct Round {
    is_under_way: bool,
    cursor: SweepCursor,
}

impl Sweeper {
    /// One that looks at all registers as often as an interval says, and at once: what an earlier process has
    /// left is as old as can be.
    pub(super) fn new(engine: Engine, pace: Arc<Pace>, interval: Duration) -> (Self, Sweeping) {
        let ((asks, asked), is_hurried) = (mpsc::channel(1), Arc::new(AtomicBool::new(false)));
        let sweeping = Sweeping { asks, is_hurried: Arc::clone(&is_hurried) };
        let (first, all, all_due) = (Round::default(), Round::default(), Instant::now());
        let sweeper = Self {
            engine,
            pace,
            asks: asked,
            is_hurried,
            interval,
            piece: PIECE,
            all_due,
            first,
            all,
            to_purge: None,
        };
        (sweeper, sweeping)
    }

    /// Goes on until nobody can ask any more.
    pub(super) async fn run(mut self) {
        while let Some(ask) = self.next().await {
            match ask {
                Some(Ask::Everything(done)) => {
                    self.is_hurried.store(false, Ordering::Relaxed);
                    let swept = self.everything().await;
                    let _nobody_waits = done.send(swept);
                    continue;
                }
                Some(Ask::Look) => {
                    self.first.is_under_way = true;
                    self.all.is_under_way |= self.all_due <= Instant::now();
                }
                None => {}
            }
            if self.pace.is_stopped() {
                return;
            }
            if let Err(error) = self.turn().await {
                tracing::error!(error, "what is kept beside events that have gone stays");
                (self.first, self.all) = Default::default();
            }
        }
    }

    /// What is asked for next, nothing where something is under way; `None` at the end.
    async fn next(&mut self) -> Option<Option<Ask>> {
        if !self.first.is_under_way && !self.all.is_under_way {
            return self.asks.recv().await.map(Some);
        }
        match self.asks.try_recv() {
            Ok(ask) => Some(Some(ask)),
            Err(mpsc::error::TryRecvError::Empty) => Some(None),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        }
    }

    /// A piece of each that is under way.
    async fn turn(&mut self) -> Result<(), String> {
        if self.first.is_under_way {
            self.first.piece(&self.engine, false, self.piece()).await?;
        }
        // On a full disk it would write where others free something.
        if self.engine.is_short() {
            self.all = Round::default();
            return Ok(());
        }
        if self.all.is_under_way {
            if self.all.cursor == SweepCursor::default() {
                self.all_due = Instant::now() + self.interval;
            }
            self.all.piece(&self.engine, true, self.piece()).await?;
            if !self.all.is_under_way {
                self.to_purge.get_or_insert_with(|| ToPurge { everything: false, due: Instant::now() });
            }
        }
        if let Some(ToPurge { everything, due }) = self.to_purge
            && !self.all.is_under_way
            && due <= Instant::now()
        {
            // What a read holds up is tried again with the next look.
            let _is_done = self.purge(everything, self.unhurried()).await?;
        }
        Ok(())
    }

    /// Takes what is removed from the disk; says whether that has come to its end. It is to be made until it
    /// has, and after an error not at once: on a disk without room it would take it from others each time.
    async fn purge(&mut self, everything: bool, pace: Pacer) -> Result<bool, String> {
        let purged = self.engine.purge(everything, pace).await;
        let due = Instant::now() + if purged.is_err() { PURGE_PAUSE } else { Duration::ZERO };
        self.to_purge = (purged != Ok(true)).then_some(ToPurge { everything, due });
        purged
    }

    async fn everything(&mut self) -> Result<(), String> {
        self.engine.change_pass(|pass| pass.step = Step::Sweep);
        let is_short = self.engine.is_short();
        let mut round = Round { is_under_way: true, ..Round::default() };
        let pace = Arc::clone(&self.pace);
        round.piece(&self.engine, !is_short, move |bytes| pace.take(bytes)).await?;
        if is_short {
            return Err("the disk is full: only the first of each conversation was looked at".to_owned());
        }
        if round.is_under_way {
            return Err(STOPS.to_owned());
        }
        self.engine.change_pass(|pass| pass.step = Step::Purge);
        (self.first, self.all, self.all_due) =
            (Round::default(), Round::default(), Instant::now() + self.interval);
        for _ in 0..PURGES_MAX {
            let pace = Arc::clone(&self.pace);
            let pace: Pacer = Arc::new(move |bytes, may_wait| pace.take_while(bytes, may_wait));
            if self.purge(true, pace).await? {
                return Ok(());
            }
            if self.pace.is_stopped() {
                return Err(STOPS.to_owned());
            }
        }
        Err("a read or a full disk holds up what was removed: that is tried again".to_owned())
    }

    /// As long as a piece is, and nobody waits for everything.
    fn piece(&self) -> impl Fn(u64) -> bool + Send + Sync + 'static {
        let (pace, until) = (self.unhurried(), Instant::now() + self.piece);
        move |bytes| pace(bytes, &|| true) && Instant::now() < until
    }

    fn unhurried(&self) -> Pacer {
        let (pace, is_hurried) = (Arc::clone(&self.pace), Arc::clone(&self.is_hurried));
        Arc::new(move |bytes, may_wait| {
            pace.take_while(bytes, may_wait) && !is_hurried.load(Ordering::Relaxed)
        })
    }
}

impl Round {
    /// Goes on, for as long as it is let.
    async fn piece(
        &mut self,
        engine: &Engine,
        everything: bool,
        goes_on: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Result<(), String> {
        let (swept, cursor) = engine.sweep(everything, std::mem::take(&mut self.cursor), goes_on).await?;
        (self.is_under_way, self.cursor) = (!swept.is_done, cursor);
        if swept.registers > 0 {
            tracing::debug!(
                registers = swept.registers,
                "removed what was kept beside events that have gone"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        FjallView, Keepings, MemoryView, Pacer, Rewrite, Rewritten, Store, SweepCursor, Swept, View,
        ViewError,
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
        purges_end: Mutex<Option<Result<bool, ViewError>>>,
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

        fn purge(&self, everything: bool, pace: &Pacer) -> Result<bool, ViewError> {
            self.1.purged_all.fetch_add(u64::from(everything), Ordering::SeqCst);
            self.1.purged.fetch_add(1, Ordering::SeqCst);
            let end = self.1.purges_end.lock().clone();
            end.unwrap_or_else(|| self.0.purge(everything, pace))
        }

        fn rewrite(
            &self,
            keepings: &mut Keepings<'_>,
            rewrite: &mut Rewrite<'_>,
        ) -> Result<Rewritten, ViewError> {
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

    /// An engine over a view with some conversations.
    fn engine(view: impl View + 'static, are_endless: bool) -> (Engine, Ends) {
        let sweeps = Arc::new(Sweeps { are_endless: are_endless.into(), ..Sweeps::default() });
        let mut store = Store::memory();
        store.view = Arc::new(Overridden(Told(view, Arc::clone(&sweeps))));
        let rooms: Vec<_> = ["a", "b", "c", "d", "e"].map(|room| record(room, 1, 1)).to_vec();
        commit(&store, &rooms).unwrap();
        let (clock, rules) = (Arc::new(SystemClock), Default::default());
        let (engine, _stopper) = Engine::start_with(
            store,
            Durability::Memory,
            clock,
            Execution::Threads,
            rules,
            Classes::default(),
        );
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

    #[tokio::test(flavor = "multi_thread")]
    async fn others_have_space_freed_while_somebody_waits_until_everything_is_swept() {
        let (engine, sweeps) = engine(MemoryView::new(), true);
        let retention = Retention::start(engine.clone(), &config(u64::MAX));
        let run = engine.reclaim_soon();
        let is_at = |step| engine.passes().0.is_some_and(|pass| pass.run >= run && pass.step == step);
        until("its step is not told", || is_at(Step::Sweep)).await;
        let last = Retain::Policy(Policy { count: 1, ..Policy::FOR_EVER });
        let operator = Caller::Operator(UserId::new("ops").unwrap());
        engine.retain(operator, &record("a", 1, 1).conversation, last).await.unwrap();
        let windows = || engine.passes().0.map_or(0, |pass| pass.windows);
        until("what went is not freed", || windows() > 0).await;
        assert!(is_at(Step::Sweep));
        sweeps.are_endless.store(false, Ordering::SeqCst);
        let is_done = || engine.passes().1.is_some_and(|pass| pass.run == run && pass.step == Step::Done);
        until("it does not end", is_done).await;
        assert_eq!(sweeps.purged.load(Ordering::SeqCst), 1);
        tokio::time::timeout(HANG, retention.stop()).await.unwrap();
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
        *sweeps.purges_end.lock() = Some(Ok(false));
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
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let path = std::path::PathBuf::new();
        let full = ViewError::Io { action: "write", path, source: Arc::new(io) };
        *sweeps.purges_end.lock() = Some(Err(full));
        for look in 1..5 {
            sweeping.look();
            until("it does not look", || sweeps.looked.load(Ordering::SeqCst) >= look).await;
        }
        assert_eq!(sweeps.purged.load(Ordering::SeqCst), 1);
        // Who asks for it has it done.
        *sweeps.purges_end.lock() = None;
        sweeping.everything().await.unwrap();
    }
}
