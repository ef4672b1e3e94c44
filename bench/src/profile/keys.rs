//! Which keys of a profile mean something for which kinds of load: one that means nothing is refused, since whoever has
//! written it expects something of it.

use anyhow::Context as _;
use toml::Table;

use super::{BUILT_IN, Kind, Profile};

const TRAFFIC: &[Kind] = &[Kind::Open, Kind::Closed];
const WITH_ROLES: &[Kind] = &[Kind::Open, Kind::Closed, Kind::Catchup];

/// Keys that every kind takes.
pub(super) const OF_ALL: &[&str] =
    &["about", "kind", "conversations", "connections", "rounds", "network", "floors", "goals", "variant"];

/// The others, and who takes them.
pub(super) const OF_SOME: &[(&str, &[Kind])] = &[
    ("members", WITH_ROLES),
    ("publishers", WITH_ROLES),
    ("publishers_read", TRAFFIC),
    ("publishers_near", TRAFFIC),
    ("stalled", TRAFFIC),
    ("transport", &[Kind::Open, Kind::Closed, Kind::Idle]),
    ("rate_per_s", &[Kind::Open]),
    ("arrival", &[Kind::Open]),
    ("window", &[Kind::Closed]),
    ("window_of", &[Kind::Closed]),
    ("window_until", &[Kind::Closed]),
    ("backlog", &[Kind::Catchup, Kind::Storm]),
    ("at_once", &[Kind::Catchup, Kind::Storm, Kind::Idle, Kind::Connect]),
    ("tickets", &[Kind::Storm]),
    ("payload", &[Kind::Open, Kind::Closed, Kind::Catchup, Kind::Storm, Kind::Connect]),
    ("warm_up_s", TRAFFIC),
    ("duration_s", TRAFFIC),
];

/// What a variant may give.
pub(super) const OF_VARIANTS: &[&str] = &[
    "name",
    "conversations",
    "members",
    "connections",
    "window",
    "rate_per_s",
    "arrival",
    "stalled",
    "tickets",
];

/// Who takes a key; `None` for whoever there is.
pub(super) fn kinds(key: &str) -> Option<&'static [Kind]> {
    OF_SOME.iter().find(|(known, _)| *known == key).map(|(_, kinds)| *kinds)
}

/// Whether a key means something for a kind of load.
#[must_use]
pub fn takes(kind: Kind, key: &str) -> bool {
    kinds(key).is_none_or(|kinds| kinds.contains(&kind))
}

/// Who takes a key, as in `kind "closed" (fanout, throughput)`.
#[must_use]
pub fn takers(key: &str) -> String {
    let kinds = kinds(key).unwrap_or(&[]);
    let names: Vec<String> = kinds.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
    let built_in = BUILT_IN
        .iter()
        .filter(|(_, text)| toml::from_str::<Head>(text).is_ok_and(|head| kinds.contains(&head.kind)));
    let built_in: Vec<&str> = built_in.map(|(name, _)| *name).collect();
    format!("kind {} ({})", names.join(" or "), built_in.join(", "))
}

/// As much of a profile as tells its kind.
#[derive(serde::Deserialize)]
struct Head {
    kind: Kind,
}

/// Refuses keys that nobody knows, and those that mean nothing for the profile's kind.
pub(super) fn check(table: &Table) -> anyhow::Result<()> {
    let known: Vec<&str> = OF_ALL.iter().copied().chain(OF_SOME.iter().map(|(key, _)| *key)).collect();
    let kind = table.get("kind").and_then(|kind| kind.clone().try_into::<Kind>().ok());
    check_level(table, &known, kind)?;
    let variants = table.get("variant").and_then(|variants| variants.as_array()).into_iter().flatten();
    for variant in variants.filter_map(|variant| variant.as_table()) {
        let name = variant.get("name").and_then(|name| name.as_str()).unwrap_or_default();
        check_level(variant, OF_VARIANTS, kind).with_context(|| format!("variant {name}"))?;
    }
    Ok(())
}

fn check_level(table: &Table, known: &[&str], kind: Option<Kind>) -> anyhow::Result<()> {
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            let nearest = known.iter().max_by(|a, b| similarity(key, a).total_cmp(&similarity(key, b)));
            let nearest = nearest.filter(|near| similarity(key, near) > 0.7);
            let hint = nearest.map_or_else(
                || format!("there are {}", known.join(", ")),
                |nearest| format!("do you mean `{nearest}`?"),
            );
            anyhow::bail!("`{key}` is unknown here: {hint}");
        }
        if let Some(kind) = kind.filter(|kind| !takes(*kind, key)) {
            anyhow::bail!("`{key}` means nothing for kind \"{}\"; it is for {}", kind.name(), takers(key));
        }
    }
    Ok(())
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

impl Profile {
    /// The kind of load takes it or not: as [`takes`], for this profile.
    #[must_use]
    pub fn takes(&self, key: &str) -> bool {
        takes(self.kind, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Profile::parse(text).expect_err("it is refused"))
    }

    #[test]
    fn an_unknown_key_is_told_with_the_one_that_may_be_meant() {
        let text = "about = \"\"\nkind = \"idle\"\nconversations = 1\nconnections = 1\n";
        assert!(
            refused(&format!("{text}warmup_s = 2"))
                .contains("`warmup_s` is unknown here: do you mean `warm_up_s`?")
        );
        assert!(refused(&format!("{text}xyz = 2")).contains("`xyz` is unknown here: there are about, kind"));
        let variant = format!("{text}[[variant]]\nname = \"more\"\nduration_s = 5");
        assert!(refused(&variant).contains("more") && refused(&variant).contains("`duration_s` is unknown"));
    }

    #[test]
    fn a_key_that_means_nothing_is_told_with_who_takes_it() {
        let text = "about = \"\"\nkind = \"open\"\nconversations = 1\nmembers = 1\nconnections = 1\nrate_per_s = 1\n";
        let told = refused(&format!("{text}window = 2"));
        assert!(told.contains("`window` means nothing for kind \"open\""), "{told}");
        assert!(told.contains("kind \"closed\" (fanout, throughput, spread, "), "{told}");
        let told = refused(&format!("{text}[[variant]]\nname = \"x\"\nwindow = 2"));
        assert!(told.contains("variant") && told.contains("`window` means nothing"), "{told}");
    }
}
