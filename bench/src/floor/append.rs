//! The floor of the disk: a plain file that grows, with `fdatasync` behind each group of messages.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::record::{histogram, record};
use crate::schedule;

/// What is appended.
#[derive(Debug, Clone, clap::Args)]
pub struct Task {
    /// The folder in which the file is made.
    dir: PathBuf,
    /// The profile, in JSON.
    profile: String,
    /// Messages that wait for one flush, in place of the profile's schedule; 0 for the schedule.
    group: u32,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// Appends behind the warm-up.
    pub appends: u64,
    /// Seconds that they took together.
    pub duration_s: f64,
    /// From when a message was due until it was flushed: (nanoseconds, how many).
    times: Vec<(u64, u64)>,
}

impl Found {
    /// The times as a histogram.
    #[must_use]
    pub fn times(&self) -> Histogram<u64> {
        let mut whole = histogram();
        for (nanos, count) in &self.times {
            whole
                .record_n(*nanos, *count)
                .unwrap_or_else(|_| unreachable!("a histogram that grows takes any value"));
        }
        whole
    }
}

/// The arguments of a task.
///
/// # Errors
/// When the profile cannot be written as a document.
pub fn arguments(dir: &Path, profile: &Profile, group: u32) -> anyhow::Result<[std::ffi::OsString; 4]> {
    let profile = serde_json::to_string(profile)?;
    Ok(["append".into(), dir.into(), profile.into(), group.to_string().into()])
}

/// Appends and prints what was found.
///
/// # Errors
/// When the disk refuses.
pub fn run(task: &Task) -> anyhow::Result<()> {
    let profile: Profile = serde_json::from_str(&task.profile).context("the profile")?;
    let mut file = File::create(task.dir.join("append"))?;
    let found = if task.group == 0 {
        on_schedule(&mut file, &profile)?
    } else {
        in_groups(&mut file, &profile, task.group)?
    };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// Appends what is due, all that is due at once with one flush, as a group commit does.
fn on_schedule(file: &mut File, profile: &Profile) -> anyhow::Result<Found> {
    let warm_up = Duration::from_secs_f64(profile.warm_up_s);
    let length = warm_up + Duration::from_secs_f64(profile.duration_s);
    let mut messages = schedule::messages(&profile.shape, &profile.payload, length, 0).peekable();
    let bytes = vec![b'x'; profile.payload.mean_bytes()];
    let (epoch, mut times, mut appends) = (Instant::now(), histogram(), 0);
    let (mut group, mut waiting) = (Vec::new(), Vec::new());
    while let Some(next) = messages.peek() {
        std::thread::sleep((epoch + next.at).saturating_duration_since(Instant::now()));
        while let Some(due) = messages.next_if(|due| epoch + due.at <= Instant::now()) {
            group.extend_from_slice(&bytes);
            waiting.push(due.at);
        }
        append(file, &mut group)?;
        let now = epoch.elapsed();
        for due in waiting.drain(..).filter(|due| *due >= warm_up) {
            record(&mut times, now.saturating_sub(due));
            appends += 1;
        }
    }
    Ok(Found { appends, duration_s: profile.duration_s, times: pairs(&times) })
}

/// Appends groups of one size, one behind the other.
fn in_groups(file: &mut File, profile: &Profile, group: u32) -> anyhow::Result<Found> {
    let bytes = vec![b'x'; profile.payload.mean_bytes() * group as usize];
    let mut times = histogram();
    let mut begin = Instant::now();
    let end = begin + Duration::from_secs_f64(profile.warm_up_s + profile.duration_s);
    let warm_up_end = begin + Duration::from_secs_f64(profile.warm_up_s);
    while Instant::now() < end {
        let started = Instant::now();
        append(file, &mut bytes.clone())?;
        if started >= warm_up_end {
            record(&mut times, started.elapsed());
        } else {
            begin = Instant::now();
        }
    }
    let appends = times.len() * u64::from(group);
    Ok(Found { appends, duration_s: begin.elapsed().as_secs_f64(), times: pairs(&times) })
}

fn append(file: &mut File, group: &mut Vec<u8>) -> std::io::Result<()> {
    file.write_all(group)?;
    group.clear();
    file.sync_data()
}

fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}
