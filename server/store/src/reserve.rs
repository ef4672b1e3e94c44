//! Space that is held back for a full disk. What frees space has to be written itself: policies and
//! revocations into the log, what they come to into the view, and what stays of a window beside others. So a
//! file takes space that nobody needs, and gives it away when something has found no room; it is taken again
//! when there is as much, and somewhat more. Whether there is that is asked first: an attempt that fails has
//! taken all that others had left for a moment.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::durable::{sync_all, sync_dir};
use crate::room::{self, RETRY_PAUSE};
use crate::store::OpenError;

/// Its name in the data folder.
const FILE: &str = "reserve";

/// To be taken again it needs so large a part of it more, which is free then: what is stored next is not to
/// meet a full disk at once.
const MORE_PARTS: u64 = 4;

/// What a start may need besides log and view, in bytes: for files of some kilobytes, such as keys and the file
/// for clients. It leaves as much when it takes the reserve.
const START_BYTES: u64 = 1024 * 1024;

/// The longest pause between two attempts that have failed though there seemed to be room, as with a quota,
/// of which the file system does not tell.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(60);

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
    /// Says how many bytes a file may take of its disk.
    free_bytes: fn(&File) -> io::Result<u64>,
}

/// What has become of an attempt to take it again.
enum Retry {
    /// There is none to be made any more.
    Done,
    /// There is no room for it.
    NoRoom,
    /// There seemed to be.
    Refused,
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
        Arc::new(Self { path, bytes: 0, is_held: AtomicBool::new(true), state, free_bytes })
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
        Ok(Arc::new(Self { path, bytes, is_held, state: Mutex::default(), free_bytes }))
    }

    /// One that is held, on a disk that says so of itself.
    #[cfg(test)]
    pub(crate) fn told(dir: &Path, bytes: u64, free_bytes: fn(&File) -> io::Result<u64>) -> Arc<Self> {
        let mut reserve = Self::open(dir, bytes).expect("the folder is there");
        Arc::get_mut(&mut reserve).expect("nobody else has it").free_bytes = free_bytes;
        reserve.settle().expect("there is room");
        reserve
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

    /// What it holds back at the moment, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        if self.is_held() { self.bytes } else { 0 }
    }

    /// Whether so many bytes may be written into a folder of its disk: it is held, and as much as it holds back
    /// is left then besides. As far as the file system tells.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub(crate) fn has_room(&self, dir: &Path, bytes: u64) -> io::Result<bool> {
        Ok(self.is_held() && (self.free_bytes)(&File::open(dir)?)? >= bytes.saturating_add(self.bytes))
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
        match self.take(START_BYTES) {
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

    /// Does what a start needs a little room for; a second time with that of the reserve where the disk has
    /// none: a server must come back on a full disk, or nobody frees space by it.
    ///
    /// # Errors
    /// Of the last attempt.
    pub fn for_start<T, E: fmt::Display>(
        self: &Arc<Self>,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let was_held = self.is_held();
        match work() {
            // Somebody else may have released it meanwhile.
            Err(error) if self.is_start_short() && (self.release(&error) || was_held && !self.is_held()) => {
                work()
            }
            done => done,
        }
    }

    /// Whether a start may have failed for want of room. The error of whoever failed need not say it.
    fn is_start_short(&self) -> bool {
        let dir = self.path.parent().and_then(|dir| File::open(dir).ok());
        dir.is_some_and(|dir| self.free_bytes(&dir) < START_BYTES)
    }

    /// How many bytes a file may take of its disk, as far as the file system tells.
    pub(crate) fn free_bytes(&self, file: &File) -> u64 {
        (self.free_bytes)(file).unwrap_or(u64::MAX)
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
            let mut pause = RETRY_PAUSE;
            loop {
                std::thread::sleep(pause);
                pause = match Self::retry(&reserve) {
                    Retry::Done => return,
                    Retry::NoRoom => RETRY_PAUSE,
                    Retry::Refused => (pause * 2).min(REFUSED_PAUSE_MAX),
                };
            }
        });
        if let Err(error) = waits {
            tracing::error!(%error, "nobody takes the reserve again: restart the server when there is room");
        }
    }

    /// Tries to take it again.
    fn retry(reserve: &Weak<Self>) -> Retry {
        let Some(reserve) = reserve.upgrade() else { return Retry::Done };
        let mut state = reserve.state.lock();
        if state.is_closed {
            return Retry::Done;
        }
        match reserve.take(reserve.bytes / MORE_PARTS) {
            Ok(()) => {
                tracing::info!("there is room: the reserve is held again, and messages are stored");
                state.is_awaited = false;
                Retry::Done
            }
            Err(error) if error.get_ref().is_some_and(|why| why.is::<NoRoom>()) => Retry::NoRoom,
            // Of another reason the operator was told by whoever stores something.
            Err(_) => Retry::Refused,
        }
    }

    /// Takes the space, if there is as much and so many bytes more. Only then it has any of it.
    fn take(&self, more_bytes: u64) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        let taken = self.take_into(&file, more_bytes);
        if taken.is_err() && file.metadata()?.len() > 0 {
            // Some of it may be allocated, and is needed elsewhere.
            file.set_len(0)?;
        }
        taken?;
        self.is_held.store(true, Ordering::Release);
        Ok(())
    }

    fn take_into(&self, file: &File, more_bytes: u64) -> io::Result<()> {
        let missing = self.bytes.saturating_sub(space_of(&self.path)?);
        if missing > 0 {
            if (self.free_bytes)(file)? < missing.saturating_add(more_bytes) {
                return Err(io::Error::new(ErrorKind::StorageFull, NoRoom));
            }
            allocate(file, self.bytes)?;
        }
        file.set_len(self.bytes)?;
        // Some file systems say only then whether they have it, and a power cut is not to take it back.
        sync_all(file, &self.path)?;
        sync_dir(self.path.parent().unwrap_or(&self.path))?;
        if space_of(&self.path)? < self.bytes {
            tracing::warn!(
                path = %self.path.display(),
                "the file system does not hold the reserve back (store.reserve_bytes): on a full disk it may make no room"
            );
        }
        Ok(())
    }
}

