//! The real server, as a process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quoth_network::Namespace;

/// How long a server may take to print its banner. A bound of a hang, not a measurement.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `quoth-server` in development mode, killed when it is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
}

/// Where the binaries are: `QUOTH_BIN_DIR`, which `tests/run` sets.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("QUOTH_BIN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"), PathBuf::from);
    let path = dir.join(name);
    assert!(path.exists(), "{} does not exist: build it with `cargo build --release`", path.display());
    path
}

impl ServerProcess {
    /// Starts a server on a free port of loopback with its data in `data_dir`, and waits for its banner.
    ///
    /// # Errors
    /// When it ends or prints no banner.
    pub fn start(data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(data_dir, "127.0.0.1:0", &[])
    }

    /// The same with an address and further arguments.
    ///
    /// # Errors
    /// When it ends or prints no banner.
    pub fn start_with(data_dir: &Path, listen: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_command(Command::new(binary("quoth-server")), data_dir, listen, arguments)
    }

    /// The same in a shell that has run `setup` before, as in `trap '' XFSZ`.
    ///
    /// # Errors
    /// When it ends or prints no banner.
    pub fn start_behind(setup: &str, data_dir: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{setup}; exec \"$0\" \"$@\"")).arg(binary("quoth-server"));
        Self::start_command(shell, data_dir, "127.0.0.1:0", arguments)
    }

    /// The same below another program, as in `["strace", "-D", …]`, which must become the server or leave it
    /// its process id.
    ///
    /// # Errors
    /// When it ends or prints no banner.
    pub fn start_below(program: &[String], data_dir: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let (name, rest) = program.split_first().context("a program")?;
        let mut command = Command::new(name);
        command.args(rest).arg(binary("quoth-server"));
        Self::start_command(command, data_dir, "127.0.0.1:0", arguments)
    }

    /// The same in a network namespace.
    ///
    /// # Errors
    /// When it ends or prints no banner.
    pub fn start_in(namespace: &Namespace, data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_command(namespace.command(binary("quoth-server")), data_dir, "127.0.0.1:0", &[])
    }

    fn start_command(
        mut command: Command,
        data_dir: &Path,
        listen: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(data_dir.with_extension("log"))?;
        command.arg("--data-dir").arg(data_dir).args(["--listen", listen]).args(arguments);
        // The file for clients of the same user must not be written over by tests.
        command.env("XDG_RUNTIME_DIR", data_dir.with_extension("run"));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().context("no quoth-server")?;
        let stdout = child.stdout.take().context("a piped stdout")?;
        let started = Instant::now();
        let mut address = None;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(rest) = line.trim().strip_prefix("address") {
                address = rest.split_whitespace().next().and_then(|text| text.parse().ok());
            }
            if line.contains("--user bob") || started.elapsed() > START_TIMEOUT {
                break;
            }
        }
        let Some(address) = address else {
            let _ended = child.kill();
            let status = child.wait()?;
            let log = Self::log(data_dir);
            bail!("the server printed no address and ended with {status}: {log}");
        };
        Ok(Self { child, address, data_dir: data_dir.to_owned() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its CA.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.data_dir.join("keys").join("ca.pem")
    }

    /// Its file for clients.
    ///
    /// # Errors
    /// When it was not written.
    pub fn client_file(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.data_dir.join("client.json"))?)?)
    }

    /// A ready token: of a user, or `service_token`.
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        let file = self.client_file()?;
        let token = if user == "service_token" { &file["service_token"] } else { &file["tokens"][user] };
        Ok(token.as_str().with_context(|| format!("no token for {user}"))?.to_owned())
    }

    /// Ends it at once, as a crash does (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        Ok(self.child.wait()?)
    }

    /// Sends a signal by name.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for, or has not ended in time; it is killed then.
    pub fn wait(mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > timeout {
                bail!("the server has not ended within {timeout:?}");
            }
            // A child's end with a bound cannot be waited for otherwise in the standard library.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has logged, this run's behind those of earlier runs on the same folder.
    #[must_use]
    pub fn log(data_dir: &Path) -> String {
        std::fs::read_to_string(data_dir.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
