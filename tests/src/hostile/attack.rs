//! Attacks by programs of their own, on another QUIC stack or by hand: `tests/independent/hostile*.py` have
//! what each of them sends.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use serde::Deserialize;

use crate::independent::{add_server, python};
use crate::process::ServerProcess;

/// What becomes of an attacker.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// It is closed, with this in the reason.
    Closed(&'static str),
    /// It is closed, with this in the reason, or not, as packets are lost.
    Perhaps(&'static str),
    /// What it sends is valid, and costs the server too little for more than taking it.
    Taken,
}

use Outcome::{Closed, Perhaps, Taken};

/// An attack by its name, and what becomes of who makes it.
pub type Attack = (&'static str, Outcome);

/// Of peers that break QUIC or wear it out, in [`OVER_QUIC`]'s script.
pub const QUIC: [Attack; 22] = [
    ("gaps", Closed("too many gaps")),
    ("gaps_of_many", Perhaps("too many gaps")),
    ("tiny", Taken),
    ("repeats", Taken),
    ("connection_ids", Taken),
    ("retired_ids", Perhaps("RETIRE_CONNECTION_ID")),
    ("path_challenges", Taken),
    ("resets", Closed("RATE_LIMITED")),
    ("stops", Taken),
    ("bogus_acks", Closed("unsent packet")),
    // quinn leaves out a packet number now and then, and closes who acknowledges it.
    ("old_acks", Perhaps("unsent packet")),
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

/// The script of [`QUIC`].
pub const OVER_QUIC: &str = "hostile.py";

/// The statuses of `FRAME_TOO_LARGE` in RFC 6455 and of `RATE_LIMITED`.
const TOO_LARGE: Outcome = Closed("1009");
const FLOOD: Outcome = Closed("4261");

/// Of WebSockets that wear the server out, in [`OVER_WEBSOCKET`]'s script.
pub const WEBSOCKET: [Attack; 7] = [
    ("fragments", TOO_LARGE),
    ("nothings", TOO_LARGE),
    ("pings", FLOOD),
    ("pongs", FLOOD),
    ("lane_pings", Taken),
    ("lane_credit", Taken),
    ("lanes_reset", FLOOD),
];

/// The script of [`WEBSOCKET`].
pub const OVER_WEBSOCKET: &str = "hostile_websocket.py";

/// What an attack was, as its script tells.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Frames that were sent.
    pub frames: u64,
    /// How connections ended, and how many in each way.
    pub ends: BTreeMap<String, u64>,
}

impl Outcome {
    /// Whether that has come of it.
    fn is_of(self, ends: &BTreeMap<String, u64>) -> bool {
        let mut reasons = ends.keys();
        match self {
            Self::Closed(reason) => reasons.any(|end| end.contains(reason)),
            Self::Perhaps(reason) => reasons.all(|end| end == "still open" || end.contains(reason)),
            Self::Taken => reasons.all(|end| end == "still open"),
        }
    }
}

/// Makes an attack in the name of bob for so long, or until it is closed as is to be, and checks what becomes of it.
///
/// # Errors
/// When the script fails or has hardly attacked, or something else becomes of it.
pub fn make(
    server: &ServerProcess,
    script: &str,
    (name, outcome): Attack,
    lasts: Duration,
) -> anyhow::Result<Report> {
    /// As in `hostile_run.py`.
    const FRAMES_MIN: u64 = 100;
    let program = python(script);
    // Its work would be another machine's.
    let mut attacker = Command::new("nice");
    attacker.args(["-n", "19"]).arg(program.get_program()).args(program.get_args());
    if let Closed(reason) = outcome {
        attacker.args(["--closed", reason]);
    }
    add_server(&mut attacker, server).args(["--token", &server.token("bob")?, "--attack", name]);
    let output = attacker.args(["--seconds", &lasts.as_secs_f64().to_string()]).output()?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Report = serde_json::from_slice(&output.stdout)?;
    ensure!(report.frames >= FRAMES_MIN, "{name} has sent {} frames", report.frames);
    ensure!(outcome.is_of(&report.ends), "{name}: {:?}", report.ends);
    Ok(report)
}
