//! The `quoth` command: chat, send, tail, history, import.

mod chat;
mod connect;
mod import;
mod read;
mod send;
mod show;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chat over Quoth. Against a development server on the same machine no flags are needed.
#[derive(Debug, Parser)]
#[command(name = "quoth", version)]
struct Cli {
    #[command(flatten)]
    connection: connect::Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Talk in a conversation: each line is a message; /quit, Ctrl-D or Ctrl-C leaves
    Chat {
        /// The conversation
        conversation: String,
    },
    /// Send a message, or a message for each line of standard input
    Send(send::Args),
    /// Follow a conversation
    Tail(read::TailArgs),
    /// Print a conversation's history
    History(read::HistoryArgs),
    /// Load IRC logs: a file is a conversation, a nick a user, a line a message
    Import(import::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // A read of the terminal that is still waiting must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let is_import = matches!(cli.command, Command::Import(_));
    let client = cli.connection.connect(is_import).await?;
    let result = match cli.command {
        Command::Chat { conversation } => chat::run(&client, &conversation).await,
        Command::Send(args) => send::run(&client, args).await,
        Command::Tail(args) => read::tail(&client, args).await,
        Command::History(args) => read::history(&client, args).await,
        Command::Import(args) => import::run(&client, args).await,
    };
    client.close().await;
    result
}
