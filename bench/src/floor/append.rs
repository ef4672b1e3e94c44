//! The floor of the disk: a plain file that is allocated ahead, with `fdatasync` behind each group of
//! messages.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use super::rooms::Fault;
use crate::pacer::sharpen_timer;
use crate::payload::STAMP_BYTES;
use crate::profile::Profile;
use crate::record::{histogram, record};
use crate::schedule::{self, Content, Due};

/// What a processor that is busy with others takes of each flush, where a test asks for that.
const HELD_UP: Duration = Duration::from_millis(100);

/// What is appended.
#[derive(Debug, Clone, clap::Args)]
pub struct Task {
    /// The folder in which the file is made.
    dir: PathBuf,
    /// The profile, in JSON.
    profile: String,
    /// Messages that wait for one flush, in place of the profile's schedule; 0 for the schedule.
    group: u32,
    /// Of whatever is random in the schedule.
    seed: u64,
    /// A file with what is due in place of the profile's schedule: a line for each message, with the
    /// nanoseconds behind the begin and the bytes.
    schedule: Option<PathBuf>,
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
    /// How late the timer was.
    late: Vec<(u64, u64)>,
    /// What single appends to the same file took just before.
    quiet: Vec<(u64, u64)>,
}

impl Found {
    /// The times as a histogram.
    #[must_use]
    pub fn times(&self) -> Histogram<u64> {
        whole(&self.times)
    }

    /// How late the timer was, before the load and, on a schedule, in it; it is in none of the times.
    #[must_use]
    pub fn late(&self) -> Histogram<u64> {
        whole(&self.late)
    }

    /// What the quiet probe took.
    #[must_use]
    pub fn quiet(&self) -> Histogram<u64> {
        whole(&self.quiet)
    }
}

fn whole(pairs: &[(u64, u64)]) -> Histogram<u64> {
    let mut whole = histogram();
    for (nanos, count) in pairs {
        whole
            .record_n(*nanos, *count)
            .unwrap_or_else(|_| unreachable!("a histogram that grows takes any value"));
    }
    whole
}

/// The arguments of a task. What is `replayed` is due in place of the profile's schedule.
///
/// # Errors
/// When the profile or what is due cannot be written.
pub fn arguments(
    dir: &Path,
    profile: &Profile,
    group: u32,
    seed: u64,
    replayed: Option<&[Due]>,
) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let profile = serde_json::to_string(profile)?;
    let mut arguments =
        vec!["append".into(), dir.into(), profile.into(), group.to_string().into(), seed.to_string().into()];
    if let Some(due) = replayed {
        let path = dir.join("schedule");
        let line = |due: &Due| format!("{} {}\n", due.at.as_nanos(), bytes_of(&due.content));
        std::fs::write(&path, due.iter().map(line).collect::<String>())?;
        arguments.push(path.into());
    }
    Ok(arguments)
}

/// Bytes of a message, as clients send it.
fn bytes_of(content: &Content) -> usize {
    match content {
        Content::Bytes(bytes) => *bytes,
        Content::Text(text) => STAMP_BYTES + text.len(),
    }
}

/// What is due, as in the file that [`arguments`] writes.
fn read(schedule: &str) -> anyhow::Result<Vec<(Duration, usize)>> {
    let due = |line: &str| {
        let (nanos, bytes) = line.split_once(' ')?;
        Some((Duration::from_nanos(nanos.parse().ok()?), bytes.parse().ok()?))
    };
    schedule.lines().map(|line| due(line).with_context(|| format!("no line of a schedule: {line}"))).collect()
}

/// Appends and prints what was found.
///
/// # Errors
/// When the disk refuses.
pub fn run(task: &Task) -> anyhow::Result<()> {
    let profile: Profile = serde_json::from_str(&task.profile).context("the profile")?;
    let mut file = Allocated::create(&task.dir.join("append"))?;
    let length = Duration::from_secs_f64(profile.warm_up_s + profile.duration_s);
    sharpen_timer();
    let (quiet, lates) = probe(&mut file, profile.payload.mean_bytes() * task.group.max(1) as usize)?;
    let found = match &task.schedule {
        Some(schedule) => {
            on_schedule(&mut file, &profile, lates, read(&std::fs::read_to_string(schedule)?)?.into_iter())?
        }
        None if task.group == 0 => {
            let messages = schedule::messages(&profile.shape, &profile.payload, length, task.seed);
            on_schedule(&mut file, &profile, lates, messages.map(|due| (due.at, bytes_of(&due.content))))?
        }
        None => in_groups(&mut file, &profile, lates, task.group)?,
    };
    println!("{}", serde_json::to_string(&Found { quiet: pairs(&quiet), ..found })?);
    Ok(())
}

/// What an append takes where none waits for another, and how late the timer is: one each millisecond, as
/// many as tell a p99.
fn probe(file: &mut Allocated, bytes: usize) -> std::io::Result<(Histogram<u64>, Histogram<u64>)> {
    const APPENDS: u32 = 200;
    const INTERVAL: Duration = Duration::from_millis(1);
    /// Of a slow disk fewer must do.
    const AT_MOST: Duration = Duration::from_secs(1);
    let (group, mut times, mut lates, begin) = (vec![b'x'; bytes], histogram(), histogram(), Instant::now());
    for _ in 0..APPENDS {
        let late = sleep_until(Instant::now() + INTERVAL);
        record(&mut lates, late.unwrap_or_default());
        let started = Instant::now();
        file.append(&group)?;
        record(&mut times, started.elapsed());
        if begin.elapsed() > AT_MOST {
            break;
        }
    }
    Ok((times, lates))
}

