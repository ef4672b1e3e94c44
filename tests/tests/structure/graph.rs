//! Rules over the dependency graph.

use std::collections::BTreeSet;

use crate::workspace::Crate;

/// The map: which of our crates each one may depend on, for builds and for tests.
const MAP: &[(&str, &[&str])] = &[
    ("quoth-protocol", &[]),
    ("quoth-lanes", &["quoth-protocol"]),
    ("quoth-core", &["quoth-protocol"]),
    ("quoth-store", &["quoth-protocol"]),
    ("quoth-certs", &[]),
    ("quoth-server", &["quoth-protocol", "quoth-lanes", "quoth-core", "quoth-store", "quoth-certs"]),
    ("quoth-client", &["quoth-protocol", "quoth-lanes"]),
    ("quoth-network", &[]),
    ("quoth-bench", &["quoth-protocol", "quoth-lanes", "quoth-certs", "quoth-network"]),
    ("quoth", &["quoth-client", "quoth-protocol", "quoth-bench"]),
    (
        "quoth-tests",
        &[
            "quoth-protocol",
            "quoth-lanes",
            "quoth-core",
            "quoth-store",
            "quoth-certs",
            "quoth-server",
            "quoth-client",
            "quoth-network",
            "quoth-bench",
            "quoth",
        ],
    ),
];

/// Dependencies that only some of our crates may declare, each behind one module there.
const DECLARED_ONLY_BY: &[(&str, &[&str])] = &[
    ("fjall", &["quoth-store", "quoth-tests"]),
    ("lsm-tree", &["quoth-store"]),
    ("rcgen", &["quoth-certs", "quoth-client"]),
    ("tun-rs", &["quoth-network"]),
    ("turmoil", &["quoth-tests"]),
];

/// Dependencies that nothing may bring: a second crypto provider makes the choice of rustls and quinn
/// ambiguous.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// What a crate must not reach, at any depth.
#[derive(Debug)]
pub(crate) struct Unreachable {
    /// The crate.
    pub(crate) from: &'static str,
    /// What it must not reach.
    pub(crate) targets: &'static [&'static str],
}

/// The crates without IO, clock and entropy, and the client side without the server's parts.
pub(crate) const UNREACHABLE: &[Unreachable] = &[
    Unreachable { from: "quoth-protocol", targets: IMPURE },
    Unreachable { from: "quoth-lanes", targets: IMPURE },
    Unreachable { from: "quoth-core", targets: IMPURE },
    Unreachable { from: "quoth-server", targets: &["quoth-client"] },
    Unreachable { from: "quoth-client", targets: SERVER_SIDE },
    Unreachable { from: "quoth-bench", targets: SERVER_SIDE },
    Unreachable { from: "quoth", targets: SERVER_SIDE },
];

const IMPURE: &[&str] = &[
    "tokio",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "fjall",
    "rand",
    "rand_core",
    "getrandom",
    "mio",
    "socket2",
];
const SERVER_SIDE: &[&str] = &["fjall", "quoth-server", "quoth-core", "quoth-store"];

/// Dependencies among our crates that the map does not have.
pub(crate) fn off_the_map(crates: &[Crate]) -> Vec<String> {
    let ours: BTreeSet<&str> = crates.iter().map(|c| c.name.as_str()).collect();
    let mut violations = Vec::new();
    for c in crates {
        let Some((_, allowed)) = MAP.iter().find(|(name, _)| *name == c.name) else {
            violations.push(format!("{} is not on the map in structure/graph.rs", c.name));
            continue;
        };
        let wrong =
            c.dependencies.iter().filter(|d| ours.contains(d.as_str()) && !allowed.contains(&d.as_str()));
        violations.extend(wrong.map(|d| format!("{} must not depend on {d}", c.name)));
    }
    violations
}

/// Guarded dependencies that a crate declares which must not.
pub(crate) fn declared_by_others(crates: &[Crate]) -> Vec<String> {
    let mut violations = Vec::new();
    for (guarded, declarers) in DECLARED_ONLY_BY {
        let wrong = crates.iter().filter(|c| c.dependencies.iter().any(|d| d == guarded));
        let wrong = wrong.filter(|c| !declarers.contains(&c.name.as_str()));
        violations.extend(wrong.map(|c| format!("{} must not depend on {guarded}", c.name)));
    }
    violations
}

/// What a rule forbids among what its crate reaches.
pub(crate) fn reached(rule: &Unreachable, reachable: &BTreeSet<String>) -> Vec<String> {
    let wrong = rule.targets.iter().filter(|target| reachable.contains(**target));
    wrong
        .map(|target| format!("{} must not reach {target}; see `cargo tree -i {target}`", rule.from))
        .collect()
}

/// What nothing may bring, among all that is built.
pub(crate) fn banned(reachable: &BTreeSet<String>) -> Vec<String> {
    let wrong = BANNED.iter().filter(|name| reachable.contains(**name));
    wrong.map(|name| format!("{name} must not be built; see `cargo tree -i {name}`")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{UNREACHABLE, banned, declared_by_others, off_the_map, reached};
    use crate::workspace::Crate;

    fn planted(name: &str, dependencies: &[&str]) -> Crate {
        Crate {
            name: name.to_owned(),
            folder: name.to_owned(),
            manifest: String::new(),
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
        }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_dependency_against_the_map_is_caught() {
        let protocol = planted("quoth-protocol", &["bytes"]);
        let client = planted("quoth-client", &["quoth-protocol", "tokio"]);
        assert!(off_the_map(&[protocol.clone(), client.clone()]).is_empty());
        let server = planted("quoth-server", &["quoth-protocol", "quoth-client"]);
        let tests = planted("quoth-tests", &["quoth-server"]);
        let core = planted("quoth-core", &["quoth-tests"]);
        let violations = off_the_map(&[protocol, client, server, tests, core]);
        assert_eq!(
            violations,
            ["quoth-server must not depend on quoth-client", "quoth-core must not depend on quoth-tests"]
        );
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_caught() {
        assert_eq!(off_the_map(&[planted("quoth-extra", &[])]).len(), 1);
    }

    #[test]
    fn a_guarded_dependency_elsewhere_is_caught() {
        assert!(declared_by_others(&[planted("quoth-store", &["fjall"])]).is_empty());
        let violations = declared_by_others(&[planted("quoth-server", &["fjall", "tokio"])]);
        assert_eq!(violations, ["quoth-server must not depend on fjall"]);
    }

    #[test]
    fn a_reached_runtime_is_caught() {
        let core = UNREACHABLE.iter().find(|rule| rule.from == "quoth-core").unwrap();
        assert!(reached(core, &names(&["bytes", "serde"])).is_empty());
        assert_eq!(reached(core, &names(&["bytes", "tokio", "rand"])).len(), 2);
    }

    #[test]
    fn a_second_crypto_provider_is_caught() {
        assert!(banned(&names(&["aws-lc-rs", "rustls"])).is_empty());
        assert_eq!(banned(&names(&["aws-lc-rs", "ring"])).len(), 1);
    }
}
