//! The processes that are measured: started, watched and ended by this one.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::load::{Interrupted, Progress};
use crate::run_folder;

/// Children of this process that have not been waited for, so that their ids are theirs.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A child process; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process has taken up to now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in seconds.
    pub cpu_s: f64,
}

impl Process {
    /// Starts a command with piped stdout and its stderr in the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let program = command.get_program().display().to_string();
        let mut children = CHILDREN.lock();
        // A signal to a terminal's or a service's whole group is for this process, which ends them when it is
        // done with them.
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        children.extend(pid_of(&child));
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its stdout, once.
    ///
    /// # Errors
    /// The second time.
    pub fn stdout(&mut self) -> anyhow::Result<std::process::ChildStdout> {
        self.child.stdout.take().context("stdout was taken before")
    }

    /// All that it prints until it ends. `go_on` is asked again and again, and what it refuses ends the
    /// process.
    ///
    /// # Errors
    /// What `go_on` says, or that nothing can be read.
    pub fn output<E: Into<anyhow::Error>>(
        &mut self,
        go_on: impl Fn() -> Result<(), E>,
    ) -> anyhow::Result<String> {
        const INTERVAL: Duration = Duration::from_millis(50);
        let mut stdout = self.stdout()?;
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || std::io::read_to_string(&mut stdout));
            while !reading.is_finished() {
                if let Err(reason) = go_on() {
                    self.kill()?;
                    return Err(reason.into());
                }
                std::thread::sleep(INTERVAL);
            }
            Ok(reading.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??)
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has by itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        let mut children = CHILDREN.lock();
        let status = self.child.try_wait()?;
        if status.is_some() {
            children.retain(|pid| Some(*pid) != pid_of(&self.child));
        }
        Ok(status)
    }

    /// An error behind which may be that it has ended, told as that if it has: as in
    /// `the server ended (signal 9)`.
    pub fn explain(&mut self, what: &str, error: anyhow::Error) -> anyhow::Error {
        // Its sockets are closed before it can be waited for.
        const GRACE: Duration = Duration::from_millis(500);
        const INTERVAL: Duration = Duration::from_millis(5);
        let until = Instant::now() + GRACE;
        loop {
            match self.ended() {
                Ok(Some(status)) => return anyhow::anyhow!("{what} ended ({})", told(status)),
                // Whoever has asked to leave does not wait.
                Ok(None) if error.is::<Interrupted>() => return error,
                Ok(None) if Instant::now() < until => std::thread::sleep(INTERVAL),
                Ok(None) | Err(_) => return error,
            }
        }
    }

    /// The end of what it has logged, for an error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        const LINES: usize = 10;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Ends it at once, as a crash does.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(&mut self) -> std::io::Result<()> {
        let mut children = CHILDREN.lock();
        self.child.kill()?;
        self.child.wait()?;
        children.retain(|pid| Some(*pid) != pid_of(&self.child));
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _has_ended = self.kill();
    }
}

/// Does work that a process is needed for, and ends it soon when that has ended: clients would wait for it
/// until they time out.
pub fn needing<T>(pid: Option<u32>, progress: &Progress, work: impl FnOnce() -> T) -> T {
    const INTERVAL: Duration = Duration::from_millis(100);
    let Some(pid) = pid else { return work() };
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(INTERVAL) {
                if Usage::of(pid).is_err() {
                    progress.is_interrupted.store(true, Relaxed);
                }
            }
        });
        // Ends the watch however the work ends.
        let _done = done;
        work()
    })
}

/// As in `signal 9` or `exit code 1`.
fn told(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Ends all children and removes all folders of runs, for a process that is about to end without dropping
/// anything.
pub fn leave_nothing() {
    // Held until the process ends, so that nothing is started meanwhile.
    let children = CHILDREN.lock();
    for child in children.iter() {
        let _has_ended = kill_process(*child, Signal::KILL);
    }
    // One that has not ended yet may write while its folder is removed.
    for child in children.iter() {
        let _was_reaped = waitpid(Some(*child), WaitOptions::empty());
    }
    run_folder::remove_all();
    std::mem::forget(children);
}

impl Usage {
    /// Of a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        // A process that has ended and was not waited for has no memory.
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has ended")?;
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { memory_bytes: kib * 1024, cpu_s: cpu_s(pid)? })
    }
}

/// Processor time of a process, in seconds, to the nanosecond: the kernel's own clock of it, which has what
/// threads took that have ended. `/proc` tells hundredths of a second.
fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(i32::try_from(pid)?))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_to_leave_does_not_wait_for_a_process() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut talks = Process::start(Command::new("echo").arg("told"), log.path()).unwrap();
        assert_eq!(talks.output(|| Ok::<_, anyhow::Error>(())).unwrap(), "told\n");
        let mut hangs = Process::start(Command::new("sleep").arg("1000"), log.path()).unwrap();
        let error = hangs.output(|| Err(Interrupted)).unwrap_err();
        assert!(error.is::<Interrupted>() && hangs.ended().unwrap().is_some());
    }

    #[test]
    fn this_process_has_memory_and_has_used_time() {
        let before = Usage::of(std::process::id()).expect("this process");
        assert!(before.memory_bytes > 100_000);
        while Usage::of(std::process::id()).expect("this process").cpu_s <= before.cpu_s {}
    }

    #[test]
    fn processor_time_is_finer_than_the_ticks_of_proc_and_has_that_of_ended_threads() {
        let cpu_s = || cpu_s(std::process::id()).expect("this process");
        let before = cpu_s();
        let begun = Instant::now();
        let thread = std::thread::spawn(move || while begun.elapsed() < Duration::from_millis(3) {});
        thread.join().expect("it ends");
        let after = cpu_s();
        // A hundredth of a second is a tick: a part of one is seen.
        let is_whole = |value: f64| (value * 100.0).fract().abs() < 1e-6;
        assert!(after > before && !(is_whole(before) && is_whole(after)), "{before} {after}");
    }

    #[test]
    fn a_process_that_has_ended_is_told_with_its_signal() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let start =
            |script: &str| Process::start(Command::new("sh").args(["-c", script]), log.path()).unwrap();
        let told =
            |mut process: Process| process.explain("the server", anyhow::anyhow!("no bytes")).to_string();
        assert_eq!(told(start("kill -9 $$")), "the server ended (signal 9)");
        assert_eq!(told(start("exit 3")), "the server ended (exit code 3)");
        assert_eq!(told(start("exec sleep 1000")), "no bytes");
    }
}
