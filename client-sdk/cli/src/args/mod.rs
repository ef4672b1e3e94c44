//! The command line.

mod members;
mod messages;
mod retention;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use quoth_bench::command::BenchArgs;
use quoth_client::protocol::limits::START_LAST_MAX;
use quoth_client::{ConversationName, DeviceId, Seq, Transport, UserId};

pub(crate) use self::members::{
    BlockArgs, ConversationCommand, CreateArgs, SessionsArgs, SessionsCommand, TimeArgs, some_uses, special,
};

use self::messages::seq;
pub(crate) use self::messages::{
    EditArgs, InboxArgs, MessageArgs, QuietArgs, ReactArgs, ReadArgs, ReceiptsArgs, StandArgs,
};
pub(crate) use self::retention::{BOUNDS, BoundsArgs, RetentionArgs, Wanted};
pub(crate) use self::time::{duration, end_ms, lifetime, moment_ms};
use crate::admin::AdminArgs;

/// Talks to a Quoth server. Beside a development server on the same machine no flags are needed.
#[derive(Debug, Parser)]
#[command(
    version = quoth_bench::machine::VERSION,
    after_help = "Examples:\n  quoth chat general\n  quoth chat general --user bob\n  quoth send general 'hello'\n  \
                  seq 1000 | quoth send numbers -\n  quoth tail general --last 10 --json\n  \
                  quoth history general --all --json > general.jsonl\n  quoth import logs/\n  \
                  quoth conversation create --title 'The team' --member bob\n  quoth inbox\n  \
                  quoth history general --since 2h\n  quoth edit general 7 'hello, all'\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n\
                  The first Ctrl-C asks to leave, the second one leaves at once."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What was given on the command line. Ends the program where that is wrong, or where help was asked for.
