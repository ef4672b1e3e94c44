//! A store as it is at one moment, for whoever reads all of it while it goes on.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::durable::sync_dir;
use crate::folder;
use crate::log::Position;
use crate::log::hold::Hold;
use crate::log::segment::SegmentLog;
use crate::store::OpenError;
use crate::view::fjall::{FjallView, Pinned};

/// Folder of the pins in a data folder.
const PINS_DIR: &str = "pins";

/// Makes pins of an open store.
#[derive(Debug, Clone)]
pub struct Pinner {
    pub(crate) dir: PathBuf,
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) view: Arc<FjallView>,
}

/// The files of a store as they were at one moment, in a folder of their own, which goes when this is
/// dropped. They take space only as far as the store itself has deleted them since; until then the store
/// does not tell of what is in them that it is gone.
#[derive(Debug)]
pub struct Pin {
    dir: PathBuf,
    end: Position,
    /// Whoever deletes it takes them, who may be somebody later.
    pinned: Option<PinnedFiles>,
    left: LeftPins,
}

/// Say to log and view that files of theirs are pinned.
type PinnedFiles = (Hold, Pinned);

/// Pins that could not be deleted, of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftPins(Arc<Mutex<Vec<(PathBuf, PinnedFiles)>>>);

impl LeftPins {
    /// Tries again to delete them: until that is done, nothing that they have is told to be gone.
    pub(crate) fn delete(&self) {
        let left = std::mem::take(&mut *self.0.lock());
        let is_left = |(dir, _): &(PathBuf, PinnedFiles)| {
            let deleted = delete(dir);
            if deleted.is_ok() {
                tracing::info!(dir = %dir.display(), "a pin that stayed is deleted");
            }
            deleted.is_err()
        };
        let still: Vec<_> = left.into_iter().filter(is_left).collect();
        self.0.lock().extend(still);
    }
}

impl Pinner {
    /// Pins the store: everything that was flushed before the call is in it. It takes links and copies of
    /// small files, so a moment, in which the view is not flushed and messages are stored as ever.
    ///
    /// `beside` are small files that say how far somebody has read the log: copies of those that are there
    /// come into the pin's folder, of before the log's end is taken and while nothing of it is freed. So what
    /// they name is in the pin.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn pin(&self, beside: &[PathBuf]) -> Result<Pin, OpenError> {
        let pins = self.dir.join(PINS_DIR);
        crate::create_durable_dir(&pins).map_err(OpenError::io("create", &pins))?;
        let dir = tempfile::Builder::new()
            .prefix("pin-")
            .tempdir_in(&pins)
            .map_err(OpenError::io("create", &pins))?;
        let left = self.view.left_pins();
        left.delete();
        let pinned = Some((self.log.pinned(), self.view.pinned()));
        let mut pin = Pin { dir: dir.keep(), end: Position::ZERO, pinned, left };
        folder::copy_format(&self.dir, pin.dir())?;
        // The log comes last, so that it has what the view has; and it keeps what the view does not have yet.
        let _held = crate::log::Log::hold(&*self.log, Position::ZERO);
        for file in beside {
            copy_if_there(file, pin.dir())?;
        }
        self.view.pin(&folder::view_dir(pin.dir()))?;
        pin.end = self.log.pin(&folder::log_dir(pin.dir()))?;
        Ok(pin)
    }
}

impl Pin {
    /// Its folder, which is a data folder up to [`Pin::end`]: the last segment of its log is written on.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last group that it has.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.end
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let (Err(error), Some(pinned)) = (delete(&self.dir), self.pinned.take()) {
            let dir = self.dir.display();
            tracing::error!(%error, %dir, "a pin stays until the next one or the next purge deletes it");
            self.left.0.lock().push((self.dir.clone(), pinned));
        }
    }
}

/// Deletes a pin. That is flushed before anybody may tell of what it had that it is gone.
fn delete(dir: &Path) -> io::Result<()> {
    let if_there = |deleted: io::Result<()>| match deleted {
        // As behind an attempt that could not be flushed, or with the whole data folder.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    };
    if_there(fs::remove_dir_all(dir))?;
    dir.parent().map_or(Ok(()), |pins| if_there(sync_dir(pins)))
}

/// Copies a file that is replaced as a whole when it is another one.
fn copy_if_there(file: &Path, to: &Path) -> Result<(), OpenError> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(OpenError::io("read", file))?,
    };
    let copy = to.join(file.file_name().unwrap_or_default());
    fs::write(&copy, bytes).map_err(OpenError::io("write", &copy))
}

