//! WebSockets that wear the server out, and sockets of which nothing is read.

use quoth_protocol::Seq;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_tests::hostile::attack::{OVER_WEBSOCKET, WEBSOCKET};
use quoth_tests::websocket::{Come, Handshake, Socket};
use quoth_tests::wire::publish;

use crate::attack::play;
use crate::{Target, run, seconds};

/// Sockets of which nothing is read, each with more to read than fits anywhere.
const STALLED: usize = 50;

/// Messages that each could read, and their size.
const LARGE_COUNT: u64 = 60;
const LARGE_BYTES: usize = 60_000;

async fn stalled(target: &Target) -> anyhow::Result<Vec<Socket>> {
    let (address, token) = (target.server.address(), target.server.token("bob")?);
    let (mut fills, _) = Socket::sign_in(address, Handshake::PLAIN, &token).await?;
    fills.open(1, "large", 1, None).await?;
    for n in 1..=LARGE_COUNT {
        fills.send(1, &[publish(n, vec![b'x'; LARGE_BYTES])]).await?;
        let Come::Frame(1, ServerFrame::Ack { .. }) = fills.next().await? else { anyhow::bail!("no ack") };
    }
    let mut sockets = Vec::new();
    for _ in 0..STALLED {
        let (mut socket, _) = Socket::sign_in(address, Handshake::PLAIN, &token).await?;
        socket.send(1, &[quoth_tests::websocket::open("large", 2, Some(Start::After(Seq::ZERO)))?]).await?;
        sockets.push(socket);
    }
    Ok(sockets)
}

#[test]
fn hostile_websockets_are_closed_or_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    let sockets = run(stalled(&target))?;
    play(&target, OVER_WEBSOCKET, &WEBSOCKET, seconds(1.0))?;
    println!("{} sockets were not read meanwhile", sockets.len());
    Ok(())
}
