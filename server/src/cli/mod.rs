//! The command line of `quoth-server`.

mod amount;
mod backup;
mod banner;
mod export;
mod plan;
mod progress;
mod retention;
mod token;
mod verify;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use quoth_protocol::UserId;

use self::backup::{BackupArgs, RestoreArgs};
use self::export::ExportArgs;
use self::retention::RetentionCommand;
use self::token::{TokenArgs, token};
use self::verify::VerifyArgs;
use crate::announce::Announcement;
use crate::config::{Config, Flag, Loaded, LogFormat, SETTINGS, Sources, load};
use crate::development::renew_certificate;
use crate::engine::{Clock as _, SystemClock};
use crate::preflight;
use crate::server::{Failed, Server};

/// Realtime messaging over QUIC: every conversation is a durable, gapless log, and every reader is a cursor
/// on it.
///
/// Without a command and without a configuration file it serves in development mode: on loopback, with data
/// folder, certificates, signing key and tokens made by itself.
#[derive(Debug, Parser)]
#[command(
    name = "quoth-server",
    version = env!("QUOTH_VERSION"),
    after_help = "Examples:\n  quoth-server\n  quoth-server --listen 127.0.0.1:5000 --data-dir /tmp/quoth\n  \
                  quoth-server config > quoth.toml\n  quoth-server --config quoth.toml check\n\n\
                  SIGTERM and SIGINT drain and stop, SIGHUP reads the files of the certificate,\n\
                  of auth.token_keys and of api.keys again.\n\
                  Exit codes: 0 done, or stopped as told; 1 failed: the address or the store is in use, the store is damaged; \
                  2 a mistake on the command line or in the configuration, or a key, certificate or data folder that \
                  cannot be used: `check` finds the same ones; 70 the store failed while serving."
)]
struct Cli {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
struct SourceArgs {
    /// TOML file [env: QUOTH_CONFIG]. Relative paths in it are relative to it. The environment
    /// (QUOTH_SECTION__NAME) and flags win over it. Default: none, which is development mode
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address, for QUIC over UDP and for WebSocket and HTTP over TCP (server.listen). Default:
    /// 127.0.0.1:4433
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of the store and of keys (server.data_dir). Default: quoth-data in the current folder
    #[arg(long, global = true, value_name = "DIR", alias = "data")]
    data_dir: Option<String>,
    /// Serve the chat page at / outside of development mode, too (server.demo_page)
    #[arg(long, global = true)]
    demo: bool,
    /// Any other setting, as in limits.connections_max=1000; may be repeated. `quoth-server config` lists
    /// them
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Run,
    /// Check the configuration, its keys, certificates and data folder, and print what is set and where
    ///
    /// Opens no socket and no store, so it can run beside the server; run it as the server's user. Exit code
    /// 0: the configuration is good, but for warnings such as of an expired certificate, 2: `run` would
    /// refuse it with the same errors and exit code.
    Check,
    /// Print a configuration file with every setting, its default, unit and range
    Config {
        /// Print the values in force and where each one came from, in place of the defaults
        #[arg(long)]
        effective: bool,
    },
    /// Sign a token and print it
    ///
    /// Its audience is auth.audience. For a server in production give --key and --algorithm, and say what it
    /// allows.
    #[command(after_help = "Examples:\n  quoth-server token --user carol\n  \
                            quoth-server token --user carol --read 'team-*' --write 'team-*' --expires-in 30m\n  \
                            quoth-server token --user carol --read '*' --key token-key.pem --algorithm EdDSA")]
    Token(TokenArgs),
    /// Walk the checksums and sequence numbers of the store, or of a folder of backups; the server must not
    /// run on it
    ///
    /// Mends nothing. Prints what is damaged. Exit code 0: all of it is sound, 1: it is not, or cannot be
    /// read.
    #[command(after_help = "Examples:\n  quoth-server verify --data-dir /var/lib/quoth\n  \
                            quoth-server verify --backups /mnt/backups/quoth")]
    Verify(VerifyArgs),
    /// Add a backup of the data folder to a folder of backups, whether a server runs on it or not
    ///
    /// What an earlier backup there has already is not copied again. Everything that was acked before it
    /// began is in it; it is there, whole, when this ends with exit code 0, and else not at all.
    #[command(
        after_help = "Examples:\n  quoth-server backup --data-dir /var/lib/quoth --to /mnt/backups/quoth\n  \
                            quoth-server backup --data-dir /var/lib/quoth --to /mnt/backups/quoth --keep 14"
    )]
    Backup(BackupArgs),
    /// Make a new data folder of a backup
    ///
    /// Every byte is checked on the way. The data folder must be new or empty.
    #[command(
        after_help = "Examples:\n  quoth-server restore --from /mnt/backups/quoth --data-dir /var/lib/quoth-new\n  \
                            quoth-server restore --from /mnt/backups/quoth --backup 12 --data-dir /tmp/as-it-was"
    )]
    Restore(RestoreArgs),
    /// Write conversations as JSON lines, whether a server runs on the data folder or not
    ///
    /// One line for each event, {"conversation": …, "event": …}, conversation after conversation, each in the
    /// order of its events; events are as the server API has them. Everything that was acked before it began
    /// is in it.
    #[command(after_help = "Examples:\n  quoth-server export --data-dir /var/lib/quoth > all.jsonl\n  \
                            quoth-server export --data-dir /var/lib/quoth --conversation 'team-*' --to teams.jsonl\n  \
                            quoth-server export --backups /mnt/backups/quoth --conversation general")]
    Export(ExportArgs),
    /// Say what retention takes and when, or free its space; the server must not run
    ///
    /// Opens the store as a start does.
    #[command(subcommand, after_help = "Example:\n  quoth-server retention plan --data-dir /var/lib/quoth")]
    Retention(RetentionCommand),
}

