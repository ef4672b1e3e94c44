//! Open and closed loops: members publish and read, and every delivery is checked.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use quoth_network::Side;
use tokio::sync::oneshot;

use super::conductor::Conducted;
use super::conversation::GivenUp;
use super::crew::{Crew, Seat, Seen};
use super::member::{Member, Shared, Source};
use super::meter::metered;
use super::read_back::Unread;
use super::stage::Stage;
use super::{Progress, conductor, tick};
use crate::outcome::{Check, Due, Tick};
use crate::profile::{Kind, Payload, Shape, WindowOf};
use crate::record::Recorder;
use crate::schedule::Line;
use crate::system::System;

/// How long acks may take behind the end.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// What is played.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// [`Kind::Open`] or [`Kind::Closed`].
    pub kind: Kind,
    /// Who talks where.
    pub shape: Shape,
    /// What a message is.
    pub payload: Payload,
    /// Conversations that were had, which are played in place of the rate, and how many times as fast.
    pub replay: Option<(Arc<Vec<Vec<Line>>>, f64)>,
    /// Before what counts.
    pub warm_up: Duration,
    /// What counts.
    pub duration: Duration,
    /// How long readers wait for what is missing when nothing more is published.
    pub patience: Duration,
    /// Of random arrivals and sizes.
    pub seed: u64,
    /// Threads for clients.
    pub threads: usize,
}

impl Traffic {
    /// Warm-up and what counts.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.warm_up + self.duration
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(self.warm_up, tick(self.length()))
    }
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Latencies and the timeline.
    pub recorder: Recorder,
    /// How late the bench's own timer was.
    pub timer: Histogram<u64>,
    /// What the history checker has found.
    pub check: Check,
    /// Datagrams that came to clients, for each delivery.
    pub datagrams_per_delivery: Option<f64>,
    /// Acks in what counts.
    pub acked: u64,
    /// Deliveries in what counts.
    pub delivered: u64,
    /// Length of what counts, in seconds.
    pub duration_s: f64,
    /// Processor time of the system's process in what counts, in seconds; `None` where it is not known.
    pub cpu_s: Option<f64>,
    /// What the bench's own clients took.
    pub clients: Clients,
    /// The process's most memory, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// The timeline, with what is known of the process.
    pub timeline: Vec<Tick>,
    /// What an open loop had to get done.
    pub due: Option<Due>,
    /// What nobody has read.
    pub unread: Vec<Unread>,
}

/// What clients took of the processors in what counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clients {
    /// Seconds of processor time for each second, all threads together.
    pub cpu: f64,
    /// The same of the thread that took most.
    pub busiest: f64,
}

/// Plays traffic on a system. `system` gives it as each thread sees it from its side of the network, within
/// the thread's runtime; `pid` is its process.
///
/// # Errors
/// When the system refuses something or goes away.
pub fn play<S: System>(
    traffic: &Traffic,
    system: impl Fn(Side) -> anyhow::Result<S> + Sync,
    pid: Option<u32>,
    progress: &Arc<Progress>,
) -> anyhow::Result<Measured> {
    let stage = Stage::new(&traffic.shape);
    let seats = stage.seats(&traffic.shape, traffic.threads);
    let (ready, all_ready) = mpsc::channel();
    let (seen, conducted) = std::thread::scope(|scope| {
        let mut crews = Vec::new();
        for (side, seats) in seats {
            let (stage, system, ready, progress) = (&stage, &system, ready.clone(), Arc::clone(progress));
            let system = move || system(side);
            crews.push(scope.spawn(move || crew(traffic, stage, seats, system, ready, progress)));
        }
        drop(ready);
        // A crew that fails says nothing, so nobody waits for it.
        let starts: Vec<oneshot::Sender<Instant>> = all_ready.iter().collect();
        let conducted =
            (starts.len() == crews.len()).then(|| conductor::conduct(traffic, &stage, starts, pid, progress));
        let seen = crews
            .into_iter()
            .map(|crew| crew.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))));
        (seen.collect::<Vec<anyhow::Result<Seen>>>(), conducted)
    });
    let (seen, conducted) = unless_failed(seen, conducted)?;
    let mut recorder = traffic.recorder();
    seen.iter().for_each(|seen| recorder.add(&seen.recorder));
    let (acked, delivered, duration_s) = recorder.counted_until(traffic.length());
    let datagrams: Option<u64> = seen.iter().map(|seen| seen.datagrams).sum();
    let clients = Clients {
        cpu: seen.iter().map(|seen| seen.cpu).sum(),
        busiest: seen.iter().map(|seen| seen.cpu).fold(0.0, f64::max),
    };
    let check = stage.check(seen.into_iter().flat_map(|seen| seen.checkers));
    let datagrams_per_delivery =
        datagrams.filter(|_| check.checked > 0).map(|datagrams| datagrams as f64 / check.checked as f64);
    let timeline = conducted.timeline(&recorder);
    let due = conducted.due();
    let (cpu_s, memory_peak_bytes) = (conducted.cpu_s(), conducted.memory_peak_bytes());
    let timer = conducted.timer;
    Ok(Measured {
        recorder,
        timer,
        check,
        datagrams_per_delivery,
        acked,
        delivered,
        duration_s,
        cpu_s,
        clients,
        memory_peak_bytes,
        timeline,
        due,
        unread: stage.unread(&traffic.shape),
    })
}

