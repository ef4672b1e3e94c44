//! What a run has found: the document that `--json` writes, and that tables, reports and comparisons read.
//!
//! Times are microseconds (`_us`) unless their name says otherwise. A run has rounds; in each round every
//! system is measured once, one behind the other, so that a ratio of two systems is taken within a round and
//! the median is taken over rounds.

mod check;
pub mod doubt;
mod link;
mod network;
mod ratio;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use check::Check;
pub use link::Link;
pub use ratio::{Goal, Ratio};

use crate::profile::Transport;
use crate::unit::{self, counted};

/// The version of this document. A reader refuses any other.
pub const FORMAT: u32 = 4;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// The exact command, a word each.
    pub command: Vec<String>,
    /// When the run began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What it ran on.
    pub machine: Machine,
    /// This program.
    pub build: Build,
    /// The server that was measured, as it tells of itself and as its file is.
    pub server: Server,
    /// What else the machine did.
    pub surroundings: Surroundings,
    /// The profile with all flags applied, as a document, with `seed`, `patience_s`, `client_threads`,
    /// `server_settings`, `replay` (its folder, speed and content) and `overrides`: the flags that have
    /// changed the load or leave it less time.
    pub profile: Value,
    /// The name of the profile, as in `chat`.
    pub profile_name: String,
    /// What the profile is for, in one sentence; of a load that flags have made of it, who does what in it.
    pub profile_about: String,
    /// The emulated network between clients and servers; none is loopback, or whatever leads to a server that
    /// ran elsewhere.
    pub network: Option<Value>,
    /// What was measured, the server first, then floors, then rivals.
    pub systems: Vec<System>,
    /// Figures that set systems in relation.
    pub ratios: Vec<Ratio>,
    /// What ended the run before its time; all else is of what was measured before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A measurement that could not be finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its round, from 1.
    pub round: u32,
    /// The system that was measured.
    pub system: String,
    /// What went wrong.
    pub reason: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { round, system, reason } = self;
        write!(f, "{reason} during round {round} of {system}, and the run ended there")
    }
}

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the processor names itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// Name and version of the distribution.
    pub system: String,
    /// The file system that holds the servers' data, as in `ext4`.
    pub filesystem: String,
}

/// This program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version of Quoth and the commit it was built from, as in `0.1.0+1a2b3c4d5e6f`; with `.dirty`
    /// behind it where files differed from that commit, and `0.1.0+unknown` where there was no repository.
    pub version: String,
    /// `release` or `debug`; figures of a debug build mean nothing.
    pub profile: String,
}

/// The server that was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// As it has told clients, in the form of [`Build::version`]; `None` when none got in.
    pub version: Option<String>,
    /// SHA-256 of its program's file, in hex; `None` where the process is not known.
    pub binary_sha256: Option<String>,
    /// Where it listens that ran already; `None` of one that the bench started, on its own folder and this
    /// machine.
    pub ran_at: Option<SocketAddr>,
}

/// What the machine did beside the run. `None` where the system does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Processes that ran or waited, on average over the minute before the run.
    pub load_average_begin: Option<f64>,
    /// The same at its end, the run's own among them.
    pub load_average_end: Option<f64>,
    /// The part of all processor time in the run that the hypervisor gave to others, from 0 to 1.
    pub steal: Option<f64>,
    /// Processors that others than the run's own processes kept busy; 1.0 is one. `None` where a server that
    /// is measured is not told from them.
    pub others_cpu: Option<f64>,
}

/// What a system is in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The server that is measured.
    Subject,
    /// The least that the machine can do.
    Floor,
    /// Another server.
    Rival,
}

/// One system with all its rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// As in `quoth`, `quinn relay`, `jetstream`.
    pub name: String,
    /// What it is in the run.
    pub role: Role,
    /// What an ack of it means, as in `stored: flushed to disk before the ack`.
    pub durability: String,
    /// What it speaks with its clients; `None` without a network.
    pub link: Option<Link>,
    /// Its version, where it tells one.
    pub version: Option<String>,
    /// One for each round.
    pub rounds: Vec<Round>,
    /// The rounds' latencies together, by name.
    pub merged: BTreeMap<String, Latency>,
}

