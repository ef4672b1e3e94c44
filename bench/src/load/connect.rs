//! Cold starts: from no connection to the first message that is acked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;

use super::at_once::at_once;
use super::meter::Meter;
use super::single::{Found, Server, Single, names, runtime};
use crate::payload::{Stamp, encode};
use crate::system::quic::Quic;
use crate::system::{Client as _, Part, Received, Receiver as _, Sender as _, System as _};

/// Connects each client twice: with nothing known, and with what the server has given it the first time.
///
/// # Errors
/// When a client is refused.
pub fn play(load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    runtime()?.block_on(async {
        let names = names(load.shape);
        let body = encode(Stamp { publisher: 0, n: 0, due: Duration::ZERO }, load.payload.mean_bytes(), None);
        let base = Arc::new(server.quic()?);
        let meter = Meter::start();
        let starts = at_once(load.progress, 0..load.shape.connections as usize, load.shape.at_once, |i| {
            let (name, body, base) = (names[i % names.len()].clone(), body.clone(), Arc::clone(&base));
            async move {
                let fresh = base.as_another_client()?;
                let full = first_message(&fresh, &name, &body).await.context("the first connection")?;
                let resumed = first_message(&fresh, &name, &body).await.context("the second connection")?;
                Ok((full, resumed))
            }
        });
        let starts = starts.await?;
        let mut found = Found::default();
        found.clients(meter);
        found.times("full", starts.iter().map(|(full, _)| *full));
        found.times("resumed", starts.iter().map(|(_, resumed)| *resumed));
        Ok(found)
    })
}

/// How long it takes from nothing to the ack of a message.
async fn first_message(system: &Quic, name: &str, body: &Bytes) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let client = system.connect().await?;
    let (mut sender, mut receiver) = client.enter(name, Part::Publish).await?;
    sender.publish(&mut vec![body.clone()]).await?;
    let mut received = Vec::new();
    receiver.receive(&mut received).await?;
    let took = started.elapsed();
    anyhow::ensure!(received == [Received::Acks(1)], "not one ack: {received:?}");
    client.close().await;
    Ok(took)
}