pub(crate) fn parsed() -> Args {
    let matches = command().try_get_matches().unwrap_or_else(|error| {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        match quoth_bench::command::misplaced(&words).filter(|_| error.use_stderr()) {
            Some(told) => command().error(ErrorKind::ArgumentConflict, told).exit(),
            None => without_odd_tip(error, &words).exit(),
        }
    });
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The error without advice to give an unknown flag as a value, where no value is a text that could begin with a
/// dash.
fn without_odd_tip(mut error: clap::Error, words: &[String]) -> clap::Error {
    const TAKE_A_TEXT: [&str; 6] = ["send", "edit", "react", "rename", "publish", "broadcast"];
    let takes_a_text = words.iter().any(|word| TAKE_A_TEXT.contains(&word.as_str()));
    if error.kind() == ErrorKind::UnknownArgument && !takes_a_text {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// The command line. The help of what connects to nothing does not tell how to connect.
fn command() -> clap::Command {
    const CONNECTS_TO_NOTHING: [&str; 3] = ["compare", "profiles", "report"];
    let command = Args::command();
    let hidden: Vec<clap::Arg> =
        command.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.clone().hide(true)).collect();
    command.mut_subcommand("bench", |bench| {
        CONNECTS_TO_NOTHING
            .iter()
            .fold(bench, |bench, name| bench.mut_subcommand(name, |command| command.args(hidden.clone())))
    })
}

/// Where and as whom to connect.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Server; default: the development server of this machine [env: QUOTH_SERVER]
    #[arg(short, long, global = true, value_name = "HOST:PORT", value_parser = server)]
    pub(crate) server: Option<String>,
    /// JSON file of a development server, `client.json` in its data folder, which has server, CA and tokens.
    /// Default: quoth-data/client.json, or else the file of the first development server of this machine
    /// [env: QUOTH_CLIENT_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_file: Option<PathBuf>,
    /// PEM file of the CA that has signed the server's certificate [env: QUOTH_CA]
    ///
    /// The system's roots are not used: a public certificate needs the PEM file of its root here as well.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Name that the server's certificate is for, where it is not HOST [env: QUOTH_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// What to connect over: QUIC, a WebSocket where no UDP gets through, or whichever comes first; default:
    /// auto [env: QUOTH_TRANSPORT]
    #[arg(long, global = true, value_name = "TRANSPORT", value_parser = transport_parser())]
    pub(crate) transport: Option<Transport>,
    /// Token to sign in with [env: QUOTH_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", conflicts_with_all = ["token_file", "user"])]
    pub(crate) token: Option<String>,
    /// File with the token, which keeps it out of the process list [env: QUOTH_TOKEN_FILE]
    ///
    /// `chat`, `tail` and `import`, and `send` of standard input, read it again for each sign-in and when the
    /// token is about to end, so that it can be replaced meanwhile. Where it was withdrawn and there is no other
    /// one yet `chat` ends, and the others wait for one.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "user")]
    pub(crate) token_file: Option<PathBuf>,
    /// Sign in as this user of the development server; default: its first one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Which of the user's devices this is; a second one of the same name takes the first one's place.
    /// Default: one of this machine that no other `quoth` is at the moment [env: QUOTH_DEVICE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) device: Option<DeviceId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Talk in a conversation: lines that you type are sent, what is said is shown (times are UTC)
    ///
    /// A line that begins with a slash is a command: /quit leaves, /help tells the commands. `//` sends a
    /// line that begins with a slash. Empty lines are passed over.
    Chat(ChatArgs),
    /// Send one message, or one for each line of standard input
    Send(SendArgs),
    /// Print what is said in a conversation, from now on or from a place in the past, until it is
    /// interrupted: each message with its seq and when it was said (UTC)
    Tail(TailArgs),
    /// Print a part of a conversation's history, each message with its seq and when it was said (UTC)
    History(HistoryArgs),
    /// Make one of your messages say something else; what it said first can still be read in the history, and
    /// goes when the message goes
    Edit(EditArgs),
    /// Take a message away from everybody: one of yours, or, for who may delete others', any one of a user
    /// whose role is not above one's own
    Revoke(MessageArgs),
    /// React to a message
    React(ReactArgs),
    /// Have your clients leave a message out, on all your devices; everybody else goes on to see it
    ///
    /// `quoth history`, `quoth tail` and `quoth chat` show a conversation as it is and leave nothing out.
    Hide(MessageArgs),
    /// Say that you have read a conversation
    Read(ReadArgs),
    /// Tell who has received and read a message
    Receipts(ReceiptsArgs),
    /// List your conversations as an inbox does, pinned ones first and then the latest, with what you have
    /// not read
    ///
    /// Conversations that nobody has created are in no inbox.
    Inbox(InboxArgs),
    /// Put a conversation of your inbox away
    Archive(StandArgs),
    /// Want no notices of a conversation of your inbox; who may write there is said by
    /// `quoth conversation mute`
    Mute(QuietArgs),
    /// Have a conversation in front of all others in your inbox
    Pin(StandArgs),
    /// Tell or say how long the messages of a conversation are kept
    ///
    /// The bounds that are given replace those from before, and what they take is gone for everybody: a
    /// longer time brings nothing back. `--dry-run` says before how much that is. `--by-class` gives it back to
    /// the operator's rules. Without any of these, what holds is printed.
    Retention(RetentionArgs),
    /// Import IRC logs: a file becomes a conversation, a nick a user, a line a message
    ///
    /// `[HH:MM] <nick> text` becomes a message of that nick; every other line becomes a message of the user
    /// `*` with the whole line as its text. Importing again writes nothing twice, so an interrupted import is
    /// simply repeated.
    ///
    /// The day of `[HH:MM]` is in the file's name (YYYY-MM-DD). Without it the messages have no time of their
    /// own, only that of the import.
    Import(ImportArgs),
    /// Make conversations with members, and say who may do what there
    #[command(subcommand)]
    Conversation(ConversationCommand),
    /// Have nothing to do with a user: no direct conversation, no conversations that the user adds you to
    Block(BlockArgs),
    /// List your devices, the latest first, or sign one out
    Sessions(SessionsArgs),
    /// Tell whose token this is, until when it is good, what it allows, and whether the server takes it, and if
    /// not, why
    Whoami,
    /// Operate a server over its API: messages, conversations, members, sessions, revocations, statistics
    ///
    /// Beside a development server no flags are needed; else give --api and --api-key-file.
    #[command(
        after_help = "Examples:\n  quoth admin stats\n  quoth admin publish general 'Maintenance at 10:00' --as ops\n  \
                            quoth admin conversation create --owner alice --member bob --title Team\n  quoth admin kick bob --reason 'have a break'"
    )]
    Admin(Box<AdminArgs>),
    /// Measure a server under a load, with the least that this machine can do beside it
    ///
    /// Without --server it starts one of its own, on a new folder, and stops it again.
    Bench(Box<BenchArgs>),
}

