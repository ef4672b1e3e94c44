//! The Quoth server: a thin shell of configuration, listeners and connections around the rules in
//! `quoth-core` and the store in `quoth-store`.
//!
//! | module | has |
//! |---|---|
//! | [`config`] | settings, their sources, and where each value came from |
//! | [`auth`] | tokens |
//! | [`api`] | HTTP for backends, on a port of its own |
//! | [`engine`] | conversations without a network: committer, tails, readers |
//! | [`session`] | connections and a task for each stream, whatever carries them |
//! | [`hooks`] | backends that are asked before something happens |
//! | `outbox` | events for a backend, in order and at least once |
//! | [`sessions`] | who is signed in: devices, revocations, presence |
//! | [`http`] | requests over TCP, and what becomes a WebSocket |
//! | [`websocket`] | messages between sockets and lanes |
//! | [`outbound`] | requests that the server itself makes |
//! | [`quic`] | endpoints, and which worker has a connection |
//! | `control` | the socket in the data folder, for commands on the same machine |
//! | [`data_folder`] | whether the data folder can be used |
//! | [`preflight`] | what is refused before anything is opened |
//! | [`development`] | what a server without a configuration makes by itself |
//! | [`announce`] | how clients find a development server |
//! | [`secret`] | keys in files |
//! | `sockets` | one for each network worker, at one address |
//! | `workers` | runtimes and threads of the network |
//! | [`tickets`] | keys by which clients come back without a certificate |
//! | [`server`] | start, drain, stop |

pub mod announce;
pub mod api;
pub mod auth;
pub mod cli;
pub mod config;
mod control;
pub mod data_folder;
pub mod development;
pub mod engine;
pub mod hooks;
pub mod http;
pub mod outbound;
mod outbox;
pub mod preflight;
pub mod quic;
mod retention;
pub mod secret;
pub mod server;
pub mod session;
pub mod sessions;
mod sockets;
mod stall;
mod sums;
pub mod tickets;
pub mod websocket;
mod workers;
