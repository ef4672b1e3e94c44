//! Merges fjall's tables, on a thread of its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use ::fjall::{AbstractTree as _, Keyspace, LsmError};
use parking_lot::{Condvar, Mutex};

use super::engine::{Engine, UNMERGED_MIN};
use super::unfinished::Attempt;
use crate::room::RETRY_PAUSE;
use crate::thread::panic_text;
use crate::view::ViewError;

/// Tables, one above the other, that a flush may leave unmerged; with more it waits. A read looks into each
/// of them. fjall slows its writers down at as many.
pub(super) const UNMERGED_MAX: usize = 20;

/// The thread that merges tables.
pub(super) struct Compactor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Compactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compactor").finish_non_exhaustive()
    }
}

struct Shared {
    engine: Arc<Engine>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// There are new tables.
    due: bool,
    stop: bool,
    /// The last merge found no room on the disk.
    no_room: Option<ViewError>,
    failed: Option<ViewError>,
}

impl Compactor {
    /// Starts the thread. It waits for [`Compactor::wake`].
    pub(super) fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { engine, state: Mutex::default(), changed: Condvar::new() });
        let runs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("quoth-compactor".to_owned()).spawn(move || runs.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// There are new tables.
    pub(super) fn wake(&self) {
        self.shared.state.lock().due = true;
        self.shared.changed.notify_all();
    }

    /// Waits until there are few enough unmerged tables for another one.
    ///
    /// # Errors
    /// When merging has failed, or waits for room on the disk itself.
    pub(super) fn wait_for_room(&self) -> Result<(), ViewError> {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if self.shared.unmerged() < UNMERGED_MAX {
                return Ok(());
            }
            if let Some(error) = &state.no_room {
                return Err(error.clone());
            }
            // Tables of an earlier start may wait, of which nobody has told the thread.
            state.due = true;
            self.shared.changed.notify_all();
            self.shared.changed.wait(&mut state);
        }
    }
}

impl Drop for Compactor {
    /// Waits for the merge that is under way.
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that merges the view's tables panicked");
        }
    }
}

impl Shared {
    fn unmerged(&self) -> usize {
        // While all registers are merged nobody waits for that: their tables are merged behind it.
        let counts =
            |keyspace: &&Keyspace| !self.engine.is_registers(keyspace) || !self.engine.purging.is_under_way();
        let unmerged = |keyspace: &Keyspace| keyspace.tree.l0_run_count();
        self.engine.keyspaces().filter(counts).map(unmerged).max().unwrap_or_default()
    }

    fn run(&self) {
        let merged = catch_unwind(AssertUnwindSafe(|| {
            while self.wait_for_work() {
                match self.merge_all() {
                    Err(error) if error.is_full() => self.wait_for_disk(error),
                    merged => {
                        merged?;
                        self.state.lock().no_room = None;
                    }
                }
                self.notify();
            }
            Ok(())
        }));
        if let Err(error) =
            merged.unwrap_or_else(|panic| Err(self.engine.failed("merge tables of", panic_text(&*panic))))
        {
            tracing::error!(%error, "the view's tables are not merged any more");
            self.state.lock().failed = Some(error);
            self.changed.notify_all();
        }
    }

    /// Wakes who waits for room. Whoever has counted the tables before is waiting by then, since it counts
    /// under the lock.
    fn notify(&self) {
        drop(self.state.lock());
        self.changed.notify_all();
    }

    /// Waits for a moment in which somebody may make room on the disk.
    fn wait_for_disk(&self, error: ViewError) {
        let mut state = self.state.lock();
        if state.no_room.is_none() {
            tracing::error!(%error, "the view's tables wait to be merged for room");
        }
        (state.no_room, state.due) = (Some(error), true);
        self.changed.notify_all();
        let retry_at = Instant::now() + RETRY_PAUSE;
        while !state.stop && !self.changed.wait_until(&mut state, retry_at).timed_out() {}
    }

