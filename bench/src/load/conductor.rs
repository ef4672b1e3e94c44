//! Begins and ends a load, and watches the system's process meanwhile.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;

use super::conversation::GivenUp;
use super::stage::Stage;
use super::traffic::Traffic;
use super::{Progress, tick};
use crate::outcome::Tick;
use crate::process::Usage;
use crate::profile::Kind;
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
    let pacer = start_pacer(traffic, stage, epoch);
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
    let timer = match pacer {
        Some(pacer) => pacer.join().map_err(|_| anyhow::anyhow!("the pacer has panicked"))?,
        None => histogram(),
    };
    Ok(Conducted { timer, samples, warm_up: traffic.warm_up })
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

fn start_pacer(traffic: &Traffic, stage: &Stage, epoch: Instant) -> Option<JoinHandle<Histogram<u64>>> {
    let letters = stage.take_letters();
    let (length, shape) = (traffic.length(), &traffic.shape);
    match (&traffic.replay, traffic.kind) {
        (Some((conversations, speed)), Kind::Open) => {
            let publishers = shape.conversations * shape.publishers;
            let messages = schedule::replay(conversations, publishers, *speed, length);
            Some(pacer::start(messages.into_iter(), letters, epoch))
        }
        (None, Kind::Open) => {
            let messages = schedule::messages(shape, &traffic.payload, length, traffic.seed);
            Some(pacer::start(messages, letters, epoch))
        }
        _ => None,
    }
}

impl Conducted {
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
