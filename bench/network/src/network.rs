//! Two namespaces and the relays between them.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::counters::Counters;
use crate::error::NetworkError;
use crate::link::Link;
use crate::namespace::{Namespace, check_tools};
use crate::profile::Profile;
use crate::relay::{Relay, Way};

/// Of the range for benchmarks of networks (RFC 2544), which no network of the programs under test has. The
/// same for every network, since nothing outside of its namespaces sees them.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const PREFIX_BITS: u8 = 30;

/// An end of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where packets go up from.
    Client,
    /// Where packets go down from.
    Server,
}

/// A way through the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Up,
    /// Server to client.
    Down,
}

/// A running network. It ends, with its namespaces and devices, when it is stopped or dropped, or the process
/// ends in whatever way. Programs inside are not ended; they have no network then.
#[derive(Debug)]
pub struct Network {
    client: Namespace,
    server: Namespace,
    stop: Arc<EventFd>,
    /// Up and down; none once the network is stopped.
    relays: Option<[Relay; 2]>,
}

impl Network {
    /// Starts one. The seed decides which packets have bad luck.
    ///
    /// # Errors
    /// When the process is not root's, or what a network needs is not there.
    pub fn start(profile: &Profile, seed: u64) -> Result<Self, NetworkError> {
        check_tools()?;
        let (client, client_device) = Namespace::with_device(CLIENT, PREFIX_BITS, profile.up.mtu_bytes)?;
        let (server, server_device) = Namespace::with_device(SERVER, PREFIX_BITS, profile.down.mtu_bytes)?;
        let devices = [client_device, server_device].map(Arc::new);
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(io::Error::from);
        let stop = Arc::new(stop.map_err(NetworkError::set_up("an eventfd"))?);
        let way = |namespace: &Namespace, from: usize, to: usize| Way {
            namespace: namespace.clone(),
            from: Arc::clone(&devices[from]),
            to: Arc::clone(&devices[to]),
            stop: Arc::clone(&stop),
        };
        // The directions have luck of their own.
        let [up, down] = [seed, !seed];
        let up = Relay::start("up", Link::new(profile.up.clone(), up), way(&client, 0, 1))?;
        let down = match Relay::start("down", Link::new(profile.down.clone(), down), way(&server, 1, 0)) {
            Ok(down) => down,
            Err(error) => {
                end(&stop, [up])?;
                return Err(error);
            }
        };
        Ok(Self { client, server, stop, relays: Some([up, down]) })
    }

    /// The client's namespace.
    #[must_use]
    pub fn client_namespace(&self) -> &Namespace {
        &self.client
    }

    /// The server's namespace.
    #[must_use]
    pub fn server_namespace(&self) -> &Namespace {
        &self.server
    }

    /// One side's namespace.
    #[must_use]
    pub fn namespace(&self, side: Side) -> &Namespace {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// The address of the client's side.
    #[must_use]
    pub fn client_address(&self) -> IpAddr {
        CLIENT.into()
    }

    /// The address of the server's side.
    #[must_use]
    pub fn server_address(&self) -> IpAddr {
        SERVER.into()
    }

    /// An unmodified program inside, as in [`Namespace::command`].
    #[must_use]
    pub fn command_in(&self, side: Side, program: impl AsRef<OsStr>) -> Command {
        self.namespace(side).command(program)
    }

    /// Moves the calling thread inside, as in [`Namespace::enter`].
    ///
    /// # Errors
    /// When the process has lost the right to.
    pub fn enter(&self, side: Side) -> io::Result<()> {
        self.namespace(side).enter()
    }

    /// Another profile from now on. Packets under way keep what they have; the interfaces keep their MTU.
    pub fn set_profile(&self, profile: &Profile) {
        self.with_link(Direction::Up, |link| link.set_conditions(profile.up.clone()));
        self.with_link(Direction::Down, |link| link.set_conditions(profile.down.clone()));
    }

    /// Loses each packet that goes in this direction from now on. Those under way arrive.
    pub fn black_out(&self, direction: Direction) {
        self.with_link(direction, |link| link.set_blacked_out(true));
    }

    /// Ends a blackout.
    pub fn restore(&self, direction: Direction) {
        self.with_link(direction, |link| link.set_blacked_out(false));
    }

    /// What it has done until now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let [up, down] = self.relays();
        Counters { up: up.counters(), down: down.counters() }
    }

    /// Ends it, and says what it has done.
    ///
    /// # Errors
    /// When the relay had ended by itself before.
    pub fn stop(mut self) -> Result<Counters, NetworkError> {
        let counters = self.counters();
        self.end()?;
        Ok(counters)
    }

    fn relays(&self) -> &[Relay; 2] {
        self.relays.as_ref().expect("taken only when it is stopped")
    }

    fn with_link(&self, direction: Direction, change: impl FnOnce(&mut Link)) {
        let [up, down] = self.relays();
        match direction {
            Direction::Up => up.with_link(change),
            Direction::Down => down.with_link(change),
        }
    }

    fn end(&mut self) -> Result<(), NetworkError> {
        self.relays.take().map_or(Ok(()), |relays| end(&self.stop, relays))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _who_wants_to_know_stops_it = self.end();
    }
}

/// Ends relays and waits for them.
fn end<const COUNT: usize>(stop: &EventFd, relays: [Relay; COUNT]) -> Result<(), NetworkError> {
    stop.write(1).map_err(|error| NetworkError::Relay(error.to_string()))?;
    // All of them are waited for, whatever one says.
    relays.map(Relay::join).into_iter().collect()
}
