//! The server as a child process, on a new folder with keys of its own.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::Place;
use crate::process::Process;
use crate::profile::Transport;

/// How long it may take to serve. A bound of a hang, not a measurement.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings that the bench itself gives its server, and why it needs them as they are.
const ITS_OWN: &[(&str, &str)] = &[
    ("server.listen", "its server listens at a port that is free, which nobody but its clients has to know"),
    ("server.data_dir", "its server's data is in the run's folder, on the disk that --dir names"),
    ("server.development", "it makes the keys and the tokens of its server itself"),
    ("tls.certificate_file", "it makes a certificate that its clients trust"),
    ("tls.private_key_file", "it makes a certificate that its clients trust"),
    ("auth.token_keys", "its clients' token is signed with a key of its own"),
    ("log.format", "it reads in the log, as text, where its server serves"),
];

/// How a server is started.
#[derive(Debug, Clone)]
pub struct QuothOptions {
    /// The program.
    pub binary: PathBuf,
    /// Settings as `section.name=value`, over those of the bench.
    pub settings: Vec<String>,
}

/// A running server; killed when it is dropped, and its folder removed.
#[derive(Debug)]
pub struct Quoth {
    process: Process,
    address: SocketAddr,
    token: String,
    files: Files,
    options: QuothOptions,
    place: Place,
}

#[derive(Debug)]
struct Files {
    dir: TempDir,
    ca: PathBuf,
}

impl QuothOptions {
    /// Whether a server can be started like this, as the server itself says: its program, and each setting.
    ///
    /// # Errors
    /// What it says.
    pub fn check(&self, place: &Place) -> anyhow::Result<()> {
        let version = run(Command::new(&self.binary).arg("--version"))?;
        anyhow::ensure!(
            version.starts_with("quoth-server "),
            "{} is no quoth-server: it says `{}`",
            self.binary.display(),
            version.lines().next().unwrap_or_default()
        );
        let files = Files::make(place, 0)?;
        let output = self.command(&files, &["check"]).output();
        let output = output.with_context(|| format!("{} cannot be started", self.binary.display()))?;
        let told = String::from_utf8_lossy(&output.stderr);
        let told: Vec<_> = told.lines().map(|line| line.trim_start_matches("error: ")).collect();
        anyhow::ensure!(output.status.success(), "{}: {}", self.binary.display(), told.join("; "));
        Ok(())
    }

    /// Why the bench alone gives its server a setting, where it does: with clients that speak `transport`.
    #[must_use]
    pub fn why_its_own(setting: &str, transport: Transport) -> Option<&'static str> {
        if setting == "server.plain_http" && transport == Transport::WebsocketPlain {
            return Some("it is true, since the clients of transport websocket_plain have no TLS");
        }
        ITS_OWN.iter().find(|(name, _)| *name == setting).map(|(_, why)| *why)
    }

    /// Its congestion control over QUIC, as its program says; `None` of a program that says nothing of it.
    #[must_use]
    pub fn congestion_control(&self, place: &Place) -> Option<String> {
        let files = Files::make(place, 0).ok()?;
        setting(&run(&mut self.command(&files, &["config", "--effective"])).ok()?, "congestion_control")
    }

    /// A command of the program, with its settings.
    fn command(&self, files: &Files, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(files.config());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.args(words);
        command
    }

    /// The program beside this one, with the settings of the bench alone.
    ///
    /// # Errors
    /// When it is not there; the text says how to get it.
    pub fn beside_this() -> anyhow::Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("quoth-server");
        if !binary.exists() {
            bail!(
                "{} does not exist: build it with `cargo build --release`, or say where it is with --server-binary, or \
                 measure a running server with --server",
                binary.display()
            );
        }
        Ok(Self { binary, settings: Vec::new() })
    }
}

impl Quoth {
    /// Starts a server whose connections may have so many conversations open, if that is more than its
    /// default, and waits until it serves.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn start(place: &Place, options: &QuothOptions, open_conversations: u32) -> anyhow::Result<Self> {
        let files = Files::make(place, open_conversations)?;
        let token = files.token(&options.binary)?;
        let (process, address) = files.serve(place, options, place.listen())?;
        let (options, place) = (options.clone(), place.clone());
        Ok(Self { process, address, token, files, options, place })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CA of its certificate.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.files.ca
    }

    /// A token that allows everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// An error behind which may be that it has ended.
    pub fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.process.explain("the server", error)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills it as a crash does, and starts it again on the same folder and address.
    ///
    /// # Errors
    /// When it does not serve again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        (self.process, self.address) = self.files.serve(&self.place, &self.options, self.address)?;
        Ok(())
    }
}

