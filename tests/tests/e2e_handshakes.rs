//! Handshakes that are never finished: who makes them gets in nobody else's way.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use quinn::Endpoint;
use quoth_protocol::ALPN;
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::half_open::{Answer, begin};
use quoth_tests::websocket::{Handshake, Socket};
use quoth_tests::wire::{Peer, client_config};
use tokio::net::TcpSocket;

const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

fn limits() -> Limits {
    Limits {
        handshakes_max: 8,
        handshakes_per_address_max: 4,
        retry_above_handshakes: 5,
        // An eighth of it is longer than the test takes: until then nobody else gets the place of what was
        // begun.
        handshake_timeout_ms: 600_000,
        ..Limits::default()
    }
}

fn begun(server: &EmbeddedServer, from: IpAddr) -> anyhow::Result<Answer> {
    begin(server.address(), from, client_config(&server.ca_file(), ALPN)?)
}

/// Connects and signs in from an address that has shown nothing yet.
fn can_connect(server: &EmbeddedServer) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let server_ca = server.ca_file();
        let connects = Peer::connect(&endpoint, server.address(), &server_ca, server.token());
        tokio::time::timeout(Duration::from_secs(20), connects).await??.close(&endpoint).await;
        anyhow::Ok(())
    })
}

#[test]
fn half_open_handshakes_of_one_address_lock_nobody_else_out() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_with(limits())?;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(begun(&server, ATTACKER)?);
    }
    let after_retry = Answer::HandshakeAfterRetry;
    let expected = [Answer::Handshake, Answer::Handshake, after_retry, after_retry, Answer::Silence];
    assert_eq!(answers, expected, "half a share without a Retry, the rest with it, and no more");
    can_connect(&server)?;
    server.stop()
}

#[test]
fn above_some_handshakes_every_address_is_validated() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_with(limits())?;
    for _ in 0..4 {
        begun(&server, ATTACKER)?;
    }
    assert_eq!(begun(&server, ANOTHER)?, Answer::Handshake, "four are under way");
    assert_eq!(begun(&server, ANOTHER)?, Answer::HandshakeAfterRetry, "five are");
    can_connect(&server)?;
    server.stop()
}

#[test]
fn twenty_networks_lock_nobody_out_of_either_transport() -> anyhow::Result<()> {
    let limits = Limits { handshakes_max: 64, retry_above_handshakes: 64, ..limits() };
    let share = limits.handshakes_per_address_max;
    let server = EmbeddedServer::start_with(limits)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut held = Vec::new();
    for network in 1..=20 {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, network, 1));
        for _ in 0..share {
            let tcp = TcpSocket::new_v4()?;
            tcp.bind((from, 0).into())?;
            held.push(runtime.block_on(tcp.connect(server.address()))?);
            let answer = begun(&server, from)?;
            assert_ne!(answer, Answer::Silence, "each has its share");
        }
    }
    can_connect(&server)?;
    runtime.block_on(Socket::sign_in(server.address(), Handshake::PLAIN, server.token()))?;
    drop(held);
    server.stop()
}

#[test]
fn a_server_that_is_full_of_handshakes_says_so() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_with(limits())?;
    for network in 1..=8 {
        begun(&server, IpAddr::V4(Ipv4Addr::new(127, 0, network, 1)))?;
    }
    assert_eq!(begun(&server, IpAddr::V4(Ipv4Addr::LOCALHOST))?, Answer::Refused, "each has one");
    let stopped_at = Instant::now();
    server.stop()?;
    let took = stopped_at.elapsed();
    assert!(took < Duration::from_secs(5), "a drain waits for no handshake, but took {took:?}");
    Ok(())
}
