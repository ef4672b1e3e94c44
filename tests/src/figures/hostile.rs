//! What an honest conversation notices of peers that break QUIC and WebSocket or wear them out, one attack
//! after the other.
//!
//! Before each attack it is measured without one for as long, so that both meet the same disk and the same
//! machine. The attackers are processes with the least priority on the same processors.

use std::time::{Duration, Instant};

use super::target::Target;
use super::{Plan, Report};
use crate::hostile::attack::{OVER_QUIC, OVER_WEBSOCKET, QUIC, WEBSOCKET, make};
use crate::hostile::honest::Honest;
use crate::hostile::p99;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..plan.rounds {
        let target = Target::quoth(&plan.dir)?;
        let honest = Honest::start(target.server())?;
        let of_quic = QUIC.iter().map(|attack| (OVER_QUIC, *attack));
        let of_websocket = WEBSOCKET.iter().map(|attack| (OVER_WEBSOCKET, *attack));
        let (mut quiet, mut attacked, mut worst) = (Vec::new(), Vec::new(), (Duration::ZERO, String::new()));
        for (script, attack) in of_quic.chain(of_websocket) {
            quiet.extend(honest.measure(Duration::from_secs(plan.attack_s))?);
            let since = Instant::now();
            make(target.server(), script, attack, Duration::from_secs(plan.attack_s))?;
            let took = honest.since(since)?;
            worst = worst.max((p99(&took), format!("{} of {script}", attack.0)));
            attacked.extend(took);
        }
        honest.end()?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let note = format!(
            "p99 {:.2} ms under {} attacks ({} messages), {:.2} without ({}); worst {:.2} under {}",
            ms(p99(&attacked)),
            QUIC.len() + WEBSOCKET.len(),
            attacked.len(),
            ms(p99(&quiet)),
            quiet.len(),
            ms(worst.0),
            worst.1,
        );
        report.round(p99(&attacked).as_secs_f64() / p99(&quiet).as_secs_f64(), note);
    }
    Ok(())
}
