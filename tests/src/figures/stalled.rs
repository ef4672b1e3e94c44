//! What readers that do not read cost the others: memory, and time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quoth_bench::outcome::median;

use super::client::{Clients, Reader, WARM_UP, open_publisher, pace, runtime, warm_up_share};
use super::machine::resident_kib;
use super::report::Times;
use super::target::Target;
use super::{Plan, Report};

/// Readers of the conversation whose memory is measured.
const READERS: usize = 500;

/// Messages per second of that conversation, and of one that is stalled beside others.
const RATE: u64 = 1_000;

/// Conversations beside the stalled one, on the same connection, and their messages per second together.
const OTHERS: usize = 16;
const OTHERS_RATE: u64 = 1_000;

/// Memory is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// Memory with stalled readers, over memory with as many that read.
pub(super) fn memory(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let duration = Duration::from_secs(plan.long_s);
    let reading = serve_readers(&Target::quoth(&plan.dir)?, duration, false)?;
    let stalled = serve_readers(&Target::quoth(&plan.dir)?, duration, true)?;
    let note = format!(
        "{:.1} MiB with stalled readers, {:.1} MiB with such that read",
        stalled / 1024.0,
        reading / 1024.0
    );
    report.round(stalled / reading, note);
    Ok(())
}

/// The server's memory in the last quarter of the time, in KiB.
fn serve_readers(target: &Target, duration: Duration, stalls: bool) -> anyhow::Result<f64> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let mut stalled = Vec::new();
        for _ in 0..READERS {
            let mut reader = Reader::open(clients.connect().await?, "stalled").await?;
            if stalls {
                stalled.push(reader);
            } else {
                tokio::spawn(async move { while reader.read(|_| {}).await.is_ok() {} });
            }
        }
        let publisher = open_publisher(clients.connect().await?, "stalled").await?;
        let (_, mut stamps) = pace(1, RATE, duration);
        let sending = tokio::spawn(publisher.publish_stamps(stamps.remove(0), |_| {}));
        let mut looks = Vec::new();
        while !sending.is_finished() {
            tokio::time::sleep(LOOK).await;
            looks.push(resident_kib(target.pid())? as f64);
        }
        sending.await??;
        clients.close().await;
        Ok(median(&looks[looks.len() * 3 / 4..]))
    })
}

/// p99 of conversations beside a stalled one, over the same beside one that is read.
pub(super) fn isolation(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let turn = Duration::from_secs(plan.turn_s);
    let quoth = Target::quoth(&plan.dir)?;
    for _ in 0..plan.rounds {
        let mut clean = deliver_beside(&quoth, turn, false)?;
        let mut beside_stalled = deliver_beside(&quoth, turn, true)?;
        let (p99, clean_p99) = (beside_stalled.ms(0.99), clean.ms(0.99));
        let note = format!(
            "p99 {p99:.3} ms beside a stalled one, {clean_p99:.3} ms beside one that is read; p50 {:.3}, {:.3}",
            beside_stalled.ms(0.5),
            clean.ms(0.5)
        );
        report.round(p99 / clean_p99, note);
    }
    Ok(())
}

fn deliver_beside(target: &Target, turn: Duration, stalls: bool) -> anyhow::Result<Times> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let times = Arc::new(Mutex::new(Times::default()));
        let mut publishers = Vec::new();
        let peer = clients.connect().await?;
        let names: Vec<String> = (0..OTHERS).map(|i| format!("other-{i}")).collect();
        for name in names.iter().map(String::as_str).chain(["stalled"]) {
            publishers.push(open_publisher(peer, name).await?);
        }
        let peer = clients.connect().await?;
        let (count, mut stamps) = pace(OTHERS, OTHERS_RATE, turn + WARM_UP);
        let (_, stalled_stamps) = pace(1, RATE, turn + WARM_UP);
        stamps.extend(stalled_stamps);
        let skipped = warm_up_share(count, turn);
        let mut reading = Vec::new();
        for name in &names {
            let mut reader = Reader::open(peer, name).await?;
            let times = Arc::clone(&times);
            reading.push(tokio::spawn(async move {
                let mut seen = 0;
                reader
                    .read_all(count, |age| {
                        seen += 1;
                        if seen > skipped {
                            times.lock().push(age);
                        }
                    })
                    .await
            }));
        }
        let mut beside = Reader::open(peer, "stalled").await?;
        let beside = tokio::spawn(async move {
            if stalls {
                std::future::pending::<()>().await;
            }
            while beside.read(|_| {}).await.is_ok() {}
        });
        let sending: Vec<_> = publishers
            .into_iter()
            .zip(stamps)
            .map(|(publisher, stamps)| tokio::spawn(publisher.publish_stamps(stamps, |_| {})))
            .collect();
        for task in sending.into_iter().chain(reading) {
            task.await??;
        }
        beside.abort();
        clients.close().await;
        let times = times.lock().clone();
        Ok(times)
    })
}
