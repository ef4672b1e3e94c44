//! The command line of `quoth-server`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jsonwebtoken::Algorithm;
use quoth_protocol::UserId;
use quoth_store::{Progress, Report};

use crate::auth::{Rights, Verifier, algorithm, issue};
use crate::config::{Config, Loaded, LogFormat, SETTINGS, Sources, load};
use crate::development::{renew_certificate, signing_key_file};
use crate::engine::{Clock as _, SystemClock};
use crate::server::{Failed, Server};

/// Realtime messaging over QUIC: every conversation is a durable, gapless log, and every reader is a cursor on it.
///
/// Without a command and without a configuration file it serves in development mode: on loopback, with data folder,
/// certificates, signing key and tokens made by itself.
#[derive(Debug, Parser)]
#[command(
    name = "quoth-server",
    version,
    after_help = "Examples:\n  quoth-server\n  quoth-server --listen 127.0.0.1:5000 --data-dir /tmp/quoth\n  \
                  quoth-server config > quoth.toml\n  quoth-server --config quoth.toml check\n\n\
                  SIGTERM and SIGINT drain and stop, SIGHUP reads the certificate's files again.\n\
                  Exit codes: 0 stopped as told, 1 did not start or a check failed, 2 a mistake in configuration or \
                  command line, 70 the store failed."
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
    /// TOML file [env: QUOTH_CONFIG]. The environment (QUOTH_SECTION__NAME) and flags win over it. Default: none, which is
    /// development mode
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// UDP address for QUIC (server.listen). Default: 127.0.0.1:4433
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Folder of the store, and in development of keys and certificates (server.data_dir). Default: quoth-data
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Any other setting, as in limits.connections_max=1000; may be repeated. `quoth-server config` lists them
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Run,
    /// Check the configuration, its keys and certificates, and say where each value came from
    ///
    /// Opens no socket and no store, so it can run beside the server. Exit code 0: the configuration is good.
    Check,
    /// Print a configuration file with every setting, its default, unit and range
    Config {
        /// Print the values in force and where each one came from, in place of the defaults
        #[arg(long)]
        effective: bool,
    },
    /// Sign a token and print it
    ///
    /// Its audience is auth.audience. For a server in production give --key and --algorithm, and say what it allows.
    #[command(after_help = "Examples:\n  quoth-server token --user carol\n  \
                            quoth-server token --user carol --read 'team-*' --write 'team-*' --hours 1\n  \
                            quoth-server token --user carol --read '*' --key token-key.pem --algorithm EdDSA")]
    Token(TokenArgs),
    /// Walk the store's checksums and sequence numbers; the server must not run
    ///
    /// Mends nothing. Prints what is damaged. Exit code 0: all of it is sound.
    #[command(after_help = "Example:\n  quoth-server verify --data-dir /var/lib/quoth")]
    Verify,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// Whom it is for
    #[arg(long)]
    user: String,
    /// Conversations that may be read; `*` stands for any characters; may be repeated. Default: `*` for a development
    /// server, none with --key
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// Conversations that may be published to; as --read
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,
    /// Users in whose name may be published, for bridges and imports; may be repeated. Default: none
    #[arg(long, value_name = "PATTERN")]
    publish_as: Vec<String>,
    /// How long it lives, in hours, up to ten years
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=87_600))]
    hours: u64,
    /// Private key in PEM, or a file with the HS256 secret. Default: the development server's in the data folder
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key's algorithm: EdDSA, ES256 or HS256
    #[arg(long, default_value = "HS256", value_parser = algorithm)]
    algorithm: Algorithm,
}

/// Exit code when the store or the listener has failed while serving: a supervisor should restart, and an operator look at the disk.
const EXIT_STORE_FAILED: u8 = 70;

/// How often a development server looks whether its certificate is due. Far below the days that are left then, since
/// this clock stands still while the machine is suspended.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// Runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let loaded = match sources(&cli.sources).and_then(|sources| load(&sources)) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            return ExitCode::from(2);
        }
    };
    let result = match cli.command.unwrap_or(Command::Run) {
        Command::Run => return serve(&loaded.config),
        Command::Check => check(&loaded),
        Command::Config { effective } => {
            let text = if effective { loaded.report() } else { documented_defaults() };
            print(&text)
        }
        Command::Token(args) => token(&loaded.config, args),
        Command::Verify => verify(&loaded.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
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
            Some((key, value)) => flags.push((key.to_owned(), value.to_owned())),
            None => return Err(vec![format!("--set {assignment}: expected KEY=VALUE")]),
        }
    }
    flags.extend(args.listen.iter().map(|value| ("server.listen".to_owned(), value.clone())));
    flags.extend(args.data_dir.iter().map(|value| ("server.data_dir".to_owned(), value.clone())));
    Ok(Sources { file, env: std::env::vars_os().collect(), flags })
}

