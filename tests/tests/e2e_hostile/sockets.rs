//! WebSockets that wear the server out: `tests/independent/hostile_websocket.py` has what each of them sends; and sockets of which
//! nothing is read.

use quoth_protocol::Seq;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_tests::websocket::{Come, Handshake, Socket};
use quoth_tests::wire::publish;

use crate::attack::Outcome::{Closed, Taken};
use crate::attack::{Outcome, play};
use crate::{Target, run, seconds};

/// The statuses of `FRAME_TOO_LARGE` in RFC 6455 and of `RATE_LIMITED`.
const TOO_LARGE: Outcome = Closed("1009");
const FLOOD: Outcome = Closed("4261");

const ATTACKS: [(&str, Outcome); 7] = [
    ("fragments", TOO_LARGE),
    ("nothings", TOO_LARGE),
    ("pings", FLOOD),
    ("pongs", FLOOD),
    ("lane_pings", Taken),
    ("lane_credit", Taken),
    ("lanes_reset", FLOOD),
];

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
    play(&target, "hostile_websocket.py", &ATTACKS, seconds(1.0))?;
    println!("{} sockets were not read meanwhile", sockets.len());
    Ok(())
}
