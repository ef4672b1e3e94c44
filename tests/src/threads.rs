//! Processor time of threads of this process.

use anyhow::Context as _;

/// The kernel's number of the calling thread.
///
/// # Errors
/// When the system does not tell.
pub fn this_thread() -> anyhow::Result<i32> {
    let link = std::fs::read_link("/proc/thread-self")?;
    let number = link.file_name().and_then(|name| name.to_str()).context("no number")?;
    Ok(number.parse()?)
}

/// The processor time that a thread of this process has used, in seconds.
///
/// # Errors
/// When there is no such thread.
pub fn cpu_s(thread: i32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let nanoseconds = stat.split_whitespace().next().context("no time")?;
    Ok(nanoseconds.parse::<u64>()? as f64 / 1e9)
}
