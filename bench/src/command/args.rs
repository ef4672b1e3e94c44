//! The command line of `quoth bench`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::floor::FloorCommand;
use crate::profile::{Payload, Transport};
use crate::rival::Kind;

/// Measures a server under a load, with the least that this machine can do beside it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    after_help = "Examples:\n  quoth bench latency\n  quoth bench chat --rate 2000 --duration 30 --html report.html\n  \
                  quoth bench my-load.toml --json after.json && quoth bench compare before.json after.json\n  \
                  quoth bench versus throughput --against jetstream\n  quoth bench fanout --readers 200 --rounds 5\n  \
                  quoth bench profiles chat --reference > my-load.toml\n\n\
                  A server that runs already:\n  quoth bench latency --server HOST:PORT --ca ca.pem --token-file token --server-pid PID\n\
                  The token must allow to read and write anything. --server-name is for a certificate that is not for HOST; \
                  --server-pid is for a server on this machine, whose memory and processor time are watched then. Floors run \
                  on this machine wherever the server is: --no-floors leaves them out.\n\n\
                  --transport is what the server's clients speak; auto leaves that to the profile.\n\n\
                  Exit codes: 0 measured; 1 failed: a message lost, doubled, altered or out of order by the server or a floor, a round \
                  that could not be measured, or a regression (compare); 2 wrong usage, told before anything is measured; 3 \
                  undecided (compare: rounds of both runs meet, or are too few to judge by); 128 and the signal's number when interrupted, after what was measured before is told. A second Ctrl-C a second later, or more, ends everything at once and tells what is lost."
)]
pub struct BenchArgs {
    /// Another thing than a run
    #[command(subcommand)]
    pub(super) command: Option<BenchCommand>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// List the built-in profiles, or print one to make an own one of
    Profiles {
        /// The one to print
        name: Option<String>,
        /// Tell every key of a profile, with what it is, its values and its default: all keys, or those of
        /// the profile, each with the value that it has there
        #[arg(long)]
        reference: bool,
    },
    /// Measure other servers on the same schedule, one behind the other, in one table
    ///
    /// nats-server is the program that NATS_SERVER names, or else looked for in the PATH and in
    /// .tools/venv/bin; mosquitto is looked for in the PATH and in /usr/sbin.
    Versus {
        /// Which ones, with commas between them: nats-core, jetstream, jetstream-default, mosquitto, and all
        /// but jetstream-default with -tls behind the name
        #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = rival)]
        against: Vec<Kind>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Compare two runs of the same load, and say of each figure whether it is better, worse or undecided
    ///
    /// A figure is WORSE or better when its median has changed by more than the bound and the rounds of the
    /// two runs lie apart, however wide they are. It is the same when its median is within the bound, and
    /// each round within the bound of its run's median. Else it is undecided: rounds meet or are too wide,
    /// and more of them are needed. Everything is undecided with fewer than three rounds in each run (or two
    /// beside five), however far apart, since nothing is known of noise then: measure with --rounds 5.
    ///
    /// What is judged where a floor was measured is the ratio to the floor, since machines and moments
    /// differ; where the floor's rounds are too wide for that, the figure itself, if its own rounds lie apart
    /// and the floor's do not. Figures for each delivery of a run that did less than nine tenths of what was
    /// due (starved) are not called better. What is told only is said at the end.
    ///
    /// Where no floor was measured, and other programs or other machines had the processors in the run that
    /// is slower, its figures are undecided however far apart.
    ///
    /// Exit codes: 0 nothing is worse; 1 a regression, or the later run broke a promise; 2 wrong usage, as
    /// runs of different loads; 3 undecided: no regression is certain, and a figure whose median has changed
    /// by more than the bound is undecided, or the runs have too few rounds.
    Compare {
        /// The earlier run, written with --json
        before: PathBuf,
        /// The later one
        after: PathBuf,
        /// How much worse a figure may be, as a ratio: 1.10 is a tenth
        #[arg(long, value_name = "RATIO", default_value_t = crate::compare::BOUND)]
        bound: f64,
    },
    /// Make the report of a run that was written with --json
    Report {
        /// The run
        found: PathBuf,
        /// The report to write
        html: PathBuf,
    },
    /// The floors' processes.
    #[command(hide = true, subcommand)]
    Floor(FloorCommand),
}

/// A run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The load: a built-in profile (`quoth bench profiles` lists them) or a TOML file
    #[arg(default_value = "latency")]
    pub(super) profile: String,