/// One system in one round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Length of what was measured, without the warm-up, in seconds.
    pub duration_s: f64,
    /// Single figures by name, each with its unit last, as in `acked_per_s`, `cpu_us_per_delivery`,
    /// `bytes_per_connection`.
    pub values: BTreeMap<String, f64>,
    /// Latencies by name: `ack` (due to ack), `delivery` (due to delivery), `publish` (due to publish,
    /// without the time in which the system took nothing: how late the bench was), `timer` (its timer's part
    /// of that), and what the profile has besides.
    pub latencies: BTreeMap<String, Latency>,
    /// What the history checker has found; nothing of it broken, or the run has failed.
    pub check: Check,
    /// What an open loop had to get done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
    /// Second by second, warm-up included (negative `at_s`).
    pub timeline: Vec<Tick>,
}

/// What was due in what counts of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// Messages to be acked.
    pub acks_per_s: f64,
    /// Deliveries to readers who read.
    pub deliveries_per_s: f64,
}

/// A histogram in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Values recorded.
    pub count: u64,
    /// The least, in microseconds.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half were at most this.
    pub p50_us: f64,
    /// 95 of 100.
    pub p95_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// The greatest.
    pub max_us: f64,
    /// The distribution, rising: (quantile from 0 to 1, microseconds).
    pub curve: Vec<(f64, f64)>,
}

/// A piece of the timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Its begin, in seconds behind the end of the warm-up.
    pub at_s: f64,
    /// Its length in seconds.
    pub length_s: f64,
    /// Acks within it.
    pub acked: u64,
    /// Deliveries within it.
    pub delivered: u64,
    /// Latencies of the deliveries within it (of the acks, where nobody reads), in microseconds; `None`
    /// without any.
    pub p50_us: Option<f64>,
    /// The same, 99 of 100.
    pub p99_us: Option<f64>,
    /// The same, the greatest.
    pub max_us: Option<f64>,
    /// Resident memory of the system's process at its end, in bytes; `None` where it is not known.
    pub memory_bytes: Option<u64>,
    /// Processor time of the system's process within it, in processors: 1.0 is one busy core.
    pub cpu: Option<f64>,
}

