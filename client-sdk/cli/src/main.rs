//! The `quoth` command: chat, send, tail, history, what becomes of messages, the inbox and import, over the
//! SDK alone.

// They panic when the stream cannot be written; `output` has what does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod addressed;
mod admin;
mod already;
mod amount;
mod args;
mod asking;
mod bench;
mod chat;
mod claims;
mod clock;
mod command;
mod connection;
mod deed;
mod development;
mod device;
mod hint;
mod history;
mod import;
mod inbox;
mod input;
mod interrupt;
mod members;
mod messages;
mod output;
mod pipeline;
mod printer;
mod producer;
mod progress;
mod retention;
mod rights;
mod screen;
mod send;
mod states;
mod tail;
mod token_file;
mod whoami;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use quoth_bench::command::WrongUsage;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::connection::Connection;
use crate::hint::Hint;
use crate::interrupt::{EXIT_INTERRUPTED, Interrupt, Interrupted};

fn main() -> ExitCode {
    let args = args::parsed();
    tracing_subscriber::fmt()
        // To tell of a reader of the log that has gone would panic.
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::from_env("QUOTH_LOG"))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match start(args) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    /// As the command line's parser has it.
    const EXIT_WRONG_USAGE: u8 = 2;
    if error.is::<Interrupted>() {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if error.is::<WrongUsage>() {
        ExitCode::from(EXIT_WRONG_USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// The error with its causes, and below it what can be done about it.
fn tell(error: &anyhow::Error) {
    let hint = error.downcast_ref::<Hint>();
    let causes: Vec<String> = error.chain().skip(hint.iter().len()).map(ToString::to_string).collect();
    output::note(format_args!("error: {}", causes.join(": ")));
    if let Some(hint) = hint {
        output::note(format_args!("hint: {hint}"));
    }
}

fn start(args: Args) -> anyhow::Result<ExitCode> {
    let args = match args {
        // It has threads and runtimes of its own.
        Args { connection, command: Command::Bench(args) } => return bench::run(connection, *args),
        Args { connection, command: Command::Admin(args) } => return admin::run(connection, *args),
        args => args,
    };
    let interrupt = Interrupt::listen().context("cannot start")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let result = runtime.block_on(run(args, interrupt));
    // Not waited for: a thread that waits for a line of standard input cannot be stopped.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

async fn run(args: Args, interrupt: Interrupt) -> anyhow::Result<()> {
    let connection = Connection::new(args.connection, interrupt).staying(args.command.goes_on());
    match args.command {
        Command::Chat(args) => chat::run(&connection, args).await,
        Command::Send(args) => send::run(&connection, args).await,
        Command::Tail(args) => tail::run(&connection, args).await,
        Command::History(args) => history::run(&connection, args).await,
        Command::Import(args) => import::run(&connection, args).await,
        Command::Conversation(command) => members::conversation(&connection, command).await,
        Command::Edit(args) => messages::edit(&connection, args).await,
        Command::Revoke(args) => messages::revoke(&connection, args).await,
        Command::React(args) => messages::react(&connection, args).await,
        Command::Hide(args) => messages::hide(&connection, args).await,
        Command::Read(args) => messages::read(&connection, args).await,
        Command::Receipts(args) => messages::receipts(&connection, args).await,
        Command::Retention(args) => retention::retention(&connection, args).await,
        Command::Inbox(args) => inbox::run(&connection, args).await,
        Command::Archive(args) => inbox::archive(&connection, args).await,
        Command::Mute(args) => inbox::mute(&connection, args).await,
        Command::Pin(args) => inbox::pin(&connection, args).await,
        Command::Block(args) => members::block(&connection, args).await,
        Command::Sessions(args) => members::sessions(&connection, args).await,
        Command::Whoami => whoami::run(&connection).await,
        Command::Bench(_) | Command::Admin(_) => unreachable!("it was run before"),
    }
}
