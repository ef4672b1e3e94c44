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
use std::sync::atomic::{AtomicUsize, Ordering};

use ::fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use ::fjall::{AbstractTree as _, Keyspace, LsmError};
use parking_lot::{Mutex, MutexGuard};

use super::FjallView;
use super::engine::{Engine, TABLE_BYTES};
use super::window::ClassWindow;
use crate::view::{Pacer, ViewError};

/// Bytes of rows between two calls of whoever paces it.
const STEP_BYTES: u64 = 128 * 1024;

/// Where nothing has to go, registers are worth a merge when so large a part of their rows says that one was
/// removed.
const REMOVED_PARTS: u64 = 8;

/// How all registers are merged at once.
#[derive(Default)]
pub(super) struct Purging {
    /// Held while registers are merged, all of them or some.
    merging: Mutex<()>,
    shared: Arc<Shared>,
}

/// What the filter knows.
#[derive(Default)]
struct Shared {
    /// How fast they are merged; `None` when not all of them are.
    pace: Mutex<Option<Pacer>>,
    /// Those who wait until nobody merges.
    waiting: AtomicUsize,
}

/// What a factory of filters is asked for by the engine: one for each tree that has any.
type FiltersOf = Arc<dyn Fn(&str) -> Option<Arc<dyn Factory>> + Send + Sync>;

struct Filters(Arc<Shared>);

/// Behind a panic there is nothing that is half done: who paces it is asked, and no more.
impl RefUnwindSafe for Filters {}

struct Paced {
    shared: Arc<Shared>,
    pace: Option<Pacer>,
    bytes: u64,
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
        let (shared, pace) = (Arc::clone(&self.0), self.0.pace.lock().clone());
        Box::new(Paced { shared, pace, bytes: 0 })
    }
}

impl CompactionFilter for Paced {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> Result<Verdict, LsmError> {
        let Some(pace) = &self.pace else { return Ok(Verdict::Keep) };
        self.bytes += (item.key().len() + item.value()?.len()) as u64;
        if self.bytes >= STEP_BYTES {
            // It is read and written.
            let goes_on = pace(2 * std::mem::take(&mut self.bytes));
            if !goes_on || self.shared.waiting.load(Ordering::SeqCst) > 0 {
                return Err(io::Error::other(Ended).into());
            }
        }
        Ok(Verdict::Keep)
    }
}

/// Whoever paces it has ended it, or somebody has to go first.
#[derive(Debug, thiserror::Error)]
#[error("it was ended")]
struct Ended;

fn has_ended(error: &LsmError) -> bool {
    matches!(error, LsmError::Io(error) if error.get_ref().is_some_and(|why| why.is::<Ended>()))
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
    pub(super) fn merge_registers(&self, pace: &Pacer) -> Result<bool, ViewError> {
        let _nobody_merges_them = self.purging.merging.lock();
        let tree = &self.registers.tree;
        let first_new = tree.get_next_table_id();
        *self.purging.shared.pace.lock() = Some(Arc::clone(pace));
        let merged = tree.major_compact(TABLE_BYTES, self.unneeded());
        *self.purging.shared.pace.lock() = None;
        if merged.as_ref().is_err_and(has_ended) {
            self.delete_unfinished(&self.registers, first_new)?;
            return Ok(false);
        }
        let merged = self.tree("merge tables of", merged);
        if merged.as_ref().is_err_and(ViewError::is_full) {
            self.delete_unfinished(&self.registers, first_new)?;
        }
        merged.map(|()| true)
    }
}

impl FjallView {
    /// See [`View::purge`](crate::View::purge).
    pub(super) fn purge_registers(&self, everything: bool, pace: &Pacer) -> Result<bool, ViewError> {
        let gone = self.erased_and_no_more()?;
        let tree = &self.engine.registers.tree;
        let is_swept = self.has_swept.load(Ordering::SeqCst);
        let is_much = || tree.tombstone_count() * REMOVED_PARTS >= tree.approximate_len() as u64;
        if gone.is_empty() && !(is_swept && (everything || is_much())) {
            return Ok(true);
        }
        // What is swept from here on is for the next one.
        self.has_swept.store(false, Ordering::SeqCst);
        let purged = self.write_registers_anew(!gone.is_empty(), pace);
        if !matches!(purged, Ok(true)) {
            self.has_swept.fetch_or(is_swept, Ordering::SeqCst);
            return purged;
        }
        if self.forget(|window, _| gone.contains(&window)) {
            self.flush_all(&mut self.checkpoint.lock())?;
        }
        Ok(true)
    }

