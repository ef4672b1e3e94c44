//! Copies bytes so that nobody who waits for the same disk notices.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

use xxhash_rust::xxh3::Xxh3Default;

use super::error::BackupError;
use super::target::{Buffer, Target};
use super::{Bytes, OnBytes};

/// Read and written at once. Who flushes meanwhile, as the log does for every group, waits for no more than
/// that.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Of those that are read while one is written.
const BUFFERS: usize = 3;

/// So much is read or written between two times that the disk is left to others.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// How fast is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the disk is.
    Full,
    /// A fifth of the time the disk is left to others: for a server that runs.
    Gentle,
}

/// Copies the first `end` bytes of a file into a new one of `bytes`, of which the others are zeros, on stable
/// storage. Gives the checksum of all of it. While a part is written the next one is read.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    (end, bytes): (u64, u64),
    pace: Pace,
    progress: &mut OnBytes<'_>,
    done: &mut Bytes,
) -> Result<u128, BackupError> {
    let source = File::open(from).map_err(BackupError::io("open", from))?.take(end);
    let mut target = Target::create(to).map_err(BackupError::io("create", to))?;
    let (read, to_write) = mpsc::sync_channel(BUFFERS);
    let (written, to_read) = mpsc::sync_channel(BUFFERS);
    let mut copied = 0;
    let mut hasher = std::thread::scope(|scope| {
        let reading = scope.spawn(move || hashed(source, &to_read, &read));
        // Dropped here where it cannot be written, so that reading ends.
        let (written, to_write) = (written, to_write);
        let mut breath = Breath::new(pace);
        for _ in 0..BUFFERS {
            let _read_already = written.send(Buffer::new(CHUNK_BYTES));
        }
        for (mut buffer, len) in &to_write {
            target.write(&mut buffer, len).map_err(BackupError::io("write", to))?;
            let _all_is_read = written.send(buffer);
            breath.after(len);
            copied += len as u64;
            done.done += len as u64;
            progress(*done);
        }
        let hasher = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        hasher.map_err(BackupError::io("read", from))
    })?;
    if copied < end {
        return Err(BackupError::DamagedSource { path: from.to_owned() });
    }
    zeros(bytes - end, &mut hasher);
    target.end(bytes).map_err(BackupError::io("sync", to))?;
    done.done += bytes - end;
    progress(*done);
    Ok(hasher.digest128())
}

/// Reads buffers that were written full again until there is nothing more, or nobody who writes them. Gives
/// the checksum so far.
fn hashed(
    mut source: impl Read,
    written: &Receiver<Buffer>,
    read: &SyncSender<(Buffer, usize)>,
) -> std::io::Result<Xxh3Default> {
    let mut hasher = Xxh3Default::new();
    while let Ok(mut buffer) = written.recv() {
        let len = fill(&mut source, buffer.as_mut())?;
        hasher.update(&buffer.as_mut()[..len]);
        if len == 0 || read.send((buffer, len)).is_err() {
            break;
        }
    }
    Ok(hasher)
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
        breath.after(read);
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

    /// So many bytes more were read or written.
    fn after(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes < PIECE_BYTES {
            return;
        }
        if self.pace == Pace::Gentle {
            std::thread::sleep(self.began.elapsed() / 4);
        }
        *self = Self::new(self.pace);
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

    use super::{CHUNK_BYTES, Pace, checksum, checksum_of, copy};
    use crate::backup::{BackupError, Bytes};
    use crate::durable::syncs;

    #[test]
    fn a_copy_has_the_first_bytes_and_zeros_and_is_known_by_both() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let source: Vec<u8> = (0..=250).cycle().take(5 * CHUNK_BYTES + 7).collect();
        std::fs::write(&from, &source).unwrap();
        for end in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, source.len()] {
            for zeros in [0, 9_000] {
                let (end, len) = (end as u64, (end + zeros) as u64);
                let (mut told, mut done) = (Vec::new(), Bytes { done: 3, total: 3 + len });
                let mut tell = |bytes: Bytes| told.push(bytes.done);
                let copied = copy(&from, &to, (end, len), Pace::Full, &mut tell, &mut done).unwrap();
                let expected = [&source[..usize::try_from(end).unwrap()], &vec![0; zeros]].concat();
                assert!(std::fs::read(&to).unwrap() == expected, "{end} bytes and {zeros} zeros");
                assert_eq!(copied, checksum_of(&from, end, len, Pace::Full).unwrap());
                assert_eq!(copied, checksum(&to, &mut |_| {}, &mut Bytes::default()).unwrap());
                assert!(told.is_sorted() && told.last() == Some(&(3 + len)), "{told:?}");
                assert_eq!(done.done, 3 + len);
            }
        }
    }

    #[test]
    fn a_copy_that_fails_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        std::fs::write(&from, vec![1; 3 * CHUNK_BYTES]).unwrap();
        let copied = |from: &Path, to: &Path, end| {
            copy(from, to, (end, end), Pace::Full, &mut |_| {}, &mut Bytes::default())
        };
        let longer = 3 * CHUNK_BYTES as u64 + 1;
        assert!(matches!(copied(&from, &to, longer), Err(BackupError::DamagedSource { .. })));
        let is_of = |result, of: &Path| matches!(result, Err(BackupError::Io { path, .. }) if path == of);
        assert!(is_of(copied(&dir.path().join("none"), &to, 1), &dir.path().join("none")));
        assert!(is_of(copied(&from, &dir.path().join("none/to"), 1), &dir.path().join("none/to")));
        // A folder opens as a file does, and is none when it is read.
        assert!(is_of(copied(dir.path(), &to, 1), dir.path()));
        syncs::fail_next();
        assert!(is_of(copied(&from, &to, 1), &to));
        // Whoever writes no further lets who reads for it end.
        let full = Path::new("/dev/full");
        assert!(is_of(copied(&from, full, longer - 1), full));
    }
}
