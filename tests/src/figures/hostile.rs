//! What an honest conversation notices of peers that break QUIC and WebSocket or wear them out, one attack
//! after the other.
//!
//! The attackers are processes on the processors of the server and of the honest clients, if with the least
//! priority, so that what they take is missing there even if the server does nothing for them. So each attack
//! is made twice, on another server beside this one and on this one, and before both it is measured without
//! any: the first ratio has what an attack takes altogether, the second what it takes of the server that it
//! is made on.

use std::time::{Duration, Instant};

use super::target::Target;
use super::{Plan, Report};
use crate::hostile::attack::{OVER_QUIC, OVER_WEBSOCKET, QUIC, WEBSOCKET, make};
use crate::hostile::honest::Honest;
use crate::hostile::p99;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..plan.rounds {
        round(plan, report)?;
    }
    Ok(())
}

fn round(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (target, other) = (Target::quoth(&plan.dir)?, Target::quoth(&plan.dir)?);
    let honest = Honest::start(target.server())?;
    let lasts = Duration::from_secs(plan.attack_s);
    let of_quic = QUIC.iter().map(|attack| (OVER_QUIC, *attack));
    let of_websocket = WEBSOCKET.iter().map(|attack| (OVER_WEBSOCKET, *attack));
    let (mut quiet, mut beside, mut attacked) = (Vec::new(), Vec::new(), Vec::new());
    let mut worst = (0.0, String::new());
    for (script, attack) in of_quic.chain(of_websocket) {
        quiet.extend(honest.measure(lasts)?);
        let attack_on = |target: &Target| {
            let since = Instant::now();
            make(target.server(), script, attack, lasts)?;
            honest.since(since)
        };
        let (of_other, of_this) = (attack_on(&other)?, attack_on(&target)?);
        let ratio = ratio(&of_this, &of_other);
        if ratio > worst.0 {
            worst = (ratio, format!("{} of {script}", attack.0));
        }
        beside.extend(of_other);
        attacked.extend(of_this);
    }
    honest.end()?;
    let ms = |times: &[Duration]| p99(times).as_secs_f64() * 1e3;
    let note = format!(
        "p99 {:.2} ms under {} attacks ({} messages), {:.2} under attacks on another server ({}), {:.2} without \
         ({}); worst {:.2} times the other's under {}",
        ms(&attacked),
        QUIC.len() + WEBSOCKET.len(),
        attacked.len(),
        ms(&beside),
        beside.len(),
        ms(&quiet),
        quiet.len(),
        worst.0,
        worst.1,
    );
    report.round_of_rows(&[ratio(&attacked, &beside), ratio(&attacked, &quiet)], note);
    Ok(())
}

fn ratio(these: &[Duration], those: &[Duration]) -> f64 {
    p99(these).as_secs_f64() / p99(those).as_secs_f64()
}
