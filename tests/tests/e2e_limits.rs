//! What a client gets that reaches a limit. `docs/LIMITS.md` has them all, and names the test of each;
//! `table.rs` checks that.

#[path = "e2e_limits/at_once.rs"]
mod at_once;
#[path = "e2e_limits/deadlines.rs"]
mod deadlines;
#[path = "e2e_limits/floods.rs"]
mod floods;
#[path = "e2e_limits/pages.rs"]
mod pages;
#[path = "e2e_limits/rates.rs"]
mod rates;
#[path = "e2e_limits/requests.rs"]
mod requests;
#[path = "e2e_limits/sizes.rs"]
mod sizes;
#[path = "e2e_limits/table.rs"]
mod table;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quinn::{Connection, ConnectionError, Endpoint, ReadError};
use quoth_protocol::Code;
use quoth_protocol::frame::ServerFrame;
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::wire::{Frames, Peer, publish};

/// How long anything may take that is waited for. A bound of a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test against a server of its own with these limits.
fn with_limits<F: Future<Output = anyhow::Result<()>>>(
    limits: Limits,
    test: impl FnOnce(Endpoint, Arc<EmbeddedServer>) -> F,
) -> anyhow::Result<()> {
    let server = Arc::new(EmbeddedServer::start_with(limits)?);
    run(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        test(endpoint, server).await
    })
}

/// The same with the limits of development.
fn with_server<F: Future<Output = anyhow::Result<()>>>(
    test: impl FnOnce(Endpoint, Arc<EmbeddedServer>) -> F,
) -> anyhow::Result<()> {
    with_limits(Limits::default(), test)
}

fn run(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

/// Whatever is awaited, or an error in place of a hang.
async fn soon<T>(what: &str, comes: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, comes).await.with_context(|| format!("{what} has not come"))
}

/// A connection of `alice`, whom development knows.
async fn alice(endpoint: &Endpoint, server: &EmbeddedServer) -> anyhow::Result<Peer> {
    connect(endpoint, server, server.token()).await
}

async fn connect(endpoint: &Endpoint, server: &EmbeddedServer, token: &str) -> anyhow::Result<Peer> {
    soon("a Welcome", Peer::connect(endpoint, server.address(), &server.ca_file(), token)).await?
}

/// A token of a user who may do everything.
fn token_of(server: &EmbeddedServer, user: &str) -> anyhow::Result<String> {
    server.token_until(user, now_s()? + 3_600)
}

fn now_s() -> anyhow::Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}

/// The code with which a stream was reset.
fn reset_code(error: &anyhow::Error) -> anyhow::Result<Code> {
    match error.downcast_ref::<ReadError>() {
        Some(ReadError::Reset(code)) => Ok(Code(code.into_inner().try_into()?)),
        _ => bail!("no reset: {error:#}"),
    }
}

/// The code with which the server closes a connection.
async fn close_code(quic: &Connection) -> anyhow::Result<Code> {
    match soon("a close", quic.closed()).await? {
        ConnectionError::ApplicationClosed(close) => Ok(Code(close.error_code.into_inner().try_into()?)),
        other => bail!("not closed by the server: {other}"),
    }
}

/// Publishes bodies of this size with these numbers at once, and waits for the acks, which come in order. Gives
/// when the last one was stored, in milliseconds since 1970.
async fn publish_all(
    frames: &mut Frames,
    ns: std::ops::Range<u64>,
    body_bytes: usize,
) -> anyhow::Result<u64> {
    let acked = async {
        let mut stored_ms = 0;
        for n in ns.clone() {
            match frames.incoming.next().await? {
                Some(ServerFrame::Ack { n: acked, time_ms, duplicate: false, .. }) if acked == n => {
                    stored_ms = time_ms;
                }
                other => bail!("{other:?} in place of the ack of {n}"),
            }
        }
        Ok(stored_ms)
    };
    let sent = async {
        for n in ns.clone() {
            let frame = quoth_protocol::codec::encode(&publish(n, vec![b'x'; body_bytes]));
            frames.send.write_chunk(frame).await?;
        }
        Ok(())
    };
    let (stored_ms, ()) = soon("an ack", async { tokio::try_join!(acked, sent) }).await??;
    Ok(stored_ms)
}
