//! Memory of a process, as Linux tells it.

use anyhow::Context as _;

/// Resident memory of a process, in KiB.
///
/// # Errors
/// When there is no such process.
pub(super) fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
