//! Deliveries to many connections that read one conversation.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::client::{Clients, Reader, WARM_UP, body, open_publisher, runtime};
use super::machine::cpu_s;
use super::report::Rate;
use super::target::Target;
use super::{Plan, Report};

const READERS: u64 = 500;

/// Messages that the slowest reader may be behind.
const IN_FLIGHT: u64 = 64;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let turn = Duration::from_secs(plan.turn_s);
    for _ in 0..plan.rounds {
        let floor = deliver(&Target::relay(&plan.dir)?, turn)?;
        let ours = deliver(&Target::quoth(&plan.dir)?, turn)?;
        report.round(ours.per_second / floor.per_second, ours.against(&floor));
    }
    Ok(())
}

/// What readers and publisher share.
#[derive(Default)]
struct Progress {
    published: Cell<u64>,
    delivered: Cell<u64>,
    moved: Notify,
}

fn deliver(target: &Target, turn: Duration) -> anyhow::Result<Rate> {
    let tasks = LocalSet::new();
    let measured = tasks.run_until(async {
        let mut clients = Clients::of(target)?;
        let progress = Rc::new(Progress::default());
        for _ in 0..READERS {
            let mut reader = Reader::open(clients.connect().await?, "fanout").await?;
            let progress = Rc::clone(&progress);
            tokio::task::spawn_local(async move {
                while let Ok(count) = reader.read(|_| {}).await {
                    progress.delivered.set(progress.delivered.get() + count);
                    progress.moved.notify_one();
                }
            });
        }
        let mut publisher = open_publisher(clients.connect().await?, "fanout").await?;
        let begin = Instant::now() + WARM_UP;
        let end = begin + turn;
        let (mut at_begin, mut unacked) = (None, 0);
        while Instant::now() < end {
            if Instant::now() >= begin && at_begin.is_none() {
                at_begin = Some((progress.delivered.get(), cpu_s(target.pid())?, Instant::now()));
            }
            let behind = progress.published.get() - progress.delivered.get() / READERS;
            let room = IN_FLIGHT.saturating_sub(behind);
            if room > 0 {
                publisher.publish((0..room).map(|_| body(Instant::now()))).await?;
                progress.published.set(progress.published.get() + room);
                unacked += room;
            }
            tokio::select! {
                () = progress.moved.notified() => {}
                acks = publisher.acks(), if unacked > 0 => unacked -= acks? as u64,
            }
        }
        let (delivered, cpu, began) = at_begin.unwrap_or((0, 0.0, begin));
        let elapsed_s = began.elapsed().as_secs_f64();
        let delivered = (progress.delivered.get() - delivered) as f64;
        let cpu_us = (cpu_s(target.pid())? - cpu) / delivered * 1e6;
        let rate = Rate { per_second: delivered / elapsed_s, cpu_us };
        clients.close().await;
        anyhow::Ok(rate)
    });
    runtime()?.block_on(measured)
}
