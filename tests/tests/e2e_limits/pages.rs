//! Pages of history: their size, how many at once, and how long one may be left lying.

use std::time::Duration;

use anyhow::bail;
use quinn::Connection;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, ServerFrame, Start};
use quoth_protocol::limits::{FETCH_EVENTS_MAX, FETCH_STALL_TIMEOUT_MS, FETCHES_AT_ONCE_MAX};
use quoth_protocol::{ALPN, Code, ConversationName};
use quoth_tests::wire::{Frames, Peer, client_config_with, publish};

use crate::{alice, publish_all, reset_code, with_server};

/// Generous: nothing here takes long unless it hangs.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

async fn begin_fetch(quic: &Connection, name: &str, limit: u32) -> anyhow::Result<Frames> {
    let mut frames = Frames::open(quic).await?;
    let conversation = ConversationName::new(name)?;
    frames.write(&ClientFrame::Fetch(Fetch { conversation, range: FetchRange::Latest, limit })).await?;
    frames.send.finish()?;
    Ok(frames)
}

/// The number of events of a page.
async fn page(mut frames: Frames) -> anyhow::Result<u32> {
    let mut events = 0;
    loop {
        match frames.next().await? {
            Some(ServerFrame::Event(_)) => events += 1,
            Some(ServerFrame::PageEnd { .. }) => break,
            other => bail!("no page: {other:?}"),
        }
    }
    while frames.next().await?.is_some() {}
    Ok(events)
}

#[test]
fn pages_can_be_fetched_one_after_the_other_while_all_conversations_are_open() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let mut open = Vec::new();
        for n in 0..peer.welcome.open_conversations_max {
            open.push(peer.open(&format!("room {n}"), 1, Some(Start::Live)).await?);
        }
        for n in 0..50 {
            let fetched = async { page(begin_fetch(&peer.quic, "room 0", 1).await?).await };
            let Ok(events) = tokio::time::timeout(STEP_TIMEOUT, fetched).await else {
                bail!("page {n} has not come")
            };
            assert_eq!(events?, 0);
        }
        peer.close(&endpoint).await;
        Ok(())
    })
}

#[test]
fn a_frame_behind_a_fetch_resets_the_stream() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let mut frames = Frames::open(&peer.quic).await?;
        let fetch =
            Fetch { conversation: ConversationName::new("room")?, range: FetchRange::Latest, limit: 1 };
        // At once, so that it is there before the page is done.
        let both = [encode(&ClientFrame::Fetch(fetch)), encode(&publish(1, ""))].concat();
        frames.send.write_all(&both).await?;
        assert_eq!(reset_code(&frames.next().await.expect_err("no page"))?, Code::PROTOCOL);
        peer.close(&endpoint).await;
        Ok(())
    })
}

#[test]
fn a_page_has_so_many_events_and_no_more() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let (mut frames, _) = peer.open("long", 1, None).await?;
        publish_all(&mut frames, 1..u64::from(FETCH_EVENTS_MAX) + 2, 1).await?;
        assert_eq!(page(begin_fetch(&peer.quic, "long", u32::MAX).await?).await?, FETCH_EVENTS_MAX);
        peer.close(&endpoint).await;
        Ok(())
    })
}

/// Messages of this size are in the conversation `large`: many more than fit into a window or are read at
/// once.
const LARGE_BYTES: usize = 60_000;
const LARGE_COUNT: u32 = 20;

async fn fill_large(peer: &Peer) -> anyhow::Result<()> {
    let (mut frames, _) = peer.open("large", 1, None).await?;
    for n in 1..=LARGE_COUNT {
        frames.write(&publish(n.into(), vec![b'x'; LARGE_BYTES])).await?;
        let Some(ServerFrame::Ack { .. }) = frames.next().await? else { bail!("no ack") };
    }
    Ok(())
}

#[test]
fn a_page_is_complete_whatever_its_size() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        fill_large(&peer).await?;
        assert_eq!(page(begin_fetch(&peer.quic, "large", LARGE_COUNT).await?).await?, LARGE_COUNT);
        peer.close(&endpoint).await;
        Ok(())
    })
}

#[test]
fn pages_that_nobody_takes_are_few_and_end() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let narrow = client_config_with(&server.ca_file(), ALPN, 4 * 1024)?;
        let peer = Peer::connect_with(&endpoint, narrow, server.address(), server.token()).await?;
        fill_large(&peer).await?;
        let mut stalled = Vec::new();
        for _ in 0..FETCHES_AT_ONCE_MAX {
            let mut frames = begin_fetch(&peer.quic, "large", LARGE_COUNT).await?;
            let Some(ServerFrame::Event(_)) = frames.next().await? else { bail!("no event") };
            stalled.push(frames);
        }
        let mut waits = begin_fetch(&peer.quic, "large", LARGE_COUNT).await?;
        let early = tokio::time::timeout(Duration::from_secs(1), waits.next()).await;
        assert!(early.is_err(), "it is not its turn: {early:?}");
        let timeout = Duration::from_millis(FETCH_STALL_TIMEOUT_MS) + STEP_TIMEOUT;
        assert_eq!(tokio::time::timeout(timeout, page(waits)).await??, LARGE_COUNT);
        // One of the stalled pages has made room. The others have their own 10 s. Nothing is read meanwhile,
        // which would have them go on.
        let mut reset = Vec::new();
        for mut frames in stalled {
            let Some(code) = tokio::time::timeout(timeout, frames.incoming.recv.received_reset()).await??
            else {
                bail!("a page that was not taken is complete")
            };
            reset.push(Code(code.into_inner().try_into()?));
        }
        assert_eq!(reset, [Code::OVERLOADED; FETCHES_AT_ONCE_MAX as usize]);
        peer.close(&endpoint).await;
        Ok(())
    })
}
