//! Goes through files on some threads, each of which has one file at a time.
//!
//! While one of them reads, another one writes, and small files do not wait for one another's calls.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use super::Pace;
use super::error::BackupError;
use super::target::Buffer;

/// The largest part that is read and written at once.
pub(super) const PART_BYTES_MAX: usize = 256 * 1024;

impl Pace {
    /// Threads, each of which reads or writes one part at a time: so many parts wait for the disk at once,
    /// and who flushes meanwhile, as the log does for every group, waits for all of them.
    const fn threads(self) -> usize {
        match self {
            Self::Full => 3,
            Self::Gentle => 2,
        }
    }

    const fn part_bytes(self) -> usize {
        match self {
            Self::Full => PART_BYTES_MAX,
            Self::Gentle => PART_BYTES_MAX / 2,
        }
    }
}

/// So many bytes are told at once: each time wakes who takes it.
const TOLD_BYTES: u64 = 4 * 1024 * 1024;

/// What threads have told and nobody has taken yet.
const TOLD_MAX: usize = 64;

/// What a thread tells.
enum Told<R> {
    /// So many bytes more are done.
    Bytes(u64),
    /// The file of this number is done, or cannot be.
    Done(usize, Result<R, BackupError>),
}

/// A thread, as what it does sees it.
pub(super) struct Worker<'a> {
    /// For one part.
    pub(super) buffer: Buffer,
    /// Bytes that are done and were not told.
    done_bytes: u64,
    tell: &'a mut dyn FnMut(u64),
}

impl Worker<'_> {
    /// So many bytes more are done, whether they had to be copied or not.
    pub(super) fn done(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        if self.done_bytes >= TOLD_BYTES {
            self.tell_bytes();
        }
    }

    fn tell_bytes(&mut self) {
        (self.tell)(std::mem::take(&mut self.done_bytes));
    }
}

/// Does something with each file on some threads, in about this order; `dir` is for errors. `progress` is
/// told of bytes, and `take` gets the files' numbers and what became of them, as they are done, both on this
/// thread.
///
/// # Errors
/// The first of `work` or `take`, which ends it, or when threads cannot be started.
pub(super) fn each_file<T: Sync, R: Send>(
    dir: &Path,
    files: &[T],
    pace: Pace,
    work: &(impl Fn(usize, &T, &mut Worker<'_>) -> Result<R, BackupError> + Sync),
    progress: &mut dyn FnMut(u64),
    take: &mut dyn FnMut(usize, R) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Dropped where this ends early, which ends the threads.
        let (tell, told) = mpsc::sync_channel(TOLD_MAX);
        for number in 0..pace.threads().min(files.len()) {
            let (tell, next) = (tell.clone(), &next);
            let builder = thread::Builder::new().name(format!("quoth-copier-{number}"));
            let started = builder.spawn_scoped(scope, move || go_through(files, next, pace, work, &tell));
            started.map_err(BackupError::io("start a thread for", dir))?;
        }
        drop(tell);
        for told in told {
            match told {
                Told::Bytes(bytes) => progress(bytes),
                Told::Done(number, done) => take(number, done?)?,
            }
        }
        Ok(())
    })
}

/// Ends what the threads do where one of them panics: nobody is told of what they would do.
struct EndsInPanic<'a>(&'a AtomicUsize);

impl Drop for EndsInPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }
}

/// One thread's part of it.
fn go_through<T, R>(
    files: &[T],
    next: &AtomicUsize,
    pace: Pace,
    work: &impl Fn(usize, &T, &mut Worker<'_>) -> Result<R, BackupError>,
    tell: &SyncSender<Told<R>>,
) {
    let _others = EndsInPanic(next);
    let mut tell_bytes = |bytes| {
        // Where nobody takes it, that is seen behind the file.
        let _ended = tell.send(Told::Bytes(bytes));
    };
    let mut worker = Worker { buffer: Buffer::new(pace.part_bytes()), done_bytes: 0, tell: &mut tell_bytes };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = files.get(number) else { return };
        let done = work(number, file, &mut worker);
        worker.tell_bytes();
        let is_end = done.is_err();
        if tell.send(Told::Done(number, done)).is_err() || is_end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Pace, TOLD_MAX, each_file, go_through};
    use crate::backup::BackupError;

    fn failed(number: usize) -> BackupError {
        BackupError::DamagedSource { path: PathBuf::from(number.to_string()) }
    }

    #[test]
    fn each_file_is_done_once_and_all_of_it_is_told() {
        for count in [0, 1, 2, 9 * TOLD_MAX] {
            let files: Vec<usize> = (0..count).collect();
            let (mut told, mut taken) = (0, Vec::new());
            each_file(
                Path::new("dir"),
                &files,
                Pace::Gentle,
                &|number, file, worker| {
                    assert_eq!((number, worker.buffer.as_mut().len()), (*file, Pace::Gentle.part_bytes()));
                    worker.done(3);
                    worker.done(7);
                    Ok(2 * number)
                },
                &mut |bytes| told += bytes,
                &mut |number, done| {
                    taken.push((number, done));
                    Ok(())
                },
            )
            .unwrap();
            taken.sort_unstable();
            assert_eq!(taken, files.iter().map(|number| (*number, 2 * number)).collect::<Vec<_>>());
            assert_eq!(told, 10 * count as u64);
        }
    }

    #[test]
    fn the_first_error_ends_it_wherever_it_is() {
        let files: Vec<usize> = (0..9 * TOLD_MAX).collect();
        for in_work in [true, false] {
            let fails = |here, number| if here && number >= 5 { Err(failed(5)) } else { Ok(()) };
            let mut taken = 0;
            let error = each_file(
                Path::new("dir"),
                &files,
                Pace::Full,
                &|number, _, _| fails(in_work, number),
                &mut |_| {},
                &mut |number, ()| {
                    taken += 1;
                    fails(!in_work, number)
                },
            );
            assert!(matches!(error, Err(BackupError::DamagedSource { .. })));
            assert!(taken < files.len());
        }
    }

    #[test]
    fn a_panic_of_one_ends_the_others_behind_the_file_that_they_have() {
        const FILES: usize = 9;
        const PATIENCE: Duration = Duration::from_secs(30);
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (tell, _told) = mpsc::sync_channel(TOLD_MAX);
        let until = Instant::now() + PATIENCE;
        thread::scope(|scope| {
            let go = || {
                let work = |number: usize, _: &(), _: &mut super::Worker<'_>| {
                    assert_ne!(number, 0, "a panic that a test wants");
                    while next.load(Ordering::Relaxed) <= FILES && Instant::now() < until {
                        thread::yield_now();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                go_through(&[(); FILES], &next, Pace::Full, &work, &tell);
            };
            let (one, another) = (scope.spawn(go), scope.spawn(go));
            assert!(one.join().is_err() != another.join().is_err(), "one of them has the first file");
        });
        assert!(done.into_inner() <= 1);
    }
}
