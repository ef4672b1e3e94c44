//! Peers that break QUIC or wear it out, on another QUIC stack: `tests/independent/hostile.py` has what each of them sends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use quoth_tests::independent::{add_server, python};
use serde::Deserialize;

use crate::honest::Honest;
use crate::{Target, p99, seconds};

/// How long honest clients are measured before and after the attacks.
const QUIET: Duration = Duration::from_secs(3);

/// What the honest p99 may be over what it is without an attack. It is hardly ever over 2, but the attackers' own work is done on the
/// same two cores, which other tests may have as well.
const RATIO_MAX: f64 = 8.0;

/// What becomes of an attacker.
enum Outcome {
    /// It is closed, with this in the reason.
    Closed(&'static str),
    /// It is closed, with this in the reason, or not, as packets are lost.
    Perhaps(&'static str),
    /// What it sends is valid, and costs the server too little for more than taking it.
    Taken,
}
use Outcome::{Closed, Perhaps, Taken};

const ATTACKS: [(&str, Outcome); 22] = [
    ("gaps", Closed("too many gaps")),
    ("gaps_of_many", Perhaps("too many gaps")),
    ("tiny", Taken),
    ("repeats", Taken),
    ("connection_ids", Taken),
    ("retired_ids", Closed("RETIRE_CONNECTION_ID")),
    ("path_challenges", Taken),
    ("resets", Closed("RATE_LIMITED")),
    ("stops", Taken),
    ("bogus_acks", Closed("unsent packet")),
    ("old_acks", Taken),
    ("blocked", Taken),
    ("credit", Taken),
    ("pings", Taken),
    ("crypto_gaps", Closed("too many gaps")),
    ("crypto_far", Closed("the transport's 0xd")),
    ("datagrams", Closed("RATE_LIMITED")),
    ("long_lengths", Closed("the transport's 0x7")),
    ("long_offsets", Closed("the transport's 0x3")),
    ("long_ends", Closed("the transport's 0x3")),
    ("many_streams", Closed("the transport's 0x4")),
    ("unknown_frames", Closed("the transport's 0x7")),
];

#[derive(Deserialize)]
struct Report {
    frames: u64,
    /// How connections ended, and how many in each way.
    ends: BTreeMap<String, u64>,
}

fn attack(target: &Target, name: &str, token: &str, lasts: Duration) -> anyhow::Result<Report> {
    let mut attacker = python("hostile.py");
    // Its work is another machine's in earnest.
    let mut nice = std::process::Command::new("nice");
    nice.args(["-n", "19"]).arg(attacker.get_program()).args(attacker.get_args());
    attacker = nice;
    add_server(&mut attacker, &target.server).args(["--token", token, "--attack", name]);
    let output = attacker.args(["--seconds", &lasts.as_secs_f64().to_string()]).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn hostile_peers_are_closed_or_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    let token = target.server.token("bob")?;
    let lasts = seconds(1.0);
    let honest = Honest::start(&target.server)?;
    let mut quiet = honest.measure(QUIET)?;
    let mut attacked = Vec::new();
    println!("attack            frames  p99 [us]  grown [KiB]  ends");
    for (name, outcome) in ATTACKS {
        let since = Instant::now();
        let Report { frames, ends } = attack(&target, name, &token, lasts)?;
        let took = honest.since(since)?;
        let grown = target.assert_bounded(name)?;
        println!("{name:<16} {frames:>7} {:>9} {:>12}  {ends:?}", p99(&took).as_micros(), grown / 1024);
        attacked.extend(took);
        ensure!(frames > 100, "{name} has sent {frames} frames");
        match outcome {
            Closed(reason) => ensure!(ends.keys().any(|end| end.contains(reason)), "{name}: {ends:?}"),
            Perhaps(reason) => {
                ensure!(
                    ends.keys().all(|end| end == "still open" || end.contains(reason)),
                    "{name}: {ends:?}"
                );
            }
            Taken => ensure!(ends.keys().all(|end| end == "still open"), "{name}: {ends:?}"),
        }
    }
    quiet.extend(honest.measure(QUIET)?);
    honest.end()?;
    let log = target.log();
    ensure!(log.contains("too many gaps") && log.contains("rate_limited"), "the log tells nothing: {log}");
    ensure!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    let (quiet, attacked) = (p99(&quiet), p99(&attacked));
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
    println!("honest delivery p99: {quiet:?} without, {attacked:?} under attack: {ratio:.2} times");
    ensure!(ratio <= RATIO_MAX, "{ratio}");
    Ok(())
}