/// Appends what is due, all that is due at once with one flush, as a group commit does.
fn on_schedule(
    file: &mut Allocated,
    profile: &Profile,
    mut lates: Histogram<u64>,
    messages: impl Iterator<Item = (Duration, usize)>,
) -> anyhow::Result<Found> {
    let warm_up = Duration::from_secs_f64(profile.warm_up_s);
    let mut messages = messages.peekable();
    let held_up = Fault::asked() == Some(Fault::HoldUp);
    let (epoch, mut times, mut appends) = (Instant::now(), histogram(), 0);
    let (mut group, mut waiting) = (Vec::new(), Vec::new());
    while let Some((next, _)) = messages.peek() {
        let next_at = epoch + *next;
        let late = sleep_until(next_at);
        if let Some(late) = late.filter(|_| *next >= warm_up) {
            record(&mut lates, late);
        }
        let woken = late.map(|late| *next + late);
        if held_up {
            std::thread::sleep(HELD_UP);
        }
        while let Some((at, bytes)) = messages.next_if(|(at, _)| epoch + *at <= Instant::now()) {
            group.resize(group.len() + bytes, b'x');
            waiting.push(at);
        }
        file.append(&group)?;
        group.clear();
        let now = epoch.elapsed();
        for due in waiting.drain(..).filter(|due| *due >= warm_up) {
            record(&mut times, took(due, woken, now));
            appends += 1;
        }
    }
    Ok(Found {
        appends,
        duration_s: profile.duration_s,
        times: pairs(&times),
        late: pairs(&lates),
        quiet: Vec::new(),
    })
}

/// What a message took that was due and is flushed now. How late the timer was has no place in it: where this
/// time is added to a relay's, it is in there already. What was due in that time was late by less than the
/// timer.
fn took(due: Duration, woken: Option<Duration>, now: Duration) -> Duration {
    now.saturating_sub(woken.map_or(due, |woken| due.max(woken)))
}

/// Appends groups of one size, one behind the other.
fn in_groups(
    file: &mut Allocated,
    profile: &Profile,
    lates: Histogram<u64>,
    group: u32,
) -> anyhow::Result<Found> {
    let bytes = vec![b'x'; profile.payload.mean_bytes() * group as usize];
    let mut times = histogram();
    let mut begin = Instant::now();
    let end = begin + Duration::from_secs_f64(profile.warm_up_s + profile.duration_s);
    let warm_up_end = begin + Duration::from_secs_f64(profile.warm_up_s);
    while Instant::now() < end {
        let started = Instant::now();
        file.append(&bytes)?;
        if started >= warm_up_end {
            record(&mut times, started.elapsed());
        } else {
            begin = Instant::now();
        }
    }
    let appends = times.len() * u64::from(group);
    Ok(Found {
        appends,
        duration_s: begin.elapsed().as_secs_f64(),
        times: pairs(&times),
        late: pairs(&lates),
        quiet: Vec::new(),
    })
}

/// A file whose space is there before it is written: a flush of one that grows writes the file system's
/// journal too.
struct Allocated {
    file: File,
    written: u64,
    allocated: u64,
}

impl Allocated {
    /// As much as the server's log takes at a time.
    const CHUNK_BYTES: u64 = 64 * 1024 * 1024;

    fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: File::create(path)?, written: 0, allocated: 0 })
    }

    fn append(&mut self, group: &[u8]) -> std::io::Result<()> {
        self.written += group.len() as u64;
        if self.written > self.allocated {
            let more = Self::CHUNK_BYTES.max(group.len() as u64);
            fallocate(&self.file, FallocateFlags::empty(), self.allocated, more)?;
            self.allocated += more;
        }
        self.file.write_all(group)?;
        self.file.sync_data()
    }
}

/// Sleeps; gives how much too long. `None` of a time that has passed.
fn sleep_until(at: Instant) -> Option<Duration> {
    let left = at.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    std::thread::sleep(left);
    Some(at.elapsed())
}

fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_makes_no_flush_shorter() {
        let ms = Duration::from_millis;
        // Woken at 9 for what was due at 5, and flushed at 11.
        assert_eq!(took(ms(5), Some(ms(9)), ms(11)), ms(2));
        assert_eq!(took(ms(8), Some(ms(9)), ms(11)), ms(2));
        // What was due behind that, or during the flush before.
        assert_eq!(took(ms(10), Some(ms(9)), ms(11)), ms(1));
        assert_eq!(took(ms(5), None, ms(11)), ms(6));
    }

    #[test]
    fn what_is_replayed_is_due_with_its_own_sizes() {
        let dir = tempfile::tempdir().expect("a folder");
        let profile = Profile::find("chat").expect("a profile");
        let text = |ms, text: &'static str| Due {
            at: Duration::from_millis(ms),
            publisher: 0,
            content: Content::Text(text.into()),
        };
        let due = [text(0, "hi"), text(3, "a longer line")];
        let arguments = arguments(dir.path(), &profile, 0, 1, Some(&due)).expect("arguments");
        let schedule = std::fs::read_to_string(arguments.last().expect("a file")).expect("a file");
        let expected = [(Duration::ZERO, STAMP_BYTES + 2), (Duration::from_millis(3), STAMP_BYTES + 13)];
        assert_eq!(read(&schedule).expect("a schedule"), expected);
        assert!(read("5").is_err());
    }
}
