//! The folder of segments, and the thread that prepares the next one and deletes old ones.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::super::{LogError, Position};
use crate::durable::{sync_all, sync_dir};
use crate::reserve::Reserve;
use crate::room::RETRY_PAUSE;

/// A segment of the log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) first: Position,
    pub(super) path: PathBuf,
}

impl Segment {
    pub(super) fn new(dir: &Path, first: Position) -> Self {
        Self { first, path: dir.join(format!("{:020}.log", first.0)) }
    }
}

/// The segments in a folder, oldest first.
pub(super) fn list(dir: &Path) -> Result<Vec<Segment>, LogError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let name = entry.map_err(LogError::io("list", dir))?.file_name();
        let first =
            name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|name| name.parse().ok());
        segments.extend(first.map(|first| Segment::new(dir, Position(first))));
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Length of a segment, at most, that is prepared while the reserve is not held, in bytes: what is left of
/// its space is to go far. That of the smallest segment that a server is configured with; so it has room for
/// any group that frees space.
const SHORT_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Ends the name of a file that is being prepared.
const SPARE_SUFFIX: &str = ".spare";

/// A file with its space allocated, which becomes a segment by being renamed.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Spare {
    /// Creates a file that reads as zeros. Its space is allocated but not written: writing the zeros too
    /// would make an append a few microseconds faster in the median and several times slower at its 99th
    /// percentile, as it doubles what the disk has to write.
    pub(super) fn create(path: PathBuf, bytes: u64, reserve: &Reserve) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(LogError::io("create", &path))?;
        // Asked first: an attempt that fails has taken all that others had left for a moment.
        let has_room = reserve.free_bytes(&file) >= bytes;
        let allocated =
            if has_room { allocate(&file, bytes) } else { Err(io::ErrorKind::StorageFull.into()) };
        allocated.map_err(LogError::io("allocate space for", &path))?;
        sync_all(&file, &path).map_err(LogError::io("sync", &path))?;
        Ok(Self { file, path, bytes })
    }
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // Not every file system can; there the appends allocate the space.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what a keeper that was killed has left.
pub(super) fn delete_spares(dir: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))? {
        let path = entry.map_err(LogError::io("list", dir))?.path();
        if path.to_str().is_some_and(|path| path.ends_with(SPARE_SUFFIX)) {
            fs::remove_file(&path).map_err(LogError::io("delete", &path))?;
        }
    }
    Ok(())
}

/// Prepares segments ahead and deletes old ones, on a thread of its own.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    segment_bytes: u64,
    reserve: Arc<Reserve>,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug)]
struct Work {
    spare: Option<Spare>,
    /// Somebody has need of one since the last one was prepared.
    is_wanted: bool,
    /// Why the last attempt to prepare a segment failed, until the next one.
    failure: Option<LogError>,
    /// Whether the operator was told that none can be prepared.
    is_told: bool,
    /// Oldest first.
    delete: VecDeque<PathBuf>,
    /// The first group of those that were to be deleted, until that is durable.
    first_stored: Option<Position>,
    /// Whether the first of them could not be deleted, or that is not durable, until the next attempt.
    is_stuck: bool,
    /// When what failed is tried again.
    retry_at: Instant,
    stop: bool,
}

enum Task {
    Delete(PathBuf),
    /// Makes durable that all are deleted.
    Settle,
    Prepare,
}

impl Keeper {
    pub(super) fn start(dir: &Path, segment_bytes: u64, reserve: Arc<Reserve>) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::new(dir, segment_bytes, reserve));
        let thread = std::thread::Builder::new()
            .name("quoth-log-keeper".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run()
            })
            .map_err(LogError::io("start the thread that prepares segments in", dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the prepared file, which has at least so many bytes; waits for it when it is not ready. When the
    /// last attempt to prepare one failed, there is another one first, since its cause may have passed.
    pub(super) fn take_spare(&self, bytes_min: u64) -> Result<Spare, LogError> {
        let mut work = self.shared.work.lock();
        work.failure = None;
        loop {
            let taken = work.spare.take();
            work.is_wanted = taken.is_none();
            self.shared.changed.notify_all();
            match taken {
                Some(spare) if spare.bytes >= bytes_min => return Ok(spare),
                // It was prepared for want of room.
                Some(spare) if !self.shared.reserve.is_held() => {
                    let full = io::ErrorKind::StorageFull.into();
                    let error = LogError::io("allocate space for", &spare.path)(full);
                    work.spare = Some(spare);
                    return Err(error);
                }
                Some(spare) => {
                    work.is_wanted = true;
                    fs::remove_file(&spare.path).map_err(LogError::io("delete", &spare.path))?;
                }
                None => {}
            }
            if let Some(error) = &work.failure {
                return Err(error.clone());
            }
            self.shared.changed.wait(&mut work);
        }
    }

    /// Whether a file is prepared. Waits for an attempt that is under way, and causes none.
    pub(super) fn check_spare(&self) -> Result<(), LogError> {
        let mut work = self.shared.work.lock();
        loop {
            if work.spare.is_some() {
                return Ok(());
            }
            if let Some(error) = &work.failure {
                return Err(error.clone());
            }
            self.shared.changed.wait(&mut work);
        }
    }

    /// Has segments deleted, which come in their order.
    pub(super) fn delete(&self, segments: impl IntoIterator<Item = Segment>) {
        let mut work = self.shared.work.lock();
        for Segment { first, path } in segments {
            work.first_stored.get_or_insert(first);
            work.delete.push_back(path);
        }
        drop(work);
        self.shared.changed.notify_all();
    }

    /// The first group of which something may be on the disk: of what is to be deleted, or `first`, the one of
    /// what is not, asked for before this. Whatever is freed comes here before it is no more there.
    pub(super) fn first_stored(&self, first: Position) -> Position {
        self.shared.work.lock().first_stored.map_or(first, |stored| stored.min(first))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.work.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(dir = %self.shared.dir.display(), "the thread that prepares log segments panicked");
        }
    }
}