    fn write_registers_anew(&self, always: bool, pace: &Pacer) -> Result<bool, ViewError> {
        // What was removed, and what it had, may be in memory. A read would have a merge keep it.
        self.flush_all(&mut self.checkpoint.lock())?;
        if !self.engine.wait_for_reads() {
            return Ok(false);
        }
        if always || self.engine.registers.tree.tombstone_count() > 0 {
            let merged = self.engine.merge_registers(pace);
            // Tables may have gathered that nobody has merged meanwhile.
            self.compactor.wake();
            if !merged? {
                return Ok(false);
            }
        }
        self.engine.free_files()
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use ::fjall::AbstractTree as _;
    use quoth_protocol::{ConversationName, Seq};

    use super::super::FjallView;
    use crate::log::Position;
    use crate::record::{Record, Register};
    use crate::testing::{notice, record, removed, set, unpaced};
    use crate::view::{Keep, Pacer, Rewrite, SweepCursor, View as _};

    /// Registers of which all together are some steps of a merge.
    const REGISTERS: u64 = 8;
    const VALUE_BYTES: usize = 60_000;

    fn open(dir: &Path) -> FjallView {
        FjallView::open(dir, 1 << 20).unwrap()
    }

    fn name() -> ConversationName {
        ConversationName::new("a").unwrap()
    }

    fn write(view: &FjallView, registers: Vec<Register>) {
        view.apply(view.applied().next(), &[notice("a", registers)]).unwrap();
        view.flush().unwrap();
    }

    /// A view with registers of which one was removed.
    fn view(dir: &Path) -> FjallView {
        let view = open(dir);
        let value = "v".repeat(VALUE_BYTES);
        (0..REGISTERS).for_each(|n| write(&view, vec![set(&format!("key {n}"), &value)]));
        write(&view, vec![set("secret", SECRET)]);
        write(&view, vec![removed("secret")]);
        view
    }

    const SECRET: &str = "Zq7#kV!p2^Lm9@wB";

    fn is_on_disk(view: &FjallView) -> bool {
        let files = std::fs::read_dir(tables(view)).unwrap().map(|file| std::fs::read(file.unwrap().path()));
        files.map(Result::unwrap).any(|file| file.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()))
    }

    fn tables(view: &FjallView) -> std::path::PathBuf {
        view.engine.registers.tree.tree_config().path.join("tables")
    }

    fn numbers(view: &FjallView) -> Vec<u64> {
        view.engine.registers.tree.current_version().iter_tables().map(|table| table.id()).collect()
    }

