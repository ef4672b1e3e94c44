//! Space that is held back for a full disk. What frees space has to be written itself: policies and
//! revocations into the log, what they come to into the view, and what stays of a window beside others. So a
//! file takes space that nobody needs, and gives it away when something has found no room; it is taken again
//! when there is as much, and somewhat more.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::room::{self, RETRY_PAUSE};
use crate::store::OpenError;

/// Its name in the data folder.
const FILE: &str = "reserve";

/// To be taken again it needs so large a part of it more, which is free then: what is stored next is not to
/// meet a full disk at once.
const MORE_PARTS: u64 = 4;

/// Bytes that are written at once where space cannot be allocated otherwise.
const WRITE_BYTES: usize = 1024 * 1024;

/// A block of what the operating system counts a file's space in, in bytes (`stat(2)`).
const BLOCK_BYTES: u64 = 512;

/// The space that is held back. While it is not held, nothing is to be stored but what frees space.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    /// 0: there is none, and nothing to wait for.
    bytes: u64,
    is_held: AtomicBool,
    /// Locked by whoever takes or releases it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody tries to take it again.
    is_awaited: bool,
    /// The store is closed: the file is somebody else's.
    is_closed: bool,
}

impl Reserve {
    /// No reserve: all goes on until the disk is full, and then nothing does.
    #[must_use]
    pub fn none() -> Arc<Self> {
        let (path, state) = (PathBuf::new(), Mutex::default());
        Arc::new(Self { path, bytes: 0, is_held: AtomicBool::new(true), state })
    }

    /// The reserve of a data folder, as an earlier process has left it. One of 0 bytes is none.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn open(dir: &Path, bytes: u64) -> Result<Arc<Self>, OpenError> {
        let path = dir.join(FILE);
        if bytes == 0 {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(OpenError::io("delete", &path)(error))
                }
                _ => Ok(Self::none()),
            };
        }
        let held = space_of(&path).map_err(OpenError::io("read", &path))?;
        let is_held = AtomicBool::new(held >= bytes);
        Ok(Arc::new(Self { path, bytes, is_held, state: Mutex::default() }))
    }

    /// It, for who writes in a folder; none where that is on another disk, which it makes no room on.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn beside(self: &Arc<Self>, dir: &Path) -> Result<Arc<Self>, OpenError> {
        if self.bytes == 0 {
            return Ok(Arc::clone(self));
        }
        let device = |path: &Path| match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.dev())),
            // It will be made, on the disk that the data folder is on.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io("read", path)(error)),
        };
        let (own, other) = (device(self.path.parent().unwrap_or(&self.path))?, device(dir)?);
        Ok(if other.is_none() || own == other { Arc::clone(self) } else { Self::none() })
    }

    /// Whether the space is there that is held back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Sees to it that it is held, or will be once there is room: at a start, when log and view have what
    /// they need.
    ///
    /// # Errors
    /// When the operating system refuses for another reason than want of room.
    pub(crate) fn settle(self: &Arc<Self>) -> Result<(), OpenError> {
        let failed = |error| OpenError::io("allocate space for", &self.path)(error);
        let mut state = self.state.lock();
        // Also where it is held: it may be larger than it is to be.
        match self.take(self.bytes) {
            Err(error) if room::is_full(&error) => {
                tracing::error!(
                    path = %self.path.display(), bytes = self.bytes, %error,
                    "the disk has no room for the reserve (store.reserve_bytes): until it has, messages are refused, and what \
                     frees space goes on; free space, or make the reserve smaller"
                );
                self.is_held.store(false, Ordering::Release);
                self.wait(&mut state);
                Ok(())
            }
            taken => taken.map_err(failed),
        }
    }

    /// Gives its space away, for whoever has found no room; says whether there is some by that. It is taken
    /// again when there is room.
    pub(crate) fn release(self: &Arc<Self>, error: &dyn fmt::Display) -> bool {
        let mut state = self.state.lock();
        if self.bytes == 0 || !self.is_held() || state.is_closed {
            return false;
        }
        // Before there is room for others.
        self.is_held.store(false, Ordering::Release);
        tracing::error!(
            %error, reserve_bytes = self.bytes,
            "the disk is full: the reserve is released, so that policies, revocations and erasures are stored and space is \
             freed; messages are refused until there is room for it again"
        );
        let freed = OpenOptions::new().write(true).open(&self.path).and_then(|file| {
            file.set_len(0)?;
            // Some file systems give space away only when that is on the disk.
            file.sync_all()
        });
        if let Err(error) = &freed {
            tracing::error!(path = %self.path.display(), %error, "the reserve cannot be released");
        }
        self.wait(&mut state);
        freed.is_ok()
    }

    /// The store is closed.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Has it taken again when there is room.
    fn wait(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.is_awaited, true) {
            return;
        }
        let reserve = Arc::downgrade(self);
        let waits = std::thread::Builder::new().name("quoth-reserve".to_owned()).spawn(move || {
            // Not at once: who has found no room tries again first.
            loop {
                std::thread::sleep(RETRY_PAUSE);
                if !Self::is_outstanding(&reserve) {
                    return;
                }
            }
        });
        if let Err(error) = waits {
            tracing::error!(%error, "nobody takes the reserve again: restart the server when there is room");
        }
    }

    /// Tries to take it again; says whether it is to be tried once more.
    fn is_outstanding(reserve: &Weak<Self>) -> bool {
        let Some(reserve) = reserve.upgrade() else { return false };
        let mut state = reserve.state.lock();
        if state.is_closed {
            return false;
        }
        match reserve.take(reserve.bytes.saturating_add(reserve.bytes / MORE_PARTS)) {
            Ok(()) => {
                tracing::info!("there is room: the reserve is held again, and messages are stored");
                state.is_awaited = false;
                false
            }
            // Of another reason the operator was told by whoever stores something.
            Err(_) => true,
        }
    }

    /// Takes the space, once there are so many bytes, and keeps what the reserve has of them.
    fn take(&self, bytes: u64) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        let taken = allocate(&file, bytes).and_then(|()| file.set_len(self.bytes));
        if taken.is_err() {
            // Some of it may be allocated, and is needed elsewhere.
            file.set_len(0)?;
        }
        taken?;
        self.is_held.store(true, Ordering::Release);
        Ok(())
    }
}

