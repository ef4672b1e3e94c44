//! A network in words, as its document in a run tells it.

use quoth_network::Conditions;
use serde_json::Value;

use crate::unit::number;

/// What a direction may do to packets: the key, how it is called, and the unit. In the order in which it is
/// told.
const CONDITIONS: &[(&str, &str, &str)] = &[
    ("delay_ms", "delay", "ms"),
    ("jitter_ms", "jitter", "ms"),
    ("loss_percent", "loss", "%"),
    ("loss_burst_packets", "in bursts of", "packets"),
    ("duplicate_percent", "duplicated", "%"),
    ("reorder_percent", "reordered", "%"),
    ("reorder_ms", "by", "ms"),
    ("rate_kbit_s", "rate", "kbit/s"),
    ("queue_ms", "queue", "ms"),
    ("mtu_bytes", "MTU", "bytes"),
];

/// What the network of this document does, as in
/// `delay 35 ms, loss 0.5 %; up: rate 5,000 kbit/s; down: rate 20,000 kbit/s`: what both directions do first,
/// and nothing of what a network without conditions does as well.
pub(super) fn told(network: &Value) -> String {
    let none = serde_json::to_value(Conditions::default()).unwrap_or_default();
    let (up, down) = (&network["up"], &network["down"]);
    let differs = |direction: &Value, key: &str| direction.get(key).is_some_and(|value| *value != none[key]);
    let list = |direction: &Value, is_wanted: &dyn Fn(&str) -> bool| {
        let wanted = CONDITIONS.iter().filter(|(key, ..)| differs(direction, key) && is_wanted(key));
        let told = wanted.map(|(key, what, unit)| {
            format!("{what} {} {unit}", direction[*key].as_f64().map_or_else(String::new, plain))
        });
        told.collect::<Vec<_>>().join(", ")
    };
    let is_shared = |key: &str| up[key] == down[key];
    let apart = |key: &str| !is_shared(key);
    let parts =
        [list(up, &is_shared), headed("up: ", &list(up, &apart)), headed("down: ", &list(down, &apart))];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn headed(head: &str, list: &str) -> String {
    if list.is_empty() { String::new() } else { format!("{head}{list}") }
}

/// As a person has written it, with thousands apart.
fn plain(value: f64) -> String {
    if value >= 1_000.0 { number(value) } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> String {
        let quoth_network::Profile { up, down } = quoth_network::Profile::open(name).expect(name);
        told(&serde_json::json!({ "name": name, "up": up, "down": down }))
    }

    #[test]
    fn what_a_network_does_is_told_once_where_both_directions_do_it() {
        assert_eq!(
            of("mobile"),
            "delay 35 ms, jitter 10 ms, loss 0.5 %, in bursts of 2 packets, queue 300 ms; up: rate 5,000 kbit/s; down: rate 20,000 \
             kbit/s"
        );
        assert!(told(&serde_json::json!({ "name": "nothing", "up": {}, "down": {} })).is_empty());
    }

    #[test]
    fn every_condition_has_a_name() {
        let all = serde_json::to_value(Conditions::default()).expect("a document");
        for key in all.as_object().expect("an object").keys() {
            assert!(CONDITIONS.iter().any(|(known, ..)| known == key), "{key}");
        }
    }
}
