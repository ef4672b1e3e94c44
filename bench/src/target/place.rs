//! Where processes run: which disk, which side of which network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where processes run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder for data: its disk is measured.
    pub dir: PathBuf,
}

impl Place {
    /// A command that runs a program on the servers' side.
    #[must_use]
    pub fn server_command(&self, program: &Path) -> Command {
        Command::new(program)
    }

    /// Where servers listen, on a port that the system chooses.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
    }

    /// The network, for a report; `None` for loopback.
    #[must_use]
    pub fn network_document(&self) -> Option<serde_json::Value> {
        None
    }

    /// Moves this thread to the clients' side.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn enter_clients_side(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
