//! Copies bytes, and knows them by their checksum.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use super::error::BackupError;
use super::target::{Target, Written};
use super::workers::{PART_BYTES, Worker};
use super::{Bytes, OnBytes};

/// How fast is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the disk is.
    Full,
    /// A fifth of the time the disk is left to others: for a server that runs.
    Gentle,
}

/// Copies the first `end` bytes of a file into a new one of `bytes`, of which the others are zeros. Gives the
/// checksum of all of it, and the file, which is on stable storage when that is synced.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    (end, bytes): (u64, u64),
    worker: &mut Worker<'_>,
) -> Result<(u128, Written), BackupError> {
    let mut source = File::open(from).map_err(BackupError::io("open", from))?.take(end);
    let mut target = Target::create(to).map_err(BackupError::io("create", to))?;
    let (mut hasher, mut copied) = (Xxh3Default::new(), 0);
    loop {
        let len = fill(&mut source, worker.buffer.as_mut()).map_err(BackupError::io("read", from))?;
        if len == 0 {
            break;
        }
        hasher.update(&worker.buffer.as_mut()[..len]);
        target.write(&mut worker.buffer, len).map_err(BackupError::io("write", to))?;
        worker.copied(len);
        copied += len as u64;
    }
    if copied < end {
        return Err(BackupError::DamagedSource { path: from.to_owned() });
    }
    zeros(bytes - end, &mut hasher);
    let written = target.end(bytes).map_err(BackupError::io("end", to))?;
    worker.skipped(bytes - end);
    Ok((hasher.digest128(), written))
}

/// Reads until a buffer is full or nothing more comes; gives how much has.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match source.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The checksum of a file.
pub(super) fn checksum(path: &Path, progress: &mut OnBytes<'_>, done: &mut Bytes) -> std::io::Result<u128> {
    let (mut file, mut hasher, mut part) = (File::open(path)?, Xxh3Default::new(), vec![0; PART_BYTES]);
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok(hasher.digest128());
        }
        hasher.update(&part[..read]);
        done.done += read as u64;
        progress(*done);
    }
}

/// The checksum of the first `end` bytes of a file with zeros behind them.
pub(super) fn checksum_of(
    path: &Path,
    (end, bytes): (u64, u64),
    worker: &mut Worker<'_>,
) -> std::io::Result<u128> {
    let (mut file, mut hasher) = (File::open(path)?.take(end), Xxh3Default::new());
    loop {
        let read = file.read(worker.buffer.as_mut())?;
        if read == 0 {
            zeros(bytes - end, &mut hasher);
            return Ok(hasher.digest128());
        }
        hasher.update(&worker.buffer.as_mut()[..read]);
        worker.read(read);
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