    #[test]
    fn what_was_removed_leaves_the_disk_and_what_ends_it_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let (before, files) = (numbers(&view), std::fs::read_dir(tables(&view)).unwrap().count());
        let never: Pacer = Arc::new(|_| false);
        assert!(!view.purge(true, &never).unwrap(), "it was ended");
        assert_eq!(numbers(&view), before);
        assert_eq!(std::fs::read_dir(tables(&view)).unwrap().count(), files, "nothing of it stays");
        assert!(is_on_disk(&view));
        assert!(view.purge(true, &unpaced()).unwrap());
        assert!(!is_on_disk(&view));
        let after = numbers(&view);
        assert!(view.purge(true, &unpaced()).unwrap());
        assert_eq!(numbers(&view), after, "there is nothing to do");
        let value = view.register(&name(), b"key 3").unwrap().unwrap();
        assert_eq!(value.len(), VALUE_BYTES);
    }

    #[test]
    fn little_that_was_removed_is_not_worth_a_merge() {
        let dir = tempfile::tempdir().unwrap();
        let view = open(dir.path());
        let many = (0..50).map(|n| set(&format!("key {n}"), "value")).collect();
        write(&view, many);
        write(&view, vec![removed("key 1")]);
        let before = numbers(&view);
        assert!(view.purge(false, &unpaced()).unwrap());
        assert_eq!(numbers(&view), before, "one in fifty");
        write(&view, (2..12).map(|n| removed(&format!("key {n}"))).collect());
        let before = numbers(&view);
        assert!(view.purge(false, &unpaced()).unwrap());
        assert_ne!(numbers(&view), before, "eleven are");
    }

    /// What was erased is told to be there until registers have nothing of it either.
    #[test]
    fn what_was_erased_counts_until_registers_are_purged() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let event = |seq| Record { ends_window: true, ..record("a", seq, seq) };
        let at = view.applied();
        view.apply(at.next(), &[event(1)]).unwrap();
        view.apply(at.next().next(), &[Record { erases: vec![Seq(1)], ..event(2) }]).unwrap();
        view.flush().unwrap();
        let rewrite = || {
            let mut rewrite =
                Rewrite { now_ms: 1, erased_by_ms: u64::MAX, ends_small: false, pace: &mut |_| true };
            view.rewrite(&mut |_| Ok(Keep::default()), &mut rewrite).unwrap().windows
        };
        let before = numbers(&view);
        assert!(rewrite() > 0);
        assert_eq!((rewrite(), view.erased().events), (0, 1), "it is done, and tells of it still");
        assert_eq!(numbers(&view), before, "rewriting merges no registers");
        // However little it is.
        assert!(view.purge(false, &unpaced()).unwrap());
        assert_eq!(view.erased().events, 0);
        assert!(!is_on_disk(&view));
        drop(view);
        assert_eq!(open(dir.path()).erased().events, 0);
    }

    /// Goes on until it has gone on for once, and then when it is let.
    struct Held {
        pace: Pacer,
        held: mpsc::Receiver<()>,
        goes_on: mpsc::Sender<()>,
    }

    fn held() -> Held {
        let ((is_held, held), (goes_on, wait)) = (mpsc::channel(), mpsc::channel::<()>());
        let wait = parking_lot::Mutex::new(wait);
        let pace: Pacer = Arc::new(move |_| {
            let _nobody_asks_any_more = is_held.send(());
            // From the drop of the other end on it is not held.
            let _let = wait.lock().recv();
            true
        });
        Held { pace, held, goes_on }
    }

    const HANG: Duration = Duration::from_secs(60);

    #[test]
    fn nobody_waits_until_all_registers_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(&dir.path().join("live"));
        let Held { pace, held, goes_on } = held();
        std::thread::scope(|scope| {
            let purging = scope.spawn(|| view.purge(true, &pace).unwrap());
            held.recv_timeout(HANG).unwrap();
            let others = scope.spawn(|| {
                // A backup.
                let pin = dir.path().join("pin");
                view.pin(&pin).unwrap();
                let pinned = FjallView::open_copy(&pin, 1 << 20).unwrap().unwrap();
                assert_eq!(pinned.register(&name(), b"key 3").unwrap().unwrap().len(), VALUE_BYTES);
                // Whoever stores: more tables than one otherwise waits for.
                (0..30).for_each(|n| write(&view, vec![set("key", &format!("value {n}"))]));
                // Who frees what others have, and who sweeps.
                assert!(view.engine.free_files().unwrap());
                assert!(view.sweep(true, &mut SweepCursor::default(), &mut |_| true).unwrap().is_done);
            });
            let until = Instant::now() + HANG;
            while !others.is_finished() {
                assert!(Instant::now() < until, "somebody waits");
                std::thread::sleep(Duration::from_millis(1));
            }
            others.join().unwrap();
            assert!(!purging.is_finished());
            drop(goes_on);
            assert!(purging.join().unwrap());
        });
        assert_eq!(view.register(&name(), b"key").unwrap().as_deref(), Some(&b"value 29"[..]));
        assert!(!is_on_disk(&view));
    }

    /// A flush that found no room deletes what it has begun, and so nobody may merge meanwhile.
    #[test]
    fn who_must_find_nobody_merging_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let Held { pace, held, goes_on } = held();
        std::thread::scope(|scope| {
            let purging = scope.spawn(|| view.purge(true, &pace).unwrap());
            held.recv_timeout(HANG).unwrap();
            let ends = scope.spawn(|| {
                let (_nobody_merges, them) = view.engine.nobody_merges(&view.engine.registers);
                assert!(them.is_some());
            });
            // It waits by then.
            while view.engine.purging.shared.waiting.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            drop(goes_on);
            assert!(!purging.join().unwrap(), "it was ended");
            ends.join().unwrap();
        });
        assert!(view.purge(true, &unpaced()).unwrap() && !is_on_disk(&view));
    }

    /// The manifest that a pin has, and the tables that it links, are of one version.
    #[test]
    fn a_pin_is_whole_whenever_a_merge_comes_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(&dir.path().join("live"));
        std::thread::scope(|scope| {
            // It merges until the other end is dropped.
            let (goes_on, ended) = mpsc::channel::<()>();
            scope.spawn(|| {
                let ended = ended;
                while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    view.engine.merge_registers(&unpaced()).unwrap();
                    view.engine.free_files().unwrap();
                }
            });
            let _merging = goes_on;
            for n in 0..30 {
                let pin = dir.path().join(format!("pin-{n}"));
                view.pin(&pin).unwrap();
                let pinned = FjallView::open_copy(&pin, 1 << 20).unwrap().unwrap();
                let value = pinned.register(&name(), b"key 3").unwrap();
                assert_eq!(value.map(|value| value.len()), Some(VALUE_BYTES));
                assert_eq!(pinned.applied(), Position(REGISTERS + 2));
            }
        });
    }
}
