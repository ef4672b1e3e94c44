//! What does not come in time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Endpoint, TransportConfig, VarInt};
use quoth_protocol::limits::STREAMS_BEFORE_SIGN_IN_MAX;
use quoth_protocol::{ALPN, Code};
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::half_open::begin;
use quoth_tests::wire::{Frames, Peer, client_config};

use crate::{alice, close_code, reset_code, soon, with_limits, with_server};

/// Connects as soon as there is a place.
async fn connects_once_there_is_room(endpoint: &Endpoint, server: &EmbeddedServer) -> anyhow::Result<Peer> {
    let connected = async {
        loop {
            let ca = server.ca_file();
            if let Ok(peer) = Peer::connect(endpoint, server.address(), &ca, server.token()).await {
                return peer;
            }
        }
    };
    soon("a place", connected).await
}

#[test]
fn a_handshake_that_is_not_finished_ends() -> anyhow::Result<()> {
    let handshake_timeout_ms = 1_000;
    let limits = Limits { connections_max: 1, handshake_timeout_ms, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let config = client_config(&server.ca_file(), ALPN)?;
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let began = Instant::now();
        begin(server.address(), from, config)?;
        let came = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await;
        let is_over = began.elapsed() >= Duration::from_millis(handshake_timeout_ms);
        assert!(came.is_err() || is_over, "the only place is taken");
        drop(came);
        connects_once_there_is_room(&endpoint, &server).await?;
        Ok(())
    })
}

#[test]
fn a_connection_without_a_hello_and_a_stream_without_a_first_frame_end() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let config = client_config(&server.ca_file(), ALPN)?;
        let silent = endpoint.connect_with(config, server.address(), "localhost")?.await?;
        let peer = alice(&endpoint, &server).await?;
        let mut frames = Frames::open(&peer.quic).await?;
        // A frame that is begun.
        frames.send.write_all(&[100]).await?;
        let error = soon("a reset", frames.next()).await?.expect_err("a reset");
        assert_eq!(reset_code(&error)?, Code::HELLO_TIMEOUT);
        assert_eq!(close_code(&silent).await?, Code::HELLO_TIMEOUT);
        assert!(peer.quic.close_reason().is_none(), "the connection is not to blame");
        Ok(())
    })
}

#[test]
fn before_the_sign_in_there_are_few_streams() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let config = client_config(&server.ca_file(), ALPN)?;
        let quic = endpoint.connect_with(config, server.address(), "localhost")?.await?;
        let mut opened = Vec::new();
        for _ in 0..STREAMS_BEFORE_SIGN_IN_MAX {
            opened.push(soon("a stream", quic.open_bi()).await??);
        }
        let more = std::pin::pin!(quic.open_bi());
        // No credit comes before the connection is closed for want of a Hello.
        let ended = soon("the end", more).await?;
        assert!(ended.is_err(), "one more was granted");
        assert_eq!(close_code(&quic).await?, Code::HELLO_TIMEOUT);
        Ok(())
    })
}

#[test]
fn a_connection_that_is_silent_for_too_long_makes_room() -> anyhow::Result<()> {
    let idle_timeout_ms = 2_000;
    let limits = Limits { connections_max: 1, idle_timeout_ms, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let mut config = client_config(&server.ca_file(), ALPN)?;
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(None).max_idle_timeout(Some(VarInt::from_u32(600_000).into()));
        config.transport_config(Arc::new(transport));
        let silent = Peer::connect_with(&endpoint, config, server.address(), server.token()).await?;
        let other = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        connects_once_there_is_room(&other, &server).await?;
        soon("the silent one's end", silent.quic.closed()).await?;
        Ok(())
    })
}
