//! HTTP over TCP, at the same port number as QUIC: what WebSockets begin with, where clients learn of the
//! other transports, and the chat page.

mod connection;
mod listener;
mod origin;
mod page;
mod proxies;
mod routes;
mod stream;
#[cfg(test)]
mod tests;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quoth_protocol::frame::VERSION;
use quoth_protocol::{ALPN, SUBPROTOCOL_JSON, SUBPROTOCOL_POSTCARD, WEBSOCKET_PATH};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::development::{Development, Tokens};
use page::Page;

pub(crate) use listener::serve;
pub use origin::WebOrigin;
pub(crate) use page::HAS_PAGE;
pub use proxies::Network;
pub(crate) use stream::{Counted, Stream};

/// The application protocol of the TLS handshake.
pub(crate) const ALPN_HTTP: &[u8] = b"http/1.1";

/// What all workers serve.
pub(crate) struct Site {
    tls: TlsAcceptor,
    /// Whether what comes without TLS is served as well.
    takes_plain: bool,
    /// Whether what comes without TLS may have come to a proxy with it.
    is_behind_proxy: bool,
    allowed_origins: Vec<WebOrigin>,
    trusted_proxies: Vec<Network>,
    page: Option<Page>,
    /// Signs a token for whoever asks, in development.
    tokens: Option<Tokens>,
    /// The JSON of `/.well-known/quoth`.
    discovery: Bytes,
}

impl Site {
    /// What a server at this address serves with this TLS configuration.
    pub(crate) fn new(
        config: &Config,
        address: SocketAddr,
        tls: rustls::ServerConfig,
        development: Option<&Development>,
    ) -> Self {
        let discovery = json!({
            "version": VERSION,
            "server": concat!("quoth-server/", env!("CARGO_PKG_VERSION")),
            "quic": { "port": address.port(), "alpn": String::from_utf8_lossy(ALPN) },
            "websocket": { "path": WEBSOCKET_PATH, "subprotocols": [SUBPROTOCOL_POSTCARD, SUBPROTOCOL_JSON] },
        });
        Self {
            tls: TlsAcceptor::from(Arc::new(tls)),
            takes_plain: config.development || config.plain_http,
            is_behind_proxy: config.plain_http,
            allowed_origins: config.allowed_origins.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            page: (config.development || config.demo_page).then(Page::built_in),
            tokens: development.map(|made| made.tokens.clone()),
            discovery: Bytes::from(discovery.to_string()),
        }
    }
}
