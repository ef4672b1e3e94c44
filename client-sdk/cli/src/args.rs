//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Talks to a Quoth server. Beside a development server on the same machine no flags are needed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  quoth chat general\n  quoth chat general --user bob\n  quoth send general 'hello'\n  \
                  seq 1000 | quoth send numbers -\n  quoth tail general --last 10 --json\n  \
                  quoth history general --all --json > general.jsonl\n  quoth import logs/\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n\
                  The first Ctrl-C asks to leave, the second one leaves at once."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where and as whom to connect.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Server; default: the development server of this machine [env: QUOTH_SERVER]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// JSON file of a development server, `client.json` in its data folder, which has server, CA and tokens. Default:
    /// quoth-data/client.json, or else the file of the first development server of this machine [env: QUOTH_CLIENT_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_file: Option<PathBuf>,
    /// PEM file of the CA that has signed the server's certificate [env: QUOTH_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Token to sign in with [env: QUOTH_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", conflicts_with_all = ["token_file", "user"])]
    pub(crate) token: Option<String>,
    /// File with the token, which keeps it out of the process list [env: QUOTH_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "user")]
    pub(crate) token_file: Option<PathBuf>,
    /// Sign in as this user of the development server; default: its first one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Talk in a conversation: lines that you type are sent, what is said is shown (times are UTC)
    Chat(ChatArgs),
    /// Send one message, or one for each line of standard input
    Send(SendArgs),
    /// Print what is said in a conversation, from now on or from a place in the past, until it is interrupted
    Tail(TailArgs),
    /// Print a part of a conversation's history
    History(HistoryArgs),
    /// Import IRC logs: a file becomes a conversation, a nick a user, a line a message
    ///
    /// `[HH:MM] <nick> text` becomes a message of that nick; every other line becomes a message of the user `*` with the
    /// whole line as its text. Importing again writes nothing twice, so an interrupted import is simply repeated.
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// Where to talk
    pub(crate) conversation: String,
    /// Messages to show from before
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) last: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Where to send to
    pub(crate) conversation: String,
    /// The message; without it, or with `-`, each line of standard input is one
    pub(crate) text: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Which conversation
    pub(crate) conversation: String,
    /// Begin with this seq; 1 is the first message
    #[arg(long, value_name = "SEQ", conflicts_with = "last", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Begin with the last N messages
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Which conversation
    pub(crate) conversation: String,
    /// The first messages behind this seq
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["before", "all"])]
    pub(crate) after: Option<u64>,
    /// The last messages before this seq
    #[arg(long, value_name = "SEQ", conflicts_with = "all")]
    pub(crate) before: Option<u64>,
    /// Everything
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// At most so many messages; without --after and --before the last ones
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) limit: u64,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Log files, or folders with log files (*.txt, *.log); folders within them are passed over
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Name of the conversation, for a single file; default: the file's name without .raw.txt, .txt or .log
    #[arg(long, value_name = "NAME", conflicts_with = "prefix")]
    pub(crate) conversation: Option<String>,
    /// Put this before each conversation's name, such as irc/
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    pub(crate) prefix: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
