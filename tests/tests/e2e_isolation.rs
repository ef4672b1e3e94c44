//! What one client, or one damaged conversation, cannot do to the others.

#[path = "e2e_isolation/view.rs"]
mod view;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quinn::{Endpoint, ReadError, TransportConfig, VarInt};
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, Open, Publish, ServerFrame, Start};
use quoth_protocol::limits::IN_FLIGHT_PUBLISHES_MAX;
use quoth_protocol::{ALPN, Code, ConversationName, ProducerId, Seq, UserId};
use quoth_store::Store;
use quoth_store::testing::{Overridden, commit, record};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::served::{ServedEngine, UserNames};
use quoth_tests::wire::{Frames, Peer, client_config, publish};
use view::FaultyView;

/// Bytes that the client takes of a stream before it reads on.
const CREDIT_BYTES: u32 = 1_024;

/// Bytes that the client has unacknowledged at most.
const SEND_WINDOW_BYTES: usize = 64 * 1024;

/// Bytes of one flooding publish.
const BODY_BYTES: usize = 4 * 1024;

/// For how long the server must take nothing more.
const STALL: Duration = Duration::from_secs(2);

const PATIENCE: Duration = Duration::from_secs(30);

/// What the server may read for answers that nobody takes: as many as it may owe, those that the credit holds
/// (5 bytes each at least), its receive window, and the client's send window.
const READ_BYTES_MAX: usize = IN_FLIGHT_PUBLISHES_MAX * (BODY_BYTES + 64)
    + CREDIT_BYTES as usize / 5 * (BODY_BYTES + 64)
    + 128 * 1024
    + SEND_WINDOW_BYTES;

#[test]
fn refusals_that_nobody_takes_stop_the_reading() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let mut config = client_config(&server.ca_file(), ALPN)?;
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(CREDIT_BYTES)).send_window(SEND_WINDOW_BYTES as u64);
        config.transport_config(Arc::new(transport));
        let peer = Peer::connect_with(&endpoint, config, server.address(), server.token()).await?;
        let (mut frames, _) = peer.open("flood", 1, None).await?;
        let mut written = 0;
        let mut sent = 0;
        while let Ok(wrote) =
            tokio::time::timeout(STALL, frames.send.write_chunk(encode(&forbidden(sent)))).await
        {
            wrote?;
            sent += 1;
            written += BODY_BYTES;
            assert!(written <= 2 * READ_BYTES_MAX, "{written} bytes were taken, and no answer was");
        }
        assert!(written <= READ_BYTES_MAX, "{written} bytes were taken, and no answer was");
        // Nothing was lost, and the stream goes on once the answers are taken. A part of the last frame may
        // be on its way.
        let mut answered = 0;
        while answered < sent {
            let frame =
                tokio::time::timeout(PATIENCE, frames.next()).await.context("the stream stands")??;
            assert_eq!(
                frame,
                Some(ServerFrame::Refused {
                    n: answered,
                    code: Code::FORBIDDEN,
                    retry_after_ms: 0,
                    reason: String::new()
                })
            );
            answered += 1;
        }
        peer.close(&endpoint).await;
        anyhow::Ok(())
    })?;
    server.stop()
}

fn forbidden(n: u64) -> ClientFrame {
    let publish_as = Some(UserId::new("somebody").expect("a valid id"));
    ClientFrame::Publish(Publish { publish_as, ..Publish::new(n, vec![0; BODY_BYTES]) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_moves_makes_one_read_at_a_time() -> anyhow::Result<()> {
    const MOVES: usize = 60;
    let mut store = Store::memory();
    let records = [record("room", 1, 1), record("room", 2, 2)];
    let position = commit(&*store.log, &records)?;
    store.view.apply(position, &records)?;
    let view = Arc::new(Overridden(FaultyView::new(Arc::clone(&store.view))));
    store.view = Arc::clone(&view) as _;
    let server = ServedEngine::start(store, UserNames)?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, server.address(), server.ca_file(), "alice").await?;
    let mut frames = Frames::open(&peer.quic).await?;
    let from = Some(Start::After(Seq::ZERO));
    let conversation = ConversationName::new("room")?;
    frames.write(&ClientFrame::Open(Open { conversation, producer: ProducerId(1), from })).await?;
    for _ in 0..MOVES {
        frames.write(&ClientFrame::Read { from: None }).await?;
        frames.write(&ClientFrame::Read { from }).await?;
    }
    let mut opened = 0;
    let mut last = Seq::ZERO;
    while opened < MOVES + 1 || last < Seq(2) {
        match tokio::time::timeout(PATIENCE, frames.next()).await.context("the stream stands")?? {
            Some(ServerFrame::Opened { head, .. }) => {
                assert_eq!(head, Seq(2));
                (opened, last) = (opened + 1, Seq::ZERO);
            }
            Some(ServerFrame::Event(event)) => {
                assert_eq!(event.seq, last.next());
                last = event.seq;
            }
            other => bail!("{other:?}"),
        }
    }
    assert_eq!(view.0.most_at_once(), 1, "reads from the view at once");
    peer.close(&endpoint).await;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_rows_reset_the_streams_of_their_conversation_only() -> anyhow::Result<()> {
    let mut store = Store::memory();
    let records = [record("damaged", 1, 1)];
    let position = commit(&*store.log, &records)?;
    store.view.apply(position, &records)?;
    let damaged = ConversationName::new("damaged")?;
    store.view = Arc::new(Overridden(FaultyView::with_damaged_producers(Arc::clone(&store.view), damaged)));
    let server = ServedEngine::start(store, UserNames)?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let peer = Peer::connect(&endpoint, server.address(), server.ca_file(), "alice").await?;
    let (mut sound, _) = peer.open("sound", 1, None).await?;
    for n in 1..=3 {
        let (mut damaged, head) = peer.open("damaged", 1, None).await?;
        assert_eq!(head, Seq(1), "what is sound of it can be read");
        damaged.write(&publish(n, "text")).await?;
        let ended = tokio::time::timeout(PATIENCE, damaged.next()).await.context("the stream stands")?;
        assert_eq!(reset_code(ended), Some(Code::STORE_FAILED));
        sound.write(&publish(n, "text")).await?;
        let ack = tokio::time::timeout(PATIENCE, sound.next()).await.context("the stream stands")??;
        assert!(matches!(ack, Some(ServerFrame::Ack { seq, .. }) if seq == Seq(n)), "{ack:?}");
    }
    peer.close(&endpoint).await;
    server.stop().await
}

fn reset_code(ended: anyhow::Result<Option<ServerFrame>>) -> Option<Code> {
    match ended.err()?.downcast_ref()? {
        ReadError::Reset(code) => Some(Code(u32::try_from(code.into_inner()).ok()?)),
        _ => None,
    }
}