    /// Open loops: messages per second, all publishers together
    #[arg(long, value_name = "PER_S", help_heading = "Load", allow_negative_numbers = true)]
    pub(super) rate: Option<f64>,
    /// Connections of all clients. Without it each member still has one of its own, where each has in the
    /// profile
    #[arg(long, value_name = "N", help_heading = "Load", allow_negative_numbers = true)]
    pub(super) connections: Option<u32>,
    /// Conversations
    #[arg(long, value_name = "N", help_heading = "Load", allow_negative_numbers = true)]
    pub(super) conversations: Option<u32>,
    /// Loads with publishers and readers: readers of each conversation
    #[arg(long, value_name = "N", help_heading = "Load", allow_negative_numbers = true)]
    pub(super) readers: Option<u32>,
    /// Make a closed loop of an open one: as many as go through, with a window of messages on their way for
    /// each publisher
    #[arg(long, help_heading = "Load", conflicts_with = "rate")]
    pub(super) closed: bool,
    /// Closed loops: messages of each publisher on their way, or of each connection where the profile says so
    #[arg(long, value_name = "MESSAGES", help_heading = "Load", allow_negative_numbers = true)]
    pub(super) window: Option<u32>,
    /// Bytes of a message, as in 200 or 50-1000; idle connections have none
    #[arg(long, value_name = "BYTES", help_heading = "Load")]
    pub(super) payload: Option<Payload>,
    /// Open loops: say the lines of chat logs in a folder, at their times, in place of made-up messages
    #[arg(long, value_name = "DIR", help_heading = "Load", conflicts_with_all = ["rate", "closed", "payload"])]
    pub(super) replay: Option<PathBuf>,
    /// How many times as fast as the logs' people; default: 20
    #[arg(
        long,
        value_name = "TIMES",
        help_heading = "Load",
        requires = "replay",
        allow_negative_numbers = true
    )]
    pub(super) speed: Option<f64>,

    /// Open and closed loops: what counts of each round, in seconds
    #[arg(long, value_name = "S", help_heading = "Method", allow_negative_numbers = true)]
    pub(super) duration: Option<f64>,
    /// Open and closed loops: before what counts, in seconds
    #[arg(long, value_name = "S", help_heading = "Method", allow_negative_numbers = true)]
    pub(super) warm_up: Option<f64>,
    /// How often each system is measured, in turn with the others
    #[arg(long, value_name = "N", help_heading = "Method", allow_negative_numbers = true)]
    pub(super) rounds: Option<u32>,
    /// Leave the floors out, and with them all that compares machines
    #[arg(long, help_heading = "Method")]
    pub(super) no_floors: bool,
    /// Open and closed loops: how long readers wait for what is missing when nothing more is published, in
    /// seconds; default: 20
    #[arg(long, value_name = "S", help_heading = "Method", allow_negative_numbers = true)]
    pub(super) patience: Option<f64>,
    /// Seed of whatever is random
    #[arg(
        long,
        value_name = "N",
        help_heading = "Method",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    pub(super) seed: u64,
    /// Open and closed loops: threads for clients; default: half of the processors
    #[arg(long, value_name = "N", help_heading = "Method", allow_negative_numbers = true)]
    pub(super) client_threads: Option<usize>,

    /// Program of the server that is started; default: `quoth-server` beside this one
    #[arg(long, value_name = "FILE", help_heading = "System")]
    pub(super) server_binary: Option<PathBuf>,
    /// Setting of that server; may be repeated. Limits win over those of the bench; what it needs for itself
    /// is refused
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "System")]
    pub(super) settings: Vec<String>,
    /// Network between clients and servers: lan, home, mobile, bad, or a TOML file; `loopback` for none.
    /// Needs root
    #[arg(long, value_name = "NAME", help_heading = "System")]
    pub(super) network: Option<String>,
    /// Folder whose disk is measured: servers' data is in a new folder inside it, which is removed again
    #[arg(long, value_name = "DIR", help_heading = "System", default_value = ".")]
    pub(super) dir: PathBuf,
    /// Process of a server that runs already (--server), to watch its memory and processor time
    #[arg(long, value_name = "PID", help_heading = "System")]
    pub(super) server_pid: Option<u32>,

    /// Write what was found as JSON, for `quoth bench compare` and own tools
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) json: Option<PathBuf>,
    /// Write a report that any browser opens
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) html: Option<PathBuf>,
}

fn rival(name: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Kind::named(name).ok_or_else(|| format!("there are {}", names()))
}

/// What the rest of the command line and the environment say about connecting.
#[derive(Debug, Default)]
pub struct Connecting {
    /// The server that runs already, if one is named.
    pub running: Option<RunningServer>,
    /// What the clients are to speak; the profile says it where nobody else does.
    pub transport: Option<Transport>,
    /// Flags that were given and only tell how to reach a server that runs already, as in `--ca`.
    pub of_running: Vec<&'static str>,
}

/// A server that runs already, as the rest of the command line names it.
#[derive(Debug, Clone)]
pub struct RunningServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM file of the CA of its certificate.
    pub ca_file: PathBuf,
    /// The name that its certificate is for.
    pub name: String,
    /// A token that may read and write anything.
    pub token: String,
}
