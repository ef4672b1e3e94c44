//! The rate of durable publishes now over that of a build from before. Each server is loaded by the bench of
//! its own build, since the wire may have changed in between.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Plan, Report};
use crate::process::binary;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let Some(before) = &plan.before else {
        bail!(
            "nothing to compare with: build `quoth` and `quoth-server` of an earlier commit with `cargo build --release`, and name the \
             folder that has both with --before"
        );
    };
    let (now, before) = (binary("quoth"), before.join("quoth"));
    for round in 0..plan.rounds {
        // In turns, so that neither is always the first.
        let (of_now, of_before) = if round.is_multiple_of(2) {
            let of_now = measure(&now, plan)?;
            (of_now, measure(&before, plan)?)
        } else {
            let of_before = measure(&before, plan)?;
            (measure(&now, plan)?, of_before)
        };
        let tell =
            |rate: &Rate| format!("{:.0}/s, {:.2} us of the server's time each", rate.per_s, rate.cpu_us);
        let note = format!("now {}; before {}", tell(&of_now), tell(&of_before));
        report.round(of_now.per_s / of_before.per_s, note);
    }
    Ok(())
}

/// What one run of the bench has found.
struct Rate {
    /// Publishes acked in a second.
    per_s: f64,
    /// The server's processor time for each delivery, in microseconds.
    cpu_us: f64,
}

/// Loads the server beside a program `quoth` by its bench, for a turn.
fn measure(quoth: &Path, plan: &Plan) -> anyhow::Result<Rate> {
    let dir = tempfile::tempdir_in(&plan.dir)?;
    let found = dir.path().join("found.json");
    let output = Command::new(quoth)
        .args(["bench", "throughput", "--no-floors", "--rounds", "1", "--duration", &plan.turn_s.to_string()])
        .arg("--dir")
        .arg(dir.path())
        .arg("--json")
        .arg(&found)
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("{} does not run", quoth.display()))?;
    ensure!(output.status.success(), "{}: {}", quoth.display(), String::from_utf8_lossy(&output.stderr));
    // The document of an earlier build may differ in all else.
    let found: Value = serde_json::from_str(&std::fs::read_to_string(found)?)?;
    let values = &found["systems"][0]["rounds"][0]["values"];
    let value = |name: &str| values[name].as_f64().with_context(|| format!("no {name} in {values}"));
    Ok(Rate { per_s: value("acked_per_s")?, cpu_us: value("cpu_us_per_delivery")? })
}
