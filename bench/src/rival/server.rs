//! The rivals' servers, as child processes.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use rustls::ClientConfig;
use tempfile::TempDir;

use super::client::RivalSystem;
use super::{Kind, config, program};
use crate::process::{Process, Usage};

/// How long a rival may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a rival runs.
pub struct StartOptions<'a> {
    /// The folder on whose disk its data lies.
    pub dir: &'a Path,
    /// Where it listens; port 0 is one that is free.
    pub listen: SocketAddr,
    /// A command that runs a program on the servers' side of a network.
    pub command: &'a dyn Fn(&Path) -> Command,
}

/// A running rival; killed when it is dropped, and its data removed.
#[derive(Debug)]
pub struct Rival {
    kind: Kind,
    process: Process,
    version: String,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    _dir: TempDir,
}

impl fmt::Debug for StartOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartOptions")
            .field("dir", &self.dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Rival {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When its program is missing or too old, with how to get it, or when it does not start, with the end of
    /// its log.
    pub fn start(kind: Kind, options: &StartOptions<'_>) -> anyhow::Result<Self> {
        let program = program::of(kind)?;
        let dir = tempfile::Builder::new().prefix("quoth-bench-").tempdir_in(options.dir)?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let certificates =
            kind.tls.then(|| quoth_certs::development(dir.path(), &[], now_unix_s)).transpose()?;
        let tls = certificates.as_ref().map(|files| quoth_certs::client_config(&files.ca_pem_path, &[]));
        let tls = tls.transpose()?.map(Arc::new);

        let listen = if kind.is_nats() { options.listen } else { with_port(options.listen)? };
        let text = config::text(kind, listen, dir.path(), certificates.as_ref());
        let config = dir.path().join("server.conf");
        std::fs::write(&config, text)?;
        let log = dir.path().join("log");
        let process = Process::start((options.command)(&program.path).arg("-c").arg(config), &log)?;
        let address = wait_until_ready(&process, &log, listen)
            .with_context(|| format!("{} does not start", kind.name()))?;
        Ok(Self { kind, process, version: program.version.to_string(), address, tls, _dir: dir })
    }

    /// What clients connect to. All copies of it are one system, and none holds the process.
    #[must_use]
    pub fn system(&self) -> RivalSystem {
        RivalSystem::new(self.kind, self.address, self.tls.clone())
    }

    /// An error behind which may be that its process has ended.
    pub fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.process.explain(self.kind.name(), error)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The version of its program.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What an ack of it means, in one sentence.
    #[must_use]
    pub fn durability(&self) -> &'static str {
        self.kind.durability()
    }
}

/// mosquitto cannot be asked for a free port. Where the address is not ours, it is in a network of its own,
/// and free.
fn with_port(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    const MQTT: u16 = 1883;
    if listen.port() != 0 {
        return Ok(listen);
    }
    match TcpListener::bind(listen) {
        Ok(free) => Ok(free.local_addr()?),
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Ok(SocketAddr::new(listen.ip(), MQTT))
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the log until it says that the server is ready; gives the address. Connecting would not do: the
/// server may be in another network than this thread.
fn wait_until_ready(process: &Process, log: &Path, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log)?;
        if let Some(port) = ready_port(&text, listen.port()) {
            return Ok(SocketAddr::new(listen.ip(), port));
        }
        if Usage::of(process.pid()).is_err() {
            bail!("it has ended: {}", process.log_tail());
        }
        if started.elapsed() > START_TIMEOUT {
            bail!("it is not ready after {} s: {}", START_TIMEOUT.as_secs(), process.log_tail());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The port, in the log of a server that is ready and was to listen at `port`.
fn ready_port(log: &str, port: u16) -> Option<u16> {
    let is_ready = |line: &str| {
        line.ends_with("Server is ready")
            || (line.contains("mosquitto version") && line.ends_with(" running"))
    };
    if !log.split_inclusive('\n').any(|line| line.ends_with('\n') && is_ready(line.trim_end())) {
        return None;
    }
    if port != 0 {
        return Some(port);
    }
    let listening = log.lines().find(|line| line.contains("Listening for client connections on "))?;
    listening.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ready_port;

    #[test]
    fn a_log_says_when_a_server_is_ready_and_where() {
        let nats =
            "[1] [INF] Listening for client connections on 127.0.0.1:34783\n[1] [INF] Server is ready\n";
        assert_eq!(ready_port(nats, 0), Some(34_783));
        assert_eq!(ready_port(nats, 4222), Some(4222));
        assert_eq!(ready_port(nats.trim_end(), 0), None);
        assert_eq!(ready_port("1: mosquitto version 2.0.11 starting\n", 1883), None);
        assert_eq!(ready_port("1: mosquitto version 2.0.11 running\n", 1883), Some(1883));
    }
}
