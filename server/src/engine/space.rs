//! The space of what is absent: when it is freed, how fast, and what of it is outstanding.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quoth_core::membership::Refusal;
use quoth_core::retention::Classes;
use quoth_protocol::Code;
use quoth_store::{
    Erased, Extent, Log, Pacer, Position, Purged, Reclaimed, Reserve, Rewrite, Rewritten, SweepCursor, Swept,
    View, ViewError,
};

use super::Engine;
use super::overview::{Loss, Overview, TOLD_MAX, loss, overview};
use super::passes::{Pass, Passes};
use super::retention::{keep_in, marks_in};

/// For so many times as long as a look took, it is not looked again: that takes a twentieth of a processor at
/// most.
pub(crate) const LOOK_REST: u32 = 19;

/// What frees space besides the view.
#[derive(Debug)]
pub(super) struct Space {
    log: Arc<dyn Log>,
    reserve: Arc<Reserve>,
    /// The positions from which on segments of the log were begun, and when, in milliseconds since 1970. What
    /// was in the log at the start is as old as can be.
    begins: Mutex<VecDeque<(Position, u64)>>,
    /// How long what was erased may be on the disk, in milliseconds.
    erasure_max_ms: AtomicU64,
    /// Where the freeing is.
    passes: Arc<Passes>,
    /// How fast is read what is to be erased, in bytes a second; 0: as fast as it goes.
    bytes_per_s: AtomicU64,
    /// Users are erased one after the other, conversation by conversation: each reads all of it.
    erasing: tokio::sync::Mutex<()>,
    /// What was seen when all was looked at last.
    looked: Mutex<Option<Looked>>,
    /// Held by whoever looks.
    looking: tokio::sync::Mutex<()>,
    /// Held by whoever tries classes, who holds up nobody that looks: when that was done last, and how long it
    /// took.
    trying: tokio::sync::Mutex<Option<(Instant, Duration)>>,
}

/// A look at all that there is.
#[derive(Debug, Clone)]
pub struct Looked {
    /// What was seen.
    pub overview: Arc<Overview>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    at: Instant,
    /// How long it took.
    took: Duration,
}

/// A look that takes no longer is had whenever somebody asks.
const SHORT_LOOK: Duration = Duration::from_millis(10);

/// One that takes so long is left to the task that frees space: whoever asks would wait for too long.
const LONG_LOOK: Duration = Duration::from_secs(1);

impl Looked {
    /// Whether it will do for whoever asks: all of them together, and the task that frees space, are to take
    /// a part of a processor only.
    fn will_do(&self) -> bool {
        self.took >= LONG_LOOK || (self.took > SHORT_LOOK && self.at.elapsed() < self.took * LOOK_REST)
    }
}

/// Why classes are not tried at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// When they may be, in milliseconds from now; 0: that is not known.
    pub retry_after_ms: u32,
}

/// Whoever tries classes waits for so long, in a rest.
const TRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What is left of the rest behind something that took so long and ended so long ago.
fn rest_left(took: Duration, ended_ago: Duration) -> Duration {
    (took * LOOK_REST).saturating_sub(ended_ago)
}

/// How much of what there was is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of the contents that are kept.
    pub live_bytes: u64,
    /// Bytes of those that are absent and take space still.
    pub expired_bytes: u64,
    /// When the oldest of these was stored, in milliseconds since 1970.
    pub oldest_expired_ms: Option<u64>,
}

impl Space {
    pub(super) fn new(log: Arc<dyn Log>, reserve: Arc<Reserve>, started_ms: u64) -> Self {
        let begins = Mutex::new(VecDeque::from([(log.next(), started_ms)]));
        let (erasure_max_ms, bytes_per_s) = (AtomicU64::new(0), AtomicU64::new(0));
        let (erasing, looking) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        let (passes, looked, trying) = (Arc::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { log, reserve, begins, erasure_max_ms, passes, bytes_per_s, erasing, looked, looking, trying }
    }

    /// Waits for its turn to erase, which lasts until what it gives is dropped.
    pub(super) async fn erasing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.erasing.lock().await
    }