/// Exit code when a command has failed for a reason outside of its configuration.
const EXIT_FAILED: u8 = 1;

/// Exit code when command line, configuration or what it names has to be put right first, as clap has it.
const EXIT_MISTAKE: u8 = 2;

/// Exit code when the store or the listener has failed while serving: a supervisor should restart, and an
/// operator look at the disk.
const EXIT_STORE_FAILED: u8 = 70;

/// How often it is looked whether a development server's certificate or a key of session tickets is due. Far
/// below the time that is left then, since this clock stands still while the machine is suspended.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// Runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match sources(&cli.sources).and_then(|sources| load(&sources)) {
        Ok(loaded) => execute(cli.command.unwrap_or(Command::Run), &loaded),
        Err(mistakes) => Err(Failure { exit_code: EXIT_MISTAKE, reasons: mistakes }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit_code, reasons }) => {
            reasons.iter().for_each(|reason| eprintln!("error: {reason}"));
            ExitCode::from(exit_code)
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    exit_code: u8,
    reasons: Vec<String>,
}

impl Failure {
    fn mistake(reason: String) -> Self {
        Self { exit_code: EXIT_MISTAKE, reasons: vec![reason] }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { exit_code: EXIT_FAILED, reasons: vec![reason] }
    }
}

fn execute(command: Command, loaded: &Loaded) -> Result<(), Failure> {
    let config = &loaded.config;
    match command {
        Command::Run => serve(config),
        Command::Check => {
            print(&loaded.report_of_what_is_set())?;
            refuse_problems(config)?;
            preflight::warnings(config).iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(print("# the configuration is good\n")?)
        }
        Command::Config { effective } => {
            let text = if effective { loaded.report() } else { documented_defaults() };
            Ok(print(&text)?)
        }
        Command::Token(args) => Ok(print(&format!("{}\n", token(config, args).map_err(Failure::mistake)?))?),
        Command::Verify(args) => Ok(verify::verify(config, &args)?),
        Command::Backup(args) => backup::backup(config, &args),
        Command::Restore(args) => Ok(backup::restore(config, &args)?),
        Command::Export(args) => Ok(export::export(config, &args)?),
        Command::Retention(command) => Ok(retention::run(config, command)?),
    }
}

fn refuse_problems(config: &Config) -> Result<(), Failure> {
    match preflight::problems(config) {
        problems if problems.is_empty() => Ok(()),
        reasons => Err(Failure { exit_code: EXIT_MISTAKE, reasons }),
    }
}

fn sources(args: &SourceArgs) -> Result<Sources, Vec<String>> {
    let path = args.config.clone().or_else(|| std::env::var_os("QUOTH_CONFIG").map(PathBuf::from));
    let file = match path {
        None => None,
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => return Err(vec![format!("{} cannot be read: {error}", path.display())]),
        },
    };
    let mut flags = Vec::new();
    for assignment in &args.set {
        match assignment.split_once('=') {
            Some((key, value)) => flags.push(Flag::new("--set", key, value)),
            None => return Err(vec![format!("--set {assignment}: expected KEY=VALUE")]),
        }
    }
    flags.extend(args.listen.iter().map(|value| Flag::new("--listen", "server.listen", value)));
    flags.extend(args.data_dir.iter().map(|value| Flag::new("--data-dir", "server.data_dir", value)));
    flags.extend(args.demo.then(|| Flag::new("--demo", "server.demo_page", "true")));
    Ok(Sources { file, env: std::env::vars_os().collect(), flags })
}

/// What stands above the defaults.
const DEFAULTS_HEAD: &str = "\
# Quoth server. Every setting with its default; QUOTH_SECTION__NAME in the environment
# and --set section.name=value win over this file. Relative paths are relative to this file.
# With a file the server is no development server: give [tls] and [auth], or set development = true.
";

