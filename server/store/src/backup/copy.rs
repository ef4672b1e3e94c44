//! Copies bytes, and knows them by their checksum.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use super::error::BackupError;
use super::target::{Target, Written};
use super::workers::{PART_BYTES_MAX, Worker};
use super::{Bytes, OnBytes};

/// How fast is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the disk is.
    Full,
    /// With less on its way to the disk at once: for a server that runs, whose flushes wait for that.
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
        worker.done(len as u64);
        copied += len as u64;
    }
    if copied < end {
        return Err(BackupError::DamagedSource { path: from.to_owned() });
    }
    zeros(bytes - end, &mut hasher);
    let written = target.end(bytes).map_err(BackupError::io("end", to))?;
    worker.done(bytes - end);
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
    let (mut file, mut hasher, mut part) = (File::open(path)?, Xxh3Default::new(), vec![0; PART_BYTES_MAX]);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PART_BYTES_MAX, Pace, checksum, checksum_of, copy};
    use crate::backup::workers::each_file;
    use crate::backup::{BackupError, Bytes};
    use crate::durable::syncs;

    /// Copies a file on a thread for that, and says how many bytes were told.
    fn copied(from: &Path, to: &Path, (end, bytes): (u64, u64)) -> Result<(u128, u64), BackupError> {
        let (mut told, mut checksum) = (0, None);
        each_file(
            to,
            &[()],
            Pace::Full,
            &|_, (), worker| {
                let known = checksum_of(from, (end, bytes), worker).map_err(BackupError::io("read", from))?;
                Ok((known, copy(from, to, (end, bytes), worker)?))
            },
            &mut |more| told += more,
            &mut |_, (known, (copied, written))| {
                assert_eq!(known, copied);
                checksum = Some(copied);
                written.sync().map_err(BackupError::io("sync", to))
            },
        )?;
        Ok((checksum.unwrap(), told))
    }

    #[test]
    fn a_copy_has_the_first_bytes_and_zeros_and_is_known_by_both() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let source: Vec<u8> = (0..=250).cycle().take(5 * PART_BYTES_MAX + 7).collect();
        std::fs::write(&from, &source).unwrap();
        for end in
            [0, 1, PART_BYTES_MAX - 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 4 * PART_BYTES_MAX, source.len()]
        {
            for zeros in [0, 9_000] {
                let (end, len) = (end as u64, (end + zeros) as u64);
                let (copied, told) = copied(&from, &to, (end, len)).unwrap();
                let expected = [&source[..usize::try_from(end).unwrap()], &vec![0; zeros]].concat();
                assert!(std::fs::read(&to).unwrap() == expected, "{end} bytes and {zeros} zeros");
                assert_eq!(copied, checksum(&to, &mut |_| {}, &mut Bytes::default()).unwrap());
                assert_eq!(told, len);
            }
        }
    }

    #[test]
    fn a_copy_that_fails_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        std::fs::write(&from, vec![1; 3 * PART_BYTES_MAX]).unwrap();
        let longer = 3 * PART_BYTES_MAX as u64 + 1;
        let copied = |from: &Path, to: &Path, end| copied(from, to, (end, end));
        assert!(matches!(copied(&from, &to, longer), Err(BackupError::DamagedSource { .. })));
        let is_of = |result, of: &Path| matches!(result, Err(BackupError::Io { path, .. }) if path == of);
        assert!(is_of(copied(&dir.path().join("none"), &to, 1), &dir.path().join("none")));
        assert!(is_of(copied(&from, &dir.path().join("none/to"), 1), &dir.path().join("none/to")));
        // A folder opens as a file does, and is none when it is read.
        assert!(is_of(copied(dir.path(), &to, 1), dir.path()));
        syncs::fail_next();
        assert!(is_of(copied(&from, &to, 1), &to));
        let full = Path::new("/dev/full");
        assert!(is_of(copied(&from, full, longer - 1), full));
    }
}
