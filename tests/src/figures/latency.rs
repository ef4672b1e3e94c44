//! Publish to delivered and durable: one sender, one reader, open loop.

use std::path::Path;
use std::time::Duration;

use super::append::{PlainFile, append_at_rate};
use super::client::{BODY_BYTES, Clients, Reader, WARM_UP, open_publisher, pace, runtime, warm_up_share};
use super::report::Times;
use super::target::Target;
use super::{Plan, Report};

/// Messages per second.
const RATE: u64 = 1_000;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let turn = Duration::from_secs(plan.turn_s);
    let (quoth, relay) = (Target::quoth(&plan.dir)?, Target::relay(&plan.dir)?);
    for _ in 0..plan.rounds {
        let mut floor = deliver(&relay, turn)?;
        let mut disk = append(&plan.dir, turn)?;
        let mut ours = deliver(&quoth, turn)?;
        let ratio = ours.ms(0.5) / (floor.ms(0.5) + disk.ms(0.5));
        let p99 = ours.ms(0.99) / (floor.ms(0.99) + disk.ms(0.99));
        let note = format!(
            "quoth {:.3} ms = ratio x (relay {:.3} + fdatasync {:.3}); p99 {:.3}, {:.3}, {:.3}: {p99:.2}",
            ours.ms(0.5),
            floor.ms(0.5),
            disk.ms(0.5),
            ours.ms(0.99),
            floor.ms(0.99),
            disk.ms(0.99)
        );
        report.round(ratio, note);
    }
    Ok(())
}

fn deliver(target: &Target, turn: Duration) -> anyhow::Result<Times> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let name = "latency";
        let publisher = open_publisher(clients.connect().await?, name).await?;
        let mut reader = Reader::open(clients.connect().await?, name).await?;
        let (count, mut stamps) = pace(1, RATE, turn + WARM_UP);
        let skipped = warm_up_share(count, turn);
        let sending = tokio::spawn(publisher.publish_stamps(stamps.remove(0), |_| {}));
        let mut times = Times::default();
        let mut seen = 0;
        reader
            .read_all(count, |age| {
                seen += 1;
                if seen > skipped {
                    times.push(age);
                }
            })
            .await?;
        sending.await??;
        clients.close().await;
        Ok(times)
    })
}

fn append(dir: &Path, turn: Duration) -> anyhow::Result<Times> {
    let dir = tempfile::tempdir_in(dir)?;
    let mut file = PlainFile::create(&dir.path().join("plain"))?;
    let times = append_at_rate(&mut file, &[b'x'; BODY_BYTES], RATE, turn)?;
    Ok(times.into_iter().collect())
}
