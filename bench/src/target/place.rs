//! Where processes run: which disk, which side of which network.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use quoth_network::{Counters, Network, Profile, Side};
use tempfile::TempDir;

use crate::floor::{Program, bound_arguments};
use crate::run_folder::RunFolder;

/// Where processes run, and what ends and removes them.
#[derive(Debug, Clone)]
pub struct Place {
    folder: Arc<RunFolder>,
    program: Program,
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
    /// On this machine alone, over loopback, with all data in a folder inside of `dir`, whose disk is
    /// measured. `program` is this program, which starts floors and binds the life of others to that of this
    /// process.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn loopback(dir: &Path, program: Program) -> anyhow::Result<Self> {
        Ok(Self { folder: Arc::new(RunFolder::create(dir)?), program, network: None })
    }

    /// With a network between clients and servers, by its name or file. The seed decides which packets are
    /// lost.
    ///
    /// # Errors
    /// When there is no such network, or this is not root's process.
    pub fn behind(dir: &Path, program: Program, name: &str, seed: u64) -> anyhow::Result<Self> {
        let profile = Profile::open(name).with_context(|| format!("the network {name}"))?;
        let network = Network::start(&profile, seed)?;
        let named = Named { name: name.to_owned(), profile, network };
        Ok(Self { network: Some(Arc::new(Mutex::new(named))), ..Self::loopback(dir, program)? })
    }

    /// The folder of the run, on the disk that is measured.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder in it for a process, which is removed when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder_for(&self, what: &str) -> std::io::Result<TempDir> {
        self.folder.folder_for(what)
    }

    /// Another network of the same kind, so that every system of a round, with the round's seed, has the same
    /// luck.
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

    /// A command that runs a program on the servers' side. Its process ends with this one.
    #[must_use]
    pub fn server_command(&self, program: &Path) -> Command {
        self.bound(&match &self.network {
            Some(named) => named.lock().network.command_in(Side::Server, program),
            None => Command::new(program),
        })
    }

    /// A command that runs a floor that serves, on the servers' side.
    #[must_use]
    pub fn floor_server_command(&self, arguments: &[OsString]) -> Command {
        let mut command = self.server_command(&self.program.path);
        self.program.arguments(&mut command, arguments);
        command
    }

    /// A command that runs a floor that needs no network.
    #[must_use]
    pub fn floor_command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program.path);
        self.program.arguments(&mut command, arguments);
        self.bound(&command)
    }

    fn bound(&self, command: &Command) -> Command {
        let mut bound = Command::new(&self.program.path);
        self.program.arguments(&mut bound, &bound_arguments(command));
        bound
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

    /// Moves this thread to a side.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn enter(&self, side: Side) -> anyhow::Result<()> {
        if let Some(named) = &self.network {
            named.lock().network.enter(side)?;
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
