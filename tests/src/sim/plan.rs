//! What a seed makes of a simulation: load, network and faults.

use std::time::Duration;

use quoth_server::engine::Execution;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::socket::Impairment;

/// From here on nothing is broken any more, in simulated milliseconds.
pub(super) const CALM_AT_MS: u64 = 2_500;

/// Conversations, and the longest pauses between a publisher's messages there. What is left undone in a
/// lively one may be mended by the next message; a quiet one shows it.
const CONVERSATIONS: &[(&str, Duration)] = &[
    ("general", Duration::from_millis(180)),
    ("random", Duration::from_millis(180)),
    ("quiet", Duration::from_millis(3_000)),
];

/// Everything that a seed decides before a simulation begins.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) impairment: Impairment,
    pub(super) latency_min: Duration,
    pub(super) latency_max: Duration,
    /// How long the server's store takes.
    pub(super) execution: Execution,
    pub(super) peers: Vec<PeerPlan>,
    /// In order of time.
    pub(super) faults: Vec<Fault>,
}

/// A user with one device.
#[derive(Debug)]
pub(super) struct PeerPlan {
    pub(super) name: String,
    /// When it connects first.
    pub(super) starts: Duration,
    pub(super) parts: Vec<PartPlan>,
}

/// What a peer does in one conversation.
#[derive(Debug)]
pub(super) struct PartPlan {
    pub(super) conversation: &'static str,
    pub(super) publishes: u64,
    /// The longest pause between two of them.
    pub(super) pause: Duration,
    pub(super) reads: bool,
}

/// Something that breaks or heals.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at_ms: u64,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) enum Change {
    /// Nothing comes through between the peer and the server, and what is on its way is lost.
    Partition(String),
    /// Nothing comes through to the server from the peer, or the other way.
    PartitionOneWay {
        peer: String,
        to_server: bool,
    },
    Repair(String),
    /// All between the peer and the server is held up.
    Hold(String),
    Release(String),
    /// The server loses its power, and everything that is not flushed.
    Crash,
    /// The server is told to stop.
    Drain,
    /// The server starts, after a crash if it still runs; its clock is ahead by so much.
    Start {
        clock_ahead: Duration,
    },
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let latency_min = Duration::from_millis(rng.random_range(0..20));
        let peers: Vec<PeerPlan> = (0..rng.random_range(3..=5)).map(|i| PeerPlan::draw(rng, i)).collect();
        let faults = draw_faults(rng, &peers);
        Self {
            impairment: Impairment {
                loss: if rng.random_bool(0.7) { rng.random_range(0.0..0.15) } else { 0.0 },
                duplication: if rng.random_bool(0.3) { 0.05 } else { 0.0 },
                mtu_bytes: rng.random_range(1_200..1_500),
            },
            latency_min,
            latency_max: latency_min + Duration::from_millis(rng.random_range(1..120)),
            execution: Execution::Tasks {
                flush: Duration::from_millis(rng.random_range(0..25)),
                read: Duration::from_millis(rng.random_range(0..60)),
            },
            peers,
            faults,
        }
    }

    /// How many messages a conversation gets.
    pub(super) fn messages(&self, conversation: &str) -> u64 {
        let parts = self.peers.iter().flat_map(|peer| &peer.parts);
        parts.filter(|part| part.conversation == conversation).map(|part| part.publishes).sum()
    }

    pub(super) fn conversations() -> impl Iterator<Item = &'static str> {
        CONVERSATIONS.iter().map(|(name, _)| *name)
    }
}

impl PeerPlan {
    /// The first peer reads and publishes everywhere; the others as it comes.
    fn draw(rng: &mut StdRng, index: usize) -> Self {
        let mut parts: Vec<PartPlan> = CONVERSATIONS
            .iter()
            .map(|&(conversation, pause)| {
                let publishes = if conversation == "quiet" { 1..4 } else { 15..60 };
                PartPlan {
                    conversation,
                    publishes: if index == 0 || rng.random_bool(0.6) {
                        rng.random_range(publishes)
                    } else {
                        0
                    },
                    pause,
                    reads: index == 0 || rng.random_bool(0.6),
                }
            })
            .collect();
        parts.retain(|part| part.publishes > 0 || part.reads);
        let starts_late = index > 0 && rng.random_bool(0.4);
        let starts_ms = rng.random_range(0..if starts_late { CALM_AT_MS } else { 50 });
        Self { name: format!("peer-{index}"), starts: Duration::from_millis(starts_ms), parts }
    }
}

fn draw_faults(rng: &mut StdRng, peers: &[PeerPlan]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..rng.random_range(1..=4) {
        let begin_ms = rng.random_range(200..CALM_AT_MS - 100);
        let longest_ms = if rng.random_bool(0.3) { 1_800 } else { 400 };
        let end_ms = begin_ms + rng.random_range(10..longest_ms);
        let peer = peers[rng.random_range(0..peers.len())].name.clone();
        let clock_ahead = Duration::from_millis(rng.random_range(0..3_000));
        let (begin, end) = match rng.random_range(0..10) {
            0 | 1 => (Change::Partition(peer.clone()), Change::Repair(peer)),
            2 => {
                let to_server = rng.random_bool(0.5);
                (Change::PartitionOneWay { peer: peer.clone(), to_server }, Change::Repair(peer))
            }
            3 => (Change::Hold(peer.clone()), Change::Release(peer)),
            4 => (Change::Drain, Change::Start { clock_ahead }),
            _ => (Change::Crash, Change::Start { clock_ahead }),
        };
        faults.push(Fault { at_ms: begin_ms, change: begin });
        faults.push(Fault { at_ms: end_ms.min(CALM_AT_MS), change: end });
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}