fn documented_defaults() -> String {
    let mut text = String::from(
        "# Quoth server. Every setting with its default; QUOTH_SECTION__NAME in the environment\n",
    );
    text.push_str("# and --set section.name=value win over this file.\n");
    let mut section = "";
    for setting in SETTINGS {
        let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if of != section {
            section = of;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let range = setting.range.as_ref();
        let range = range.map_or_else(String::new, |range| format!("; {} to {}", range.start(), range.end()));
        text.push_str(&format!("# {}{range}\n# {name} = {}\n", setting.doc, setting.get(&Config::default())));
    }
    text
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

fn check(loaded: &Loaded) -> Result<(), String> {
    print(&loaded.report())?;
    let config = &loaded.config;
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(problems.join("\nerror: "));
    }
    if !config.development {
        let (certificate, key) = (config.certificate_file.clone(), config.private_key_file.clone());
        quoth_certs::CertStore::open(&certificate.unwrap_or_default(), &key.unwrap_or_default())
            .map_err(|error| error.to_string())?;
        Verifier::load(&config.audience, &config.token_keys)?;
    }
    print("# the configuration is good\n")
}

fn token(config: &Config, args: TokenArgs) -> Result<(), String> {
    let user = UserId::new(&args.user).map_err(|error| format!("--user {:?}: {error}", args.user))?;
    let rights = rights(&args)?;
    let key = match args.key {
        Some(key) => key,
        None => development_key(config, args.algorithm)?,
    };
    let expires_s = SystemClock.unix_ms() / 1_000 + args.hours * 3_600;
    let token = issue(&key, args.algorithm, &config.audience, &user, rights, expires_s)?;
    print(&format!("{token}\n"))
}

/// What a token is to allow. Everything by default on a development server only.
fn rights(args: &TokenArgs) -> Result<Rights, String> {
    if args.key.is_some() && args.read.is_empty() && args.write.is_empty() {
        return Err(
            "with --key say what the token allows: --read PATTERN, --write PATTERN or both, '*' for \
                    all conversations"
                .to_owned(),
        );
    }
    let or_all = |patterns: &[String]| match patterns {
        [] if args.key.is_none() => vec!["*".to_owned()],
        given => given.to_vec(),
    };
    let publish_as = args.publish_as.clone();
    Ok(Rights { read: or_all(&args.read), write: or_all(&args.write), publish_as })
}

fn development_key(config: &Config, algorithm: Algorithm) -> Result<PathBuf, String> {
    if !config.development {
        return Err("the configuration is not for development mode: give --key and --algorithm".to_owned());
    }
    if algorithm != Algorithm::HS256 {
        return Err(format!(
            "the development server's key is for HS256: give --key with a key for {algorithm:?}"
        ));
    }
    let key = signing_key_file(&config.data_dir);
    if !key.exists() {
        return Err(format!(
            "{} does not exist: start a development server once, or give --data-dir, or --key and --algorithm",
            key.display()
        ));
    }
    Ok(key)
}

fn verify(config: &Config) -> Result<(), String> {
    let dir = config.data_dir.join("store");
    let is_terminal = std::io::stderr().is_terminal();
    let mut show = |progress| {
        if is_terminal {
            let text = match progress {
                Progress::Log { done, segments } => format!("log: {done} of {segments} segments"),
                Progress::View { messages } => format!("view: {messages} messages"),
            };
            eprint!("\r{text}\x1b[K");
        }
    };
    let report = quoth_store::verify(&dir, &mut show).map_err(|error| error.to_string())?;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let Report { groups, records, torn, applied, conversations, messages, findings } = report;
    let mut text = format!(
        "log   {records} records in {groups} groups\nview  {messages} messages in {conversations} conversations\n"
    );
    if let Some(position) = torn {
        text.push_str(&format!(
            "group {position} was being written when the server stopped; the next start drops it, nobody was told of it\n"
        ));
    }
    if applied.is_none() && findings.is_empty() {
        text.push_str("there is no view; the next start builds it from the log\n");
    }
    findings.iter().for_each(|finding| text.push_str(&format!("DAMAGED  {finding}\n")));
    print(&text)?;
    match findings.len() {
        0 => print("sound\n"),
        count => Err(format!(
            "{count} findings in {}: keep a copy of the folder before anything else",
            dir.display()
        )),
    }
}

fn start_log(config: &Config) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log_filter)
        .map_err(|error| format!("log.filter {:?} is no filter: {error}", config.log_filter))?;
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
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

