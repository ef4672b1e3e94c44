//! Readers that come back to a backlog, all at once.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use quoth_protocol::Seq;
use quoth_protocol::frame::Start;

use super::at_once::at_once;
use super::backlog::{publish, read};
use super::meter::Meter;
use super::single::{Found, Server, Single, names, runtime};
use crate::check::Checker;
use crate::outcome::Check;
use crate::system::{Client as _, Keeps as _, System as _};

/// Publishes the backlog and lets all readers catch up. A relay keeps nothing: there the readers are present
/// while it is published, which is the least that a delivery of as many messages takes.
///
/// # Errors
/// When a client is refused or a message does not come.
pub fn play(load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    let (shape, names) = (load.shape, names(load.shape));
    let readers_each = shape.members - shape.publishers;
    let readers = shape.conversations * readers_each;
    runtime()?.block_on(async {
        let system = Arc::new(server.quic()?);
        let mut check = if server.stores { publish(load, &system, &names).await? } else { Check::default() };
        let clients = at_once(load.progress, 0..readers, shape.at_once, |_| {
            let system = Arc::clone(&system);
            async move { system.connect().await }
        });
        let clients = clients.await?;
        let before = server.usage()?;
        let (mut begun, from) =
            (Instant::now(), if server.stores { Start::After(Seq(0)) } else { Start::Live });
        let mut tasks = Vec::new();
        for (i, client) in (0..readers).zip(clients) {
            let conversation = i % shape.conversations;
            let (sender, receiver) = client.enter_from(&names[conversation as usize], Some(from)).await?;
            tasks.push((conversation, client, sender, receiver));
        }
        if !server.stores {
            begun = Instant::now();
        }
        let meter = Meter::start();
        let backlog = u64::from(shape.backlog);
        let reading = at_once(
            load.progress,
            tasks,
            u32::MAX,
            |(conversation, client, sender, mut receiver)| async move {
                let mut checker = Checker::new(conversation..conversation + 1);
                let bytes = read(&mut receiver, &mut checker, backlog).await?;
                Ok((conversation, checker, bytes, begun.elapsed(), (client, sender)))
            },
        );
        let publishing =
            async { if server.stores { Ok(Check::default()) } else { publish(load, &system, &names).await } };
        let (read, published) = tokio::join!(reading, publishing);
        check.add(&published?);
        let read = read?;
        let took_s = begun.elapsed().as_secs_f64();
        let after = server.usage()?;
        let mut found = Found { check, ..Found::default() };
        found.clients(meter);
        let bytes: u64 = read.iter().map(|(_, _, bytes, ..)| bytes).sum();
        found.value("caught_up_s", took_s);
        found.value("delivered_per_s", (u64::from(readers) * backlog) as f64 / took_s);
        found.value("megabytes_per_s", bytes as f64 / 1e6 / took_s);
        if let (Some(before), Some(after)) = (before, after) {
            found.value("memory_grown_bytes", after.memory_bytes.saturating_sub(before.memory_bytes) as f64);
            found.value("cpu", (after.cpu_s - before.cpu_s) / took_s);
        }
        found.times("catchup", read.iter().map(|(_, _, _, took, _)| *took));
        let mut clients = Vec::new();
        for (conversation, checker, _, _, (client, _)) in read {
            found.check.add(&checker.end([(conversation, backlog)]));
            clients.push(client);
        }
        at_once(load.progress, clients, u32::MAX, |client| async move {
            client.close().await;
            Ok(())
        })
        .await
        .context("the clients do not close")?;
        Ok(found)
    })
}
