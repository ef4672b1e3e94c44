//! A steady rate through rotations of log and view: the longest ack.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::append::{PlainFile, append_at_rate};
use super::client::{BODY_BYTES, Clients, open_publisher, pace, runtime};
use super::report::Times;
use super::target::Target;
use super::{Plan, Report};

/// Publishes per second.
const RATE: u64 = 20_000;

const CONVERSATIONS: usize = 64;

/// Conversations that share a connection.
const PER_CONNECTION: usize = 8;

/// Server and plain file take turns so long, so that both meet the same disk; the server runs on all the
/// while.
const TURN: Duration = Duration::from_secs(10);

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let quoth = Target::quoth(&plan.dir)?;
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let mut file = PlainFile::create(&dir.path().join("plain"))?;
    let acks = Arc::new(Mutex::new(Times::default()));
    let mut flushes = Times::default();
    let turn = TURN.min(Duration::from_secs(plan.long_s));
    for _ in 0..plan.long_s.div_ceil(turn.as_secs()) {
        publish(&quoth, turn, &acks)?;
        append_at_rate(&mut file, &[b'x'; BODY_BYTES], RATE, turn)?
            .into_iter()
            .for_each(|time| flushes.push(time));
    }
    let mut acks = acks.lock();
    let note = format!(
        "{} acks: longest {:.1} ms, p99.9 {:.1}, p50 {:.2}; {} bare fdatasync: longest {:.1} ms, p99.9 {:.1}, p50 {:.2}",
        acks.len(),
        acks.ms(1.0),
        acks.ms(0.999),
        acks.ms(0.5),
        flushes.len(),
        flushes.ms(1.0),
        flushes.ms(0.999),
        flushes.ms(0.5)
    );
    report.round(acks.ms(1.0) / flushes.ms(1.0), note);
    Ok(())
}

fn publish(target: &Target, turn: Duration, acks: &Arc<Mutex<Times>>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut clients = Clients::of(target)?;
        let mut publishers = Vec::new();
        for i in 0..CONVERSATIONS / PER_CONNECTION {
            let peer = clients.connect().await?;
            for j in 0..PER_CONNECTION {
                let name = format!("steady-{}", i * PER_CONNECTION + j);
                publishers.push(open_publisher(peer, &name).await?);
            }
        }
        let (_, stamps) = pace(CONVERSATIONS, RATE, turn);
        let sending: Vec<_> = publishers
            .into_iter()
            .zip(stamps)
            .map(|(publisher, stamps)| {
                let acks = Arc::clone(acks);
                tokio::spawn(publisher.publish_stamps(stamps, move |time| acks.lock().push(time)))
            })
            .collect();
        for task in sending {
            task.await??;
        }
        clients.close().await;
        Ok(())
    })
}
