//! Begins and ends a load, and watches the system's process meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;

use super::conversation::GivenUp;
use super::stage::Stage;
use super::traffic::Traffic;
use super::{Progress, tick};
use crate::outcome::{Due, Tick};
use crate::process::Usage;
use crate::profile::{Kind, Shape};
use crate::record::{Recorder, histogram};
use crate::{pacer, schedule};

/// From the last preparation to the first message.
const LEAD: Duration = Duration::from_millis(20);

/// What was seen beside the clients.
#[derive(Debug)]
pub(super) struct Conducted {
    pub(super) timer: Histogram<u64>,
    /// The process at each tick's begin, where it is known: (behind the epoch, usage).
    samples: Vec<(Duration, Usage)>,
    warm_up: Duration,
    /// Of an open loop: what was due behind the warm-up.
    due: Option<Due>,
}

/// What is due in what counts, counted while it is sent out.
#[derive(Debug, Default)]
struct Counted {
    messages: AtomicU64,
    deliveries: AtomicU64,
}

pub(super) fn conduct(
    traffic: &Traffic,
    stage: &Stage,
    starts: Vec<oneshot::Sender<Instant>>,
    pid: Option<u32>,
    progress: &Progress,
) -> anyhow::Result<Conducted> {
    let epoch = Instant::now() + LEAD;
    for start in starts {
        // One that is gone has failed, and tells so itself.
        let _is_gone = start.send(epoch);
    }
    let counted = Arc::new(Counted::default());
    let pacer = start_pacer(traffic, stage, epoch, &counted);
    let mut guard = Guard { stage, has_ended: false };
    let mut samples = Vec::new();
    let step = tick(traffic.length());
    let mut at = Duration::ZERO;
    loop {
        std::thread::sleep((epoch + at).saturating_duration_since(Instant::now()));
        progress.go_on()?;
        anyhow::ensure!(!stage.publishers.is_given_up(), GivenUp);
        progress.elapsed_ms.store(u64::try_from(at.as_millis())?.max(1), Relaxed);
        if let Some(pid) = pid {
            let usage =
                Usage::of(pid).with_context(|| format!("the process that is measured ({pid}) has ended"));
            samples.push((epoch.elapsed(), usage?));
        }
        if at >= traffic.length() {
            break;
        }
        at = (at + step).min(traffic.length());
    }
    stage.stop();
    guard.has_ended = true;
    let is_open = pacer.is_some();
    let timer = match pacer {
        Some(pacer) => pacer.join().map_err(|_| anyhow::anyhow!("the pacer has panicked"))?,
        None => histogram(),
    };
    let duration_s = traffic.duration.as_secs_f64();
    let per_s = |count: &AtomicU64| count.load(Relaxed) as f64 / duration_s;
    let due = is_open
        .then(|| Due { acks_per_s: per_s(&counted.messages), deliveries_per_s: per_s(&counted.deliveries) });
    Ok(Conducted { timer, samples, warm_up: traffic.warm_up, due })
}

/// Ends the clients when the load ends before its time.
struct Guard<'a> {
    stage: &'a Stage,
    has_ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.stage.stop();
            self.stage.publishers.give_up();
        }
    }
}

fn start_pacer(
    traffic: &Traffic,
    stage: &Stage,
    epoch: Instant,
    counted: &Arc<Counted>,
) -> Option<JoinHandle<Histogram<u64>>> {
    let letters = stage.take_letters();
    let (length, shape) = (traffic.length(), &traffic.shape);
    let (warm_up, counted) = (traffic.warm_up, Arc::clone(counted));
    let readers = readers_of(shape);
    let count = move |due: &schedule::Due| {
        if due.at >= warm_up {
            counted.messages.fetch_add(1, Relaxed);
            counted.deliveries.fetch_add(readers(due.publisher).into(), Relaxed);
        }
    };
    match (&traffic.replay, traffic.kind) {
        (Some((conversations, speed)), Kind::Open) => {
            let publishers = shape.conversations * shape.publishers;
            let messages = schedule::replay(conversations, publishers, *speed, length);
            Some(pacer::start(messages.into_iter().inspect(count), letters, epoch))
        }
        (None, Kind::Open) => {
            let messages = schedule::messages(shape, &traffic.payload, length, traffic.seed);
            Some(pacer::start(messages.inspect(count), letters, epoch))
        }
        _ => None,
    }
}

/// How many read what a publisher sends.
fn readers_of(shape: &Shape) -> impl Fn(u32) -> u32 + Send + use<> {
    let publishers = shape.publishers;
    let flowing = shape.conversations - shape.stalled;
    // Publishers that read are never stalled.
    let in_stalled = if shape.publishers_read { publishers } else { 0 };
    let readers = shape.readers();
    move |publisher| if publisher / publishers < flowing { readers } else { in_stalled }
}

impl Conducted {
    pub(super) fn due(&self) -> Option<Due> {
        self.due
    }

    /// Processor time in what counts, in seconds.
    pub(super) fn cpu_s(&self) -> Option<f64> {
        let from = self.samples.iter().find(|(at, _)| *at >= self.warm_up)?.1.cpu_s;
        Some(self.samples.last()?.1.cpu_s - from)
    }

    pub(super) fn memory_peak_bytes(&self) -> Option<u64> {
        self.samples.iter().map(|(_, usage)| usage.memory_bytes).max()
    }

    /// The recorder's timeline with the process beside it.
    pub(super) fn timeline(&self, recorder: &Recorder) -> Vec<Tick> {
        let mut timeline = recorder.timeline();
        for (tick, pair) in timeline.iter_mut().zip(self.samples.windows(2)) {
            let [(from, before), (to, after)] = pair else { continue };
            tick.memory_bytes = Some(after.memory_bytes);
            tick.cpu = Some((after.cpu_s - before.cpu_s) / (*to - *from).as_secs_f64());
        }
        timeline
    }
}
