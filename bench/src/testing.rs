//! A run as it may be, for tests of whatever reads one: the server, two floors and two rivals in five rounds.

use std::collections::BTreeMap;

use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::figure::{PUBLISH, TIMER};
use crate::outcome::{
    Build, Check, Due, FORMAT, Latency, Link, Machine, Outcome, Ratio, Role, Round, Server, Surroundings,
    System, Tick, median,
};

const ROUNDS: u64 = 5;
const WARM_UP_S: u64 = 3;
const MEASURED_S: u64 = 20;
const ACKED_PER_S: f64 = 500.0;
const READERS: f64 = 9.0;
const VERSION: &str = "0.1.0+9a3e5f5c01de";

/// What a made up system is like.
struct Nature {
    name: &'static str,
    role: Role,
    durability: &'static str,
    version: Option<&'static str>,
    /// What it speaks, whether encrypted, and its congestion control.
    link: Option<(&'static str, bool, &'static str)>,
    ack_us: Option<f64>,
    delivery_us: Option<f64>,
    /// How much the tail grows.
    tail: f64,
    cpu: f64,
    memory_mib: f64,
}

const NATURES: [Nature; 5] = [
    Nature {
        name: "quoth",
        role: Role::Subject,
        durability: "stored: flushed to disk before the ack",
        version: Some(VERSION),
        link: Some(("QUIC", true, "bbr")),
        ack_us: Some(1_240.0),
        delivery_us: Some(1_420.0),
        tail: 1.15,
        cpu: 0.21,
        memory_mib: 58.0,
    },
    Nature {
        name: "quinn relay",
        role: Role::Floor,
        durability: "none: nothing is stored",
        version: None,
        link: Some(("QUIC", true, "bbr")),
        ack_us: Some(212.0),
        delivery_us: Some(268.0),
        tail: 1.05,
        cpu: 0.12,
        memory_mib: 14.0,
    },
    Nature {
        name: "append",
        role: Role::Floor,
        durability: "stored: fdatasync of each message",
        version: None,
        link: None,
        ack_us: Some(890.0),
        delivery_us: None,
        tail: 1.2,
        cpu: 0.0,
        memory_mib: 0.0,
    },
    Nature {
        name: "jetstream",
        role: Role::Rival,
        durability: "sync_interval always: flushed to disk before the ack",
        version: Some("2.10.22"),
        link: Some(("NATS over TCP", false, "cubic")),
        ack_us: Some(2_610.0),
        delivery_us: Some(2_890.0),
        tail: 1.3,
        cpu: 0.34,
        memory_mib: 71.0,
    },
    Nature {
        name: "mosquitto",
        role: Role::Rival,
        durability: "memory: saved every 30 minutes",
        version: Some("2.0.11"),
        link: Some(("MQTT over TCP", false, "cubic")),
        ack_us: Some(340.0),
        delivery_us: Some(460.0),
        tail: 1.4,
        cpu: 0.15,
        memory_mib: 9.0,
    },
];

/// The run. It is the same at each call.
#[must_use]
pub fn sample() -> Outcome {
    let systems: Vec<_> = NATURES.iter().map(system).collect();
    Outcome {
        format: FORMAT,
        command: ["quoth", "bench", "run", "chat", "--rounds", "5", "--rivals", "jetstream,mosquitto"]
            .map(str::to_owned)
            .to_vec(),
        started_unix_ms: 1_795_549_500_000,
        machine: Machine {
            cpu: "AMD EPYC 7R32".to_owned(),
            cores: 2,
            memory_bytes: 4 << 30,
            kernel: "Linux 6.1.0-27-amd64".to_owned(),
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            filesystem: "ext4".to_owned(),
        },
        build: Build { version: VERSION.to_owned(), profile: "release".to_owned() },
        server: Server {
            version: Some(VERSION.to_owned()),
            binary_sha256: Some("3f9a".repeat(16)),
            ran_at: None,
        },
        surroundings: Surroundings {
            load_average_begin: Some(0.12),
            load_average_end: Some(1.31),
            steal: Some(0.001),
            others_cpu: Some(0.02),
        },
        profile: json!({
            "about": "Many small rooms in which everybody reads and writes, at the times at which people do",
            "kind": "open",
            "shape": { "conversations": 100, "members": 10, "rate_per_s": 500.0, "arrival": "poisson" },
            "payload": [40, 400],
            "measured_s": 20,
            "warm_up_s": 3,
            "seed": 1,
            "overrides": [],
        }),
        profile_name: "chat".to_owned(),
        profile_about:
            "Many small rooms in which everybody reads and writes, at the times at which people do".to_owned(),
        network: None,
        ratios: vec![
            ratio("delivery p50: quoth over quinn relay", &systems[0], &systems[1], true),
            ratio("delivery p50: jetstream over quoth", &systems[3], &systems[0], false),
            ratio("delivery p50: mosquitto over quoth", &systems[4], &systems[0], false),
        ],
        systems,
        failure: None,
    }
}

