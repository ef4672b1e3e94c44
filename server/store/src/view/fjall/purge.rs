//! Takes from the disk what registers have held that were replaced or removed.
//!
//! Merges are of some tables each, and leave such values for as long as they like. The engine has one way
//! that leaves none: it writes all of a tree anew, in one call, which takes as long as there are registers.
//! So nobody waits for that: other trees are merged meanwhile, flushes go on, and a pin has the tables of
//! before or those behind it. It goes at a pace by a filter, which is the engine's way to look at the rows of
//! merges: it leaves all of them as they are, waits, and ends the merge when it is told to. What has ended
//! early has done nothing, and nothing of it stays.

use std::collections::BTreeSet;
use std::io;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use ::fjall::{AbstractTree as _, Keyspace, LsmError};
use parking_lot::{Mutex, MutexGuard};

use super::FjallView;
use super::compactor::UNMERGED_MAX;
use super::engine::{Engine, TABLE_BYTES, UNMERGED_MIN};
use super::pin::Until;
use super::unfinished::Attempt;
use super::window::ClassWindow;
use crate::view::{Pacer, Purged, ViewError};

/// Bytes of rows between two calls of whoever paces it.
const STEP_BYTES: u64 = 128 * 1024;

/// Where nothing has to go, registers are worth a merge when so large a part of their rows says that one was
/// removed.
const REMOVED_PARTS: u64 = 8;

/// So large a part of what registers take more has to be free before all of them are written anew: others
/// store something meanwhile.
const MORE_PARTS: u64 = 8;

/// With so many tables that came since, the merge of all registers ends, for nothing: behind it flushes wait
/// until these are merged, and publishers for flushes. Each time it ends so, twice as many may come to the next
/// one: a long wait is less harm than a merge that is begun for ever.
const OVERTAKEN_AT: usize = 4 * UNMERGED_MAX;

/// So often it is twice as many at most, which no merge comes to.
const DOUBLED_MAX: u32 = 16;

/// How long is waited for a read, about: a walk through all conversations is one, at the pace of rewriting.
const READS_END_WAIT: Duration = Duration::from_secs(60);

/// How all registers are merged at once.
#[derive(Default)]
pub(super) struct Purging {
    /// Held while registers are merged, all of them or some.
    merging: Mutex<()>,
    shared: Arc<Shared>,
    /// How often all of them were overtaken since they came to their end.
    overtaken: AtomicU32,
}

/// Old files were let go that had what was erased, and pins may have them still.
pub(super) struct Freed {
    /// In which windows, of which nothing else is on the disk.
    gone: BTreeSet<ClassWindow>,
    /// Those pins.
    until: Until,
}

/// Is told of bytes that were read and written, and waits as it likes, or ends the merge.
type GoesOn = Arc<dyn Fn(u64) -> Result<(), Ended> + Send + Sync>;

/// What the filter knows.
#[derive(Default)]
struct Shared {
    /// How fast they are merged; `None` when not all of them are.
    pace: Mutex<Option<GoesOn>>,
    /// Those who wait until nobody merges.
    waiting: AtomicUsize,
}

/// What a factory of filters is asked for by the engine: one for each tree that has any.
type FiltersOf = Arc<dyn Fn(&str) -> Option<Arc<dyn Factory>> + Send + Sync>;

struct Filters(Arc<Shared>);

/// Behind a panic there is nothing that is half done: who paces it is asked, and no more.
impl RefUnwindSafe for Filters {}

struct Paced {
    pace: Option<GoesOn>,
    bytes: u64,
}

/// All registers are merged until it is dropped.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared, pace: GoesOn) -> Self {
        *shared.pace.lock() = Some(pace);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.pace.lock() = None;
    }
}

impl Purging {
    /// The filters of a database, of which one tree has any.
    pub(super) fn filters_of(&self, tree: &'static str) -> FiltersOf {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |name| {
            (name == tree).then(|| Arc::new(Filters(Arc::clone(&shared))) as Arc<dyn Factory>)
        })
    }

    /// Whether all registers are merged at the moment.
    pub(super) fn is_under_way(&self) -> bool {
        self.shared.pace.lock().is_some()
    }

    /// For who merges some of them; `None` while somebody else merges.
    pub(super) fn try_merge(&self) -> Option<MutexGuard<'_, ()>> {
        self.merging.try_lock()
    }

    /// Ends what is under way, and keeps others from merging.
    fn end(&self) -> MutexGuard<'_, ()> {
        self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        let nobody_merges = self.merging.lock();
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
        nobody_merges
    }
}

impl Factory for Filters {
    fn name(&self) -> &'static str {
        "pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Paced { pace: self.0.pace.lock().clone(), bytes: 0 })
    }
}

