//! Attacks by programs of their own, while honest clients are measured.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use quoth_bench::process::Usage;
use quoth_tests::independent::{add_server, python};
use serde::Deserialize;

use crate::Target;
use crate::honest::Honest;
use crate::p99;

/// How long honest clients are measured before and after the attacks.
const QUIET: Duration = Duration::from_secs(3);

/// What the honest p99 may be over what it is without an attack: twice is what is wanted. The attackers' own work is done on the
/// same two cores, and what else the machine has to do as well, so that CI fails only for what no noise makes.
const RATIO_MAX: f64 = 10.0;

/// What becomes of an attacker.
pub(crate) enum Outcome {
    /// It is closed, with this in the reason.
    Closed(&'static str),
    /// It is closed, with this in the reason, or not, as packets are lost.
    Perhaps(&'static str),
    /// What it sends is valid, and costs the server too little for more than taking it.
    Taken,
}

#[derive(Deserialize)]
struct Report {
    frames: u64,
    /// How connections ended, and how many in each way.
    ends: BTreeMap<String, u64>,
}

fn attack(target: &Target, script: &str, name: &str, token: &str, lasts: Duration) -> anyhow::Result<Report> {
    let program = python(script);
    // Its work would be another machine's.
    let mut attacker = Command::new("nice");
    attacker.args(["-n", "19"]).arg(program.get_program()).args(program.get_args());
    add_server(&mut attacker, &target.server).args(["--token", token, "--attack", name]);
    let output = attacker.args(["--seconds", &lasts.as_secs_f64().to_string()]).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Plays attacks of a script one after the other, and checks what becomes of each and that honest clients go on.
pub(crate) fn play(
    target: &Target,
    script: &str,
    attacks: &[(&str, Outcome)],
    lasts: Duration,
) -> anyhow::Result<()> {
    let token = target.server.token("bob")?;
    let honest = Honest::start(&target.server)?;
    let mut quiet = honest.measure(QUIET)?;
    let mut attacked = Vec::new();
    println!("attack            frames  p99 [us]  server's cpu [ms]  grown [KiB]  ends");
    for (name, outcome) in attacks {
        let (since, before) = (Instant::now(), Usage::of(target.server.pid())?.cpu_s);
        let Report { frames, ends } = attack(target, script, name, &token, lasts)?;
        let cpu_ms = (Usage::of(target.server.pid())?.cpu_s - before) * 1e3;
        let took = honest.since(since)?;
        let grown = target.assert_bounded(name)?;
        let p99_us = p99(&took).as_micros();
        println!("{name:<16} {frames:>7} {p99_us:>9} {cpu_ms:>18.0} {:>12}  {ends:?}", grown / 1024);
        attacked.extend(took);
        ensure!(frames > 100, "{name} has sent {frames} frames");
        let mut reasons = ends.keys();
        let is_expected = match outcome {
            Outcome::Closed(reason) => reasons.any(|end| end.contains(reason)),
            Outcome::Perhaps(reason) => reasons.all(|end| end == "still open" || end.contains(reason)),
            Outcome::Taken => reasons.all(|end| end == "still open"),
        };
        ensure!(is_expected, "{name}: {ends:?}");
    }
    quiet.extend(honest.measure(QUIET)?);
    honest.end()?;
    let log = target.log();
    ensure!(log.contains("rate_limited"), "the log does not tell of it: {log}");
    ensure!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    let (quiet, attacked) = (p99(&quiet), p99(&attacked));
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
    println!("honest delivery p99: {quiet:?} without, {attacked:?} under attack: {ratio:.2} times");
    ensure!(ratio <= RATIO_MAX, "{ratio}");
    Ok(())
}