fn system(nature: &Nature) -> System {
    let rounds: Vec<_> = (0..ROUNDS).map(|number| round(nature, number)).collect();
    let mut merged = BTreeMap::new();
    for name in rounds[0].latencies.keys() {
        merged.insert(
            name.clone(),
            together(&rounds.iter().map(|round| &round.latencies[name]).collect::<Vec<_>>()),
        );
    }
    System {
        name: nature.name.to_owned(),
        role: nature.role,
        durability: nature.durability.to_owned(),
        link: nature.link.map(|(protocol, tls, control)| Link {
            protocol: protocol.to_owned(),
            tls,
            congestion_control: Some(control.to_owned()),
        }),
        version: nature.version.map(str::to_owned),
        rounds,
        merged,
    }
}

fn round(nature: &Nature, number: u64) -> Round {
    let wobble = |what: &str| 1.0 + 0.04 * noise(&format!("{} {number} {what}", nature.name));
    let count = |per_s: f64| whole(per_s * MEASURED_S as f64);
    let mut round = Round { duration_s: MEASURED_S as f64, ..Round::default() };
    for (name, us, per_s) in [
        ("ack", nature.ack_us, ACKED_PER_S),
        ("delivery", nature.delivery_us, ACKED_PER_S * READERS),
        (PUBLISH, nature.delivery_us.map(|_| 14.0), ACKED_PER_S),
        (TIMER, nature.delivery_us.map(|_| 9.0), ACKED_PER_S),
    ] {
        if let Some(us) = us {
            let stall = 1.0 + 0.2 * noise(&format!("{} {number} stall", nature.name)).abs();
            round
                .latencies
                .insert(name.to_owned(), latency(us * wobble(name), nature.tail * stall, count(per_s)));
        }
    }
    let mut value = |name: &str, value: f64| round.values.insert(name.to_owned(), value);
    value("acked_per_s", ACKED_PER_S);
    if nature.delivery_us.is_some() {
        value("delivered_per_s", ACKED_PER_S * READERS);
        value("clients_cpu", 0.11 * wobble("clients"));
        value("clients_cpu_busiest", 0.11 * wobble("clients"));
        value("cpu", nature.cpu * wobble("cpu"));
        value("cpu_us_per_delivery", nature.cpu * wobble("cpu") * 1e6 / (ACKED_PER_S * READERS));
        value("memory_peak_bytes", nature.memory_mib * wobble("memory") * 1_048_576.0);
        // Rivals number nothing, so their acks are not checked.
        let acks = if nature.role == Role::Rival { 0 } else { count(ACKED_PER_S) };
        round.check = Check { checked: count(ACKED_PER_S * READERS), acks, ..Check::default() };
        round.due = Some(Due { acks_per_s: ACKED_PER_S, deliveries_per_s: ACKED_PER_S * READERS });
        round.timeline = timeline(nature, number);
    }
    round
}