impl Shared {
    fn new(dir: &Path, segment_bytes: u64, reserve: Arc<Reserve>) -> Self {
        let work = Work {
            spare: None,
            is_wanted: false,
            failure: None,
            is_told: false,
            delete: VecDeque::new(),
            first_stored: None,
            is_stuck: false,
            retry_at: Instant::now(),
            stop: false,
        };
        Self { dir: dir.to_owned(), segment_bytes, reserve, work: Mutex::new(work), changed: Condvar::new() }
    }

    fn run(&self) {
        let mut number = 1_u64;
        while let Some(task) = self.next_task() {
            match task {
                Task::Delete(path) => self.delete(path),
                Task::Settle => self.settle(),
                Task::Prepare => {
                    let path = self.dir.join(format!("{number}{SPARE_SUFFIX}"));
                    if self.prepare(&path) {
                        number += 1;
                    }
                }
            }
            self.changed.notify_all();
        }
        if let Some(spare) = self.work.lock().spare.take()
            && let Err(error) = fs::remove_file(&spare.path)
        {
            tracing::warn!(path = %spare.path.display(), %error, "cannot delete the prepared log segment");
        }
    }

    /// Waits for something to do; `None` at the end.
    fn next_task(&self) -> Option<Task> {
        let mut work = self.work.lock();
        loop {
            if work.retry_at <= Instant::now() {
                (work.failure, work.is_stuck) = (None, false);
            }
            if !work.is_stuck
                && let Some(path) = work.delete.pop_front()
            {
                return Some(Task::Delete(path));
            }
            if !work.is_stuck && work.first_stored.is_some() {
                return Some(Task::Settle);
            }
            if work.stop {
                return None;
            }
            if work.spare.is_none() && work.failure.is_none() {
                return Some(Task::Prepare);
            }
            if work.is_stuck || work.failure.is_some() {
                let retry_at = work.retry_at;
                self.changed.wait_until(&mut work, retry_at);
            } else {
                self.changed.wait(&mut work);
            }
        }
    }

