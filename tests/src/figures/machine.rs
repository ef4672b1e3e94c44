//! Memory and work of a process, as Linux tells them, and what a folder takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quoth_bench::process::Usage;

/// Resident memory of a process, in KiB.
///
/// # Errors
/// When there is no such process.
pub(super) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    status_kib(pid, "VmRSS:")
}

/// The most resident memory that a process has had since [`begin_peak`], in KiB.
///
/// # Errors
/// When there is no such process.
pub(super) fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    status_kib(pid, "VmHWM:")
}

/// From now on [`peak_kib`] tells of what comes.
///
/// # Errors
/// When the process is not ours.
pub(super) fn begin_peak(pid: u32) -> anyhow::Result<()> {
    const RESET_PEAK: &str = "5";
    std::fs::write(format!("/proc/{pid}/clear_refs"), RESET_PEAK)
        .with_context(|| format!("the peak of the memory of process {pid} cannot be reset"))
}

fn status_kib(pid: u32, key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Waits until a process does next to nothing of its own accord, as merging tables.
///
/// # Errors
/// When there is no such process, or it goes on for ever.
pub(super) fn settle(pid: u32) -> anyhow::Result<()> {
    const INTERVAL: Duration = Duration::from_millis(500);
    const QUIET: f64 = 0.02;
    const PATIENCE: Duration = Duration::from_secs(300);
    let started = Instant::now();
    loop {
        let before_s = Usage::of(pid)?.cpu_s;
        std::thread::sleep(INTERVAL);
        if Usage::of(pid)?.cpu_s - before_s < QUIET * INTERVAL.as_secs_f64() {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < PATIENCE, "process {pid} is still busy after {PATIENCE:?}");
    }
}

/// Bytes of all files in a folder. One that goes meanwhile has none.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn bytes_in(dir: &Path) -> anyhow::Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path())?,
            Ok(metadata) => metadata.len() as f64,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0.0,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(bytes)
}
