//! The power is cut at every flush: what a process has written and flushed is recorded as the kernel sees it, and for each
//! flush the disks are made that a power cut there may leave. Each must open with everything that was acked.
//!
//! `kill -9` cannot show a missing flush, since the kernel still has what was written. Here it can be left out: the same test
//! must find that. What a file system may do is taken strictly (`disk.rs`): sectors of unflushed writes are there or not, names
//! are there only when their folder was flushed.

#[path = "crash_power/disk.rs"]
mod disk;
#[path = "crash_power/trace.rs"]
mod trace;
#[path = "crash_power/work.rs"]
mod work;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use disk::{Disk, Left};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use trace::Did;
use work::Told;

/// Names the folder to the process that works.
const DIR_VARIABLE: &str = "DISK_TO_WATCH";

/// Disks that are looked at; `QUOTH_POWER_CUTS` is another number. There are some three thousand.
const CUTS: usize = 240;

/// The same where a flush is missing.
const CUTS_OF_MISSING: usize = 3_000;

/// Every so many of them are looked at thoroughly.
const THOROUGHLY: usize = 8;

/// Works, when it is asked to.
#[test]
fn the_process_that_works() -> anyhow::Result<()> {
    match std::env::var_os(DIR_VARIABLE) {
        Some(dir) => work::write(Path::new(&dir)),
        None => Ok(()),
    }
}

/// What a process has done on an empty disk.
fn recorded() -> anyhow::Result<(PathBuf, Vec<Did>)> {
    let dir = tempfile::tempdir()?;
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
    anyhow::ensure!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    let did = trace::read(&std::fs::read_to_string(file)?, &root);
    Ok((root, did))
}

/// In memory, since thousands of disks are made.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Which flushes do not do what they promise.
type IsMissing<'a> = &'a dyn Fn(&Path) -> bool;

/// Behind a flush that is missing so many are looked at.
const BEHIND_A_MISSING_ONE: usize = 12;

/// Cuts the power at flushes, and gives what was found first. `cuts` disks are looked at, evenly taken; with missing flushes those
/// behind them.
fn first_failure(
    (root, did): &(PathBuf, Vec<Did>),
    cuts: usize,
    is_missing: Option<IsMissing<'_>>,
) -> Option<String> {
    let flushes = did.iter().filter(|did| matches!(did, Did::Flush { .. })).count();
    let all = flushes * 3;
    let (mut rng, mut disk, mut told) = (StdRng::seed_from_u64(7), Disk::new(root), Told::default());
    let (mut number, mut looked_at, mut due) = (0, 0, 0);
    for (step, did) in did.iter().enumerate() {
        if let Did::Said(text) = did {
            told.hear(text);
        }
        if let Did::Flush { path, .. } = did {
            for left in [Left::Nothing, Left::Some, Left::Everything] {
                number += 1;
                let is_wanted = match is_missing {
                    // As many of the first `number` as of all.
                    None => looked_at * all < number * cuts,
                    Some(_) => due > 0 && looked_at < cuts,
                };
                if !is_wanted {
                    continue;
                }
                looked_at += 1;
                let dir = folder();
                disk.cut(left, &mut rng, root, dir.path());
                let checked = work::check(dir.path(), told, looked_at % THOROUGHLY == 0);
                if let Err(error) = checked {
                    return Some(format!(
                        "with {left:?} left before step {step}, {did:?}, {told:?}: {error:#}"
                    ));
                }
            }
            let is_missing = is_missing.is_some_and(|is_missing| is_missing(path));
            due = if is_missing { BEHIND_A_MISSING_ONE } else { due.saturating_sub(1) };
        }
        disk.step(step, did, |path| !is_missing.is_some_and(|is_missing| is_missing(path)));
    }
    println!("{looked_at} of {all} disks at {flushes} flushes, {told:?}");
    None
}

fn cuts() -> usize {
    std::env::var("QUOTH_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

#[test]
fn nothing_acked_is_lost_wherever_the_power_is_cut_and_a_missing_flush_is_found() -> anyhow::Result<()> {
    let recorded = recorded()?;
    let is_in = |path: &Path, folder: &str| path.to_string_lossy().contains(folder);
    // The power is cut, and the process killed, in the middle of seals and of merges too.
    let count = |is_one: &dyn Fn(&Did) -> bool| recorded.1.iter().filter(|did| is_one(did)).count();
    let seals = count(&|did| matches!(did, Did::Rename { to, .. } if ends_with(to, ".log")));
    let merged = count(&|did| matches!(did, Did::Remove { path } if is_in(path, "/tables/")));
    assert!(seals > 5 && merged > 8, "{seals} seals, {merged} tables that were merged");
    let found = first_failure(&recorded, cuts(), None);
    assert_eq!(found, None);
    let missing: [(&str, IsMissing<'_>); 7] = [
        ("groups of the log", &|path| ends_with(path, ".log")),
        ("names of the log's segments", &|path| ends_with(path, "/store/log")),
        ("headers of the log's segments", &|path| ends_with(path, ".spare")),
        ("the view's checkpoint", &|path| ends_with(path, "checkpoint.new")),
        ("the view's tables", &|path| is_in(path, "/store/view/engine/keyspaces") && is_in(path, "/tables/")),
        ("objects of a backup", &|path| is_in(path, "/backup/objects/")),
        ("a backup's manifest", &|path| ends_with(path, ".json.new") || ends_with(path, "/backup/backups")),
    ];
    for (what, is_missing) in missing {
        let found = first_failure(&recorded, CUTS_OF_MISSING, Some(is_missing));
        println!("without flushes of {what}: {found:?}");
        assert!(found.is_some(), "nobody misses the flushes of {what}");
    }
    Ok(())
}
