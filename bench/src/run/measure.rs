//! One system in one round.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quoth_network::Side;
use quoth_protocol::frame::{Durability, Welcome};

use super::contender::{Contender, Subject, What};
use super::links::Controls;
use super::{Measurement, Plan};
use crate::figure::{PUBLISH, TIMER};
use crate::floor::append;
use crate::load::read_back::read_back;
use crate::load::single::{Found, Server, Single};
use crate::load::traffic::{Measured, Traffic, play};
use crate::load::{Progress, catchup, connect, idle, storm};
use crate::outcome::doubt::{QUIET_P50, QUIET_P99};
use crate::outcome::{Due, Round};
use crate::process::{Process, needing};
use crate::profile::{Floor, Kind, Transport, WindowOf};
use crate::record::latency;
#[cfg(feature = "rivals")]
use crate::rival::{Rival, StartOptions};
use crate::schedule;
use crate::system::websocket::WebSocket;
use crate::target::{Quoth, QuothOptions, Relay, Spoken};

/// Whom the certificates of the bench's own servers are for.
const LOCALHOST: &str = "localhost";

pub(super) fn measure(
    plan: &Plan,
    contender: &Contender,
    controls: &Controls,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    match &contender.what {
        What::Quoth { .. } => quoth(plan, contender, progress, seed),
        What::Floor(Floor::Relay) => relay(plan, contender, controls.of_relay(), progress, seed),
        What::Floor(Floor::Websocket) => websocket(plan, contender, progress, seed),
        What::Floor(Floor::Append) => append_floor(plan, contender, progress, plan.seed.wrapping_add(seed)),
        #[cfg(not(feature = "rivals"))]
        What::Rival(kind) => match *kind {},
        #[cfg(feature = "rivals")]
        What::Rival(kind) => rival(plan, contender, *kind, progress, seed),
    }
}

fn traffic(plan: &Plan, contender: &Contender, seed: u64) -> Traffic {
    let profile = &plan.profile;
    Traffic {
        kind: profile.kind,
        shape: contender.shape.clone(),
        payload: profile.payload.clone(),
        replay: plan.replay.as_ref().map(|replay| (Arc::clone(&replay.conversations), replay.speed)),
        warm_up: Duration::from_secs_f64(profile.warm_up_s),
        duration: Duration::from_secs_f64(profile.duration_s),
        patience: plan.patience,
        seed: plan.seed.wrapping_add(seed),
        threads: plan.threads,
    }
}

fn quoth(
    plan: &Plan,
    contender: &Contender,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    match &plan.subject {
        Subject::Own(options) => own(plan, contender, options, progress, seed),
        Subject::Running(running) => {
            let restart = || {
                anyhow::bail!(
                    "a storm kills its server: leave --server out, so that the bench starts one of its own"
                )
            };
            let server = running.server();
            needing(server.pid, progress, || frames(plan, contender, server, restart, progress, seed))
                .map_err(|error| running.explain(error))
        }
    }
}

/// A server of our own.
fn own(
    plan: &Plan,
    contender: &Contender,
    options: &QuothOptions,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    let open_conversations = contender.shape.members_per_connection();
    let mut options = options.clone();
    if contender.shape.transport == Transport::WebsocketPlain {
        options.settings.push("server.plain_http=true".to_owned());
    }
    let mut running = Quoth::start(&plan.place, &options, open_conversations)?;
    let (address, pid) = (running.address(), Some(running.pid()));
    let (ca_file, token) = (running.ca_file().to_owned(), running.token().to_owned());
    let server = Server { address, name: LOCALHOST, ca_file: &ca_file, token: &token, pid, stores: true };
    // A storm ends it on purpose.
    let needed = pid.filter(|_| plan.profile.kind != Kind::Storm);
    let measured =
        needing(needed, progress, || frames(plan, contender, server, || running.restart(), progress, seed));
    measured.map_err(|error| running.explain(error))
}

fn relay(
    plan: &Plan,
    contender: &Contender,
    congestion_control: &str,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    /// What a chat's client is allowed; each takes memory in quinn's tables.
    const CONVERSATIONS: u32 = 48;
    /// Beside the conversations': the control stream, and some that are being closed.
    const MORE_STREAMS: u32 = 8;
    let streams = contender.shape.members_per_connection().max(CONVERSATIONS) + MORE_STREAMS;
    let mut relay = Relay::start(&plan.place, Spoken::Quic { streams, congestion_control })?;
    let (address, pid, ca_file) = (relay.address(), Some(relay.pid()), relay.ca_file());
    let server = Server { address, name: LOCALHOST, ca_file: &ca_file, token: "", pid, stores: false };
    needing(pid, progress, || frames(plan, contender, server, || Ok(()), progress, seed))
        .map_err(|error| relay.explain(error))
}

