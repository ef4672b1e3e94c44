//! How much there may be at once.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::bail;
use quinn::{ConnectionError, Endpoint};
use quoth_protocol::frame::Start;
use quoth_protocol::request::Request;
use quoth_protocol::{ALPN, Code};
use quoth_server::session::Limits;
use quoth_tests::device::{Device, Over, Who};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::websocket::{Handshake, Refused, Socket};
use quoth_tests::wire::{Frames, Peer, client_config, hello};

use crate::{alice, close_code, connect, reset_code, run, soon, token_of, with_limits, with_server};

/// Opens a conversation whose stream is to be reset, and gives the code.
async fn refused_open(peer: &Peer, name: &str) -> anyhow::Result<Code> {
    match peer.open(name, 1, Some(Start::Live)).await {
        Ok(_) => bail!("{name} is open"),
        Err(error) => reset_code(&error),
    }
}

#[test]
fn one_conversation_more_than_the_server_said_is_reset() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let mut open = Vec::new();
        for n in 0..peer.welcome.open_conversations_max {
            open.push(peer.open(&format!("room {n}"), 1, Some(Start::Live)).await?.0);
        }
        assert_eq!(refused_open(&peer, "one more").await?, Code::OVERLOADED);
        assert_eq!(refused_open(&peer, "room 0").await?, Code::ALREADY_OPEN);
        if let Some(mut closed) = open.pop() {
            closed.send.finish()?;
            while closed.next().await?.is_some() {}
        }
        peer.open("one more", 1, Some(Start::Live)).await?;
        peer.close(&endpoint).await;
        Ok(())
    })
}

/// A connection that says Hello, and the code with which it is closed.
async fn closed_after_hello(endpoint: &Endpoint, server: &EmbeddedServer) -> anyhow::Result<Code> {
    let config = client_config(&server.ca_file(), ALPN)?;
    let quic = endpoint.connect_with(config, server.address(), "localhost")?.await?;
    Frames::open(&quic).await?.write(&hello(server.token())?).await?;
    close_code(&quic).await
}

#[test]
fn a_user_has_so_many_connections_over_both_transports() -> anyhow::Result<()> {
    let limits = Limits { connections_per_user_max: 2, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let (address, with) = (server.address(), Handshake::PLAIN);
        let one = alice(&endpoint, &server).await?;
        let (_socket, _) = Socket::sign_in(address, with, server.token()).await?;
        assert_eq!(closed_after_hello(&endpoint, &server).await?, Code::OVERLOADED);
        let connected = Socket::connect(address, with).await?;
        let mut third = connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        third.send(0, &[hello(server.token())?]).await?;
        assert_eq!(u32::from(third.close().await?.0), 4_000 + Code::OVERLOADED.0);
        connect(&endpoint, &server, &token_of(&server, "bob")?).await?;
        one.quic.close(0_u32.into(), b"");
        // The place is free when the server has noticed.
        soon("a place", async { while closed_or_signed_in(&endpoint, &server).await.is_err() {} }).await?;
        Ok(())
    })
}

/// Of a user with as many connections as there may be, each may be lost without the server's knowledge.
#[test]
fn a_device_of_a_user_with_all_connections_takes_its_own_place() -> anyhow::Result<()> {
    let limits = Limits { connections_per_user_max: 2, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let token = server.token();
        for (before, behind) in Over::ALL.into_iter().flat_map(|a| Over::ALL.map(|b| (a, b))) {
            let sign_in = async |over: Over, device: &str, generation: u64| {
                let device = format!("{device} {before:?} {behind:?}");
                let who = Who { token, device: &device, generation, platform: "linux" };
                anyhow::Ok(Device::sign_in(&server, over, &who).await?.map_err(|ended| ended.code))
            };
            // Those of the round before have ended when the server has noticed.
            let comes = async |device: &str| {
                loop {
                    match sign_in(before, device, 1).await? {
                        Ok(device) => return anyhow::Ok(device),
                        Err(code) => anyhow::ensure!(code == Code::OVERLOADED, "{code}"),
                    }
                }
            };
            let mut phone = soon("a place", comes("phone")).await??;
            let mut laptop = soon("a place", comes("laptop")).await??;
            assert_eq!(sign_in(behind, "tablet", 1).await?.err(), Some(Code::OVERLOADED));
            let again = sign_in(behind, "phone", 2).await?;
            let again = again.map_err(|code| anyhow::anyhow!("it is refused: {code}"))?;
            assert_eq!(phone.ended().await?.code, Code::REPLACED);
            assert_eq!(sign_in(behind, "tablet", 1).await?.err(), Some(Code::OVERLOADED), "it is counted");
            laptop.request(Request::Sessions).await?;
            again.close().await?;
            laptop.close().await?;
        }
        Ok(())
    })
}

async fn closed_or_signed_in(endpoint: &Endpoint, server: &EmbeddedServer) -> anyhow::Result<Peer> {
    Peer::connect(endpoint, server.address(), &server.ca_file(), server.token()).await
}

#[test]
fn an_address_has_so_many_connections_over_both_transports() -> anyhow::Result<()> {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let one = alice(&endpoint, &server).await?;
        let (_socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        let config = client_config(&server.ca_file(), ALPN)?;
        match endpoint.connect_with(config, server.address(), "localhost")?.await {
            Err(ConnectionError::ConnectionClosed(close)) => {
                assert!(close.to_string().contains("refuse"), "{close}");
            }
            other => bail!("not refused: {other:?}"),
        }
        let refused = Socket::connect(server.address(), Handshake::PLAIN).await?.unwrap_err();
        assert!(matches!(&refused, Refused { status: 429, retry_after: Some(_), .. }), "{refused:?}");
        let elsewhere = Endpoint::client((IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0).into())?;
        alice(&elsewhere, &server).await?;
        one.quic.close(0_u32.into(), b"");
        soon("a place", async { while closed_or_signed_in(&endpoint, &server).await.is_err() {} }).await?;
        Ok(())
    })
}

#[test]
fn behind_a_trusted_proxy_an_address_is_the_clients() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| {
        config.limits =
            Limits { connections_per_address_max: 1, handshakes_per_address_max: 1, ..Limits::default() };
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })?;
    run(async {
        let from = |client: &'static str| {
            let with = Handshake { forwarded_for: Some(client), ..Handshake::PLAIN };
            Socket::connect(server.address(), with)
        };
        // Of the proxy's own address there may be one handshake at once, and these connections stay open.
        let _first = from("203.0.113.5").await?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let _second = from("203.0.113.6").await?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        assert_eq!(from("203.0.113.5").await?.unwrap_err().status, 429);
        assert_eq!(from("203.0.113.7, 203.0.113.5").await?.unwrap_err().status, 429, "what a client claims");
        Ok(())
    })
}
