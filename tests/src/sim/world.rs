//! One simulation: hosts, faults, and the verdict.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use turmoil::{Builder, Sim};

use super::club::Club;
use super::history::History;
use super::load::Part;
use super::members;
use super::peer::{self, Dial};
use super::plan::{CALM_AT_MS, Change, PeerPlan, Plan};
use super::plant::Plant;
use super::sdk;
use super::server::{HOST, Machine, seed_bytes};
use super::socket::{Network, Trace};
use super::tls::Certificates;

/// Simulated time between two looks at the network; timers are finer.
const TICK: Duration = Duration::from_millis(2);

/// Datagrams that wait in a socket; more are lost.
const SOCKET_DATAGRAMS_MAX: usize = 256;

/// Simulated time that the pages of history may take after all else, in milliseconds.
const PAGES_MS: u64 = 10_000;

/// The host that reads pages of history at the end.
const ARCHIVIST: &str = "archivist";

/// Who puts load on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Clients of bare frames, which do what the protocol allows and the SDK never does.
    Frames,
    /// The SDK. It waits in tokio's watch channels, which wake in random order, so traces are not the same
    /// each time.
    Sdk,
    /// Members of a managed conversation, who come and go.
    Members,
}

impl Clients {
    /// By then everything is acked and read, in simulated milliseconds: waits between attempts grow with the
    /// failures.
    const fn done_by_ms(self) -> u64 {
        match self {
            Self::Frames => CALM_AT_MS + 10_000,
            Self::Sdk => CALM_AT_MS + 40_000,
            Self::Members => CALM_AT_MS + 20_000,
        }
    }
}

/// A simulation in which every promise held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What was sent.
    pub trace: Trace,
    /// Messages that were stored.
    pub messages: usize,
    /// Repeats that the server recognised.
    pub duplicates: usize,
    /// Sign-ins of clients.
    pub sign_ins: u64,
    /// Starts of the server.
    pub starts: u64,
    /// Groups that were appended and not flushed when the server lost its power.
    pub unflushed: u64,
    /// Simulated time until everything was acked and read.
    pub took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace: Trace { hash, datagrams },
            messages,
            duplicates,
            sign_ins,
            starts,
            unflushed,
            took,
        } = self;
        write!(
            f,
            "{messages} messages, {duplicates} repeats, {sign_ins} sign-ins, {starts} starts, {unflushed} groups \
             unflushed, {} ms, {datagrams} datagrams, trace {hash:016x}",
            took.as_millis()
        )
    }
}

/// Runs the simulation of a seed.
///
/// # Errors
/// Which promise was broken, and how.
pub fn run(
    seed: u64,
    clients: Clients,
    certificates: &Certificates,
    plant: Plant,
) -> anyhow::Result<Outcome> {
    World::new(seed, clients, certificates, plant)?.run()
}

struct World {
    sim: Sim<'static>,
    plan: Plan,
    seed: u64,
    clients: Clients,
    network: Network,
    machine: Machine,
    certificates: Certificates,
    history: Rc<RefCell<History>>,
    club: Rc<RefCell<Club>>,
}

