//! The way to the server, over either path.

use std::net::SocketAddr;

use quoth_protocol::Action;

use crate::race;
use crate::session_end::SessionEnd;
use crate::state::Reason;
use crate::transport::{Connection, Path, quic, websocket};

/// What it takes to connect again and again.
pub(crate) struct Dialer {
    /// `host:port`.
    pub(crate) server: String,
    /// What its certificate must be for.
    pub(crate) server_name: String,
    /// `None` when the path is not to be taken.
    pub(crate) quic: Option<quic::Dialer>,
    pub(crate) websocket: Option<websocket::Dialer>,
}

impl Dialer {
    /// The server's addresses.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Reason> {
        let found = tokio::net::lookup_host(&self.server).await;
        Ok(found.map_err(|e| Reason::NoAddress(e.to_string()))?.collect())
    }

    /// A connection to one of these addresses: the first one that answers, in their order.
    pub(crate) async fn connect(
        &self,
        path: Path,
        addresses: Vec<SocketAddr>,
    ) -> Result<(SocketAddr, Connection), SessionEnd> {
        let connect = |address| async move { Ok((address, self.connect_to(path, address).await?)) };
        let is_final = |end: &SessionEnd| end.action != Action::Retry;
        let no_address = || Reason::NoAddress("its name resolves to none".to_owned()).into();
        let connected = race::first(addresses, connect, is_final).await;
        connected.map_err(|mut ends| ends.pop().unwrap_or_else(no_address))
    }

    async fn connect_to(&self, path: Path, address: SocketAddr) -> Result<Connection, SessionEnd> {
        match (path, &self.quic, &self.websocket) {
            (Path::Quic, Some(quic), _) => {
                Ok(Connection::Quic(quic.connect(address, &self.server_name).await?))
            }
            (Path::WebSocket, _, Some(websocket)) => {
                let connection = websocket.connect(address, &self.server, &self.server_name).await?;
                Ok(Connection::WebSocket(connection))
            }
            (Path::Quic, None, _) | (Path::WebSocket, _, None) => {
                Err(Reason::Transport("the path was ruled out".to_owned()).into())
            }
        }
    }
}
