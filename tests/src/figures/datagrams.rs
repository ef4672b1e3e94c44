//! Datagrams that a client gets for each message, when many of its conversations are written to at once.

use std::time::Duration;

use super::client::{Clients, Reader, WARM_UP, body, open_publisher, pace, runtime, warm_up_share};
use super::report::{Times, median};
use super::target::Target;
use super::{Plan, Report};

/// Conversations that are read on one connection, and written on another one.
const CONVERSATIONS: usize = 16;

/// How often a message is written to each of them, per second: 2,000 messages per second in all.
const RATE: u64 = 125;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let turn = Duration::from_secs(plan.turn_s);
    let quoth = Target::quoth(&plan.dir)?;
    for _ in 0..plan.rounds {
        let (per_message, ms) = deliver(&quoth, turn)?;
        report.round(per_message, format!("p50 {ms:.3} ms from publish to delivered"));
    }
    Ok(())
}

/// Datagrams for each message, and the median of the conversations' p50.
fn deliver(target: &Target, turn: Duration) -> anyhow::Result<(f64, f64)> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let names: Vec<String> = (0..CONVERSATIONS).map(|i| format!("datagrams-{i}")).collect();
        let peer = clients.connect().await?;
        let quic = peer.quic.clone();
        let mut readers = Vec::new();
        for name in &names {
            readers.push(Reader::open(peer, name).await?);
        }
        let peer = clients.connect().await?;
        let mut publishers = Vec::new();
        for name in &names {
            publishers.push(open_publisher(peer, name).await?);
        }
        let (count, mut stamps) = pace(1, RATE, turn + WARM_UP);
        let skipped = warm_up_share(count, turn).max(1);
        let mut stamps = stamps.remove(0);
        let sending = tokio::spawn(async move {
            while let Some(stamp) = stamps.recv().await {
                for publisher in &mut publishers {
                    publisher.publish([body(stamp)]).await?;
                }
            }
            // Their acks are few enough to stay unread, but dropping a publisher finishes its stream.
            anyhow::Ok(publishers)
        });
        let reading: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                let quic = quic.clone();
                tokio::spawn(async move {
                    let (mut times, mut seen, mut before) = (Times::default(), 0, 0);
                    let datagrams = || quic.stats().udp_rx.datagrams;
                    let delivered = |age| {
                        seen += 1;
                        match seen {
                            seen if seen < skipped => {}
                            seen if seen == skipped => before = datagrams(),
                            _ => times.push(age),
                        }
                    };
                    reader.read_all(count, delivered).await?;
                    anyhow::Ok((datagrams() - before, times))
                })
            })
            .collect();
        let (mut datagrams, mut p50s) = (Vec::new(), Vec::new());
        for task in reading {
            let (count, mut times) = task.await??;
            datagrams.push(count as f64);
            p50s.push(times.ms(0.5));
        }
        sending.await??;
        clients.close().await;
        let messages = (count - skipped) * CONVERSATIONS as u64;
        Ok((median(&datagrams) / messages as f64, median(&p50s)))
    })
}