/// Deletes the pins of a process that was killed.
pub(crate) fn delete_left_over(dir: &Path) -> Result<(), OpenError> {
    let pins = dir.join(PINS_DIR);
    if !pins.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&pins).map_err(OpenError::io("delete", &pins))?;
    sync_dir(dir).map_err(OpenError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use quoth_protocol::Seq;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{PINS_DIR, Pinner};
    use crate::durable::syncs;
    use crate::log::{Log as _, Position};
    use crate::record::Record;
    use crate::store::{Options, Store};
    use crate::testing::{commit, record, unpaced};
    use crate::view::{Extent, Keep, Purged, Rewrite, View as _};

    /// Frees log and windows of what is erased, but for what registers may have.
    fn free(pinner: &Pinner) {
        const HANG: Duration = Duration::from_secs(60);
        pinner.log.end_segment().unwrap();
        pinner.log.trim(pinner.view.flush().unwrap().next()).unwrap();
        for _ in 0..2 {
            let mut rewrite = Rewrite {
                now_ms: 1,
                erased_by_ms: u64::MAX,
                extent: Extent::Worthwhile,
                pace: &mut |_| true,
            };
            pinner.view.rewrite(&mut |_| Ok(Keep::default()), &mut rewrite).unwrap();
        }
        // On a thread of its own.
        let until = Instant::now() + HANG;
        while pinner.log.stored() == Position(1) {
            assert!(Instant::now() < until, "the log is not freed");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the view did not have when that was pinned has to be in the log that is pinned behind it.
    #[test]
    fn nothing_of_the_log_is_freed_while_a_store_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path().join("store"))).unwrap();
        let event = record("a", 1, 1);
        let position = commit(&*store.log, std::slice::from_ref(&event)).unwrap();
        store.view.apply(position, &[event]).unwrap();
        let pinner = store.pinner.clone().unwrap();
        // Whoever reads it waits for one that writes to it, in the middle of the pin.
        let beside = dir.path().join("beside");
        mknodat(CWD, &beside, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let pin = std::thread::scope(|scope| {
            let pins = scope.spawn(|| pinner.pin(std::slice::from_ref(&beside)).unwrap());
            let in_the_middle = std::fs::OpenOptions::new().write(true).open(&beside).unwrap();
            store.log.end_segment().unwrap();
            store.log.trim(store.view.flush().unwrap().next()).unwrap();
            let first = store.log.first();
            drop(in_the_middle);
            assert_eq!(first, Position(1));
            pins.join().unwrap()
        });
        store.log.trim(store.log.next()).unwrap();
        assert!(store.log.first() > Position(1), "it is held no longer than that");
        drop(pin);
    }

    /// A store with two events, of which the second one has erased the first one.
    fn with_an_erasure(dir: &Path) -> Store {
        let store = Store::open(Options::new(dir)).unwrap();
        for (seq, erases) in [(1, Vec::new()), (2, vec![Seq(1)])] {
            let event = Record { ends_window: true, erases, ..record("a", seq, seq) };
            let position = commit(&*store.log, std::slice::from_ref(&event)).unwrap();
            store.view.apply(position, &[event]).unwrap();
        }
        store
    }

    #[test]
    fn what_a_pin_has_is_not_told_to_be_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = with_an_erasure(dir.path());
        let pinner = store.pinner.clone().unwrap();
        let pin = pinner.pin(&[]).unwrap();
        free(&pinner);
        let is_told = || (store.view.erased().since_ms.is_some(), store.log.first_stored());
        for _ in 0..2 {
            assert!(!store.view.purge(false, &unpaced()).unwrap().is_done());
            assert_eq!(is_told(), (true, Position(1)));
        }
        // It has nothing of that.
        let later = pinner.pin(&[]).unwrap();
        syncs::take();
        let path = pin.dir().to_owned();
        drop(pin);
        assert!(!path.exists());
        assert!(syncs::take().contains(&dir.path().join(PINS_DIR)), "a power cut must not bring it back");
        assert!(store.view.purge(false, &unpaced()).unwrap().is_done());
        assert_eq!(is_told(), (false, pinner.log.stored()));
        assert!(later.dir().exists());
    }

    #[test]
    fn a_pin_that_could_not_be_deleted_is_deleted_later() {
        let dir = tempfile::tempdir().unwrap();
        let store = with_an_erasure(dir.path());
        let pinner = store.pinner.clone().unwrap();
        let pin = pinner.pin(&[]).unwrap();
        free(&pinner);
        assert_eq!(store.view.purge(false, &unpaced()).unwrap(), Purged::Written);
        // It is not known whether a power cut would bring it back.
        syncs::fail_next();
        drop(pin);
        let is_told = || (store.view.erased().since_ms.is_none(), store.log.first_stored() > Position(1));
        assert_eq!(is_told(), (false, false));
        syncs::fail_next();
        assert_eq!(store.view.purge(false, &unpaced()).unwrap(), Purged::Unfinished);
        assert_eq!(is_told(), (false, false));
        syncs::take();
        assert!(store.view.purge(false, &unpaced()).unwrap().is_done());
        assert!(syncs::take().contains(&dir.path().join(PINS_DIR)));
        assert_eq!(is_told(), (true, true));
    }
}
