//! A backup of a server that runs, over `cp` of the same folder, and what live clients notice of it.
//!
//! Backup and `cp` take turns, each into a new folder on the same disk and beside the same live traffic. The
//! backup is on stable storage when it ends; `cp` leaves what it has written to the kernel, so how long it
//! takes with a flush is told beside it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::live::Live;
use super::machine::{bytes_in, settle};
use super::stored::Stored;
use super::target::Target;
use super::{Plan, Report};
use crate::process::binary;

const CONVERSATIONS: u64 = 1_000;

/// Live traffic comes in turns of this length: the last one goes on for less than that, and what comes before
/// it, behind the work.
const TURN: Duration = Duration::from_secs(1);

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let stored = Stored { conversations: CONVERSATIONS, messages: plan.kept_messages, group_records: 512 };
    let quoth = Target::quoth_with(&plan.dir, &[], |store| stored.fill(store))?;
    settle(quoth.pid())?;
    for _ in 0..plan.rounds {
        let dir = tempfile::tempdir_in(&plan.dir)?;
        let (mut quiet, mut beside_backup, mut beside_copy) =
            (Live::default(), Live::default(), Live::default());
        for _ in 0..plan.turn_s {
            quiet.turn(&quoth, TURN)?;
        }
        let backup = beside_backup.during(&quoth, TURN, || back_up(&quoth, &dir.path().join("backup")))?;
        let copy = beside_copy.during(&quoth, TURN, || copy(&quoth, &dir.path().join("copy")))?;
        let (p99, quiet_p99) = (beside_backup.acks.ms(0.99), quiet.acks.ms(0.99));
        let note = format!(
            "backup {:.0} MB at {:.0} MB/s, cp {:.0} MB at {:.0} MB/s, {:.0} with a flush; publish p99 {p99:.2} ms, quiet {quiet_p99:.2}, \
             beside cp {:.2}; p50 {:.2}, quiet {:.2}",
            backup.bytes / 1e6,
            backup.mb_per_s(backup.elapsed),
            copy.bytes / 1e6,
            copy.mb_per_s(copy.elapsed),
            copy.mb_per_s(copy.flushed),
            beside_copy.acks.ms(0.99),
            beside_backup.acks.ms(0.5),
            quiet.acks.ms(0.5),
        );
        let ratio = backup.mb_per_s(backup.elapsed) / copy.mb_per_s(copy.elapsed);
        report.round_of_rows(&[ratio, p99 / quiet_p99], note);
    }
    Ok(())
}

/// What was written, and how long that took.
struct Copied {
    bytes: f64,
    elapsed: Duration,
    /// Until it was on stable storage.
    flushed: Duration,
}

impl Copied {
    fn mb_per_s(&self, elapsed: Duration) -> f64 {
        self.bytes / 1e6 / elapsed.as_secs_f64()
    }
}

fn back_up(target: &Target, to: &Path) -> anyhow::Result<Copied> {
    let mut command = Command::new(binary("quoth-server"));
    command.arg("--data-dir").arg(target.data_dir()).args(["backup", "--to"]).arg(to);
    let elapsed = timed(&mut command)?;
    Ok(Copied { bytes: bytes_in(to)?, elapsed, flushed: elapsed })
}

fn copy(target: &Target, to: &Path) -> anyhow::Result<Copied> {
    // A table may go while it is copied, which `cp` complains of.
    let started = Instant::now();
    let mut command = Command::new("cp");
    command.arg("-r").arg(target.data_dir().join("store")).arg(to);
    let _may_have_missed_a_table = command.output().context("no cp")?;
    let elapsed = started.elapsed();
    timed(Command::new("sync").arg("-f").arg(to))?;
    Ok(Copied { bytes: bytes_in(to)?, elapsed, flushed: started.elapsed() })
}

fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(started.elapsed())
}
