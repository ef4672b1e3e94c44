//! Where processes run: which disk, which side of which network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;
use quoth_network::{Counters, Network, Profile, Side};

/// Where processes run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder for data: its disk is measured.
    pub dir: PathBuf,
    network: Option<Arc<Mutex<Named>>>,
}

/// A network that runs, and what it is called.
#[derive(Debug)]
struct Named {
    name: String,
    profile: Profile,
    network: Network,
}

impl Place {
    /// On this machine alone, over loopback.
    #[must_use]
    pub fn loopback(dir: PathBuf) -> Self {
        Self { dir, network: None }
    }

    /// With a network between clients and servers: a built-in profile of one by its name, or a file. The seed decides which packets
    /// are lost.
    ///
    /// # Errors
    /// When there is no such profile, or this is not root's process.
    pub fn behind(dir: PathBuf, name: &str, seed: u64) -> anyhow::Result<Self> {
        let profile = Profile::open(name)?;
        let network = Network::start(&profile, seed)?;
        let named = Named { name: name.to_owned(), profile, network };
        Ok(Self { dir, network: Some(Arc::new(Mutex::new(named))) })
    }

    /// Another network of the same kind, so that every system of a round, with the round's seed, has the same luck.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn renew(&self, seed: u64) -> anyhow::Result<()> {
        if let Some(named) = &self.network {
            let mut named = named.lock();
            named.network = Network::start(&named.profile, seed)?;
        }
        Ok(())
    }

    /// What the network has done since it is there; nothing over loopback.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        Some(self.network.as_ref()?.lock().network.counters())
    }

    /// A command that runs a program on the servers' side.
    #[must_use]
    pub fn server_command(&self, program: &Path) -> Command {
        match &self.network {
            Some(named) => named.lock().network.command_in(Side::Server, program),
            None => Command::new(program),
        }
    }

    /// Where servers listen, on a port that the system chooses.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        SocketAddr::new(
            self.network.as_ref().map_or(loopback, |named| named.lock().network.server_address()),
            0,
        )
    }

    /// Moves this thread to the clients' side.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn enter_clients_side(&self) -> anyhow::Result<()> {
        if let Some(named) = &self.network {
            named.lock().network.enter(Side::Client)?;
        }
        Ok(())
    }

    /// The network, for a report; `None` for loopback.
    #[must_use]
    pub fn network_document(&self) -> Option<serde_json::Value> {
        let named = self.network.as_ref()?.lock();
        let Profile { up, down } = &named.profile;
        let direction = |conditions| serde_json::to_value(conditions).ok();
        Some(serde_json::json!({ "name": named.name, "up": direction(up), "down": direction(down) }))
    }
}
