//! A drain waits for acks, and for nobody who does nothing.

use std::time::{Duration, Instant};

use anyhow::bail;
use quinn::{ConnectionError, Endpoint};
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::{ALPN, Code, Seq};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::wire::{Frames, Peer, client_config, client_config_with, publish};

/// Window of a client that does not read: less than what there is to read.
const NARROW_WINDOW_BYTES: u32 = 4 * 1024;

const EVENTS: u64 = 1_000;

/// Generous, and less than the seven seconds that a drain waits at most.
const DRAINED_WITHIN: Duration = Duration::from_secs(6);

async fn fill(peer: &Peer, name: &str) -> anyhow::Result<()> {
    let (mut frames, _) = peer.open(name, 1, None).await?;
    for batch in 0..EVENTS / 100 {
        for n in 1..=100 {
            frames.write(&publish(batch * 100 + n, vec![b'x'; 400])).await?;
        }
        for _ in 0..100 {
            match frames.next().await? {
                Some(ServerFrame::Ack { .. }) => {}
                other => bail!("not an ack: {other:?}"),
            }
        }
    }
    frames.send.finish()?;
    Ok(())
}

fn code(closed: &ConnectionError) -> Option<Code> {
    match closed {
        ConnectionError::ApplicationClosed(close) => u64::from(close.error_code).try_into().ok().map(Code),
        _ => None,
    }
}

#[test]
fn a_drain_waits_for_nobody_who_does_nothing() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let (address, ca) = (server.address(), server.ca_file());
        let narrow = client_config_with(&ca, ALPN, NARROW_WINDOW_BYTES)?;
        let mut stalled = Peer::connect_with(&endpoint, narrow, address, server.token()).await?;
        fill(&stalled, "room").await?;
        let (mut reads, _) = stalled.open("room", 2, Some(Start::After(Seq::ZERO))).await?;
        // Its events are on their way, and there are more than its window holds.
        let Some(ServerFrame::Event(_)) = reads.next().await? else { bail!("no event") };
        let mut begun = Frames::open(&stalled.quic).await?;
        begun.send.write_all(&[0x80]).await?;
        let silent = endpoint.connect_with(client_config(&ca, ALPN)?, address, "localhost")?.await?;
        // A connection for the server, too, which may have its handshake's last packet later: before that it is
        // turned away without a code of ours.
        while silent.stats().frame_rx.handshake_done == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        let stopped_at = Instant::now();
        let stopped = tokio::task::spawn_blocking(|| server.stop());
        let Some(ServerFrame::GoAway { code: Code::GOING_AWAY, .. }) = stalled.control.next().await? else {
            bail!("no GoAway")
        };
        assert_eq!(code(&stalled.quic.closed().await), Some(Code::GOING_AWAY));
        assert_eq!(code(&silent.closed().await), Some(Code::GOING_AWAY));
        // Without what it takes to close the store, which is the disk's.
        let took = stopped_at.elapsed();
        stopped.await??;
        assert!(took < DRAINED_WITHIN, "the drain took {took:?}");
        anyhow::Ok(())
    })
}

#[test]
fn what_was_read_before_a_drain_is_acked_in_spite_of_unread_events() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let narrow = client_config_with(&server.ca_file(), ALPN, NARROW_WINDOW_BYTES)?;
        let peer = Peer::connect_with(&endpoint, narrow, server.address(), server.token()).await?;
        let other = Peer::connect(&endpoint, server.address(), &server.ca_file(), server.token()).await?;
        fill(&peer, "room").await?;
        let (mut frames, head) = peer.open("room", 2, Some(Start::After(Seq::ZERO))).await?;
        frames.write(&publish(1, "last")).await?;
        // The message is stored when somebody else sees it; its ack waits behind events that nobody reads.
        let (mut witness, _) = other.open("room", 3, Some(Start::After(head))).await?;
        let Some(ServerFrame::Event(_)) = witness.next().await? else { bail!("no event") };

        let stopped = tokio::task::spawn_blocking(|| server.stop());
        let mut last_seq = Seq::ZERO;
        let acked = loop {
            match frames.next().await? {
                Some(ServerFrame::Event(event)) => {
                    assert_eq!(event.seq, last_seq.next(), "no hole");
                    last_seq = event.seq;
                }
                Some(ServerFrame::Ack { seq, .. }) => break seq,
                other => bail!("no ack: {other:?}"),
            }
        };
        assert_eq!(acked, head.next());
        stopped.await??;
        anyhow::Ok(())
    })
}