    /// Waits as long as so many bytes may take that were read to erase something.
    pub(super) async fn pace(&self, bytes: u64) {
        let bytes_per_s = self.bytes_per_s.load(Ordering::Relaxed);
        if let Some(ns) = bytes.saturating_mul(1_000_000_000).checked_div(bytes_per_s) {
            tokio::time::sleep(Duration::from_nanos(ns)).await;
        }
    }

    /// Where the freeing is, and who asks for it.
    pub(super) fn passes(&self) -> Arc<Passes> {
        Arc::clone(&self.passes)
    }

    /// Whether the disk is so full that nothing is stored but what frees space.
    pub(super) fn is_short(&self) -> bool {
        !self.reserve.is_held()
    }

    /// How much is absent, as was seen last.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.looked.lock().as_ref().map(|looked| {
            let Overview { live_bytes, expired_bytes, oldest_expired_ms, .. } = *looked.overview;
            Seen { live_bytes, expired_bytes, oldest_expired_ms }
        })
    }

    /// Since when there may be contents in the log, in milliseconds since 1970; 0: since before the start.
    fn log_since_ms(&self) -> u64 {
        let (mut begins, first) = (self.begins.lock(), self.log.first_stored());
        while begins.len() > 1 && begins.get(1).is_some_and(|(position, _)| *position <= first) {
            begins.pop_front();
        }
        begins.front().map_or(0, |(position, since_ms)| if *position <= first { *since_ms } else { 0 })
    }
}

/// What was revoked or erased and may be on the disk still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outstanding {
    /// In windows of the view.
    pub erased: Erased,
    /// When all of it is gone, in milliseconds since 1970; `None`: it is.
    pub gone_by_ms: Option<u64>,
    /// Since when the log has contents, which go with their segments, in milliseconds since 1970; 0: since
    /// before the start.
    pub log_since_ms: u64,
}

/// What is outstanding in a view. `done_ms` judges times at which something was erased: a time that is to come
/// may stand for one that is before all others.
#[must_use]
pub fn outstanding(
    view: &dyn View,
    erasure_max_ms: u64,
    log_since_ms: u64,
    done_ms: impl Fn(u64) -> u64,
) -> Outstanding {
    let erased = view.erased();
    let since_ms = erased.since_ms.into_iter().chain(erased.until_ms).map(done_ms).min();
    let erased = Erased { since_ms, ..erased };
    Outstanding {
        erased,
        gone_by_ms: erased.since_ms.map(|ms| ms.saturating_add(erasure_max_ms)),
        log_since_ms,
    }
}

/// Frees the log of what is in the view; gives the position at which it goes on.
///
/// # Errors
/// Why the store could not do it.
pub(crate) fn free_log(log: &dyn Log, view: &dyn View) -> Result<Position, String> {
    log.end_segment().map_err(|error| error.to_string())?;
    let next = log.next();
    let flushed = view.flush().map_err(|error| error.to_string())?;
    log.trim(flushed.next()).map_err(|error| error.to_string())?;
    Ok(next)
}

/// Whoever is early by less goes on: a moment is less exact than that.
const EARLY_MIN: Duration = Duration::from_millis(5);

/// For so long at most a stop waits for who is early.
const STOP_WAIT: Duration = Duration::from_millis(50);

/// Has all that frees space, together, read and write so many bytes a second, and no longer than it is
/// wanted.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    /// When what was taken until now is due.
    due: Mutex<Instant>,
    is_stopped: AtomicBool,
    passes: Arc<Passes>,
}

impl Pace {
    /// Takes so many bytes, and waits until they are due; says whether it goes on.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.take_while(bytes, &|| true)
    }

    /// The same, but waits only while it may. Whoever may not is not paced, and holds up nobody else.
    pub(crate) fn take_while(&self, bytes: u64, may_wait: &dyn Fn() -> bool) -> bool {
        self.passes.change(|pass| pass.moved_bytes += bytes);
        if !may_wait() {
            return !self.is_stopped();
        }
        let takes_ns = bytes.saturating_mul(1_000_000_000) / self.bytes_per_s.max(1);
        let due = {
            let (mut due, now) = (self.due.lock(), Instant::now());
            *due = (*due).max(now) + Duration::from_nanos(takes_ns);
            *due
        };
        while !self.is_stopped() {
            let early = due.saturating_duration_since(Instant::now());
            if early < EARLY_MIN || !may_wait() {
                return true;
            }
            std::thread::sleep(early.min(STOP_WAIT));
        }
        false
    }

    /// Whoever takes something from here on does not go on.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

