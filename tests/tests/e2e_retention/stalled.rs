//! A reader that stands still: of a page that was read for it only a part has gone.

use std::net::{Ipv4Addr, SocketAddr};

use quinn::Endpoint;
use quoth_protocol::{ALPN, Seq};
use quoth_tests::wire::{Frames, Peer, client_config_with, publish};

use super::*;

/// Of bytes like these a page has some 64, and what waits for a client that takes nothing is less than 50.
const BODY_BYTES: usize = 1_000;
const MESSAGES: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_while_a_reader_stands_still_does_not_come() -> anyhow::Result<()> {
    const REVOKED: u64 = 60;
    stands_still(async |server, reader| {
        server.api()?.done("DELETE", &format!("/v1/conversations/room/messages/{REVOKED}"), None)?;
        let events = |seqs: std::ops::RangeInclusive<u64>| seqs.map(Event).collect::<Vec<_>>();
        let rest = events(REVOKED + 1..=MESSAGES);
        assert_eq!(all(reader).await?, [events(2..=REVOKED - 1), vec![Gap(REVOKED, REVOKED)], rest].concat());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_page_does_not_come_when_the_cursor_is_moved() -> anyhow::Result<()> {
    for from in [0, MESSAGES / 2] {
        stands_still(async |_, reader| {
            reader.write(&ClientFrame::Read { from: Some(Start::After(Seq(from))) }).await?;
            while !matches!(reader.next().await?.context("the stream has ended")?, ServerFrame::Opened { .. })
            {
            }
            assert_eq!(all(reader).await?, (from + 1..=MESSAGES).map(Event).collect::<Vec<_>>());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A reader that has taken the first of many events, with a small window.
async fn stands_still(
    then: impl AsyncFnOnce(&EmbeddedServer, &mut Frames) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let token = server.token_with("ada", |_| {})?;
    let says = Peer::connect(&endpoint, server.address(), &server.ca_file(), &token).await?;
    let (mut writer, _) = says.open("room", 1, None).await?;
    for n in 1..=MESSAGES {
        writer.write(&publish(n, vec![b'x'; BODY_BYTES])).await?;
        let Some(ServerFrame::Ack { .. }) = writer.next().await? else { bail!("no ack") };
    }
    let narrow = client_config_with(&server.ca_file(), ALPN, 4 * 1024)?;
    let reads = Peer::connect_with(&endpoint, narrow, server.address(), &token).await?;
    // The first ones are in no tail any more. With the first of a page all of it has been read.
    let (mut reader, _) = reads.open("room", 2, Some(Start::After(Seq::ZERO))).await?;
    ensure!(told(reader.next().await?.context("no event")?) == Some(Event(1)));
    then(&server, &mut reader).await?;
    drop((reader, reads, writer, says));
    endpoint.wait_idle().await;
    server.stop()
}

/// What comes up to the last message.
async fn all(reader: &mut Frames) -> anyhow::Result<Vec<Told>> {
    let mut all = Vec::new();
    while !matches!(all.last(), Some(Event(seq) | Gap(_, seq)) if *seq >= MESSAGES) {
        all.extend(told(reader.next().await?.context("the stream has ended")?));
    }
    Ok(all)
}