/// What a file has of the disk, in bytes; one that is not there has nothing.
fn space_of(path: &Path) -> io::Result<u64> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        metadata => metadata.map(|metadata| metadata.len().min(metadata.blocks() * BLOCK_BYTES)),
    }
}

/// Makes a file take so many bytes of the disk, also where file systems have no call for it.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let (mut file, zeros) = (file, vec![0; WRITE_BYTES]);
            let mut left = bytes;
            while left > 0 {
                let part = usize::try_from(left).map_or(WRITE_BYTES, |left| left.min(WRITE_BYTES));
                file.write_all(&zeros[..part])?;
                left -= part as u64;
            }
            file.sync_all()
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{FILE, Reserve, space_of};

    const BYTES: u64 = 1024 * 1024;

    #[test]
    fn it_takes_its_space_gives_it_away_and_takes_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let space = || space_of(&dir.path().join(FILE)).unwrap();
        let reserve = Reserve::open(dir.path(), BYTES).unwrap();
        assert!(!reserve.is_held(), "it has no space yet");
        reserve.settle().unwrap();
        assert!(reserve.is_held() && space() == BYTES);
        assert!(reserve.release(&"no room"));
        assert!(!reserve.is_held() && space() == 0);
        // Another thread takes it again, as there is room.
        while !reserve.is_held() {
            std::thread::yield_now();
        }
        assert_eq!(space(), BYTES, "and no more than that");
        drop(reserve);
        assert!(Reserve::open(dir.path(), BYTES).unwrap().is_held(), "a restart finds it");
    }

    #[test]
    fn who_has_closed_the_store_or_writes_on_another_disk_gets_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), BYTES).unwrap();
        reserve.settle().unwrap();
        for own in [dir.path(), &dir.path().join("to be made")] {
            assert!(Arc::ptr_eq(&reserve.beside(own).unwrap(), &reserve));
        }
        let other = reserve.beside(Path::new("/proc")).unwrap();
        assert!(other.is_held() && !other.release(&"no room"), "it makes no room there");
        reserve.close();
        assert!(!reserve.release(&"no room"), "the file is somebody else's");
        assert_eq!(space_of(&dir.path().join(FILE)).unwrap(), BYTES);
    }

    #[test]
    fn what_is_not_there_is_not_taken_for_held() {
        let dir = tempfile::tempdir().unwrap();
        // As a copy may have it: the length alone.
        std::fs::File::create(dir.path().join(FILE)).unwrap().set_len(BYTES).unwrap();
        let reserve = Reserve::open(dir.path(), BYTES).unwrap();
        assert!(!reserve.is_held());
        reserve.settle().unwrap();
        assert_eq!(space_of(&dir.path().join(FILE)).unwrap(), BYTES);
        // Another size is another reserve.
        let reserve = Reserve::open(dir.path(), BYTES / 2).unwrap();
        reserve.settle().unwrap();
        assert!(reserve.is_held() && space_of(&dir.path().join(FILE)).unwrap() == BYTES / 2);
        assert!(!Reserve::open(dir.path(), BYTES).unwrap().is_held());
    }

    #[test]
    fn one_that_has_no_room_is_not_held_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), 1 << 60).unwrap();
        reserve.settle().unwrap();
        assert!(!reserve.is_held() && !reserve.release(&"no room"));
        assert_eq!(space_of(&dir.path().join(FILE)).unwrap(), 0);
        reserve.close();
    }

    #[test]
    fn none_is_always_there_and_has_no_file() {
        let dir = tempfile::tempdir().unwrap();
        Reserve::open(dir.path(), BYTES).unwrap().settle().unwrap();
        for reserve in [Reserve::none(), Reserve::open(dir.path(), 0).unwrap()] {
            reserve.settle().unwrap();
            assert!(reserve.is_held() && !reserve.release(&"no room"));
            assert_eq!(Arc::strong_count(&reserve), 1);
        }
        assert!(!dir.path().join(FILE).exists());
    }
}
