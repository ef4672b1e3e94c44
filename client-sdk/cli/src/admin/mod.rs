//! `quoth admin`: the server API from the terminal.

mod api;
mod args;
mod call;
mod retention;
mod show;

use std::io::Write as _;
use std::process::ExitCode;

pub(crate) use self::args::AdminArgs;
use crate::args::ConnectionArgs;
use crate::output::{note, written};

/// Does what is asked, and prints the answer.
pub(crate) fn run(connection: ConnectionArgs, args: AdminArgs) -> anyhow::Result<ExitCode> {
    let AdminArgs { api, json, command } = args;
    let answer = api::Api::new(connection, api)?.send(&call::of(command))?;
    let text = if json { format!("{answer}\n") } else { show::text(&answer) };
    written(std::io::stdout().lock().write_all(text.as_bytes()))?;
    show::emptiness(&answer).into_iter().for_each(note);
    Ok(ExitCode::SUCCESS)
}