    /// Deletes a segment. One that cannot be deleted keeps the younger ones too, so that those on disk always
    /// follow on one another; it costs space and nothing else.
    fn delete(&self, path: PathBuf) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot delete an old log segment");
                let mut work = self.work.lock();
                work.delete.push_front(path);
                (work.is_stuck, work.retry_at) = (true, Instant::now() + RETRY_PAUSE);
            }
            _ => {}
        }
    }

    /// Makes durable that segments are deleted.
    fn settle(&self) {
        let synced = sync_dir(&self.dir);
        let mut work = self.work.lock();
        match synced {
            // Nobody else deletes any.
            Ok(()) if work.delete.is_empty() => work.first_stored = None,
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "whether old log segments are gone is not sure");
                (work.is_stuck, work.retry_at) = (true, Instant::now() + RETRY_PAUSE);
            }
        }
    }

    /// Creates a file, if need be with the space of the reserve.
    fn create(&self, path: &Path) -> Result<Spare, LogError> {
        loop {
            let is_short = !self.reserve.is_held();
            let bytes =
                if is_short { self.segment_bytes.min(SHORT_SEGMENT_BYTES) } else { self.segment_bytes };
            let spare = Spare::create(path.to_owned(), bytes, &self.reserve);
            if let Err(error) = &spare {
                // It may hold space that is needed. The error that matters is the first one.
                let _ = fs::remove_file(path);
                let is_needed = error.is_full() && self.work.lock().is_wanted;
                // Somebody else may have released it meanwhile.
                if is_needed && (self.reserve.release(error) || !is_short && !self.reserve.is_held()) {
                    continue;
                }
            }
            return spare;
        }
    }

    /// Prepares a segment; says whether it did.
    fn prepare(&self, path: &Path) -> bool {
        let spare = self.create(path);
        let mut work = self.work.lock();
        match spare {
            Ok(spare) => {
                work.is_wanted = false;
                if std::mem::take(&mut work.is_told) {
                    tracing::info!("the next log segment is prepared: there is room again");
                }
                work.spare = Some(spare);
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut work.is_told, true) {
                    tracing::error!(
                        %error, "cannot prepare the next log segment; when it is needed, nothing is stored until there is room"
                    );
                }
                (work.failure, work.retry_at) = (Some(error), Instant::now() + RETRY_PAUSE);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Keeper, Position, Reserve, SHORT_SEGMENT_BYTES, Segment, Shared, Spare, Work};
    use crate::durable::syncs;

    /// Waits until the keeper has come to a state.
    fn wait_until(keeper: &Keeper, is_reached: impl Fn(&Work) -> bool) {
        let mut work = keeper.shared.work.lock();
        while !is_reached(&work) {
            keeper.shared.changed.wait(&mut work);
        }
    }

    #[test]
    fn no_space_is_taken_for_a_segment_that_does_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        // Of a disk with 4,096 bytes.
        let reserve = Reserve::told(dir.path(), 0, |_| Ok(4096));
        for (bytes, fits) in [(4096, true), (4097, false)] {
            let spare = Spare::create(dir.path().join("1.spare"), bytes, &reserve);
            assert_eq!(spare.is_ok(), fits, "{bytes}: {spare:?}");
        }
    }

    #[test]
    fn a_segment_whose_preparation_failed_is_prepared_once_the_cause_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let hindrance = dir.path().join("1.spare");
        fs::create_dir(&hindrance).unwrap();
        let keeper = Keeper::start(dir.path(), 4096, Reserve::none()).unwrap();
        wait_until(&keeper, |work| work.failure.is_some());
        keeper.take_spare(4096).unwrap_err();
        fs::remove_dir(&hindrance).unwrap();
        // At once, when it is needed.
        let spare = keeper.take_spare(4096).unwrap();
        assert_eq!(spare.path, hindrance);
        let next_hindrance = dir.path().join("2.spare");
        wait_until(&keeper, |work| work.spare.is_some());
        // By itself, when it is not.
        fs::create_dir(dir.path().join("3.spare")).unwrap();
        assert_eq!(keeper.take_spare(4096).unwrap().path, next_hindrance);
        wait_until(&keeper, |work| work.failure.is_some());
        fs::remove_dir(dir.path().join("3.spare")).unwrap();
        wait_until(&keeper, |work| work.spare.is_some());
    }

    #[test]
    fn without_the_reserve_segments_are_small_and_what_needs_a_larger_one_finds_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let large = 2 * SHORT_SEGMENT_BYTES;
        // There is never room for so much.
        let reserve = Reserve::open(dir.path(), 1 << 60).unwrap();
        let keeper = Keeper::start(dir.path(), large, reserve).unwrap();
        assert_eq!(keeper.take_spare(4096).unwrap().bytes, SHORT_SEGMENT_BYTES);
        assert!(keeper.take_spare(large).unwrap_err().is_full());
        assert_eq!(keeper.take_spare(4096).unwrap().bytes, SHORT_SEGMENT_BYTES, "it is kept for others");
    }

    #[test]
    fn a_segment_that_cannot_be_deleted_keeps_the_younger_ones() {
        let dir = tempfile::tempdir().unwrap();
        let [oldest, stuck, young] = ["1.log", "2.log", "3.log"].map(|name| dir.path().join(name));
        fs::write(&oldest, "").unwrap();
        fs::create_dir(&stuck).unwrap();
        fs::write(&young, "").unwrap();
        let keeper = Keeper::start(dir.path(), 4096, Reserve::none()).unwrap();
        let segments = [(1, &oldest), (2, &stuck), (3, &young)];
        keeper.delete(segments.map(|(first, path)| Segment { first: Position(first), path: path.clone() }));
        wait_until(&keeper, |work| work.is_stuck);
        assert!(!oldest.exists() && young.exists());
        assert_eq!(keeper.first_stored(Position(4)), Position(1), "that the oldest is gone is not durable");
        fs::remove_dir(&stuck).unwrap();
        wait_until(&keeper, |work| work.delete.is_empty());
        wait_until(&keeper, |work| work.first_stored.is_none());
        drop(keeper);
        assert!(!young.exists());
    }

    #[test]
    fn what_was_deleted_is_stored_until_that_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        // One without a thread.
        let shared = Shared::new(dir.path(), 4096, Reserve::none());
        shared.work.lock().first_stored = Some(Position(4));
        syncs::fail_next();
        shared.settle();
        assert_eq!(shared.work.lock().first_stored, Some(Position(4)));
        shared.work.lock().delete.push_back(dir.path().join("4.log"));
        syncs::take();
        shared.settle();
        assert_eq!(syncs::take(), [dir.path()]);
        assert_eq!(shared.work.lock().first_stored, Some(Position(4)), "there is more to delete");
        shared.work.lock().delete.clear();
        shared.settle();
        assert_eq!(shared.work.lock().first_stored, None);
    }
}