/// The file system says that there is less than is needed.
#[derive(Debug, thiserror::Error)]
#[error("the disk has less free than the reserve takes")]
struct NoRoom;

/// What a file may take of its disk yet, in bytes, as far as the file system tells: quotas are left out.
fn free_bytes(file: &File) -> io::Result<u64> {
    let told = rustix::fs::fstatvfs(file)?;
    // Some tell nothing.
    Ok(if told.f_blocks == 0 { u64::MAX } else { told.f_bavail.saturating_mul(told.f_frsize) })
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
            let (mut file, mut noise, mut part) = (file, 1, vec![0; WRITE_BYTES]);
            let mut left = bytes;
            while left > 0 {
                // What compresses, or is there twice, would take no space.
                part.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&next_noise(&mut noise)));
                let length = usize::try_from(left).map_or(WRITE_BYTES, |left| left.min(WRITE_BYTES));
                file.write_all(&part[..length])?;
                left -= length as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The next numbers of a series that nobody has to guess (xorshift64).
fn next_noise(state: &mut u64) -> [u8; 8] {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{FILE, MORE_PARTS, Reserve, START_BYTES, space_of};

    const BYTES: u64 = 1024 * 1024;

    #[test]
    fn it_takes_its_space_gives_it_away_and_takes_it_again() {
        /// What the disk says.
        static HAS_ROOM: AtomicBool = AtomicBool::new(true);
        let dir = tempfile::tempdir().unwrap();
        let space = || space_of(&dir.path().join(FILE)).unwrap();
        let mut reserve = Reserve::open(dir.path(), BYTES).unwrap();
        assert!(!reserve.is_held(), "it has no space yet");
        Arc::get_mut(&mut reserve).unwrap().free_bytes =
            |_| Ok(if HAS_ROOM.load(Ordering::SeqCst) { u64::MAX } else { 0 });
        reserve.settle().unwrap();
        assert!(reserve.is_held() && space() == BYTES);
        HAS_ROOM.store(false, Ordering::SeqCst);
        assert!(reserve.release(&"no room"));
        assert!(!reserve.is_held() && space() == 0);
        // Another thread takes it again once there is room.
        HAS_ROOM.store(true, Ordering::SeqCst);
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
        File::create(dir.path().join(FILE)).unwrap().set_len(BYTES).unwrap();
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

    /// What a disk says of itself, and how often it was asked.
    static FREE_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);
    static ASKED: AtomicU64 = AtomicU64::new(0);

    fn told(_: &File) -> io::Result<u64> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(FREE_BYTES.load(Ordering::SeqCst))
    }

    /// Whatever it took in vain would be missing elsewhere meanwhile.
    #[test]
    fn nothing_is_taken_while_there_is_no_room_for_it_and_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::open(dir.path(), BYTES).unwrap();
        Arc::get_mut(&mut reserve).unwrap().free_bytes = told;
        reserve.settle().unwrap();
        assert!(reserve.is_held());
        let enough = BYTES + BYTES / MORE_PARTS;
        FREE_BYTES.store(enough - 1, Ordering::SeqCst);
        assert!(reserve.release(&"no room"));
        let changed = || {
            let told = std::fs::metadata(dir.path().join(FILE)).unwrap();
            (told.ctime(), told.ctime_nsec())
        };
        let (released, asked) = (changed(), ASKED.load(Ordering::SeqCst));
        // The first of them is through when the second one asks.
        while ASKED.load(Ordering::SeqCst) < asked + 2 && !reserve.is_held() {
            std::thread::yield_now();
        }
        assert!(!reserve.is_held());
        assert_eq!(changed(), released, "nobody has touched it");
        FREE_BYTES.store(enough, Ordering::SeqCst);
        while !reserve.is_held() {
            std::thread::yield_now();
        }
        assert_eq!(space_of(&dir.path().join(FILE)).unwrap(), BYTES);
        // A start leaves what its own files take.
        for (free, is_held) in [(BYTES + START_BYTES - 1, false), (BYTES + START_BYTES, true)] {
            reserve.close();
            std::fs::remove_file(dir.path().join(FILE)).unwrap();
            FREE_BYTES.store(free, Ordering::SeqCst);
            reserve = Reserve::open(dir.path(), BYTES).unwrap();
            Arc::get_mut(&mut reserve).unwrap().free_bytes = told;
            reserve.settle().unwrap();
            assert_eq!(reserve.is_held(), is_held);
        }
    }

    #[test]
    fn a_start_that_finds_no_room_is_given_some_once_and_no_other_failure_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut attempts = 0;
        let mut fails = |reserve: &Arc<Reserve>| {
            attempts = 0;
            let failed: Result<(), _> = reserve.for_start(|| {
                attempts += 1;
                Err("it cannot be written")
            });
            failed.unwrap_err();
            attempts
        };
        let reserve = Reserve::told(dir.path(), BYTES, |_| Ok(BYTES + START_BYTES));
        assert_eq!(fails(&reserve), 1);
        assert!(reserve.is_held());
        reserve.close();
        let mut reserve = Reserve::open(dir.path(), BYTES).unwrap();
        Arc::get_mut(&mut reserve).unwrap().free_bytes = |_| Ok(START_BYTES - 1);
        assert_eq!(reserve.for_start(|| Ok::<_, String>(7)), Ok(7));
        assert!(reserve.is_held(), "nobody needs it");
        assert_eq!(fails(&reserve), 2);
        assert_eq!(space_of(&dir.path().join(FILE)).unwrap(), 0, "it has made room");
        assert_eq!(fails(&reserve), 1, "there is no more to be made");
        assert_eq!(fails(&Reserve::none()), 1);
    }
}
