//! A deterministic simulation of the whole stack: the real server and clients over real QUIC, in simulated
//! time, over a simulated network that loses, doubles, reorders and delays, with partitions and restarts of
//! the server.
//!
//! A seed decides everything but the bytes of TLS keys. [`run`] checks that every promise held: what was
//! acked is stored once and at its place, every reader got the same contiguous log, and when the faults are
//! over everything is acked and read in time. Of a managed conversation nobody is told what is behind their
//! leave.

mod clock;
mod club;
mod history;
mod load;
mod members;
mod moment;
mod peer;
mod plan;
mod plant;
mod sdk;
mod server;
mod socket;
mod tls;
mod world;

pub use moment::{fault_of_the_server, repeated_behind_hello, stored_while_a_page_is_read};
pub use plant::Plant;
pub use socket::Trace;
pub use tls::Certificates;
pub use world::{Clients, Outcome, run};
