//! Credit: a lane that nobody reads holds up itself alone.

use anyhow::bail;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::lane::{Signal, encode_frames};
use quoth_protocol::limits::{
    IN_FLIGHT_PUBLISHES_MAX, LANE_CREDIT_OF_CLIENT_BYTES, LANE_CREDIT_OF_SERVER_BYTES,
};
use quoth_protocol::{Code, Seq};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::websocket::{Come, Handshake, Socket, open};
use quoth_tests::wire::publish;

use crate::run;

/// Each of them with so many bytes, in the conversation `large`: twice what a lane begins with.
const LARGE_BYTES: usize = 8 * 1_024;
const LARGE_COUNT: u64 = 2 * LANE_CREDIT_OF_SERVER_BYTES as u64 / LARGE_BYTES as u64;

/// Fills `large`, and reads on lane 1 all that comes of it without giving credit back. Gives the last seq
/// that has come.
async fn stalled(server: &EmbeddedServer) -> anyhow::Result<(Socket, Seq)> {
    let sign_in = || Socket::sign_in(server.address(), Handshake::PLAIN, server.token());
    let (mut fills, _) = sign_in().await?;
    fills.open(1, "large", 1, None).await?;
    for n in 1..=LARGE_COUNT {
        fills.send(1, &[publish(n, vec![b'x'; LARGE_BYTES])]).await?;
        let Come::Frame(1, ServerFrame::Ack { .. }) = fills.next().await? else { bail!("no ack") };
    }
    let (mut socket, _) = sign_in().await?;
    socket.send(1, &[open("large", 2, Some(Start::After(Seq::ZERO)))?]).await?;
    let (mut is_opened, mut last) = (false, Seq::ZERO);
    while socket.come_bytes(1) < LANE_CREDIT_OF_SERVER_BYTES as usize {
        for come in socket.next_all().await? {
            match come {
                // Alone, or with the first events where these are in the tail still: a view that is behind on
                // a busy machine lets none of them go.
                Come::Frame(1, ServerFrame::Opened { .. }) if !is_opened => is_opened = true,
                Come::Frame(1, ServerFrame::Event(event)) if is_opened => {
                    assert_eq!(event.seq, last.next());
                    last = event.seq;
                }
                other => bail!("{other:?}"),
            }
        }
    }
    Ok((socket, last))
}

#[test]
fn one_lane_stands_while_others_flow() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let (mut socket, mut last) = stalled(&server).await?;
        socket.send(2, &[open("room", 1, Some(Start::Live))?]).await?;
        for n in 1..=500 {
            socket.send(2, &[publish(n, "small")]).await?;
        }
        let mut events = 0;
        while events < 500 {
            for come in socket.next_all().await? {
                match come {
                    Come::Frame(2, ServerFrame::Event(_)) => events += 1,
                    Come::Frame(2, ServerFrame::Ack { .. } | ServerFrame::Opened { .. }) => {}
                    other => bail!("{other:?}"),
                }
            }
        }
        assert!(last < Seq(LARGE_COUNT), "the lane stands");
        socket.signal(1, Signal::Credit { bytes: 2 * LANE_CREDIT_OF_SERVER_BYTES }).await?;
        while last < Seq(LARGE_COUNT) {
            for come in socket.next_all().await? {
                match come {
                    Come::Frame(1, ServerFrame::Event(event)) => {
                        assert_eq!(event.seq, last.next(), "no hole");
                        last = event.seq;
                    }
                    // Its last acks may come behind the events.
                    Come::Frame(2, ServerFrame::Ack { .. }) => {}
                    other => bail!("{other:?}"),
                }
            }
        }
        server.stop()
    })
}

#[test]
fn sending_without_credit_closes() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let (mut socket, _) = stalled(&server).await?;
        // The answers find no credit, so the server reads no more of the lane than may wait for an answer.
        // So credit comes back for less than a step, which is none.
        let opened = encode_frames(1, &[encode(&open("large", 2, Some(Start::After(Seq::ZERO)))?)]);
        let (mut n, mut sent) = (0, opened.len());
        while n < IN_FLIGHT_PUBLISHES_MAX as u64 {
            n += 1;
            sent += socket.send(1, &[publish(n, "")]).await?;
        }
        while sent < LANE_CREDIT_OF_CLIENT_BYTES as usize {
            n += 1;
            sent += socket.send(1, &[publish(n, vec![b'x'; LARGE_BYTES])]).await?;
        }
        socket.signal(0, Signal::Ping { n: 1 }).await?;
        let come = socket.next().await?;
        assert_eq!(come, Come::Signal(0, Signal::Pong { n: 1 }), "what there was credit for is no fault");
        socket.send(1, &[publish(n + 1, "")]).await?;
        let (status, text) = socket.close().await?;
        assert_eq!((u32::from(status) - 4_000, text.contains("credit")), (Code::PROTOCOL.0, true), "{text}");
        server.stop()
    })
}
