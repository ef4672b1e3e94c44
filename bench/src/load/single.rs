//! What the loads share that measure a single thing and not a stream of messages. They speak to servers of
//! Quoth's frames only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use quoth_protocol::frame::Welcome;
use tokio::time::timeout;

use super::Progress;
use super::meter::Meter;
use crate::outcome::Check;
use crate::process::Usage;
use crate::profile::{Payload, Shape, Transport};
use crate::record::{histogram, record};
use crate::system::lanes::QuothWebSocket;
use crate::system::quic::Quic;
use crate::system::{Client as _, System as _};

/// A server of Quoth's frames: the server or the relay.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that its certificate is for.
    pub name: &'a str,
    /// The CA of its certificate.
    pub ca_file: &'a Path,
    /// A token that allows everything.
    pub token: &'a str,
    /// Its process, where it can be watched.
    pub pid: Option<u32>,
    /// Whether it keeps what is published. A relay does not, so nobody can come back to anything.
    pub stores: bool,
}

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Single<'a> {
    /// Who talks where.
    pub shape: &'a Shape,
    /// What a message is.
    pub payload: &'a Payload,
    /// Says when to end before the time.
    pub progress: &'a Progress,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Single figures, with the unit last.
    pub values: BTreeMap<String, f64>,
    /// Times.
    pub times: BTreeMap<String, Histogram<u64>>,
    /// What the history checker has found.
    pub check: Check,
}

impl Server<'_> {
    /// It, as a thread of clients sees it, within the thread's runtime.
    ///
    /// # Errors
    /// When there is no such CA or no socket.
    pub fn quic(&self) -> anyhow::Result<Quic> {
        Quic::new(self.address, self.name, self.ca_file, self.token)
    }

    /// The same over WebSocket.
    ///
    /// # Errors
    /// When there is no such CA.
    pub fn websocket(&self, transport: Transport) -> anyhow::Result<QuothWebSocket> {
        let tls = (transport == Transport::Websocket).then_some((self.name, self.ca_file));
        QuothWebSocket::new(self.address, tls, self.token)
    }

    /// What it says when a client signs in.
    ///
    /// # Errors
    /// When none can.
    pub fn welcome(&self, transport: Transport, progress: &Progress) -> anyhow::Result<Welcome> {
        runtime()?.block_on(async {
            tokio::select! {
                welcome = self.greet(transport) => welcome.context("a client does not connect"),
                // A server that has ended never answers.
                ended = progress.ended() => Err(ended.into()),
            }
        })
    }

    /// Whether it answers within a time at all, which none does where no server is.
    ///
    /// # Errors
    /// When it does not, or lets no client in.
    pub fn check_answers(&self, transport: Transport, within: Duration) -> anyhow::Result<()> {
        const CLOSED: &str = "nothing listens at that port";
        let (address, spoken) = (self.address, transport.told());
        let nobody = |why: &str| {
            anyhow::anyhow!(
                "nobody answers at {address} over {spoken}: {why}; start the server there, name the address at which it serves \
                 (--server HOST:PORT), or leave --server out (and QUOTH_SERVER and QUOTH_CLIENT_FILE), so that the bench starts one"
            )
        };
        runtime()?.block_on(async {
            tokio::select! {
                answer = timeout(within, self.greet(transport)) => match answer {
                    Ok(Err(error)) if is_refused(&error) => Err(nobody(CLOSED)),
                    Ok(welcome) => welcome.map(drop).with_context(|| format!("{address} over {spoken}")),
                    Err(_) => Err(nobody(&format!("no answer came within {} s", within.as_secs_f64()))),
                },
                () = refused_by_udp(address), if transport == Transport::Quic => Err(nobody(CLOSED)),
            }
        })
    }

    async fn greet(&self, transport: Transport) -> anyhow::Result<Welcome> {
        if transport == Transport::Quic {
            let client = self.quic()?.connect().await?;
            let welcome = client.welcome().clone();
            client.close().await;
            return Ok(welcome);
        }
        let client = self.websocket(transport)?.connect().await?;
        let welcome = client.welcome().clone();
        client.close().await;
        Ok(welcome)
    }

    pub(super) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        self.pid.map(Usage::of).transpose()
    }
}

impl Found {
    pub(super) fn value(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// What the clients took of a processor, all of them on one thread.
    pub(super) fn clients(&mut self, meter: Meter) {
        let share = meter.share();
        self.value("clients_cpu", share);
        self.value("clients_cpu_busiest", share);
    }

    pub(super) fn times(&mut self, name: &str, times: impl IntoIterator<Item = Duration>) {
        let mut all = histogram();
        times.into_iter().for_each(|time| record(&mut all, time));
        self.times.insert(name.to_owned(), all);
    }
}

/// Whether the system has said that nothing listens at a port.
fn is_refused(error: &anyhow::Error) -> bool {
    let of_system = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    of_system.into_iter().any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Waits until the system says so of a port of UDP. QUIC itself does not listen to that, since anybody could
/// forge it. Ends never where it is not said.
async fn refused_by_udp(address: SocketAddr) {
    let any = SocketAddr::new(if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
    let asked = async {
        let socket = tokio::net::UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        // No packet of QUIC: whoever listens drops it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await?;
        anyhow::Ok(())
    };
    if !asked.await.is_err_and(|error| is_refused(&error)) {
        std::future::pending().await
    }
}

/// A runtime for the clients.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A name that no other run has.
pub(super) fn names(shape: &Shape) -> Vec<String> {
    let run: u32 = rand::random();
    (0..shape.conversations).map(|c| format!("bench-{run:08x}-{c}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sockets that take what comes and never answer.
    #[test]
    fn a_server_that_does_not_answer_is_told_with_its_address() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let (udp, tcp) = (udp.local_addr().expect("an address"), tcp.local_addr().expect("an address"));
        let dir = tempfile::tempdir().expect("a folder");
        let made =
            quoth_certs::development(dir.path(), &["localhost".to_owned()], 1_800_000_000).expect("a CA");
        let ca_file = &made.ca_pem_path;
        for (transport, address) in
            [(Transport::Quic, udp), (Transport::Websocket, tcp), (Transport::WebsocketPlain, tcp)]
        {
            let server = Server { address, name: "localhost", ca_file, token: "", pid: None, stores: true };
            let error =
                server.check_answers(transport, Duration::from_millis(20)).expect_err("nobody is there");
            let told = format!(
                "nobody answers at {address} over {}: no answer came within 0.02 s",
                transport.told()
            );
            assert!(error.to_string().starts_with(&told), "{error:#}");
        }
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = closed.expect("a port that was free");
        for transport in [Transport::Quic, Transport::Websocket] {
            let server = Server { address, name: "localhost", ca_file, token: "", pid: None, stores: true };
            // Said as soon as the system says it, and not when the time is over.
            let error = server.check_answers(transport, Duration::MAX).expect_err("nobody is there");
            let told = format!("nobody answers at {address} over {}: nothing listens", transport.told());
            assert!(error.to_string().starts_with(&told), "{error:#}");
        }
    }
}
