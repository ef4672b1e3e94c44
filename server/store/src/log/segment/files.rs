//! The folder of segments, and the thread that prepares the next one and deletes old ones.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::super::{LogError, Position};

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

/// Ends the name of a file that is being prepared.
const SPARE_SUFFIX: &str = ".spare";

/// A file with its space allocated, which becomes a segment by being renamed.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Spare {
    /// Creates a file that reads as zeros. Its space is allocated but not written: writing the zeros too would make an
    /// append a few microseconds faster in the median and several times slower at its 99th percentile, as it doubles
    /// what the disk has to write.
    pub(super) fn create(path: PathBuf, bytes: u64) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(LogError::io("create", &path))?;
        allocate(&file, bytes).map_err(LogError::io("allocate space for", &path))?;
        file.sync_all().map_err(LogError::io("sync", &path))?;
        Ok(Self { file, path })
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
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    spare: Option<Result<Spare, LogError>>,
    delete: Vec<PathBuf>,
    stop: bool,
}

impl Keeper {
    pub(super) fn start(dir: &Path, segment_bytes: u64) -> Result<Self, LogError> {
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            segment_bytes,
            work: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new()
            .name("quoth-log-keeper".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run()
            })
            .map_err(LogError::io("start the thread that prepares segments in", dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the prepared file; waits for it when it is not ready.
    pub(super) fn take_spare(&self) -> Result<Spare, LogError> {
        let mut work = self.shared.work.lock();
        loop {
            if let Some(spare) = work.spare.take() {
                self.shared.changed.notify_all();
                return spare;
            }
            self.shared.changed.wait(&mut work);
        }
    }

    /// Has files deleted, in this order.
    pub(super) fn delete(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.shared.work.lock().delete.extend(paths);
        self.shared.changed.notify_all();
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
    fn run(&self) {
        let mut number = 0_u64;
        loop {
            let (delete, prepare) = {
                let mut work = self.work.lock();
                while work.delete.is_empty() && work.spare.is_some() && !work.stop {
                    self.changed.wait(&mut work);
                }
                if work.stop && work.delete.is_empty() {
                    break;
                }
                (std::mem::take(&mut work.delete), work.spare.is_none() && !work.stop)
            };
            for path in delete {
                // An old segment that stays costs space and nothing else; the next start lists it again.
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "cannot delete an old log segment");
                }
            }
            if prepare {
                number += 1;
                let path = self.dir.join(format!("{number}{SPARE_SUFFIX}"));
                let spare = Spare::create(path, self.segment_bytes);
                if let Err(error) = &spare {
                    tracing::error!(%error, "cannot prepare the next log segment");
                }
                self.work.lock().spare = Some(spare);
                self.changed.notify_all();
            }
        }
        if let Some(Ok(spare)) = self.work.lock().spare.take()
            && let Err(error) = fs::remove_file(&spare.path)
        {
            tracing::warn!(path = %spare.path.display(), %error, "cannot delete the prepared log segment");
        }
    }
}