fn serve(config: &Config) -> ExitCode {
    let problems = config.problems();
    if !problems.is_empty() {
        problems.iter().for_each(|problem| eprintln!("error: {problem}"));
        return ExitCode::from(2);
    }
    if let Err(error) = start_log(config) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve_until_told(config)),
        Err(error) => Err((1, format!("no runtime: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("error: {error}");
            ExitCode::from(code)
        }
    }
}

async fn serve_until_told(config: &Config) -> Result<(), (u8, String)> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| (1, format!("signals cannot be received: {error}")));
    let mut hangup = listen(SignalKind::hangup())?;
    let server = Server::start(config).map_err(|error| (1, error))?;
    // Not before, so that they end a start at once, however long the store takes.
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    banner(&server, config);
    let mut certificate_ends_s = server.development().map(|made| made.certificate_ends_s);
    let mut renewals = tokio::time::interval(RENEWAL_CHECK_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match server.reload_certificate() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::warn!(error, "the old certificate stays in force"),
            },
            _ = renewals.tick() => if let Some(ends_s) = &mut certificate_ends_s {
                match renew(&server, config, ends_s) {
                    Ok(true) => tracing::info!("the certificate was made anew"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(error, "the old certificate stays in force"),
                }
            },
            Failed(reason) = server.failed() => {
                let _known = server.stop().await;
                return Err((EXIT_STORE_FAILED, reason));
            }
        }
    }
    tracing::info!("draining");
    server.stop().await.map_err(|error| (EXIT_STORE_FAILED, error))?;
    tracing::info!("stopped");
    Ok(())
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

fn banner(server: &Server, config: &Config) {
    let (address, durability) = (server.address(), server.durability());
    let Some(made) = server.development() else {
        return tracing::info!(%address, %durability, data_dir = %config.data_dir.display(), "serving");
    };
    let show = |path: &Path| path.display().to_string();
    let data = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let text = format!(
        "quoth-server {version} (development mode: loopback only, keys and tokens made by itself)\n\
         \n  address     {address} (QUIC, UDP)\n  CA          {ca}\n  data        {data}\n  \
         durability  {durability} (an ack means that the disk has it)\n  token       {token}\n\
         \nChat from two other terminals:\n\n  quoth chat general\n  quoth chat general --user bob\n\n",
        version = env!("CARGO_PKG_VERSION"),
        ca = show(&made.ca_file),
        data = show(&data),
        token = made.token,
    );
    // A closed stdout is no reason to stop serving.
    let _nobody_reads = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command, Rights, development_key, rights};
    use crate::config::Config;
    use jsonwebtoken::Algorithm;

    fn token_rights(args: &[&str]) -> Result<Rights, String> {
        let cli = Cli::try_parse_from([&["quoth-server", "token", "--user", "carol"], args].concat());
        match cli.map_err(|error| error.to_string())?.command {
            Some(Command::Token(args)) => rights(&args),
            other => Err(format!("{other:?}")),
        }
    }

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

    #[test]
    fn a_token_of_a_key_that_was_given_allows_what_was_said_only() {
        let error = token_rights(&["--key", "k.pem"]).unwrap_err();
        assert!(error.contains("--read PATTERN"), "{error}");
        token_rights(&["--key", "k.pem", "--publish-as", "*"]).unwrap_err();
        let rights = token_rights(&["--key", "k.pem", "--read", "a*", "--read", "b"]).unwrap();
        assert_eq!((rights.read, rights.write), (vec!["a*".to_owned(), "b".to_owned()], Vec::new()));
        let rights = token_rights(&[]).unwrap();
        assert_eq!((rights.read, rights.write), (vec!["*".to_owned()], vec!["*".to_owned()]));
        assert_eq!(rights.publish_as, Vec::<String>::new());
    }

    #[test]
    fn a_token_that_no_server_accepts_is_not_signed() {
        for args in [&["--algorithm", "HS384"][..], &["--algorithm", "none"], &["--hours", "0"]] {
            token_rights(args).unwrap_err();
        }
        let max = u64::MAX.to_string();
        token_rights(&["--hours", &max]).unwrap_err();
        token_rights(&["--algorithm", "ES256", "--hours", "87600"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        std::fs::write(dir.path().join("keys/signing.key"), "s".repeat(64)).unwrap();
        let config = Config { data_dir: dir.path().to_owned(), development: true, ..Config::default() };
        development_key(&config, Algorithm::HS256).unwrap();
        development_key(&config, Algorithm::EdDSA).unwrap_err();
        development_key(&Config { development: false, ..config }, Algorithm::HS256).unwrap_err();
    }
}