impl Engine {
    /// Frees what is absent, as far as whole windows are. Windows whose time is over are ended before. It
    /// takes as long as it takes, on a thread of its own; one at a time.
    ///
    /// # Errors
    /// Why the store could not do it.
    pub async fn reclaim(&self) -> Result<Reclaimed, String> {
        let one_at_a_time = Arc::clone(&self.inner.reclaims).lock_owned().await;
        let view = self.inner.reads.view();
        for class in view.overdue(self.judged_ms()) {
            self.close_window(class).await?;
        }
        self.inner.reads.applied(self.released()).await;
        let now_ms = self.judged_ms();
        let classes = Arc::clone(&self.inner.classes);
        // What is set behind this has later marks than these.
        let reclaim = move |view: &dyn View| {
            // Whoever asked may be gone; the work is not.
            let _one_at_a_time = one_at_a_time;
            view.reclaim(&mut |name| marks_in(view, name, &classes, now_ms))
        };
        let reclaimed = self.inner.reads.run(reclaim).await.map_err(|error| error.to_string())?;
        self.inner.counts.add_reclaimed(reclaimed);
        self.freed(reclaimed.windows, reclaimed.bytes);
        self.shorten_absent().await;
        Ok(reclaimed)
    }

    /// What is known of events that are absent one by one, and have gone with their windows, goes from memory.
    async fn shorten_absent(&self) {
        for (name, known) in self.inner.absent.long() {
            match self.inner.reads.run(move |view| view.bounds(&name)).await {
                Ok(bounds) => known.forget_before(bounds.floor),
                Err(error) => {
                    tracing::debug!(%error, "what is known to be absent of a conversation stays long")
                }
            }
        }
    }

    /// So many bytes a second, for all that frees space.
    pub(crate) fn pace(&self, bytes_per_s: u64) -> Arc<Pace> {
        let (due, is_stopped) = (Mutex::new(Instant::now()), AtomicBool::new(false));
        Arc::new(Pace { bytes_per_s, due, is_stopped, passes: self.inner.space.passes() })
    }

    /// Frees what is absent in windows of which the rest stays, at a pace; what was erased by a time, in
    /// milliseconds since 1970, leaves the disk. Windows that hold that up are ended, so that the next time it
    /// goes on.
    ///
    /// # Errors
    /// Why the store could not do it.
    pub(crate) async fn rewrite(
        &self,
        erased_by_ms: u64,
        extent: Extent,
        pace: &Arc<Pace>,
    ) -> Result<Rewritten, String> {
        let one_at_a_time = Arc::clone(&self.inner.reclaims).lock_owned().await;
        self.inner.reads.applied(self.released()).await;
        let (now_ms, pace) = (self.judged_ms(), Arc::clone(pace));
        let classes = Arc::clone(&self.inner.classes);
        let rewrite = move |view: &dyn View| {
            let _one_at_a_time = one_at_a_time;
            let mut rewrite = Rewrite { now_ms, erased_by_ms, extent, pace: &mut |bytes| pace.take(bytes) };
            view.rewrite(&mut |name| keep_in(view, name, &classes, now_ms), &mut rewrite)
        };
        let rewritten = self.inner.reads.run(rewrite).await.map_err(|error| error.to_string())?;
        self.inner.counts.add_rewritten(&rewritten);
        self.freed(rewritten.windows, rewritten.bytes.saturating_sub(rewritten.written_bytes));
        for class in &rewritten.held_up {
            self.close_window(*class).await?;
        }
        Ok(rewritten)
    }

