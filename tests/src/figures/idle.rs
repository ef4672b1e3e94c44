//! Memory of connections on which nothing happens.

use std::time::Duration;

use super::client::{Clients, Reader, runtime};
use super::machine::resident_kib;
use super::target::{Target, USER_STREAMS_MAX};
use super::{Plan, Report};

/// From the last connection to the look at the memory: delayed acks are sent, and what a handshake needed is dropped.
const SETTLE: Duration = Duration::from_secs(5);

/// Memory changes little from run to run, so there is one round.
pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let own = |i| format!("idle-{i}");
    let relay = connect(&Target::relay_with(&plan.dir, USER_STREAMS_MAX)?, plan.connections, own)?;
    let quoth = connect(&Target::quoth(&plan.dir)?, plan.connections, own)?;
    let shared = connect(&Target::quoth(&plan.dir)?, plan.connections, |_| "idle".to_owned())?;
    let note = format!(
        "quoth {quoth:.0} bytes, {shared:.0} when all have the same conversation open, relay {relay:.0} bytes"
    );
    report.round(quoth / relay, note);
    Ok(())
}

/// Memory for each connection, in bytes.
fn connect(target: &Target, connections: usize, name: impl Fn(usize) -> String) -> anyhow::Result<f64> {
    runtime()?.block_on(async {
        let mut clients = Clients::users_of(target)?;
        let mut readers = Vec::with_capacity(connections);
        let before = resident_kib(target.pid())?;
        for i in 0..connections {
            readers.push(Reader::open(clients.connect().await?, &name(i)).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let after = resident_kib(target.pid())?;
        clients.close().await;
        Ok(after.saturating_sub(before) as f64 * 1_024.0 / connections as f64)
    })
}
