//! Accepts connections, within bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connecting, Endpoint, Incoming, ServerConfig, VarInt};
use quoth_protocol::Code;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::session::{self, Admitted, Handshake, Phase, Service, Transport, log_panic};

/// How long a drain waits for connections to finish: less than the 10 s in which the process must end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// How long the endpoint waits for its closes to be heard.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An endpoint with the connections that it has accepted.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    /// The configuration of the first connections, where it is another one than the endpoint's.
    offloading: Option<Arc<ServerConfig>>,
    service: Service,
    handshakes: JoinSet<Option<Connected>>,
    connections: JoinSet<()>,
}

/// A connection whose handshake is complete, and its place among the connections.
type Connected = (quinn::Connection, OwnedSemaphorePermit);

/// Serves connections until the service drains or fails; returns when the last connection is closed. As long
/// as there are few, they get the configuration [with segmentation
/// offload](super::with_segmentation_offload), if there is one.
pub async fn serve(endpoint: Endpoint, offloading: Option<Arc<ServerConfig>>, service: Service) {
    Listener::new(endpoint, offloading, service).run().await;
}

impl Listener {
    fn new(endpoint: Endpoint, offloading: Option<Arc<ServerConfig>>, service: Service) -> Self {
        Self { endpoint, offloading, service, handshakes: JoinSet::new(), connections: JoinSet::new() }
    }

    async fn run(mut self) {
        let phase = self.service.phase.clone();
        loop {
            tokio::select! {
                biased;
                phase = phase.next(false) => return self.end(phase).await,
                Some(ended) = self.connections.join_next() => log_panic(&ended),
                Some(ended) = self.handshakes.join_next() => {
                    log_panic(&ended);
                    if let Ok(Some((quic, place))) = ended {
                        self.connections.spawn(run(quic, self.service.clone(), place));
                    }
                }
                incoming = self.endpoint.accept() => match incoming {
                    // A handshake's first step is its dearest, and no other task runs meanwhile. So streams
                    // wait for one of them, not for all that came at once.
                    Some(incoming) => if self.admit(incoming) {
                        tokio::task::yield_now().await;
                    },
                    None => return,
                },
            }
        }
    }

    /// Accepts, asks for a validated address, refuses or ignores. Says whether a handshake was begun.
    fn admit(&mut self, incoming: Incoming) -> bool {
        let peer = incoming.remote_address();
        match self.service.admission.admit(peer.ip(), incoming.remote_address_validated()) {
            Admitted::Accept(handshake, connection) => {
                let timeout = Duration::from_millis(self.service.limits.handshake_timeout_ms);
                let few = self.service.limits.segmentation_offload_connections_max;
                let offloading =
                    self.offloading.clone().filter(|_| self.service.admission.connections() <= few);
                let connecting = match offloading {
                    Some(config) => incoming.accept_with(config),
                    None => incoming.accept(),
                };
                match connecting {
                    Ok(connecting) => {
                        self.handshakes.spawn(connect(connecting, peer, timeout, handshake, connection));
                    }
                    Err(error) => tracing::debug!(%peer, %error, "no handshake"),
                }
                return true;
            }
            Admitted::Retry => {
                let _validated_after_all = incoming.retry();
            }
            Admitted::Refuse => {
                tracing::debug!(%peer, "refused: too many connections or handshakes");
                incoming.refuse();
            }
            Admitted::Ignore => {
                tracing::debug!(%peer, "ignored: the address has too many handshakes under way");
                incoming.ignore();
            }
        }
        false
    }

    /// Waits for the connections to end. Handshakes that are under way are closed with the rest.
    async fn end(mut self, phase: Phase) {
        self.endpoint.set_server_config(None);
        if matches!(phase, Phase::Draining { .. }) {
            let finish = async { while self.connections.join_next().await.is_some() {} };
            if tokio::time::timeout(DRAIN_TIMEOUT, finish).await.is_err() {
                tracing::warn!(connections = self.connections.len(), "closed before they had finished");
            }
        }
        self.endpoint.close(VarInt::from_u32(phase.end_code().0), b"");
        let _some_did_not_hear = tokio::time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

async fn connect(
    connecting: Connecting,
    peer: SocketAddr,
    timeout: Duration,
    mut handshake: Handshake,
    place: OwnedSemaphorePermit,
) -> Option<Connected> {
    let connected = tokio::select! {
        biased;
        connected = tokio::time::timeout(timeout, connecting) => connected,
        () = handshake.gives_way() => {
            tracing::debug!(%peer, "a handshake has made room for others");
            return None;
        }
    };
    match connected {
        Ok(Ok(quic)) => return Some((quic, place)),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "no handshake in time"),
    }
    None
}

async fn run(quic: quinn::Connection, service: Service, place: OwnedSemaphorePermit) {
    let Some(_place) = service.admission.place(quic.remote_address().ip(), place) else {
        return quic.close(VarInt::from_u32(Code::OVERLOADED.0), b"the address has too many connections");
    };
    session::run(Transport::Quic(quic), service).await;
}
