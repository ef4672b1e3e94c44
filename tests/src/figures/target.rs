//! What the clients talk to: the server or the relay.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::process::ServerProcess;

/// Streams that each connection to a relay may open: more than any figure has.
const RELAY_STREAMS_MAX: u32 = 1_100;

/// The same where each connection is a user's: as many as the conversations that the server lets a user open.
pub(super) const USER_STREAMS_MAX: u32 = 48;

/// A process to talk to. Ended when it is dropped.
#[derive(Debug)]
pub(super) struct Target {
    process: Process,
    _dir: TempDir,
}

#[derive(Debug)]
enum Process {
    Quoth(ServerProcess),
    Relay { child: Child, address: SocketAddr, ca_file: PathBuf },
}

impl Target {
    /// Starts a server on a new folder in `dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn quoth(dir: &Path) -> anyhow::Result<Self> {
        let dir = TempDir::new_in(dir)?;
        let server = ServerProcess::start(&dir.path().join("data"))?;
        Ok(Self { process: Process::Quoth(server), _dir: dir })
    }

    /// Starts a relay.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn relay(dir: &Path) -> anyhow::Result<Self> {
        Self::relay_with(dir, RELAY_STREAMS_MAX)
    }

    /// The same with so many streams that each connection may open, for each of which QUIC has a place in its tables.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn relay_with(dir: &Path, streams_max: u32) -> anyhow::Result<Self> {
        let dir = TempDir::new_in(dir)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("relay").arg(dir.path()).arg(streams_max.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("a piped stdout")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        let address = address.trim().parse().context("the relay told no address")?;
        let ca_file = dir.path().join("ca.pem");
        Ok(Self { process: Process::Relay { child, address, ca_file }, _dir: dir })
    }

    pub(super) fn address(&self) -> SocketAddr {
        match &self.process {
            Process::Quoth(server) => server.address(),
            Process::Relay { address, .. } => *address,
        }
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        match &self.process {
            Process::Quoth(server) => server.ca_file(),
            Process::Relay { ca_file, .. } => ca_file.clone(),
        }
    }

    /// A token of a service, which may have many conversations open.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        self.token_of("service_token")
    }

    /// A token of an ordinary user.
    pub(super) fn user_token(&self) -> anyhow::Result<String> {
        self.token_of("alice")
    }

    fn token_of(&self, user: &str) -> anyhow::Result<String> {
        match &self.process {
            Process::Quoth(server) => server.token(user),
            Process::Relay { .. } => Ok(String::new()),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        match &self.process {
            Process::Quoth(server) => server.pid(),
            Process::Relay { child, .. } => child.id(),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Process::Relay { child, .. } = &mut self.process {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
    }
}
