//! The profile as a run records it: with all that was asked for besides, so that whoever reads it can play
//! the same.

use std::hash::Hasher as _;

use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3Default;

use super::{Plan, Replay, Subject};
use crate::profile::Kind;

/// The document.
pub(super) fn document(plan: &Plan) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(&plan.profile)?;
    document["seed"] = plan.seed.into();
    document["overrides"] = json!(plan.overrides);
    if matches!(plan.profile.kind, Kind::Open | Kind::Closed) {
        document["patience_s"] = plan.patience.as_secs_f64().into();
        document["client_threads"] = plan.threads.into();
    }
    if let Subject::Own(options) = &plan.subject {
        document["server_settings"] = json!(options.settings);
    }
    if let Some(replay) = &plan.replay {
        document["replay"] = told(replay);
    }
    Ok(document)
}

/// What the load is, in a sentence: the profile's own words, unless flags have made another load of it.
pub(super) fn about(plan: &Plan) -> String {
    const OF_THE_LOAD: &[&str] = &[
        "--rate",
        "--connections",
        "--conversations",
        "--readers",
        "--closed",
        "--window",
        "--payload",
        "--replay",
    ];
    let flags: Vec<&str> = plan.overrides.iter().copied().filter(|flag| OF_THE_LOAD.contains(flag)).collect();
    if flags.is_empty() {
        return plan.profile.about.clone();
    }
    format!("changed by {}: {}", flags.join(", "), plan.profile.told(plan.replay.is_some()))
}

fn told(replay: &Replay) -> Value {
    let lines: usize = replay.conversations.iter().map(Vec::len).sum();
    json!({
        "folder": replay.folder,
        "speed": replay.speed,
        "conversations": replay.conversations.len(),
        "lines": lines,
        "xxh3": format!("{:016x}", content(replay)),
    })
}

/// The same for the same lines at the same times.
fn content(replay: &Replay) -> u64 {
    let mut hash = Xxh3Default::new();
    for conversation in &*replay.conversations {
        hash.write_usize(conversation.len());
        for line in conversation {
            hash.write_u128(line.at.as_nanos());
            hash.write_usize(line.text.len());
            hash.write(&line.text);
        }
    }
    hash.finish()
}
