//! Connections that do nothing: what one costs.

use std::sync::Arc;
use std::time::Duration;

use super::at_once::at_once;
use super::meter::Meter;
use super::single::{Found, Server, Single, names, runtime};
use crate::profile::Transport;
use crate::system::{Client as _, Part, System};

/// From the last connection until memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);

/// Connects all, opens a conversation on each, and looks at the server's memory.
///
/// # Errors
/// When a client is refused, or the server's process is not known.
pub fn play(load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    let transport = load.shape.transport;
    runtime()?.block_on(async {
        match transport {
            Transport::Quic => play_on(Arc::new(server.quic()?), load, server).await,
            _ => play_on(Arc::new(server.websocket(transport)?), load, server).await,
        }
    })
}

async fn play_on<S: System>(system: Arc<S>, load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    let names = names(load.shape);
    let no_process =
        || anyhow::anyhow!("memory needs the server's process: give --server-pid, or leave --server out");
    // One client, so that what is made for the first of all is not counted.
    let first = system.connect().await?;
    let before = server.usage()?.ok_or_else(no_process)?;
    let started = std::time::Instant::now();
    let meter = Meter::start();
    let connections = 0..load.shape.connections as usize;
    let connected = at_once(load.progress, connections, load.shape.at_once, |i| {
        let (system, name) = (Arc::clone(&system), names[i % names.len()].clone());
        async move {
            let client = system.connect().await?;
            let member = client.enter(&name, Part::Read).await?;
            Ok((client, member))
        }
    });
    let connected = connected.await?;
    let connected_in = started.elapsed();
    let mut found = Found::default();
    found.clients(meter);
    tokio::time::sleep(SETTLE).await;
    let after = server.usage()?.ok_or_else(no_process)?;
    let count = connected.len() as f64;
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    found.value("bytes_per_connection", grown as f64 / count);
    found.value("connected_per_s", count / connected_in.as_secs_f64());
    let clients = connected.into_iter().map(|(client, _)| client).chain([first]);
    at_once(load.progress, clients, u32::MAX, |client| async move {
        client.close().await;
        Ok(())
    })
    .await?;
    Ok(found)
}
