//! Honest clients: a conversation that is measured all the time, and connections that are made again and
//! again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use parking_lot::Mutex;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::{ALPN, Seq};
use rustls::client::Resumption;

use super::run;
use crate::process::ServerProcess;
use crate::wire::{Peer, publish};

/// Between the beginnings of two connections.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// Between two messages.
const INTERVAL: Duration = Duration::from_millis(5);

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Someone who writes and someone who reads, over connections of their own, until it is ended.
#[derive(Debug)]
pub struct Honest {
    /// When each message was due, and how long it took to its reader from then on.
    took: Arc<Mutex<Vec<(Instant, Duration)>>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Honest {
    /// Begins. The thread is in the network namespace of the one that calls.
    ///
    /// # Errors
    /// When the server has no tokens.
    pub fn start(server: &ServerProcess) -> anyhow::Result<Self> {
        let (took, ends): (Arc<Mutex<Vec<_>>>, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (address, ca) = (server.address(), server.ca_file());
        let tokens = [server.token("alice")?, server.token("bob")?];
        let (writes, until) = (Arc::clone(&took), Arc::clone(&ends));
        let thread = std::thread::spawn(move || run(talk(address, ca, tokens, writes, until)));
        Ok(Self { took, ends, thread })
    }

    /// What messages took that are due from now on for so long.
    ///
    /// # Errors
    /// When the clients hear nothing more.
    pub fn measure(&self, lasts: Duration) -> anyhow::Result<Vec<Duration>> {
        let since = Instant::now();
        std::thread::sleep(lasts);
        self.since(since)
    }

    /// What messages took that were due since then.
    ///
    /// # Errors
    /// When the clients hear nothing more.
    pub fn since(&self, since: Instant) -> anyhow::Result<Vec<Duration>> {
        let until = Instant::now();
        let hangs_at = until + PATIENCE;
        // Those that are on their way belong to it, and the slowest most of all.
        while self.took.lock().last().is_none_or(|(due, _)| *due < until) {
            if self.thread.is_finished() || Instant::now() > hangs_at {
                bail!("honest clients hear nothing more");
            }
            std::thread::sleep(INTERVAL);
        }
        let took = self.took.lock();
        let these = took.iter().filter(|(due, _)| (since..until).contains(due));
        Ok(these.map(|(_, took)| *took).collect())
    }

    /// Ends it.
    ///
    /// # Errors
    /// What has gone wrong meanwhile.
    pub fn end(self) -> anyhow::Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}

async fn talk(
    address: SocketAddr,
    ca: PathBuf,
    tokens: [String; 2],
    took: Arc<Mutex<Vec<(Instant, Duration)>>>,
    ends: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let writer = Peer::connect(&endpoint, address, &ca, &tokens[0]).await?;
    let reader = Peer::connect(&endpoint, address, &ca, &tokens[1]).await?;
    let (mut read, _) = reader.open("honest", 1, Some(Start::Live)).await?;
    let (mut write, _) = writer.open("honest", 1, None).await?;
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut n = 0;
    while !ends.load(Ordering::Relaxed) {
        // What a message waits for one before it is its own time too: otherwise a second in which nothing
        // goes is one slow message.
        let due = ticks.tick().await.into_std();
        n += 1;
        write.write(&publish(n, "honest")).await?;
        loop {
            let frame =
                tokio::time::timeout(PATIENCE, read.next()).await.context("a message has not come")??;
            match frame {
                Some(ServerFrame::Event(event)) if event.seq == Seq(n) => break,
                Some(ServerFrame::Roster { .. }) => {}
                other => bail!("{other:?} in place of message {n}"),
            }
        }
        took.lock().push((due, due.elapsed()));
        match tokio::time::timeout(PATIENCE, write.next()).await.context("an ack has not come")?? {
            Some(ServerFrame::Ack { .. }) => {}
            other => bail!("{other:?} in place of an ack"),
        }
    }
    Ok(())
}

/// What it takes clients to connect and sign in with a whole handshake, of which one comes after the other
/// for so long, whatever has become of those before.
///
/// # Errors
/// When a connection is not made.
pub fn connects(server: &ServerProcess, user: &str, lasts: Duration) -> anyhow::Result<Vec<Duration>> {
    let (address, ca, token) = (server.address(), server.ca_file(), server.token(user)?);
    run(async {
        let (endpoint, config) = (Endpoint::client(([127, 0, 0, 1], 0).into())?, whole_handshakes(&ca)?);
        let began = Instant::now();
        let mut ticks = tokio::time::interval(CONNECT_INTERVAL);
        let mut coming = Vec::new();
        while began.elapsed() < lasts {
            let due = ticks.tick().await.into_std();
            let (endpoint, config, token) = (endpoint.clone(), config.clone(), token.clone());
            coming.push(tokio::spawn(async move {
                let peer = Peer::connect_with(&endpoint, config, address, &token).await?;
                let took = due.elapsed();
                peer.quic.close(0_u32.into(), b"");
                anyhow::Ok(took)
            }));
        }
        let mut took = Vec::with_capacity(coming.len());
        for client in coming {
            took.push(client.await??);
        }
        endpoint.wait_idle().await;
        Ok(took)
    })
}

/// A client that has no tickets from before.
fn whole_handshakes(ca: &Path) -> anyhow::Result<ClientConfig> {
    let mut tls = quoth_certs::client_config(ca, &[ALPN])?;
    tls.resumption = Resumption::disabled();
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}
