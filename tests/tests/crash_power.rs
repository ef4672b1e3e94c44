//! The power is cut at every flush: what a process has written and flushed is recorded as the kernel sees it,
//! and for each flush the disks are made that a power cut there may leave. Each must open with everything
//! that was acked, and nobody may read what was erased. A file that was deleted may be there again, since no
//! flush follows its removal: it goes with the next round of freeing.
//!
//! `kill -9` cannot show a missing flush, since the kernel still has what was written. Here it can be left
//! out, each kind of flush by itself: the same test must find that. What a file system may do is taken
//! strictly (`disk.rs`): sectors of unflushed writes are there or not, names are there only when their folder
//! was flushed.

#[path = "crash_power/check.rs"]
mod check;
#[path = "crash_power/disk.rs"]
mod disk;
#[path = "crash_power/flushes.rs"]
mod flushes;
#[path = "crash_power/trace.rs"]
mod trace;
#[path = "crash_power/work.rs"]
mod work;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context as _;
use disk::{Disk, Left};
use flushes::{Kind, kind_of};
use parking_lot::Mutex;
use tempfile::TempDir;
use trace::Did;
use work::{Does, Told};

/// Names the folder to the process that works.
const DIR_VARIABLE: &str = "DISK_TO_WATCH";

/// Disks that are looked at, as many of each of what goes on; `QUOTH_POWER_CUTS` is another number. There are
/// some fifty thousand.
const CUTS: usize = 600;

/// Every so many of them are looked at thoroughly.
const THOROUGHLY: usize = 8;

/// The seed of what is left at random.
const SEED: u64 = 7;

/// At so many flushes behind a missing one the power is cut.
const BEHIND_A_MISSING_ONE: usize = 12;

/// So many disks are looked at, about, for a missing kind of flush, and so many before anything is promised.
const CUTS_OF_MISSING: usize = 300;
const CUTS_BEFORE_PROMISES: usize = 40;

/// Works, when it is asked to.
#[test]
fn the_process_that_works() -> anyhow::Result<()> {
    match std::env::var_os(DIR_VARIABLE) {
        Some(dir) => work::write(Path::new(&dir)),
        None => Ok(()),
    }
}

/// What a process has done on an empty disk.
struct Recorded {
    root: PathBuf,
    did: Vec<Did>,
}

impl Recorded {
    fn new() -> anyhow::Result<Self> {
        let dir = folder();
        let root = dir.path().canonicalize()?.join("disk");
        std::fs::create_dir(&root)?;
        let file = dir.path().join("trace");
        let traced = Command::new("strace")
            .args(["-f", "-y", "-xx", "-s", "1000000", "-e"])
            .arg(format!("trace={}", trace::CALLS))
            .arg("-o")
            .arg(&file)
            .arg(std::env::current_exe()?)
            .args(["--exact", "the_process_that_works", "--nocapture"])
            .env(DIR_VARIABLE, &root)
            .output()
            .context("strace is not there")?;
        anyhow::ensure!(
            traced.status.success(),
            "{}{}",
            String::from_utf8_lossy(&traced.stdout),
            String::from_utf8_lossy(&traced.stderr)
        );
        let did = trace::read(&std::fs::read_to_string(file)?, &root);
        Ok(Self { root, did })
    }

    fn kind_of(&self, path: &Path) -> Kind {
        kind_of(path.strip_prefix(&self.root).expect("it is below the root"))
    }

    /// All kinds of flushes, with their number.
    fn kinds(&self) -> BTreeMap<&'static str, (Kind, usize)> {
        let mut kinds = BTreeMap::new();
        for did in &self.did {
            if let Did::Flush { path, .. } = did {
                let kind = self.kind_of(path);
                kinds.entry(kind.name).or_insert((kind, 0)).1 += 1;
            }
        }
        kinds
    }

    /// Goes through all flushes in their order, without those of a kind if one is missing, and tells of each
    /// cut before one: the disk, what was told, and which flush it is. Goes on while `visit` wants it.
    fn each_cut(&self, missing: Option<&str>, mut visit: impl FnMut(&Disk, Told, &Cut<'_>) -> bool) {
        let (mut disk, mut told) = (Disk::new(&self.root), Told::default());
        for (step, did) in self.did.iter().enumerate() {
            if let Did::Said(text) = did {
                told.hear(text);
            }
            if let Did::Flush { path, .. } = did {
                let is_missing = missing == Some(self.kind_of(path).name);
                if !visit(&disk, told, &Cut { step, path, is_missing }) {
                    return;
                }
            }
            disk.step(step, did, |path| missing != Some(self.kind_of(path).name));
        }
    }

    /// Whether what a power cut leaves is as it should be; says what is not.
    fn look(&self, disk: &Disk, left: &Left, told: Told, cut: &Cut<'_>, thoroughly: bool) -> Option<String> {
        let dir = folder();
        disk.cut(left, &self.root, dir.path());
        let error = check::check(dir.path(), told, thoroughly).err()?;
        let Cut { step, path, .. } = cut;
        let path = path.strip_prefix(&self.root).unwrap_or(path).display();
        let left = disk.told(left).replace(&*self.root.to_string_lossy(), "");
        Some(format!("{left} is left at step {step}, before a flush of {path}, {told:?}: {error:#}"))
    }
}

/// A cut before a flush.
struct Cut<'a> {
    step: usize,
    path: &'a Path,
    /// Whether the flush is one of those that are missing.
    is_missing: bool,
}