impl Command {
    /// Whether it may go on for longer than a token does.
    pub(crate) fn goes_on(&self) -> bool {
        match self {
            Self::Chat(_) | Self::Tail(_) | Self::Import(_) => true,
            Self::Send(args) => args.reads_input(),
            _ => false,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// Where to talk
    pub(crate) conversation: ConversationName,
    /// Messages to show from before, at most 10,000
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = last_parser())]
    pub(crate) last: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Where to send to
    pub(crate) conversation: ConversationName,
    /// The message; several words are joined by spaces. Without it, or with `-`, each line of standard input
    /// is one
    ///
    /// A message that begins with a dash has `--` before it: `quoth send general -- -x`. A line of standard
    /// input is taken without the line feed, or carriage return and line feed, that ends it; an empty line is
    /// an empty message.
    #[arg(value_parser = word)]
    pub(crate) text: Vec<String>,
    /// Number the lines of standard input under this key: sending the same input again with it writes nothing
    /// twice
    ///
    /// Without it every run sends new messages. Another input needs another key: of what is under the key
    /// already, nothing is written.
    #[arg(long, value_name = "KEY")]
    pub(crate) once: Option<String>,
    /// Answer this message, by its seq
    #[arg(long, value_name = "SEQ", value_parser = seq)]
    pub(crate) reply_to: Option<Seq>,
    /// Bring it to the attention of this user; may be given up to 50 times
    #[arg(long = "mention", value_name = "USER")]
    pub(crate) mentions: Vec<UserId>,
    /// Have it be gone for everybody so long after it was stored, such as 1h
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
}

impl SendArgs {
    /// Whether the messages are lines of standard input.
    pub(crate) fn reads_input(&self) -> bool {
        self.text.is_empty() || self.text == ["-"]
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Which conversation
    pub(crate) conversation: ConversationName,
    /// Begin with this seq; 1 is the first message
    #[arg(long, value_name = "SEQ", conflicts_with = "last", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Begin with the last N messages, at most 10,000; `quoth history` has more
    #[arg(short = 'n', long, value_name = "N", value_parser = last_parser())]
    pub(crate) last: Option<u32>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Which conversation
    pub(crate) conversation: ConversationName,
    /// The first messages behind this seq: 100, or as many as --first says
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["before", "last"])]
    pub(crate) after: Option<u64>,
    /// The last messages before this seq: 100, or as many as --last says
    #[arg(long, value_name = "SEQ")]
    pub(crate) before: Option<u64>,
    /// The first N messages
    #[arg(long, value_name = "N", conflicts_with_all = ["before", "last"])]
    pub(crate) first: Option<u64>,
    /// The last N messages; 100 when nothing else is said
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<u64>,
    /// Everything
    #[arg(long, conflicts_with_all = ["after", "before", "first", "last"])]
    pub(crate) all: bool,
    /// The messages around this seq, half of them before it: 100, or as many as --last says
    #[arg(long, value_name = "SEQ", value_parser = seq, conflicts_with_all = ["after", "before", "first", "all"])]
    pub(crate) around: Option<Seq>,
    /// The first messages from this moment on, a date or time (UTC) such as 2026-01-31T12:00, or how long ago
    /// it was, such as 2h: 100, or as many as --first says; with --until all in between. It goes by when the
    /// server stored a message; an imported one is shown with its own time, which is another
    #[arg(long, value_name = "TIME", value_parser = moment_ms, conflicts_with_all = ["after", "before", "last", "all", "around"])]
    pub(crate) since: Option<u64>,
    /// The last messages before this moment, as with --since: 100, or as many as --last says
    #[arg(long, value_name = "TIME", value_parser = moment_ms, conflicts_with_all = ["after", "before", "all", "around"])]
    pub(crate) until: Option<u64>,
    /// Print one JSON object a line; the last one says what was told, where the conversation begins and ends,
    /// and whether anything is missing
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
    pub(crate) conversation: Option<ConversationName>,
    /// Put this before each conversation's name, such as irc/
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    pub(crate) prefix: String,
}

/// `host:port`.
fn server(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(
            "it is no HOST:PORT, such as 127.0.0.1:4433 or [::1]:4433 (where it was to be a message that begins with a dash, put `--` before that)",
        ),
    }
}

/// What transports are called.
const TRANSPORTS: [(&str, Transport); 3] =
    [("auto", Transport::Auto), ("quic", Transport::Quic), ("websocket", Transport::WebSocket)];

/// A transport, by its name.
pub(crate) fn transport(name: &str) -> Result<Transport, String> {
    let found = TRANSPORTS.iter().find(|(known, _)| *known == name);
    let names = || TRANSPORTS.map(|(known, _)| known).join(", ");
    found.map(|(_, transport)| *transport).ok_or_else(|| format!("{name:?} is none of {}", names()))
}

