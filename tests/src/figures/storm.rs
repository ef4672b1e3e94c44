//! All clients come back after a restart of the server.

use std::cell::Cell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime};
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::{ALPN, Seq};
use tokio::task::{JoinSet, LocalSet};

use super::client::runtime;
use super::machine::{cpu_s, socket_at};
use super::start::fill;
use super::target::{Target, USER_STREAMS_MAX};
use super::{Plan, Report};
use crate::process::ServerProcess;
use crate::wire::{Frames, Peer, client_config};

/// Clients that are connecting at the same time.
const AT_ONCE: usize = 64;

/// Addresses that the clients have: a server takes few handshakes at once from one.
const ADDRESSES: usize = 50;

/// Messages in each conversation, and how many of them a client has missed.
const MESSAGES: u64 = 8;
const MISSED: u64 = 4;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let clients = plan.connections / 2;
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let data = dir.path().join("data");
    // Makes the keys.
    ServerProcess::start(&data)?.terminate()?;
    fill(&data.join("store"), clients as u64, clients as u64 * MESSAGES)?;
    for _ in 0..plan.rounds {
        let floor = bare_handshakes(&plan.dir, clients)?;
        let missed = restart(&data, clients, MISSED)?;
        let nothing_missed = restart(&data, clients, 0)?;
        let note =
            format!("quoth {missed}, {nothing_missed} when nothing was missed, bare handshakes {floor}");
        report.round(missed.s / floor.s, note);
    }
    Ok(())
}

/// How long all clients took, and the processor time of either side for each of them.
struct Took {
    s: f64,
    client_us: f64,
    server_us: f64,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s, client_us, server_us } = self;
        write!(f, "{s:.2} s ({client_us:.0} + {server_us:.0} us of CPU, client + server)")
    }
}

/// Time of so many handshakes with a relay.
fn bare_handshakes(dir: &Path, count: usize) -> anyhow::Result<Took> {
    let target = Target::relay_with(dir, USER_STREAMS_MAX)?;
    measured(async move {
        let clients = Clients::new(&target.ca_file(), count)?;
        let took = clients.each(target.pid(), |client| client.connect(target.address())).await?;
        clients.close().await;
        Ok(took)
    })
}

/// Time for all clients of a server that has been killed and started again to be back, from when it serves on.
/// Clients know the server as they do after a longer time with it: they were connected before.
fn restart(data: &Path, count: usize, missed: u64) -> anyhow::Result<Took> {
    let data = data.to_owned();
    measured(async move {
        let server = ServerProcess::start(&data)?;
        let (address, token) = (server.address(), Rc::<str>::from(server.token("alice")?));
        let clients = Clients::new(&server.ca_file(), count)?;
        clients.each(server.pid(), |client| client.read(address, Rc::clone(&token), 0)).await?;
        server.kill()?;
        clients.close().await;
        let server = ServerProcess::start_with(&data, &address.to_string(), &[])?;
        let took =
            clients.each(server.pid(), |client| client.read(address, Rc::clone(&token), missed)).await?;
        clients.close().await;
        server.terminate()?;
        Ok(took)
    })
}

fn measured(measure: impl Future<Output = anyhow::Result<Took>>) -> anyhow::Result<Took> {
    runtime()?.block_on(LocalSet::new().run_until(measure))
}

/// Clients, and what each has of its server.
struct Clients {
    endpoints: Vec<Endpoint>,
    all: Vec<Rc<Client>>,
}

struct Client {
    conversation: String,
    endpoint: Endpoint,
    /// Holds session tickets and address tokens.
    config: ClientConfig,
    peer: Cell<Option<(Peer, Frames)>>,
    quic: Cell<Option<Connection>>,
}

impl Clients {
    fn new(ca_file: &Path, count: usize) -> anyhow::Result<Self> {
        let address = |i| SocketAddr::from((Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + i), 0));
        let endpoint = |i| {
            let socket = socket_at(address(u32::try_from(i)?))?;
            anyhow::Ok(Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?)
        };
        let endpoints: Vec<Endpoint> = (0..ADDRESSES).map(endpoint).collect::<Result<_, _>>()?;
        let client = |i: usize| {
            anyhow::Ok(Rc::new(Client {
                conversation: format!("room-{i}"),
                endpoint: endpoints[i % ADDRESSES].clone(),
                config: client_config(ca_file, ALPN)?,
                peer: Cell::default(),
                quic: Cell::default(),
            }))
        };
        let all = (0..count).map(client).collect::<Result<_, _>>()?;
        Ok(Self { endpoints, all })
    }

    /// Has each client do something, [`AT_ONCE`] of them at the same time; gives the time until all are done.
    async fn each<F>(&self, server: u32, act: impl Fn(Rc<Client>) -> F) -> anyhow::Result<Took>
    where
        F: Future<Output = anyhow::Result<()>> + 'static,
    {
        let (client_s, server_s) = (cpu_s(std::process::id())?, cpu_s(server)?);
        let started = Instant::now();
        let mut acting = JoinSet::new();
        for client in &self.all {
            if acting.len() == AT_ONCE {
                acting.join_next().await.context("one is acting")???;
            }
            acting.spawn_local(act(Rc::clone(client)));
        }
        while let Some(done) = acting.join_next().await {
            done??;
        }
        let s = started.elapsed().as_secs_f64();
        let each_us = |cpu_s: f64| cpu_s / self.all.len() as f64 * 1e6;
        let client_us = each_us(cpu_s(std::process::id())? - client_s);
        Ok(Took { s, client_us, server_us: each_us(cpu_s(server)? - server_s) })
    }

    /// Closes all connections, so that nothing is left of them.
    async fn close(&self) {
        for client in &self.all {
            let (peer, quic) = (client.peer.take(), client.quic.take());
            if let Some(quic) = peer.map(|(peer, _)| peer.quic).or(quic) {
                quic.close(0_u32.into(), b"");
            }
        }
        for endpoint in &self.endpoints {
            endpoint.wait_idle().await;
        }
    }
}

impl Client {
    async fn connect(self: Rc<Self>, server: SocketAddr) -> anyhow::Result<()> {
        let connecting = self.endpoint.connect_with(self.config.clone(), server, "localhost")?;
        self.quic.set(Some(connecting.await?));
        Ok(())
    }

    /// Signs in, opens the conversation where it has missed so many messages, and reads them.
    async fn read(self: Rc<Self>, server: SocketAddr, token: Rc<str>, missed: u64) -> anyhow::Result<()> {
        let peer = Peer::connect_with(&self.endpoint, self.config.clone(), server, &token).await?;
        let from = Start::After(Seq(MESSAGES - missed));
        let (mut frames, head) = peer.open(&self.conversation, 0, Some(from)).await?;
        anyhow::ensure!(head == Seq(MESSAGES), "a head of {head}");
        for seq in MESSAGES - missed + 1..=MESSAGES {
            let event = frames.next().await?.context("the stream has ended")?;
            let ServerFrame::Event(event) = &event else { bail!("not an event: {event:?}") };
            anyhow::ensure!(event.seq == Seq(seq), "event {} in place of {seq}", event.seq);
        }
        self.peer.set(Some((peer, frames)));
        Ok(())
    }
}
