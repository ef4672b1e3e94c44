//! The floor of the disk: a plain file that grows, with `fdatasync` after each write.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A plain file that is appended to.
#[derive(Debug)]
pub struct PlainFile(File);

impl PlainFile {
    /// Creates it.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        File::create(path).map(Self)
    }

    /// Appends, waits until the disk has it, and says how long that took.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, bytes: &[u8]) -> std::io::Result<Duration> {
        let started = Instant::now();
        self.0.write_all(bytes)?;
        self.0.sync_data()?;
        Ok(started.elapsed())
    }
}

/// Appends what is due at a rate, all that is due at once with one flush, as a group commit does; gives the
/// times of single appends.
///
/// # Errors
/// When the disk refuses.
pub fn append_at_rate(
    file: &mut PlainFile,
    message: &[u8],
    per_second: u64,
    duration: Duration,
) -> std::io::Result<Vec<Duration>> {
    let (started, mut written, mut times) = (Instant::now(), 0, Vec::new());
    let mut group = Vec::new();
    while started.elapsed() < duration {
        let due =
            u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX) * per_second / 1_000_000_000;
        if due == written {
            std::thread::sleep(Duration::from_micros(20));
            continue;
        }
        group.clear();
        (written..due).for_each(|_| group.extend_from_slice(message));
        times.push(file.append(&group)?);
        written = due;
    }
    Ok(times)
}