/// A server that speaks Quoth's frames, under any kind of load.
fn frames(
    plan: &Plan,
    contender: &Contender,
    server: Server<'_>,
    restart: impl FnOnce() -> anyhow::Result<()> + Send,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    let load = Single { shape: &contender.shape, payload: &plan.profile.payload, progress };
    let welcome = server
        .stores
        .then(|| on_clients_side(plan, || server.welcome(contender.shape.transport, progress)))
        .transpose()?;
    let measured = match plan.profile.kind {
        Kind::Open | Kind::Closed => {
            let enter = |side| plan.place.enter(side);
            let traffic = traffic(plan, contender, seed);
            let transport = contender.shape.transport;
            let measured = if transport == Transport::Quic {
                play(&traffic, |side| enter(side).and_then(|()| server.quic()), server.pid, progress)?
            } else {
                let system = |side| enter(side).and_then(|()| server.websocket(transport));
                play(&traffic, system, server.pid, progress)?
            };
            let unread = if server.stores { measured.unread.clone() } else { Vec::new() };
            let mut measurement = measurement(contender.shape.readers(), measured);
            if !unread.is_empty() {
                let read = || read_back(server, transport, unread, plan.patience, progress);
                measurement
                    .round
                    .check
                    .add(&on_clients_side(plan, read).context("what was acked is not read back")?);
            }
            measurement
        }
        kind => on_clients_side(plan, || single(kind, load, server, restart))?.into(),
    };
    let durability = welcome.as_ref().map(|welcome| meaning(welcome.durability).to_owned());
    // It names its software too, which the system's name does already.
    let version = welcome.map(|Welcome { server, .. }| match server.split_once('/') {
        Some((_, version)) => version.to_owned(),
        None => server,
    });
    Ok(Measurement { version, durability, ..measured })
}

/// Does work on a thread of its own, which alone is on the clients' side.
pub(super) fn on_clients_side<T: Send>(
    plan: &Plan,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            plan.place.enter(Side::Client)?;
            work()
        });
        done.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the clients have panicked")))
    })
}

/// What an ack means, in a sentence.
fn meaning(durability: Durability) -> &'static str {
    match durability {
        Durability::Stored => "stored: flushed to the disk (fdatasync) before the ack",
        Durability::Memory => "memory: acked when taken in, and gone when the process ends",
    }
}

impl From<Found> for Measurement {
    fn from(Found { values, times, check }: Found) -> Self {
        let latencies = times.iter().map(|(name, times)| (name.clone(), latency(times))).collect();
        let round = Round { values, latencies, check, ..Round::default() };
        Self { round, histograms: times, ..Self::default() }
    }
}

fn websocket(
    plan: &Plan,
    contender: &Contender,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    let mut relay = Relay::start(&plan.place, Spoken::WebSocket)?;
    let address = relay.address();
    let system = |side| {
        plan.place.enter(side)?;
        Ok(WebSocket::new(address))
    };
    let pid = Some(relay.pid());
    needing(pid, progress, || play(&traffic(plan, contender, seed), system, pid, progress))
        .map(|measured| measurement(contender.shape.readers(), measured))
        .map_err(|error| relay.explain(error))
}