    /// Removes what is kept beside events that have gone, of all or what costs little to find, for as long as
    /// it goes on; says also where that has ended. One at a time.
    ///
    /// # Errors
    /// Why the store could not do it.
    pub(crate) async fn sweep(
        &self,
        everything: bool,
        mut cursor: SweepCursor,
        mut goes_on: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Result<(Swept, SweepCursor), String> {
        let sweep = move |view: &dyn View| {
            view.sweep(everything, &mut cursor, &mut goes_on).map(|swept| (swept, cursor))
        };
        self.inner.reads.run(sweep).await.map_err(|error| error.to_string())
    }

    /// Takes from the disk what was kept beside what was erased, and what was kept beside other events that
    /// have gone: all of it, or if it is much. Says how far it has come. One at a time.
    ///
    /// # Errors
    /// Why the store could not do it.
    pub(crate) async fn purge(&self, everything: bool, pace: Pacer) -> Result<Purged, String> {
        let purge = move |view: &dyn View| view.purge(everything, &pace);
        self.inner.reads.run(purge).await.map_err(|error| error.to_string())
    }

    /// Ends the log's segment, so that all that there is of it may go, and what nobody holds does.
    ///
    /// # Errors
    /// Why the store could not do it.
    pub(crate) async fn free_log(&self) -> Result<(), String> {
        self.inner.reads.applied(self.released()).await;
        let (log, now_ms) = (Arc::clone(&self.inner.space.log), self.judged_ms());
        let next = self.inner.reads.run(move |view| free_log(&*log, view)).await?;
        self.inner.space.begins.lock().push_back((next, now_ms));
        Ok(())
    }

    /// Says how fast is read what is to be erased, in bytes a second; 0: as fast as it goes.
    pub(crate) fn set_erasure_pace(&self, bytes_per_s: u64) {
        self.inner.space.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Says how long what was erased may be on the disk, in milliseconds.
    pub(crate) fn set_erasure_max(&self, ms: u64) {
        self.inner.space.erasure_max_ms.store(ms, Ordering::Relaxed);
    }

    /// What was revoked or erased and may be on the disk still.
    #[must_use]
    pub fn outstanding(&self) -> Outstanding {
        let space = &self.inner.space;
        outstanding(
            self.inner.reads.view(),
            space.erasure_max_ms.load(Ordering::Relaxed),
            self.inner.judged.done_ms(space.log_since_ms()),
            |ms| self.inner.judged.done_ms(ms),
        )
    }

    /// When what was taken away by a time is gone from the disk at the latest, and whether it is. Both times
    /// are in milliseconds since 1970.
    pub(crate) fn gone_since(&self, taken_ms: u64) -> (u64, bool) {
        let Outstanding { erased, log_since_ms, .. } = self.outstanding();
        let taken_ms = self.inner.judged.done_ms(taken_ms);
        let by_ms = taken_ms.saturating_add(self.inner.space.erasure_max_ms.load(Ordering::Relaxed));
        (by_ms, erased.since_ms.is_none_or(|since_ms| since_ms > taken_ms) && log_since_ms > taken_ms)
    }

    /// Whether the disk is so full that nothing is stored but what frees space.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.inner.space.is_short()
    }

    /// Why a notice is not stored.
    pub(crate) fn not_noted(&self) -> Refusal {
        if self.is_short() {
            Refusal {
                code: Code::STORAGE_FULL,
                retry_after_ms: 1_000,
                reason: "the disk is full, and the reserve (store.reserve_bytes) is used up: free space beside the data folder",
            }
        } else {
            Refusal::new(Code::STORE_FAILED, "it was not stored: the server's log says why")
        }
    }

    /// The pass that is under way has freed something.
    fn freed(&self, windows: u64, bytes: u64) {
        self.inner.space.passes.change(|pass| {
            pass.windows += windows;
            pass.bytes += bytes;
        });
    }

    /// Has space freed now, all that can be, also of what was erased a moment ago; gives the number of the
    /// pass that does it.
    pub(crate) fn reclaim_soon(&self) -> u64 {
        self.inner.space.passes.want()
    }

    /// Waits until somebody wants that.
    pub(crate) async fn reclaim_wanted(&self) {
        self.inner.space.passes.wanted().await;
    }

    /// A pass begins; says whether somebody has asked for it.
    pub(crate) fn begin_pass(&self) -> bool {
        self.inner.space.passes.begin(self.now_ms())
    }

    /// Something has become of the pass that is under way.
    pub(crate) fn change_pass(&self, change: impl FnOnce(&mut Pass)) {
        self.inner.space.passes.change(change);
    }

    /// The pass has ended.
    pub(crate) fn end_pass(&self) {
        self.inner.space.passes.end(self.now_ms());
    }

    /// The pass that is under way, and the last ones that somebody has asked for and that have ended, the last
    /// one first.
    #[must_use]
    pub fn passes(&self) -> (Option<Pass>, Vec<Pass>) {
        self.inner.space.passes.told()
    }

    /// How much is absent, and when windows go. It reads all spans of the view.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub(crate) async fn look(&self) -> Result<(), ViewError> {
        let looking = self.inner.space.looking.lock().await;
        self.look_alone().await?;
        drop(looking);
        Ok(())
    }

