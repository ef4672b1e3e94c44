//! Moments that random load seldom meets, arranged on purpose.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use quoth_client::{Client, Code, ConnectError, Reason, Seq, Start, State, Transport};
use quoth_protocol::frame::ServerFrame;
use quoth_server::engine::Execution;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use turmoil::Builder;

use super::peer::Dial;
use super::plant::Plant;
use super::server::{HOST, Machine, PANIC_TOKEN, seed_bytes};
use super::socket::{Impairment, Network};
use super::tls::Certificates;
use crate::wire::publish;

/// How long a read from the view takes: enough that a message is stored in its middle.
const READ: Duration = Duration::from_millis(400);

/// One way, when all round trips count.
const LATENCY: Duration = Duration::from_millis(50);

/// A conversation's first message is stored while a reader's first page is being read, which then comes
/// without it. The reader must get the message all the same, though none follows.
///
/// # Errors
/// When it does not.
pub fn stored_while_a_page_is_read(certificates: &Certificates) -> anyhow::Result<()> {
    let (network, machine) = calm(certificates, READ);
    let mut sim = Builder::new().rng_seed(0).simulation_duration(Duration::from_secs(30)).build();
    sim.host(HOST, move || {
        let server = machine.clone().run();
        async move { Ok(server.await?) }
    });
    let config = certificates.client()?;
    sim.client("reader", async move {
        let dial = Dial::new("reader".to_owned(), config, &network, seed_bytes(0, 1)).await?;
        Ok(read_first(dial).await?)
    });
    sim.run().map_err(|error| anyhow!("{error}"))
}

/// A client that reconnects has the ack of what it repeats one round trip behind the handshake, which takes
/// another.
///
/// # Errors
/// When it does not.
pub fn repeated_behind_hello(certificates: &Certificates) -> anyhow::Result<()> {
    let (network, machine) = calm(certificates, Duration::from_millis(1));
    let mut sim = Builder::new()
        .rng_seed(0)
        .simulation_duration(Duration::from_secs(30))
        .min_message_latency(LATENCY)
        .max_message_latency(LATENCY)
        .build();
    let running = machine.clone();
    sim.host(HOST, move || {
        let server = running.clone().run();
        async move { Ok(server.await?) }
    });
    let (config, ca_file) = (certificates.client()?, certificates.ca_file().to_owned());
    let crash = Rc::new(Cell::new(false));
    let (asks, dialled) = (Rc::clone(&crash), network.clone());
    sim.client("publisher", async move {
        let dial = Dial::new("publisher".to_owned(), config, &dialled, seed_bytes(0, 1)).await?;
        Ok(repeat_over_a_crash(dial, ca_file, &asks).await?)
    });
    while !sim.step().map_err(|error| anyhow!("{error}"))? {
        if crash.take() {
            sim.crash(HOST);
            machine.lose_power();
            network.forget_handshakes();
            sim.bounce(HOST);
        }
    }
    Ok(())
}

/// A client whose connection ends by a bug of the server tries again: it was no goodbye.
///
/// # Errors
/// When it does not.
pub fn fault_of_the_server(certificates: &Certificates) -> anyhow::Result<()> {
    let (network, machine) = calm(certificates, Duration::from_millis(1));
    let mut sim = Builder::new().rng_seed(0).simulation_duration(Duration::from_secs(30)).build();
    let running = machine.clone();
    sim.host(HOST, move || {
        let server = running.clone().run();
        async move { Ok(server.await?) }
    });
    let (config, ca_file) = (certificates.client()?, certificates.ca_file().to_owned());
    sim.client(PANIC_TOKEN, async move {
        let dial = Dial::new(PANIC_TOKEN.to_owned(), config, &network, seed_bytes(0, 1)).await?;
        match builder(dial, ca_file).connect().await {
            Err(ConnectError::TimedOut { last: Some(Reason::Code { code: Code::INTERNAL, .. }), .. }) => {
                Ok(())
            }
            other => Err(format!("{other:?}").into()),
        }
    });
    sim.run().map_err(|error| anyhow!("{error}"))?;
    ensure!(machine.sign_ins() > 1, "the client came once");
    Ok(())
}

/// A network without faults, and a server whose reads from the view take so long.
fn calm(certificates: &Certificates, read: Duration) -> (Network, Machine) {
    let network = Network::new(0, Impairment { loss: 0.0, duplication: 0.0, mtu_bytes: 1_500 });
    let execution = Execution::Tasks { flush: Duration::from_millis(1), read };
    let machine = Machine::new(0, network.clone(), certificates.clone(), execution, Plant::Nothing);
    (network, machine)
}

/// The SDK on a simulated host.
fn builder(dial: Dial, ca_file: PathBuf) -> quoth_client::Builder {
    Client::builder(dial.server.to_string())
        .ca_file(ca_file)
        .server_name("localhost")
        .token(dial.token)
        .endpoint(dial.endpoint)
        .transport(Transport::Quic)
        .rng_seed(1)
}

async fn repeat_over_a_crash(dial: Dial, ca_file: PathBuf, crash: &Cell<bool>) -> anyhow::Result<()> {
    let client = builder(dial, ca_file).connect().await?;
    let room = client.conversation("room")?;
    room.send("stored").await?;
    crash.set(true);
    // It meets a server that knows nothing of the connection and says so.
    let repeated = room.send_pipelined("repeated".into()).await?;
    client.states().wait_for(|state| *state == State::Connecting).await?;
    let connects_at = Instant::now();
    let ack = timeout(100 * LATENCY, repeated).await.context("no ack")??;
    let round_trips = connects_at.elapsed().div_duration_f64(2 * LATENCY);
    ensure!(ack.seq == Seq(2) && !ack.duplicate, "{ack:?}");
    ensure!((2.0..2.5).contains(&round_trips), "{round_trips:.1} round trips from nothing to the ack");
    client.close().await;
    Ok(())
}

async fn read_first(dial: Dial) -> anyhow::Result<()> {
    let peer = dial.connect(&mut StdRng::seed_from_u64(0)).await?;
    let (mut frames, _) = peer.open("room", 1, Some(Start::After(Seq::ZERO))).await?;
    // Opened comes when the bounds are read, and the first page is being read from then on.
    sleep(READ / 8).await;
    frames.write(&publish(1, "first")).await?;
    let event = async {
        loop {
            match frames.next().await? {
                Some(ServerFrame::Event(event)) => return Ok(event),
                Some(ServerFrame::Ack { .. }) => {}
                other => bail!("{other:?} in place of the event"),
            }
        }
    };
    let event =
        timeout(10 * READ, event).await.context("the message is stored and its reader sleeps on")??;
    ensure!(event.seq == Seq(1), "got {event:?}");
    Ok(())
}