fn documented_defaults() -> String {
    let mut text = String::from(DEFAULTS_HEAD);
    let mut section = "";
    for setting in SETTINGS {
        let (of, name) = setting.section_and_name();
        if of != section {
            section = of;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let range = setting.range();
        let range = range.map_or_else(String::new, |range| format!("; {} to {}", range.start(), range.end()));
        text.push_str(&format!("# {}{range}\n# {name} = {}\n", setting.doc, setting.get(&Config::default())));
    }
    text
}

/// That the reader has gone is no failure (`quoth-server check | head`).
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn start_log(config: &Config) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log_filter)
        .map_err(|error| format!("log.filter {:?} is no filter: {error}", config.log_filter))?;
    let is_terminal = std::io::stderr().is_terminal();
    // A reader of the log that has gone would be told of on the standard error too, which panics.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter);
    let builder = builder.with_writer(std::io::stderr);
    let is_json = match config.log_format {
        LogFormat::Auto => !is_terminal && !config.development,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if is_json {
        builder.json().init()
    } else {
        builder.with_ansi(is_terminal).init()
    }
    Ok(())
}

fn serve(config: &Config) -> Result<(), Failure> {
    refuse_problems(config)?;
    start_log(config).map_err(Failure::mistake)?;
    preflight::warnings(config).iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime
        .block_on(serve_until_told(config))
        .map_err(|(exit_code, reason)| Failure { exit_code, reasons: vec![reason] })
}

async fn serve_until_told(config: &Config) -> Result<(), (u8, String)> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| (EXIT_FAILED, format!("signals cannot be received: {error}")));
    let mut hangup = listen(SignalKind::hangup())?;
    let server = Server::start(config).map_err(|error| (EXIT_FAILED, error))?;
    // Not before, so that they end a start at once, however long the store takes.
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let announced = tell(&server, config);
    let mut certificate_ends_s = server.development().map(|made| made.certificate_ends_s);
    let mut renewals = tokio::time::interval(RENEWAL_CHECK_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => read_again(&server),
            _ = renewals.tick() => {
                if let Some(ends_s) = &mut certificate_ends_s {
                    match renew(&server, config, ends_s) {
                        Ok(true) => tracing::info!("the certificate was made anew"),
                        Ok(false) => {}
                        Err(error) => tracing::warn!(error, "the old certificate stays in force"),
                    }
                }
                if let Err(error) = server.rotate_ticket_keys() {
                    tracing::warn!(error, "the old keys of session tickets stay in force");
                }
            },
            Failed(reason) = server.failed() => {
                drop(announced);
                let _known = server.stop().await;
                return Err((EXIT_STORE_FAILED, reason));
            }
        }
    }
    // Before the data folder is free: the next server's files must stay.
    drop(announced);
    tracing::info!("draining");
    server.stop().await.map_err(|error| (EXIT_STORE_FAILED, error))?;
    tracing::info!("stopped");
    Ok(())
}

/// Reads what may have been replaced in its file. What is broken changes nothing, and says what is to be
/// done.
fn read_again(server: &Server) {
    match server.reload_certificate() {
        Ok(None) => tracing::info!("the certificate was read again"),
        Ok(Some(warning)) => tracing::warn!(warning, "the certificate was read again"),
        Err(error) => tracing::warn!(error, "the old certificate stays in force"),
    }
    match server.reload_token_keys() {
        Ok(keys) => tracing::info!(keys, "the keys of tokens were read again"),
        Err(error) => tracing::warn!(
            error,
            "the old keys of tokens stay in force, all of them: mend the file and send SIGHUP again"
        ),
    }
    match server.reload_api_keys() {
        Ok(changed) => {
            let changed = changed.iter().map(UserId::as_str).collect::<Vec<_>>().join(" ");
            tracing::info!(changed, "the keys of the server API were read again");
        }
        Err(error) => tracing::warn!(
            error,
            "the old keys of the server API stay in force, all of them: mend the file and send SIGHUP again"
        ),
    }
}

/// Makes a development server's certificate anew when it is due, and says whether it did.
fn renew(server: &Server, config: &Config, ends_s: &mut u64) -> Result<bool, String> {
    let Some(new_ends_s) = renew_certificate(config, *ends_s, SystemClock.unix_ms() / 1_000)? else {
        return Ok(false);
    };
    server.reload_certificate()?;
    *ends_s = new_ends_s;
    Ok(true)
}

/// Tells that the server serves: its operator in the log, or a developer in a banner, and clients in their
/// files, which are there until what this returns is dropped.
fn tell(server: &Server, config: &Config) -> Option<Announcement> {
    let (address, durability) = (server.address(), server.durability());
    let Some(made) = server.development() else {
        let api = server.api_address().map_or_else(|| "off".to_owned(), |api| api.to_string());
        tracing::info!(%address, %api, workers = server.workers(), %durability, data_dir = %config.data_dir.display(), "serving");
        return None;
    };
    let announced = Announcement::new(&made.client_file);
    let text = banner::text(made, &announced, (address, server.api_address()), durability, config);
    // A closed stdout is no reason to stop serving.
    let _nobody_reads = std::io::stdout().write_all(text.as_bytes());
    Some(announced)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent_and_every_flag_has_a_text() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands().chain([&cli]) {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
