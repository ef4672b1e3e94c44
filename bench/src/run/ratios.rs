//! Figures that set systems in relation, taken within each round.

use super::APPEND;
use crate::figure::{Better, Figure};
use crate::outcome::{Latency, Ratio, Role, Round, System, median};
use crate::profile::{Kind, Profile, Transport};

const QUOTH: &str = "quoth";
const RELAY: &str = "quinn relay";
const WEBSOCKET: &str = "websocket relay";

type Quantile = (&'static str, fn(&Latency) -> f64);

const P50: Quantile = ("p50", |latency| latency.p50_us);
const P95: Quantile = ("p95", |latency| latency.p95_us);
const P99: Quantile = ("p99", |latency| latency.p99_us);

/// All that the systems of a run allow.
pub(crate) fn of(profile: &Profile, systems: &[System]) -> Vec<Ratio> {
    let Some(quoth) = named(systems, QUOTH) else { return Vec::new() };
    let mut ratios = Vec::new();
    match profile.kind {
        Kind::Open => open(quoth, relay_of(profile), systems, &mut ratios),
        Kind::Closed => closed(quoth, systems, &mut ratios),
        _ => others(quoth, systems, &mut ratios),
    }
    let ratios = ratios.into_iter().flatten();
    ratios.map(|ratio| Ratio { goal: profile.goals.of.get(&ratio.what).copied(), ..ratio }).collect()
}

fn named<'a>(systems: &'a [System], name: &str) -> Option<&'a System> {
    systems.iter().find(|system| system.name == name)
}

fn variants(systems: &[System]) -> impl Iterator<Item = &System> {
    systems.iter().filter(|system| system.role == Role::Subject && system.name != QUOTH)
}

fn rivals(systems: &[System]) -> impl Iterator<Item = &System> {
    systems.iter().filter(|system| system.role == Role::Rival)
}

/// The floor that speaks what the server's clients do.
fn relay_of(profile: &Profile) -> &'static str {
    match profile.shape.transport {
        Transport::Quic => RELAY,
        Transport::Websocket | Transport::WebsocketPlain => WEBSOCKET,
    }
}

fn open(quoth: &System, relay_name: &str, systems: &[System], ratios: &mut Vec<Option<Ratio>>) {
    ratios.extend([datagrams(quoth)].into_iter().chain(variants(systems).map(datagrams)));
    let delivery = |q: Quantile| move |round: &Round| round.latencies.get("delivery").map(q.1);
    // A shape of the load may differ from another in what it does to some messages of a hundred and not to
    // one.
    for q in [P50, P95, P99] {
        for variant in variants(systems) {
            let what = format!("delivery {}: quoth over {}", q.0, variant.name);
            ratios.push(between(what, quoth, variant, delivery(q), true));
        }
    }
    for q in [P50, P99] {
        let name = q.0;
        if let (Some(relay), Some(append)) = (named(systems, relay_name), named(systems, APPEND)) {
            let disk = |round: &Round| round.latencies.get("ack").map(q.1);
            let floor = relay.rounds.iter().zip(&append.rounds);
            let floor = floor.map(|(relay, append)| Some(delivery(q)(relay)? + disk(append)?));
            let what = format!("delivery {name}: quoth over ({relay_name} + append)");
            ratios.push(ratio(what, quoth.rounds.iter().map(delivery(q)), floor, true));
        }
        for floor in systems.iter().filter(|system| system.role == Role::Floor && system.name != APPEND) {
            let what = format!("delivery {name}: quoth over {}", floor.name);
            ratios.push(between(what, quoth, floor, delivery(q), true));
        }
        for rival in rivals(systems) {
            let what = format!("delivery {name}: {} over quoth", rival.name);
            ratios.push(between(what, rival, quoth, delivery(q), false));
        }
    }
}

/// What shares a datagram: a figure of one system alone.
fn datagrams(system: &System) -> Option<Ratio> {
    let datagrams = |round: &Round| round.values.get("datagrams_per_delivery").copied();
    let one = system.rounds.iter().map(|_| Some(1.0));
    ratio(
        format!("datagrams for each delivery: {}", system.name),
        system.rounds.iter().map(datagrams),
        one,
        true,
    )
}

fn closed(quoth: &System, systems: &[System], ratios: &mut Vec<Option<Ratio>>) {
    for (value, label) in [
        ("acked_per_s", "acks/s"),
        ("delivered_per_s", "deliveries/s"),
        ("deliveries_per_cpu_s", "deliveries/s per core"),
    ] {
        let of = |round: &Round| round.values.get(value).copied();
        for other in systems.iter().filter(|system| matches!(system.role, Role::Floor | Role::Rival)) {
            ratios.push(between(format!("{label}: quoth over {}", other.name), quoth, other, of, false));
        }
        for variant in variants(systems) {
            ratios.push(between(format!("{label}: {} over quoth", variant.name), variant, quoth, of, false));
        }
    }
}

/// Whatever figures both have that are better one way, of the server and of its variants.
fn others(quoth: &System, systems: &[System], ratios: &mut Vec<Option<Ratio>>) {
    for floor in systems.iter().filter(|system| system.role == Role::Floor) {
        for subject in [quoth].into_iter().chain(variants(systems)) {
            let Some(first) = subject.rounds.first() else { continue };
            let over = |what: &str| format!("{what}: {} over {}", subject.name, floor.name);
            for name in first.values.keys() {
                let Some(better) = Figure::Value(name.clone()).better() else { continue };
                let of = |round: &Round| round.values.get(name).copied();
                ratios.push(between(over(name), subject, floor, of, better == Better::Less));
            }
            for latency in first.latencies.keys() {
                for q in [P50, P99] {
                    let of = |round: &Round| round.latencies.get(latency).map(q.1);
                    ratios.push(between(over(&format!("{latency} {}", q.0)), subject, floor, of, true));
                }
            }
        }
    }
}

fn between(
    what: String,
    upper: &System,
    lower: &System,
    of: impl Fn(&Round) -> Option<f64>,
    less_is_better: bool,
) -> Option<Ratio> {
    ratio(what, upper.rounds.iter().map(&of), lower.rounds.iter().map(&of), less_is_better)
}

/// `None` when one of both lacks it in a round, it is none, or one of them has no round.
fn ratio(
    what: String,
    upper: impl Iterator<Item = Option<f64>>,
    lower: impl Iterator<Item = Option<f64>>,
    less_is_better: bool,
) -> Option<Ratio> {
    let rounds: Vec<f64> = upper
        .zip(lower)
        .map(|(upper, lower)| Some(upper? / lower?).filter(|r| r.is_finite()))
        .collect::<Option<_>>()?;
    if rounds.is_empty() {
        return None;
    }
    Some(Ratio {
        what,
        median: median(&rounds),
        rounds,
        less_is_better,
        goal: None,
        not_judged: None,
        doubt: None,
    })
}
