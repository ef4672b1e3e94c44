//! All clients come back after the server was killed and started again.
//!
//! The clock begins when the server serves again and what the clients have missed is stored: how long a start
//! takes is a figure of its own (`restart_s`), and nothing of it is in the clients' time. Clients and floor
//! handshake alike: in full, unless the shape says that clients have kept their tickets, which the floor's
//! never have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quoth_protocol::Seq;
use quoth_protocol::frame::Start;

use super::Progress;
use super::at_once::at_once;
use super::backlog::{publish, read};
use super::meter::Meter;
use super::single::{Found, Server, Single, names, runtime};
use crate::check::Checker;
use crate::system::quic::{Quic, QuicClient};
use crate::system::{Client as _, Keeps as _, System as _};

/// A client between its connections: what it has kept.
#[derive(Debug)]
struct Away {
    system: Arc<Quic>,
    conversation: usize,
}

impl Away {
    /// With what it has got when it was there, or as one that has never been there.
    fn with_tickets(self, has_kept: bool) -> anyhow::Result<Self> {
        let system = if has_kept { self.system } else { Arc::new(self.system.as_another_client()?) };
        Ok(Self { system, ..self })
    }
}

/// Connects all clients, kills the server and starts it again at the same place with `restart`, publishes
/// what they have missed, and lets all come back.
///
/// # Errors
/// When a client is refused, or the server does not come back.
pub fn play(
    load: Single<'_>,
    server: Server<'_>,
    restart: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Found> {
    let (shape, names) = (load.shape, names(load.shape));
    runtime()?.block_on(async {
        let base = Arc::new(server.quic()?);
        let clients = at_once(load.progress, 0..shape.connections as usize, shape.at_once, |i| {
            let (base, conversation) = (Arc::clone(&base), i % names.len());
            let name = names[conversation].clone();
            async move {
                let system = Arc::new(base.as_another_client()?);
                let client = system.connect().await?;
                client.enter_from(&name, Some(Start::Live)).await?;
                Ok((Away { system, conversation }, client))
            }
        });
        let clients = clients.await?;
        let killed = Instant::now();
        restart()?;
        let restart_s = killed.elapsed().as_secs_f64();
        let (away, connections): (Vec<Away>, Vec<_>) = clients.into_iter().unzip();
        connections.iter().for_each(QuicClient::leave);
        let check = publish(load, &base, &names).await?;
        let away = away.into_iter().map(|away| away.with_tickets(shape.tickets));
        let away = away.collect::<anyhow::Result<Vec<Away>>>()?;
        let (started, meter) = (Instant::now(), Meter::start());
        let back = at_once(load.progress, away, shape.at_once, |Away { system, conversation }| {
            let (name, backlog) = (names[conversation].clone(), shape.backlog);
            async move {
                let begun = Instant::now();
                let client = system.connect().await?;
                let (sender, mut receiver) = client.enter_from(&name, Some(Start::After(Seq(0)))).await?;
                let publisher = u32::try_from(conversation)?;
                let mut checker = Checker::new(publisher..publisher + 1);
                read(&mut receiver, &mut checker, backlog.into()).await?;
                Ok((begun.elapsed(), checker, conversation, (client, sender, receiver)))
            }
        });
        let back = back.await?;
        let mut found = Found { check, ..Found::default() };
        found.value("back_s", started.elapsed().as_secs_f64());
        found.value("restart_s", restart_s);
        found.clients(meter);
        found.times("reconnect", back.iter().map(|(took, ..)| *took));
        let mut clients = Vec::new();
        for (_, checker, conversation, (client, ..)) in back {
            found.check.add(&checker.end([(u32::try_from(conversation)?, u64::from(shape.backlog))]));
            clients.push(client);
        }
        close(load.progress, clients).await?;
        Ok(found)
    })
}

/// The floor: as many bare handshakes, by clients that know nothing.
///
/// # Errors
/// When a handshake fails.
pub fn handshakes(load: Single<'_>, server: Server<'_>) -> anyhow::Result<Found> {
    runtime()?.block_on(async {
        let base = Arc::new(server.quic()?);
        let fresh: Vec<Quic> =
            (0..load.shape.connections).map(|_| base.as_another_client()).collect::<Result<_, _>>()?;
        let (started, meter) = (Instant::now(), Meter::start());
        let connected = at_once(load.progress, fresh, load.shape.at_once, |system| async move {
            let begun = Instant::now();
            Ok((system.handshake().await?, begun.elapsed()))
        });
        let connected = connected.await?;
        let mut found = Found::default();
        found.value("back_s", started.elapsed().as_secs_f64());
        found.clients(meter);
        found.times("reconnect", connected.iter().map(|(_, took): &(_, Duration)| *took));
        for (connection, _) in &connected {
            connection.close(0_u32.into(), b"");
        }
        base.wait_idle().await;
        Ok(found)
    })
}

async fn close(progress: &Progress, clients: Vec<QuicClient>) -> anyhow::Result<()> {
    let closed = at_once(progress, clients, u32::MAX, |client| async move {
        client.close().await;
        Ok(())
    });
    closed.await.map(|_| ())
}
