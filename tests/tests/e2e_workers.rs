//! Several network workers at one address: each packet reaches the worker that has its connection.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quinn::{ConnectionError, Endpoint};
use quinn_proto::EndpointConfig;
use quoth_protocol::ALPN;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::process::ServerProcess;
use quoth_tests::wire::{Frames, Peer, client_config, publish};

/// Generous: nothing here takes long unless packets are lost.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

fn block_on(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

/// Publishes on a stream and waits until it is acked and delivered there.
async fn publish_and_read(frames: &mut Frames, n: u64) -> anyhow::Result<()> {
    frames.write(&publish(n, "text")).await?;
    let (mut acked, mut delivered) = (false, false);
    while !acked || !delivered {
        match frames.next().await? {
            Some(ServerFrame::Ack { .. }) => acked = true,
            Some(ServerFrame::Event(_)) => delivered = true,
            other => bail!("neither ack nor event: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn a_client_whose_address_changes_keeps_its_connections() -> anyhow::Result<()> {
    const CONNECTIONS: u64 = 6;
    const CHANGES: u64 = 20;
    let server = EmbeddedServer::start_workers(4, Limits::default())?;
    block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let mut clients = Vec::new();
        for producer in 0..CONNECTIONS {
            let peer = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await?;
            let (frames, _) = peer.open(&format!("room {producer}"), producer, Some(Start::Live)).await?;
            clients.push((peer, frames));
        }
        for change in 1..=CHANGES {
            endpoint.rebind(UdpSocket::bind(("127.0.0.1", 0))?)?;
            for (peer, frames) in &mut clients {
                let step = tokio::time::timeout(STEP_TIMEOUT, publish_and_read(frames, change)).await;
                step.with_context(|| format!("nothing comes after change {change}"))??;
                anyhow::ensure!(peer.quic.close_reason().is_none(), "the connection was lost");
            }
        }
        Ok(())
    })
}

/// The destination and the source connection id of a packet with a long header.
fn ids(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let (destination_len, rest) = packet.get(5..)?.split_first()?;
    let (destination, rest) = rest.split_at_checked((*destination_len).into())?;
    let (source_len, rest) = rest.split_first()?;
    Some((destination, rest.get(..(*source_len).into())?))
}

#[test]
fn each_connection_stays_with_the_worker_that_its_first_packet_reached() -> anyhow::Result<()> {
    const WORKERS: u32 = 3;
    let server = EmbeddedServer::start_workers(WORKERS, Limits::default())?;
    let worker = |id: &[u8]| id.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) % WORKERS);
    let mut seen = [false; WORKERS as usize];
    // Some more than half of an address's share of handshakes would be asked for a Retry.
    for _ in 0..30 {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_read_timeout(Some(STEP_TIMEOUT))?;
        let mut client = quinn_proto::Endpoint::new(EndpointConfig::default().into(), None, false, None);
        let config = client_config(&server.ca_file(), ALPN)?;
        let (_, mut connection) = client.connect(Instant::now(), config, server.address(), "localhost")?;
        let mut first = Vec::new();
        let sent = connection.poll_transmit(Instant::now(), 1, &mut first).context("a first packet")?;
        socket.send_to(&first[..sent.size], server.address())?;
        let mut answer = [0; 2_048];
        let len = socket.recv(&mut answer)?;
        let (chosen_by_client, _) = ids(&first).context("a long header")?;
        let (_, chosen_by_server) = ids(&answer[..len]).context("a long header")?;
        assert_eq!(worker(chosen_by_server), worker(chosen_by_client));
        seen[worker(chosen_by_server).context("an id")? as usize] = true;
    }
    assert_eq!(seen, [true; WORKERS as usize], "connections are spread");
    server.stop()
}

#[test]
fn clients_of_before_a_restart_are_told_whatever_the_number_of_workers_is_then() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let mut listen = "127.0.0.1:0".to_owned();
        let mut before: Vec<Peer> = Vec::new();
        for workers in [4, 3, 1, 2] {
            let set = format!("server.workers={workers}");
            let server = ServerProcess::start_with(&data_dir, &listen, &["--set", &set])?;
            listen = server.address().to_string();
            for peer in before.drain(..) {
                if let Ok(mut frames) = Frames::open(&peer.quic).await {
                    let _gone_already = frames.send.write_all(b"still there?").await;
                }
                let ended = tokio::time::timeout(STEP_TIMEOUT, peer.quic.closed()).await;
                let ended = ended.with_context(|| format!("nothing is told with {workers} workers"))?;
                assert!(matches!(ended, ConnectionError::Reset), "{ended}");
            }
            let token = server.token("alice")?;
            for _ in 0..6 {
                before.push(Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await?);
            }
            server.kill()?;
        }
        Ok(())
    })
}
