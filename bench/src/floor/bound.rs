//! A program whose life is bound to its parent's: it ends with it, even when that is killed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// What to become, and whose child.
#[derive(Debug, Clone, clap::Args)]
pub struct Bound {
    /// Id of the process that has started this one.
    parent: i32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// The arguments of a program that is bound to this process.
pub(crate) fn arguments(command: &Command) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        vec!["bound".into(), std::process::id().to_string().into(), "--".into()];
    arguments.push(command.get_program().to_owned());
    arguments.extend(command.get_args().map(ToOwned::to_owned));
    arguments
}

/// Becomes the program. The kernel keeps the wish to be killed across `exec`, and the process id stays the
/// same.
///
/// The parent is a thread to the kernel: who starts it must not end before it should.
///
/// # Errors
/// When it cannot be started, or the parent has ended already.
pub(super) fn become_program(bound: &Bound) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // One that has ended before the wish sends nothing any more.
    anyhow::ensure!(getppid() == Pid::from_raw(bound.parent), "the bench has ended");
    let (program, arguments) = bound.command.split_first().context("no program")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}
