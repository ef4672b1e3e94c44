//! Which goals a profile may have: those for which a run can find a figure. A goal that nothing is ever held to looks like one that is
//! reached.

use std::collections::BTreeMap;

use crate::figure::{PUBLISH, TIMER};
use crate::outcome::{Latency, Role, Round, System};
use crate::run::ratios;

use super::{Floor, Kind, Profile};

/// All rivals that a build may have, with or without the feature: a profile names them wherever it is read.
const RIVALS: &[&str] = &[
    "nats-core",
    "nats-core-tls",
    "jetstream",
    "jetstream-tls",
    "jetstream-default",
    "mosquitto",
    "mosquitto-tls",
];

/// Refuses goals that no run of the profile can have a figure for.
pub(super) fn check(profile: &Profile) -> anyhow::Result<()> {
    let names = names(profile);
    let Some(goal) = profile.goals.keys().find(|goal| !names.contains(goal)) else { return Ok(()) };
    let similarity = |name: &&String| strsim::normalized_damerau_levenshtein(goal, name);
    let nearest = names.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let hint = nearest.map_or_else(
        || "it has none".to_owned(),
        |nearest| format!("the nearest of those it has is `{nearest}`"),
    );
    anyhow::bail!("goals: no run of this profile has a figure called `{goal}`: {hint}")
}

/// The figures of a run with all that the profile measures, and with all rivals.
fn names(profile: &Profile) -> Vec<String> {
    let system = |name: String, role| System {
        name,
        role,
        durability: String::new(),
        link: None,
        version: None,
        rounds: vec![round(profile.kind)],
        merged: BTreeMap::new(),
    };
    let mut systems = vec![system("quoth".to_owned(), Role::Subject)];
    let variants = profile.variants.iter().map(|variant| format!("quoth, {}", variant.name));
    systems.extend(variants.map(|name| system(name, Role::Subject)));
    systems.extend(profile.floors.iter().map(|floor| system(floor.system().to_owned(), Role::Floor)));
    if matches!(profile.kind, Kind::Open | Kind::Closed) {
        systems.extend(RIVALS.iter().map(|name| system((*name).to_owned(), Role::Rival)));
    }
    ratios::of(profile, &systems).into_iter().map(|ratio| ratio.what).collect()
}

/// A round of a load that has all figures that such a load may have.
fn round(kind: Kind) -> Round {
    let (values, latencies): (&[&str], &[&str]) = match kind {
        Kind::Open | Kind::Closed => (
            &["acked_per_s", "delivered_per_s", "deliveries_per_cpu_s", "datagrams_per_delivery"],
            &["ack", "delivery", PUBLISH, TIMER],
        ),
        Kind::Catchup => {
            (&["caught_up_s", "delivered_per_s", "megabytes_per_s", "memory_grown_bytes"], &["catchup"])
        }
        // The floor is not restarted.
        Kind::Storm => (&["back_s"], &["reconnect"]),
        Kind::Idle => (&["bytes_per_connection", "connected_per_s"], &[]),
        Kind::Connect => (&[], &["full", "resumed"]),
    };
    let latency = Latency { p50_us: 1.0, p95_us: 1.0, p99_us: 1.0, ..Latency::default() };
    Round {
        values: values.iter().map(|name| ((*name).to_owned(), 1.0)).collect(),
        latencies: latencies.iter().map(|name| ((*name).to_owned(), latency.clone())).collect(),
        ..Round::default()
    }
}

impl Floor {
    /// As it is called in tables.
    #[must_use]
    pub fn system(self) -> &'static str {
        match self {
            Self::Relay => "quinn relay",
            Self::Websocket => "websocket relay",
            Self::Append => crate::run::APPEND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str, goal: &str) -> String {
        let text = format!(
            "about = \"\"\nkind = \"{kind}\"\nconversations = 1\nmembers = 1\nconnections = 1\npublishers_read = true\n\
             rate_per_s = 1\nfloors = [\"relay\", \"append\"]\n[goals]\n\"{goal}\" = {{ at_most = 1.0 }}"
        );
        format!("{:#}", Profile::parse(&text).expect_err(goal))
    }

    #[test]
    fn a_goal_that_no_run_has_a_figure_for_is_refused_with_the_nearest() {
        for goal in [
            "delivery p05: quoth over (quinn relay + append)",
            "delivery p50: qouth over (quinn relay + append)",
            "delivery p50: quoth over (quinn-relay + append)",
            "delivery p50 quoth over (quinn relay + append)",
        ] {
            let told = refused("open", goal);
            assert!(
                told.contains(&format!("`{goal}`: the nearest of those it has is `delivery p")),
                "{told}"
            );
        }
        // What the profile does not measure, and what rivals are not measured under.
        assert!(
            refused("open", "delivery p50: quoth over websocket relay").contains("no run of this profile")
        );
        assert!(refused("open", "acks/s: quoth over quinn relay").contains("no run of this profile"));
    }

    #[cfg(feature = "rivals")]
    #[test]
    fn all_rivals_are_known() {
        let names: Vec<_> = crate::rival::Kind::ALL.iter().map(|kind| kind.name()).collect();
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(names), sorted(RIVALS.to_vec()));
    }
}
