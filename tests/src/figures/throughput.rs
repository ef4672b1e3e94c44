//! Durable publishes in closed loop over QUIC. Every conversation has a publisher and, on another connection, a reader.

use std::time::{Duration, Instant};

use super::client::{Clients, Reader, WARM_UP, body, open_publisher, runtime};
use super::machine::cpu_s;
use super::report::Rate;
use super::target::Target;
use super::{Plan, Report};

const CONVERSATIONS: usize = 64;
const IN_FLIGHT: usize = 64;

/// Conversations that share a connection.
const PER_CONNECTION: usize = 8;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let turn = Duration::from_secs(plan.turn_s);
    let (quoth, relay) = (Target::quoth(&plan.dir)?, Target::relay(&plan.dir)?);
    for _ in 0..plan.rounds {
        let floor = publish(&relay, turn)?;
        let ours = publish(&quoth, turn)?;
        report.round(ours.per_second / floor.per_second, ours.against(&floor));
    }
    Ok(())
}

fn publish(target: &Target, turn: Duration) -> anyhow::Result<Rate> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let mut publishers = Vec::new();
        for i in 0..CONVERSATIONS / PER_CONNECTION {
            let names: Vec<String> =
                (0..PER_CONNECTION).map(|j| format!("throughput-{}", i * PER_CONNECTION + j)).collect();
            let peer = clients.connect().await?;
            for name in &names {
                publishers.push(open_publisher(peer, name).await?);
            }
            let peer = clients.connect().await?;
            for name in &names {
                let mut reader = Reader::open(peer, name).await?;
                tokio::spawn(async move { while reader.read(|_| {}).await.is_ok() {} });
            }
        }
        let begin = Instant::now() + WARM_UP;
        let end = begin + turn;
        let cpu_before = cpu_s(target.pid())?;
        let tasks: Vec<_> = publishers
            .into_iter()
            .map(|mut publisher| {
                tokio::spawn(async move {
                    let mut acked = 0;
                    publisher.publish((0..IN_FLIGHT).map(|_| body(Instant::now()))).await?;
                    while Instant::now() < end {
                        let count = publisher.acks().await?;
                        if Instant::now() >= begin {
                            acked += count;
                        }
                        publisher.publish((0..count).map(|_| body(Instant::now()))).await?;
                    }
                    anyhow::Ok(acked)
                })
            })
            .collect();
        let mut acked = 0;
        for task in tasks {
            acked += task.await??;
        }
        let cpu_s = cpu_s(target.pid())? - cpu_before;
        let share = turn.as_secs_f64() / (turn + WARM_UP).as_secs_f64();
        clients.close().await;
        Ok(Rate { per_second: acked as f64 / turn.as_secs_f64(), cpu_us: cpu_s * share / acked as f64 * 1e6 })
    })
}