    /// `false` when the thread is to end.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        while !state.due && !state.stop {
            self.changed.wait(&mut state);
        }
        state.due = false;
        !state.stop
    }

    /// Merges each tree that has enough new tables, until none of its levels is too large. They take turns,
    /// so that a busy one holds up no other.
    fn merge_all(&self) -> Result<(), ViewError> {
        let mut has_changed: Vec<_> = self.engine.keyspaces().map(|_| false).collect();
        loop {
            for (keyspace, has_changed) in self.engine.keyspaces().zip(&mut has_changed) {
                if self.state.lock().stop {
                    return Ok(());
                }
                let is_due = *has_changed || keyspace.tree.l0_run_count() >= usize::from(UNMERGED_MIN);
                *has_changed = is_due && self.merge(keyspace)?;
            }
            if !has_changed.contains(&true) {
                return Ok(());
            }
        }
    }

    /// Does what is most urgent in a tree, if anything is; says whether.
    fn merge(&self, keyspace: &Keyspace) -> Result<bool, ViewError> {
        const ACTION: &str = "merge tables of";
        let _merging = self.engine.merging.lock();
        let merging_them = self.engine.is_registers(keyspace).then(|| self.engine.purging.try_merge());
        if matches!(merging_them, Some(None)) {
            return Ok(false);
        }
        let (before, attempt) = (keyspace.tree.current_version().id(), Attempt::alone(keyspace));
        let compaction = Arc::clone(&self.engine.compaction);
        let merged = keyspace.tree.compact(compaction as _, self.engine.unneeded());
        if let Err(LsmError::ChecksumMismatch { .. }) = merged
            && let Some(damaged) = self.engine.damaged_tables(&mut |_| {}).into_iter().next()
        {
            return Err(damaged);
        }
        let merged = self.engine.tree(ACTION, merged);
        if merged.as_ref().is_err_and(ViewError::is_full) {
            self.engine.delete_unfinished(keyspace, attempt)?;
        }
        merged?;
        self.notify();
        let has_changed = keyspace.tree.current_version().id() != before;
        if !has_changed && keyspace.tree.l0_run_count() >= UNMERGED_MAX {
            let what = "the engine finds nothing to merge among too many tables".to_owned();
            return Err(self.engine.failed(ACTION, what));
        }
        Ok(has_changed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::fjall::AbstractTree as _;

    use super::super::engine::Batch;
    use super::{Compactor, Engine, UNMERGED_MAX, UNMERGED_MIN};
    use crate::class::Class;

    /// Each table has the same keys, so a table is never below another one without a merge.
    #[test]
    fn a_flush_finds_room_and_what_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Engine::open(dir.path(), &dir.path().join("engine"), true, 1 << 20).unwrap());
        let messages = engine.messages(Class::default());
        let compactor = Compactor::start(Arc::clone(&engine)).unwrap();
        let add_table = |value: &str| {
            let mut batch = Batch::default();
            batch.insert(messages, "a", value);
            batch.insert(messages, "z", value);
            engine.write(batch);
            engine.flush(engine.cut(false)).unwrap();
        };
        (0..UNMERGED_MAX).for_each(|table| add_table(&format!("value {table}")));
        assert_eq!(messages.tree.l0_run_count(), UNMERGED_MAX, "nobody has told the thread yet");
        compactor.wait_for_room().unwrap();
        assert!(messages.tree.l0_run_count() < usize::from(UNMERGED_MIN));
        assert!(
            messages.tree.version_free_list_len() < usize::from(UNMERGED_MIN),
            "old versions are not kept"
        );
        for table in std::fs::read_dir(messages.path().join("tables")).unwrap() {
            std::fs::remove_file(table.unwrap().path()).unwrap();
        }
        (0..UNMERGED_MAX).for_each(|table| add_table(&format!("another {table}")));
        let error = compactor.wait_for_room().unwrap_err().to_string();
        assert!(error.contains("merge tables of"), "{error}");
    }
}