impl Files {
    fn make(place: &Place, open_conversations: u32) -> anyhow::Result<Self> {
        /// The server's default.
        const OPEN_CONVERSATIONS: u32 = 48;
        let dir = place.folder_for("quoth")?;
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let made = quoth_certs::development(dir.path(), &["localhost".to_owned()], now_s)?;
        // The server warns of a secret that others can read, and it is right.
        let mut secret = OpenOptions::new();
        secret.write(true).create_new(true).mode(0o600);
        secret.open(dir.path().join("secret"))?.write_all(random_hex().as_bytes())?;
        let config = format!(
            "[server]\ndata_dir = \"data\"\n[tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}\n[auth]\ntoken_keys = \
             [\"HS256:secret\"]\n[log]\nformat = \"text\"\n{}",
            made.leaf_pem_path,
            made.leaf_key_pem_path,
            // All clients come from one address and are one user, which no deployment's do, and they are as
            // fast as they can.
            format_args!(
                "[limits]\nhandshakes_max = 1024\nhandshakes_per_address_max = 1024\nretry_above_handshakes = 1024\n\
                 connections_per_address_max = 0\nconnections_per_user_max = 0\nframes_per_second_max = 0\n\
                 bytes_per_second_max = 0\nuser_publishes_per_second_max = 0\n\
                 conversation_publishes_per_second_max = 0\n\
                 open_conversations_max = {}\n",
                open_conversations.max(OPEN_CONVERSATIONS)
            ),
        );
        std::fs::write(dir.path().join("quoth.toml"), config)?;
        Ok(Self { ca: made.ca_pem_path, dir })
    }

    fn token(&self, binary: &Path) -> anyhow::Result<String> {
        let mut command = Command::new(binary);
        command.args(["token", "--user", "bench", "--read", "*", "--write", "*"]);
        command.arg("--config").arg(self.config()).arg("--key").arg(self.dir.path().join("secret"));
        run(&mut command).context("no token for the clients")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("quoth.toml")
    }

    fn serve(
        &self,
        place: &Place,
        options: &QuothOptions,
        listen: SocketAddr,
    ) -> anyhow::Result<(Process, SocketAddr)> {
        let mut command = place.server_command(&options.binary);
        command.arg("--config").arg(self.config()).args(["--listen", &listen.to_string()]);
        for setting in &options.settings {
            command.args(["--set", setting]);
        }
        let log = self.dir.path().join("log");
        let told_before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let mut process = Process::start(&mut command, &log)?;
        let started = Instant::now();
        loop {
            let told = std::fs::read_to_string(&log)?;
            let told = told.get(usize::try_from(told_before)?..).unwrap_or_default();
            if let Some(address) = serving(told) {
                return Ok((process, address));
            }
            if process.ended()?.is_some() || started.elapsed() > START_TIMEOUT {
                bail!("{} does not serve: {}", options.binary.display(), process.log_tail());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The address that a log tells once the server serves.
fn serving(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(" serving "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
}

/// The value of a setting that is a word, in a configuration file.
fn setting(config: &str, name: &str) -> Option<String> {
    let value = config.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix("= \""))?;
    Some(value.split_once('"')?.0.to_owned())
}

fn random_hex() -> String {
    let random: [u8; 32] = rand::random();
    random.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// What a command prints, which must succeed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("{program} cannot be started"))?;
    anyhow::ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_read_the_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let place = Place::loopback(dir.path(), crate::floor::Program::this().unwrap()).unwrap();
        let files = Files::make(&place, 0).unwrap();
        let secret = files.dir.path().join("secret");
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(secret).unwrap().len(), 64);
    }

    #[test]
    fn what_the_bench_writes_into_its_servers_configuration_is_its_own_but_for_limits() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::loopback(dir.path(), crate::floor::Program::this().unwrap()).unwrap();
        let files = Files::make(&place, 0).unwrap();
        let config: toml::Table = toml::from_str(&std::fs::read_to_string(files.config()).unwrap()).unwrap();
        for (section, settings) in config.iter().filter(|(section, _)| *section != "limits") {
            for name in settings.as_table().unwrap().keys() {
                let setting = format!("{section}.{name}");
                assert!(QuothOptions::why_its_own(&setting, Transport::Quic).is_some(), "{setting}");
            }
        }
        let plain = |transport| QuothOptions::why_its_own("server.plain_http", transport);
        assert!(plain(Transport::WebsocketPlain).is_some() && plain(Transport::Websocket).is_none());
    }

    #[test]
    fn a_setting_is_found_in_what_is_in_force() {
        let config = "[server]\nplain_http = false # default\ncongestion_control = \"cubic\" # flag --set\n";
        assert_eq!(setting(config, "congestion_control").as_deref(), Some("cubic"));
        assert_eq!(setting(config, "congestion"), None);
    }

    #[test]
    fn the_address_is_found_in_the_log() {
        let log = "2026-01-01 INFO quoth_server: opened\n2026-01-01 INFO quoth_server::cli: serving \
                   address=127.0.0.1:4433 durability=stored\n";
        assert_eq!(serving(log), Some(([127, 0, 0, 1], 4433).into()));
        assert_eq!(serving("INFO opened address=1.2.3.4:5\n"), None);
    }
}
