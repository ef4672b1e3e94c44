//! The harness and everything that needs a whole server.
//!
//! | module | has |
//! |---|---|
//! | [`process`] | the real server as a process |
//! | [`history`] | what clients saw, and whether the promises held |
//! | [`wire`] | a client of bare frames |
//! | [`sim`] | a deterministic simulation of server, clients and network |
//! | [`fuzz`] | what the fuzz targets and the corpus replay run |

pub mod fuzz;
pub mod history;
pub mod process;
pub mod sim;
pub mod wire;
