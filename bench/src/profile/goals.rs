//! Which goals a profile may have: those for which a run can find a figure. A goal that nothing is ever held
//! to looks like one that is reached. And for which load they are: one that was stated for another load says
//! nothing of this one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::figure::{PUBLISH, TIMER};
use crate::outcome::{Goal, Latency, Role, Round, System};
use crate::run::ratios;

use super::{BUILT_IN, Floor, Kind, Profile};

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

/// The key of the table that is no goal.
pub(super) const LOAD_OF: &str = "load_of";

/// What the ratios of a run should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Goals {
    /// The built-in profile whose load they are for, so that who copies them to another load is not judged by
    /// them. Without it they are for the load of the profile that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_of: Option<String>,
    /// By the ratios' names; one that no run of the profile has is refused.
    #[serde(flatten)]
    pub of: BTreeMap<String, Goal>,
}

impl Profile {
    /// Why its goals are not for its load, where they are for another one.
    #[must_use]
    pub fn goals_of_another_load(&self) -> Option<String> {
        let name = self.goals.load_of.as_ref()?;
        let meant = Self::find(name).ok()?;
        let differing = differing(self, &meant);
        (!differing.is_empty()).then(|| {
            format!(
                "the goals are for the load of `{name}`, and this one differs in {}",
                differing.join(", ")
            )
        })
    }
}

/// In what a load differs from the one that is meant, as in `rate_per_s (500, not 1000)`.
fn differing(profile: &Profile, meant: &Profile) -> Vec<String> {
    /// How a load is measured, what beside, and what is said of it. Variants have loads of their own, and are
    /// looked at apart.
    const NOT_THE_LOAD: &[&str] = &["about", "rounds", "floors", "goals", "variant"];
    /// How long it is measured: longer is as good, and in a shorter time there are other figures.
    const TIMES: &[&str] = &["warm_up_s", "duration_s"];
    if profile.kind != meant.kind {
        return vec![format!("kind ({}, not {})", profile.kind.name(), meant.kind.name())];
    }
    let document = |profile: &Profile| {
        let network = profile.network.clone().filter(|network| network != "loopback");
        serde_json::to_value(Profile { network, ..profile.clone() }).unwrap_or_default()
    };
    let (is, was) = (document(profile), document(meant));
    let keys = is.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let is_enough = |key: &str| TIMES.contains(&key) && is[key].as_f64() >= was[key].as_f64();
    let keys = keys.filter(|key| profile.takes(key) && !NOT_THE_LOAD.contains(key));
    let keys = keys.filter(|key| is[*key] != was[*key] && !is_enough(key));
    let told = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        // A whole number is one, whichever type it has.
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut differing: Vec<String> =
        keys.map(|key| format!("{key} ({}, not {})", told(&is[key]), told(&was[key]))).collect();
    let variants = profile
        .variants
        .iter()
        .filter(|variant| meant.variants.iter().any(|meant| meant.name == variant.name && meant != *variant));
    differing.extend(variants.map(|variant| format!("variant `{}`", variant.name)));
    differing
}

/// Refuses goals that no run of the profile can have a figure for, or that are for a load that is not known.
pub(super) fn check(profile: &Profile) -> anyhow::Result<()> {
    if let Some(name) = profile.goals.load_of.as_deref() {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        anyhow::ensure!(
            names.contains(&name),
            "goals: load_of = \"{name}\" is none of the built-in profiles, which are {}; without load_of they are for the load that \
             this file has",
            names.join(", ")
        );
    }
    let names = names(profile);
    let Some(goal) = profile.goals.of.keys().find(|goal| !names.contains(goal)) else { return Ok(()) };
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

    /// A built-in profile in a file of one's own, with changes.
    fn copied(name: &str, changes: &[(&str, &str)]) -> Option<String> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).expect(name);
        let text = changes.iter().fold((*text).to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{name} has no {from}");
            text.replacen(from, to, 1)
        });
        Profile::parse(&text).unwrap_or_else(|error| panic!("{error:#}")).goals_of_another_load()
    }

    #[test]
    fn goals_that_were_copied_to_another_load_are_not_for_it() {
        assert_eq!(copied("latency", &[]), None);
        // How it is measured is not the load.
        assert_eq!(
            copied("latency", &[("kind", "rounds = 9\nfloors = [\"relay\", \"append\"]\nkind")]),
            None
        );
        assert_eq!(copied("latency", &[("kind", "network = \"loopback\"\nkind")]), None);
        assert_eq!(copied("latency", &[("kind", "duration_s = 30\nwarm_up_s = 5\nkind")]), None);
        let told =
            copied("latency", &[("kind", "duration_s = 1\nwarm_up_s = 5\nkind")]).expect("it is shorter");
        assert!(told.ends_with("differs in duration_s (1, not 5)"), "{told}");
        let told = copied("latency", &[("1000", "500"), ("kind", "payload = 50\nkind")]).expect("it differs");
        assert_eq!(
            told,
            "the goals are for the load of `latency`, and this one differs in payload (50, not 200), rate_per_s (500, not 1000)"
        );
        let told = copied("spread", &[("conversations = 1000\n", "conversations = 10\n")]);
        assert!(told.is_some_and(|told| told.ends_with("differs in variant `1,000 conversations`")));
        let own = [("load_of = \"latency\"\n", ""), ("1000", "500")];
        assert_eq!(copied("latency", &own), None, "stated for the load that they stand beside");
    }

    #[test]
    fn the_goals_of_a_built_in_profile_are_tied_to_it() {
        for (name, _) in BUILT_IN {
            let goals = Profile::find(name).expect(name).goals;
            assert_eq!(goals.load_of.as_deref(), (!goals.of.is_empty()).then_some(*name), "{name}");
        }
        let told =
            refused("open", "delivery p50: quoth over quinn relay\" = { at_most = 1 }\nload_of = \"chats\"#");
        assert!(
            told.contains("load_of = \"chats\" is none of the built-in profiles, which are chat"),
            "{told}"
        );
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