    async fn look_alone(&self) -> Result<Looked, ViewError> {
        self.inner.reads.applied(self.released()).await;
        let (classes, at_ms) = (Arc::clone(&self.inner.classes), self.judged_ms());
        let begun = Instant::now();
        let overview =
            self.inner.reads.run(move |view| overview(view, &[&*classes], at_ms, TOLD_MAX)).await?;
        let (at, overview) = (Instant::now(), Arc::new(overview));
        let looked = Looked { overview, at_ms, at, took: at - begun };
        *self.inner.space.looked.lock() = Some(looked.clone());
        Ok(looked)
    }

    /// What other classes would make absent of what is stored, and nothing is changed. It reads as much as a
    /// look: one at a time does, with a rest behind it as behind a look, and no look waits for it.
    ///
    /// # Errors
    /// When the view cannot be read; within that [`Busy`], when another one does it or has for long.
    pub async fn loss_by(&self, classes: Classes) -> Result<Result<Loss, Busy>, ViewError> {
        let Ok(mut tried) = self.inner.space.trying.try_lock() else {
            return Ok(Err(Busy { retry_after_ms: 0 }));
        };
        if let Some((ended, took)) = *tried {
            let rest = rest_left(took, ended.elapsed());
            if rest > TRY_WAIT_MAX {
                let retry_after_ms = u32::try_from(rest.as_millis()).unwrap_or(u32::MAX);
                return Ok(Err(Busy { retry_after_ms }));
            }
            tokio::time::sleep(rest).await;
        }
        self.inner.reads.applied(self.released()).await;
        let (former, now_ms) = (Arc::clone(&self.inner.classes), self.judged_ms());
        let begun = Instant::now();
        let loss = self.inner.reads.run(move |view| loss(view, &former, &classes, now_ms, TOLD_MAX)).await;
        *tried = Some((Instant::now(), begun.elapsed()));
        Ok(Ok(loss?))
    }

    /// The same of late: anew where that takes no time, else as it was seen last.
    ///
    /// # Errors
    /// When the view cannot be read.
    pub async fn looked(&self) -> Result<Looked, ViewError> {
        let _one_looks_for_all = self.inner.space.looking.lock().await;
        let looked = self.inner.space.looked.lock().clone();
        match looked.filter(Looked::will_do) {
            Some(looked) => Ok(looked),
            None => self.look_alone().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::frame::Durability;
    use quoth_store::Store;

    use super::*;
    use crate::engine::{Execution, SystemClock};

    #[tokio::test]
    async fn classes_are_tried_one_at_a_time_with_rests_and_hold_up_no_look() {
        let clock = Arc::new(SystemClock);
        let (engine, _stopper) =
            Engine::start(Store::memory(), Durability::Memory, clock, Execution::Threads);
        let space = &engine.inner.space;
        let mut tried = space.trying.lock().await;
        assert_eq!(engine.loss_by(Classes::default()).await.unwrap(), Err(Busy { retry_after_ms: 0 }));
        engine.look().await.unwrap();
        *tried = Some((Instant::now(), Duration::from_secs(60)));
        drop(tried);
        let busy = engine.loss_by(Classes::default()).await.unwrap().unwrap_err();
        assert!((60_000..=19 * 60_000).contains(&busy.retry_after_ms), "{busy:?}");
        *space.trying.lock().await = Some((Instant::now(), Duration::from_millis(1)));
        // A look under way does not hold it up either, nor does the end of a short rest.
        let _looking = space.looking.lock().await;
        assert_eq!(engine.loss_by(Classes::default()).await.unwrap(), Ok(Loss::default()));
        assert!(space.trying.lock().await.is_some_and(|(_, took)| took < Duration::from_secs(60)));
    }
}