/// In memory, since thousands of disks are made.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

fn seed(step: usize) -> u64 {
    SEED.wrapping_add(step as u64)
}

/// Cuts the power at flushes, and gives what was found first. `cuts` disks are looked at, evenly taken; those
/// with the same on them count once.
fn first_failure(recorded: &Recorded, cuts: usize) -> Option<String> {
    let mut all = [0; Does::COUNT];
    recorded.each_cut(None, |disk, told, cut| {
        all[told.does as usize] += disk.may_leave(seed(cut.step)).len();
        true
    });
    let (workers, looked_at, found) = (workers(), AtomicUsize::new(0), Mutex::new(None));
    let (done, seen) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (looked_at, found, done, seen) = (&looked_at, &found, &done, &seen);
            scope.spawn(move || {
                let (mut numbers, mut wanted) = ([0; Does::COUNT], 0);
                recorded.each_cut(None, |disk, told, cut| {
                    let does = told.does as usize;
                    for left in disk.may_leave(seed(cut.step)) {
                        numbers[does] += 1;
                        // As many of the first ones as of all.
                        let due = |number: usize| number * (cuts / Does::COUNT) / all[does];
                        if due(numbers[does]) == due(numbers[does] - 1) {
                            continue;
                        }
                        wanted += 1;
                        if wanted % workers != worker || !seen.lock().insert((disk.hash(&left), told)) {
                            continue;
                        }
                        let number = looked_at.fetch_add(1, Ordering::Relaxed);
                        if let Some(failure) =
                            recorded.look(disk, &left, told, cut, number.is_multiple_of(THOROUGHLY))
                        {
                            found.lock().get_or_insert(failure);
                        }
                    }
                    found.lock().is_none()
                });
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(done.into_inner(), workers, "all of them have come to the end");
    println!(
        "{} of {} disks: while groups are stored, windows go and backups are made {all:?}",
        looked_at.into_inner(),
        all.iter().sum::<usize>()
    );
    found.into_inner()
}

/// The same where flushes are missing: what these would have kept is lost, alone or with everything else. The
/// cuts are behind some of the flushes, evenly taken, and behind whatever is promised of backups and of what
/// was erased.
fn failure_without(recorded: &Recorded, kind: &str, flushes: usize) -> (Option<String>, usize) {
    let every = (flushes * BEHIND_A_MISSING_ONE * disk::LEFT_OF_MISSED_MAX / CUTS_OF_MISSING).max(1);
    let (mut due, mut missing, mut looked_at, mut found) = (0, 0, 0, None);
    let mut promised = Told::default();
    recorded.each_cut(Some(kind), |disk, told, cut| {
        if (told.backup, told.erased, told.stored > 0)
            != (promised.backup, promised.erased, promised.stored > 0)
        {
            due = BEHIND_A_MISSING_ONE;
        }
        promised = told;
        if cut.is_missing {
            missing += 1;
            if missing % every == 0 {
                due = BEHIND_A_MISSING_ONE;
            }
            return true;
        }
        if due == 0 || (told.stored == 0 && looked_at >= CUTS_BEFORE_PROMISES) {
            return true;
        }
        due -= 1;
        for left in disk.may_leave(seed(cut.step)) {
            looked_at += 1;
            found = recorded.look(disk, &left, told, cut, false);
            if found.is_some() {
                return false;
            }
        }
        true
    });
    (found, looked_at)
}

fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn cuts() -> usize {
    std::env::var("QUOTH_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

#[test]
fn nothing_acked_is_lost_wherever_the_power_is_cut_and_a_missing_flush_is_found() -> anyhow::Result<()> {
    let recorded = Recorded::new()?;
    // The power is cut in the middle of seals and of merges too.
    let count = |is_one: &dyn Fn(&Did) -> bool| recorded.did.iter().filter(|did| is_one(did)).count();
    let seals = count(&|did| matches!(did, Did::Rename { to, .. } if ends_with(to, ".log")));
    let merged =
        count(&|did| matches!(did, Did::Remove { path } if path.to_string_lossy().contains("/tables/")));
    assert!(seals > 5 && merged > 8, "{seals} seals, {merged} tables that were merged");
    // What is erased was on the disk, as it is searched for.
    for secret in work::secrets_until(work::GROUPS) {
        let has_it = |part: &str| {
            count(&|did| {
                matches!(did, Did::Write { path, bytes, .. }
                    if path.to_string_lossy().contains(part) && work::contains(bytes, secret))
            })
        };
        assert!(has_it("/log/") > 0 && has_it("/tables/") > 1, "{}", String::from_utf8_lossy(secret));
    }
    let found = first_failure(&recorded, cuts());
    assert_eq!(found, None);
    let kinds: Vec<_> = recorded.kinds().into_values().collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers() {
            scope.spawn(|| {
                while let Some((kind, flushes)) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (found, looked_at) = failure_without(&recorded, kind.name, *flushes);
                    outcomes.lock().push((*kind, *flushes, found, looked_at));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner();
    assert_eq!(outcomes.len(), kinds.len());
    let mut wrong = Vec::new();
    for (Kind { name, needless }, flushes, found, looked_at) in outcomes {
        println!(
            "without the {flushes} flushes of {name}, disk {looked_at}: {}",
            found.as_deref().unwrap_or("nothing")
        );
        if found.is_some() == needless.is_some() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "nobody misses the flushes of these, or somebody does after all: {wrong:?}");
    Ok(())
}
