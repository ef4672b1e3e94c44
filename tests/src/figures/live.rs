//! Live traffic, beside which something else goes on or nothing does.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::client::{Clients, Reader, WARM_UP, open_publisher, pace, runtime, warm_up_share};
use super::report::Times;
use super::target::Target;

/// Conversations, each with a publisher and a reader, and their messages per second together.
const CONVERSATIONS: usize = 16;
const RATE: u64 = 1_000;

/// What live clients have met.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// From a publish to its ack.
    pub(super) acks: Times,
    /// From a publish to its delivery.
    pub(super) deliveries: Times,
}

impl Live {
    /// Publishes and reads for a while.
    pub(super) fn turn(&mut self, target: &Target, turn: Duration) -> anyhow::Result<()> {
        let (acks, deliveries) = runtime()?.block_on(turn_of(target, turn))?;
        self.acks.extend(acks);
        self.deliveries.extend(deliveries);
        Ok(())
    }

    /// Takes what other ones have met.
    pub(super) fn add(&mut self, other: Self) {
        self.acks.extend(other.acks);
        self.deliveries.extend(other.deliveries);
    }

    /// Turns for as long as a work takes that is done meanwhile, on a thread of its own; gives what that
    /// gives.
    pub(super) fn during<T: Send>(
        &mut self,
        target: &Target,
        turn: Duration,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                self.turn(target, turn)?;
            }
            working.join().map_err(|_| anyhow::anyhow!("the work panicked"))?
        })
    }
}

async fn turn_of(target: &Target, turn: Duration) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let mut clients = Clients::of(target)?;
    let names: Vec<String> = (0..CONVERSATIONS).map(|number| format!("live-{number}")).collect();
    let (acks, deliveries) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
    let (mut publishers, mut readers) = (Vec::new(), Vec::new());
    let peer = clients.connect().await?;
    for name in &names {
        publishers.push(open_publisher(peer, name).await?);
    }
    let peer = clients.connect().await?;
    for name in &names {
        readers.push(Reader::open(peer, name).await?);
    }
    let (count, stamps) = pace(CONVERSATIONS, RATE, turn + WARM_UP);
    let skipped = warm_up_share(count, turn);
    let mut tasks = Vec::new();
    for (publisher, stamps) in publishers.into_iter().zip(stamps) {
        let acked = behind_the_warm_up(skipped, &acks);
        tasks.push(tokio::spawn(publisher.publish_stamps(stamps, acked)));
    }
    for mut reader in readers {
        let delivered = behind_the_warm_up(skipped, &deliveries);
        tasks.push(tokio::spawn(async move { reader.read_all(count, delivered).await }));
    }
    for task in tasks {
        task.await??;
    }
    clients.close().await;
    Ok((std::mem::take(&mut *acks.lock()), std::mem::take(&mut *deliveries.lock())))
}

/// Takes times, but for so many of the first ones.
fn behind_the_warm_up(
    skipped: u64,
    times: &Arc<Mutex<Vec<Duration>>>,
) -> impl FnMut(Duration) + Send + use<> {
    let (times, mut seen) = (Arc::clone(times), 0);
    move |time| {
        seen += 1;
        if seen > skipped {
            times.lock().push(time);
        }
    }
}
