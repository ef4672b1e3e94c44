//! Moments that random load seldom meets, arranged on purpose.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use quoth_protocol::Seq;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_server::engine::Execution;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};
use turmoil::Builder;

use super::peer::Dial;
use super::plant::Plant;
use super::server::{HOST, Machine, seed_bytes};
use super::socket::{Impairment, Network};
use super::tls::Certificates;
use crate::wire::publish;

/// How long a read from the view takes: enough that a message is stored in its middle.
const READ: Duration = Duration::from_millis(400);

/// A conversation's first message is stored while a reader's first page is being read, which then comes without it. The
/// reader must get the message all the same, though none follows.
///
/// # Errors
/// When it does not.
pub fn stored_while_a_page_is_read(certificates: &Certificates) -> anyhow::Result<()> {
    let network = Network::new(0, Impairment { loss: 0.0, duplication: 0.0, mtu_bytes: 1_500 });
    let execution = Execution::Tasks { flush: Duration::from_millis(1), read: READ };
    let machine = Machine::new(0, network.clone(), certificates.clone(), execution, Plant::Nothing);
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