fn transport_parser() -> impl TypedValueParser<Value = Transport> {
    PossibleValuesParser::new(TRANSPORTS.map(|(name, _)| name)).try_map(|name| transport(&name))
}

/// A word of a message.
fn word(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a message has some text") } else { Ok(text.to_owned()) }
}

/// What a stream of events can begin with.
fn last_parser() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(..=i64::from(START_LAST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    /// clap takes arguments of one id for the same, and panics when they have values of two types.
    #[test]
    fn what_is_called_as_a_flag_of_all_commands_has_its_type() {
        fn check(command: &clap::Command, of_all: &[&clap::Arg]) -> usize {
            let mut checked = 0;
            for arg in command.get_arguments() {
                if let Some(global) = of_all.iter().find(|global| global.get_id() == arg.get_id()) {
                    let types = [arg, global].map(|arg| arg.get_value_parser().type_id());
                    assert_eq!(types[0], types[1], "--{} of {}", arg.get_id(), command.get_name());
                    checked += 1;
                }
            }
            checked + command.get_subcommands().map(|command| check(command, of_all)).sum::<usize>()
        }
        let command = command();
        let of_all: Vec<_> = command.get_arguments().filter(|arg| arg.is_global_set()).collect();
        assert!(check(&command, &of_all) > of_all.len(), "some are called so");
    }

    #[test]
    fn help_tells_how_to_connect_where_anything_connects() {
        let help = |words: &[&str]| {
            let line = [&["quoth"], words, &["--help"]].concat();
            command().try_get_matches_from(line).expect_err("help is no run").to_string()
        };
        for words in [&["bench", "compare"][..], &["bench", "profiles"], &["bench", "report"]] {
            let help = help(words);
            assert!(
                !help.contains("--server") && !help.contains("--token") && help.contains("--help"),
                "{help}"
            );
        }
        for words in [&["bench"][..], &["bench", "versus"], &["chat"]] {
            assert!(help(words).contains("--server") && help(words).contains("--token"));
        }
        let line = ["quoth", "--server", "a.example:1", "bench", "profiles"];
        let args = command().try_get_matches_from(line).and_then(|matches| Args::from_arg_matches(&matches));
        assert_eq!(args.unwrap().connection.server.as_deref(), Some("a.example:1"), "as before");
    }

    #[test]
    fn wrong_usage_is_told_before_anything_is_tried() {
        let error = |arguments: &[&str]| {
            let arguments = [&["quoth"], arguments].concat();
            let error = Args::try_parse_from(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(error(&["-s", "127.0.0.1", "tail", "general"]).contains("127.0.0.1:4433"));
        assert!(error(&["send", "general", "-starts"]).contains("put `--`"));
        assert!(error(&["send", "general", "-x"]).contains("-- -x"));
        assert!(error(&["send", "general", ""]).contains("a message has some text"));
        for conversation in [String::new(), "x".repeat(129)] {
            for command in ["chat", "send", "tail", "history"] {
                assert!(error(&[command, &conversation]).contains("<CONVERSATION>"));
            }
            assert!(error(&["import", "a.log", "--conversation", &conversation]).contains("--conversation"));
        }
        let dashed = Args::try_parse_from(["quoth", "send", "general", "--", "-starts", "here"]).unwrap();
        assert!(matches!(dashed.command, Command::Send(send) if send.text == ["-starts", "here"]));
    }

    #[test]
    fn an_unknown_flag_is_no_value() {
        let told = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            without_odd_tip(Args::try_parse_from(&words).unwrap_err(), &words).to_string()
        };
        let unknown = told("quoth history general --dry-run");
        assert!(unknown.contains("'--dry-run' found") && !unknown.contains("as a value"), "{unknown}");
        assert!(told("quoth send general --dry-run").contains("-- --dry-run"));
    }

    #[test]
    fn a_transport_is_one_of_three() {
        let parsed = |name: &str| Args::try_parse_from(["quoth", "chat", "general", "--transport", name]);
        assert_eq!(parsed("websocket").unwrap().connection.transport, Some(Transport::WebSocket));
        let error = parsed("tcp").unwrap_err().to_string();
        assert!(error.contains("auto, quic, websocket"), "{error}");
    }

    #[test]
    fn help_says_what_a_stream_of_events_can_begin_with() {
        assert_eq!(START_LAST_MAX, 10_000);
        let parsed = |last: &str| Args::try_parse_from(["quoth", "tail", "general", "-n", last]);
        assert!(parsed("10000").is_ok() && parsed("10001").is_err());
    }
}
