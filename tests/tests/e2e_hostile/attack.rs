//! Attacks one after the other, while honest clients are measured.

use std::time::{Duration, Instant};

use anyhow::ensure;
use quoth_bench::process::Usage;
use quoth_tests::hostile::attack::{Attack, Report, make};
use quoth_tests::hostile::honest::Honest;
use quoth_tests::hostile::p99;

use crate::Target;

/// How long honest clients are measured before and after the attacks.
const QUIET: Duration = Duration::from_secs(3);

/// What the honest p99 may be over what it is without an attack: twice is what is wanted. The attackers' own
/// work is done on the same two cores, and what else the machine has to do as well, so that CI fails only for
/// what no noise makes. The figure `hostile` tells what it is.
const RATIO_MAX: f64 = 10.0;

/// Plays attacks of a script one after the other, and checks what becomes of each and that honest clients go
/// on.
pub(crate) fn play(target: &Target, script: &str, attacks: &[Attack], lasts: Duration) -> anyhow::Result<()> {
    let honest = Honest::start(&target.server)?;
    let mut quiet = honest.measure(QUIET)?;
    let mut attacked = Vec::new();
    println!("attack            frames  p99 [us]  server's cpu [ms]  grown [KiB]  ends");
    for attack in attacks {
        let name = attack.0;
        let (since, before) = (Instant::now(), Usage::of(target.server.pid())?.cpu_s);
        let Report { frames, ends } = make(&target.server, script, *attack, lasts)?;
        let cpu_ms = (Usage::of(target.server.pid())?.cpu_s - before) * 1e3;
        let took = honest.since(since)?;
        let grown = target.assert_bounded(name)?;
        let p99_us = p99(&took).as_micros();
        println!("{name:<16} {frames:>7} {p99_us:>9} {cpu_ms:>18.0} {:>12}  {ends:?}", grown / 1024);
        attacked.extend(took);
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