impl CompactionFilter for Paced {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> Result<Verdict, LsmError> {
        let Some(pace) = &self.pace else { return Ok(Verdict::Keep) };
        self.bytes += (item.key().len() + item.value()?.len()) as u64;
        if self.bytes >= STEP_BYTES {
            // It is read and written.
            pace(2 * std::mem::take(&mut self.bytes)).map_err(io::Error::other)?;
        }
        Ok(Verdict::Keep)
    }
}

/// Why a merge was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Ended {
    /// Whoever paces it has ended it, or somebody has to go first.
    #[error("it was ended")]
    Wanted,
    /// Those that came since are too many.
    #[error("more registers are written than can be merged meanwhile")]
    Overtaken,
}

/// They would take what others need.
#[derive(Debug, thiserror::Error)]
#[error("the disk has less than {needed} bytes beside the reserve")]
struct NoRoom {
    needed: u64,
}

fn why_ended(error: &LsmError) -> Option<Ended> {
    let LsmError::Io(error) = error else { return None };
    error.get_ref()?.downcast_ref().copied()
}

impl Engine {
    /// Whether these are the registers, which may be merged while other trees are.
    pub(super) fn is_registers(&self, keyspace: &Keyspace) -> bool {
        std::ptr::eq(keyspace, &raw const self.registers)
    }

    /// Keeps all from merging, also all registers at once where the tree is theirs.
    pub(super) fn nobody_merges(
        &self,
        keyspace: &Keyspace,
    ) -> (MutexGuard<'_, ()>, Option<MutexGuard<'_, ()>>) {
        let merging = self.merging.lock();
        (merging, self.is_registers(keyspace).then(|| self.purging.end()))
    }

    /// Merges all tables of the registers, so that nothing is left of values that were replaced or removed,
    /// but for those that a read needs; says whether it was let come to its end.
    ///
    /// # Errors
    /// When the engine fails, or so many tables came since that others would wait for them.
    pub(super) fn merge_registers(&self, pace: &Pacer) -> Result<bool, ViewError> {
        const ACTION: &str = "merge all registers of";
        let _nobody_merges_them = self.purging.merging.lock();
        let tree = &self.registers.tree;
        let attempt = Attempt::alone(&self.registers);
        let under_way = UnderWay::new(&self.purging.shared, self.paced(pace));
        let merged = tree.major_compact(TABLE_BYTES, self.unneeded());
        drop(under_way);
        if let Some(ended) = merged.as_ref().err().and_then(why_ended) {
            self.delete_unfinished(&self.registers, attempt)?;
            return match ended {
                Ended::Wanted => Ok(false),
                Ended::Overtaken => {
                    self.purging.overtaken.fetch_add(1, Ordering::SeqCst);
                    Err(self.failed(ACTION, ended.to_string()))
                }
            };
        }
        let merged = self.tree(ACTION, merged);
        if merged.as_ref().is_err_and(ViewError::is_full) {
            self.delete_unfinished(&self.registers, attempt)?;
        }
        merged?;
        self.purging.overtaken.store(0, Ordering::SeqCst);
        Ok(true)
    }

    /// Has a merge of all registers go at a pace, and end when somebody has to go first or the reserve is
    /// needed, which is for what frees more.
    fn paced(&self, pace: &Pacer) -> GoesOn {
        let (pace, reserve) = (Arc::clone(pace), Arc::clone(&self.reserve));
        let (shared, tree) = (Arc::clone(&self.purging.shared), self.registers.tree.clone());
        // Those that are there take part in it.
        let before = tree.l0_run_count();
        let doubled = self.purging.overtaken.load(Ordering::SeqCst).min(DOUBLED_MAX);
        let (unmerged_max, end_at) = (before + usize::from(UNMERGED_MIN), before + (OVERTAKEN_AT << doubled));
        Arc::new(move |bytes| {
            let must_end = || shared.waiting.load(Ordering::SeqCst) > 0 || !reserve.is_held();
            // Tables that came since pile up until it has ended, and each read looks into all of them.
            let may_wait = || !must_end() && tree.l0_run_count() < unmerged_max;
            if !pace(bytes, &may_wait) || must_end() {
                return Err(Ended::Wanted);
            }
            if tree.l0_run_count() < end_at { Ok(()) } else { Err(Ended::Overtaken) }
        })
    }

    /// Fails when the disk has no room for all registers beside themselves, and for what is stored meanwhile.
    fn must_have_room(&self) -> Result<(), ViewError> {
        let (tree, dir) = (&self.registers.tree, &self.registers.tree.tree_config().path);
        let needed = tree.disk_space() + tree.disk_space() / MORE_PARTS;
        let failed = |error| ViewError::io("write all registers anew in", dir)(error);
        if self.reserve.has_room(dir, needed).map_err(failed)? {
            return Ok(());
        }
        Err(failed(io::Error::new(io::ErrorKind::StorageFull, NoRoom { needed })))
    }
}

