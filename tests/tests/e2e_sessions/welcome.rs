//! What a client is told of the server at its sign-in.

use anyhow::bail;
use quinn::Endpoint;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_server::engine::{Clock as _, SystemClock};
use quoth_store::testing::{commit, record};
use quoth_store::{Record, Store};
use quoth_tests::served::{ServedEngine, UserNames};
use quoth_tests::wire::{Peer, publish};

/// A client holds ends of messages against it, which are of the time by which messages are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_time_is_that_of_messages_also_when_the_clock_was_set_back() -> anyhow::Result<()> {
    const HOUR_MS: u64 = 3_600 * 1_000;
    let store = Store::memory();
    let stored_ms = SystemClock.unix_ms() + HOUR_MS;
    let records = [Record { time_ms: stored_ms, ..record("room", 1, 1) }];
    store.view.apply(commit(&*store.log, &records)?, &records)?;
    let server = ServedEngine::start(store, UserNames)?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let mut told_ms = stored_ms;
    for turn in 1..=2 {
        let peer = Peer::connect(&endpoint, server.address(), server.ca_file(), "alice").await?;
        assert!(peer.welcome.time_ms >= told_ms, "{turn}: {} and not {told_ms}", peer.welcome.time_ms);
        let (mut room, _) = peer.open("room", 1, Some(Start::Live)).await?;
        room.write(&publish(turn, "hi")).await?;
        told_ms = loop {
            match room.next().await? {
                Some(ServerFrame::Ack { time_ms, .. }) => break time_ms,
                Some(ServerFrame::Event(_)) => {}
                other => bail!("{other:?}"),
            }
        };
        assert!(told_ms >= peer.welcome.time_ms, "{turn}: {told_ms} and not {}", peer.welcome.time_ms);
        peer.close(&endpoint).await;
    }
    server.stop().await
}