fn timeline(nature: &Nature, number: u64) -> Vec<Tick> {
    const TICKS_PER_S: u64 = 2;
    let ticks = (0..(WARM_UP_S + MEASURED_S) * TICKS_PER_S).map(|i| {
        let wobble = |what: &str| 1.0 + 0.08 * noise(&format!("{} {number} {i} {what}", nature.name));
        // Caches and congestion windows are cold at first.
        let warm = 1.0 + 1.5 * (-(i as f64) / 3.0).exp();
        let us = nature.delivery_us.unwrap_or_default() * warm;
        let at_s = i as f64 / TICKS_PER_S as f64;
        let stall = noise(&format!("{} {number} {i} stall", nature.name)).powi(12) * 9.0;
        Tick {
            at_s: at_s - WARM_UP_S as f64,
            length_s: 1.0 / TICKS_PER_S as f64,
            acked: whole(ACKED_PER_S / TICKS_PER_S as f64 * wobble("rate")),
            delivered: whole(ACKED_PER_S * READERS / TICKS_PER_S as f64 * wobble("rate")),
            p50_us: Some(us * wobble("p50")),
            p99_us: Some(us * nature.tail * 2.6 * wobble("p99")),
            max_us: Some(us * nature.tail * (4.0 + stall) * wobble("max")),
            memory_bytes: Some(whole(nature.memory_mib * (0.7 + 0.3 * at_s / 23.0) * 1_048_576.0)),
            cpu: Some(nature.cpu * warm.sqrt() * wobble("cpu")),
        }
    });
    ticks.collect()
}

/// A distribution of this median; `tail` tells how far its end goes.
fn latency(median_us: f64, tail: f64, count: u64) -> Latency {
    let us = |q: f64| {
        let halves = -(1.0 - q).max(0.5 / count as f64).log2();
        // A value of a histogram has three digits.
        let us = median_us * (0.7 + 0.3 * halves.powf(tail.min(1.9)));
        (us * 100.0).round() / 100.0
    };
    let mut curve = vec![(0.0, us(0.0))];
    for half in 0..count.ilog2() {
        curve.extend(
            (1..=8)
                .map(|step| 1.0 - 0.5_f64.powf(f64::from(half) + f64::from(step) / 8.0))
                .map(|q| (q, us(q))),
        );
    }
    curve.push((1.0, us(1.0)));
    Latency {
        count,
        min_us: us(0.0),
        mean_us: us(0.6),
        p50_us: us(0.5),
        p95_us: us(0.95),
        p99_us: us(0.99),
        p99_9_us: us(0.999),
        max_us: us(1.0),
        curve,
    }
}

/// Rounds together, as if each quantile were the rounds' mean.
fn together(rounds: &[&Latency]) -> Latency {
    let mean =
        |of: fn(&Latency) -> f64| rounds.iter().map(|round| of(round)).sum::<f64>() / rounds.len() as f64;
    let point = |i: usize| {
        let us = rounds.iter().map(|round| round.curve[i].1).sum::<f64>() / rounds.len() as f64;
        (rounds[0].curve[i].0, us)
    };
    Latency {
        count: rounds.iter().map(|round| round.count).sum(),
        min_us: mean(|round| round.min_us),
        mean_us: mean(|round| round.mean_us),
        p50_us: mean(|round| round.p50_us),
        p95_us: mean(|round| round.p95_us),
        p99_us: mean(|round| round.p99_us),
        p99_9_us: mean(|round| round.p99_9_us),
        max_us: mean(|round| round.max_us),
        curve: (0..rounds[0].curve.len()).map(point).collect(),
    }
}

fn ratio(what: &str, upper: &System, lower: &System, less_is_better: bool) -> Ratio {
    let rounds = upper.rounds.iter().zip(&lower.rounds);
    let p50 = |round: &Round| round.latencies["delivery"].p50_us;
    let rounds: Vec<_> = rounds.map(|(upper, lower)| p50(upper) / p50(lower)).collect();
    Ratio {
        what: what.to_owned(),
        median: median(&rounds),
        rounds,
        less_is_better,
        goal: None,
        not_judged: None,
        doubt: None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is made up here is small and not negative")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// From -1 to 1, the same for the same text.
fn noise(text: &str) -> f64 {
    (xxh3_64(text.as_bytes()) >> 32) as f64 / f64::from(u32::MAX) * 2.0 - 1.0
}