impl FjallView {
    /// See [`View::purge`](crate::View::purge).
    pub(super) fn purge_registers(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError> {
        self.left_pins.delete();
        let waiting = self.forget_freed()?;
        // What waits for pins alone is written. Others are not, which a backup of hours must not hold up.
        let mut gone = self.erased_and_no_more()?;
        gone.retain(|window| !waiting.contains(window));
        let tree = &self.engine.registers.tree;
        let is_swept = self.has_swept.load(Ordering::SeqCst);
        let is_much = || tree.tombstone_count() * REMOVED_PARTS >= tree.approximate_len() as u64;
        let is_merged = self.merged.lock().as_ref().is_some_and(|merged| gone.is_subset(merged));
        let is_wanted = is_merged || everything || !gone.is_empty() || (is_swept && is_much());
        if !is_wanted {
            return Ok(if waiting.is_empty() { Purged::Done } else { Purged::Unfinished });
        }
        // What waits for reads alone is not written once more.
        if !is_merged || everything {
            // What is swept from here on is for the next one.
            self.has_swept.store(false, Ordering::SeqCst);
            let written = self.write_registers_anew(!is_merged && !gone.is_empty(), pace);
            if !matches!(written, Ok(true)) {
                self.has_swept.fetch_or(is_swept, Ordering::SeqCst);
                return written.map(|_| Purged::Unfinished);
            }
            *self.merged.lock() = Some(gone.clone());
        }
        if !wait(pace, || self.engine.free_files())? {
            return Ok(Purged::Written);
        }
        *self.merged.lock() = None;
        let until = self.pins.until_now();
        if !gone.is_empty() && self.pins.has_any(until) {
            self.freed.lock().push(Freed { gone, until });
            return Ok(Purged::Written);
        }
        self.forget_gone(&gone)?;
        Ok(if waiting.is_empty() { Purged::Done } else { Purged::Written })
    }

    /// Does not count any more what was erased in windows of which pins had the last that is on the disk.
    /// Gives those of which they have something still.
    fn forget_freed(&self) -> Result<BTreeSet<ClassWindow>, ViewError> {
        let (mut ended, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for Freed { gone, until } in &*self.freed.lock() {
            let windows = if self.pins.has_any(*until) { &mut waiting } else { &mut ended };
            windows.extend(gone);
        }
        if ended.is_empty() {
            return Ok(waiting);
        }
        // What a pin was the last to have in the view's own folder is deleted here.
        if !self.engine.free_files()? {
            waiting.append(&mut ended);
            return Ok(waiting);
        }
        self.forget_gone(&ended)?;
        self.freed.lock().retain(|freed| !freed.gone.is_subset(&ended));
        Ok(waiting)
    }

    /// Does not count any more what was erased in windows of which nothing is on the disk.
    fn forget_gone(&self, gone: &BTreeSet<ClassWindow>) -> Result<(), ViewError> {
        if self.forget(|window, _| gone.contains(&window)) {
            self.flush_all(&mut self.flushed.lock())?;
        }
        Ok(())
    }

    fn write_registers_anew(&self, always: bool, pace: &Pacer) -> Result<bool, ViewError> {
        // What was removed, and what it had, may be in memory.
        self.flush_all(&mut self.flushed.lock())?;
        if !always && self.engine.registers.tree.tombstone_count() == 0 {
            return Ok(true);
        }
        self.engine.must_have_room()?;
        // A read would have the merge keep it.
        if !wait(pace, || Ok(self.engine.wait_for_reads()))? {
            return Ok(false);
        }
        let merged = self.engine.merge_registers(pace);
        // Tables may have gathered that nobody has merged meanwhile.
        self.compactor.wake();
        merged
    }

    /// The windows that had what was erased and of which nothing is on the disk. What registers held of it
    /// may be.
    fn erased_and_no_more(&self) -> Result<BTreeSet<ClassWindow>, ViewError> {
        let erased: BTreeSet<_> = {
            let writing = self.writing.lock();
            let erased = writing.tallies.iter().filter(|(_, tally)| tally.due_since_ms().is_some());
            erased.map(|(window, _)| window).collect()
        };
        if erased.is_empty() {
            return Ok(erased);
        }
        let (closed, alive) = (self.closed(), self.windows_with_spans()?);
        Ok(erased
            .into_iter()
            .filter(|window| self.is_no_more(*window, alive.contains(window), &closed))
            .collect())
    }
}

/// Tries again and again what a read holds up, for as long as that may last.
fn wait(pace: &Pacer, is_so: impl Fn() -> Result<bool, ViewError>) -> Result<bool, ViewError> {
    let until = Instant::now() + READS_END_WAIT;
    loop {
        if is_so()? {
            return Ok(true);
        }
        if !pace(0, &|| false) || Instant::now() >= until {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests;
