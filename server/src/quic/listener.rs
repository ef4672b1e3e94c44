//! Accepts connections, within bounds.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Endpoint, Incoming, VarInt};
use quoth_protocol::Code;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::admission::{Admission, Admitted, Handshake};
use super::{Phase, Service, connection};

/// How long a drain waits for connections to finish: less than the 10 s in which the process must end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// How long the endpoint waits for its closes to be heard.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An endpoint with the connections that it has accepted.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    service: Service,
    admission: Admission,
    tasks: JoinSet<()>,
}

/// Serves connections until the service drains or fails; returns when the last connection is closed.
pub async fn serve(endpoint: Endpoint, service: Service) {
    Listener::new(endpoint, service).run().await;
}

impl Listener {
    fn new(endpoint: Endpoint, service: Service) -> Self {
        let admission = Admission::new(&service.limits);
        Self { endpoint, service, admission, tasks: JoinSet::new() }
    }

    async fn run(mut self) {
        let phase = self.service.phase.clone();
        loop {
            tokio::select! {
                biased;
                phase = phase.next(false) => return self.end(phase).await,
                Some(result) = self.tasks.join_next() => log_panic(result),
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming),
                    None => return,
                },
            }
        }
    }

    /// Accepts, asks for a validated address, refuses or ignores.
    fn admit(&mut self, incoming: Incoming) {
        let peer = incoming.remote_address();
        match self.admission.admit(peer.ip(), incoming.remote_address_validated()) {
            Admitted::Accept(handshake, connection) => {
                self.tasks.spawn(handle(incoming, self.service.clone(), handshake, connection));
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
    }

    async fn end(mut self, phase: Phase) {
        self.endpoint.set_server_config(None);
        if matches!(phase, Phase::Draining { .. }) {
            let finish = async { while self.tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(DRAIN_TIMEOUT, finish).await.is_err() {
                tracing::warn!(connections = self.tasks.len(), "closed before they had finished");
            }
        }
        let code = if phase == Phase::Failed { Code::STORE_FAILED } else { Code::GOING_AWAY };
        self.endpoint.close(VarInt::from_u32(code.0), b"");
        let _some_did_not_hear = tokio::time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

fn log_panic(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(%error, "a connection's task failed");
    }
}

async fn handle(
    incoming: Incoming,
    service: Service,
    handshake: Handshake,
    _connection: OwnedSemaphorePermit,
) {
    let peer: SocketAddr = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return tracing::debug!(%peer, %error, "no connection"),
    };
    let timeout = Duration::from_millis(service.limits.handshake_timeout_ms);
    let quic = match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => return tracing::debug!(%peer, "no handshake in time"),
    };
    drop(handshake);
    connection::run(quic, service).await;
}
