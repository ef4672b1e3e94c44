//! WebSockets that wear the server out: fragments, pings, lanes that are not read, and connections that are gone without a word.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::SinkExt as _;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::{Code, Seq};
use quoth_tests::websocket::{Come, Handshake, Socket, dial};
use quoth_tests::wire::publish;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::honest::Honest;
use crate::{Target, p99, run, seconds};

/// The same bound as for peers over QUIC, and for the same reason.
const RATIO_MAX: f64 = 8.0;

/// A message in fragments without end, each of which has a byte. Says how many were sent before the server had enough.
async fn fragments(target: &Target) -> anyhow::Result<u64> {
    let mut io = dial(target.server.address(), None).await?;
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quoth.v1.postcard\r\n\r\n",
        target.server.address()
    );
    io.write_all(request.as_bytes()).await?;
    let mut answer = [0; 4_096];
    let _head = io.read(&mut answer).await?;
    let first = [2, 0x81, 0, 0, 0, 0, 0];
    let next = [0, 0x81, 0, 0, 0, 0, 0];
    io.write_all(&first).await?;
    let mut sent = 1;
    // A TCP connection that the server has closed takes no more soon.
    while io.write_all(&next.repeat(100)).await.is_ok() {
        sent += 100;
        ensure!(sent < 10_000_000, "{sent} fragments of one message were taken");
    }
    Ok(sent)
}

/// Pings until the server closes.
async fn pings(target: &Target, token: &str) -> anyhow::Result<u64> {
    let (mut socket, _) = Socket::sign_in(target.server.address(), Handshake::PLAIN, token).await?;
    let mut sent = 0;
    while socket.inner.send(Message::Ping(vec![b'x'; 125].into())).await.is_ok() && sent < 100_000 {
        sent += 1;
    }
    Ok(sent)
}

/// Reads nothing of a conversation to which much is published, and of an honest one in another lane.
async fn slow_readers(target: &Target, token: &str) -> anyhow::Result<Vec<Socket>> {
    let address = target.server.address();
    let (mut fills, _) = Socket::sign_in(address, Handshake::PLAIN, token).await?;
    fills.open(1, "large", 1, None).await?;
    for n in 1..=60 {
        fills.send(1, &[publish(n, vec![b'x'; 60_000])]).await?;
        let Come::Frame(1, ServerFrame::Ack { .. }) = fills.next().await? else { anyhow::bail!("no ack") };
    }
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let (mut socket, _) = Socket::sign_in(address, Handshake::PLAIN, token).await?;
        socket.send(1, &[quoth_tests::websocket::open("large", 2, Some(Start::After(Seq::ZERO)))?]).await?;
        sockets.push(socket);
    }
    Ok(sockets)
}

#[test]
fn hostile_websockets_are_closed_or_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    let token = target.server.token("bob")?;
    let honest = Honest::start(&target.server)?;
    let quiet = honest.measure(Duration::from_secs(2))?;
    let (since, lasts) = (Instant::now(), seconds(2.0));
    run(async {
        let mut connections = [0_u64; 2];
        let mut sent = [0_u64; 2];
        let stalled = slow_readers(&target, &token).await?;
        while since.elapsed() < lasts {
            sent[0] += fragments(&target).await?;
            sent[1] += pings(&target, &token).await?;
            connections = connections.map(|count| count + 1);
        }
        println!("fragments and pings: {sent:?} over {connections:?} connections");
        let grown = target.assert_bounded("WebSockets")?;
        println!("{} sockets that are not read; the server has {grown} bytes more", stalled.len());
        // One that is closed says why, which who floods may not have read.
        let (mut socket, _) = Socket::sign_in(target.server.address(), Handshake::PLAIN, &token).await?;
        for _ in 0..100 {
            let _closed = socket.inner.send(Message::Ping("x".into())).await;
        }
        ensure!(u32::from(socket.close().await?.0) == 4_000 + Code::RATE_LIMITED.0, "closed otherwise");
        Ok(())
    })?;
    let attacked = honest.since(since)?;
    honest.end()?;
    let (quiet, attacked) = (p99(&quiet), p99(&attacked));
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
    println!("honest delivery p99: {quiet:?} without, {attacked:?} under attack: {ratio:.2} times");
    ensure!(ratio <= RATIO_MAX, "{ratio}");
    ensure!(target.log().contains("rate_limited"), "the log tells nothing");
    Ok(())
}
