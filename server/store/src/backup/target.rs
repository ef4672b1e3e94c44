//! A file that is written past the system's cache, where the file system allows that.
//!
//! What goes to the disk at once need not be flushed, so nothing gathers for which others wait who flush
//! meanwhile, and what they have in the cache stays there.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::durable::{sync_all, sync_data};

/// Of what addresses, places and lengths are multiples that go past the cache: what disks want at most.
const ALIGNMENT: usize = 4096;

/// So much is in the cache at most before it is brought to the disk, where there is no way past it.
const UNSYNCED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that may go past the cache.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// One of this length, which is a multiple of [`ALIGNMENT`].
    pub(super) fn new(len: usize) -> Self {
        debug_assert!(len.is_multiple_of(ALIGNMENT));
        let bytes = vec![0; len + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, start, len }
    }

    /// All of it.
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// Whether a file system says so that nothing goes past its cache, or nothing of that length.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// A new file that is written, and may be in memory alone.
pub(super) struct Written {
    file: File,
    pub(super) path: PathBuf,
}

impl Written {
    /// Brings it to stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_all(&self.file, &self.path)
    }
}

/// A new file that is being written.
pub(super) struct Target<'a> {
    file: File,
    path: &'a Path,
    is_direct: bool,
    unsynced_bytes: usize,
}

impl<'a> Target<'a> {
    /// Creates the file for its owner alone, or empties it.
    pub(super) fn create(path: &'a Path) -> io::Result<Self> {
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.custom_flags(flags.bits().cast_signed()).open(path)
        };
        let (file, is_direct) = match open(OFlags::DIRECT) {
            Err(error) if is_refused(&error) => (open(OFlags::empty())?, false),
            file => (file?, true),
        };
        Ok(Self { file, path, is_direct, unsynced_bytes: 0 })
    }

    /// Writes the first `len` bytes of a buffer: all of it, but for what is written last.
    pub(super) fn write(&mut self, buffer: &mut Buffer, len: usize) -> io::Result<()> {
        let (bytes, padded, mut done) = (buffer.as_mut(), len.next_multiple_of(ALIGNMENT), 0);
        // The file may be longer in the end.
        bytes[len..padded].fill(0);
        while done < len {
            let end = if self.is_direct { padded } else { len };
            match self.file.write(&bytes[done..end]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(more) => done += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It was opened so, and disk or file system want larger multiples.
                Err(error) if self.is_direct && is_refused(&error) => {
                    self.use_cache()?;
                }
                Err(error) => return Err(error),
            }
        }
        if !self.is_direct {
            self.unsynced_bytes += len;
            if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
                sync_data(&self.file, self.path)?;
                self.unsynced_bytes = 0;
            }
        }
        Ok(())
    }

    /// What is written from now on goes through the cache.
    fn use_cache(&mut self) -> io::Result<()> {
        fcntl_setfl(&self.file, fcntl_getfl(&self.file)? - OFlags::DIRECT)?;
        self.is_direct = false;
        Ok(())
    }

    /// Ends the file with this length. What was not written is zeros.
    pub(super) fn end(self, len: u64) -> io::Result<Written> {
        self.file.set_len(len)?;
        Ok(Written { file: self.file, path: self.path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{ALIGNMENT, Buffer, Errno, Target, UNSYNCED_BYTES_MAX, is_refused};
    use crate::durable::syncs;

    const BUFFER_BYTES: usize = 4 * ALIGNMENT;

    /// Writes a file in buffers, past the cache or, from some buffer on, through it.
    fn write(path: &std::path::Path, bytes: &[u8], len: u64, through_cache_from: usize) {
        let mut target = Target::create(path).unwrap();
        for (number, part) in bytes.chunks(BUFFER_BYTES).enumerate() {
            let mut buffer = Buffer::new(BUFFER_BYTES);
            buffer.as_mut().fill(0xff);
            buffer.as_mut()[..part.len()].copy_from_slice(part);
            if number == through_cache_from {
                target.use_cache().unwrap();
            }
            target.write(&mut buffer, part.len()).unwrap();
        }
        target.end(len).unwrap().sync().unwrap();
    }

    #[test]
    fn a_file_has_what_was_written_and_zeros_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, ALIGNMENT - 1, ALIGNMENT, BUFFER_BYTES + 1, 3 * BUFFER_BYTES, 100_000] {
            for (behind, through_cache_from) in [(0, 0), (0, 9), (5_000, 9), (1, 1), (5_000, 0)] {
                let bytes: Vec<u8> = (1..=251).cycle().take(len).collect();
                write(&path, &bytes, (len + behind) as u64, through_cache_from);
                let expected = [bytes, vec![0; behind]].concat();
                assert!(std::fs::read(&path).unwrap() == expected, "{len} bytes and {behind} zeros");
            }
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_system_that_knows_no_way_past_its_cache_is_written_through_it() {
        let is_refused = |errno: Errno| is_refused(&errno.into());
        assert!(is_refused(Errno::INVAL) && is_refused(Errno::OPNOTSUPP));
        assert!(!is_refused(Errno::NOSPC) && !is_refused(Errno::ACCESS));
    }

    #[test]
    fn what_is_in_the_cache_is_flushed_from_time_to_time_and_all_of_it_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes = vec![1; UNSYNCED_BYTES_MAX + BUFFER_BYTES];
        syncs::take();
        write(&path, &bytes, bytes.len() as u64, 0);
        assert_eq!(syncs::take(), [path.clone(), path.clone()]);
        write(&path, &bytes, bytes.len() as u64, usize::MAX);
        // Where there is no way past the cache, as in some file systems in memory, they are flushed too.
        assert!((1..=2).contains(&syncs::take().len()));
    }
}
