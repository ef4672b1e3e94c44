//! What clients take of a processor. By thread: one that is busy is late with all that it does.

use std::pin::pin;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Processor time of the calling thread, from the meter's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    busy: Duration,
    at: Instant,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { busy: busy(), at: Instant::now() }
    }

    /// Seconds of processor time for each second since then.
    pub(super) fn share(self) -> f64 {
        busy().saturating_sub(self.busy).as_secs_f64() / self.at.elapsed().as_secs_f64()
    }
}

/// Does work on a runtime of this thread alone, and meters it from one instant to another, or to its end.
/// `None` when it ends before.
pub(super) async fn metered<T>(
    from: Instant,
    to: Instant,
    work: impl Future<Output = T>,
) -> (T, Option<f64>) {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return (done, None),
        () = tokio::time::sleep_until(from.into()) => {}
    }
    let meter = Meter::start();
    tokio::select! {
        biased;
        done = &mut work => return (done, Some(meter.share())),
        () = tokio::time::sleep_until(to.into()) => {}
    }
    let share = meter.share();
    (work.await, Some(share))
}

fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_counts_is_from_one_instant_to_another() {
        const MS: Duration = Duration::from_millis(1);
        let begun = Instant::now();
        let busy_then_idle = async {
            while begun.elapsed() < 30 * MS {}
            tokio::time::sleep(100 * MS).await;
        };
        let ((), share) = metered(begun, begun + 200 * MS, busy_then_idle).await;
        let share = share.expect("it was metered");
        // Other processes may take the processor away from the busy part, never from the idle one.
        assert!(share > 0.0 && share < 0.6, "{share}");
        let (_, none) = metered(begun + 10_000 * MS, begun + 20_000 * MS, std::future::ready(())).await;
        assert_eq!(none, None);
    }
}
