//! Peers that break QUIC or wear it out, on another QUIC stack.

use quoth_tests::hostile::attack::{OVER_QUIC, QUIC};

use crate::attack::play;
use crate::{Target, seconds};

#[test]
fn hostile_peers_are_closed_or_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&[])?;
    play(&target, OVER_QUIC, &QUIC, seconds(1.0))?;
    let log = target.log();
    anyhow::ensure!(log.contains("too many gaps"), "the log does not tell of it: {log}");
    Ok(())
}
