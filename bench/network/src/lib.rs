//! A network of delay, loss and limits between unmodified processes, on a kernel that has no netem.
//!
//! A [`Network`] has two network namespaces, one for the client's side and one for the server's. Each has a
//! TUN device, and a relay in the calling process carries the packets from one to the other in the way that a
//! [`Profile`] says. Linux only, and only for root. The calling process and its own network stay as they are.
//!
//! ```no_run
//! use quoth_network::{Network, Profile, Side};
//!
//! let network = Network::start(&Profile::named("mobile").unwrap(), 1)?;
//! let mut server = network.command_in(Side::Server, "quoth-server").arg("--config").arg("quoth.toml").spawn()?;
//! let status = network.command_in(Side::Client, "ping").args(["-c", "3"]).arg(network.server_address().to_string()).status()?;
//! println!("{status}\n{}", network.stop()?);
//! server.kill()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The namespaces have no names: they are held by open files of this process, so the kernel takes them and
//! the devices away however the process ends, and nothing can be left over.

mod counters;
mod error;
mod link;
mod namespace;
mod network;
mod profile;
mod relay;

pub use counters::{Counters, DirectionCounters, Lateness};
pub use error::NetworkError;
pub use link::{Counts, Departure, Fate, Link};
pub use namespace::Namespace;
pub use network::{Direction, Network, Side};
pub use profile::{BUILT_IN, Conditions, Profile, ProfileError};
