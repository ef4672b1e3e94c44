//! Accepts TCP connections, within bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Site;
use super::connection::{self, Worker};
use crate::session::{Phase, Service, log_panic};
use crate::websocket::{self, Upgraded};

/// How long a drain waits for connections to finish: less than the 10 s in which the process must end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// How long it is waited that closes are heard after a failure.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long nothing is accepted after the system could give no more: connections that end meanwhile make
/// room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until the service drains or fails; returns when the last one is closed.
pub(crate) async fn serve(listener: std::net::TcpListener, site: Arc<Site>, service: Service) {
    match TcpListener::from_std(listener) {
        Ok(tcp) => Listener::new(tcp, site, service).run().await,
        Err(error) => tracing::error!(%error, "the runtime does not take a listener"),
    }
}

struct Listener {
    tcp: TcpListener,
    service: Service,
    worker: Arc<Worker>,
    /// Connections that are not WebSockets, or not yet.
    requests: JoinSet<Option<Upgraded>>,
    /// For each WebSocket two tasks.
    sockets: JoinSet<()>,
}

impl Listener {
    fn new(tcp: TcpListener, site: Arc<Site>, service: Service) -> Self {
        let worker = Arc::new(Worker::new(site, service.clone()));
        Self { tcp, service, worker, requests: JoinSet::new(), sockets: JoinSet::new() }
    }

    async fn run(mut self) {
        let phase = self.service.phase.clone();
        loop {
            tokio::select! {
                biased;
                phase = phase.next(false) => return self.end(phase).await,
                Some(ended) = self.sockets.join_next() => log_panic(&ended),
                Some(ended) = self.requests.join_next() => {
                    log_panic(&ended);
                    if let Ok(Some(upgraded)) = ended {
                        begin(&mut self.sockets, upgraded, &self.service);
                    }
                }
                accepted = self.tcp.accept() => match accepted {
                    Ok((tcp, peer)) => self.admit(tcp, peer),
                    Err(error) => {
                        tracing::warn!(%error, "no connection is accepted for a moment");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// What comes of an address that has its share, or while too many handshakes are under way, is closed: to
    /// say why would take one of them.
    fn admit(&mut self, tcp: TcpStream, peer: SocketAddr) {
        let of = (!self.worker.is_proxy(peer.ip())).then_some(peer.ip());
        match self.service.admission.request(of) {
            Some(handshake) => {
                self.requests.spawn(connection::serve(Arc::clone(&self.worker), tcp, peer, handshake));
            }
            None => tracing::debug!(%peer, "closed: too many handshakes"),
        }
    }

    /// Waits for the connections to end, each of which knows the phase.
    async fn end(mut self, phase: Phase) {
        drop(self.tcp);
        let timeout = if matches!(phase, Phase::Draining { .. }) { DRAIN_TIMEOUT } else { CLOSE_TIMEOUT };
        let finish = async {
            // A WebSocket that was granted hears of the phase as a connection.
            while let Some(ended) = self.requests.join_next().await {
                if let Ok(Some(upgraded)) = ended {
                    begin(&mut self.sockets, upgraded, &self.service);
                }
            }
            while self.sockets.join_next().await.is_some() {}
        };
        if tokio::time::timeout(timeout, finish).await.is_err() {
            tracing::warn!(tasks = self.sockets.len(), "WebSockets were closed before they had finished");
        }
    }
}

fn begin(sockets: &mut JoinSet<()>, upgraded: Upgraded, service: &Service) {
    let (session, pump) = websocket::tasks(upgraded, service.clone());
    sockets.spawn(session);
    sockets.spawn(pump);
}