impl World {
    fn new(seed: u64, clients: Clients, certificates: &Certificates, plant: Plant) -> anyhow::Result<Self> {
        let plan = Plan::draw(seed);
        let network = Network::new(seed, plan.impairment);
        let machine = Machine::new(seed, network.clone(), certificates.clone(), plan.execution, plant);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_millis(2 * (clients.done_by_ms() + PAGES_MS)))
            .udp_capacity(SOCKET_DATAGRAMS_MAX)
            .min_message_latency(plan.latency_min)
            .max_message_latency(plan.latency_max)
            .build();
        let running = machine.clone();
        sim.host(HOST, move || {
            let server = running.clone().run();
            async move { Ok(server.await?) }
        });
        let (history, certificates) = (Rc::default(), certificates.clone());
        let club = Rc::new(RefCell::new(Club::new(machine.clone())));
        let mut world = Self { sim, plan, seed, clients, network, machine, certificates, history, club };
        for index in 0..world.plan.peers.len() {
            world.add_peer(index)?;
        }
        Ok(world)
    }

    fn add_peer(&mut self, index: usize) -> anyhow::Result<()> {
        let PeerPlan { name, starts, .. } = &self.plan.peers[index];
        let (name, starts) = (name.clone(), *starts);
        let parts = self.parts(index)?;
        let which = 1 + index as u64;
        let rng = self.rng(which);
        let dial = self.dial(name.clone(), which)?;
        let (clients, ca_file) = (self.clients, self.certificates.ca_file().to_owned());
        let which = self.seed.wrapping_mul(1_000) + which;
        let (user, club) = (UserId::new(&name)?, Rc::clone(&self.club));
        let others = self.plan.peers[1..].iter().map(|peer| UserId::new(&peer.name));
        let others = others.collect::<Result<Vec<_>, _>>()?;
        self.sim.client(name, async move {
            tokio::time::sleep(starts).await;
            match clients {
                Clients::Frames => peer::run(dial.await?, parts, rng).await?,
                Clients::Sdk => sdk::run(dial.await?, parts, ca_file, which).await?,
                Clients::Members if index == 0 => members::owner(dial.await?, others, club, rng).await?,
                Clients::Members => members::member(dial.await?, user, club, rng).await?,
            }
            Ok(())
        });
        Ok(())
    }

    fn parts(&self, index: usize) -> anyhow::Result<Vec<Part>> {
        let plan = &self.plan.peers[index];
        let parts = plan.parts.iter().zip(0..);
        let part = |(part, number): (&super::plan::PartPlan, u64)| {
            Ok(Part {
                conversation: ConversationName::new(part.conversation)?,
                user: UserId::new(&plan.name)?,
                producer: ProducerId(1 + index as u64),
                to_publish: part.publishes,
                pause: part.pause,
                reads: part.reads,
                reader: u32::try_from(index)?,
                target: Seq(self.plan.messages(part.conversation)),
                rng: self.rng(1_000 * (1 + index as u64) + number),
                history: Rc::clone(&self.history),
                next_n: 0,
                cursor: Seq::ZERO,
                unacked: Default::default(),
                acked: Default::default(),
                unstored: Vec::new(),
            })
        };
        parts.map(part).collect()
    }

    fn rng(&self, which: u64) -> StdRng {
        StdRng::from_seed(seed_bytes(self.seed, which))
    }

    /// A client's endpoint, to be made on its host.
    fn dial(
        &self,
        host: String,
        which: u64,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<Dial>> + use<>> {
        let (network, config) = (self.network.clone(), self.certificates.client()?);
        let seed = seed_bytes(self.seed, 1_000 + which);
        Ok(async move { Dial::new(host, config, &network, seed).await })
    }

    fn run(mut self) -> anyhow::Result<Outcome> {
        let faults = std::mem::take(&mut self.plan.faults);
        let mut faults = faults.into_iter().peekable();
        let (mut is_calm, done_by_ms) = (false, self.clients.done_by_ms());
        loop {
            let now_ms = self.now_ms();
            while let Some(fault) = faults.next_if(|fault| fault.at_ms <= now_ms) {
                tracing::info!(now_ms, change = ?fault.change, "fault");
                self.apply(fault.change);
            }
            if !is_calm && now_ms >= CALM_AT_MS {
                is_calm = true;
                self.calm();
            }
            if self.step()? && is_calm {
                break;
            }
            if now_ms > done_by_ms {
                let progress = &self.history.borrow().progress;
                bail!("not everything was acked and read by {done_by_ms} ms: {progress:?}");
            }
        }
        let took = self.sim.elapsed();
        let (messages, duplicates) = match self.clients {
            Clients::Frames | Clients::Sdk => {
                self.read_pages()?;
                let records = self.machine.records()?;
                let mut history = self.history.borrow_mut();
                history.finish(&records)?;
                (records.len(), history.duplicates)
            }
            Clients::Members => {
                let mut club = self.club.borrow_mut();
                club.follow()?;
                tracing::info!(leaves = club.leaves, ends = club.ends, "members");
                (club.messages, 0)
            }
        };
        Ok(Outcome {
            trace: self.network.trace(),
            messages,
            duplicates,
            sign_ins: self.machine.sign_ins(),
            starts: self.machine.starts(),
            unflushed: self.machine.unflushed(),
            took,
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn step(&mut self) -> anyhow::Result<bool> {
        self.sim.step().map_err(|error| {
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            anyhow!("at {} ms: {text}", self.now_ms())
        })
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Partition(peer) => self.sim.partition(HOST, peer),
            Change::PartitionOneWay { peer, to_server: true } => self.sim.partition_oneway(peer, HOST),
            Change::PartitionOneWay { peer, to_server: false } => self.sim.partition_oneway(HOST, peer),
            Change::Repair(peer) => self.sim.repair(HOST, peer),
            Change::Hold(peer) => self.sim.hold(HOST, peer),
            Change::Release(peer) => self.sim.release(HOST, peer),
            Change::Crash => self.crash(),
            Change::Drain => self.machine.drain(),
            Change::Start { clock_ahead } => self.start(clock_ahead),
        }
    }

    fn crash(&mut self) {
        self.sim.crash(HOST);
        self.machine.lose_power();
        self.network.forget_handshakes();
    }

    fn start(&mut self, clock_ahead: Duration) {
        self.crash();
        self.machine.set_clock_ahead(clock_ahead);
        self.sim.bounce(HOST);
    }

    /// Everything heals.
    fn calm(&mut self) {
        self.network.calm();
        for peer in &self.plan.peers {
            self.sim.release(HOST, peer.name.as_str());
        }
        if !self.sim.is_host_running(HOST) {
            self.start(Duration::ZERO);
        }
    }

    /// Reads everything once more, as pages of history.
    fn read_pages(&mut self) -> anyhow::Result<()> {
        let dial = self.dial(ARCHIVIST.to_owned(), 0)?;
        let (mut rng, history) = (self.rng(0), Rc::clone(&self.history));
        self.sim.client(ARCHIVIST, async move {
            let dial = dial.await?;
            for conversation in Plan::conversations() {
                let name = ConversationName::new(conversation)?;
                peer::read_pages(&dial, &name, &mut rng, &history).await?;
            }
            Ok(())
        });
        let done_by_ms = self.now_ms() + PAGES_MS;
        while !self.step()? {
            if self.now_ms() > done_by_ms {
                bail!("the pages of history did not come within {PAGES_MS} ms");
            }
        }
        Ok(())
    }
}
