//! Whether two runs have played the same load: else no figure of one says anything of the other.

use serde_json::Value;

use crate::outcome::Outcome;

/// What a profile's document has besides the load: how it was measured, what beside, and what was hoped for.
const METHOD: &[&str] = &[
    "about",
    "rounds",
    "floors",
    "goals",
    "variant",
    "warm_up_s",
    "duration_s",
    "network",
    "seed",
    "patience_s",
    "client_threads",
    "server_settings",
    "overrides",
];

/// Refuses runs of different loads.
///
/// # Errors
/// With what differs.
pub(super) fn check_same(before: &Outcome, after: &Outcome) -> anyhow::Result<()> {
    let mut differing = differing(before, after, |key| !METHOD.contains(&key));
    differing.extend(differing_variants(before, after));
    if before.network != after.network {
        differing.push(format!("network ({}; {})", before.network_text(), after.network_text()));
    }
    anyhow::ensure!(
        differing.is_empty(),
        "the runs are of different loads, so their figures cannot be compared: {}; play the same profile with the same flags",
        differing.join(", ")
    );
    Ok(())
}

/// Variants that have a name in both runs, and another shape.
fn differing_variants(before: &Outcome, after: &Outcome) -> Vec<String> {
    let variants = |outcome: &Outcome| -> Vec<Value> {
        outcome.profile.get("variant").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let was = variants(before);
    let differs = |is: &Value| was.iter().any(|was| was["name"] == is["name"] && was != is);
    variants(after).iter().filter(|is| differs(is)).map(|is| format!("variant {}", is["name"])).collect()
}

/// What differs in how the same load was measured.
pub(super) fn differing_method(before: &Outcome, after: &Outcome) -> Vec<String> {
    // What is only said about a load, or hoped of it, changes no figure; floors and variants that one run
    // lacks are told elsewhere.
    const TELLS: &[&str] =
        &["warm_up_s", "duration_s", "seed", "patience_s", "client_threads", "server_settings"];
    differing(before, after, |key| TELLS.contains(&key))
}

/// Keys of the profiles' documents that differ, with both values.
fn differing(before: &Outcome, after: &Outcome, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let empty = serde_json::Map::new();
    let object = |outcome: &'_ Outcome| outcome.profile.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (was, is) = (object(before), object(after));
    let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let told = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
    let keys = keys.into_iter().filter(|key| counts(key) && was.get(*key) != is.get(*key));
    keys.map(|key| format!("{key} ({}; {})", told(was.get(key)), told(is.get(key)))).collect()
}
