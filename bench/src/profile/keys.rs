//! Which keys of a profile mean something for which kinds of load: one that means nothing is refused, since
//! whoever has written it expects something of it.

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
        assert!(refused(&variant).contains("`duration_s` is nothing that a variant may give"));
    }

    #[test]
    fn a_key_that_means_nothing_is_told_with_who_takes_it() {
        let text = "about = \"\"\nkind = \"open\"\nconversations = 1\nmembers = 1\nconnections = 1\nrate_per_s = 1\n";
        let told = refused(&format!("{text}window = 2"));
        assert!(told.contains("`window` means nothing for kind \"open\""), "{told}");
        assert!(told.contains("kind \"closed\" (fanout, throughput, spread, "), "{told}");
        let told = refused(&format!("{text}[[variant]]\nname = \"x\"\nwindow = 2"));
        assert!(told.starts_with("line 9: `window` means nothing"), "{told}");
    }
}
