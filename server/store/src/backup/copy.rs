//! Copies bytes so that nobody who waits for the same disk notices.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use xxhash_rust::xxh3::Xxh3Default;

use super::error::BackupError;
use super::{Bytes, OnBytes};
use crate::durable::{sync_all, sync_data};

/// Read and written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// So much is written before it is brought to the disk. Who flushes meanwhile, as the log does for every
/// group, waits for no more than that: without it the system would gather gigabytes and write them all at
/// once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// How fast is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the disk is.
    Full,
    /// A third of the time the disk is left to others: for a server that runs.
    Gentle,
}

/// Copies the first `end` bytes of a file into a new one of `bytes`, of which the others are zeros, on stable
/// storage. Gives the checksum of all of it.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    (end, bytes): (u64, u64),
    pace: Pace,
    progress: &mut OnBytes<'_>,
    done: &mut Bytes,
) -> Result<u128, BackupError> {
    let mut source = File::open(from).map_err(BackupError::io("open", from))?.take(end);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut target = options.open(to).map_err(BackupError::io("create", to))?;
    let (mut hasher, mut chunk) = (Xxh3Default::new(), vec![0; CHUNK_BYTES]);
    let (mut copied, mut breath) = (0, Breath::new(pace));
    loop {
        let read = source.read(&mut chunk).map_err(BackupError::io("read", from))?;
        if read == 0 {
            break;
        }
        target.write_all(&chunk[..read]).map_err(BackupError::io("write", to))?;
        hasher.update(&chunk[..read]);
        copied += read as u64;
        breath.after(read, || sync_data(&target, to).map_err(BackupError::io("sync", to)))?;
        done.done += read as u64;
        progress(*done);
    }
    if copied < end {
        return Err(BackupError::DamagedSource { path: from.to_owned() });
    }
    target.set_len(bytes).map_err(BackupError::io("set the length of", to))?;
    zeros(bytes - end, &mut hasher);
    sync_all(&target, to).map_err(BackupError::io("sync", to))?;
    done.done += bytes - end;
    progress(*done);
    Ok(hasher.digest128())
}

/// The checksum of a file.
pub(super) fn checksum(path: &Path, progress: &mut OnBytes<'_>, done: &mut Bytes) -> std::io::Result<u128> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, Xxh3Default::new(), vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hasher.digest128());
        }
        hasher.update(&chunk[..read]);
        done.done += read as u64;
        progress(*done);
    }
}

/// The checksum of the first `end` bytes of a file with zeros behind them.
pub(super) fn checksum_of(path: &Path, end: u64, bytes: u64, pace: Pace) -> std::io::Result<u128> {
    let (mut file, mut hasher, mut chunk) =
        (File::open(path)?.take(end), Xxh3Default::new(), vec![0; CHUNK_BYTES]);
    let mut breath = Breath::new(pace);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            zeros(bytes - end, &mut hasher);
            return Ok(hasher.digest128());
        }
        hasher.update(&chunk[..read]);
        breath.after(read, || Ok::<_, std::io::Error>(()))?;
    }
}

/// Leaves the disk to others from time to time.
struct Breath {
    pace: Pace,
    /// Bytes since the last time.
    bytes: usize,
    began: Instant,
}

impl Breath {
    fn new(pace: Pace) -> Self {
        Self { pace, bytes: 0, began: Instant::now() }
    }

    /// So many bytes more were read or written; `settle` ends a piece of them.
    fn after<E>(&mut self, bytes: usize, settle: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.bytes += bytes;
        if self.bytes < PIECE_BYTES {
            return Ok(());
        }
        settle()?;
        if self.pace == Pace::Gentle {
            std::thread::sleep(self.began.elapsed() / 2);
        }
        *self = Self::new(self.pace);
        Ok(())
    }
}

fn zeros(mut count: u64, hasher: &mut Xxh3Default) {
    let zeros = [0; 4096];
    while count > 0 {
        let these = count.min(zeros.len() as u64);
        hasher.update(&zeros[..usize::try_from(these).unwrap_or_default()]);
        count -= these;
    }
}
