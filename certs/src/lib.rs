//! Certificates for Quoth: a development CA and leaf, PEM loading, and a store that can be reloaded while it
//! serves.
//!
//! A server in development calls [`development`] and opens a [`CertStore`] on the two leaf files; one with
//! certificates of its own opens the store on those. [`server_config`] builds the TLS configuration around
//! the store: a reload is then in force from the next handshake on.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use std::time::{SystemTime, UNIX_EPOCH};
//!
//! let dir = tempfile::tempdir()?;
//! let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
//! let files = quoth_certs::development(dir.path(), &[], now_unix_s)?;
//! let store = Arc::new(quoth_certs::CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path)?);
//! let config = quoth_certs::server_config(store, &[b"quoth/1"])?;
//! # assert_eq!(config.alpn_protocols, [b"quoth/1".to_vec()]);
//! # Ok(())
//! # }
//! ```

mod acceptance;
mod config;
mod dev;
mod error;
mod file;
mod store;

pub use config::{client_config, outbound_config, server_config};
pub use dev::{
    DevCertificates, LEAF_RENEW_BEFORE_S, LEAF_VALID_S, check_development, development, leaf_is_due,
};
pub use error::CertError;
pub use file::{Access, write_atomically};
pub use store::CertStore;