/// What was seen, if nothing has failed; else why, in the words of who has failed first and not of who has
/// given up for it.
fn unless_failed(
    seen: Vec<anyhow::Result<Seen>>,
    conducted: Option<anyhow::Result<Conducted>>,
) -> anyhow::Result<(Vec<Seen>, Conducted)> {
    let conducted = conducted.unwrap_or_else(|| Err(GivenUp.into()));
    let (mut whole, mut errors) = (Vec::new(), Vec::new());
    for seen in seen {
        match seen {
            Ok(seen) => whole.push(seen),
            Err(error) => errors.push(error),
        }
    }
    match conducted {
        Ok(conducted) if errors.is_empty() => Ok((whole, conducted)),
        conducted => {
            errors.extend(conducted.err());
            let first = errors.iter().position(|error| !error.is::<GivenUp>()).unwrap_or_default();
            Err(errors.swap_remove(first))
        }
    }
}

/// One thread of clients, from the first connection to the last.
fn crew<S: System>(
    traffic: &Traffic,
    stage: &Stage,
    seats: Vec<Seat>,
    system: impl Fn() -> anyhow::Result<S>,
    ready: mpsc::Sender<oneshot::Sender<Instant>>,
    progress: Arc<Progress>,
) -> anyhow::Result<Seen> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let system = Arc::new(system()?);
        let acks = system.acks();
        let crew = Crew::assemble(system, seats, &progress).await?;
        let (start, started) = oneshot::channel();
        ready.send(start)?;
        drop(ready);
        let epoch = started.await.map_err(|_| GivenUp)?;
        let shared = Arc::new(Shared {
            epoch,
            recorder: Mutex::new(traffic.recorder()),
            publishers: Arc::clone(&stage.publishers),
            stopped: Arc::clone(&stage.stopped),
            acks,
            patience: traffic.patience,
        });
        let source = |member: &Member| {
            let (payload, shape) = (traffic.payload.clone(), &traffic.shape);
            match (traffic.kind, shape.window_of) {
                (Kind::Closed, WindowOf::Publisher) => {
                    Source::Window { window: shape.window as usize, until: shape.window_until, payload }
                }
                (Kind::Closed, WindowOf::Connection) => {
                    Source::Turns { window: Arc::clone(&member.window), payload }
                }
                _ => Source::Due(stage.messages_of(member.publisher)),
            }
        };
        let driving = crew.drive(shared, source, traffic.length() + ACK_TIMEOUT + traffic.patience);
        let (seen, cpu) = metered(epoch + traffic.warm_up, epoch + traffic.length(), driving).await;
        Ok(Seen { cpu: cpu.unwrap_or_default(), ..seen? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Interrupted;

    #[test]
    fn who_has_failed_first_says_why() {
        let given_up = || Err(GivenUp.into());
        let crews = vec![given_up(), Err(anyhow::anyhow!("a client does not connect"))];
        let error = unless_failed(crews, None).expect_err("it failed");
        assert_eq!(error.to_string(), "a client does not connect");
        let error = unless_failed(vec![given_up()], Some(Err(Interrupted.into()))).expect_err("it failed");
        assert!(error.is::<Interrupted>());
        assert!(unless_failed(vec![given_up()], None).expect_err("it failed").is::<GivenUp>());
    }
}
