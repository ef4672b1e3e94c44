//! Peers that break QUIC or wear it out, on another QUIC stack: `tests/independent/hostile.py` has what each of them sends.

use crate::attack::Outcome::{Closed, Perhaps, Taken};
use crate::attack::{Outcome, play};
use crate::{Target, seconds};

const ATTACKS: [(&str, Outcome); 22] = [
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

#[test]
fn hostile_peers_are_closed_or_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    play(&target, "hostile.py", &ATTACKS, seconds(1.0))?;
    let log = target.log();
    anyhow::ensure!(log.contains("too many gaps"), "the log does not tell of it: {log}");
    Ok(())
}