fn single(
    kind: Kind,
    load: Single<'_>,
    server: Server<'_>,
    restart: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Found> {
    match kind {
        Kind::Catchup => catchup::play(load, server),
        Kind::Storm if server.stores => storm::play(load, server, restart),
        Kind::Storm => storm::handshakes(load, server),
        Kind::Idle => idle::play(load, server),
        Kind::Connect => connect::play(load, server),
        Kind::Open | Kind::Closed => unreachable!("they are traffic"),
    }
}

#[cfg(feature = "rivals")]
fn rival(
    plan: &Plan,
    contender: &Contender,
    kind: crate::rival::Kind,
    progress: &Arc<Progress>,
    seed: u64,
) -> anyhow::Result<Measurement> {
    let command = |program: &std::path::Path| plan.place.server_command(program);
    let options = StartOptions { dir: plan.place.folder(), listen: plan.place.listen(), command: &command };
    let mut rival = Rival::start(kind, &options)?;
    let played = rival.system();
    let system = |side| {
        plan.place.enter(side)?;
        Ok(played.clone())
    };
    let pid = Some(rival.pid());
    let measured = needing(pid, progress, || play(&traffic(plan, contender, seed), system, pid, progress));
    let measured = measured.map_err(|error| rival.explain(error))?;
    Ok(Measurement {
        version: Some(rival.version().to_owned()),
        ..measurement(contender.shape.readers(), measured)
    })
}

/// The disk alone. In a closed loop all messages that may be on their way share a flush.
fn append_floor(
    plan: &Plan,
    contender: &Contender,
    progress: &Progress,
    seed: u64,
) -> anyhow::Result<Measurement> {
    let dir = plan.place.folder_for("append")?;
    let shape = &contender.shape;
    let group = match (plan.profile.kind, shape.window_of) {
        (Kind::Closed, WindowOf::Publisher) => shape.conversations * shape.publishers * shape.window,
        (Kind::Closed, WindowOf::Connection) => shape.connections * shape.window,
        _ => 0,
    };
    let replayed = plan.replay.as_ref().map(|replay| {
        let profile = &plan.profile;
        let length = Duration::from_secs_f64(profile.warm_up_s + profile.duration_s);
        let publishers = shape.conversations * shape.publishers;
        schedule::replay(&replay.conversations, publishers, replay.speed, length)
    });
    let arguments = append::arguments(dir.path(), &plan.profile, group, seed, replayed.as_deref())?;
    let mut process = Process::start(&mut plan.place.floor_command(&arguments), &dir.path().join("log"))?;
    let told = process.output(|| progress.go_on())?;
    let found: append::Found = serde_json::from_str(&told)
        .with_context(|| format!("the appending process has failed: {}", process.log_tail()))
        .map_err(|error| process.explain("the appending process", error))?;
    let mut round = Round { duration_s: found.duration_s, ..Round::default() };
    round.values.insert("acked_per_s".to_owned(), found.appends as f64 / found.duration_s);
    let quiet = latency(&found.quiet());
    round.values.insert(QUIET_P50.to_owned(), quiet.p50_us);
    round.values.insert(QUIET_P99.to_owned(), quiet.p99_us);
    let histograms: std::collections::BTreeMap<_, _> =
        [("ack".to_owned(), found.times()), (TIMER.to_owned(), found.late())].into();
    round.latencies.extend(histograms.iter().map(|(name, times)| (name.clone(), latency(times))));
    Ok(Measurement { round, histograms, ..Measurement::default() })
}

/// Of a load in which so many read each conversation.
fn measurement(readers: u32, measured: Measured) -> Measurement {
    let Measured { recorder, timer, check, acked, delivered, duration_s, clients, .. } = measured;
    let due = measured.due.map(|due| Due {
        // Who acks nothing has nothing to ack.
        acks_per_s: if recorder.ack.is_empty() && !recorder.delivery.is_empty() {
            0.0
        } else {
            due.acks_per_s
        },
        ..due
    });
    let mut round = Round { duration_s, check, due, timeline: measured.timeline, ..Round::default() };
    let mut value = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            round.values.insert(name.to_owned(), value);
        }
    };
    let per_s = |count: u64| (count > 0).then(|| count as f64 / duration_s);
    value("acked_per_s", per_s(acked));
    value("delivered_per_s", per_s(delivered));
    value("datagrams_per_delivery", measured.datagrams_per_delivery);
    value("memory_peak_bytes", measured.memory_peak_bytes.map(|bytes| bytes as f64));
    value("clients_cpu", Some(clients.cpu));
    value("clients_cpu_busiest", Some(clients.busiest));
    if let Some(cpu_s) = measured.cpu_s {
        value("cpu", Some(cpu_s / duration_s));
        // What a server has most work with.
        let (name, count) = if readers > 0 { ("delivery", delivered) } else { ("ack", acked) };
        value(&format!("cpu_us_per_{name}"), (count > 0).then(|| cpu_s * 1e6 / count as f64));
        value("deliveries_per_cpu_s", (delivered > 0 && cpu_s > 0.0).then(|| delivered as f64 / cpu_s));
    }
    let mut histograms = std::collections::BTreeMap::new();
    for (name, histogram) in
        [("ack", recorder.ack), ("delivery", recorder.delivery), (PUBLISH, recorder.publish), (TIMER, timer)]
    {
        if !histogram.is_empty() {
            round.latencies.insert(name.to_owned(), latency(&histogram));
            histograms.insert(name.to_owned(), histogram);
        }
    }
    Measurement { round, histograms, ..Measurement::default() }
}