impl Outcome {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is not one, or one of another [`FORMAT`].
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(json).context("this is no outcome of a run")?;
        anyhow::ensure!(
            head.format == FORMAT,
            "it has format {}; this program reads format {FORMAT}",
            head.format
        );
        serde_json::from_str(json).context("this outcome of a run is damaged")
    }

    /// Whether every promise was kept by what must keep it: the server and the floors. What a rival loses is
    /// told and is no failure of a run.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let ours = self.systems.iter().filter(|system| system.role != Role::Rival);
        ours.map(System::check).all(|check| check.is_clean())
    }

    /// The command as it can be typed again: words that a shell would change are quoted.
    #[must_use]
    pub fn command_text(&self) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        let word = |word: &String| {
            if !word.is_empty() && word.chars().all(is_plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        self.command.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// What the server's clients spoke.
    #[must_use]
    pub fn transport(&self) -> Transport {
        let transport = self.profile.get("transport").cloned();
        transport.and_then(|transport| serde_json::from_value(transport).ok()).unwrap_or_default()
    }

    /// What the network is called: a name, a file, `loopback`, or whatever leads to a server that ran
    /// elsewhere.
    #[must_use]
    pub fn network_name(&self) -> String {
        let name = |network: &Value| network.get("name").unwrap_or(network).as_str().map(str::to_owned);
        let elsewhere = self.server.ran_at.filter(|at| !at.ip().is_loopback());
        self.network.as_ref().and_then(name).unwrap_or_else(|| {
            elsewhere
                .map_or_else(|| "loopback".to_owned(), |at| format!("whatever network leads to {}", at.ip()))
        })
    }

    /// The network as text, with what it does to packets: as in `mobile: delay 35 ms, loss 0.5 %`.
    #[must_use]
    pub fn network_text(&self) -> String {
        let (name, told) =
            (self.network_name(), self.network.as_ref().map(network::told).unwrap_or_default());
        if told.is_empty() { name } else { format!("{name}: {told}") }
    }

    /// The chat logs that were played in place of made-up messages, as text.
    #[must_use]
    pub fn replay_text(&self) -> Option<String> {
        let replay = self.profile.get("replay")?;
        let number = |key: &str| replay[key].as_f64().unwrap_or_default();
        Some(format!(
            "{} lines in {} of {}, {} times as fast as they were said",
            unit::number(number("lines")),
            counted(
                replay["conversations"].as_u64().and_then(|logs| logs.try_into().ok()).unwrap_or(0),
                "log"
            ),
            replay["folder"].as_str().unwrap_or_default(),
            number("speed"),
        ))
    }
}

impl System {
    /// How much of what was due in an open loop was done, from 0 to 1: of acks or of deliveries, whichever is
    /// less. `None` of other loads.
    #[must_use]
    pub fn done(&self) -> Option<f64> {
        let of = |name: &str, due: fn(&Due) -> f64| {
            let rounds = self.rounds.iter().filter_map(|round| Some((round, due(round.due.as_ref()?))));
            // What nobody acks or reads is not due.
            let rounds = rounds.filter(|(_, due)| *due > 0.0);
            let parts: Vec<f64> = rounds
                .map(|(round, due)| round.values.get(name).copied().unwrap_or_default() / due)
                .collect();
            (!parts.is_empty()).then(|| median(&parts))
        };
        let acks = of("acked_per_s", |due| due.acks_per_s);
        let deliveries = of("delivered_per_s", |due| due.deliveries_per_s);
        acks.into_iter().chain(deliveries).min_by(f64::total_cmp)
    }

    /// Whether it did much less than was due, so that what it took for that is of another load.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        const LEAST: f64 = 0.9;
        self.done().is_some_and(|done| done < LEAST)
    }

    /// What was found in all rounds together.
    #[must_use]
    pub fn check(&self) -> Check {
        let mut whole = Check::default();
        self.rounds.iter().for_each(|round| whole.add(&round.check));
        whole
    }
}

/// The middle value, or the mean of the two in the middle; NaN of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Value, median};

    use crate::testing::sample;

    #[test]
    fn a_document_of_another_format_is_refused_before_it_is_read() {
        let json = serde_json::to_string(&sample()).unwrap();
        assert_eq!(Outcome::parse(&json).unwrap().systems.len(), sample().systems.len());
        let error = Outcome::parse(r#"{"format": 99}"#).unwrap_err().to_string();
        assert!(error.contains("format 99"), "{error}");
        assert!(Outcome::parse("[]").unwrap_err().to_string().contains("no outcome"));
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let command = ["quoth", "a b", "it's", "", "$x"].map(str::to_owned).to_vec();
        assert_eq!(Outcome { command, ..sample() }.command_text(), r"quoth 'a b' 'it'\''s' '' '$x'");
    }

    #[test]
    fn a_network_is_told_in_words() {
        let told = |network: Value| Outcome { network: Some(network), ..sample() }.network_text();
        assert_eq!(sample().network_text(), "loopback");
        let up = serde_json::json!({ "delay_ms": 20.0, "loss_percent": 1.0 });
        assert_eq!(
            told(serde_json::json!({ "name": "own.toml", "up": up, "down": up })),
            "own.toml: delay 20 ms, loss 1 %"
        );
        assert_eq!(told(serde_json::json!({ "name": "none.toml", "up": {}, "down": {} })), "none.toml");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
