//! The QUIC side: endpoints, which connections are taken up, and which worker has them.

mod listener;
mod steering;
mod transport;

pub use listener::{Listener, serve};
pub use steering::Steering;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use steering::{SteeredIds, worker_of};
pub(crate) use transport::raise_limits;
pub use transport::{EndpointSecret, endpoint_config, server_config, with_segmentation_offload};
